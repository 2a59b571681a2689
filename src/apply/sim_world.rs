//! Small seeded worlds for the simulation: a store with every kind of trouble, the plan that heals it, and
//! the truth to judge the result by.

use super::sim_hands::{SimLog, SimProver, SimSupply, content_of};
use super::{Applied, ApplyError, Executor, Log, Options, Prover, undo};
use crate::model::journal::{Outcome, Record};
use crate::model::plan::{Action, Fingerprint, Location, Step};
use crate::model::{Assurance, Attrs, Digest, Encoding, Key, Missing, RelPath, Stamp, Stat, Verdict};
use crate::sys::fs::{Fs, Kind, Tree};
use crate::sys::simfs::SimFs;
use std::cell::RefCell;
use std::collections::BTreeMap;

pub(super) fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a test's path")
}

/// What must have become of a step's message in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whole, under the target's key.
    Whole,
    /// As it was: the plan is out of date.
    Untouched,
}

/// One simulated machine: file system, journals, plan and truth.
pub(super) struct World {
    pub fs: SimFs,
    pub journal: RefCell<Vec<Record>>,
    pub undo_journal: RefCell<Vec<Record>>,
    pub redo_journal: RefCell<Vec<Record>>,
    pub steps: Vec<Step>,
    pub expect: Vec<Expect>,
    /// Content by digest.
    pub truth: BTreeMap<Digest, Vec<u8>>,
    /// The base before anything was done.
    pub before: BTreeMap<RelPath, (Vec<u8>, Stat)>,
    pub tree: Tree0,
    /// What repairs reported.
    pub told: RefCell<Vec<String>>,
}

/// A base as [`SimFs::tree`] gives it.
pub(super) type Tree0 = BTreeMap<RelPath, (Vec<u8>, u32, u32, u32, Stamp)>;

/// Kinds of trouble, one message each.
const TROUBLES: usize = 11;

type Later = Box<dyn FnOnce(&SimFs)>;

struct Builder {
    world: World,
    dice: fastrand::Rng,
    serial: u64,
    /// What others do between the plan and its execution.
    later: Vec<Later>,
}

impl World {
    pub(super) fn new(seed: u64, plain: bool) -> World {
        let world = World {
            fs: SimFs::new(plain),
            journal: RefCell::default(),
            undo_journal: RefCell::default(),
            redo_journal: RefCell::default(),
            steps: Vec::new(),
            expect: Vec::new(),
            truth: BTreeMap::new(),
            before: BTreeMap::new(),
            tree: BTreeMap::new(),
            told: RefCell::default(),
        };
        let mut builder = Builder { world, dice: fastrand::Rng::with_seed(seed), serial: 0, later: Vec::new() };
        builder.build(seed);
        let Builder { mut world, later, .. } = builder;
        for act in later {
            act(&world.fs);
        }
        world.fs.settle();
        world.before = world.fs.files(Tree::Base);
        world.tree = world.fs.tree();
        world
    }

    pub(super) fn log<'a>(&'a self, journal: &'a RefCell<Vec<Record>>) -> SimLog<'a> {
        SimLog { fs: &self.fs, journal, broken: false }
    }

    /// Runs the plan as the product would.
    pub(super) fn repair(&self) -> Result<Applied, ApplyError> {
        self.repair_with(&self.fs, &mut self.log(&self.journal), &mut SimProver(&self.fs))
    }

    pub(super) fn repair_with(
        &self,
        fs: &dyn Fs,
        log: &mut dyn Log,
        prover: &mut dyn Prover,
    ) -> Result<Applied, ApplyError> {
        let mut supply = SimSupply(&self.truth);
        let mut steps = self.steps.iter().cloned().map(Ok);
        Executor::new(fs, log, &mut supply, prover, options("repair")).run(&mut steps, &mut |step, outcome, detail| {
            self.told.borrow_mut().push(format!("{} {}: {detail}", step.number, outcome.name()));
        })
    }

