//! The law that every run obeys, whatever went wrong: the judge of the simulation.
//!
//! Knows nothing of how the executor works; it looks at files, and at what journals claim about them.

use super::sim_hands::content_of;
use super::sim_world::{Expect, RUNS, World, same_message};
use crate::model::journal::{Outcome, Record};
use crate::model::plan::{Action, Step};
use crate::model::{Digest, RelPath, Stat};
use crate::sys::fs::{Kind, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Distinct files by what they hold.
type Counts<'a> = BTreeMap<&'a [u8], usize>;

fn counts<'a>(files: impl Iterator<Item = &'a (Vec<u8>, Stat)>) -> Counts<'a> {
    let inodes: BTreeMap<u64, &[u8]> = files.map(|(bytes, stat)| (stat.ino, &bytes[..])).collect();
    tally(inodes.into_values())
}

fn tally<'a>(contents: impl Iterator<Item = &'a [u8]>) -> Counts<'a> {
    let mut counts = Counts::new();
    contents.for_each(|bytes| *counts.entry(bytes).or_default() += 1);
    counts
}

/// The first content of which there are too few.
fn fewer<'a>(had: &Counts<'a>, have: &Counts<'_>) -> Option<&'a [u8]> {
    had.iter().find(|(bytes, count)| have.get(*bytes).unwrap_or(&0) < count).map(|(bytes, _)| *bytes)
}

impl World {
    /// What holds at every moment of run `nth`, also right after the power went: no message has fewer whole
    /// copies than before, every old byte is in the store or in quarantine, what was intact is the very same,
    /// the store holds no bytes that nobody wrote, nothing is doubled, and what the journal calls done is done.
    pub(super) fn nothing_is_lost(&self, nth: usize) -> Result<(), String> {
        let (base, aside) = (self.fs.files(Tree::Base), self.fs.files(Tree::Quarantine));
        let theirs = self.fs.removed_by_others();
        let ours = self.shelf.iter().filter(|(ino, _)| !theirs.contains(ino)).map(|(_, bytes)| &bytes[..]);
        if let Some(bytes) = fewer(&tally(ours), &counts(base.values().chain(aside.values()))) {
            return Err(format!("{} stood in the store and is gone", self.name(bytes)));
        }
        let whole = |bytes: &[u8]| self.truth.values().any(|truth| truth == bytes);
        if nth.is_multiple_of(2) {
            let mut had = counts(self.before.values().filter(|(_, stat)| !theirs.contains(&stat.ino)));
            had.retain(|bytes, _| whole(bytes));
            if let Some(bytes) = fewer(&had, &counts(base.values())) {
                return Err(format!("a repair took {} out of the store", self.name(bytes)));
            }
        }
        for (name, (bytes, _)) in base.iter().filter(|(name, _)| !self.is_meddled(name)) {
            // Until a run ends, or the next one after a crash, the lock of a mailbox may lie there.
            let lock = name.as_bytes().ends_with(b".lock") && *bytes == crate::sys::holder::text();
            if !lock && !whole(bytes) && !self.before.values().any(|(old, _)| old == bytes) {
                return Err(format!("{name} holds bytes that nobody wrote"));
            }
        }
        for step in self.healing() {
            let of =
                |names: &mut dyn Iterator<Item = &RelPath>| names.filter(|n| same_message(n, &step.target)).count();
            let (had, has) = (of(&mut self.before.keys()), of(&mut base.keys()));
            if has > had.max(1) && !(self.fs.plain && self.is_meddled(&step.target)) {
                return Err(format!("{} stands there {has} times", step.target));
            }
        }
        self.intact_is_the_same()?;
        self.done_is_done(nth)
    }

    /// Says what bytes are.
    fn name(&self, bytes: &[u8]) -> String {
        let before = self.before.iter().find(|(_, (old, _))| old == bytes).map(|(name, _)| name);
        let what = if self.truth.contains_key(&Digest::of(bytes)) { "a whole copy" } else { "what" };
        before.map_or(format!("{what} of {} bytes", bytes.len()), |name| format!("{what} of {name}"))
    }

    /// What no step is about has its name, inode, bytes, date, owner, mode and attributes.
    fn intact_is_the_same(&self) -> Result<(), String> {
        let now = self.fs.tree();
        for (name, was) in self.tree.iter() {
            let ours = was.kind == Kind::File && self.is_about(name);
            if !ours && !self.is_meddled(name) && now.get(name) != Some(was) {
                return Err(format!("{name} was none of our business: {was:?} is {:?} now", now.get(name)));
            }
        }
        Ok(())
    }

    /// What the run's journal calls done is so.
    fn done_is_done(&self, nth: usize) -> Result<(), String> {
        let (base, aside) = (self.fs.inodes(Tree::Base), self.fs.inodes(Tree::Quarantine));
        let theirs = self.fs.removed_by_others();
        for record in self.records(nth) {
            let Record::Done { number, outcome: Outcome::Done, placed, saved, .. } = record else { continue };
            let missing = |stat: Option<Stat>, found: &BTreeSet<u64>| {
                stat.is_some_and(|stat| !found.contains(&stat.ino) && !theirs.contains(&stat.ino))
            };
            if missing(placed, &base) || missing(saved, &aside) {
                return Err(format!("{} {number} is done in the journal and not on the disk", RUNS[nth]));
            }
        }
        Ok(())
    }

