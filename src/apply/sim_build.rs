//! Builds small seeded worlds for the simulation: a store with every kind of trouble, the plan that heals it,
//! and what others did since the plan was made.

use super::sim_world::{Expect, World, key, path};
use crate::model::message::Xattr;
use crate::model::plan::{Action, Fingerprint, Location, Step};
use crate::model::{Assurance, Attrs, Digest, Encoding, Key, Missing, Stamp, Stat, Verdict};
use crate::sys::fs::{Dress, Fs, Kind, Tree};
use crate::sys::simfs::SimFs;
use std::rc::Rc;

/// Kinds of trouble, one message each.
const TROUBLES: usize = 20;

type Later = Box<dyn FnOnce(&SimFs)>;

struct Builder {
    world: World,
    dice: fastrand::Rng,
    serial: u64,
    /// What others do between the plan and its execution.
    later: Vec<Later>,
}

impl World {
    /// A world of a few messages in one to three accounts; every fifth is a folder that is filled from nothing,
    /// as `--into` does it.
    pub(super) fn new(seed: u64, plain: bool) -> World {
        Self::build(seed, plain, |builder| if seed % 5 == 4 { builder.empty_folder() } else { builder.store(seed) })
    }

    /// A world of two messages in trouble, and one that is not.
    pub(super) fn small(seed: u64, plain: bool) -> World {
        Self::build(seed, plain, |builder| {
            builder.mailbox("a");
            builder.message("a", 0);
            for nth in 1..3 {
                builder.message("a", (seed as usize * 2 + nth) % TROUBLES);
            }
        })
    }

    fn build(seed: u64, plain: bool, fill: impl FnOnce(&mut Builder)) -> World {
        let dice = fastrand::Rng::with_seed(seed);
        let mut builder = Builder { world: World::empty(plain), dice, serial: 0, later: Vec::new() };
        fill(&mut builder);
        let Builder { mut world, later, .. } = builder;
        for act in later {
            act(&world.fs);
        }
        world.before = Rc::new(world.fs.files(Tree::Base));
        world.tree = Rc::new(world.fs.tree());
        world.fs.forgive();
        world.rest();
        world
    }
}

impl Builder {
    fn store(&mut self, seed: u64) {
        let accounts = 1 + self.dice.usize(0..3);
        for account in &["a", "b", "c"][..accounts] {
            self.mailbox(account);
            let archive = format!("{account}/.Archive");
            let folders =
                if self.dice.bool() { vec![(*account).to_owned(), archive] } else { vec![(*account).to_owned()] };
            for folder in folders.iter().skip(1) {
                self.mailbox(folder);
            }
            for nth in 0..1 + self.dice.usize(0..6 / accounts + 1) {
                let trouble = (seed as usize * 7 + nth * 5 + self.dice.usize(0..TROUBLES)) % TROUBLES;
                let folder = &folders[self.dice.usize(0..folders.len())];
                self.message(folder, trouble);
            }
            self.message(account, 0);
        }
        if self.dice.bool() {
            self.indexes("a");
        }
        if self.dice.bool() {
            self.lost_mailbox("a/.Sent");
        }
    }

    /// A folder in which nothing is yet.
    fn empty_folder(&mut self) {
        for account in ["a", "b"] {
            self.lost_mailbox(account);
        }
        self.lost_mailbox("b/.Sent");
    }

    fn mailbox(&mut self, dir: &str) {
        for name in [dir.to_owned(), format!("{dir}/cur"), format!("{dir}/new"), format!("{dir}/tmp")] {
            self.world.fs.make_dir(Tree::Base, &path(&name), 0o700).expect("an empty world");
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Stat {
        self.world.fs.as_other(|state| state.act_write(&path(name), content));
        self.stat(name)
    }

    fn stat(&self, name: &str) -> Stat {
        let found = self.world.fs.stat(Tree::Base, &path(name)).expect("nothing is armed");
        assert!(matches!(found, Some((Kind::File, _))));
        found.map(|(_, stat)| stat).unwrap_or_default()
    }

    fn truth(&mut self) -> Vec<u8> {
        self.serial += 1;
        let mut content = format!("From: s{}\n\n", self.serial).into_bytes();
        content.extend((0..self.dice.usize(20..120)).map(|_| self.dice.alphanumeric() as u8));
        self.learn(&content);
        content
    }

    fn learn(&mut self, content: &[u8]) {
        let truth = Rc::get_mut(&mut self.world.truth).expect("nobody else has it yet");
        truth.insert(Digest::of(content), content.to_vec());
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
            needs: Vec::new(),
            details: Default::default(),
        });
        self.world.expect.push(expect);
    }

