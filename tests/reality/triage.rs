//! Is it the disk, which one, and who is hit? On real disks that are well, slow, failing and silent.

use crate::common::bench::Bench;
use crate::common::device::{self, HangingDisk};
use crate::common::{Answer, spec, words};
use crate::kit;
use crate::sick::{bad_map, block, possible};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What the promise says.
const PROMISED: Duration = Duration::from_secs(30);
/// Messages of each account.
const MESSAGES: u64 = 20;

/// Mail of two accounts, one in Maildir and one in sdbox.
fn content(bench: &Bench, name: &str, [one, other]: [&str; 2]) -> PathBuf {
    let content = bench.dir.path().join("content").join(name);
    let inbox = kit::mailbox(&content.join(one).join("Maildir"));
    (0..MESSAGES).for_each(|number| drop(kit::deliver(&inbox, number, 20_000)));
    let count = u32::try_from(MESSAGES).expect("a few");
    kit::dbox(&content.join(other).join("sdbox"), "INBOX", 100, count, 20_000);
    content
}

/// A disk below the farm that holds mail of two accounts, served with these settings.
fn disk(bench: &Bench, name: &str, accounts: [&str; 2], settings: &dyn Fn(&Path) -> Vec<String>) -> HangingDisk {
    let dir = bench.dir.path().join("farm").join(name);
    fs::create_dir_all(&dir).expect("a folder");
    let content = content(bench, name, accounts);
    let mut arguments = Vec::new();
    let image = device::image(&content, &dir, |store| arguments = settings(store));
    arguments.push(spec(&image));
    // A filter's own settings come after the file.
    arguments.sort_by_key(|argument| argument.contains('=') && !argument.starts_with("--"));
    HangingDisk::serving(&dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn farm(bench: &Bench) -> PathBuf {
    bench.dir.path().join("farm")
}

fn triage(bench: &Bench, options: &[&str]) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = bench.tool.run(words(&["triage"]).chain([farm(bench).into()]).chain(words(options)));
    (answer, began.elapsed())
}

/// The device that holds what is mounted there.
#[track_caller]
fn device_at<'a>(answer: &'a Answer, mountpoint: &Path) -> &'a Value {
    let holds = |line: &&Value| {
        let all = line["file_systems"].as_array().map(Vec::as_slice).unwrap_or_default();
        line["type"] == "device" && all.iter().any(|fs| fs["mount_point"] == spec(mountpoint).as_str())
    };
    answer.lines.iter().find(holds).unwrap_or_else(|| panic!("no device holds {}: {answer}", mountpoint.display()))
}

fn accounts(device: &Value) -> Vec<String> {
    let hits = device["accounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    hits.iter().filter_map(|hit| hit["account"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn assert_healthy(answer: &Answer, disk: &HangingDisk, accounts_on_it: [&str; 2]) {
    let device = device_at(answer, &disk.mountpoint);
    assert_eq!(device["verdict"], "healthy", "{device}");
    assert_eq!(accounts(device), accounts_on_it, "{device}");
    assert_eq!(device["medium_tested"], true, "{device}");
    assert_eq!(
        (&device["sample"]["checked"], &device["sample"]["damaged"]),
        (&(2 * MESSAGES).into(), &0.into()),
        "{device}"
    );
}

#[test]
fn the_slow_and_the_failing_disk_are_named_and_the_healthy_one_cleared() {
    if !possible("triage of three disks") {
        return;
    }
    let bench = kit::empty();
    let healthy = disk(&bench, "one", ["ann", "bob"], &|_| Vec::new());
    let slow = disk(&bench, "two", ["cat", "dan"], &|_| vec!["--filter=delay".into(), "rdelay=80ms".into()]);
    let map = bench.dir.path().join("bad.map");
    let failing = disk(&bench, "three", ["eve", "fay"], &|store| {
        let file = |number| kit::name(number, kit::letter(number, 20_000).len());
        let framed = (1..3).map(|uid| store.join(format!("fay/sdbox/mailboxes/INBOX/dbox-Mails/u.{uid}")));
        let plain = (0..3).map(|number| store.join("eve/Maildir/cur").join(file(number)));
        let bad = plain.chain(framed).map(|path| block(&path, 8192)).collect();
        fs::write(&map, bad_map(bad, 256 << 20)).expect("a map");
        vec!["--filter=ddrescue".into(), format!("ddrescue-mapfile={}", spec(&map))]
    });
    let hit = bench.dir.path().join("hit.txt");
    let (answer, took) = triage(&bench, &["--save-accounts", &spec(&hit)]);
    assert!(took < PROMISED, "it took {took:?}: {answer}");
    assert_eq!(answer.status & 4, 4, "{answer}");
    assert_healthy(&answer, &healthy, ["one/mnt/store/ann", "one/mnt/store/bob"]);

    let device = device_at(&answer, &slow.mountpoint);
    assert_eq!(device["verdict"], "degrading", "{device}");
    assert!(device["reasons"][0].as_str().is_some_and(|why| why.starts_with("slow")), "{device}");
    assert!(device["latency_us"]["p50"].as_u64() >= Some(80_000), "{device}");
    assert_eq!(accounts(device), ["two/mnt/store/cat", "two/mnt/store/dan"], "{device}");

    let device = device_at(&answer, &failing.mountpoint);
    assert_eq!(device["verdict"], "failing", "{device}");
    assert_eq!((&device["read_errors"], &device["sample"]["damaged"]), (&5.into(), &5.into()), "{device}");
    assert_eq!(accounts(device), ["three/mnt/store/eve", "three/mnt/store/fay"], "{device}");
    for (account, count) in [("three/mnt/store/eve", 3), ("three/mnt/store/fay", 2)] {
        let unreadable = answer.findings().filter(|f| f["verdict"] == "unreadable" && f["account"] == account);
        assert_eq!(unreadable.count(), count, "{account}: {answer}");
    }

    let saved = fs::read_to_string(&hit).expect("the accounts");
    let saved: Vec<&str> = saved.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(saved, ["three/mnt/store/eve", "three/mnt/store/fay", "two/mnt/store/cat", "two/mnt/store/dan"]);
    people_are_told(&bench, &[healthy, slow, failing]);
}

/// The same as three stores, in words.
fn people_are_told(bench: &Bench, disks: &[HangingDisk]) {
    let mut command = bench.tool.command();
    command.arg("--state").arg(&bench.tool.state).args(["triage", "--within", "15"]);
    let output = command.args(disks.iter().map(HangingDisk::store)).stdin(Stdio::null()).output().expect("a triage");
    let text = String::from_utf8_lossy(&output.stdout);
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("no '{words}' in {text}"));
    assert!(at("FAILING") < at("DEGRADING") && at("DEGRADING") < at("HEALTHY"), "the most urgent first: {text}");
    assert!(text.contains("2 accounts hit: eve, fay") && text.contains("2 accounts: ann, bob"), "{text}");
    assert!(text.contains("(2 of 3 devices); 4 accounts hit.") && text.contains("ddrescue -d /dev/loop"), "{text}");
    println!("{text}");
}

