//! Two copies of one message by region: where they differ, and whether they are equal in every byte that nothing blames.

use crate::model::limits::DIFFERENCES_KEPT;
use crate::model::message::CopyFacts;
use crate::model::pieces::{Cuts, Pieces};
use crate::model::{Check, Encoding, Span};

/// What comparing two copies showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Where they differ, or only one of them goes on, as closely as pieces tell.
    pub ranges: Vec<Span>,
    /// Whether every byte outside the blame is equal; `None` where one could not be compared, or there is none.
    pub outside: Option<bool>,
}

/// Ranges of a damaged copy in which another may differ from it: what its checks blame, and what a signature over
/// both proves in the other one. In decoded bytes.
pub fn excused(own: &CopyFacts, other: &CopyFacts) -> Vec<Span> {
    let of_stored = |check: Check| matches!(check, Check::Read | Check::NativeHash);
    let decodes = own.encoding != Encoding::Plain;
    let blamed = own.evidence.faults().iter().map(|fault| match (decodes, of_stored(fault.check)) {
        // Which decoded bytes the stored ones would have been, nobody knows: those that did not come.
        (true, true) => Span::new(own.length, u64::MAX - own.length),
        // What breaks off at the end may have gone on.
        _ if fault.span.length > 0 && fault.span.end() >= own.length => {
            Span::new(fault.span.offset, u64::MAX - fault.span.offset)
        }
        _ => fault.span,
    });
    blamed.chain(proven_over(own, other)).collect()
}

/// What the sender's signature proves in `other`, where the very same signature stands over `own`.
fn proven_over(own: &CopyFacts, other: &CopyFacts) -> Option<Span> {
    let (own, other) = (own.evidence.signed()?, other.evidence.signed()?);
    let same = own.header.is_some() && own.header == other.header;
    other.proven().filter(|_| same)
}

/// Whether a signature shows `other` to be what was sent, and `own` not to be.
pub fn refutes(other: &CopyFacts, own: &CopyFacts) -> bool {
    let both = other.evidence.signed().zip(own.evidence.signed());
    both.is_some_and(|(other, own)| other.refutes(own))
}

/// Whether the two are equal in every byte that nothing excuses. Where all bytes are excused, the header may still be
/// known to be equal: the same signature stands in it, and proves all the rest.
pub fn outside(own: &CopyFacts, other: &CopyFacts, comparison: &Comparison) -> Option<bool> {
    comparison.outside.or_else(|| refutes(other, own).then_some(true))
}

/// Where the contents are to be cut so that [`compare`] is exact.
pub fn cuts<'a>(own: &CopyFacts, others: impl IntoIterator<Item = &'a CopyFacts>) -> Cuts {
    let mut edges = vec![own.length];
    for other in others {
        edges.push(other.length);
        edges.extend(excused(own, other).into_iter().flat_map(|span| [span.offset, span.end()]));
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