    pub(super) fn undo(&self) -> Result<Applied, ApplyError> {
        let (mut undone, mut log) = (self.log(&self.journal), self.log(&self.undo_journal));
        undo(&self.fs, &mut undone, &mut log, &options("undo"), &mut |step, outcome, detail| {
            self.told.borrow_mut().push(format!("taking back {} {}: {detail}", step.number, outcome.name()));
        })
    }

    pub(super) fn redo(&self) -> Result<Applied, ApplyError> {
        let (mut undone, mut log) = (self.log(&self.undo_journal), self.log(&self.redo_journal));
        undo(&self.fs, &mut undone, &mut log, &options("redo"), &mut |step, outcome, detail| {
            self.told.borrow_mut().push(format!("taking back {} {}: {detail}", step.number, outcome.name()));
        })
    }

    /// Whether the step is to heal its message.
    pub(super) fn repairs(&self, step: &Step) -> bool {
        self.steps.iter().zip(&self.expect).any(|(s, e)| s == step && *e == Expect::Whole)
    }

    /// Whether no file of the step's key stands in the store.
    pub(super) fn is_missing(&self, step: &Step) -> bool {
        self.before.keys().all(|name| key(name.name()) != key(step.target.name()))
    }

    /// What must hold at any moment, also right after the power went.
    pub(super) fn check_always(&self) -> Result<(), String> {
        let (base, aside) = (self.fs.files(Tree::Base), self.fs.files(Tree::Quarantine));
        for (digest, content) in &self.truth {
            let whole = |files: &BTreeMap<RelPath, (Vec<u8>, Stat)>| {
                files.values().filter(|(bytes, _)| bytes == content).count()
            };
            if whole(&base) < whole(&self.before) {
                return Err(format!("a whole copy of {digest:?} is gone"));
            }
        }
        for (name, (content, _)) in &self.before {
            if !base.values().chain(aside.values()).any(|(bytes, _)| bytes == content) {
                return Err(format!("the old bytes of {name} are gone"));
            }
        }
        // Between a crash and the next run the lock of a mailbox may lie there.
        for (name, (content, _)) in base.iter().filter(|(_, (content, _))| *content != crate::sys::holder::text()) {
            let old = self.before.values().any(|(bytes, _)| bytes == content);
            if !old && !self.truth.values().any(|bytes| bytes == content) {
                return Err(format!("{name} holds bytes that nobody wrote"));
            }
        }
        self.check_bystanders(&base)?;
        self.check_journal(&base)
    }

    /// What must hold at any moment of an undo: every old byte and every whole copy is somewhere.
    pub(super) fn check_undo(&self) -> Result<(), String> {
        let (base, aside) = (self.fs.files(Tree::Base), self.fs.files(Tree::Quarantine));
        let anywhere = |wanted: &[u8]| base.values().chain(aside.values()).any(|(bytes, _)| bytes == wanted);
        for step in self.steps.iter().zip(&self.expect).filter(|(_, e)| **e == Expect::Whole).map(|(s, _)| s) {
            if content_of(step).and_then(|digest| self.truth.get(&digest)).is_some_and(|bytes| !anywhere(bytes)) {
                return Err(format!("the whole copy of step {} is gone", step.number));
            }
        }
        match self.before.iter().find(|(_, (bytes, _))| !anywhere(bytes)) {
            Some((name, _)) => Err(format!("the old bytes of {name} are gone")),
            None => Ok(()),
        }
    }

    /// The base is as it was given.
    pub(super) fn check_tree(&self, wanted: &Tree0) -> Result<(), String> {
        let now = self.fs.tree();
        for name in now.keys().chain(wanted.keys()) {
            if now.get(name) != wanted.get(name) {
                return Err(format!("{name} should be {:?} and is {:?}", wanted.get(name), now.get(name)));
            }
        }
        Ok(())
    }

