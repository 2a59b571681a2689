//! Executors with one mistake each, made by wrapping what the real one is given: file system, journal, prover.

use super::sim_hands::{SimLog, SimProver};
use super::sim_world::World;
use super::{Line, Lines, Log, Prover};
use crate::model::journal::{Change, Intent, Outcome, Record};
use crate::model::message::Xattr;
use crate::model::plan::Action;
use crate::model::{Digest, RelPath, Stat};
use crate::sys::fs::{Dress, Fill, Fs, Hold, Kind, Tree};
use crate::sys::simfs::SimFs;
use std::cell::{Cell, RefCell};
use std::io;

/// A mistake that an executor could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// New contents are not synced.
    NoContentSync,
    /// Folders of the store are not synced.
    NoStoreSync,
    /// The quarantine folder is not synced.
    NoQuarantineSync,
    /// The old file's second name is not synced before the first one is renamed over.
    NoSecondNameSync,
    /// Contents are synced only after they were renamed into place.
    ContentSyncAfterRename,
    /// `Done` is written before the folders are synced.
    DoneBeforeSync,
    /// `Done` is written before anything changes.
    DoneBeforeChange,
    /// What failed to reach the medium counts as written, and is not read back.
    SyncErrorsIgnored,
    /// The damaged file is renamed over instead of exchanged.
    Overwrite,
    /// The new file takes the old one's name first, the old one comes to quarantine afterwards.
    QuarantineAfter,
    /// The old file's second name is made after the first one was renamed over.
    LinkAfter,
    /// The old file is removed once its step is done.
    OldRemoved,
    /// A move replaces what stands at its target.
    MoveOver,
    /// What was written is believed to be what was wanted.
    NoReadBack,
    /// The journal is never told what begins.
    NoBegin,
    /// It is told only when all is done.
    LateBegin,
    /// It is never told what is done.
    NoDone,
    /// It is written and not synced.
    NoJournalSync,
}

/// The real file system, used wrongly.
pub(super) struct Mutant<'a> {
    world: &'a World,
    fs: &'a SimFs,
    mistake: Mistake,
    contents_owed: Cell<bool>,
    folders_owed: RefCell<Vec<(Tree, RelPath)>>,
    /// A second name that was promised, of which file.
    promised: RefCell<Option<(RelPath, RelPath)>>,
}

impl<'a> Mutant<'a> {
    pub(super) fn new(world: &'a World, mistake: Mistake) -> Mutant<'a> {
        Mutant {
            world,
            fs: &world.fs,
            mistake,
            contents_owed: Cell::new(false),
            folders_owed: RefCell::default(),
            promised: RefCell::default(),
        }
    }

    /// Does run `nth` with the mistake.
    pub(super) fn run(&self, nth: usize) {
        let mut log = MutantLog { mutant: self, log: self.world.log(nth), held: Vec::new() };
        // It may or may not get to its end.
        drop(self.world.run_with(nth, self, &mut log, &mut MutantProver(self)));
    }

    fn has_second_name(&self) -> bool {
        self.fs.files(Tree::Quarantine).keys().any(|name| name.as_bytes().ends_with(b".old"))
    }
}

impl Fs for Mutant<'_> {
    fn sync_all(&self) -> io::Result<()> {
        match self.mistake {
            Mistake::NoContentSync => Ok(()),
            Mistake::ContentSyncAfterRename => {
                self.contents_owed.set(true);
                Ok(())
            }
            Mistake::SyncErrorsIgnored => self.fs.sync_all().or(Ok(())),
            _ => self.fs.sync_all(),
        }
    }

    fn sync_file(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        match self.mistake {
            Mistake::NoContentSync => Ok(()),
            Mistake::SyncErrorsIgnored => self.fs.sync_file(tree, path).or(Ok(())),
            _ => self.fs.sync_file(tree, path),
        }
    }

    fn sync_dir(&self, tree: Tree, dir: &RelPath) -> io::Result<()> {
        if self.contents_owed.take() {
            self.fs.sync_all()?;
        }
        match (self.mistake, tree) {
            (Mistake::NoStoreSync, Tree::Base) | (Mistake::NoQuarantineSync, Tree::Quarantine) => Ok(()),
            (Mistake::NoSecondNameSync, Tree::Quarantine) if self.has_second_name() => Ok(()),
            (Mistake::DoneBeforeSync, _) => {
                self.folders_owed.borrow_mut().push((tree, dir.clone()));
                Ok(())
            }
            _ => self.fs.sync_dir(tree, dir),
        }
    }