    fn restore(&self, content: &[u8]) -> Action {
        Action::Restore {
            from: Location { source: Some(0), path: path("x"), form: Default::default() },
            stored_as: Encoding::Plain,
            attrs: Attrs { uid: 7, gid: 8, mode: 0o640, mtime: Stamp { sec: 4000, nsec: 5 }, xattrs: Vec::new() },
            content: Digest::of(content),
            length: content.len() as u64,
        }
    }

    /// A damaged message where the plan sees it.
    fn damaged(&mut self, name: &str, bad: &[u8], restore: Action, expect: Expect) {
        let before = Fingerprint::Inode(self.write(name, bad));
        self.step(name, before, restore, expect);
    }

    /// What somebody does after the plan was made.
    fn afterwards(&mut self, act: impl FnOnce(&mut crate::sys::simfs::State) + 'static) {
        self.later.push(Box::new(move |fs| fs.as_other(act)));
    }

    /// One message in one kind of trouble.
    fn message(&mut self, folder: &str, trouble: usize) {
        let content = self.truth();
        let mut bad = content.clone();
        bad[3..12].fill(0);
        let base = format!("{folder}/cur/{}.M{}.mx", 1000 + self.serial, self.serial);
        let (name, other) = (format!("{base}:2,S"), format!("{base},S=9:2,RS"));
        let restore = self.restore(&content);
        let (from, to) = (path(&name), path(&other));
        match trouble {
            0 => drop(self.write(&name, &content)),
            1 | 2 => self.damaged(&name, &bad, restore, Expect::Whole),
            3 | 4 => self.step(&name, Fingerprint::Nothing, restore, Expect::Whole),
            5 => self.stray(folder, &name, &content),
            6 => {
                self.damaged(&name, &bad, restore, Expect::Whole);
                self.afterwards(move |state| state.act_rename(&from, &to));
            }
            7 => {
                self.damaged(&name, &bad, restore, Expect::Untouched);
                let edited = [&bad[..], b"edited"].concat();
                self.afterwards(move |state| state.act_write(&from, &edited));
            }
            8 => {
                self.damaged(&name, &bad, restore, Expect::Untouched);
                self.afterwards(move |state| state.act_delete(&from));
            }
            9 => {
                self.step(&name, Fingerprint::Nothing, restore, Expect::Whole);
                self.afterwards(move |state| state.act_write(&to, &content));
            }
            10 => self.hard_link(folder, &name, &bad, restore),
            _ => self.rarer(folder, trouble, (&name, &other), (&content, &bad)),
        }
    }

    /// Troubles that real stores have less often.
    fn rarer(&mut self, folder: &str, trouble: usize, (name, other): (&str, &str), (content, bad): (&[u8], &[u8])) {
        let restore = self.restore(content);
        match trouble {
            11 => self.read_only(name, bad, restore),
            // A whole copy under the same key, which the plan did not choose to keep instead.
            12 => {
                self.write(other, content);
                self.damaged(name, bad, restore, Expect::Whole);
            }
            // Two damaged files of one key, both to be healed.
            13 => {
                self.damaged(name, bad, restore.clone(), Expect::Whole);
                let second = [bad, b"second"].concat();
                self.damaged(other, &second, restore, Expect::Whole);
            }
            // One content under two keys: one damaged, one missing.
            14 => {
                self.damaged(name, bad, restore.clone(), Expect::Whole);
                self.step(
                    &format!("{folder}/cur/7{}.twin:2,", self.serial),
                    Fingerprint::Nothing,
                    restore,
                    Expect::Whole,
                );
            }
            15 => {
                self.write(name, bad);
                let before = Fingerprint::Content { digest: Digest::of(bad), length: bad.len() as u64 };
                self.step(name, before, restore, Expect::Whole);
            }
            16 => self.step(name, Fingerprint::Nothing, Action::Report, Expect::Skipped),
            17 => {
                let target = path(name);
                self.step(name, Fingerprint::Nothing, restore, Expect::Untouched);
                self.afterwards(move |state| state.act_symlink(&target));
            }
            // A file whose name tells nothing of flags, outside `cur` and `new`.
            18 => {
                let flat = format!("{folder}/u.{}", self.serial);
                self.damaged(&flat, bad, restore.clone(), Expect::Whole);
                self.step(&format!("{folder}/w.{}", self.serial), Fingerprint::Nothing, restore, Expect::Whole);
            }
            _ => self.whole_and_linked(folder, name, content),
        }
    }