    /// Files that no step is about are the very same.
    fn check_bystanders(&self, base: &BTreeMap<RelPath, (Vec<u8>, Stat)>) -> Result<(), String> {
        for (name, (content, stat)) in &self.before {
            let about = |step: &Step| {
                let stray = matches!(&step.action, Action::Rename { from, .. } if from == name);
                stray || key(step.target.name()) == key(name.name())
            };
            let touched = self.steps.iter().zip(&self.expect).any(|(s, e)| *e == Expect::Whole && about(s));
            if !touched && base.get(name).is_none_or(|(c, s)| c != content || s.ino != stat.ino) {
                return Err(format!("{name} was none of our business and changed"));
            }
        }
        Ok(())
    }

    /// What the journal calls done is on the medium.
    fn check_journal(&self, base: &BTreeMap<RelPath, (Vec<u8>, Stat)>) -> Result<(), String> {
        for record in self.journal.borrow().iter() {
            let Record::Done { number, outcome: Outcome::Done, placed: Some(placed), .. } = record else { continue };
            let step = self.steps.iter().find(|step| step.number == *number).ok_or("an unknown step")?;
            let Some(wanted) = content_of(step) else { continue };
            let found = base.values().find(|(_, stat)| stat.ino == placed.ino);
            if found.is_none_or(|(bytes, _)| Digest::of(bytes) != wanted) {
                return Err(format!("step {number} is done in the journal and not on the disk"));
            }
        }
        Ok(())
    }

    /// What must hold when a run went to its end.
    pub(super) fn check_complete(&self) -> Result<(), String> {
        self.check_always()?;
        let base = self.fs.files(Tree::Base);
        for (step, expect) in self.steps.iter().zip(&self.expect) {
            let Some(wanted) = content_of(step) else { continue };
            let same = |name: &RelPath| {
                let mailbox = |path: &RelPath| path.parent().and_then(|dir| dir.parent());
                key(name.name()) == key(step.target.name()) && mailbox(name) == mailbox(&step.target)
            };
            let found: Vec<_> = base.iter().filter(|(name, _)| same(name)).collect();
            let whole = found.len() == 1 && Digest::of(&found[0].1.0) == wanted;
            if *expect == Expect::Whole && !whole {
                return Err(format!("step {} is not complete: {}", step.number, step.target));
            }
        }
        let aside = self.fs.files(Tree::Quarantine);
        let passing = |name: &RelPath| name.as_bytes().ends_with(b".old") || name.as_bytes().ends_with(b".twice");
        let ours = |bytes: &Vec<u8>| !self.before.values().any(|(old, _)| old == bytes);
        let left = aside.iter().find(|(name, (bytes, _))| passing(name) || ours(bytes));
        left.map_or(Ok(()), |(name, _)| Err(format!("{name} was left behind in quarantine")))
    }
}

/// What somebody else does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Sets a flag.
    Rename,
    /// Puts another file in its place.
    Edit,
    Delete,
}

const EDIT: &[u8] = b"written by somebody else";

/// The name under which [`Act::Rename`] leaves a message.
fn flagged(victim: &RelPath) -> RelPath {
    RelPath::new([victim.as_bytes(), b"T"].concat()).expect("a test's path")
}

impl World {
    /// A damaged message that stands where the plan thinks, if there is one.
    pub(super) fn victim(&self) -> Option<RelPath> {
        let stands =
            |step: &Step| matches!(&step.before, Fingerprint::Inode(_)) && self.before.contains_key(&step.target);
        let found = self.steps.iter().zip(&self.expect).find(|(step, e)| **e == Expect::Whole && stands(step));
        found.map(|(step, _)| step.target.clone())
    }

    pub(super) fn interfere(&self, victim: &RelPath, at: u64, act: Act) {
        let victim = victim.clone();
        self.fs.arm_act(
            at,
            Box::new(move |state| match act {
                Act::Rename => state.act_rename(&victim, &flagged(&victim)),
                Act::Edit => state.act_write(&victim, EDIT),
                Act::Delete => state.act_delete(&victim),
            }),
        );
    }

