//! One simulated machine: file system, journals, the plan that heals its store, and the truth to judge by.
//!
//! Runs count from 0: the repair, its undo, the undo of that, and so on. After an even one the store is
//! healed, after an odd one it is as it was.

use super::sim_hands::{SimLog, SimProver, SimSupply};
use super::{Applied, ApplyError, Executor, Line, Log, Options, Prover, undo};
use crate::model::journal::Record;
use crate::model::plan::{Action, Step};
use crate::model::{Digest, RelPath, Stat};
use crate::sys::fs::{Fs, Tree};
use crate::sys::simfs::{SimFs, Standing};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What runs are called.
pub(super) const RUNS: [&str; 4] = ["repair", "undo", "redo", "undo2"];

/// What must have become of a step's message in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whole, under the target's key.
    Whole,
    /// As it was: the plan is out of date.
    Untouched,
    /// As it was: the plan only reports.
    Skipped,
}

pub(super) type Files = BTreeMap<RelPath, (Vec<u8>, Stat)>;
pub(super) type Standings = BTreeMap<RelPath, Standing>;

/// One simulated machine.
pub(super) struct World {
    pub fs: SimFs,
    pub journals: [RefCell<Vec<Line>>; RUNS.len()],
    pub steps: Vec<Step>,
    pub expect: Vec<Expect>,
    /// Content by digest.
    pub truth: Rc<BTreeMap<Digest, Vec<u8>>>,
    /// The base before anything was done.
    pub before: Rc<Files>,
    pub tree: Rc<Standings>,
    /// Every file that stood in the store when a run began, by inode.
    pub shelf: BTreeMap<u64, Vec<u8>>,
    /// The message that somebody else did something to.
    pub meddled: RefCell<Option<RelPath>>,
    /// What runs reported.
    pub told: RefCell<Vec<String>>,
}

pub(super) fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a test's path")
}

pub(super) fn key(name: &[u8]) -> &[u8] {
    super::mailbox::key_of(name)
}

/// Whether both are names of one message in one mailbox.
pub(super) fn same_message(a: &RelPath, b: &RelPath) -> bool {
    let mailbox = |path: &RelPath| path.parent().and_then(|dir| dir.parent());
    key(a.name()) == key(b.name()) && mailbox(a) == mailbox(b)
}

pub(super) fn options(run: &str) -> Options<'static> {
    Options { batch: 5, pause: &|_| (), ..Options::new(run, "/srv/mail", "/srv/quarantine/repair") }
}

impl World {
    /// A machine without mail.
    pub(super) fn empty(plain: bool) -> World {
        World {
            fs: SimFs::new(plain),
            journals: Default::default(),
            steps: Vec::new(),
            expect: Vec::new(),
            truth: Rc::default(),
            before: Rc::default(),
            tree: Rc::default(),
            shelf: BTreeMap::new(),
            meddled: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// The same machine again.
    pub(super) fn fork(&self) -> World {
        World {
            fs: self.fs.fork(),
            journals: self.journals.clone(),
            steps: self.steps.clone(),
            expect: self.expect.clone(),
            truth: Rc::clone(&self.truth),
            before: Rc::clone(&self.before),
            tree: Rc::clone(&self.tree),
            shelf: self.shelf.clone(),
            meddled: self.meddled.clone(),
            told: RefCell::default(),
        }
    }

    /// All is quiet: everything is on the medium, and what stands in the store now must never be lost.
    pub(super) fn rest(&mut self) {
        self.fs.disarm();
        self.fs.settle();
        self.shelf.extend(self.fs.files(Tree::Base).into_values().map(|(bytes, stat)| (stat.ino, bytes)));
    }

    /// The machine after the first `runs` runs went to their ends.
    pub(super) fn after(&self, runs: usize) -> World {
        let mut world = self.fork();
        for nth in 0..runs {
            world.run(nth).expect("nothing is armed");
            world.rest();
        }
        world
    }

    pub(super) fn log(&self, nth: usize) -> SimLog<'_> {
        SimLog { fs: &self.fs, journal: &self.journals[nth], broken: false }
    }

    /// The records of a run's journal that can be read.
    pub(super) fn records(&self, nth: usize) -> Vec<Record> {
        let lines = self.journals[nth].borrow();
        let record = |line: &Line| if let Line::Record(record) = line { Some((**record).clone()) } else { None };
        lines.iter().filter_map(record).collect()
    }

    /// Does one run as the product would.
    pub(super) fn run(&self, nth: usize) -> Result<Applied, ApplyError> {
        self.run_with(nth, &self.fs, &mut self.log(nth), &mut SimProver(&self.fs))
    }

    pub(super) fn run_with(
        &self,
        nth: usize,
        fs: &dyn Fs,
        log: &mut dyn Log,
        prover: &mut dyn Prover,
    ) -> Result<Applied, ApplyError> {
        let options = options(RUNS[nth]);
        let report = &mut |step: &Step, outcome: crate::model::journal::Outcome, detail: &str| {
            let line = format!("{} {} {}: {detail}", RUNS[nth], step.number, outcome.name());
            self.told.borrow_mut().push(line);
        };
        if nth > 0 {
            return undo(fs, &mut self.log(nth - 1), log, &options, report);
        }
        let mut supply = SimSupply(&self.truth);
        let mut steps = self.steps.iter().cloned().map(Ok);
        Executor::new(fs, log, &mut supply, prover, options).run(&mut steps, report)
    }

    pub(super) fn repair(&self) -> Result<Applied, ApplyError> {
        self.run(0)
    }

    pub(super) fn undo(&self) -> Result<Applied, ApplyError> {
        self.run(1)
    }

    pub(super) fn redo(&self) -> Result<Applied, ApplyError> {
        self.run(2)
    }

    /// How many operations a run takes on this machine.
    pub(super) fn operations(&self, nth: usize) -> u64 {
        let world = self.fork();
        world.fs.disarm();
        world.run(nth).expect("nothing is armed");
        world.fs.operations()
    }

    /// The steps that are to heal something.
    pub(super) fn healing(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().zip(&self.expect).filter(|(_, e)| **e == Expect::Whole).map(|(step, _)| step)
    }

    /// Whether the step is to heal its message.
    pub(super) fn repairs(&self, step: &Step) -> bool {
        self.healing().any(|other| other == step)
    }

    /// Whether no file of the step's key stands in the store.
    pub(super) fn is_missing(&self, step: &Step) -> bool {
        self.before.keys().all(|name| !same_message(name, &step.target))
    }

    /// Whether a name is of the message that somebody else did something to.
    pub(super) fn is_meddled(&self, name: &RelPath) -> bool {
        self.meddled.borrow().as_ref().is_some_and(|victim| same_message(victim, name))
    }

    /// Whether a step that heals something is about this file.
    pub(super) fn is_about(&self, name: &RelPath) -> bool {
        self.healing().any(|step| {
            let stray = matches!(&step.action, Action::Rename { from, .. } if from == name);
            stray || same_message(name, &step.target)
        })
    }
}
