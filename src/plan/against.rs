//! A store and its replica: of two copies of one message, which is right, and why only one side has a message.
//!
//! Neither side is trusted more than the other. A recorded digest decides; else what only one of them has against it;
//! else the sender's signature, within the bounds of [`super::compare`]. Nothing is decided by age or by majority.

use super::compare;
use super::decide::Identity;
use super::missing::{Absence, Fate, classify};
use crate::model::message::CopyFacts;
use crate::model::server::Says;
use crate::model::sides::{Gap, Kind, Side};
use crate::model::{Digest, Missing, Signed, Stamp, Verdict};

/// What is known of one message on both sides.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub here: &'a CopyFacts,
    pub there: &'a CopyFacts,
    /// The canonical digest on record, if it was recorded without doubts.
    pub recorded: Option<Digest>,
}

const BY_RECORD: &str = "only the other side's copy equals the digest on record";

/// Compares two copies; `None` where they agree and nothing is wrong with them.
pub fn both(pair: &Pair<'_>) -> Option<(Kind, String)> {
    let Pair { here, there, recorded } = *pair;
    let (own, other) = (here.canonical_digest(), there.canonical_digest());
    let equal = own.is_some() && own == other;
    if let Some(recorded) = recorded {
        match (own == Some(recorded), other == Some(recorded)) {
            (true, true) => return None,
            (true, false) => return damaged(Side::There, BY_RECORD),
            (false, true) => return damaged(Side::Here, BY_RECORD),
            (false, false) if equal => {
                return Some((Kind::DamagedBoth, "both hold the same content, and it is not what was recorded".into()));
            }
            (false, false) => return Some((Kind::DamagedBoth, "neither equals the digest on record".into())),
        }
    }
    match (is_harmed(here), is_harmed(there)) {
        (false, false) if equal => None,
        (true, true) if equal => Some((Kind::DamagedBoth, "both hold the same damaged content".into())),
        (true, true) => Some((Kind::DamagedBoth, "both copies are damaged".into())),
        // Equal bytes are judged alike; where names promise different sizes, one of them does not fit.
        (here, there) if equal => {
            let side = if here && !there { "the store" } else { "the replica" };
            Some((Kind::DamagedBoth, format!("equal contents that break the record of {side}")))
        }
        (true, false) => breaks_alone(Side::Here, here, there),
        (false, true) => breaks_alone(Side::There, there, here),
        (false, false) if compare::accuses(there, Identity::Key, here) => signed(Side::Here, there),
        (false, false) if compare::accuses(here, Identity::Key, there) => signed(Side::There, here),
        (false, false) => Some((Kind::Contents, odd(here, there))),
    }
}

fn damaged(side: Side, why: &str) -> Option<(Kind, String)> {
    Some((Kind::Damaged(side), why.to_owned()))
}

/// Whether a copy is damaged by what its own bytes and name show.
pub fn is_harmed(facts: &CopyFacts) -> bool {
    matches!(facts.evidence.verdict(), Verdict::Damaged | Verdict::Unreadable)
}

/// Only one of two copies has a fault: the other one is right, unless it is doubtful itself.
fn breaks_alone(side: Side, bad: &CopyFacts, good: &CopyFacts) -> Option<(Kind, String)> {
    let fault = bad.evidence.faults().first();
    let place = match fault {
        Some(fault) if fault.span.length > 0 => {
            format!(" ({} from byte {} on)", fault.kind.words(), fault.span.offset)
        }
        Some(fault) => format!(" ({})", fault.kind.words()),
        None => String::new(),
    };
    match good.evidence.verdict() {
        Verdict::Intact(_) => Some((Kind::Damaged(side), format!("only this copy breaks{place}"))),
        _ => Some((Kind::DamagedBoth, format!("one copy breaks{place}, and the other one is doubtful too"))),
    }
}

fn signed(side: Side, right: &CopyFacts) -> Option<(Kind, String)> {
    let hash = right.evidence.signed().map(Signed::words).unwrap_or_default();
    Some((Kind::Damaged(side), format!("{hash} fits the other side's copy, and not this one")))
}