    /// As [`World::check_interference`] when the power went: a change of flags or a deletion may itself be lost
    /// with it; an edit that was synced may not, and nothing is doubled.
    pub(super) fn check_after_loss(&self, victim: &RelPath, act: Act) -> Result<(), String> {
        let base = self.fs.files(Tree::Base);
        let of_key = |name: &&RelPath| name.parent() == victim.parent() && key(name.name()) == key(victim.name());
        let same: Vec<&RelPath> = base.keys().filter(of_key).collect();
        if same.len() > 1 || (same.is_empty() && act != Act::Delete) {
            return Err(format!("{same:?} stand for {victim}"));
        }
        let edited = base.get(victim).is_some_and(|(bytes, _)| bytes == EDIT);
        if edited == (act == Act::Edit) { Ok(()) } else { Err("an edit is gone".to_owned()) }
    }

    /// What somebody did to a message stands, whatever we did before or after it; nothing is doubled.
    pub(super) fn check_interference(&self, victim: &RelPath, act: Act) -> Result<(), String> {
        let base = self.fs.files(Tree::Base);
        let dir = victim.parent();
        let same: Vec<&RelPath> =
            base.keys().filter(|name| name.parent() == dir && key(name.name()) == key(victim.name())).collect();
        let wanted = match act {
            Act::Rename => vec![flagged(victim)],
            Act::Edit => vec![victim.clone()],
            Act::Delete => vec![],
        };
        if !same.iter().copied().eq(wanted.iter()) {
            return Err(format!("{same:?} instead of {wanted:?}"));
        }
        if act == Act::Edit && base.get(victim).is_none_or(|(bytes, _)| bytes != EDIT) {
            return Err("an edit is gone".to_owned());
        }
        Ok(())
    }
}

fn key(name: &[u8]) -> &[u8] {
    super::mailbox::key_of(name)
}

pub(super) fn options(run: &str) -> Options<'static> {
    Options { batch: 5, pause: &|_| (), ..Options::new(run, "/srv/mail", "/srv/quarantine/repair") }
}

impl Builder {
    fn build(&mut self, seed: u64) {
        for account in ["a", "b"] {
            self.mailbox(account);
            let troubles = 3 + self.dice.usize(0..3);
            for nth in 0..troubles {
                let trouble = (seed as usize * 7 + nth * 5 + self.dice.usize(0..TROUBLES)) % TROUBLES;
                self.message(account, trouble);
            }
            self.message(account, 0);
        }
        if self.dice.bool() {
            self.lost_mailbox("b/.Sent");
        }
    }

