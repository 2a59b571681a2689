//! The campaign: worlds one after the other, each with every operation of repair, undo, redo and purge hit by
//! something. With `MAILMEND_SIMULATE` (seconds) on all cores with fresh seeds, else a few fixed ones.

use super::sim_others::{ACTS, Act};
use super::sim_story::{ERRNOS, Hit, Story, failures, purge_all, the_last_whole_copy_is_never_purged};
use super::sim_tests::{OVERLAYS, overlay};
use super::sim_world::{RUNS, World};
use crate::sys::simfs::{Fault, Overlay, Rest};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Findings after which a campaign ends: more tell nothing new.
const FINDINGS_MAX: usize = 20;
/// Between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What a campaign did, by name, and what it found.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: BTreeMap<&'static str, u64>,
    findings: Vec<String>,
}

impl Tally {
    fn add(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    fn merge(&mut self, other: Tally) {
        other.counts.into_iter().for_each(|(name, count)| self.add(name, count));
        self.findings.extend(other.findings);
    }

    fn count_hit(&mut self, hit: &Hit) {
        match hit.fault {
            Some(Fault::Fail { errno, forever, after, .. }) => {
                self.add("faults", 1);
                let at = ERRNOS.iter().position(|other| *other == errno).unwrap_or_default();
                self.add(["faults: EIO", "faults: ENOSPC", "faults: EROFS", "faults: EDQUOT", "faults: EMFILE"][at], 1);
                self.add(
                    match (forever, after) {
                        (true, _) => "faults, for ever",
                        (_, true) => "faults, done nevertheless",
                        _ => "faults, once",
                    },
                    1,
                );
            }
            Some(Fault::Short { then, .. }) => {
                self.add("short writes", 1);
                let name = match then {
                    Rest::Taken => "short writes: rest taken",
                    Rest::Refused(_) => "short writes: rest refused",
                    Rest::Lost => "short writes: rest lost",
                };
                self.add(name, 1);
            }
            Some(Fault::Die { .. }) | None => {}
        }
        if let Some(overlay) = hit.power {
            self.add("crash points", 1);
            let name = match overlay {
                Overlay::Keep => "crashes: unsynced kept",
                Overlay::Drop => "crashes: unsynced dropped",
                Overlay::Torn(_) => "crashes: unsynced torn",
            };
            self.add(name, 1);
        }
    }

    fn count_story(&mut self, story: &Story) {
        self.add("stories", 1);
        story.hits.iter().for_each(|hit| self.count_hit(hit));
        self.add("recoveries crashed", story.hits.iter().skip(1).filter(|hit| hit.power.is_some()).count() as u64);
        self.add("undos", story.runs().filter(|nth| nth % 2 == 1).count() as u64);
        self.add("redos", story.runs().filter(|nth| *nth == 2).count() as u64);
        if let Some((_, _, act)) = story.act {
            self.add("interferences", 1);
            let name = match act {
                Act::Rename => "interferences: renamed",
                Act::Edit => "interferences: edited",
                Act::Delete => "interferences: deleted",
                Act::Deliver => "interferences: delivered",
            };
            self.add(name, 1);
        }
    }

    /// One line.
    fn line(&self, seeds: &str, elapsed: Duration) -> String {
        let numbers = ["worlds", "stories", "crash points", "faults", "interferences", "recoveries crashed", "undos"];
        let numbers: Vec<String> = numbers.iter().map(|name| format!("{name} {}", self.get(name))).collect();
        format!("{:>5} s  seeds {seeds}  {}  findings {}", elapsed.as_secs(), numbers.join("  "), self.findings.len())
    }

    /// Everything.
    fn table(&self) -> String {
        let mut text = String::new();
        for (name, count) in &self.counts {
            writeln!(text, "  {name:<28} {count:>12}").expect("memory takes it");
        }
        let verdict = if self.findings.is_empty() { "  nothing was lost" } else { "" };
        writeln!(text, "  {:<28} {:>12}{verdict}", "findings", self.findings.len()).expect("memory takes it");
        text
    }
}

/// What happens when operation `at` of run `nth` is reached, one thing after the other.
fn stories(start: &World, nth: usize, at: u64, operations: u64, dice: &mut fastrand::Rng) -> Vec<Story> {
    let errno = ERRNOS[dice.usize(0..ERRNOS.len())];
    let faults = failures(at, errno);
    let which = dice.usize(0..3);
    let mut stories = vec![Story::of(nth, &[Hit::fault(faults[which])])];
    // Only a repair writes contents.
    if nth == 0 && dice.u8(0..4) == 0 {
        stories.push(Story::of(nth, &[Hit::fault(faults[3 + dice.usize(0..3)])]));
    }
    let cut = |at: u64, dice: &mut fastrand::Rng| {
        let torn = dice.u64(..);
        Hit::power(at, dice.bool(), overlay(dice.usize(0..OVERLAYS), torn))
    };
    let mut hits = vec![cut(at, dice)];
    if dice.u8(0..3) == 0 {
        hits.push(cut(dice.u64(0..30), dice));
        if dice.bool() {
            hits.push(cut(dice.u64(0..30), dice));
        }
    }
    stories.push(Story::of(nth, &hits));
    if dice.u8(0..4) == 0 {
        // An error, then the power.
        let overlay = overlay(dice.usize(0..OVERLAYS), at);
        let which = dice.usize(0..3);
        stories.push(Story::of(nth, &[Hit { fault: Some(faults[which]), power: Some(overlay) }]));
    }
    let act = ACTS[dice.usize(0..ACTS.len())];
    if let Some(victim) = dice.choice(start.victims())
        && dice.u8(0..3) == 0
        && !(start.fs.plain && victim.stands && act == Act::Edit)
    {
        let power = dice.u8(0..4) == 0;
        let late = (at + dice.u64(0..20)).min(operations);
        let hit = if power { cut(late, dice) } else { Hit { fault: None, power: None } };
        stories.push(Story { nth, hits: vec![hit], act: Some((at, victim, act)) });
    }
    stories
}

/// Everything that is tried with one seed on one kind of file system.
fn play(seed: u64, plain: bool, tally: &mut Tally) -> Result<(), String> {
    let mut dice = fastrand::Rng::with_seed(seed ^ u64::from(plain));
    let world = if seed.is_multiple_of(3) { World::small(seed, plain) } else { World::new(seed, plain) };
    for nth in 0..3 {
        let start = world.after(nth);
        let operations = start.operations(nth);
        tally.add("operations", operations);
        for at in 0..operations {
            for story in stories(&start, nth, at, operations, &mut dice) {
                tally.count_story(&story);
                story.nothing_lost_rerun_finishes_undo_restores(&start)?;
            }
        }
    }
    for runs in 1..RUNS.len() {
        let start = world.after(runs);
        let count = start.fork();
        count.fs.disarm();
        tally.add("purged", purge_all(&count, &count.fs).map_err(|error| error.to_string())?);
        for at in 0..count.fs.operations() {
            let torn = dice.u64(..);
            let errno = ERRNOS[dice.usize(0..ERRNOS.len())];
            let power = Hit::power(at, dice.bool(), overlay(dice.usize(0..OVERLAYS), torn));
            for hit in [Hit::fault(failures(at, errno)[dice.usize(0..3)]), power] {
                tally.add("purges", 1);
                tally.count_hit(&hit);
                the_last_whole_copy_is_never_purged(&start, runs, hit)?;
            }
        }
    }
    Ok(())
}

/// Plays one seed on both kinds of file systems. A panic is a finding too.
fn one_world(seed: u64) -> Tally {
    let mut tally = Tally::default();
    for plain in [false, true] {
        let played = catch_unwind(AssertUnwindSafe(|| play(seed, plain, &mut tally)));
        let found = match played {
            Ok(Ok(())) => continue,
            Ok(Err(text)) => text,
            Err(_) => "it panics, see above".to_owned(),
        };
        tally.findings.push(format!(
            "MAILMEND_SIM_SEED={seed} tests/run --simulate 1s\n  seed {seed}, {} exchange: {found}",
            if plain { "without" } else { "with" }
        ));
    }
    tally.add("worlds", 1);
    tally
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn campaign() {
    let Some(seconds) = number("MAILMEND_SIMULATE") else {
        let mut tally = Tally::default();
        (0..2).for_each(|seed| tally.merge(one_world(seed)));
        assert!(tally.findings.is_empty(), "{}", tally.findings.join("\n"));
        assert!(tally.get("crash points") > 100 && tally.get("faults") > 100 && tally.get("purged") > 0, "{tally:?}");
        return;
    };
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let first = number("MAILMEND_SIM_SEED").unwrap_or_else(|| clock().wrapping_mul(1_000_000));
    let tally = on_all_cores(first, Duration::from_secs(seconds));
    println!("{}", tally.table());
    assert!(tally.findings.is_empty(), "{}", tally.findings.join("\n"));
}

fn on_all_cores(first: u64, time: Duration) -> Tally {
    let (started, next, ended) = (Instant::now(), AtomicU64::new(first), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let lock = || tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seeds = || format!("{first}..{}", next.load(Ordering::Relaxed));
    let over = || started.elapsed() >= time || lock().findings.len() >= FINDINGS_MAX;
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let players: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        let played = one_world(next.fetch_add(1, Ordering::Relaxed));
                        lock().merge(played);
                    }
                })
            })
            .collect();
        let mut line = Instant::now();
        while !over() {
            std::thread::sleep(Duration::from_millis(50));
            if line.elapsed() >= LINE_EVERY {
                line = Instant::now();
                println!("{}", lock().line(&seeds(), started.elapsed()));
            }
        }
        ended.store(true, Ordering::Relaxed);
        drop(players);
    });
    println!("{}", lock().line(&seeds(), started.elapsed()));
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_finding_is_told_with_the_line_that_repeats_it() {
    let mut tally = Tally::default();
    tally.count_story(&Story::of(1, &[Hit::power(3, true, Overlay::Drop), Hit::power(1, true, Overlay::Keep)]));
    tally.findings.push("MAILMEND_SIM_SEED=7 tests/run --simulate 1s".to_owned());
    assert_eq!((tally.get("crash points"), tally.get("recoveries crashed"), tally.get("undos")), (2, 1, 2));
    assert!(!tally.table().contains("nothing was lost"));
    assert!(tally.line("7..8", Duration::ZERO).ends_with("findings 1"));
}
