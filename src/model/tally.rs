//! What a run counted, and the exit status that follows.

use super::evidence::{Assurance, Missing, Verdict};
use super::sides::Sides;
use serde::{Deserialize, Serialize};

/// Counters of one run. All count messages unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub accounts: u64,
    pub accounts_affected: u64,
    pub mailboxes: u64,
    pub messages: u64,
    /// Stored bytes of the messages that were read.
    pub bytes: u64,
    pub intact: [u64; Assurance::ALL.len()],
    pub suspect: u64,
    pub damaged: u64,
    pub unreadable: u64,
    pub lost: u64,
    pub undecided: u64,
    pub deleted: u64,
    pub moved: u64,
    pub presumed_deleted: u64,
    pub undetermined: u64,
    /// Messages, folders and files that should have been checked and could not be.
    pub not_checked: u64,
    pub deferred: u64,
    pub accepted: u64,
    /// Of the damaged, unreadable and missing: a step of the plan would heal it.
    pub repairable: u64,
    pub repaired: u64,
    /// Changes of an earlier run that an undo took back; no healing, so no exit status.
    pub put_back: u64,
    pub held: u64,
    pub conflicts: u64,
    pub failed: u64,
    /// Errors that the medium returned.
    pub read_errors: u64,
    /// Companion files and folders that are lost, and those put back.
    pub companions_lost: u64,
    pub companions_repaired: u64,
    /// Errors of our own: catalog, state folder, protocol.
    pub own_errors: u64,
    pub interrupted: bool,
    /// Less than the whole store was asked for.
    #[serde(default)]
    pub partial: bool,
    /// Seconds within which a budget that left something reads everything once, a run a night; 0 without one.
    #[serde(default)]
    pub promise: u64,
    /// Of the damaged and unreadable: on record as whole until this run.
    #[serde(default)]
    pub newly_harmed: u64,
    /// Number of the device that the store's root lies on; 0 where nobody wrote it down.
    #[serde(default)]
    pub device: u64,
    /// How long readers paused because others needed the disks. Milliseconds.
    #[serde(default)]
    pub paused_ms: u64,
    /// The store held against its replica (`--against`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sides: Option<Box<Sides>>,
}

impl Tally {
    /// Counts one verdict.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Intact(assurance) => self.intact[assurance as usize] += 1,
            Verdict::Suspect => self.suspect += 1,
            Verdict::Damaged => self.damaged += 1,
            Verdict::Unreadable => self.unreadable += 1,
            Verdict::Missing(Missing::Lost) => self.lost += 1,
            Verdict::Missing(Missing::Undecided) => self.undecided += 1,
            Verdict::Missing(Missing::Deleted) => self.deleted += 1,
            Verdict::Missing(Missing::Moved) => self.moved += 1,
            Verdict::Missing(Missing::PresumedDeleted) => self.presumed_deleted += 1,
            Verdict::Undetermined => self.undetermined += 1,
        }
    }

    /// Adds what another part of the same run counted.
    pub fn add(&mut self, other: &Tally) {
        self.each(other, u64::saturating_add);
        self.interrupted |= other.interrupted;
        self.partial |= other.partial;
        self.promise = self.promise.max(other.promise);
    }

    /// What was counted since `before` was taken.
    pub fn since(&self, before: &Tally) -> Tally {
        let mut own = self.clone();
        own.each(before, u64::saturating_sub);
        own
    }

    fn each(&mut self, other: &Tally, join: fn(u64, u64) -> u64) {
        for (mine, theirs) in self.intact.iter_mut().zip(&other.intact) {
            *mine = join(*mine, *theirs);
        }
        macro_rules! fields {
            ($($name:ident)*) => { $(self.$name = join(self.$name, other.$name);)* };
        }
        if let Some(theirs) = &other.sides {
            self.sides.get_or_insert_default().each(theirs, join);
        }
        fields!(accounts accounts_affected mailboxes messages bytes suspect damaged unreadable lost undecided deleted
            moved presumed_deleted undetermined not_checked deferred accepted repairable repaired put_back held conflicts failed
            read_errors companions_lost companions_repaired own_errors newly_harmed);
    }

    pub fn intact_total(&self) -> u64 {
        self.intact.iter().sum()
    }

    /// Messages whose damage or loss this run found: what exit status 4 or 1 is about.
    pub fn harmed(&self) -> u64 {
        self.damaged + self.unreadable + self.lost + self.undecided + self.companions_lost
    }

    /// The exit status of DESIGN.md section 2, or-ed: 1 all damage repaired, 4 damage remains,
    /// 8 not everything was checked or mailmend failed, 32 interrupted. 16 is never made here.
    pub fn exit(&self) -> u8 {
        let healed = self.repaired + self.companions_repaired;
        let mut status = 0;
        if self.harmed() > healed {
            status |= 4;
        } else if healed > 0 {
            status |= 1;
        }
        if self.not_checked > 0 || self.own_errors > 0 || self.failed > 0 {
            status |= 8;
        }
        if self.held > 0 || self.conflicts > 0 || self.sides.as_ref().is_some_and(|sides| sides.vetoes()) {
            status |= 4;
        }
        if self.interrupted {
            status |= 32;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_bits() {
        let mut tally = Tally::default();
        assert_eq!(tally.exit(), 0);
        tally.count(Verdict::Suspect);
        tally.count(Verdict::Missing(Missing::PresumedDeleted));
        tally.deferred = 3;
        assert_eq!(tally.exit(), 0, "suspect, presumed deleted and deferred set no bit");
        tally.count(Verdict::Damaged);
        assert_eq!(tally.exit(), 4);
        tally.repaired = 1;
        assert_eq!(tally.exit(), 1);
        tally.not_checked = 1;
        assert_eq!(tally.exit(), 1 | 8);
        tally.count(Verdict::Missing(Missing::Undecided));
        tally.interrupted = true;
        assert_eq!(tally.exit(), 4 | 8 | 32);
        let mut compared = Tally { sides: Some(Box::default()), ..Tally::default() };
        assert_eq!(compared.exit(), 0);
        compared.sides.get_or_insert_default().damaged_there = 1;
        assert_eq!(compared.exit(), 4, "no sync may run");
        assert_eq!(compared.since(&compared).exit(), 0);
    }

    #[test]
    fn tallies_of_runs_that_compared_nothing_are_read_and_written_as_ever() {
        let text = serde_json::to_string(&Tally::default()).expect("JSON");
        assert!(!text.contains("sides"), "{text}");
        assert_eq!(serde_json::from_str::<Tally>(&text).expect("a tally"), Tally::default());
    }
}