    fn mailbox(&mut self, dir: &str) {
        for name in [dir.to_owned(), format!("{dir}/cur"), format!("{dir}/new"), format!("{dir}/tmp")] {
            self.world.fs.make_dir(Tree::Base, &path(&name), 0o700).expect("an empty world");
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Stat {
        self.world.fs.as_other(|state| state.act_write(&path(name), content));
        let found = self.world.fs.stat(Tree::Base, &path(name)).expect("nothing is armed");
        assert!(matches!(found, Some((Kind::File, _))));
        found.map(|(_, stat)| stat).unwrap_or_default()
    }

    fn truth(&mut self) -> Vec<u8> {
        self.serial += 1;
        let mut content = format!("From: s{}\n\n", self.serial).into_bytes();
        content.extend((0..self.dice.usize(20..90)).map(|_| self.dice.alphanumeric() as u8));
        self.world.truth.insert(Digest::of(&content), content.clone());
        content
    }

    fn step(&mut self, target: &str, before: Fingerprint, action: Action, expect: Expect) {
        let number = self.world.steps.len() as u64 + 1;
        let account = target.split('/').next().unwrap_or_default().to_owned();
        let target = path(target);
        self.world.steps.push(Step {
            number,
            account,
            mailbox: "INBOX".to_owned(),
            key: Some(Key(key(target.name()).to_vec())),
            verdict: Verdict::Missing(Missing::Lost),
            target,
            before,
            action,
            assurance: Some(Assurance::Corroborated),
            why: String::new(),
            details: Default::default(),
        });
        self.world.expect.push(expect);
    }

    fn restore(&self, content: &[u8]) -> Action {
        Action::Restore {
            from: Location { source: Some(0), path: path("x") },
            stored_as: Encoding::Plain,
            attrs: Attrs { uid: 7, gid: 8, mode: 0o640, mtime: Stamp { sec: 4000, nsec: 5 }, xattrs: Vec::new() },
            content: Digest::of(content),
            length: content.len() as u64,
        }
    }

    /// One message in one kind of trouble.
    fn message(&mut self, account: &str, trouble: usize) {
        let content = self.truth();
        let mut bad = content.clone();
        bad[3..12].fill(0);
        let base = format!("{account}/cur/{}.M{}.mx", 1000 + self.serial, self.serial);
        let (name, other) = (format!("{base}:2,S"), format!("{base},S=9:2,RS"));
        let restore = self.restore(&content);
        let (from, to) = (path(&name), path(&other));
        match trouble {
            0 => drop(self.write(&name, &content)),
            1 | 2 => {
                let before = Fingerprint::Inode(self.write(&name, &bad));
                self.step(&name, before, restore, Expect::Whole);
            }
            3 | 4 => self.step(&name, Fingerprint::Nothing, restore, Expect::Whole),
            5 => self.stray(account, &name, &content),
            6 => {
                let before = Fingerprint::Inode(self.write(&name, &bad));
                self.step(&name, before, restore, Expect::Whole);
                self.later.push(Box::new(move |fs| fs.as_other(|state| state.act_rename(&from, &to))));
            }
            7 => {
                let before = Fingerprint::Inode(self.write(&name, &bad));
                self.step(&name, before, restore, Expect::Untouched);
                let edited = [&bad[..], b"edited"].concat();
                self.later.push(Box::new(move |fs| fs.as_other(|state| state.act_write(&from, &edited))));
            }
            8 => {
                let before = Fingerprint::Inode(self.write(&name, &bad));
                self.step(&name, before, restore, Expect::Untouched);
                self.later.push(Box::new(move |fs| fs.as_other(|state| state.act_delete(&from))));
            }
            9 => {
                self.step(&name, Fingerprint::Nothing, restore, Expect::Whole);
                self.later.push(Box::new(move |fs| fs.as_other(|state| state.act_write(&to, &content))));
            }
            _ => self.hard_link(account, &name, &bad, restore),
        }
    }

    fn stray(&mut self, account: &str, name: &str, content: &[u8]) {
        let from = format!("{account}/tmp/#{}", self.serial);
        let inode = self.write(&from, content);
        let (content, length) = (Digest::of(content), content.len() as u64);
        let action = Action::Rename { from: path(&from), inode, content, length };
        self.step(name, Fingerprint::Nothing, action, Expect::Whole);
    }

    /// One inode under two names, both to be healed.
    fn hard_link(&mut self, account: &str, name: &str, bad: &[u8], restore: Action) {
        self.write(name, bad);
        let other = format!("{account}/new/{}.M{}.mx", 9000 + self.serial, self.serial);
        self.world.fs.link((Tree::Base, &path(name)), (Tree::Base, &path(&other))).expect("a free name");
        let stat = self.world.fs.stat(Tree::Base, &path(name)).expect("nothing is armed");
        let before = Fingerprint::Inode(stat.map(|(_, stat)| stat).unwrap_or_default());
        self.step(name, before.clone(), restore.clone(), Expect::Whole);
        self.step(&other, before, restore, Expect::Whole);
    }

    /// A mailbox that is gone with its folder and comes back with it.
    fn lost_mailbox(&mut self, dir: &str) {
        let attrs = Attrs { uid: 7, gid: 8, mode: 0o750, mtime: Stamp::default(), xattrs: Vec::new() };
        for name in [dir.to_owned(), format!("{dir}/cur"), format!("{dir}/new"), format!("{dir}/tmp")] {
            self.step(&name, Fingerprint::Nothing, Action::MakeFolder { attrs: attrs.clone() }, Expect::Whole);
        }
        let content = self.truth();
        let action = self.restore(&content);
        self.step(&format!("{dir}/cur/5000.M1.mx:2,S"), Fingerprint::Nothing, action, Expect::Whole);
    }
}