    fn exchange(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()> {
        match self.mistake {
            Mistake::Overwrite => self.fs.rename_over(a, b),
            Mistake::QuarantineAfter if !self.fs.plain => self.fs.exchange_in_two(a, b),
            _ => self.fs.exchange(a, b),
        }
    }

    fn link(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        if self.mistake == Mistake::LinkAfter {
            *self.promised.borrow_mut() = Some((from.1.clone(), to.1.clone()));
            return Ok(());
        }
        self.fs.link(from, to)
    }

    fn rename_over(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.fs.rename_over(from, to)?;
        if let Some((file, second)) = self.promised.take() {
            self.fs.link((Tree::Base, &file), (Tree::Quarantine, &second))?;
        }
        Ok(())
    }

    fn stat(&self, tree: Tree, path: &RelPath) -> io::Result<Option<(Kind, Stat)>> {
        match &*self.promised.borrow() {
            Some((file, second)) if tree == Tree::Quarantine && path == second => self.fs.stat(Tree::Base, file),
            _ => self.fs.stat(tree, path),
        }
    }

    fn rename_new(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        if self.mistake == Mistake::MoveOver { self.fs.rename_over(from, to) } else { self.fs.rename_new(from, to) }
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
    fn unlink_quarantine(&self, path: &RelPath) -> io::Result<()> {
        self.fs.unlink_quarantine(path)
    }
    fn is_idle(&self, tree: Tree, path: &RelPath) -> io::Result<bool> {
        self.fs.is_idle(tree, path)
    }
    fn hold<'f>(&'f self, tree: Tree, path: &RelPath) -> io::Result<Option<Box<dyn Hold + 'f>>> {
        self.fs.hold(tree, path)
    }
    fn free(&self) -> io::Result<(u64, u64)> {
        self.fs.free()
    }
}

/// The real journal, used wrongly.
struct MutantLog<'a> {
    mutant: &'a Mutant<'a>,
    log: SimLog<'a>,
    held: Vec<Record>,
}

impl MutantLog<'_> {
    /// What reaches the journal of these records, and when, by mistake.
    fn twist(&mut self, records: &[Record]) -> io::Result<()> {
        let is_begin = |record: &Record| matches!(record, Record::Begin(_));
        let is_done = |record: &Record| matches!(record, Record::Done { .. });
        let (without_begin, without_done): (Vec<Record>, Vec<Record>) = (
            records.iter().filter(|r| !is_begin(r)).cloned().collect(),
            records.iter().filter(|r| !is_done(r)).cloned().collect(),
        );
        match self.mutant.mistake {
            Mistake::NoBegin => self.write(&without_begin),
            Mistake::NoDone => self.write(&without_done),
            Mistake::DoneBeforeChange => {
                let mut all = without_done;
                all.extend(records.iter().filter_map(believed));
                self.write(&all)
            }
            Mistake::LateBegin => {
                self.held.extend_from_slice(records);
                if records.iter().any(is_begin) { Ok(()) } else { self.flush() }
            }
            Mistake::NoJournalSync => {
                self.flush()?;
                self.held = records.to_vec();
                Ok(())
            }
            _ => self.write(records),
        }
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() { Ok(()) } else { self.log.append(records) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.write(&held)
    }

    fn remove_old(&self, record: &Record) {
        if let Record::Done { number, saved: Some(_), .. } = record {
            let slot = RelPath::new(number.to_string().into_bytes()).expect("a number is a name");
            // The slot may have another name, or the power be gone.
            self.mutant.fs.unlink_quarantine(&slot).unwrap_or_default();
        }
    }
}

/// What an optimist writes of a change that is about to be made.
fn believed(record: &Record) -> Option<Record> {
    let Record::Begin(intent) = record else { return None };
    let Intent { step, change, at, staged, replaced, .. } = &**intent;
    let (placed, saved) = match change {
        Change::Take => (None, *replaced),
        Change::RemoveFolder => (None, None),
        _ => (*staged, *replaced),
    };
    let (detail, at) = (String::new(), Some(at.clone()));
    Some(Record::Done { number: step.number, outcome: Outcome::Done, detail, at, placed, saved })
}

impl Log for MutantLog<'_> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.twist(records)?;
        if self.mutant.mistake == Mistake::OldRemoved {
            records.iter().for_each(|record| self.remove_old(record));
        }
        for (tree, dir) in self.mutant.folders_owed.take() {
            self.mutant.fs.sync_dir(tree, &dir)?;
        }
        Ok(())
    }

    fn forward(&self) -> io::Result<Lines<'_>> {
        let held = self.held.iter().map(|record| Ok(Line::Record(Box::new(record.clone()))));
        Ok(Box::new(self.log.forward()?.chain(held)))
    }

    fn backward(&self) -> io::Result<Lines<'_>> {
        self.log.backward()
    }
}

impl Drop for MutantLog<'_> {
    /// As long as the power is on, what was written gets there some time.
    fn drop(&mut self) {
        if !self.mutant.fs.is_dead() {
            self.flush().unwrap_or_default();
        }
    }
}

/// The real prover, believed too easily.
struct MutantProver<'a>(&'a Mutant<'a>);

impl Prover for MutantProver<'_> {
    fn digest(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        let Mutant { world, mistake, .. } = self.0;
        let credulous = matches!(mistake, Mistake::NoReadBack | Mistake::SyncErrorsIgnored);
        let name = std::str::from_utf8(path.as_bytes()).ok().and_then(|name| name.parse::<u64>().ok());
        let step = world.steps.iter().find(|step| tree == Tree::Quarantine && Some(step.number) == name);
        match step.map(|step| &step.action) {
            Some(Action::Restore { content, length, .. }) if credulous => Ok((*content, *length)),
            _ => SimProver(&world.fs).digest(tree, path),
        }
    }
}
