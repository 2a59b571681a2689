//! The executor against everything that can go wrong, in small seeded worlds: every operation fails, once and
//! for ever; the power goes at every operation, and again in the recovery; others act before every operation.

use super::sim_others::{ACTS, Act};
use super::sim_story::{ERRNOS, Hit, Story, failures, purge_all, the_last_whole_copy_is_never_purged};
use super::sim_world::World;
use crate::sys::fs::Tree;
use crate::sys::simfs::{Fault, Overlay, Rest};
use rustix::io::Errno;

/// How many worlds to try: a few, or as many as `MAILMEND_SIM_WORLDS` says.
pub(super) fn worlds() -> u64 {
    std::env::var("MAILMEND_SIM_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[track_caller]
fn ok(result: Result<(), String>, seed: u64, plain: bool) {
    if let Err(text) = result {
        panic!("seed {seed} plain {plain}: {text}");
    }
}

#[test]
fn undisturbed_repair_undo_redo_and_undo_again() {
    for seed in 0..30 * worlds() {
        for plain in [false, true] {
            let mut world = World::new(seed, plain);
            let applied = world.repair().unwrap();
            assert_eq!((applied.failed, applied.conflicts), (0, world.conflicts()), "seed {seed}: {:#?}", world.told);
            ok(world.finished(0), seed, plain);
            world.rest();
            let healed = world.fs.tree();
            let undone = world.undo().unwrap();
            assert_eq!((undone.done, undone.conflicts, undone.failed), (applied.done, 0, 0), "seed {seed}");
            ok(world.finished(1), seed, plain);
            assert_eq!(world.undo().unwrap().done, 0, "once is enough");
            world.rest();
            world.redo().unwrap();
            ok(world.finished(2), seed, plain);
            assert_eq!(world.fs.tree(), healed, "seed {seed}");
            world.rest();
            world.run(3).unwrap();
            ok(world.finished(3), seed, plain);
        }
    }
}

#[test]
fn every_operation_fails_with_every_error() {
    for seed in 0..worlds().div_ceil(2) {
        for plain in [false, true] {
            let world = World::small(seed, plain);
            for nth in 0..2 {
                let start = world.after(nth);
                for at in 0..start.operations(nth) {
                    for fault in ERRNOS.iter().flat_map(|errno| failures(at, *errno)) {
                        let story = Story::of(nth, &[Hit::fault(fault)]);
                        ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, plain);
                    }
                }
            }
        }
    }
}

pub(super) const OVERLAYS: usize = 3;

pub(super) fn overlay(nth: usize, seed: u64) -> Overlay {
    [Overlay::Keep, Overlay::Drop, Overlay::Torn(seed)][nth % OVERLAYS]
}

#[test]
fn the_power_goes_at_every_operation_of_repair_undo_and_redo() {
    for seed in 0..worlds() {
        for plain in [false, true] {
            let world = World::new(seed, plain);
            for nth in 0..3 {
                let start = world.after(nth);
                for (at, lost) in (0..start.operations(nth)).flat_map(|at| (0..OVERLAYS).map(move |lost| (at, lost))) {
                    let after = (at + lost as u64 + seed).is_multiple_of(2);
                    let story = Story::of(nth, &[Hit::power(at, after, overlay(lost, at))]);
                    ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, plain);
                }
            }
        }
    }
}

#[test]
fn an_operation_fails_and_then_the_power_goes() {
    for seed in 0..worlds() {
        for plain in [false, true] {
            let world = World::new(seed, plain);
            for nth in 0..3 {
                let start = world.after(nth);
                for at in 0..start.operations(nth) {
                    for fault in &failures(at, ERRNOS[(at + seed) as usize % ERRNOS.len()])[..3] {
                        for power in [Overlay::Drop, Overlay::Torn(at)] {
                            let story = Story::of(nth, &[Hit { fault: Some(*fault), power: Some(power) }]);
                            ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, plain);
                        }
                    }
                }
            }
        }
    }
}

