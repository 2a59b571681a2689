//! A living store that was damaged: silently, after a users' day, and with changed times.

use crate::common::bench::{Bench, assert_none};
use crate::common::{Mailmend, corpus};
use mailmend::drill::damage::{DamageOptions, Kind, Times, folder_to_lose};
use mailmend::drill::day::{Change, DayOptions};
use mailmend::drill::truth::{Snapshot, Strictness};
use mailmend::drill::{DrillOptions, Found, Undecided, names};
use mailmend::model::{Missing, RelPath, Verdict};

/// 30 accounts with 3,000 messages; in a long run 50 with 5,000.
fn big() -> Bench {
    Bench::with(corpus::mails(11), if crate::common::long() { 50 } else { 30 }, 100)
}

/// Ten of each kind, a folder, nameless files, lost companions.
fn the_damage(times: Times, folder: Option<RelPath>) -> DamageOptions {
    DamageOptions { seed: 11, each: 10, strays: 5, companions: 3, folder, times, ..DamageOptions::default() }
}

fn the_day(spared: Option<RelPath>) -> DayOptions {
    DayOptions { seed: 11, flag_changes: 200, new_to_cur: 100, deletions: 50, moves: 20, deliveries: 20, spared }
}

/// What differs between the scenarios.
#[derive(Clone, Copy, Default)]
struct Scenario {
    /// Between last night's catalog and replica and the damage.
    users_day: bool,
    times: Times,
    /// The nightly verification runs after the damage.
    nightly: bool,
}

/// Verify, replicate, live, break; dry run; repair; second run; restore the undecided; second run; undo both.
fn play(mut bench: Bench, scenario: Scenario) {
    let folder = folder_to_lose(&bench.tree());
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let changes = if scenario.users_day { bench.day(&the_day(folder.clone())) } else { Vec::new() };
    let broken = bench.inflict(&changes, &the_damage(scenario.times, folder));
    let nightly = scenario.nightly.then(|| bench.tool.verify(&bench.store).expect(4));
    let mut found: Vec<Found> = nightly.map(|answer| answer.found()).unwrap_or_default();

    let dry = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, false)).expect(4);
    broken.assert_still_broken(&bench, "a dry run changes nothing");
    let first = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(4);
    assert_eq!(first.steps(), dry.steps(), "the dry run is the plan that is executed");
    found.extend(first.found());
    broken.assert_perfect(&bench, &first, &found, Undecided::Report);

    let again = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, false)).expect(4);
    assert_eq!(again.steps(), Vec::<String>::new(), "a second run finds nothing to do");
    let second = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, true)).expect(1);
    found.extend(second.found());
    broken.assert_perfect(&bench, &second, &found, Undecided::Restore);
    let last = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, false)).expect(0);
    assert_eq!(last.steps(), Vec::<String>::new(), "a second run finds nothing to do");
    let whole = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(whole.count("damaged") + whole.count("missing.lost") + whole.count("missing.undecided"), 0);

    bench.tool.undo(&second.run_name()).expect(0);
    bench.tool.undo(&first.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo gives back the damaged tree");
}

#[test]
fn s1_silent_damage() {
    play(big(), Scenario::default());
}

#[test]
fn s2_after_a_users_day() {
    play(big(), Scenario { users_day: true, ..Scenario::default() });
}

#[test]
fn s3_changed_times_and_a_nightly_run_in_between() {
    play(big(), Scenario { times: Times::Changed, nightly: true, ..Scenario::default() });
}

/// The same three as the mail user, who owns the store and has no privilege.
fn play_unprivileged(scenario: Scenario) {
    if crate::common::is_root() && !crate::common::absent(&["setpriv"]).is_empty() {
        return crate::common::skip("the scenarios as an unprivileged user", "setpriv is not installed");
    }
    play(Bench::with(corpus::mails(12), 10, 80).unprivileged(), scenario);
}

#[test]
fn s1_as_an_unprivileged_user_on_its_own_store() {
    play_unprivileged(Scenario::default());
}

#[test]
fn s2_as_an_unprivileged_user_on_its_own_store() {
    play_unprivileged(Scenario { users_day: true, ..Scenario::default() });
}

#[test]
fn s3_as_an_unprivileged_user_on_its_own_store() {
    play_unprivileged(Scenario { times: Times::Changed, nightly: true, ..Scenario::default() });
}

/// What users did to their mail is neither undone nor called damage.
#[test]
fn a_day_without_damage_is_no_finding() {
    let mut bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let day = DayOptions { deletions: 3, deliveries: 5, flag_changes: 30, new_to_cur: 8, moves: 4, ..the_day(None) };
    let changes = bench.day(&day);
    let evening = bench.tree();
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true));
    assert_eq!(answer.steps(), Vec::<String>::new(), "nothing to repair after {changes:?}");
    for found in answer.found() {
        let alarm = matches!(found.verdict, Verdict::Damaged | Verdict::Unreadable | Verdict::Missing(Missing::Lost));
        assert!(!alarm, "{found:?} after a normal day");
    }
    crate::common::bench::assert_same(&evening, &bench.tree(), "a users' day stays as it was");
}

#[test]
fn undecided_ones_go_into_a_folder_beside() {
    let bench = big();
    let folder = folder_to_lose(&bench.tree());
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &the_damage(Times::Kept, folder));
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Folder, true)).expect(1);
    let after = bench.tree();
    let undecided = undecided(&answer.found());
    assert!(undecided.len() > 10, "the lost folder is undecided: {answer}");
    for damage in broken.damages.iter().filter(|d| d.kind.looks_like_deletion()) {
        assert!(!after.contains(&damage.path), "{} came back in place", damage.path);
        if undecided.iter().any(|u| names::identity(u) == names::identity(&damage.path)) {
            let beside = recovered(&after, &damage.path);
            let right = beside.iter().any(|(_, e)| e.digest == damage.was.digest && e.mtime == damage.was.mtime);
            assert!(right, "{} is not in a Recovered folder with its date; there: {}", damage.path, beside.len());
        }
    }
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo takes the folder away again");
}

