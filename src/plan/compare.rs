//! Two copies of one message by region: where they differ, and whether they are equal in every byte that nothing blames.
//!
//! What a signature may decide is bounded, for strangers write mail. No key is asked, so that anybody can write a header
//! whose `bh=` fits a body that was never sent, under any `d=`: the hash tells rot from mail, and not who wrote it. Then
//! there are two bodies under one header, the one that was sent (its hash fails, as after a mailing list) and the one
//! that the hash fits, and the second must not take the place of the first. It could only as a copy, hence:
//!
//! - a signature speaks between copies of one key in one account alone: file names are the server's, never the sender's.
//!   A copy that was found by its size, which whoever may append to a shared folder can choose, excuses no byte and
//!   accuses nothing: like any other it must equal the damaged file outside of what is blamed there. It can still make
//!   other copies doubtful, and so prevent a repair;
//! - the headers must be equal to the byte, with what the own server wrote into them on arrival;
//! - the copy must be whole by its own evidence, and as long as the other one where the server has recorded that length:
//!   what rots in place keeps its size;
//! - where a digest is recorded, no signature is heard.
//!
//! What is left is whoever may write under a message's own name in a source: its owner, to whom the message belongs, and
//! who runs the source.

use super::decide::Identity;
use crate::model::limits::DIFFERENCES_KEPT;
use crate::model::message::CopyFacts;
use crate::model::pieces::{Cuts, Pieces};
use crate::model::{Check, Encoding, Fault, FaultKind, Outcome, Span};

/// What comparing two copies showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Where they differ, or only one of them goes on, as closely as pieces tell.
    pub ranges: Vec<Span>,
    /// Whether every byte outside the blame is equal; `None` where one could not be compared, or there is none.
    pub outside: Option<bool>,
}

/// Ranges of a damaged copy in which another may differ from it: what its checks blame, and what a signature over
/// both proves in the other one, if that goes by the same key. In decoded bytes.
pub fn excused(own: &CopyFacts, other: &CopyFacts, identity: Identity) -> Vec<Span> {
    let of_stored = |check: Check| matches!(check, Check::Read | Check::NativeHash);
    let decodes = own.encoding != Encoding::Plain;
    // A count of line ends says that something is wrong, and not where: what other checks blame is enough, except where
    // the name tells that it is the message.
    let counted = |fault: &Fault| fault.kind == FaultKind::VirtualSizeMismatch;
    let located = identity != Identity::Key && own.evidence.faults().iter().any(|fault| !counted(fault));
    let blamed = own.evidence.faults().iter().filter(|fault| !(located && counted(fault))).map(|fault| {
        match (decodes, of_stored(fault.check)) {
            // Which decoded bytes the stored ones would have been, nobody knows: those that did not come.
            (true, true) => Span::new(own.length, u64::MAX - own.length),
            // What breaks off at the end may have gone on.
            _ if fault.span.length > 0 && fault.span.end() >= own.length => {
                Span::new(fault.span.offset, u64::MAX - fault.span.offset)
            }
            _ => fault.span,
        }
    });
    blamed.chain(proven_over(own, other).filter(|_| identity == Identity::Key)).collect()
}

/// What the sender's signature proves in `other`, where the very same signature stands over `own`.
fn proven_over(own: &CopyFacts, other: &CopyFacts) -> Option<Span> {
    let (over_own, over_other) = (own.evidence.signed()?, other.evidence.signed()?);
    let same = over_own.header.is_some() && over_own.header == over_other.header;
    over_other.proven().filter(|_| same && !of_another_length(other, own))
}

/// Whether the server recorded that `own` is as long as it is, and `other` is not.
fn of_another_length(other: &CopyFacts, own: &CopyFacts) -> bool {
    own.evidence.get(Check::NativeSize) == Outcome::Pass && own.length != other.length
}

/// Whether a signature shows `other` to be what was sent, and `own` not to be.
pub fn refutes(other: &CopyFacts, own: &CopyFacts) -> bool {
    let both = other.evidence.signed().zip(own.evidence.signed());
    both.is_some_and(|(other, own)| other.refutes(own)) && !of_another_length(other, own)
}

