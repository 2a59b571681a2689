//! Executors with one mistake each, made by wrapping what the executor is given. The simulation must notice
//! every one of them, or it would not notice the mistake in the product either.

use super::sim_hands::SimProver;
use super::sim_tests::{OVERLAYS, operations, overlay, worlds};
use super::sim_world::World;
use super::{Line, Log, Prover};
use crate::model::journal::Record;
use crate::model::message::Xattr;
use crate::model::{Digest, RelPath, Stat};
use crate::sys::fs::{Dress, Fill, Fs, Kind, Tree};
use crate::sys::simfs::{Fault, SimFs};
use std::cell::Cell;
use std::io;

/// A mistake in using the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// New contents are renamed into place without having been synced.
    NoSyncAll,
    /// A change of names is called done without having been synced.
    NoSyncDir,
    /// Contents are synced only after they were renamed into place.
    SyncAfterRename,
    /// The damaged file is overwritten instead of being kept.
    Overwrite,
}

struct Mutant<'a> {
    fs: &'a SimFs,
    mistake: Mistake,
    owed: Cell<bool>,
}

impl<'a> Mutant<'a> {
    fn new(fs: &'a SimFs, mistake: Mistake) -> Mutant<'a> {
        Mutant { fs, mistake, owed: Cell::new(false) }
    }
}

impl Fs for Mutant<'_> {
    fn sync_all(&self) -> io::Result<()> {
        match self.mistake {
            Mistake::NoSyncAll => Ok(()),
            Mistake::SyncAfterRename => {
                self.owed.set(true);
                Ok(())
            }
            _ => self.fs.sync_all(),
        }
    }

    fn sync_dir(&self, tree: Tree, dir: &RelPath) -> io::Result<()> {
        if self.owed.take() {
            self.fs.sync_all()?;
        }
        if self.mistake == Mistake::NoSyncDir { Ok(()) } else { self.fs.sync_dir(tree, dir) }
    }

    fn exchange(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()> {
        if self.mistake == Mistake::Overwrite { self.fs.rename_over(a, b) } else { self.fs.exchange(a, b) }
    }

    fn stat(&self, tree: Tree, path: &RelPath) -> io::Result<Option<(Kind, Stat)>> {
        self.fs.stat(tree, path)
    }
    fn list(&self, tree: Tree, dir: &RelPath) -> io::Result<Vec<Vec<u8>>> {
        self.fs.list(tree, dir)
    }
    fn create(&self, tree: Tree, path: &RelPath, fill: &mut Fill<'_>) -> io::Result<Stat> {
        self.fs.create(tree, path, fill)
    }
    fn dress(&self, tree: Tree, path: &RelPath, dress: &Dress<'_>) -> io::Result<Stat> {
        self.fs.dress(tree, path, dress)
    }
    fn xattrs(&self, tree: Tree, path: &RelPath) -> io::Result<Vec<Xattr>> {
        self.fs.xattrs(tree, path)
    }
    fn read(&self, tree: Tree, path: &RelPath, window: &mut dyn FnMut(&[u8])) -> io::Result<Stat> {
        self.fs.read(tree, path, window)
    }
    fn make_dir(&self, tree: Tree, path: &RelPath, mode: u32) -> io::Result<()> {
        self.fs.make_dir(tree, path, mode)
    }
    fn dress_dir(&self, tree: Tree, path: &RelPath, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        self.fs.dress_dir(tree, path, uid, gid, mode)
    }
    fn remove_dir(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        self.fs.remove_dir(tree, path)
    }
    fn rename_new(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.fs.rename_new(from, to)
    }
    fn link(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.fs.link(from, to)
    }
    fn rename_over(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.fs.rename_over(from, to)
    }
    fn unlink_quarantine(&self, path: &RelPath) -> io::Result<()> {
        self.fs.unlink_quarantine(path)
    }
    fn sync_file(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        self.fs.sync_file(tree, path)
    }
    fn free(&self) -> io::Result<(u64, u64)> {
        self.fs.free()
    }
}

/// Writes what is about to be done only when it is done.
struct LateLog<L>(L, Vec<Record>);

impl<L: Log> Log for LateLog<L> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.1.extend_from_slice(records);
        if matches!(records.first(), Some(Record::Begin(_))) {
            return Ok(());
        }
        self.0.append(&std::mem::take(&mut self.1))
    }
    fn forward(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<Line>> + '_>> {
        self.0.forward()
    }
    fn backward(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<Line>> + '_>> {
        self.0.backward()
    }
}