#[test]
fn a_disk_that_is_silent_ends_nothing_but_itself() {
    if !possible("triage of a silent disk") {
        return;
    }
    let bench = kit::empty();
    let healthy = disk(&bench, "one", ["ann", "bob"], &|_| Vec::new());
    let silent = disk(&bench, "two", ["cat", "dan"], &|_| Vec::new());
    bench.tool.verify(&farm(&bench)).expect(0);
    silent.hang();
    let (answer, took) = triage(&bench, &["--read-timeout", "2", "--within", "15"]);
    silent.go_on();
    assert!(took < Duration::from_secs(20), "it took {took:?}: {answer}");
    assert_eq!(answer.status & (4 | 8), 4 | 8, "{answer}");
    assert_healthy(&answer, &healthy, ["one/mnt/store/ann", "one/mnt/store/bob"]);
    let device = device_at(&answer, &silent.mountpoint);
    assert_eq!(device["verdict"], "gone", "{device}");
    // Nothing can be listed: the catalog knows them.
    assert_eq!(accounts(device), ["two/mnt/store/cat", "two/mnt/store/dan"], "{device}");
    assert!(device["accounts"].as_array().is_some_and(|all| all.iter().all(|hit| hit["listed"] == false)), "{device}");
    assert_eq!(answer.lines.last().expect("a summary")["devices"]["gone"], 1, "{answer}");
}

/// Which store on it is asked for makes no difference: opening that one hangs already.
#[test]
fn a_store_on_a_silent_disk_ends_in_time() {
    if !possible("triage on a silent disk") {
        return;
    }
    let bench = kit::empty();
    let silent = disk(&bench, "two", ["cat", "dan"], &|_| Vec::new());
    silent.hang();
    let began = Instant::now();
    let store = silent.store();
    let answer = bench.tool.run(words(&["triage", "--read-timeout", "2", "--within", "10"]).chain([store.into()]));
    silent.go_on();
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}: {answer}", began.elapsed());
    assert_eq!(device_at(&answer, &silent.mountpoint)["verdict"], "gone", "{answer}");
}

/// What a look must not change: names, sizes and dates.
fn everything(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let facts = entry.metadata().expect("its facts");
            all.push((entry.path(), facts.len(), facts.modified().expect("its date")));
            folders.extend(facts.is_dir().then(|| entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn rot_that_the_disk_does_not_tell_of_is_found_by_the_records() {
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    let files: Vec<PathBuf> = (0..MESSAGES).map(|number| kit::deliver(&inbox, number, 20_000)).collect();
    bench.tool.verify(&bench.store).expect(0);
    kit::damage(&files[7], 3);
    let before = everything(&bench.store);
    let answer = bench.tool.run(words(&["triage"]).chain([bench.store.clone().into()]));
    assert_eq!(everything(&bench.store), before);
    assert_eq!(answer.status & (4 | 16), 4, "{answer}");
    let device = answer.lines.iter().find(|line| line["type"] == "device").expect("a device");
    assert_ne!(device["verdict"], "healthy", "{device}");
    let sample = &device["sample"];
    assert_eq!(
        (&sample["checked"], &sample["damaged"], &sample["census"]),
        (&MESSAGES.into(), &1.into(), &true.into())
    );
    let finding = answer.findings().next().expect("a finding");
    assert_eq!((finding["verdict"].as_str(), finding["account"].as_str()), (Some("damaged"), Some("ann")), "{finding}");
    assert!(finding["path"].as_str().is_some_and(|path| path.contains("M7P1")), "{finding}");
}

#[test]
fn what_cannot_be_looked_at_is_no_success() {
    let bench = kit::empty();
    let run = |args: &[&str]| bench.tool.run(words(&["triage"]).chain(words(args)));
    let nothing = run(&[&spec(&bench.store.join("absent"))]);
    assert_eq!(nothing.status, 8, "{nothing}");
    assert!(nothing.mentions("no such folder"), "{nothing}");
    let empty = run(&[&spec(&bench.store)]);
    assert_eq!(empty.status, 8, "{empty}");
    assert_eq!(empty.lines.last().expect("a summary")["devices"]["unknown"], 1, "{empty}");
    let inside = run(&[&spec(&bench.store), "--save-accounts", &spec(&bench.store.join("hit"))]);
    assert_eq!(inside.status, 16, "{inside}");
}
