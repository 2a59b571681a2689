//! The executor against everything that can go wrong, in small seeded worlds: every operation fails, once and
//! for ever; the power goes at every operation; others act before every operation; and mutants of the
//! executor prove that these tests would notice.

use super::sim_world::{Act, Expect, World};
use crate::sys::simfs::{Fault, Overlay};
use rustix::io::Errno;

const ERRNOS: [Errno; 5] = [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::MFILE];

/// How many worlds to try: a few, or as many as `MAILMEND_SIM_WORLDS` says.
pub(super) fn worlds() -> u64 {
    std::env::var("MAILMEND_SIM_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// How many operations a repair takes in this world.
pub(super) fn operations(seed: u64, plain: bool) -> u64 {
    let world = World::new(seed, plain);
    world.fs.arm(None);
    world.repair().unwrap();
    world.fs.operations()
}

#[track_caller]
fn ok(result: Result<(), String>, scene: std::fmt::Arguments<'_>) {
    if let Err(text) = result {
        panic!("{text} ({scene})");
    }
}

#[test]
fn undisturbed_repair_undo_and_redo() {
    for seed in 0..15 * worlds() {
        for plain in [false, true] {
            let world = World::new(seed, plain);
            let applied = world.repair().unwrap();
            assert_eq!(applied.failed, 0, "seed {seed}");
            let untouched = world.expect.iter().filter(|e| **e == Expect::Untouched).count() as u64;
            assert_eq!(applied.conflicts, untouched, "seed {seed}");
            ok(world.check_complete(), format_args!("seed {seed}"));
            let healed = world.fs.tree();
            let undone = world.undo().unwrap();
            assert_eq!((undone.done, undone.conflicts, undone.failed), (applied.done, 0, 0), "seed {seed}");
            ok(world.check_tree(&world.tree), format_args!("undo, seed {seed}"));
            assert_eq!(world.undo().unwrap().done, 0, "once is enough");
            world.redo().unwrap();
            ok(world.check_tree(&healed), format_args!("redo, seed {seed}"));
            ok(world.check_complete(), format_args!("seed {seed} after redo"));
        }
    }
}

/// Repairs under a fault, then without it, then takes all of it back.
fn survive_failure(seed: u64, plain: bool, fault: Fault) {
    let world = World::new(seed, plain);
    world.fs.arm(Some(fault));
    let first = world.repair();
    world.fs.arm(None);
    let scene = format_args!("seed {seed} plain {plain} {fault:?}: {first:?}");
    ok(world.check_always(), scene);
    let applied = world.repair().unwrap();
    assert_eq!((applied.failed, applied.stop), (0, None), "{scene}: {:#?}", world.told);
    ok(world.check_complete(), scene);
    world.undo().unwrap();
    ok(world.check_tree(&world.tree), format_args!("{scene} {:#?}", world.told));
}

#[test]
fn every_operation_fails() {
    for seed in 0..worlds() {
        for plain in [false, true] {
            for at in 0..operations(seed, plain) {
                let errno = ERRNOS[(at + seed) as usize % ERRNOS.len()];
                for (forever, after) in [(false, false), (true, false), (false, true)] {
                    survive_failure(seed, plain, Fault::Fail { at, errno, forever, after });
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
fn the_power_goes_at_every_operation() {
    for seed in 0..worlds() {
        for plain in [false, true] {
            let operations = operations(seed, plain);
            for at in 0..operations {
                for nth in 0..OVERLAYS {
                    let world = World::new(seed, plain);
                    let (overlay, after) = (overlay(nth, at), (at + nth as u64 + seed).is_multiple_of(2));
                    world.fs.arm(Some(Fault::Die { at, after }));
                    assert!(world.repair().is_err());
                    world.fs.crash(overlay);
                    let scene = format_args!("seed {seed} plain {plain} at {at} after {after} {overlay:?}");
                    ok(world.check_always(), scene);
                    world.repair().unwrap();
                    ok(world.check_complete(), format_args!("{scene}: {:#?}", world.told));
                    world.undo().unwrap();
                    ok(world.check_tree(&world.tree), format_args!("{scene} {:#?}", world.told));
                }
            }
        }
    }
}

#[test]
fn the_power_goes_again_during_recovery() {
    for seed in 0..50 * worlds() {
        let plain = seed % 2 == 1;
        let world = World::new(seed % 20, plain);
        let mut dice = fastrand::Rng::with_seed(seed);
        let operations = operations(seed % 20, plain);
        for crash in 0..3 {
            // The first crash anywhere, the later ones early: that is where recovery is at work.
            let at = dice.u64(0..if crash == 0 { operations } else { 25 });
            world.fs.arm(Some(Fault::Die { at, after: dice.bool() }));
            let ended = world.repair();
            world.fs.crash(overlay(dice.usize(0..OVERLAYS), seed));
            ok(world.check_always(), format_args!("seed {seed} crash {crash}: {ended:?}"));
        }
        world.repair().unwrap();
        ok(world.check_complete(), format_args!("seed {seed}"));
    }
}

#[test]
fn the_power_goes_during_an_undo() {
    for seed in 0..2 * worlds() {
        let plain = seed % 2 == 1;
        let mut at = 0;
        loop {
            let world = World::new(seed, plain);
            world.repair().unwrap();
            world.fs.settle();
            world.fs.arm(Some(Fault::Die { at, after: at % 2 == 0 }));
            let ended = world.undo().is_ok();
            world.fs.crash(overlay(at as usize, at));
            ok(world.check_undo(), format_args!("seed {seed} at {at}"));
            world.undo().unwrap();
            ok(world.check_tree(&world.tree), format_args!("seed {seed} at {at}"));
            world.redo().unwrap();
            ok(world.check_complete(), format_args!("seed {seed} at {at} after redo"));
            at += 1;
            if ended {
                break;
            }
        }
    }
}

/// A repair during which somebody does something to one message, at every moment.
fn interfere(seed: u64, plain: bool, act: Act) {
    for at in 0..operations(seed, plain) {
        let world = World::new(seed, plain);
        let Some(victim) = world.victim() else { return };
        world.interfere(&victim, at, act);
        let applied = world.repair();
        let scene = format_args!("seed {seed} plain {plain} {act:?} at {at}: {applied:?} {:#?}", world.told);
        ok(world.check_interference(&victim, act), scene);
        world.repair().unwrap();
        ok(world.check_interference(&victim, act), scene);
        world.undo().unwrap();
        ok(world.check_interference(&victim, act), scene);
    }
}

#[test]
fn others_act_before_every_operation() {
    for seed in 0..2 * worlds() {
        for act in [Act::Rename, Act::Edit, Act::Delete] {
            interfere(seed, false, act);
        }
        // Without an exchange an edit in the one wrong moment is lost; a change of flags never is.
        interfere(seed, true, Act::Rename);
    }
}

#[test]
fn others_act_and_then_the_power_goes() {
    for seed in 0..150 * worlds() {
        let mut dice = fastrand::Rng::with_seed(seed);
        let world = World::new(seed % 30, false);
        let Some(victim) = world.victim() else { continue };
        let act = [Act::Rename, Act::Edit, Act::Delete][dice.usize(0..3)];
        let at = dice.u64(0..operations(seed % 30, false));
        world.interfere(&victim, at, act);
        world.fs.arm(Some(Fault::Die { at: at + dice.u64(0..20), after: dice.bool() }));
        let ended = world.repair();
        world.fs.crash(overlay(dice.usize(0..OVERLAYS), seed));
        let rerun = world.repair();
        let scene = format_args!("seed {seed} {act:?} at {at}: {ended:?}, {rerun:?}: {:#?}", world.told);
        assert!(rerun.is_ok(), "{scene}");
        ok(world.check_after_loss(&victim, act), scene);
    }
}

/// The moments before which an edit makes the executor exchange the wrong file and put it back.
fn moments(seed: u64) -> Vec<u64> {
    let put_back = |at: &u64| {
        let world = World::new(seed, false);
        let Some(victim) = world.victim() else { return false };
        world.interfere(&victim, *at, Act::Edit);
        world.repair().unwrap();
        world.told.borrow().iter().any(|text| text.contains("put back"))
    };
    (0..operations(seed, false)).filter(put_back).collect()
}

#[test]
fn the_power_goes_after_a_wrong_file_was_put_back() {
    let mut tried = 0;
    for seed in 0..worlds() {
        for at in moments(seed) {
            for (later, nth) in (0..40).flat_map(|later| (0..6).map(move |nth| (later, nth))) {
                let world = World::new(seed, false);
                let Some(victim) = world.victim() else { continue };
                world.interfere(&victim, at, Act::Edit);
                world.fs.arm(Some(Fault::Die { at: at + later, after: true }));
                let ended = world.repair();
                world.fs.crash(overlay(nth.min(2), nth as u64));
                world.repair().unwrap();
                let scene = format_args!("seed {seed} at {at} + {later}: {ended:?} {:#?}", world.told);
                ok(world.check_after_loss(&victim, Act::Edit), scene);
                tried += 1;
            }
        }
    }
    assert!(tried > 0, "no world has such a moment");
}
