//! As the mail user, on the mail user's own store: everything but what needs root works the same.

use crate::common::bench::Bench;
use crate::common::{NOBODY, is_root, skip, spec};
use mailmend::drill::Undecided;
use mailmend::drill::damage::DamageOptions;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn bench() -> Option<Bench> {
    if !is_root() {
        skip("the mail user", "needs root to become another user");
        return None;
    }
    let bench = Bench::small();
    fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    // A mail user may not write beside its store: only the place that was prepared for it.
    Some(bench.unprivileged())
}

#[test]
fn the_mail_user_verifies_repairs_and_takes_back() {
    let Some(bench) = bench() else { return };
    bench.tool.verify(&bench.store).expect(0);
    // Made by the same user, as an rsync of its own would be.
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 3, each: 4, strays: 2, ..DamageOptions::default() });
    let verified = bench.tool.verify(&bench.store).expect(4);
    assert!(verified.count("damaged") > 0, "{verified}");
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, true)).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Restore);
    for entry in walkdir::WalkDir::new(&bench.store) {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("stat").uid(), NOBODY, "{}", entry.path().display());
    }
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo");
}

#[test]
fn the_mail_user_fills_a_blank_disk() {
    let Some(bench) = bench() else { return };
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.blank(&[]);
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo");
}

/// Neither beside the store nor at its top may the mail user write: it names a place, and that one is used.
#[test]
fn the_quarantine_goes_where_the_mail_user_may_write() {
    let Some(bench) = bench() else { return };
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 4, each: 2, ..DamageOptions::default() });
    let place = bench.dir.path().join("place");
    fs::create_dir(&place).expect("a folder");
    std::os::unix::fs::chown(&place, Some(NOBODY), Some(NOBODY)).expect("chown");
    for dir in [bench.dir.path(), &bench.store] {
        std::os::unix::fs::chown(dir, Some(0), Some(0)).expect("chown");
        fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("chmod");
    }
    let args = ["repair", &spec(&bench.store), "--from", &spec(&bench.replica), "--undecided", "restore", "--apply"];
    let refused = bench.tool.run(args);
    assert_ne!(refused.status & 24, 0, "{refused}");
    assert!(refused.mentions("--quarantine"), "it says what to do: {refused}");
    assert!(!refused.mentions("panic"), "{refused}");

    let quarantine = place.join("quarantine");
    let answer = bench.tool.run(args.into_iter().chain(["--quarantine", &spec(&quarantine)])).expect(1);
    assert_eq!(fs::metadata(&quarantine).expect("the quarantine").mode() & 0o7777, 0o700);
    assert!(fs::read_dir(&quarantine).expect("the quarantine").count() > 0, "{answer}");
    bench.tool.undo(&answer.run_name()).expect(0);
    drop(broken);
}
