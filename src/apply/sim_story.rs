//! Stories of the simulation: a run is hit by faults, power cuts or other processes, and whatever became of it,
//! the law holds, the next attempt finishes the job, and all of it can be taken back and done again.

use super::quarantine::{Item, Purged, inventory, purge};
use super::sim_hands::SimProver;
use super::sim_others::{Act, Victim};
use super::sim_world::{RUNS, World, key};
use super::{ApplyError, Prover};
use crate::model::{Digest, RelPath};
use crate::sys::fs::{Fs, Tree};
use crate::sys::simfs::{Fault, Overlay, Rest, SimFs};
use rustix::io::Errno;
use std::io;
use std::ops::Range;

pub(super) const ERRNOS: [Errno; 5] = [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::MFILE];

/// What goes wrong in one attempt of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub fault: Option<Fault>,
    /// The power goes, at the latest when the attempt ended.
    pub power: Option<Overlay>,
}

impl Hit {
    pub(super) fn fault(fault: Fault) -> Hit {
        Hit { fault: Some(fault), power: None }
    }

    pub(super) fn power(at: u64, after: bool, overlay: Overlay) -> Hit {
        Hit { fault: Some(Fault::Die { at, after }), power: Some(overlay) }
    }
}

/// What happens to run `nth`.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub nth: usize,
    /// One attempt each.
    pub hits: Vec<Hit>,
    /// Somebody else acts in the first attempt, before that operation.
    pub act: Option<(u64, Victim, Act)>,
}

impl Story {
    pub(super) fn of(nth: usize, hits: &[Hit]) -> Story {
        Story { nth, hits: hits.to_vec(), act: None }
    }

    /// The run that is hit, and those that must go to their ends after it.
    pub(super) fn runs(&self) -> Range<usize> {
        self.nth..(self.nth + 3).min(RUNS.len())
    }

    /// Tells the story on a machine on which the runs before `nth` went to their ends. Nothing is lost after
    /// any run, the next attempt finishes the job, and undoing and doing it again go to their ends as well.
    pub(super) fn nothing_lost_rerun_finishes_undo_restores(&self, start: &World) -> Result<(), String> {
        let mut world = start.fork();
        let told = self.tell(&mut world);
        told.map_err(|text| format!("{text}; {self:?}; told: {:#?}", world.told.borrow()))
    }

    fn tell(&self, world: &mut World) -> Result<(), String> {
        let (mut power, mut acted) = (false, false);
        for (attempt, hit) in self.hits.iter().enumerate() {
            world.fs.disarm();
            world.fs.arm(hit.fault);
            if let Some((at, victim, act)) = self.act.as_ref().filter(|_| attempt == 0) {
                world.interfere(victim, *at, *act);
            }
            // It may or may not get to its end.
            drop(world.run(self.nth));
            if attempt == 0 {
                acted = self.act.is_some() && world.fs.acted();
                // Who did not come in time has done nothing.
                world.meddled.get_mut().take_if(|_| !acted);
            }
            if let Some(overlay) = hit.power {
                world.fs.crash(overlay);
                power = true;
            }
            world.fs.disarm();
            world.nothing_is_lost(self.nth)?;
        }
        for nth in self.runs() {
            let applied = world.run(nth).map_err(|error| format!("{} fails: {error}", RUNS[nth]))?;
            if applied.failed > 0 || applied.stop.is_some() {
                return Err(format!("{} goes wrong undisturbed: {applied:?}", RUNS[nth]));
            }
            world.finished(nth)?;
            if let Some((_, victim, act)) = self.act.as_ref().filter(|_| acted) {
                world.others_are_respected(victim, *act, power)?;
            }
            world.rest();
        }
        Ok(())
    }
}

/// Purges everything that a repair left in quarantine, as the command does.
pub(super) fn purge_all(world: &World, fs: &dyn Fs) -> Result<u64, ApplyError> {
    let items = inventory(fs, &world.log(0))?;
    let (mut prover, mut gone) = (SimProver(&world.fs), 0);
    for item in &items {
        let mut another = |item: &Item, digest: &Digest| stands(&world.fs, item, digest).map_err(|e| e.to_string());
        let purged = purge(fs, &mut prover, item, &mut another);
        let failed = |source| ApplyError::FileSystem { doing: "purging".to_owned(), source };
        gone += u64::from(purged.map_err(failed)? == Purged::Gone);
    }
    Ok(gone)
}

/// Whether the store holds the message that an item was, read now.
fn stands(fs: &SimFs, item: &Item, digest: &Digest) -> io::Result<bool> {
    let Some(origin) = &item.origin else { return Ok(false) };
    let folder = origin.path.parent().unwrap_or_default();
    let names = match fs.list(Tree::Base, &folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        names => names?,
    };
    let of_key = names.iter().filter(|name| key(name) == key(origin.path.name()));
    let mut paths = of_key.filter_map(|name| folder.join(name).ok());
    let whole = |path: &RelPath| SimProver(fs).digest(Tree::Base, path).is_ok_and(|(found, _)| found == *digest);
    Ok(paths.any(|path| whole(&path)))
}

/// Purges under a fault and maybe a power cut, again undisturbed, and then goes on with the next run: the last
/// whole copy of a message is there at every moment. `start` has its first `runs` runs behind it.
pub(super) fn the_last_whole_copy_is_never_purged(start: &World, runs: usize, hit: Hit) -> Result<(), String> {
    let world = start.fork();
    let tell = || {
        world.fs.arm(hit.fault);
        drop(purge_all(&world, &world.fs));
        if let Some(overlay) = hit.power {
            world.fs.crash(overlay);
        }
        world.fs.disarm();
        world.a_whole_copy_is_left(start)?;
        purge_all(&world, &world.fs).map_err(|error| error.to_string())?;
        world.a_whole_copy_is_left(start)?;
        world.run(runs).map_err(|error| error.to_string())?;
        // The store may change now; what was whole somewhere still is.
        let gone = world.truth.values().find(|truth| {
            let anywhere = |world: &World| {
                let holds = |tree| world.fs.files(tree).values().any(|(bytes, _)| bytes == *truth);
                holds(Tree::Base) || holds(Tree::Quarantine)
            };
            anywhere(start) && !anywhere(&world)
        });
        gone.map_or(Ok(()), |bytes| Err(format!("a message of {} bytes is gone after a purge", bytes.len())))
    };
    tell().map_err(|text: String| format!("{text}; purge after {runs} runs, {hit:?}"))
}

/// Every way in which operation `at` can fail or a write be short.
pub(super) fn failures(at: u64, errno: Errno) -> [Fault; 6] {
    let fail = |forever, after| Fault::Fail { at, errno, forever, after };
    let short = |then| Fault::Short { at, then };
    [
        fail(false, false),
        fail(true, false),
        fail(false, true),
        short(Rest::Taken),
        short(Rest::Refused(errno)),
        short(Rest::Lost),
    ]
}