fn undecided(found: &[Found]) -> Vec<RelPath> {
    let undecided = found.iter().filter(|f| f.missing() == Some(Missing::Undecided));
    undecided.map(|f| f.path.clone()).collect()
}

/// Messages in a `Recovered` folder of the account that `path` belongs to.
fn recovered<'a>(tree: &'a Snapshot, path: &RelPath) -> Vec<(&'a RelPath, &'a mailmend::drill::truth::Entry)> {
    let account = names::account(path);
    let beside = |p: &RelPath| {
        let mailbox = names::mailbox(p).map(|(mailbox, _)| mailbox.to_string()).unwrap_or_default();
        p.strip_prefix(&account).is_some() && mailbox.contains("Recovered.")
    };
    tree.messages().filter(|(p, _)| beside(p)).collect()
}

/// A file that vanished although its folder's time stands still was deleted by nobody.
#[test]
fn a_disappearance_that_no_program_made_is_a_loss() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let options = DamageOptions { seed: 3, each: 1, folder_times_kept: true, ..DamageOptions::default() };
    let broken = bench.inflict(&[], &options);
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(1);
    for damage in broken.damages.iter().filter(|d| d.kind == Kind::Deleted) {
        let about = answer.found().into_iter().find(|f| names::identity(&f.path) == names::identity(&damage.path));
        let verdict = about.map(|f| f.verdict);
        assert_eq!(verdict, Some(Verdict::Missing(Missing::Lost)), "{}: {answer}", damage.path);
    }
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Report);
}

/// That nothing happened since is no new evidence: what nobody can tell apart stays undecided, night after night.
#[test]
fn an_undecided_message_does_not_become_lost_by_waiting() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.inflict(&[], &DamageOptions { seed: 4, each: 3, ..DamageOptions::default() });
    let first = bench.tool.verify(&bench.store).expect(4);
    assert!(first.count("missing.undecided") > 0, "{first}");
    let second = bench.tool.verify(&bench.store).expect(4);
    for count in ["missing.undecided", "missing.lost", "damaged", "presumed_deleted"] {
        let gone = count == "presumed_deleted";
        assert_eq!(second.count(count), if gone { 0 } else { first.count(count) }, "{count}: {second}");
    }
}

/// A filter that its owner deleted must not come back to life: it would forward or discard mail again.
#[test]
fn a_filter_that_its_owner_deleted_stays_deleted() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let tree = bench.tree();
    let (filter, _) = tree.files().find(|(path, _)| path.name().ends_with(b".sieve")).expect("a filter");
    std::fs::remove_file(bench.store.join(filter.as_path())).expect("removing");
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, true)).expect(0);
    assert!(!bench.tree().contains(filter), "{answer}");
    assert_eq!(answer.count("presumed_deleted"), 1, "{answer}");
}

/// A mailbox whose messages and uidlist vanished together was not emptied by its owner.
#[test]
fn a_mailbox_emptied_with_its_witnesses_is_lost() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let truth = bench.tree();
    let mailbox = folder_to_lose(&truth).expect("a folder");
    let inside = |p: &RelPath| names::mailbox(p).is_some_and(|(m, _)| m == mailbox);
    let uidlist = mailbox.join(b"dovecot-uidlist").expect("a name");
    for (path, _) in truth.files().filter(|(p, _)| inside(p) || **p == uidlist) {
        std::fs::remove_file(bench.store.join(path.as_path())).expect("removing");
    }
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect(1);
    assert_eq!(answer.count("missing.undecided"), 0, "{answer}");
    assert_none(&truth.differences(&bench.tree(), Strictness::Served), "the mailbox is back");
    bench.tool.undo(&answer.run_name()).expect(0);
}

/// New mail that came between the plan and its execution, and flags set meanwhile, survive.
#[test]
fn a_plan_applied_later_respects_what_happened_since() {
    let mut bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let damage = DamageOptions { seed: 4, each: 4, ..DamageOptions::default() };
    let broken = bench.inflict(&[], &damage);
    let plan = bench.dir.path().join("plan.jsonl");
    let mut args: Vec<std::ffi::OsString> = vec!["audit".into(), (&bench.store).into(), "--from".into()];
    args.extend([(&bench.replica).into(), "--save-plan".into(), (&plan).into()]);
    bench.tool.run(args).expect(4);
    broken.assert_still_broken(&bench, "an audit changes nothing");
    let changes = bench.day(&DayOptions { seed: 4, flag_changes: 25, deliveries: 5, ..DayOptions::default() });
    let evening = bench.tree();
    bench.tool.run(["repair".into(), (&bench.store).into(), "--plan".into(), plan.into_os_string(), "--apply".into()]);
    let after = bench.tree();
    for change in &changes {
        if let Change::Delivered { path } = change {
            let same = evening.get(path) == after.get(path);
            assert!(same, "the delivery {path} is not as it was");
        }
    }
    for (path, _) in after.messages() {
        let identity = names::identity(path).expect("a message");
        let standing = after.standing(&identity);
        assert_eq!(standing.len(), 1, "one message under several names: {standing:?}");
    }
}

#[test]
fn the_drill_is_perfect_through_the_binary() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut tool = Mailmend::with_state(dir.path().join("state"));
    let options = DrillOptions::in_dir(dir.path().join("drill"));
    let report = mailmend::drill::run(&options, &mut tool).expect("a drill");
    assert!(report.perfect(), "{}", report.table());
}
