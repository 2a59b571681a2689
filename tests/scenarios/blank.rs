//! The replaced disk: an empty store, and everything comes from sources and catalog.

use crate::common::bench::{Bench, Broken, assert_none, assert_same};
use crate::common::{skip, spec};
use mailmend::drill::damage::{DamageOptions, Touched, inflict};
use mailmend::drill::day::{Change, DayOptions};
use mailmend::drill::truth::{Difference, Snapshot, Strictness};
use mailmend::drill::{Repair, Undecided, copy, names, scene};
use mailmend::model::Missing;
use std::path::Path;

fn a_day(seed: u64) -> DayOptions {
    DayOptions { seed, flag_changes: 20, new_to_cur: 8, deletions: 6, moves: 4, deliveries: 8, spared: None }
}

/// Damages a copy of the store in places that the seed decides.
fn rot(tree: &Path, seed: u64, mix: usize) {
    let content = Snapshot::take(tree).expect("a readable copy");
    let options = DamageOptions { seed, mix, ..DamageOptions::default() };
    inflict(tree, &content, &Touched::default(), &options).expect("damage");
}

/// A store that lived two days between its three snapshots, of which the first two are damaged.
fn with_history() -> (Bench, Vec<Change>) {
    let mut bench = Bench::small();
    rot(&bench.snapshot("2025-02-22"), 22, 12);
    let mut changes = bench.day(&a_day(1));
    rot(&bench.snapshot("2025-02-24"), 24, 12);
    changes.extend(bench.day(&a_day(2)));
    bench.snapshot("2025-02-26");
    (bench, changes)
}

/// Folders with their owners and modes, and the companions that no server makes anew by itself.
fn assert_folders_and_companions(broken: &Broken, after: &Snapshot) {
    assert_none(&scene::companions_lost(&broken.truth, after), "companions");
    let all = broken.truth.differences(after, Strictness::Healed);
    let folder = |d: &Difference| broken.truth.get(&d.path).is_some_and(|e| e.is_dir);
    assert_none(&all.into_iter().filter(folder).collect::<Vec<_>>(), "folders");
}

#[test]
fn everything_of_last_night_comes_back_with_the_catalog() {
    let (bench, changes) = with_history();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.blank(&changes);
    let repair = |apply| Repair { sources: vec![spec(&bench.replica), bench.snapshots()], apply, ..Repair::default() };

    bench.tool.repair(&bench.store, &repair(false)).expect(4);
    broken.assert_still_broken(&bench, "a dry run changes nothing");
    let answer = bench.tool.repair(&bench.store, &repair(true)).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
    assert_folders_and_companions(&broken, &bench.tree());
    assert_eq!(
        answer.count("missing.lost"),
        broken.damages.len() as u64,
        "all of it is lost, none undecided: {answer}"
    );

    let again = bench.tool.repair(&bench.store, &repair(false)).expect(0);
    assert_eq!(again.steps(), Vec::<String>::new(), "a second run finds nothing to do");
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo gives back the empty disk");
}

/// The replica has rotted too, in other places than the snapshots.
#[test]
fn a_damaged_replica_is_filled_up_from_the_snapshots() {
    let (bench, changes) = with_history();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    rot(&bench.replica, 5, 12);
    let broken = bench.blank(&changes);
    let sources = vec![spec(&bench.replica), bench.snapshots()];
    let answer = bench.tool.repair(&bench.store, &Repair { sources, apply: true, ..Repair::default() }).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
}

/// What was delivered after the newest snapshot exists only in the replica; what no source has is reported.
#[test]
fn what_no_source_holds_stays_reported() {
    let (mut bench, mut changes) = with_history();
    let last = bench.day(&DayOptions { seed: 3, deliveries: 5, ..DayOptions::default() });
    bench.tool.verify(&bench.store).expect(0);
    changes.extend(last.clone());
    let broken = bench.blank(&changes);
    let sources = vec![bench.snapshots()];
    let answer = bench.tool.repair(&bench.store, &Repair { sources, apply: true, ..Repair::default() }).expect(4);
    let after = bench.tree();
    let unrecoverable = broken.damages.iter().filter(|d| !after.contains(&d.path)).count();
    assert_eq!(unrecoverable, last.len(), "only the last deliveries are missing: {answer}");
    for path in last.iter().filter_map(Change::now) {
        let about = answer.found().into_iter().find(|f| names::identity(&f.path) == names::identity(path));
        let about = about.unwrap_or_else(|| panic!("{path} is not reported: {answer}"));
        assert!(about.missing().is_some() && !about.writes(), "{about:?}");
    }
}

