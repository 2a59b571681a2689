//! A store and its replica, held against each other: what differs, which is right, what a sync would do.
//!
//! Pure data.

use super::evidence::Verdict;
use super::message::Key;
use super::path::RelPath;
use serde::{Deserialize, Serialize};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The store.
    Here,
    /// The replica.
    There,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Here => "here",
            Side::There => "there",
        }
    }

    pub fn other(self) -> Side {
        match self {
            Side::Here => Side::There,
            Side::There => Side::Here,
        }
    }
}

/// Why only one side has a message: what became of it on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// It never was there: it came after the last sync.
    New,
    /// Its owner deleted it there, by the records or by every sign.
    Deleted,
    /// There was evidence of loss.
    Lost,
    /// Nothing tells.
    Undecided,
}

impl Gap {
    pub fn name(self) -> &'static str {
        match self {
            Gap::New => "new",
            Gap::Deleted => "deleted",
            Gap::Lost => "lost",
            Gap::Undecided => "undecided",
        }
    }

    /// Whether a sync in both directions may carry it over.
    pub fn is_safe(self) -> bool {
        matches!(self, Gap::New | Gap::Deleted)
    }
}

/// How the two sides differ in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The side that has it, and what became of it on the other.
    Only(Side, Gap),
    /// The side whose copy is damaged; the other one is right.
    Damaged(Side),
    /// No copy is the message.
    DamagedBoth,
    /// Both look whole, and nothing tells which is right.
    Contents,
    /// Only that side has it, and its copy is damaged.
    DamagedOnly(Side, Gap),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Only(Side::Here, _) => "only_here",
            Kind::Only(Side::There, _) => "only_there",
            Kind::Damaged(Side::Here) | Kind::DamagedOnly(Side::Here, _) => "damaged_here",
            Kind::Damaged(Side::There) | Kind::DamagedOnly(Side::There, _) => "damaged_there",
            Kind::DamagedBoth => "damaged_both",
            Kind::Contents => "contents",
        }
    }

    /// The side that has the message as it is meant to be.
    pub fn right(self) -> Option<Side> {
        match self {
            Kind::Damaged(side) => Some(side.other()),
            Kind::Only(side, Gap::New | Gap::Lost) => Some(side),
            Kind::Only(side, Gap::Deleted) | Kind::DamagedOnly(side, Gap::Deleted) => Some(side.other()),
            Kind::Only(_, Gap::Undecided) | Kind::DamagedBoth | Kind::Contents | Kind::DamagedOnly(..) => None,
        }
    }

    /// What became of it on the side that lacks it.
    pub fn gap(self) -> Option<Gap> {
        match self {
            Kind::Only(_, gap) | Kind::DamagedOnly(_, gap) => Some(gap),
            Kind::Damaged(_) | Kind::DamagedBoth | Kind::Contents => None,
        }
    }

    /// Whether a sync in both directions may carry it over.
    pub fn is_safe(self) -> bool {
        matches!(self, Kind::Only(_, gap) if gap.is_safe())
    }
}

/// One message in which the sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub account: String,
    pub mailbox: String,
    pub key: Key,
    pub kind: Kind,
    /// Below the store, and below the replica, with what each side's copy is; `None` where there is none.
    pub here: Option<(RelPath, Verdict)>,
    pub there: Option<(RelPath, Verdict)>,
    pub why: String,
    /// A sync by the two servers would delete the copy that is left.
    pub deleted_by_sync: bool,
    /// A finding tells of it already.
    pub told: bool,
}

/// Messages that only one side has, by what became of them on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gaps {
    pub new: u64,
    pub deleted: u64,
    pub lost: u64,
    pub undecided: u64,
}

impl Gaps {
    pub fn total(&self) -> u64 {
        self.new + self.deleted + self.lost + self.undecided
    }

    fn count(&mut self, gap: Gap) {
        match gap {
            Gap::New => self.new += 1,
            Gap::Deleted => self.deleted += 1,
            Gap::Lost => self.lost += 1,
            Gap::Undecided => self.undecided += 1,
        }
    }
}

/// What one kind of sync would do to mail that its owner did not delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Harmful {
    /// Whole messages that it would delete.
    pub deletes: u64,
    /// Messages that it would overwrite with a damaged copy, or with one that nothing vouches for.
    pub overwrites: u64,
}

/// The counts of a comparison. All count messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sides {
    /// Read on the replica, and their stored bytes.
    pub messages: u64,
    pub bytes: u64,
    /// On both sides, and the same there.
    pub equal: u64,
    /// On both sides with the same content, in different mailboxes.
    pub moved: u64,
    pub only_here: Gaps,
    pub only_there: Gaps,
    pub damaged_here: u64,
    pub damaged_there: u64,
    pub damaged_both: u64,
    pub contents: u64,
    /// A sync by the two servers (dsync, doveadm sync or backup), by the side on which it would delete.
    pub sync_deletes_here: u64,
    pub sync_deletes_there: u64,
    /// `rsync --delete` from here to there, and from there to here.
    pub push: Harmful,
    pub pull: Harmful,
    /// Files of the replica that the medium did not give.
    pub read_errors: u64,
}

impl Sides {
    /// Counts one difference.
    pub fn count(&mut self, difference: &Difference) {
        match difference.kind {
            Kind::Only(side, gap) => self.only(side, gap, difference.deleted_by_sync),
            Kind::DamagedOnly(side, gap) => {
                self.gaps(side).count(gap);
                self.damaged(side);
            }
            Kind::Damaged(side) => {
                self.damaged(side);
                // Rot keeps size and times, by which rsync goes; what goes by contents or by names carries it over.
                self.towards(side.other()).overwrites += 1;
            }
            Kind::DamagedBoth => self.damaged_both += 1,
            Kind::Contents => {
                self.contents += 1;
                self.push.overwrites += 1;
                self.pull.overwrites += 1;
            }
        }
    }

