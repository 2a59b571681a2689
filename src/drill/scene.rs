//! The two scenes of a drill: a living store that was damaged, and a replaced disk.
//!
//! Writes only below the folder that it is given; everything else is done by the tool under test.

use super::corpus::Mails;
use super::damage::{self, DamageOptions, Touched};
use super::day::{self, Change, DayOptions};
use super::disk::{DrillError, Result};
use super::score::{self, Case, Score};
use super::tool::{Heard, Repair, Tool, Undecided};
use super::truth::{Difference, Snapshot, Strictness};
use super::{DrillOptions, copy, names};
use crate::model::RelPath;
use std::path::Path;
use std::time::{Duration, Instant};

/// One scene, played to its end.
#[derive(Debug, Clone, Default)]
pub struct SceneReport {
    pub name: &'static str,
    pub score: Score,
    /// What every phase took, in order.
    pub phases: Vec<(&'static str, Duration)>,
    /// What went wrong besides the score: a second run that found work, an undo that left traces.
    pub failures: Vec<String>,
}

impl SceneReport {
    pub fn perfect(&self) -> bool {
        self.score.perfect() && self.failures.is_empty()
    }

    fn timed<T>(&mut self, phase: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = work();
        self.phases.push((phase, start.elapsed()));
        result
    }

    fn expect_equal(&mut self, what: &str, differences: &[Difference]) {
        let first: Vec<String> = differences.iter().take(3).map(ToString::to_string).collect();
        if !differences.is_empty() {
            self.failures.push(format!("{what}: {} differences, first {}", differences.len(), first.join("; ")));
        }
    }

