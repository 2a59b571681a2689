//! Nights that build on each other: what one run records or leaves out must not mislead the next.

use crate::common::{Answer, Mailmend, spec, words};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// An empty store beside its sources, and a state of its own.
struct Place {
    dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, state) = (dir.path().join("store"), dir.path().join("state"));
        fs::create_dir(&store).expect("a store");
        Place { dir, store, tool: Mailmend::with_state(state) }
    }

    fn verify(&self, more: &[&str]) -> Answer {
        self.tool.run(words(&["verify"]).chain([self.store.clone().into()]).chain(words(more)))
    }

    fn snapshot(&self, date: &str) -> PathBuf {
        self.dir.path().join("backup").join(date)
    }

    fn with_snapshots(&self, command: &str, more: &[&str]) -> Answer {
        let from = spec(&self.dir.path().join("backup/20*"));
        let store: OsString = self.store.clone().into();
        self.tool.run(words(&[command]).chain([store]).chain(words(&["--from", &from])).chain(words(more)))
    }
}

/// A mailbox folder.
fn mailbox(base: &Path, name: &str) -> PathBuf {
    let folder = base.join(name);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(sub)).expect("a mailbox");
    }
    folder
}

/// Puts messages `from..to` into the mailbox's `cur`.
fn fill(mailbox: &Path, from: u32, to: u32) {
    for n in from..to {
        let text = format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\nbody {n}\n");
        fs::write(message(mailbox, n), text).expect("a message");
    }
}

fn message(mailbox: &Path, n: u32) -> PathBuf {
    mailbox.join(format!("cur/1700000{n:03}.M{n}P1.mx:2,S"))
}

#[test]
fn a_disappearance_is_no_error_of_a_run_that_looks_at_new_mail_only() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 0, 40);
    place.verify(&[]).expect(0);
    fs::remove_file(message(&inbox, 3)).expect("a deletion");
    assert_eq!(place.verify(&["--since", "2000-01-01"]).expect(0).count("presumed_deleted"), 1);
    assert_eq!(place.verify(&[]).expect(0).count("presumed_deleted"), 1, "the whole look still sees it");
    assert_eq!(place.verify(&[]).expect(0).count("presumed_deleted"), 0, "and records it once");
}

/// What somebody said is final does not rise with what is undecided.
#[test]
fn what_was_accepted_as_deleted_is_not_restored_with_the_undecided() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 0, 40);
    fill(&mailbox(&place.snapshot("2026-11-01"), "ann"), 0, 40);
    place.verify(&[]).expect(0);
    (0..8).for_each(|n| fs::remove_file(message(&inbox, n)).expect("a clean-up"));
    let night = place.verify(&[]).expect(4);
    place.tool.run(["accept", &night.run_name(), "--reason", "she tidied up"]).expect(0);
    (10..18).for_each(|n| fs::remove_file(message(&inbox, n)).expect("an accident"));
    place.verify(&[]).expect(4);
    let repair = place.with_snapshots("repair", &["--apply", "--undecided", "restore"]).expect(1);
    assert_eq!((repair.count("repaired"), repair.count("accepted")), (8, 8), "{repair}");
    assert!((10..18).all(|n| message(&inbox, n).exists()) && !(0..8).any(|n| message(&inbox, n).exists()));
}

/// Neither what went before nor what only moved makes a loss of the one that its owner deletes today.
#[test]
fn only_what_left_for_good_today_counts_as_gone_at_once() {
    let place = Place::new();
    let (inbox, archive) = (mailbox(&place.store, "ann"), mailbox(&place.store, "ann/.Archive"));
    fill(&inbox, 0, 40);
    place.verify(&[]).expect(0);
    (0..8).for_each(|n| fs::remove_file(message(&inbox, n)).expect("a clean-up"));
    assert_eq!(place.verify(&[]).expect(4).count("missing.undecided"), 8);
    fs::remove_file(message(&inbox, 10)).expect("a deletion");
    (20..26).for_each(|n| fs::rename(message(&inbox, n), message(&archive, 500 + n)).expect("a move"));
    let after = place.verify(&[]).expect(4);
    let counts = ["presumed_deleted", "moved", "missing.undecided"].map(|name| after.count(name));
    assert_eq!(counts, [1, 6, 8], "{after}");
}

