//! What becomes of an exchange that somebody comes in between of.

use super::super::sim_hands::{SimProver, SimSupply};
use super::super::sim_world::{World, options};
use super::super::{Applied, Executor};
use crate::model::journal::Outcome;
use crate::model::plan::{Action, Fingerprint, Step};
use crate::sys::fs::Tree;

/// A world with a file that is damaged where it stands, and the step that puts it together anew.
fn world() -> (World, Step) {
    for seed in 0.. {
        let world = World::new(seed, false);
        let Some(victim) = world.victim() else { continue };
        let step = world.steps.iter().find(|step| step.target == victim.at).cloned();
        let Some(mut step) = step.filter(|step| matches!(step.before, Fingerprint::Inode(_))) else { continue };
        let Action::Restore { attrs, content, length, .. } = step.action else { continue };
        step.action = Action::Rebuild { parts: Vec::new(), attrs, content, length, heals: Vec::new() };
        return (world, step);
    }
    unreachable!("some seed has one")
}

fn run(world: &World, step: &Step) -> (Applied, Vec<(Outcome, String)>) {
    let (mut log, mut supply, mut prover) = (world.log(0), SimSupply(&world.truth), SimProver(&world.fs));
    let mut told = Vec::new();
    let executor = Executor::new(&world.fs, &mut log, &mut supply, &mut prover, options("repair"));
    let applied = executor.run(&mut [Ok(step.clone())].into_iter(), &mut |_, outcome, detail| {
        told.push((outcome, detail.to_owned()));
    });
    (applied.expect("a run"), told)
}

#[test]
fn who_opens_the_old_file_meanwhile_finds_it_in_its_place() {
    let (world, step) = world();
    world.fs.intruders.borrow_mut().push(Tree::Base);
    let (applied, told) = run(&world, &step);
    assert_eq!((applied.held, applied.done), (1, 0), "{told:?}");
    assert!(told[0].1.contains("opened the mailbox while it was exchanged"), "{told:?}");
    assert!(world.fs.tree() == *world.tree, "all is as it was");
    assert!(world.fs.files(Tree::Quarantine).is_empty(), "and nothing is left behind");
    world.fs.intruders.borrow_mut().clear();
    let (applied, told) = run(&world, &step);
    assert_eq!(applied.done + applied.already, 1, "{told:?}");
    assert!(world.fs.tree() != *world.tree);
}

#[test]
fn what_may_have_come_to_the_new_file_is_kept_and_told() {
    let (world, step) = world();
    world.fs.intruders.borrow_mut().extend([Tree::Base, Tree::Quarantine]);
    let (applied, told) = run(&world, &step);
    assert_eq!((applied.conflicts, applied.done), (1, 0), "{told:?}");
    assert!(told[0].1.contains("is in quarantine as"), "{told:?}");
    assert!(world.fs.tree() == *world.tree, "all is as it was");
    assert_eq!(world.fs.files(Tree::Quarantine).len(), 1, "and the new file is kept");
}