/// Believes that what was written is what the plan wanted.
struct Credulous<'a>(&'a World);

impl Prover for Credulous<'_> {
    fn digest(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        let number = std::str::from_utf8(path.as_bytes()).ok().and_then(|name| name.parse::<u64>().ok());
        let step = self.0.steps.iter().find(|step| tree == Tree::Quarantine && Some(step.number) == number);
        match step.map(|step| &step.action) {
            Some(crate::model::plan::Action::Restore { content, length, .. }) => Ok((*content, *length)),
            _ => SimProver(&self.0.fs).digest(tree, path),
        }
    }
}

/// Lets the power go at every operation of a repair; what the checks say of the first that they refuse.
fn first_complaint(repair: impl Fn(&World)) -> Option<String> {
    for seed in 0..worlds() {
        for at in 0..operations(seed, false) {
            for nth in 0..OVERLAYS {
                let world = World::new(seed, false);
                world.fs.arm(Some(Fault::Die { at, after: true }));
                repair(&world);
                world.fs.crash(overlay(nth, at));
                let rerun = || world.repair().map_err(|error| error.to_string());
                let checked = world.check_always().and_then(|()| rerun()).and_then(|_| world.check_complete());
                if let Err(text) = checked {
                    return Some(text);
                }
            }
        }
    }
    None
}

fn with_mistake(mistake: Mistake) -> Option<String> {
    first_complaint(|world| {
        let fs = Mutant::new(&world.fs, mistake);
        let mut log = world.log(&world.journal);
        // It may or may not get to its end before the power goes.
        drop(world.repair_with(&fs, &mut log, &mut SimProver(&world.fs)));
    })
}

#[test]
fn the_executor_without_a_mistake_gets_no_complaint() {
    assert_eq!(with_mistake(Mistake::None), None);
}

#[test]
fn leaving_out_or_swapping_a_sync_is_noticed() {
    for mistake in [Mistake::NoSyncAll, Mistake::NoSyncDir, Mistake::SyncAfterRename, Mistake::Overwrite] {
        let complaint = with_mistake(mistake);
        assert!(complaint.is_some(), "{mistake:?} goes unnoticed");
    }
}

#[test]
fn writing_the_journal_afterwards_is_noticed() {
    let complaint = first_complaint(|world| {
        let mut log = LateLog(world.log(&world.journal), Vec::new());
        drop(world.repair_with(&world.fs, &mut log, &mut SimProver(&world.fs)));
    });
    assert!(complaint.is_some());
}

/// A disk that takes one write and gives back something else.
fn with_rot(world: &World, nth: u64, prover: &mut dyn Prover) -> Result<(), String> {
    world.fs.arm_rot(nth);
    let mut log = world.log(&world.journal);
    world.repair_with(&world.fs, &mut log, prover).map_err(|error| error.to_string())?;
    world.check_always()
}

#[test]
fn a_write_that_reads_back_differently_is_noticed_and_believing_it_too() {
    let mut noticed = 0;
    for seed in 0..worlds() {
        for nth in 1..6 {
            let world = World::new(seed, false);
            assert_eq!(with_rot(&world, nth, &mut SimProver(&world.fs)), Ok(()), "seed {seed}");
            world.repair().unwrap();
            assert_eq!(world.check_complete(), Ok(()), "seed {seed}: the next attempt succeeds");
            let world = World::new(seed, false);
            noticed += u64::from(with_rot(&world, nth, &mut Credulous(&world)).is_err());
        }
    }
    assert!(noticed > 0);
}