#[test]
fn an_encrypted_message_is_proven_from_the_second_night_on() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 0, 5);
    let mut sealed = b"CRYPTED\x03\x07\x02".to_vec();
    sealed.extend((0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    fs::write(message(&inbox, 9), &sealed).expect("an encrypted message");
    assert_eq!(place.verify(&[]).expect(0).count("undetermined"), 1);
    let second = place.verify(&[]).expect(0);
    assert_eq!((second.count("undetermined"), second.count("intact.identical")), (0, 6), "{second}");
    sealed[2000] ^= 1;
    fs::write(message(&inbox, 9), &sealed).expect("a flipped bit");
    assert_eq!(place.verify(&[]).expect(4).count("damaged"), 1);
    fs::remove_dir_all(&inbox).expect("a loss");
    let lost = place.verify(&[]).expect_bits(4);
    assert_eq!(lost.count("missing.lost"), 6, "{lost}");
}

#[test]
fn messages_that_another_run_saw_in_their_new_folder_are_moved() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    let archive = mailbox(&place.store, "ann/.Archive");
    fill(&inbox, 0, 40);
    fill(&archive, 100, 110);
    place.verify(&[]).expect(0);
    for n in 0..10 {
        fs::rename(message(&inbox, n), message(&archive, 500 + n)).expect("a move");
    }
    place.verify(&["--mailbox", "Archive"]).expect(0);
    let after = place.verify(&[]).expect(0);
    assert_eq!((after.count("moved"), after.count("missing.undecided")), (10, 0), "{after}");
}

#[test]
fn a_newer_snapshot_that_cannot_be_listed_is_no_evidence_of_deletion() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 20, 22);
    let (old, newest) = (place.snapshot("2026-11-01"), place.snapshot("2026-11-02"));
    fill(&mailbox(&old, "ann"), 0, 22);
    let broken = mailbox(&newest, "ann");
    fs::remove_dir(broken.join("cur")).expect("cur goes");
    fs::write(broken.join("cur"), "").expect("a file where cur was");
    fs::copy(message(&inbox, 20), broken.join("new/1700000020.M20P1.mx")).expect("a message");
    let answer = place.with_snapshots("audit", &[]).expect_bits(4 | 8);
    assert_eq!((answer.count("missing.undecided"), answer.count("deleted")), (20, 0), "{answer}");
}

#[test]
fn an_account_that_only_an_older_snapshot_holds_is_not_restored_by_default() {
    let place = Place::new();
    fill(&mailbox(&place.store, "ann"), 0, 5);
    for date in ["2026-11-01", "2026-11-02"] {
        fill(&mailbox(&place.snapshot(date), "ann"), 0, 5);
    }
    fill(&mailbox(&place.snapshot("2026-11-01"), "bob"), 50, 55);
    let answer = place.with_snapshots("repair", &["--apply"]).expect(4);
    assert_eq!((answer.count("missing.undecided"), answer.count("missing.lost")), (5, 0), "{answer}");
    assert!(!place.store.join("bob").exists(), "a deleted account stays deleted");
}

#[test]
fn a_result_is_never_written_into_a_source_or_the_store() {
    let place = Place::new();
    fill(&mailbox(&place.store, "ann"), 0, 5);
    let snapshot = place.snapshot("2026-11-01");
    fill(&mailbox(&snapshot, "ann"), 0, 6);
    fs::remove_dir_all(place.store.join("ann")).expect("a loss");
    for into in [snapshot.join("result"), snapshot.clone(), place.store.join("result")] {
        place.with_snapshots("repair", &["--apply", "--into", &spec(&into)]).expect_refusal("touch");
    }
    assert!(!snapshot.join("result").exists() && !place.store.join("result").exists(), "nothing was made");
}

