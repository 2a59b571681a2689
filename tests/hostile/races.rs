//! Attackers that exchange what stands in the store, all the time, while root scans, repairs and undoes.

use crate::common::bench::assert_none;
use crate::common::{must, spec};
use crate::kit;
use crate::trap::{GROUP, Trap, USER, give_away, longer};
use mailmend::drill::truth::{Difference, Snapshot, Strictness};
use mailmend::drill::{Repair, Undecided};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, renameat_with};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Two names that are exchanged again and again. By descriptors of the folders that really hold them: attackers
/// can no more write outside than the mail user can.
struct Pair {
    folder: OwnedFd,
    name: OsString,
    attic: OwnedFd,
    decoy: OsString,
    /// What belongs at `name`.
    ino: u64,
}

impl Pair {
    fn new(real: &Path, decoy: &Path) -> Pair {
        lchown(decoy, Some(USER), Some(GROUP)).expect("chown");
        let open = |path: &Path| OwnedFd::from(fs::File::open(path.parent().expect("a folder")).expect("a folder"));
        let name = |path: &Path| path.file_name().expect("a name").to_owned();
        let ino = fs::symlink_metadata(real).expect("the real thing").ino();
        Pair { folder: open(real), name: name(real), attic: open(decoy), decoy: name(decoy), ino }
    }

    fn swap(&self) -> bool {
        renameat_with(&self.folder, &self.name, &self.attic, &self.decoy, RenameFlags::EXCHANGE).is_ok()
    }

    /// The real thing, or what a repair put there, stands at its name again.
    fn settle(&self) {
        let stat = rustix::fs::statat(&self.attic, &self.decoy, AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| stat.st_ino == self.ino) {
            self.swap();
        }
    }
}

/// A store of three users, each with ten messages in two mailboxes.
fn populate(store: &Path) {
    for user in ["ann", "bob", "eve"] {
        let account = kit::mailbox(&store.join("example.org").join(user).join("Maildir"));
        let sent = kit::mailbox(&account.join(".Sent"));
        for number in 0..10 {
            kit::deliver(&account, number, 3000);
            kit::deliver(&sent, number + 50, 3000);
        }
        fs::write(account.join("dovecot-uidlist"), "3 V1 N9\n").expect("a companion");
        fs::write(account.join("subscriptions"), "Sent\n").expect("a companion");
    }
    give_away(store);
}

fn message(mailbox: &Path, number: u64) -> PathBuf {
    mailbox.join("cur").join(kit::name(number, kit::letter(number, 3000).len()))
}

/// What eve exchanges: her folders and messages, for links out of the store, pipes, folders and other files.
fn pairs(trap: &Trap, attic: &Path) -> Vec<Pair> {
    let home = trap.bench.store.join("example.org/eve");
    let account = home.join("Maildir");
    let decoy = |name: &str| attic.join(name);
    let link = |name: &str, target: &Path| {
        symlink(target, decoy(name)).expect("a link");
        decoy(name)
    };
    let outside = trap.outside.join("eve/Maildir");
    must("mkfifo", &[&spec(&decoy("pipe")), &spec(&decoy("pipe2"))]);
    kit::mailbox(&decoy("mailbox"));
    fs::create_dir(decoy("folder")).expect("a folder");
    fs::write(decoy("other"), "a file of another user's").expect("a file");
    fs::hard_link(decoy("other"), decoy("hard")).expect("a hard link");
    lchown(decoy("other"), Some(0), Some(0)).expect("chown");
    give_away(&decoy("mailbox"));
    let all = [
        (home.clone(), link("home", &trap.outside.join("eve"))),
        (account.clone(), link("Maildir", &outside)),
        (account.join("cur"), link("cur", &outside.join("cur"))),
        (account.join("new"), link("new", &outside.join("new"))),
        (account.join(".Sent"), decoy("mailbox")),
        (account.join(".Sent/cur"), link("sent-cur", &outside.join("cur"))),
        (message(&account, 0), link("message", &trap.outside.join("secret"))),
        (message(&account, 1), decoy("pipe")),
        (message(&account, 2), decoy("folder")),
        (message(&account, 3), decoy("hard")),
        (message(&account, 4), link("loop", Path::new("loop"))),
        (message(&account.join(".Sent"), 50), decoy("pipe2")),
        (account.join("dovecot-uidlist"), link("uidlist", &outside.join("dovecot-uidlist"))),
    ];
    all.iter().map(|(real, decoy)| Pair::new(real, decoy)).collect()
}

