//! The lock files that mailmend and Dovecot share.

use crate::common::spec;
use crate::kit;
use crate::server::{Dovecot, give};
use mailmend::drill::{Repair, Undecided, copy};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A process that may hold a lock.
struct Other(Child);

impl Other {
    fn start() -> Other {
        Other(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    /// Puts its lock on a mailbox.
    fn lock(&self, mailbox: &Path) -> PathBuf {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let path = mailbox.join("dovecot-uidlist.lock");
        fs::write(&path, format!("{}:{}", self.0.id(), host.trim())).expect("a lock");
        give(&path);
        path
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_busy_mailbox_is_held_and_the_rest_healed_under_the_old_uids() {
    if !kit::can("a busy mailbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    let work = kit::mailbox(&inbox.join(".Work"));
    let files = [&inbox, &work].map(|mailbox| (0..20).map(|n| kit::deliver(mailbox, n, 3000)).collect::<Vec<_>>());
    give(&bench.store);
    let mut server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    let golden = ["INBOX", "Work"].map(|mailbox| server.imap("ann").golden(mailbox));
    assert_eq!(golden[0].messages.len(), 20);
    server.stop();
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a replica");
    for files in &files {
        kit::lose(&files[7]);
    }
    let other = Other::start();
    let lock = other.lock(&inbox);
    let repair = Repair { sources: vec![spec(&bench.replica)], apply: true, undecided: Undecided::Restore };
    let start = Instant::now();
    let answer = bench.tool.repair(&bench.store, &repair).expect_bits(4);
    let took = start.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(30), "it waited {took:?}");
    assert_eq!((answer.count("held"), answer.count("repaired")), (1, 1), "{answer}");
    assert!(answer.mentions(&format!("held by process {}", other.0.id())), "{answer}");
    assert!(lock.exists() && !files[0][7].exists() && files[1][7].exists());
    drop(other);
    // Its holder is dead, so nobody needs to remove it.
    let answer = bench.tool.repair(&bench.store, &repair).expect(1);
    assert_eq!((answer.count("held"), answer.count("repaired")), (0, 1), "{answer}");
    assert!(!lock.exists());
    server.go();
    assert_eq!(["INBOX", "Work"].map(|mailbox| server.imap("ann").golden(mailbox)), golden);
    assert_eq!(server.complaints(), Vec::<String>::new());
}

/// What mailmend writes into its locks is what Dovecot goes by.
#[test]
fn dovecot_respects_a_living_lock_and_removes_a_dead_one() {
    if !kit::can("a lock that Dovecot meets", true, &["dovecot", "doveadm", "timeout"]) {
        return;
    }
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    kit::deliver(&inbox, 1, 3000);
    give(&bench.store);
    let server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    assert_eq!(server.imap("ann").golden("INBOX").messages.len(), 1);
    let other = Other::start();
    let lock = other.lock(&inbox);
    let flag = |flag: &str| server.doveadm(&["flags", "add", "-u", "ann", flag, "mailbox", "INBOX", "ALL"]);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| flag("\\Flagged"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!waiting.is_finished(), "it goes on in spite of the lock");
        drop(other);
        assert!(waiting.join().expect("doveadm").status.success());
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "it took {took:?} to see that the holder is dead");
    assert!(!lock.exists());
    assert!(server.imap("ann").golden("INBOX").messages.values().all(|m| m.flags.contains("\\Flagged")));
}
