//! Sources that are not what they should be: rotten snapshots, damaged replicas, names of one inode.

use crate::common::bench::{Bench, Broken};
use crate::common::{Answer, spec};
use mailmend::drill::damage::{DamageOptions, Kind};
use mailmend::drill::truth::{Coding, Entry, Snapshot};
use mailmend::drill::{Repair, Undecided, copy, disk, names};
use mailmend::model::{RelPath, Verdict};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn some_damage(seed: u64) -> DamageOptions {
    DamageOptions { seed, mix: 10, each: 3, ..DamageOptions::default() }
}

fn only_spoilt(broken: &Broken) -> impl Iterator<Item = &mailmend::drill::damage::Damage> {
    broken.damages.iter().filter(|d| !d.kind.looks_like_deletion())
}

/// Insists that every damaged message is now as it was before the damage or as it was after it: nothing
/// else can be right.
#[track_caller]
fn assert_nothing_invented(bench: &Bench, broken: &Broken, answer: &Answer) {
    let after = bench.tree();
    for (path, is) in after.messages() {
        let digests = [broken.truth.get(path), broken.broken.get(path)].map(|e| e.map(|e| e.digest));
        assert!(digests.contains(&Some(is.digest)), "{path} holds what it never held: {answer}");
    }
}

#[test]
fn a_snapshot_that_already_holds_the_rot_does_not_win() {
    let bench = Bench::small();
    bench.snapshot("2025-02-22");
    bench.tool.verify(&bench.store).expect(0);
    let broken = bench.inflict(&[], &some_damage(1));
    bench.snapshot("2025-02-26");
    let repair = Repair { sources: vec![bench.snapshots()], apply: true, ..Repair::default() };
    let answer = bench.tool.repair(&bench.store, &repair);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
}

/// Without a catalog only damage that shows is found, and the older whole copy heals it.
#[test]
fn rot_in_the_newest_snapshot_does_not_win_without_a_catalog() {
    let bench = Bench::small();
    bench.snapshot("2025-02-22");
    let broken = bench.inflict(&[], &some_damage(2));
    bench.snapshot("2025-02-26");
    let repair = Repair { sources: vec![bench.snapshots()], apply: true, ..Repair::default() };
    let answer = bench.tool.repair(&bench.store, &repair);
    assert_nothing_invented(&bench, &broken, &answer);
    let after = bench.tree();
    for damage in only_spoilt(&broken).filter(|d| d.kind == Kind::Emptied) {
        let is = after.get(&damage.path).map(|e| e.digest);
        assert_eq!(is, Some(damage.was.digest), "the emptied {} is whole again: {answer}", damage.path);
    }
}

#[test]
fn a_damaged_replica_heals_what_it_can_and_nothing_else() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &some_damage(3));
    let hopeless: Vec<&RelPath> = only_spoilt(&broken).step_by(4).map(|d| &d.path).collect();
    spoil_replica(&bench, &broken, &hopeless);
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(4);
    let after = bench.tree();
    for damage in only_spoilt(&broken) {
        let is = after.get(&damage.path).expect("a damaged file stays or is healed");
        let expected =
            if hopeless.contains(&&damage.path) { broken.broken.get(&damage.path) } else { Some(&damage.was) };
        let same = expected.is_some_and(|e| e.digest == is.digest && e.mtime == is.mtime);
        assert!(same, "{} ({}, hopeless: {}): {answer}", damage.path, damage.kind, hopeless.contains(&&damage.path));
    }
    let score = broken.score(&bench, &answer.found(), Undecided::Report);
    assert!(score.accused.is_empty() && score.wrongly_restored.is_empty(), "{}", score.table());
    assert!(score.touched.is_empty(), "{}", score.table());
}

/// Damages the replica in other places, and in those that are hopeless then.
fn spoil_replica(bench: &Bench, broken: &Broken, hopeless: &[&RelPath]) {
    for path in hopeless {
        // Two that are damaged in different places could still make one that is whole.
        let file = bench.replica.join(path.as_path());
        let mtime = disk::mtime_of(&disk::stat(&file).expect("a copy"));
        disk::overwrite(&file, b"Subject: neither is this\n\n").expect("damage");
        disk::set_mtime(&file, mtime).expect("its time");
    }
    let tree = Snapshot::take(&bench.replica).expect("a readable replica");
    let needed: Vec<_> = broken.damages.iter().map(|d| names::identity(&d.path)).collect();
    let elsewhere = tree.messages().filter(|(p, _)| !needed.contains(&names::identity(p))).step_by(9);
    for (path, entry) in elsewhere {
        let file = bench.replica.join(path.as_path());
        disk::overwrite(&file, b"Subject: not what it was\n\n").expect("damage");
        disk::set_mtime(&file, entry.mtime).expect("its time");
    }
}

/// Other names of the damaged files themselves: as a source they are worth nothing.
#[test]
fn a_hard_linked_snapshot_shares_the_damage() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    let snapshot = bench.backup.join("2025-02-26");
    copy::linked(&bench.store, &snapshot, &bench.store).expect("hard links");
    // Every message has two names now, so the damage is done by hand.
    let broken = in_place(&bench, 6);
    let repair = Repair { sources: vec![bench.snapshots()], apply: true, ..Repair::default() };
    let answer = bench.tool.repair(&bench.store, &repair).expect(4);
    broken.assert_still_broken(&bench, "nothing can heal these");
    let damaged = answer.found().iter().filter(|f| f.verdict == Verdict::Damaged && !f.writes()).count();
    assert_eq!(damaged, broken.damages.len(), "{answer}");
}

