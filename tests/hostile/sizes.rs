//! Too many, too deep, too large, too well packed: bounded time, flat memory, and what was not read is said.

use crate::common::spec;
use crate::kit;
use crate::trap::{Heard, PEAK_MAX, Trap, longer};
use mailmend::model::Encoding;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[track_caller]
fn assert_modest(heard: &Heard, seconds: u64) {
    assert!(heard.peak < PEAK_MAX, "{} KiB of memory: {heard}", heard.peak);
    assert!(heard.took < Duration::from_secs(seconds), "too long: {heard}");
}

fn sparse(path: &Path, size: u64) {
    fs::File::create(path).expect("a file").set_len(size).expect("a sparse file");
}

#[test]
fn files_of_terabytes_that_take_no_room_are_not_read() {
    let mut trap = Trap::new();
    let account = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    kit::deliver(&account, 1, 3000);
    kit::deliver(&account, 2, 3000);
    fs::write(account.join("subscriptions"), "Sent\n").expect("a companion");
    trap.run(&["verify", &spec(&trap.bench.store)]);
    trap.bench.replicate();
    for number in 10..20 {
        sparse(&account.join("cur").join(format!("1700000000.M{number}P1.mx,S=10737418240:2,S")), 10 << 30);
        sparse(&account.join("new").join(format!("1700000000.M{}P1.mx", number + 10)), 10 << 40);
    }
    sparse(&account.join("cur").join(kit::name(1, kit::letter(1, 3000).len())), 10 << 30);
    for name in ["dovecot-uidlist", "subscriptions", "dovecot-keywords", "x.sieve", "dovecot-acl"] {
        sparse(&account.join(name), 10 << 30);
    }
    sparse(&account.join("tmp/1700000000.M1P1.mx"), 10 << 30);
    // The source has them too, some damaged in between.
    for name in ["dovecot-keywords", "maildirfolder"] {
        sparse(&trap.bench.replica.join("eve/Maildir").join(name), 10 << 30);
    }
    trap.arm();
    let heard = trap.tour();
    assert_modest(&heard, 20);
    assert_eq!(heard.status & 8, 8, "{heard}");
    assert!(heard.mentions("larger than a file of its kind can be"), "{heard}");
    // As large as is still read: a hole is no mail, and is not read. What is written around it is.
    for number in 90..94 {
        let largest = account.join(format!("cur/1700000000.M{number}P1.mx"));
        sparse(&largest, 2 << 30);
        let file = fs::OpenOptions::new().write(true).open(&largest).expect("the file");
        file.write_all_at(&kit::letter(number, 100_000), 0).expect("its beginning");
        file.write_all_at(b"its end\n", 1 << 30).expect("its middle");
    }
    // One whose digest is on record is no other.
    sparse(&account.join("cur").join(kit::name(2, kit::letter(2, 3000).len())), 2 << 30);
    let heard = trap.run(&["verify", &spec(&trap.bench.store)]);
    assert_modest(&heard, 8);
    let holes = heard.lines.iter().filter(|l| l["type"] == "finding" && l["verdict"] == "damaged");
    let holes: Vec<_> =
        holes.filter(|l| l["path"].as_str().is_some_and(|p| p.contains("M9") || p.contains("M2P"))).collect();
    assert_eq!(holes.len(), 5, "{heard}");
    for hole in holes {
        let faults = hole["faults"].as_array().expect("ranges");
        let blamed: u64 = faults.iter().filter_map(|f| f["length"].as_u64()).sum();
        assert!(blamed > (2 << 30) - (1 << 20), "what is blamed is the holes: {hole}");
    }
    eprintln!("a file of holes: {:?}, {} KiB", heard.took, heard.peak);
    assert_eq!(heard.status & 12, 12, "{heard}");
}