/// Exchanges until it is over. Each attacker has some of the pairs.
fn attack(pairs: &[Pair], seed: u64, over: &AtomicBool, swaps: &AtomicU64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while !over.load(SeqCst) {
        let pair = &pairs[rng.usize(..pairs.len())];
        if pair.swap() {
            swaps.fetch_add(1, SeqCst);
        }
        std::thread::sleep(Duration::from_micros(rng.u64(..400)));
        // Mostly the real thing stands there, so that there is something to work on.
        if rng.u8(..4) > 0 {
            pair.settle();
        }
    }
}

#[test]
fn nothing_outside_is_reached_while_users_exchange_what_stands_in_the_store() {
    if !kit::can("races", true, &["mkfifo"]) {
        return;
    }
    let mut trap = Trap::new();
    let store = trap.bench.store.clone();
    populate(&store);
    trap.bench.tool.verify(&store).expect(0);
    trap.bench.replicate();
    let truth = trap.bench.tree();
    let attic = trap.bench.dir.path().join("attic");
    fs::create_dir(&attic).expect("a folder");
    let pairs = pairs(&trap, &attic);
    let other = fs::metadata(attic.join("other")).expect("a stat");
    trap.arm();
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let rounds = std::thread::scope(|scope| {
        let ends = Ends(&over);
        for seed in 0..2 {
            let (pairs, over, swaps) = (&pairs, &over, &swaps);
            scope.spawn(move || attack(pairs, seed, over, swaps));
        }
        let rounds = campaign(&trap, Duration::from_secs(longer(15, 600)));
        drop(ends);
        rounds
    });
    eprintln!("{rounds} rounds against {} exchanges", swaps.load(SeqCst));
    assert!(rounds > 2 && swaps.load(SeqCst) > 1000, "{rounds} rounds against {swaps:?} exchanges");
    // Innermost last: what lies in a folder can be put right once the folder is back.
    pairs.iter().for_each(Pair::settle);
    let is = fs::metadata(attic.join("other")).expect("a stat");
    assert_eq!((is.uid(), is.mode(), is.mtime(), is.size()), (other.uid(), other.mode(), other.mtime(), other.size()));
    after(&trap, &truth);
}

/// Tells the attackers to stop, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Damages, verifies, repairs, undoes, again and again; nothing outside may ever be touched.
fn campaign(trap: &Trap, time: Duration) -> u64 {
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < time {
        hurt(trap, rounds);
        let repair = ["repair", &store, "--from", &replica, "--undecided", "restore", "--apply"];
        let repaired = trap.run(&repair);
        trap.assert_untouched(&repaired.to_string());
        assert_ne!(repaired.status, 0, "there was damage: {repaired}");
        if rounds % 2 == 0 {
            let run = repaired.run_name().expect("a run");
            for args in [&["undo", &run, "--apply"][..], &["quarantine", "show", &run], &["verify", &store]] {
                let heard = trap.run(args);
                trap.assert_untouched(&heard.to_string());
            }
        }
        rounds += 1;
    }
    rounds
}

/// Damage in the middle of what is being exchanged: whatever regular file of the user's stands at a message's name
/// just now. The test's own hand must stay inside as well.
fn hurt(trap: &Trap, round: u64) {
    let store = fs::File::open(&trap.bench.store).expect("the store");
    for user in ["eve", "bob"] {
        let account = Path::new("example.org").join(user).join("Maildir");
        for (mailbox, number) in [(account.clone(), round % 5), (account.join(".Sent"), 50 + round % 5)] {
            let (path, flags) = (message(&mailbox, number), OFlags::WRONLY | OFlags::NONBLOCK);
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let Ok(file) = rustix::fs::openat2(&store, &path, flags, Mode::empty(), resolve) else { continue };
            let file = fs::File::from(file);
            let stat = file.metadata().expect("a stat");
            if stat.is_file() && stat.uid() == USER && stat.nlink() == 1 {
                std::os::unix::fs::FileExt::write_all_at(&file, &[b'#'; 90], 1000).expect("damage");
            }
        }
    }
}

