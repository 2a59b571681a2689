//! The order in which a disk is read: what is chosen, and that it changes no answer.

use crate::common::device::{self, HangingDisk};
use crate::common::{Answer, spec};
use crate::kit;
use crate::sick::{bad_map, block, possible};
use std::fs;
use std::path::Path;

const ACCOUNTS: [&str; 3] = ["ann", "bob", "cid"];
const EACH: u64 = 60;

/// Messages from hundreds of bytes to more than what is held whole, in several formats.
fn fill(store: &Path) {
    for (nth, account) in (0u64..).zip(ACCOUNTS) {
        let mailbox = kit::mailbox(&store.join(account).join("Maildir"));
        for number in 0..EACH {
            kit::deliver(&mailbox, 1000 * nth + number, [300, 5_000, 20_000, 70_000][number as usize % 4]);
        }
        kit::deliver(&mailbox, 1000 * nth + EACH, 3 << 20);
    }
    kit::dbox(&store.join("dan/sdbox"), "INBOX", 5000, 20, 20_000);
}

fn named(account: &str, number: u64, size: usize) -> std::path::PathBuf {
    Path::new(account).join("Maildir/cur").join(kit::name(number, kit::letter(number, size).len()))
}

fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("dropping caches");
}

fn findings(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> = answer
        .findings()
        .map(|finding| format!("{} {} {}", finding["path"], finding["verdict"], finding["faults"]))
        .collect();
    all.sort();
    all
}

#[test]
fn the_order_of_the_disk_changes_no_answer() {
    if !possible("the order of the disk") {
        return;
    }
    let bench = kit::empty();
    fill(&bench.store);
    let rotten = [named("ann", 2, 20_000), named("cid", 2001, 5_000), named("bob", 1000 + EACH, 3 << 20)];
    for victim in &rotten {
        let path = bench.store.join(victim);
        let mut bytes = fs::read(&path).expect("a message");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 600].fill(0);
        fs::write(&path, bytes).expect("damage");
    }
    let sick = [named("ann", 6, 20_000), named("bob", 1003, 70_000)];
    let mut bad = Vec::new();
    let image = device::image(&bench.store, bench.dir.path(), |store| {
        bad = sick.iter().map(|victim| block(&store.join(victim), 8192)).collect();
    });
    let map = bench.dir.path().join("bad.map");
    fs::write(&map, bad_map(bad, 256 << 20)).expect("a map");
    let arguments = ["--filter=ddrescue", &spec(&image), &format!("ddrescue-mapfile={}", spec(&map))];
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    let store = spec(&disk.store());
    let mut answers = Vec::new();
    for (kind, from) in [("flash", "cache"), ("spindle", "cache"), ("spindle", "disk")] {
        drop_caches();
        let answer = bench.tool.run(["audit", &store, "--disk", kind, "--read-from", from, "-v"]).expect_bits(4);
        assert_eq!(answer.mentions("in the order of the disk"), kind == "spindle", "{answer}");
        assert_eq!(answer.count("messages"), 3 * (EACH + 1) + 20, "{answer}");
        assert_eq!((answer.count("unreadable"), answer.count("not_checked")), (2, 0), "{answer}");
        answers.push((findings(&answer), answer.count("intact.plausible"), answer.count("intact.consistent")));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[1], answers[2]);
    assert_eq!(answers[0].0.len(), 2 + rotten.len(), "{:?}", answers[0].0);
}

#[test]
fn a_disk_that_seeks_slowly_is_known_by_its_reads() {
    if !possible("a disk that seeks slowly") {
        return;
    }
    let bench = kit::empty();
    let mailbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    (0..40).for_each(|number| drop(kit::deliver(&mailbox, number, 9_000)));
    let image = device::image(&bench.store, bench.dir.path(), |_| ());
    for (delay, slow) in [("0ms", false), ("12ms", true)] {
        let below = bench.dir.path().join(delay);
        fs::create_dir(&below).expect("a folder");
        let disk = HangingDisk::serving(&below, &["--filter=delay", &spec(&image), &format!("rdelay={delay}")]);
        drop_caches();
        let answer = bench.tool.run(["audit", &spec(&disk.store()), "-v"]).expect(0);
        assert_eq!(answer.mentions("one reader, in the order"), slow, "{delay}: {answer}");
        assert_eq!(answer.mentions("several readers"), !slow, "{delay}: {answer}");
        assert_eq!(answer.count("messages"), 40, "{answer}");
    }
}