/// A source that grows without end after the plan was made fills no disk.
#[test]
fn a_copy_that_grew_since_the_plan_is_not_fetched_whole() {
    let trap = Trap::new();
    let account = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    let message = kit::deliver(&account, 1, 3000);
    kit::deliver(&account, 2, 3000);
    trap.run(&["verify", &spec(&trap.bench.store)]);
    trap.bench.replicate();
    kit::damage(&message, 50);
    let plan = spec(&trap.bench.dir.path().join("attic"));
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let heard = trap.run(&["audit", &store, "--from", &replica, "--save-plan", &plan]);
    assert_eq!(heard.status, 4, "{heard}");
    let copy = trap.bench.replica.join("eve/Maildir/cur").join(message.file_name().expect("a name"));
    let copy = fs::OpenOptions::new().write(true).open(copy).expect("the copy");
    for (size, words) in [(1 << 29, "grew since the plan"), (1 << 40, "larger than a file of its kind can be")] {
        copy.set_len(size).expect("a sparse file");
        let heard = trap.run(&["repair", &store, "--plan", &plan, "--apply"]);
        assert!(heard.status & 12 != 0 && heard.mentions(words), "{heard}");
        assert_modest(&heard, 20);
    }
}

fn bomb(encoding: Encoding, size: u64) -> Vec<u8> {
    let mut packed = Vec::new();
    let head = b"From: a@example.org\nSubject: b\n\n";
    let mut text = head.chain(std::io::repeat(0).take(size));
    mailmend::store::codec::encode(encoding, &mut text, &mut packed).expect("packing");
    packed
}

#[test]
fn compression_bombs_are_defused() {
    let mut trap = Trap::new();
    let account = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    kit::deliver(&account, 1, 3000);
    let size = longer(256 << 20, 10 << 30);
    let all = [Encoding::Gzip, Encoding::Zstd, Encoding::Bzip2, Encoding::Lz4];
    let each = |encoding: Encoding, number: u64| {
        let at = account.join("cur").join(format!("1700000000.M{number}P1.mx,S={size}:2,S"));
        fs::File::create(at).expect("a file").write_all(&bomb(encoding, size)).expect("a bomb");
    };
    std::thread::scope(|scope| {
        for (encoding, number) in all.into_iter().zip(100..) {
            scope.spawn(move || each(encoding, number));
        }
    });
    // A bomb in a bomb, and many small ones behind each other.
    let mut nested = Vec::new();
    let inner = bomb(Encoding::Zstd, 1 << 30);
    mailmend::store::codec::encode(Encoding::Gzip, &mut &inner[..], &mut nested).expect("packing");
    fs::write(account.join("cur/1700000000.M200P1.mx:2,S"), nested).expect("a bomb");
    fs::write(account.join("cur/1700000000.M202P1.mx:2,S"), bomb(Encoding::Zstd, 3 << 30)).expect("a bomb");
    let chain = bomb(Encoding::Gzip, 8 << 20).repeat(32);
    fs::write(account.join("cur/1700000000.M201P1.mx:2,S"), chain).expect("a bomb");
    trap.arm();
    let heard = trap.run(&["verify", &spec(&trap.bench.store)]);
    eprintln!("bombs: {:?}, {} KiB", heard.took, heard.peak);
    assert_modest(&heard, longer(60, 120));
    assert!(heard.peak > 1000, "nothing was measured");
    assert_ne!(heard.status & 12, 0, "{heard}");
}

#[test]
fn heaps_of_entries_and_two_hundred_levels() {
    if !kit::can("many entries", true, &["mkfifo"]) {
        return;
    }
    let mut trap = Trap::new();
    let account = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    let some = [1, 2, 3, 4].map(|number| kit::deliver(&account, number, 1000));
    // What is no mail, in heaps: names of one file, links, folders.
    for number in 0..if crate::common::long() { 50_000 } else { 15_000 } {
        let name = account.join("cur").join(format!("1700000000.M{number}P7.mx:2,S"));
        match number % 50 {
            0 => std::os::unix::fs::symlink(&trap.outside, name).expect("a link"),
            1 => fs::create_dir(name).expect("a folder"),
            _ => fs::hard_link(&some[number % 4], name).expect("a hard link"),
        }
        fs::hard_link(&some[number % 4], account.join(format!("rubbish-{number}"))).expect("a hard link");
    }
    // Deeper than any path that the system takes as a whole.
    let deep = trap.bench.store.join("deep");
    fs::create_dir(&deep).expect("a folder");
    let top = fs::File::open(&deep).expect("a folder");
    let mut at = std::os::fd::OwnedFd::from(top);
    for level in 0..200 {
        let name = format!("{level:0>60}");
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).expect("a level");
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, &name, flags, rustix::fs::Mode::empty()).expect("a level");
        if level % 10 == 0 {
            rustix::fs::mkdirat(&at, "cur", rustix::fs::Mode::RWXU).expect("a mailbox");
        }
    }
    trap.arm();
    let store = spec(&trap.bench.store);
    for args in [&["verify", &store][..], &["verify", &store], &["audit", &store]] {
        for heard in [trap.run(args), trap.people(args)] {
            trap.assert_untouched(&heard.to_string());
            eprintln!("many entries: {:?}, {} KiB, {} bytes said", heard.took, heard.peak, heard.stdout.len());
            assert!(heard.took < Duration::from_secs(60), "{heard}");
            assert!(heard.peak < 2 * PEAK_MAX, "{} KiB: {heard}", heard.peak);
            assert_eq!(heard.status & 8, 8, "links and depths were not checked: {heard}");
            assert!(heard.mentions("nested too deep"), "{heard}");
        }
    }
}