/// Killed, recovered without a disturbance as far as the journal, and only then the power goes.
#[test]
fn what_recovery_calls_done_survives_the_power() {
    for seed in 0..worlds() {
        for (plain, nth) in [false, true].into_iter().flat_map(|plain| (0..3).map(move |nth| (plain, nth))) {
            let start = World::new(seed, plain).after(nth);
            for at in 0..start.operations(nth) {
                let killed = Fault::Fail { at, errno: Errno::IO, forever: true, after: at % 2 == 0 };
                let hits = [Hit::fault(killed), Hit::power(8 + at % 40, true, Overlay::Drop)];
                ok(Story::of(nth, &hits).nothing_lost_rerun_finishes_undo_restores(&start), seed, plain);
            }
        }
    }
}

#[test]
fn the_power_goes_again_during_recovery() {
    for seed in 0..60 * worlds() {
        let plain = seed % 2 == 1;
        let mut dice = fastrand::Rng::with_seed(seed);
        let nth = dice.usize(0..3);
        let start = World::new(seed % 20, plain).after(nth);
        let operations = start.operations(nth);
        // The first cut anywhere, the later ones early: that is where recovery is at work.
        let mut hit = |range: u64| Hit::power(dice.u64(0..range), dice.bool(), overlay(dice.usize(0..OVERLAYS), seed));
        let story = Story::of(nth, &[hit(operations), hit(25), hit(25)]);
        ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed % 20, plain);
    }
}

#[test]
fn others_act_before_every_operation() {
    for seed in 0..2 * worlds() {
        for (plain, act) in [false, true].into_iter().flat_map(|plain| ACTS.map(|act| (plain, act))) {
            let world = World::new(seed, plain);
            for nth in 0..2 {
                let start = world.after(nth);
                let victims = start.victims();
                // Where the exchange is two moves, an edit in the one wrong moment is lost.
                let fit = |stands: bool| !(plain && stands && act == Act::Edit);
                for at in 0..start.operations(nth) {
                    let Some(victim) = victims.get(at as usize % victims.len().max(1)) else { continue };
                    if fit(victim.stands) {
                        let mut story = Story::of(nth, &[Hit { fault: None, power: None }]);
                        story.act = Some((at, victim.clone(), act));
                        ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, plain);
                    }
                }
            }
        }
    }
}

#[test]
fn others_act_and_then_the_power_goes() {
    for seed in 0..150 * worlds() {
        let mut dice = fastrand::Rng::with_seed(seed);
        let nth = dice.usize(0..2);
        let start = World::new(seed % 30, false).after(nth);
        let Some(victim) = dice.choice(start.victims()) else { continue };
        let (at, act) = (dice.u64(0..start.operations(nth)), ACTS[dice.usize(0..ACTS.len())]);
        let power = Hit::power(at + dice.u64(0..20), dice.bool(), overlay(dice.usize(0..OVERLAYS), seed));
        let mut story = Story::of(nth, &[power]);
        story.act = Some((at, victim, act));
        ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed % 30, false);
    }
}

/// Where the exchange is a second name and two moves, others rename in between, and then the power goes.
#[test]
fn others_rename_between_the_moves_of_a_plain_exchange_and_the_power_goes() {
    for (seed, nth) in (0..2 * worlds()).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let start = World::new(seed, true).after(nth);
        let Some(victim) = start.victim() else { continue };
        let operations = start.operations(nth).min(90);
        for (at, later) in (0..operations).flat_map(|at| (0..24).step_by(3).map(move |later| (at, later + at % 3))) {
            let torn = Overlay::Torn(at * 31 + later);
            let overlay = if later % 2 == 0 { torn } else { Overlay::Drop };
            let mut story = Story::of(nth, &[Hit::power(at + later, at % 2 == 0, overlay)]);
            story.act = Some((at, victim.clone(), Act::Rename));
            ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, true);
        }
    }
}