/// Why nothing decides between two copies.
fn odd(here: &CopyFacts, there: &CopyFacts) -> String {
    let doubtful = |facts: &CopyFacts| facts.evidence.verdict() == Verdict::Suspect;
    let words = match (doubtful(here), doubtful(there)) {
        (true, false) => "the store's copy alone raises doubts, which prove nothing",
        (false, true) => "the replica's copy alone raises doubts, which prove nothing",
        _ => "both look whole, and nothing tells which is right",
    };
    words.to_owned()
}

/// What is known of a message that one side lacks.
#[derive(Debug, Clone, Default)]
pub struct Lack {
    /// Where the side that lacks it tells of it, and what surrounds that.
    pub absence: Absence,
    /// By the records it was there once.
    pub was_there: bool,
    /// When the message came to the side that has it, at the earliest.
    pub arrived: Option<Stamp>,
    /// When anything was last put into or taken from its mailbox on the side that lacks it.
    pub changed: Option<Stamp>,
    /// By the lists of both servers, which are of one UIDVALIDITY: its UID was never given there, or to another message.
    pub never_numbered: bool,
    /// The whole folder came after the side that lacks it last made or lost one.
    pub new_folder: bool,
}

/// Why one side lacks messages of one mailbox, of which the other side holds `known`.
///
/// New is what cannot have been there: whoever put it there would have had to change the folder, after it arrived. What
/// the server of the side that lacks it says of the message goes before all that. What is new says nothing of the rest:
/// it does not count among those that are gone at once.
pub fn gaps(mut lacks: Vec<Lack>, known: u64) -> Vec<(Gap, String)> {
    let gone = lacks.iter().filter(|lack| new(lack).is_none()).count() as u64;
    for lack in &mut lacks {
        (lack.absence.gone, lack.absence.known) = (gone, known.max(gone));
    }
    lacks.iter().map(gap).collect()
}

fn gap(lack: &Lack) -> (Gap, String) {
    if let Some(why) = new(lack) {
        return (Gap::New, why.to_owned());
    }
    if lack.absence.before.is_some_and(|before| of(before) == Gap::Deleted) && !is_told(lack) {
        return (Gap::Deleted, "gone already at an earlier night, by every sign deleted".to_owned());
    }
    let (missing, why) = classify(&lack.absence);
    (of(missing), why)
}

fn is_told(lack: &Lack) -> bool {
    !matches!(lack.absence.server, Says::Nothing | Says::Restarted)
}

/// Why a message that one side lacks never was there.
fn new(lack: &Lack) -> Option<&'static str> {
    if is_told(lack) || lack.was_there || lack.absence.folder == Fate::Deleted {
        return None;
    }
    let later = lack.arrived.zip(lack.changed).is_some_and(|(arrived, changed)| arrived.sec > changed.sec);
    match lack.absence.mailbox_gone {
        _ if lack.never_numbered => Some("new: the other server never gave it a number"),
        false if later => Some("new: it came after the last change on the other side"),
        true if lack.new_folder => Some("new: its folder was made after the last change on the other side"),
        _ => None,
    }
}

/// What a missing message means to a sync.
pub fn of(missing: Missing) -> Gap {
    match missing {
        Missing::Lost => Gap::Lost,
        Missing::Undecided => Gap::Undecided,
        Missing::Deleted | Missing::Moved | Missing::PresumedDeleted => Gap::Deleted,
    }
}

/// Whether the servers' own sync would delete the copy that is left, though nobody deleted the message: to the side that
/// lacks it, it is one that was there and is gone. `numbered`: that side gave it a UID once.
pub fn sync_deletes(gap: Gap, says: Says, numbered: bool) -> bool {
    let known = numbered || matches!(says, Says::Listed | Says::LossNoticed | Says::DeletedBySync);
    !gap.is_safe() && known
}

#[cfg(test)]
#[path = "against_tests.rs"]
mod tests;