    /// A server's indexes that are moved aside, one of them for a new beginning, before a message comes back.
    fn indexes(&mut self, dir: &str) {
        let (index, log) = (format!("{dir}/dovecot.index"), format!("{dir}/dovecot.index.log"));
        let mut needs = Vec::new();
        let before = Fingerprint::Inode(self.write(&index, b"an index"));
        self.step(&index, before, Action::Quarantine, Expect::Whole);
        needs.push(self.world.steps.len() as u64);
        let attrs = Attrs { uid: 7, gid: 8, mode: 0o600, mtime: Stamp { sec: 4001, nsec: 0 }, xattrs: Vec::new() };
        let before = Fingerprint::Inode(self.write(&log, b"a log"));
        let bytes = b"the beginning of a log".to_vec();
        self.learn(&bytes);
        self.step(&log, before, Action::Write { bytes, attrs }, Expect::Whole);
        needs.push(self.world.steps.len() as u64);
        for number in &needs {
            self.world.steps[*number as usize - 1].key = None;
        }
        let content = self.truth();
        let (action, name) = (self.restore(&content), format!("{dir}/cur/800{}.M1.mx:2,S", self.serial));
        self.step(&name, Fingerprint::Nothing, action, Expect::Whole);
        let last = self.world.steps.len() - 1;
        self.world.steps[last].needs = needs;
    }

    fn stray(&mut self, folder: &str, name: &str, content: &[u8]) {
        let from = format!("{folder}/tmp/#{}", self.serial);
        let inode = self.write(&from, content);
        let (content, length) = (Digest::of(content), content.len() as u64);
        let action = Action::Rename { from: path(&from), inode, content, length };
        self.step(name, Fingerprint::Nothing, action, Expect::Whole);
    }

    /// A damaged file that its owner may only read, with attributes that its replacement must keep.
    fn read_only(&mut self, name: &str, bad: &[u8], restore: Action) {
        self.write(name, bad);
        let xattrs = [Xattr { name: b"user.label".to_vec(), value: b"kept".to_vec() }];
        let dress = Dress { uid: 90, gid: 91, mode: 0o400, mtime: Stamp { sec: 77, nsec: 7 }, xattrs: &xattrs };
        self.world.fs.as_other(|state| state.act_dress(&path(name), &dress));
        let before = Fingerprint::Inode(self.stat(name));
        self.step(name, before, restore, Expect::Whole);
    }

    fn link(&self, from: &str, to: &str) {
        self.world.fs.link((Tree::Base, &path(from)), (Tree::Base, &path(to))).expect("a free name");
    }

    /// One inode under two names, both to be healed.
    fn hard_link(&mut self, folder: &str, name: &str, bad: &[u8], restore: Action) {
        self.write(name, bad);
        let other = format!("{folder}/new/{}.M{}.mx", 9000 + self.serial, self.serial);
        self.link(name, &other);
        let before = Fingerprint::Inode(self.stat(name));
        self.step(name, before.clone(), restore.clone(), Expect::Whole);
        self.step(&other, before, restore, Expect::Whole);
    }

    /// One whole inode under two names, read-only: nobody's business.
    fn whole_and_linked(&mut self, folder: &str, name: &str, content: &[u8]) {
        self.write(name, content);
        let dress = Dress { uid: 90, gid: 91, mode: 0o400, mtime: Stamp { sec: 78, nsec: 8 }, xattrs: &[] };
        self.world.fs.as_other(|state| state.act_dress(&path(name), &dress));
        self.link(name, &format!("{folder}/new/{}.M{}.mx", 9000 + self.serial, self.serial));
    }

    /// A mailbox that is gone with its folder and comes back with it, and a stray message with it.
    fn lost_mailbox(&mut self, dir: &str) {
        let attrs = Attrs { uid: 7, gid: 8, mode: 0o750, mtime: Stamp::default(), xattrs: Vec::new() };
        for name in [dir.to_owned(), format!("{dir}/cur"), format!("{dir}/new"), format!("{dir}/tmp")] {
            self.step(&name, Fingerprint::Nothing, Action::MakeFolder { attrs: attrs.clone() }, Expect::Whole);
        }
        for _ in 0..1 + self.dice.usize(0..3) {
            let content = self.truth();
            let (action, name) = (self.restore(&content), format!("{dir}/cur/500{}.M1.mx:2,S", self.serial));
            self.step(&name, Fingerprint::Nothing, action, Expect::Whole);
        }
        if let Some((account, _)) = dir.split_once('/').filter(|(account, _)| self.has_folder(account)) {
            let content = self.truth();
            self.stray(account, &format!("{dir}/cur/600{}.M1.mx:2,", self.serial), &content);
        }
    }

    fn has_folder(&self, dir: &str) -> bool {
        self.world.fs.tree().contains_key(&path(&format!("{dir}/tmp")))
    }
}