/// The moments before which an edit makes a run exchange the wrong file and put it back.
fn moments(start: &World, nth: usize) -> Vec<u64> {
    let Some(victim) = start.victim() else { return Vec::new() };
    let put_back = |at: &u64| {
        let world = start.fork();
        world.fs.disarm();
        world.interfere(&victim, *at, Act::Edit);
        world.run(nth).unwrap();
        world.told.borrow().iter().any(|text| text.contains("put back"))
    };
    (0..start.operations(nth)).filter(put_back).collect()
}

#[test]
fn the_power_goes_after_a_wrong_file_was_put_back() {
    let mut tried = [0; 2];
    for (seed, nth) in (0..worlds()).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let start = World::new(seed, false).after(nth);
        for at in moments(&start, nth) {
            for (later, torn) in (0..30).flat_map(|later| (0..4).map(move |torn| (later, torn))) {
                let mut story = Story::of(nth, &[Hit::power(at + later, true, overlay(torn.min(2), torn as u64))]);
                story.act = start.victim().map(|victim| (at, victim, Act::Edit));
                ok(story.nothing_lost_rerun_finishes_undo_restores(&start), seed, false);
                tried[nth] += 1;
            }
        }
    }
    assert!(tried.iter().all(|tried| *tried > 0), "no world has such a moment: {tried:?}");
}

#[test]
fn a_purge_fails_or_loses_power_at_every_operation() {
    let mut purged = 0;
    for seed in 0..2 * worlds() {
        for (plain, runs) in [(false, 1), (true, 1), (false, 2), (false, 3)] {
            let start = World::new(seed, plain).after(runs);
            let (dry, count) = (start.fork(), start.fork());
            purged += purge_all(&dry, &dry.fs).unwrap();
            count.fs.disarm();
            purge_all(&count, &count.fs).unwrap();
            for at in 0..count.fs.operations() {
                let fault = Fault::Fail {
                    at,
                    errno: ERRNOS[at as usize % ERRNOS.len()],
                    forever: at % 2 == 0,
                    after: at % 3 == 0,
                };
                ok(the_last_whole_copy_is_never_purged(&start, runs, Hit::fault(fault)), seed, plain);
                let power = Hit::power(at, at % 2 == 0, overlay(at as usize, at));
                ok(the_last_whole_copy_is_never_purged(&start, runs, power), seed, plain);
            }
        }
    }
    assert!(purged > 0, "nothing was ever purged");
}

#[test]
fn a_write_that_failed_in_the_background_is_told_once_and_stays_lost() {
    use crate::sys::fs::Fs;
    let world = World::small(0, false);
    let slot = super::sim_world::path("9");
    world.fs.create(Tree::Quarantine, &slot, &mut |sink| sink(b"new bytes")).unwrap();
    world.fs.arm(Some(Fault::Fail { at: 0, errno: Errno::IO, forever: false, after: false }));
    assert!(world.fs.sync_all().is_err() && world.fs.sync_file(Tree::Quarantine, &slot).is_err());
    assert!(world.fs.sync_all().is_ok() && world.fs.sync_file(Tree::Quarantine, &slot).is_ok(), "told once");
    let mut read = Vec::new();
    world.fs.read(Tree::Quarantine, &slot, &mut |window| read.extend_from_slice(window)).unwrap();
    assert_ne!(read, b"new bytes", "and the medium does not have it");
}

#[test]
fn short_writes_go_on_fail_or_lose_the_rest() {
    use crate::sys::fs::Fs;
    for (then, whole, error) in
        [(Rest::Taken, true, false), (Rest::Refused(Errno::NOSPC), false, true), (Rest::Lost, false, false)]
    {
        let world = World::small(0, false);
        let slot = super::sim_world::path("9");
        world.fs.arm(Some(Fault::Short { at: 0, then }));
        let created = world.fs.create(Tree::Quarantine, &slot, &mut |sink| sink(b"new bytes"));
        assert_eq!(created.is_err(), error, "{then:?}");
        assert_eq!(world.fs.files(Tree::Quarantine)[&slot].0 == b"new bytes", whole, "{then:?}");
    }
}