/// The newest snapshot was taken from the empty disk: it is not a usable generation. The replica lies on a file
/// system of its own, so that copies which agree with it are corroborated.
#[test]
fn the_newest_usable_generation_decides_without_a_catalog() {
    let (mut bench, changes) = with_history();
    let Some(elsewhere) = other_file_system(bench.dir.path()) else {
        return skip("a replica on another file system", "/dev/shm is none");
    };
    bench.replica = elsewhere.path().join("replica");
    bench.replicate();
    let broken = bench.blank(&changes);
    copy::plain(&bench.store, &bench.backup.join("2025-02-28")).expect("a snapshot of nothing");
    bench.forget();
    let sources = vec![spec(&bench.replica), bench.snapshots()];

    let repair = Repair { sources, apply: true, undecided: Undecided::Report };
    let answer = bench.tool.repair(&bench.store, &repair).expect(4);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
    assert_folders_and_companions(&broken, &bench.tree());
    let undecided: Vec<_> = answer.found().into_iter().filter(|f| f.missing() == Some(Missing::Undecided)).collect();
    assert!(!undecided.is_empty(), "what only older generations hold is undecided: {answer}");
    for found in &undecided {
        let identity = names::identity(&found.path).unwrap_or_else(|| panic!("{found:?} is no message"));
        assert!(broken.given_up.iter().any(|g| names::identity(g).as_ref() == Some(&identity)), "{found:?}");
    }
    bench.tool.undo(&answer.run_name()).expect(0);
    assert_same(&broken.broken, &bench.tree(), "undo gives back the empty disk");
}

/// Without a catalog, snapshots on one file system that hold different contents, each whole by all signs, are a
/// tie: refused and shown, never settled by age or by number. Everything else comes back.
#[test]
fn contents_that_nothing_tells_apart_are_refused_and_shown() {
    let (mut bench, changes) = with_history();
    let broken = bench.blank(&changes);
    bench.forget();
    let repair = Repair { sources: vec![bench.snapshots()], apply: true, undecided: Undecided::Report };
    let answer = bench.tool.repair(&bench.store, &repair).expect(4);
    let score = broken.score(&bench, &answer.found(), Undecided::Report);
    assert!(score.accused.is_empty() && score.wrongly_restored.is_empty() && score.touched.is_empty(), "{answer}");
    let after = bench.tree();
    let refused: Vec<_> = broken.damages.iter().filter(|d| !after.contains(&d.path)).collect();
    assert!(refused.len() <= 24, "{} of at most 24 that rotted in a snapshot", refused.len());
    for damage in &refused {
        let about = answer.found().into_iter().find(|f| names::identity(&f.path) == names::identity(&damage.path));
        let about = about.unwrap_or_else(|| panic!("{} is not reported: {answer}", damage.path));
        assert!(about.missing() == Some(Missing::Lost) && !about.writes(), "{about:?}");
    }
    let wrong = broken.truth.differences(&after, Strictness::Served);
    let wrong: Vec<_> = wrong.into_iter().filter(|d| after.contains(&d.path)).collect();
    assert_none(&wrong, "what came back is exact");
}

/// A folder on another file system than `here`.
fn other_file_system(here: &Path) -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir_in("/dev/shm").ok()?;
    let dev = |path: &Path| path.metadata().map(|m| m.dev()).ok();
    (dev(dir.path()) != dev(here)).then_some(dir)
}

/// Into another folder: the store is left alone.
#[test]
fn a_repair_into_another_folder_leaves_the_store_alone() {
    let (bench, changes) = with_history();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.blank(&changes);
    let into = bench.dir.path().join("into");
    std::fs::create_dir(&into).expect("a folder");
    let args = ["repair".into(), spec(&bench.store), "--from".into(), spec(&bench.replica)];
    let rest = ["--into".into(), spec(&into), "--apply".into()];
    let answer = bench.tool.run(args.into_iter().chain(rest));
    broken.assert_still_broken(&bench, "the store is left alone");
    let restored = Snapshot::take(&into).expect("a readable folder");
    for damage in &broken.damages {
        let is = restored.get(&damage.path).unwrap_or_else(|| panic!("{} is not there: {answer}", damage.path));
        assert_eq!(damage.was.difference(is, Strictness::Served), None, "{}", damage.path);
    }
}
