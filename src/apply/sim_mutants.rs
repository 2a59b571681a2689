//! The simulation must notice every mistake that an executor could have, or it would not notice it in the
//! product either.

use super::sim_mistakes::{Mistake, Mutant};
use super::sim_others::{ACTS, Act};
use super::sim_tests::{OVERLAYS, overlay};
use super::sim_world::{RUNS, World};
use crate::sys::simfs::{Fault, Rest};
use rustix::io::Errno;

/// Runs that a mistake is tried in.
const REPAIR: &[usize] = &[0];
const BOTH: &[usize] = &[0, 1];
/// File systems that it is tried on, by whether they lack an exchange.
const ANY: &[bool] = &[false, true];
const EXCHANGE: &[bool] = &[false];
const PLAIN: &[bool] = &[true];

/// Every mistake, with the runs and file systems where it does harm.
const MISTAKES: [(Mistake, &[usize], &[bool]); 18] = [
    (Mistake::NoContentSync, REPAIR, ANY),
    (Mistake::NoStoreSync, BOTH, ANY),
    (Mistake::NoQuarantineSync, BOTH, ANY),
    (Mistake::NoSecondNameSync, BOTH, PLAIN),
    (Mistake::ContentSyncAfterRename, REPAIR, ANY),
    (Mistake::DoneBeforeSync, BOTH, ANY),
    (Mistake::DoneBeforeChange, BOTH, ANY),
    (Mistake::SyncErrorsIgnored, REPAIR, ANY),
    (Mistake::Overwrite, BOTH, ANY),
    (Mistake::QuarantineAfter, BOTH, EXCHANGE),
    (Mistake::LinkAfter, BOTH, PLAIN),
    (Mistake::OldRemoved, BOTH, ANY),
    (Mistake::MoveOver, REPAIR, ANY),
    (Mistake::NoReadBack, REPAIR, ANY),
    (Mistake::NoBegin, BOTH, ANY),
    (Mistake::LateBegin, BOTH, ANY),
    (Mistake::NoDone, BOTH, ANY),
    (Mistake::NoJournalSync, BOTH, ANY),
];

/// Worlds in which a mistake must show. The first is enough for most.
const WORLDS: u64 = 12;

/// What happens to the world in which the mutant is at work.
#[derive(Debug, Clone, Copy)]
enum Hit {
    Nothing,
    Fault(Fault),
    Power { at: u64, torn: usize },
    Other { at: u64, nth: usize, act: Act },
    Rot(u64),
}

/// Lets a mutant do run `nth`, then the real executor finish it and take it back: what the law says.
fn judge(start: &World, nth: usize, mistake: Mistake, hit: Hit) -> Result<(), String> {
    let mut world = start.fork();
    world.fs.disarm();
    match hit {
        Hit::Nothing => {}
        Hit::Fault(fault) => world.fs.arm(Some(fault)),
        Hit::Power { at, .. } => world.fs.arm(Some(Fault::Die { at, after: true })),
        Hit::Other { at, nth, act } => {
            let victims = world.victims();
            let Some(victim) = victims.get(nth % victims.len().max(1)) else { return Ok(()) };
            world.interfere(victim, at, act);
        }
        Hit::Rot(file) => world.fs.arm_rot(file),
    }
    Mutant::new(&world, mistake).run(nth);
    match hit {
        Hit::Power { at, torn } => world.fs.crash(overlay(torn, at)),
        // What is in the cache only is no copy.
        Hit::Fault(_) => world.fs.crash(overlay(1, 0)),
        _ => {}
    }
    let acted = world.fs.acted();
    world.meddled.get_mut().take_if(|_| !acted);
    world.fs.disarm();
    world.nothing_is_lost(nth)?;
    if !matches!(hit, Hit::Nothing) {
        world.run(nth).map_err(|error| error.to_string())?;
    }
    world.finished(nth)?;
    if let Hit::Other { nth: victim, act, .. } = hit
        && acted
    {
        let victims = start.victims();
        world.others_are_respected(&victims[victim % victims.len()], act, false)?;
    }
    world.rest();
    world.run(nth + 1).map_err(|error| error.to_string())?;
    world.finished(nth + 1)
}

/// Everything that can happen during run `nth` of one world.
fn hits(start: &World, nth: usize) -> Vec<Hit> {
    let mut hits = vec![Hit::Nothing];
    hits.extend((1..4).map(Hit::Rot));
    for at in 0..start.operations(nth) {
        hits.push(Hit::Fault(Fault::Fail { at, errno: Errno::IO, forever: false, after: false }));
        hits.extend((0..OVERLAYS).map(|torn| Hit::Power { at, torn }));
        let act = ACTS[at as usize % ACTS.len()];
        let lost_without_exchange = start.fs.plain && act == Act::Edit;
        hits.extend((!lost_without_exchange).then_some(Hit::Other { at, nth: at as usize / 4, act }));
    }
    hits.push(Hit::Fault(Fault::Short { at: 0, then: Rest::Lost }));
    hits
}

/// The first complaint about a mistake.
fn complaint(mistake: Mistake, nth: usize, plain: bool, worlds: u64) -> Option<String> {
    for seed in 0..worlds {
        let start = World::new(seed, plain).after(nth);
        for hit in hits(&start, nth) {
            if let Err(text) = judge(&start, nth, mistake, hit) {
                return Some(format!("seed {seed} {hit:?}: {text}"));
            }
        }
    }
    None
}

#[test]
fn the_executor_without_a_mistake_gets_no_complaint() {
    for (nth, plain) in BOTH.iter().flat_map(|nth| ANY.iter().map(move |plain| (*nth, *plain))) {
        assert_eq!(complaint(Mistake::None, nth, plain, 3), None, "{} plain {plain}", RUNS[nth]);
    }
}

#[test]
fn every_mistake_is_noticed() {
    let mut unnoticed = Vec::new();
    for (mistake, runs, modes) in MISTAKES {
        for (nth, plain) in runs.iter().flat_map(|nth| modes.iter().map(move |plain| (*nth, *plain))) {
            if complaint(mistake, nth, plain, WORLDS).is_none() {
                unnoticed.push(format!("{mistake:?} in {} plain {plain}", RUNS[nth]));
            }
        }
    }
    assert_eq!(unnoticed, Vec::<String>::new());
}

#[test]
fn a_write_that_reads_back_differently_fails_its_step_and_the_next_attempt_succeeds() {
    for (seed, file) in (0..3).flat_map(|seed| (1..6).map(move |file| (seed, file))) {
        let world = World::new(seed, false);
        world.fs.arm_rot(file);
        world.repair().unwrap();
        assert_eq!(world.nothing_is_lost(0), Ok(()), "seed {seed}");
        world.fs.disarm();
        world.repair().unwrap();
        assert_eq!(world.finished(0), Ok(()), "seed {seed}: the next attempt succeeds");
    }
}
