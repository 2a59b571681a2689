//! What a reader process of a real run may do, as the kernel says it, and what its parent does not do.

use crate::common::bench::Bench;
use crate::common::{NOBODY, Run, is_root, must, skip, spec, words};
use crate::kit;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn bench() -> Bench {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    for number in 0..3000 {
        kit::deliver(&account, number, 9000);
    }
    fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    bench
}

/// Targets of a process's descriptors.
fn descriptors(pid: u32) -> BTreeMap<u32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let read = |e: fs::DirEntry| {
        let number = e.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(e.path()).ok()?.to_string_lossy().into_owned()))
    };
    entries.filter_map(read).collect()
}

/// A run whose reader is at work and whose parent was stopped, so that both can be looked at.
fn held(bench: &Bench) -> (Run, u32) {
    let run = bench.tool.start(words(&["verify"]).chain([bench.store.clone().into()]));
    let store = spec(&bench.store);
    let reader = kit::wait_for("a reader at work", Duration::from_secs(20), || {
        let reader = kit::children(run.pid).pop()?;
        descriptors(reader).values().any(|target| target.starts_with(&store)).then_some(reader)
    });
    kit::signal(run.pid, "STOP");
    // What it had in hand it finishes; then it waits for its parent.
    std::thread::sleep(Duration::from_millis(200));
    assert!(fs::metadata(format!("/proc/{reader}")).is_ok(), "the reader is still there");
    (run, reader)
}

fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let pair = |line: &str| line.split_once(':').map(|(k, v)| (k.to_owned(), v.trim().to_owned()));
    text.lines().filter_map(pair).collect()
}

/// Descriptors: the socket, the slots, no error output, the kernel's counters, and folders of the store alone.
fn assert_few_descriptors(bench: &Bench, reader: u32) {
    let (store, state) = (spec(&bench.store), spec(&bench.tool.state));
    for (number, target) in descriptors(reader) {
        assert!(!target.starts_with(&state), "descriptor {number} is {target}: catalog and locks are the parent's");
        assert!(!target.contains("/dev/pts") && !target.contains("/dev/tty"), "descriptor {number} is {target}");
        let own = match number {
            0 => target.starts_with("socket:"),
            1 => target.contains("memfd:") || target.contains("/dev/shm"),
            2 => target == "/dev/null",
            // What the kernel counts of the disks and of the reader: numbers, and no way to anything else.
            _ if target.starts_with("/sys/") => target.ends_with("/stat"),
            _ if target.starts_with("/proc/") => target == format!("/proc/{reader}/io"),
            // Clones of the first two, and the store's folders and files.
            _ => target.starts_with(&store) || target.starts_with("socket:") || target.contains("memfd:"),
        };
        assert!(own, "descriptor {number} is {target}");
    }
}

#[test]
fn a_reader_of_root_can_only_read() {
    if !is_root() {
        return skip("a reader of root", "needs root");
    }
    let bench = bench();
    let (run, reader) = held(&bench);
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("a namespace");
    assert_ne!(namespace(&reader.to_string()), namespace("self"), "a mount namespace of its own");
    let mounts = fs::read_to_string(format!("/proc/{reader}/mountinfo")).expect("its mounts");
    for line in mounts.lines() {
        let options = line.split(' ').nth(5).expect("options");
        assert!(options.split(',').any(|o| o == "ro"), "a writable mount: {line}");
    }
    for task in fs::read_dir(format!("/proc/{reader}/task")).expect("its threads").flatten() {
        let status = status(task.file_name().to_str().and_then(|t| t.parse().ok()).expect("a thread"));
        // CAP_DAC_READ_SEARCH is bit 2.
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(u64::from_str_radix(&status[set], 16), Ok(4), "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}");
        }
        assert_eq!((&status["NoNewPrivs"][..], &status["Seccomp"][..]), ("1", "2"));
    }
    assert_few_descriptors(&bench, reader);
    let environment = fs::read(format!("/proc/{reader}/environ")).expect("its environment");
    assert!(environment.is_empty(), "no environment reaches a reader");
    kit::signal(run.pid, "CONT");
    run.end().expect(0);
}