/// Files that are written to, cut and replaced while they are read.
#[test]
fn files_that_change_while_they_are_read_end_the_reading() {
    let trap = Trap::new();
    let account = kit::mailbox(&trap.bench.store.join("eve/Maildir"));
    let growing = kit::deliver(&account, 1, 300_000);
    let shrinking = kit::deliver(&account, 2, 300_000);
    (3..40).for_each(|number| drop(kit::deliver(&account, number, 3000)));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&growing).expect("a message");
            while !over.load(SeqCst) {
                let full = file.metadata().expect("a stat").len() > 256 << 20;
                if full { file.set_len(1000).expect("cut") } else { file.write_all(&[b'x'; 65536]).expect("growth") }
            }
        });
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(&shrinking).expect("a message");
            for size in (0..).map(|n| (n * 77_777) % 10_000_000) {
                file.set_len(size).expect("cut");
                if over.load(SeqCst) {
                    return;
                }
            }
        });
        let end = Instant::now() + Duration::from_secs(longer(3, 60));
        while Instant::now() < end {
            let heard = trap.run(&["verify", &spec(&trap.bench.store)]);
            assert_modest(&heard, 30);
            assert_ne!(heard.status, 0, "{heard}");
        }
        over.store(true, SeqCst);
    });
    let heard = trap.run(&["verify", &spec(&trap.bench.store)]);
    assert_eq!(heard.status & 8, 0, "nothing changes any more: {heard}");
}

/// Lists of UIDs that no server wrote.
#[test]
fn absurd_uidlists_are_only_bytes() {
    let mut trap = Trap::new();
    let lists: [Vec<u8>; 8] = [
        b"3 V18446744073709551616 N99999999999999999999999\n4294967296 :x\n-1 :y\n".to_vec(),
        b"3 V1 N1\n".iter().copied().chain(b"1 :a\n".repeat(1_000_000)).collect(),
        vec![b'9'; 5 << 20],
        b"\n".repeat(1 << 20),
        vec![0; 1 << 20],
        b"3 V1 N1\n1 :../../../../etc/passwd\n2 :\x1b[2J\n".to_vec(),
        Vec::new(),
        vec![0xff; 70 << 20],
    ];
    for (number, list) in (0..).zip(&lists) {
        let account = kit::mailbox(&trap.bench.store.join(format!("u{number}/Maildir")));
        let message = kit::deliver(&account, number * 10, 3000);
        kit::deliver(&account, number * 10 + 1, 3000);
        fs::write(account.join("dovecot-uidlist"), list).expect("a list");
        fs::write(account.join("dovecot-keywords"), list).expect("a list");
        assert!(message.exists());
    }
    trap.run(&["verify", &spec(&trap.bench.store)]);
    trap.bench.replicate();
    for number in 0..lists.len() as u64 {
        let account = trap.bench.store.join(format!("u{number}/Maildir"));
        fs::remove_file(account.join("dovecot-uidlist")).expect("a loss");
        kit::damage(&account.join("cur").join(kit::name(number * 10, kit::letter(number * 10, 3000).len())), 50);
    }
    trap.arm();
    let heard = trap.tour();
    assert_modest(&heard, 30);
    let last = lists.len() - 1;
    for (number, list) in lists.iter().enumerate().take(last) {
        let path = trap.bench.store.join(format!("u{number}/Maildir/dovecot-uidlist"));
        assert!(fs::read(path).expect("the list is back") == *list, "list {number}: {heard}");
    }
}
