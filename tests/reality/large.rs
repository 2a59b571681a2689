//! Messages larger than any buffer: read, repaired and undone in windows, with little memory.

use crate::common::{long, spec};
use crate::kit;
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of memory that no process of ours may ever have had, whatever the mail. KiB.
const PEAK_MAX: u64 = 64 << 10;

/// Runs the binary, watching the peak memory of it and its lanes. Exit status and the largest peak, in KiB.
fn watched(args: &[String]) -> (i32, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailmend"));
    let mut child = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary");
    let (pid, over, peak) = (child.id(), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
    let watcher = std::thread::spawn({
        let (over, peak) = (Arc::clone(&over), Arc::clone(&peak));
        move || {
            while !over.load(Ordering::SeqCst) {
                for pid in kit::children(pid).into_iter().chain([pid]) {
                    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                    let now = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
                    let now = now.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    let mut peak = peak.lock().expect("a lock");
                    *peak = now.max(*peak);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let status = child.wait().expect("an end").code().unwrap_or(-1);
    over.store(true, Ordering::SeqCst);
    watcher.join().expect("the watcher");
    let peak = *peak.lock().expect("a lock");
    (status, peak)
}

#[test]
fn large_messages_stream_through_little_memory() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    let letters = [kit::deliver(&account, 1, 5 << 20), kit::deliver(&account, 2, 60 << 20)];
    let mut packed = flate2_of(&kit::letter(3, 40 << 20));
    packed.shrink_to_fit();
    let compressed = account.join("cur").join(kit::name(3, kit::letter(3, 40 << 20).len()));
    kit::put(&compressed, &packed);
    for number in 4..40 {
        kit::deliver(&account, number, 4000);
    }
    bench.replicate();
    let truth = bench.tree();
    let state = ["--quiet".to_owned(), "--state".to_owned(), spec(&bench.tool.state)];
    let run = |args: &[&str]| watched(&[&state[..], &args.iter().map(|a| a.to_string()).collect::<Vec<_>>()].concat());

    let (store, replica) = (spec(&bench.store), spec(&bench.replica));
    let (status, first) = run(&["verify", &store]);
    assert_eq!(status, 0);
    for path in letters.iter().chain([&compressed]) {
        kit::damage(path, 5000);
    }
    let (status, second) = run(&["verify", &store]);
    assert_eq!(status, 4);
    let (status, third) = run(&["repair", &store, "--from", &replica, "--apply"]);
    assert_eq!(status, 1);
    crate::common::bench::assert_same(&truth, &bench.tree(), "large messages are exact again");
    // Without a catalog the copies are compared block by block.
    for path in letters.iter().chain([&compressed]) {
        kit::damage(path, 5000);
    }
    let other = ["--quiet".to_owned(), "--state".to_owned(), spec(&bench.dir.path().join("other"))];
    let audit = ["audit".to_owned(), store, "--deep".to_owned(), "--from".to_owned(), replica];
    let (_, fourth) = watched(&[&other[..], &audit[..]].concat());
    let peak = first.max(second).max(third).max(fourth);
    assert!(peak < PEAK_MAX, "peaks of memory: {first}, {second}, {third}, {fourth} KiB");
    assert!(peak > 1000, "nothing was measured");
}

/// Bytes of each message of the mbox.
const LETTER: usize = 4 << 20;

fn archived(number: usize) -> String {
    let head = format!("From: ann@example.org\nMessage-ID: <{number}@example.org>\nSubject: number {number}\n");
    let line = format!("a line of letter {number}, which goes on and on until it is a long one\n");
    head + "\n" + &line.repeat(LETTER / line.len())
}

/// Writes an mbox of so many messages; where the body of one of them begins. Bytes.
fn mbox(path: &Path, messages: usize, one: usize) -> u64 {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = BufWriter::new(fs::File::create(path).expect("a mailbox"));
    let (mut at, mut place) = (0, 0);
    for number in 0..messages {
        let text = format!("From ann@example.org  Mon Jan  1 00:00:00 2024\n{}\n", archived(number));
        if number == one {
            place = at + 200;
        }
        at += text.len() as u64;
        file.write_all(text.as_bytes()).expect("a message");
    }
    file.flush().expect("a mailbox");
    place
}

#[test]
fn an_mbox_of_any_size_streams_through_little_memory() {
    let bench = kit::empty();
    let (messages, one) = if long() { (5120, 4000) } else { (64, 50) };
    let file = bench.store.join("ann/mail/archive");
    let place = mbox(&file, messages, one);
    let copy = bench.replica.join("ann/mail/INBOX/1.eml");
    fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
    fs::write(copy, archived(one)).expect("a copy");
    let state = ["--quiet".to_owned(), "--state".to_owned(), spec(&bench.tool.state)];
    let run = |args: &[&str]| watched(&[&state[..], &args.iter().map(|a| a.to_string()).collect::<Vec<_>>()].concat());
    let (store, replica) = (spec(&bench.store), spec(&bench.replica));
    let (status, first) = run(&["audit", &store]);
    assert_eq!(status, 0);
    let (status, second) = run(&["verify", &store]);
    assert_eq!(status, 0);
    let damage = || {
        let file = fs::File::options().read(true).write(true).open(&file).expect("a mailbox");
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).expect("a byte");
        file.write_all_at(&[byte[0] ^ 4], place).expect("damage");
    };
    damage();
    let (status, third) = run(&["verify", &store]);
    assert_eq!(status, 4);
    let (status, fourth) = run(&["repair", &store, "--from", &replica, "--apply"]);
    assert_eq!(status, 1);
    let (status, fifth) = run(&["verify", &store]);
    assert_eq!(status, 0);
    let peaks = [first, second, third, fourth, fifth];
    assert!(peaks.iter().all(|peak| (1000..PEAK_MAX).contains(peak)), "peaks of memory: {peaks:?} KiB");
}

fn flate2_of(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let encoding = mailmend::model::Encoding::Gzip;
    mailmend::store::codec::encode(encoding, &mut &bytes[..], &mut packed).expect("gzip");
    packed
}