/// Flips a letter's case in messages of the store, whatever else is linked to them.
fn in_place(bench: &Bench, count: usize) -> Broken {
    let truth = bench.tree();
    let victims: Vec<(RelPath, Entry)> = text_messages(&bench.store, &truth).into_iter().take(count).collect();
    for (path, entry) in &victims {
        swap_case(&bench.store.join(path.as_path()), entry);
    }
    let damage = |(path, was)| mailmend::drill::damage::Damage { kind: Kind::Bit, path, stray: None, was };
    let damages: Vec<_> = victims.into_iter().map(damage).collect();
    assert_eq!(damages.len(), count, "the store has enough plain messages");
    Broken { truth, broken: bench.tree(), damages, given_up: Vec::new() }
}

/// Uncompressed plain text in `cur`, without a second name inside the store.
fn text_messages(store: &Path, tree: &Snapshot) -> Vec<(RelPath, Entry)> {
    let mut inodes = std::collections::BTreeMap::new();
    tree.messages().for_each(|(_, e)| *inodes.entry(e.ino).or_insert(0) += 1);
    let plain = |path: &RelPath| {
        let bytes = disk::read(&store.join(path.as_path())).expect("a message");
        bytes.windows(31).any(|w| w == b"Content-Transfer-Encoding: 8bit") && bytes.ends_with(b"\n")
    };
    let fit = |(path, entry): &(&RelPath, &Entry)| {
        let claims = path.name().windows(3).any(|w| w == b",S=");
        entry.coding == Coding::Plain && inodes[&entry.ino] == 1 && claims && plain(path)
    };
    tree.messages().filter(fit).map(|(p, e)| (p.clone(), e.clone())).collect()
}

/// One bit, in a letter near the end: no size and no structure changes.
fn swap_case(file: &Path, entry: &Entry) {
    let mut bytes = disk::read(file).expect("a message");
    let letter = bytes.iter().rposition(u8::is_ascii_lowercase).expect("a letter");
    bytes[letter] ^= 0x20;
    disk::overwrite(file, &bytes).expect("damage");
    disk::set_mtime(file, entry.mtime).expect("its time");
}

/// Two snapshots agree on a wrong copy, but they are one inode; a replica disagrees. The wrong one must
/// not outvote it.
#[test]
fn two_names_of_one_inode_are_not_two_witnesses() {
    let bench = Bench::small();
    bench.replicate();
    let first = bench.snapshot("2025-02-24");
    let truth = bench.tree();
    let (path, entry) = text_messages(&bench.store, &truth).into_iter().next().expect("a plain message");
    swap_case(&first.join(path.as_path()), &entry);
    copy::linked(&first, &bench.backup.join("2025-02-26"), &first).expect("hard links");
    let live = bench.store.join(path.as_path());
    disk::overwrite(&live, b"").expect("damage");
    disk::set_mtime(&live, entry.mtime).expect("its time");

    let sources = vec![spec(&bench.replica), bench.snapshots()];
    let answer = bench.tool.repair(&bench.store, &Repair { sources, apply: true, ..Repair::default() });
    let is = bench.tree().get(&path).expect("the message").clone();
    assert!(is.digest == entry.digest || is.size == 0, "the rotten copy won: {answer}");
}

/// A source that does not have the account is an explained shortfall, not an error of ours.
#[test]
fn a_source_without_the_account_is_named() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    let other = bench.dir.path().join("other");
    let mut mails = mailmend::drill::corpus::Mails::generated(99);
    let one = mailmend::drill::world::WorldOptions { seed: 99, accounts: 1, messages: 10 };
    mailmend::drill::world::build(&other.join("elsewhere"), &mut mails, &one).expect("another store");
    let broken = bench.inflict(&[], &some_damage(4));
    let repair = Repair { sources: vec![spec(&other)], apply: true, ..Repair::default() };
    let answer = bench.tool.repair(&bench.store, &repair).expect_bits(4);
    assert_eq!(answer.count("repairable"), 0, "{answer}");
    assert!(answer.mentions("other"), "the source is named: {answer}");
    broken.assert_still_broken(&bench, "there was nothing to repair it from");
}

/// To heal a few messages, a few files of the source are read: all others may as well be locked away.
#[test]
fn only_what_is_needed_is_read_from_a_source() {
    let bench = Bench::small().unprivileged();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 6, each: 2, ..DamageOptions::default() });
    let needed: Vec<_> = broken.damages.iter().filter_map(|d| names::identity(&d.path)).collect();
    let replica = Snapshot::take(&bench.replica).expect("the replica");
    let mut locked = 0;
    for (path, _) in replica.messages() {
        if names::identity(path).is_some_and(|identity| !needed.contains(&identity)) {
            let file = bench.replica.join(path.as_path());
            fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("chmod");
            locked += 1;
        }
    }
    assert!(locked > 200, "{locked}");
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, true)).expect(1);
    assert_eq!(answer.count("not_checked"), 0, "{answer}");
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Restore);
}