#[test]
fn a_reader_of_the_mail_user_can_only_read() {
    if !is_root() {
        return skip("a reader of the mail user", "needs root to become another user");
    }
    let bench = bench().unprivileged();
    let (run, reader) = held(&bench);
    let status = status(reader);
    assert_eq!(status["Uid"].split_whitespace().next(), Some(&*NOBODY.to_string()));
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}");
    }
    assert_eq!((&status["NoNewPrivs"][..], &status["Seccomp"][..]), ("1", "2"));
    assert_few_descriptors(&bench, reader);
    kit::signal(run.pid, "CONT");
    run.end().expect(0);
}

/// The system calls with paths of each process and thread, by strace.
#[test]
fn the_parent_opens_nothing_below_the_store() {
    if !kit::can("what the parent opens", false, &["strace"]) {
        return;
    }
    let bench = kit::empty();
    for user in ["ann", "bob"] {
        let account = kit::mailbox(&bench.store.join(user).join("Maildir"));
        (0..50).for_each(|number| drop(kit::deliver(&account, number, 5000)));
    }
    bench.replicate();
    let traces = bench.dir.path().join("traces");
    fs::create_dir(&traces).expect("a folder");
    let (store, replica) = (spec(&bench.store), spec(&bench.replica));
    let audit = ["audit", &store, "--from", &replica, "--undecided", "restore"];
    for (number, command) in
        [&["verify", &store][..], &audit[..], &["repair", &store, "--from", &replica][..]].iter().enumerate()
    {
        kit::damage(&bench.store.join("ann/Maildir/cur").join(kit::name(1, kit::letter(1, 5000).len())), 1 + number);
        let out = traces.join(format!("{number}"));
        let mut strace = std::process::Command::new("strace");
        strace.args(["-ff", "-y", "-s", "4096", "-e", "trace=%file,%process,getdents64", "-o"]).arg(&out);
        strace.arg(&bench.tool.binary).arg("--json").arg("--state").arg(&bench.tool.state).args(*command);
        let output = strace.output().expect("strace");
        assert!(
            matches!(output.status.code(), Some(0 | 4)),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (parents, readers) = split(&traces, number);
        assert!(!readers.is_empty(), "{command:?}: no reader was seen");
        let touches = |text: &str| {
            let below = [format!("{store}/"), format!("{replica}/"), format!("<{store}>"), format!("<{replica}>")];
            let looks = |line: &&str| !line.contains("execve(") && below.iter().any(|b| line.contains(b));
            text.lines().filter(looks).map(str::to_owned).collect::<Vec<String>>()
        };
        let offences: Vec<String> = parents.iter().flat_map(|text| touches(text)).collect();
        assert!(offences.is_empty(), "{command:?}: the parent touched the mail:\n{}", offences.join("\n"));
        assert!(readers.iter().any(|text| text.contains("/cur")), "the readers did");
    }
    must("true", &[]);
}

/// The traces of the parent's threads, and those of its readers'.
fn split(traces: &std::path::Path, number: usize) -> (Vec<String>, Vec<String>) {
    let mut texts: BTreeMap<u32, String> = BTreeMap::new();
    for entry in fs::read_dir(traces).expect("traces").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pid) = name.strip_prefix(&format!("{number}.")).and_then(|p| p.parse().ok()) {
            texts.insert(pid, String::from_utf8_lossy(&fs::read(entry.path()).expect("a trace")).into_owned());
        }
    }
    let is_reader = |text: &str| text.contains("execve(\"/proc/self/exe\"");
    let mut readers: BTreeSet<u32> = texts.iter().filter(|(_, t)| is_reader(t)).map(|(p, _)| *p).collect();
    // Whatever a reader started is a reader.
    loop {
        let started = |text: &String| {
            let made =
                text.lines().filter(|l| l.starts_with("clone") || l.starts_with("vfork") || l.starts_with("fork"));
            made.filter_map(|l| l.rsplit("= ").next()?.trim().parse::<u32>().ok()).collect::<Vec<u32>>()
        };
        let more: Vec<u32> = readers.iter().filter_map(|r| texts.get(r)).flat_map(started).collect();
        let before = readers.len();
        readers.extend(more);
        if readers.len() == before {
            break;
        }
    }
    let (theirs, own): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(pid, _)| readers.contains(pid));
    (own.into_iter().map(|(_, t)| t).collect(), theirs.into_iter().map(|(_, t)| t).collect())
}