    fn only(&mut self, side: Side, gap: Gap, deleted_by_sync: bool) {
        self.gaps(side).count(gap);
        if gap != Gap::Deleted {
            self.towards(side).deletes += 1;
        }
        match side {
            Side::Here => self.sync_deletes_here += u64::from(deleted_by_sync),
            Side::There => self.sync_deletes_there += u64::from(deleted_by_sync),
        }
    }

    fn gaps(&mut self, side: Side) -> &mut Gaps {
        match side {
            Side::Here => &mut self.only_here,
            Side::There => &mut self.only_there,
        }
    }

    fn damaged(&mut self, side: Side) {
        match side {
            Side::Here => self.damaged_here += 1,
            Side::There => self.damaged_there += 1,
        }
    }

    /// The mirroring that makes that side like the other.
    fn towards(&mut self, side: Side) -> &mut Harmful {
        match side {
            Side::Here => &mut self.pull,
            Side::There => &mut self.push,
        }
    }

    /// Whether a sync must not run now: it would destroy or hide mail, or a side holds damage.
    pub fn vetoes(&self) -> bool {
        let gaps = |gaps: &Gaps| gaps.lost + gaps.undecided > 0;
        self.damaged_here + self.damaged_there + self.damaged_both + self.contents > 0
            || gaps(&self.only_here)
            || gaps(&self.only_there)
            || self.sync_deletes_here + self.sync_deletes_there > 0
    }

    /// Joins every count with that of another part of the run.
    pub fn each(&mut self, other: &Sides, join: fn(u64, u64) -> u64) {
        macro_rules! fields {
            ($($($name:ident).+)*) => { $(self.$($name).+ = join(self.$($name).+, other.$($name).+);)* };
        }
        fields!(messages bytes equal moved damaged_here damaged_there damaged_both contents sync_deletes_here
            sync_deletes_there push.deletes push.overwrites pull.deletes pull.overwrites read_errors
            only_here.new only_here.deleted only_here.lost only_here.undecided
            only_there.new only_there.deleted only_there.lost only_there.undecided);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(kind: Kind, deleted_by_sync: bool) -> Difference {
        Difference {
            account: "ann".into(),
            mailbox: "INBOX".into(),
            key: Key(b"1".to_vec()),
            kind,
            here: None,
            there: None,
            why: String::new(),
            deleted_by_sync,
            told: false,
        }
    }

    fn counted(kind: Kind, deleted_by_sync: bool) -> Sides {
        let mut sides = Sides::default();
        sides.count(&difference(kind, deleted_by_sync));
        sides
    }

    #[test]
    fn a_sync_may_carry_over_new_mail_and_deletions_and_nothing_else() {
        for side in [Side::Here, Side::There] {
            for gap in [Gap::New, Gap::Deleted, Gap::Lost, Gap::Undecided] {
                let kind = Kind::Only(side, gap);
                assert_eq!(counted(kind, false).vetoes(), !kind.is_safe(), "{kind:?}");
                assert_eq!(kind.is_safe(), matches!(gap, Gap::New | Gap::Deleted));
                assert!(counted(Kind::DamagedOnly(side, gap), false).vetoes());
            }
            assert!(counted(Kind::Damaged(side), false).vetoes());
        }
        assert!(counted(Kind::Contents, false).vetoes() && counted(Kind::DamagedBoth, false).vetoes());
        assert!(!Sides::default().vetoes());
    }

    #[test]
    fn a_mirror_deletes_what_only_its_target_has() {
        let lost_here = counted(Kind::Only(Side::There, Gap::Lost), true);
        assert_eq!((lost_here.push.deletes, lost_here.pull.deletes), (1, 0));
        assert_eq!((lost_here.sync_deletes_there, lost_here.sync_deletes_here), (1, 0));
        let new_here = counted(Kind::Only(Side::Here, Gap::New), false);
        assert_eq!((new_here.push.deletes, new_here.pull.deletes), (0, 1));
        let deleted_here = counted(Kind::Only(Side::There, Gap::Deleted), false);
        assert_eq!((deleted_here.push, deleted_here.pull), (Harmful::default(), Harmful::default()));
        let rot_here = counted(Kind::Damaged(Side::Here), false);
        assert_eq!((rot_here.push.overwrites, rot_here.pull.overwrites), (1, 0));
    }

    #[test]
    fn the_right_side_is_the_one_that_would_be_missed() {
        assert_eq!(Kind::Only(Side::There, Gap::Lost).right(), Some(Side::There));
        assert_eq!(Kind::Only(Side::There, Gap::Deleted).right(), Some(Side::Here));
        assert_eq!(Kind::Only(Side::Here, Gap::New).right(), Some(Side::Here));
        assert_eq!(Kind::Damaged(Side::Here).right(), Some(Side::There));
        for kind in [Kind::Contents, Kind::DamagedBoth, Kind::Only(Side::Here, Gap::Undecided)] {
            assert_eq!(kind.right(), None, "{kind:?}");
        }
    }

    #[test]
    fn counts_add_up_and_take_apart_again() {
        let (one, two) = (counted(Kind::Contents, false), counted(Kind::Only(Side::Here, Gap::Lost), true));
        let mut both = one.clone();
        both.each(&two, u64::saturating_add);
        assert_eq!((both.contents, both.only_here.lost, both.pull.deletes, both.sync_deletes_here), (1, 1, 1, 1));
        both.each(&one, u64::saturating_sub);
        assert_eq!(both, two);
    }
}
