//! Other processes in the simulation: what they do to one message while a run is at work, and what must have
//! become of that.

use super::sim_world::{World, key};
use crate::model::RelPath;
use crate::model::plan::{Action, Fingerprint};
use crate::sys::fs::Tree;
use std::rc::Rc;

/// What somebody else does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Sets a flag.
    Rename,
    /// Puts another file in its place.
    Edit,
    Delete,
    /// Delivers another message beside it.
    Deliver,
}

pub(super) const ACTS: [Act; 4] = [Act::Rename, Act::Edit, Act::Delete, Act::Deliver];

const THEIRS: &[u8] = b"written by somebody else";

/// A message that somebody does something to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    pub at: RelPath,
    /// It stands there damaged before the repair; else it is missing.
    pub stands: bool,
}

fn beside(victim: &RelPath, suffix: &[u8]) -> RelPath {
    RelPath::new([victim.as_bytes(), suffix].concat()).expect("a test's path")
}

/// The name under which [`Act::Rename`] leaves a message.
fn flagged(victim: &RelPath) -> RelPath {
    beside(victim, b"T")
}

/// The name of what [`Act::Deliver`] delivers.
fn delivered(victim: &RelPath) -> RelPath {
    let dir = victim.parent().unwrap_or_default();
    dir.join(b"777.new").expect("a test's path")
}

impl World {
    /// Messages that the plan heals where they stand or stood, in mailboxes that are there.
    pub(super) fn victims(&self) -> Vec<Victim> {
        let mut victims = Vec::new();
        for step in self.healing().filter(|step| matches!(step.action, Action::Restore { .. })) {
            let folder = step.target.parent().unwrap_or_default();
            let maildir = folder.name() == b"cur" && self.tree.contains_key(&folder);
            let stands = matches!(step.before, Fingerprint::Inode(_)) && self.before.contains_key(&step.target);
            let alone = self.before.keys().filter(|name| super::sim_world::same_message(name, &step.target)).count();
            if maildir && alone == usize::from(stands) {
                victims.push(Victim { at: step.target.clone(), stands });
            }
        }
        victims
    }

    /// A damaged message that stands where the plan thinks, if there is one.
    pub(super) fn victim(&self) -> Option<Victim> {
        self.victims().into_iter().find(|victim| victim.stands)
    }

    /// Lets somebody act before operation `at`.
    pub(super) fn interfere(&self, victim: &Victim, at: u64, act: Act) {
        let name = victim.at.clone();
        *self.meddled.borrow_mut() = Some(if act == Act::Deliver { delivered(&name) } else { name.clone() });
        self.fs.arm_act(
            at,
            Rc::new(move |state| match act {
                Act::Rename => state.act_rename(&name, &flagged(&name)),
                Act::Edit => state.act_write(&name, THEIRS),
                Act::Delete => state.act_delete(&name),
                Act::Deliver => state.act_write(&delivered(&name), THEIRS),
            }),
        );
    }

    /// What somebody did to a message stands, whatever we did before or after it; nothing is doubled. When the
    /// power went, a change of flags or a deletion may itself be lost with it; what was synced may not.
    pub(super) fn others_are_respected(&self, victim: &Victim, act: Act, power: bool) -> Result<(), String> {
        let base = self.fs.files(Tree::Base);
        let is_theirs = |name: &RelPath| base.get(name).is_some_and(|(bytes, _)| bytes == THEIRS);
        let of_key = |name: &&RelPath| name.parent() == victim.at.parent() && key(name.name()) == key(victim.at.name());
        let same: Vec<&RelPath> = base.keys().filter(of_key).collect();
        let wanted = match act {
            Act::Deliver if !is_theirs(&delivered(&victim.at)) => return Err("a delivery is gone".to_owned()),
            Act::Edit if !is_theirs(&victim.at) => return Err("an edit is gone".to_owned()),
            Act::Edit => vec![victim.at.clone()],
            Act::Rename if victim.stands && !power => vec![flagged(&victim.at)],
            // Where the exchange is two moves, a deletion between them comes too late.
            Act::Delete if victim.stands && !power && !self.fs.plain => vec![],
            _ if same.len() > 1 => return Err(format!("{same:?} stand for {}", victim.at)),
            _ => return Ok(()),
        };
        if same.iter().copied().eq(wanted.iter()) { Ok(()) } else { Err(format!("{same:?} instead of {wanted:?}")) }
    }
}