    /// A second run has nothing to do.
    fn expect_idle(&mut self, heard: &Heard) {
        let steps: Vec<String> = heard.found.iter().filter(|f| f.writes()).map(|f| f.path.to_string()).collect();
        if !steps.is_empty() {
            self.failures.push(format!("a second run would change {} messages, first {}", steps.len(), steps[0]));
        }
    }
}

/// A living store: a night's verification, a users' day, the damage, the repair from a replica and an
/// older snapshot; then the undecided ones are brought back, and both repairs are undone.
pub fn living(
    dir: &Path,
    store: &Path,
    mails: &mut Mails,
    tool: &mut dyn Tool,
    options: &DrillOptions,
) -> Result<SceneReport> {
    let mut scene = SceneReport { name: "damaged store", ..SceneReport::default() };
    let (replica, backup) = (dir.join("replica"), dir.join("backup"));
    let size = options.accounts * options.messages;
    scene.timed("older snapshot", || copy::plain(store, &backup.join("2025-02-22")))?;
    let start = Snapshot::take(store)?;
    let folder = damage::folder_to_lose(&start);
    let mut given_up = lost_to_users(&day::live(store, &start, mails, &a_day(options.seed, size, folder.clone()))?);
    scene.timed("verify", || tool.verify(store))?;
    scene.timed("replica", || copy::plain(store, &replica))?;

    let changes = day::live(store, &Snapshot::take(store)?, mails, &a_day(options.seed + 1, size, folder.clone()))?;
    given_up.extend(lost_to_users(&changes));
    let truth = Snapshot::take(store)?;
    let damages = damage::inflict(store, &truth, &Touched::by(&changes), &the_damage(options.seed, size, folder))?;
    let broken = Snapshot::take(store)?;

    let mut repair =
        Repair { sources: vec![text(&replica)?, text(&backup.join("20*"))?], apply: true, ..Repair::default() };
    let first = scene.timed("repair", || tool.repair(store, &repair))?;
    let after = Snapshot::take(store)?;
    let case = Case {
        truth: &truth,
        broken: &broken,
        after: &after,
        damages: &damages,
        given_up: &given_up,
        found: &first.found,
        undecided: Undecided::Report,
    };
    scene.score = score::score(&case);

    let dry = Repair { apply: false, ..repair.clone() };
    let again = scene.timed("second run", || tool.repair(store, &dry))?;
    scene.expect_idle(&again);
    repair.undecided = Undecided::Restore;
    let second = scene.timed("restore undecided", || tool.repair(store, &repair))?;
    let after = Snapshot::take(store)?;
    let found = [&first.found[..], &second.found[..]].concat();
    let restored = score::score(&Case { after: &after, found: &found, undecided: Undecided::Restore, ..case });
    scene.failures.extend(restored.complaints(3).iter().map(|c| format!("with the undecided restored: {c}")));
    undo(&mut scene, tool, store, &broken, &[second.run, first.run])?;
    Ok(scene)
}

/// A replaced disk: an empty store, last night's catalog, a replica and three snapshots, of which the
/// replica and two snapshots are damaged themselves.
pub fn replaced(dir: &Path, from: &Path, tool: &mut dyn Tool, options: &DrillOptions) -> Result<SceneReport> {
    let mut scene = SceneReport { name: "replaced disk", ..SceneReport::default() };
    let (store, replica, backup) = (dir.join("store"), dir.join("replica"), dir.join("backup"));
    copy::plain(from, &store)?;
    scene.timed("verify", || tool.verify(&store))?;
    let truth = Snapshot::take(&store)?;
    let size = options.accounts * options.messages;
    let copies = [(&replica, 1), (&backup.join("2025-02-22"), 2), (&backup.join("2025-02-24"), 3)];
    for (to, seed) in copies {
        copy::plain(&store, to)?;
        let rot = DamageOptions { seed: options.seed + seed, mix: size / 40, ..DamageOptions::default() };
        damage::inflict(to, &truth, &Touched::default(), &rot)?;
    }
    copy::plain(&store, &backup.join("2025-02-26"))?;
    let damages = damage::blank(&store, &truth)?;
    let broken = Snapshot::take(&store)?;

    let repair =
        Repair { sources: vec![text(&replica)?, text(&backup.join("20*"))?], apply: true, ..Repair::default() };
    let heard = scene.timed("repair", || tool.repair(&store, &repair))?;
    let after = Snapshot::take(&store)?;
    scene.score = score::score(&Case {
        truth: &truth,
        broken: &broken,
        after: &after,
        damages: &damages,
        given_up: &[],
        found: &heard.found,
        undecided: Undecided::Report,
    });
    scene.expect_equal("companions", &companions_lost(&truth, &after));
    let again = scene.timed("second run", || tool.repair(&store, &Repair { apply: false, ..repair }))?;
    scene.expect_idle(&again);
    undo(&mut scene, tool, &store, &broken, &[heard.run])?;
    Ok(scene)
}

/// Takes the runs back, the last one first, and compares with the tree before them.
fn undo(scene: &mut SceneReport, tool: &mut dyn Tool, store: &Path, before: &Snapshot, runs: &[String]) -> Result<()> {
    scene.timed("undo", || runs.iter().try_for_each(|run| tool.undo(run).map(drop)))?;
    let differences = before.differences(&Snapshot::take(store)?, Strictness::Healed);
    scene.expect_equal("after the undo", &differences);
    Ok(())
}

/// Companion files that a restore must bring back (what servers recalculate themselves is left out).
pub fn companions_lost(truth: &Snapshot, after: &Snapshot) -> Vec<Difference> {
    let kept = |path: &RelPath| {
        let name = path.name();
        [&b"dovecot-uidlist"[..], b"dovecot-keywords", b"subscriptions"].contains(&name) || name.ends_with(b".sieve")
    };
    let all = truth.differences(after, Strictness::Served);
    all.into_iter().filter(|d| kept(&d.path) && truth.contains(&d.path)).collect()
}

/// Where messages stood that their owners deleted or moved away.
pub fn lost_to_users(changes: &[Change]) -> Vec<RelPath> {
    let gone = |c: &Change| match c {
        Change::Deleted { path } => Some(path.clone()),
        Change::Moved { from, .. } => Some(from.clone()),
        _ => None,
    };
    let paths = changes.iter().filter_map(gone);
    paths.filter(|p| names::identity(p).is_some()).collect()
}

/// A day in proportion to the store.
fn a_day(seed: u64, size: usize, spared: Option<RelPath>) -> DayOptions {
    let part = |n: usize| (size / n).max(2);
    DayOptions {
        seed,
        flag_changes: part(20),
        new_to_cur: part(60),
        deletions: part(60),
        moves: part(100),
        deliveries: part(60),
        spared,
    }
}

/// Damage in proportion to the store.
fn the_damage(seed: u64, size: usize, folder: Option<RelPath>) -> DamageOptions {
    let part = |n: usize| (size / n).max(2);
    DamageOptions {
        seed,
        mix: part(40),
        each: part(150),
        strays: part(200),
        companions: 2,
        folder,
        ..Default::default()
    }
}

/// A source as after `--from`.
fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_string);
    text.ok_or_else(|| DrillError::Setup(format!("{}: not UTF-8", path.display())))
}