    /// What holds when run `nth` went to its end undisturbed: it did all that it was to do, or took all of it
    /// back; and it left nothing open and nothing behind.
    pub(super) fn finished(&self, nth: usize) -> Result<(), String> {
        self.nothing_is_lost(nth)?;
        self.nothing_is_open(nth)?;
        let damaged = self.journals.iter().any(|journal| journal.borrow().contains(&super::Line::Damaged));
        let aside = self.fs.files(Tree::Quarantine);
        let old =
            |bytes: &Vec<u8>| self.before.values().any(|(old, _)| old == bytes) || self.meddled.borrow().is_some();
        let left = aside.iter().find(|(name, (bytes, _))| {
            // Of what its owner deleted while it was replaced, the second name is the only one.
            let second = name.as_bytes().ends_with(b".old") && self.meddled.borrow().is_none();
            let passing = second || name.as_bytes().ends_with(b".twice");
            passing || (nth.is_multiple_of(2) && !old(bytes))
        });
        // On the word of a damaged journal nothing is removed.
        if let Some((name, _)) = left.filter(|_| !damaged) {
            return Err(format!("{name} was left behind in quarantine"));
        }
        let lock = |name: &&RelPath| name.as_bytes().ends_with(b".lock") || name.as_bytes().starts_with(b"lock");
        if let Some(name) = self.fs.files(Tree::Base).keys().chain(aside.keys()).find(lock) {
            return Err(format!("the lock {name} was left behind"));
        }
        if nth.is_multiple_of(2) { self.healed() } else { self.restored() }
    }

    /// Every change that the journal began is concluded in it, and it is closed.
    fn nothing_is_open(&self, nth: usize) -> Result<(), String> {
        let mut open = BTreeSet::new();
        let records = self.records(nth);
        for record in &records {
            match record {
                Record::Begin(intent) => drop(open.insert(intent.step.number)),
                Record::Done { number, .. } => drop(open.remove(number)),
                Record::Open { .. } | Record::Close { .. } => {}
            }
        }
        if let Some(number) = open.first() {
            return Err(format!("{} {number} is neither done nor given up", RUNS[nth]));
        }
        let closed = records.last() == Some(&Record::Close { complete: true });
        if closed { Ok(()) } else { Err(format!("the journal of {} is not closed", RUNS[nth])) }
    }

    /// Every step that could be carried out was.
    fn healed(&self) -> Result<(), String> {
        let (base, tree) = (self.fs.files(Tree::Base), self.fs.tree());
        for step in self.healing().filter(|step| !self.is_meddled(&step.target)) {
            if let Action::MakeFolder { attrs } = &step.action {
                let dressed = |found: &crate::sys::simfs::Standing| {
                    found.kind == Kind::Directory && found.owner == (attrs.uid, attrs.gid) && found.mode == attrs.mode
                };
                if !tree.get(&step.target).is_some_and(dressed) {
                    return Err(format!("step {} is not complete: {}", step.number, step.target));
                }
            }
            if step.action == Action::Quarantine && base.contains_key(&step.target) {
                return Err(format!("step {} is not complete: {} is still there", step.number, step.target));
            }
            let Some(wanted) = content_of(step) else { continue };
            let found =
                base.iter().find(|(name, (bytes, _))| same_message(name, &step.target) && Digest::of(bytes) == wanted);
            let Some((name, (_, stat))) = found else {
                return Err(format!("step {} is not complete: {}", step.number, step.target));
            };
            if !self.before.values().any(|(_, old)| old.ino == stat.ino) {
                self.attributes(step, &tree[name])?;
            }
        }
        Ok(())
    }

    /// What we placed has the attributes that the plan says, and those of the file that it replaced.
    fn attributes(&self, step: &Step, found: &crate::sys::simfs::Standing) -> Result<(), String> {
        let Action::Restore { attrs, .. } = &step.action else { return Ok(()) };
        let kept = self.tree.get(&step.target).map(|old| &old.xattrs[..]).unwrap_or_default();
        let right = found.owner == (attrs.uid, attrs.gid)
            && found.mode == attrs.mode
            && found.mtime == attrs.mtime
            && kept.iter().all(|xattr| found.xattrs.contains(xattr));
        if right { Ok(()) } else { Err(format!("{} has other attributes than planned: {found:?}", step.target)) }
    }

    /// The store is exactly as it was before anything was done.
    fn restored(&self) -> Result<(), String> {
        let now = self.fs.tree();
        for name in now.keys().chain(self.tree.keys()).filter(|name| !self.is_meddled(name)) {
            if now.get(name) != self.tree.get(name) {
                return Err(format!("{name} should be {:?} and is {:?}", self.tree.get(name), now.get(name)));
            }
        }
        Ok(())
    }

    /// What holds when the quarantine was purged, at any moment of it: the store is untouched, and of every
    /// message that was whole somewhere, a whole copy is left.
    pub(super) fn a_whole_copy_is_left(&self, start: &World) -> Result<(), String> {
        if self.fs.tree() != start.fs.tree() {
            return Err("purging the quarantine changed the store".to_owned());
        }
        let anywhere = |world: &World, truth: &[u8]| {
            let holds = |tree| world.fs.files(tree).values().any(|(bytes, _)| bytes == truth);
            holds(Tree::Base) || holds(Tree::Quarantine)
        };
        let gone = self.truth.values().find(|truth| anywhere(start, truth) && !anywhere(self, truth));
        gone.map_or(Ok(()), |bytes| Err(format!("the last {} was purged", self.name(bytes))))
    }

    /// How many steps must end as conflicts.
    pub(super) fn conflicts(&self) -> u64 {
        self.expect.iter().filter(|e| **e == Expect::Untouched).count() as u64
    }
}