/// Once the attackers have gone, one repair brings back what was.
fn after(trap: &Trap, truth: &Snapshot) {
    let store = &trap.bench.store;
    let mut weeded = Vec::new();
    for (rel, _) in truth.messages() {
        let path = store.join(rel.as_path());
        match fs::symlink_metadata(&path) {
            Ok(stat) if stat.is_dir() => fs::remove_dir_all(&path).expect("weeding"),
            Ok(stat) if !stat.is_file() || stat.uid() == 0 => fs::remove_file(&path).expect("weeding"),
            _ => continue,
        }
        weeded.push(rel.clone());
    }
    let (store, replica) = (spec(store), spec(&trap.bench.replica));
    let healed = trap.run(&["repair", &store, "--from", &replica, "--undecided", "restore", "--apply"]);
    trap.assert_untouched(&healed.to_string());
    // One that was weeded out of an account in which nothing else is wrong looks as if its owner had deleted it.
    let mut differs = truth.differences(&trap.bench.tree(), Strictness::Healed);
    let deleted = |difference: &Difference| difference.what == "is gone" && weeded.contains(&difference.path);
    let given_up = differs.iter().filter(|difference| deleted(difference)).count();
    differs.retain(|difference| !deleted(difference));
    let told = healed.lines.last().and_then(|line| line["presumed_deleted"].as_u64()).unwrap_or_default();
    assert!(given_up as u64 <= told, "{healed}");
    // Whoever takes a folder away while its list is locked has the lock in it; servers override it after two minutes.
    differs.retain(|difference| difference.what != "is new" || difference.path.name() != b"dovecot-uidlist.lock");
    assert_none(&differs, &healed.to_string());
    for entry in walkdir::WalkDir::new(&trap.bench.store) {
        let entry = entry.expect("a readable tree");
        let uid = fs::symlink_metadata(entry.path()).expect("a stat").uid();
        assert_eq!(uid, USER, "{} has another owner", entry.path().display());
    }
}

/// Programs that deliver by the lock of `fcntl` alone, as an old delivery agent does, or that only look.
#[test]
fn no_delivery_is_lost_while_a_file_of_many_messages_is_exchanged() {
    let bench = kit::empty();
    let (inbox, copy) = (bench.store.join("ann/mail/inbox"), bench.replica.join("ann/mail/inbox"));
    fs::create_dir_all(inbox.parent().expect("a folder")).expect("a folder");
    let letter = |number: usize| {
        let head = "From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000";
        format!("From ann@example.org  Mon Jan  1 00:00:00 2024\n{head}\nSubject: {number}.\n\nbody of {number}.\n\n")
    };
    fs::write(&inbox, (0..40).map(letter).collect::<String>()).expect("a mailbox");
    bench.tool.verify(&bench.store).expect(0);
    mailmend::drill::copy::plain(&bench.store, &bench.replica).expect("a replica");
    assert!(copy.exists());
    let over = AtomicBool::new(false);
    let (mut repaired, mut delivered) = (0, 0);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !over.load(SeqCst) {
                drop(fs::File::open(&inbox));
                std::thread::sleep(Duration::from_micros(700));
            }
        });
        let delivering = scope.spawn(|| {
            let mut number = 40;
            while !over.load(SeqCst) {
                // Sleeps, so that some exchanges meet a file that is as the plan saw it.
                std::thread::sleep(Duration::from_millis(150 + (number as u64 * 37) % 200));
                let file = fs::File::options().append(true).open(&inbox).expect("the mailbox");
                rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
                (&file).write_all(letter(number).as_bytes()).expect("a delivery");
                number += 1;
            }
            number
        });
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end {
            // In place: the same inode, and nothing in the way of a delivery.
            let text = fs::read(&inbox).expect("the mailbox");
            if let Some(at) = memchr::memmem::find(&text, b"body of 7.") {
                let file = fs::File::options().write(true).open(&inbox).expect("the mailbox");
                std::os::unix::fs::FileExt::write_all_at(&file, b"\0", at as u64).expect("damage");
            }
            let repair = Repair { sources: vec![spec(&bench.replica)], apply: true, undecided: Undecided::Report };
            let answer = bench.tool.repair(&bench.store, &repair);
            assert!(answer.status & !(1 | 4 | 8) == 0, "{answer}");
            repaired += answer.count("repaired");
        }
        over.store(true, SeqCst);
        looking.join().expect("a reader");
        delivered = delivering.join().expect("deliveries");
    });
    let text = String::from_utf8_lossy(&fs::read(&inbox).expect("the mailbox")).into_owned();
    let lost: Vec<usize> = (40..delivered).filter(|number| !text.contains(&format!("Subject: {number}.\n"))).collect();
    assert!(lost.is_empty(), "{lost:?} of {delivered} are lost after {repaired} repairs");
    assert!(repaired > 0 && delivered > 50, "{repaired} repairs, {delivered} deliveries");
    assert!(!inbox.with_file_name("inbox.lock").exists());
    eprintln!("deliveries beside {repaired} exchanges: {}; lost 0", delivered - 40);
}