/// What tells loss from deletion may be mended by the repair itself: the loss stays open.
#[test]
fn what_a_repair_left_undecided_is_not_forgotten_by_the_next_audit() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 0, 40);
    let backup = mailbox(&place.snapshot("2026-11-01"), "ann");
    fill(&backup, 7, 8);
    place.verify(&[]).expect(0);
    fs::write(message(&inbox, 7), vec![0; 3000]).expect("damage");
    fs::remove_file(message(&inbox, 3)).expect("a disappearance");
    let repair = place.with_snapshots("repair", &["--apply"]).expect(4);
    assert_eq!((repair.count("repaired"), repair.count("missing.undecided")), (1, 1), "{repair}");
    let audit = place.tool.run(words(&["audit"]).chain([place.store.clone().into()])).expect(4);
    assert_eq!((audit.count("damaged"), audit.count("missing.undecided")), (0, 1), "{audit}");
    let mut check = place.tool.command();
    let check =
        check.arg("--state").arg(&place.tool.state).arg("check").arg(&place.store).output().expect("the binary");
    assert_eq!(check.status.code(), Some(1), "{}", String::from_utf8_lossy(&check.stdout));
    let night = place.verify(&[]).expect(4);
    assert_eq!(night.count("missing.undecided"), 1, "{night}");
    fill(&inbox, 3, 4);
    place.verify(&[]).expect(0);
}

/// The next verify finds by itself what came after the last one, whatever an audit recorded in between.
#[test]
fn an_audit_records_a_loss_and_no_listing() {
    let place = Place::new();
    let inbox = mailbox(&place.store, "ann");
    fill(&inbox, 0, 40);
    place.verify(&[]).expect(0);
    fill(&inbox, 50, 51);
    fill(&mailbox(&place.snapshot("2026-11-30"), "ann"), 50, 51);
    (0..20).for_each(|n| fs::remove_file(message(&inbox, n)).expect("a loss"));
    let audit = place.tool.run(words(&["audit"]).chain([place.store.clone().into()])).expect(4);
    assert_eq!(audit.count("missing.undecided"), 20, "{audit}");
    fs::remove_file(message(&inbox, 50)).expect("a loss");
    let after = place.with_snapshots("audit", &[]);
    assert_eq!(after.count("missing.undecided"), 20, "{after}");
}

/// A list that the disk does not give is neither empty nor gone: nothing is concluded from it, and nothing written.
#[test]
fn a_list_of_uids_that_cannot_be_read_is_not_an_absent_one() {
    let place = Place::new();
    let (inbox, theirs) = (mailbox(&place.store, "ann"), mailbox(&place.snapshot("2026-11-01"), "ann"));
    fill(&inbox, 0, 40);
    fill(&theirs, 0, 40);
    place.verify(&[]).expect(0);
    let lines: String = (0..40).map(|n| format!("{} :1700000{n:03}.M{n}P1.mx\n", n + 1)).collect();
    let list = format!("3 V1700000000 N41 G00112233445566778899aabbccddeeff\n{lines}");
    fs::write(theirs.join("dovecot-uidlist"), list).expect("a list");
    let huge = fs::File::create(inbox.join("dovecot-uidlist")).expect("a list");
    huge.set_len(64 << 20).expect("a list too long to be read");
    let audit = place.with_snapshots("audit", &[]);
    assert_eq!(audit.status, 8, "{audit}");
    assert!(audit.count("not_checked") == 1 && audit.mentions("ann/dovecot-uidlist"), "{audit}");
    assert_eq!((audit.count("companions_lost"), audit.count("repairable")), (0, 0), "{audit}");
    let repair = place.with_snapshots("repair", &["--apply"]);
    assert_eq!((repair.status, repair.count("companions_repaired")), (8, 0), "{repair}");
    let there = fs::metadata(inbox.join("dovecot-uidlist")).expect("the list");
    assert_eq!(there.len(), 64 << 20, "it stays as it was");
}