/// Whether a copy of one key shows that `own` is damaged, although its own bytes may not.
pub fn accuses(other: &CopyFacts, identity: Identity, own: &CopyFacts) -> bool {
    identity == Identity::Key && refutes(other, own) && other.evidence.verdict().is_intact()
}

/// Whether a copy was read whole and shows no fault but that it is not what was recorded.
pub fn is_clean(facts: &CopyFacts) -> bool {
    let mut own = facts.evidence.faults().iter().filter(|f| f.kind != FaultKind::DigestMismatch);
    facts.digest.is_some() && own.next().is_none()
}

/// What a copy of the same key says of a message that looks whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The same bytes, and whether they lie on another file system: it corroborates.
    Equal {
        apart: bool,
    },
    /// The sender's signature proves the copy, and not the message.
    Accuses,
    /// A whole copy has other content, and nothing tells which is right.
    Rival,
    Nothing,
}

pub fn word(copy: &CopyFacts, own: &CopyFacts) -> Word {
    if own.digest.is_some() && copy.digest == own.digest {
        return Word::Equal { apart: copy.stat.dev != own.stat.dev };
    }
    if accuses(copy, Identity::Key, own) {
        return Word::Accuses;
    }
    let other = copy.canonical_digest() != own.canonical_digest();
    if other && is_clean(copy) && !refutes(own, copy) { Word::Rival } else { Word::Nothing }
}

/// Whether the two are equal in every byte that nothing excuses. Where all bytes are excused, the header may still be
/// known to be equal: the same signature stands in it, and proves all the rest.
pub fn outside(own: &CopyFacts, other: &CopyFacts, identity: Identity, comparison: &Comparison) -> Option<bool> {
    comparison.outside.or_else(|| (identity == Identity::Key && refutes(other, own)).then_some(true))
}

/// Where the contents are to be cut so that [`compare`] is exact.
pub fn cuts<'a>(own: &CopyFacts, others: impl IntoIterator<Item = (&'a CopyFacts, Identity)>) -> Cuts {
    let mut edges = vec![own.length];
    for (other, identity) in others {
        edges.push(other.length);
        edges.extend(excused(own, other, identity).into_iter().flat_map(|span| [span.offset, span.end()]));
    }
    Cuts::new(edges)
}

/// Compares piece by piece. Both must have been cut alike.
pub fn compare(cuts: &Cuts, own: &Pieces, other: &Pieces, excused: &[Span]) -> Comparison {
    let mut ranges = Vec::new();
    let (mut at, mut number, mut equal, mut unequal, mut unknown) = (0, 0, false, false, false);
    let length = own.length.max(other.length);
    while at < length {
        let end = cuts.end(at);
        let piece = Span::new(at, end.min(length) - at);
        let of = |pieces: &Pieces| match pieces.length > at {
            true => (end.min(pieces.length) - at, pieces.digests.get(number).copied().flatten()),
            false => (0, Some([0; 16])),
        };
        let (mine, theirs) = (of(own), of(other));
        let known = mine.1.is_some() && theirs.1.is_some();
        let is_equal = known && mine == theirs;
        if !is_equal {
            keep(&mut ranges, piece);
        }
        if !excused.iter().any(|span| span.holds(piece)) {
            equal |= is_equal;
            unequal |= known && !is_equal;
            unknown |= !known;
        }
        (at, number) = (end, number + 1);
    }
    let outside = match (unequal, unknown, equal) {
        (true, _, _) => Some(false),
        (false, false, true) => Some(true),
        (false, _, _) => None,
    };
    Comparison { ranges, outside }
}

/// Adds a range, joined with the one before where they touch, or where no more are kept.
fn keep(ranges: &mut Vec<Span>, piece: Span) {
    let full = ranges.len() >= DIFFERENCES_KEPT;
    match ranges.last_mut() {
        Some(last) if full || last.end() == piece.offset => last.length = piece.end() - last.offset,
        _ => ranges.push(piece),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
