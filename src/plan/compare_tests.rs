//! What is equal outside the damage, to the byte; what a signature proves among copies.

use super::*;
use crate::model::{Agrees, Evidence, Fault, Signed};
use crate::verify::Piecer;
use proptest::prelude::*;

fn facts(bytes: &[u8], blamed: &[(FaultKind, Span)]) -> CopyFacts {
    let mut evidence = Evidence::default();
    evidence.set(Check::Read, Outcome::Pass);
    for &(kind, span) in blamed {
        evidence.blame(Fault { check: Check::Pattern, kind, span, errno: None });
    }
    CopyFacts { length: bytes.len() as u64, evidence, ..CopyFacts::default() }
}

fn signed(facts: &mut CopyFacts, header: u8, body: u64, agrees: Agrees) {
    facts.evidence.sign(Signed { domain: None, agrees, header: Some([header; 16]), body });
}

fn pieces(cuts: &Cuts, bytes: &[u8], hole: Option<Span>) -> Pieces {
    let mut piecer = Piecer::new(cuts);
    match hole {
        Some(hole) => {
            piecer.feed(&bytes[..hole.offset as usize]);
            piecer.hole(hole.length);
            piecer.feed(&bytes[hole.end() as usize..]);
        }
        None => piecer.feed(bytes),
    }
    piecer.finish()
}

fn compared(own: (&CopyFacts, &[u8]), other: (&CopyFacts, &[u8])) -> Comparison {
    let cuts = cuts(own.0, [(other.0, Identity::Key)]);
    let excused = excused(own.0, other.0, Identity::Key);
    compare(&cuts, &pieces(&cuts, own.1, None), &pieces(&cuts, other.1, None), &excused)
}

fn outside(own: &[u8], blamed: &[(FaultKind, Span)], other: &[u8]) -> Option<bool> {
    compared((&facts(own, blamed), own), (&facts(other, &[]), other)).outside
}

#[test]
fn a_count_of_line_ends_excuses_a_copy_only_under_the_messages_own_name() {
    let whole = Span::new(0, 9000);
    let own = facts(&[1; 9000], &[(FaultKind::VirtualSizeMismatch, whole), (FaultKind::NulRun, Span::new(512, 512))]);
    let other = facts(&[1; 9000], &[]);
    assert_eq!(excused(&own, &other, Identity::Size), [Span::new(512, 512)]);
    assert_eq!(excused(&own, &other, Identity::Key).len(), 2);
    let counted = facts(&[1; 9000], &[(FaultKind::VirtualSizeMismatch, whole)]);
    assert_eq!(excused(&counted, &other, Identity::Size).len(), 1, "nothing else says where");
}

#[test]
fn one_byte_beside_the_blame_is_seen() {
    let other: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8 + 1).collect();
    let mut own = other.clone();
    own[5000..5600].fill(0);
    let blame = [(FaultKind::NulRun, Span::new(5000, 600))];
    assert_eq!(outside(&own, &blame, &other), Some(true));
    for at in [0, 4999, 5600, 8191, 19_999] {
        let mut beside = own.clone();
        beside[at] ^= 1;
        assert_eq!(outside(&beside, &blame, &other), Some(false), "{at}");
    }
    assert_eq!(outside(&own, &blame, &other[..19_999]), Some(false), "it ends earlier");
    assert_eq!(outside(&own[..19_000], &blame, &other), Some(false), "it goes on, and nothing says that ours should");
    let cut = [(FaultKind::TooShort, Span::new(10_000, 10_000))];
    assert_eq!(outside(&other[..10_000], &cut, &other), Some(true));
    let unclosed = [(FaultKind::UnclosedMultipart, Span::new(9000, 1000))];
    assert_eq!(outside(&other[..10_000], &unclosed, &other), Some(true), "it broke off in what is blamed");
    assert_eq!(outside(&[0; 600], &[(FaultKind::NulRun, Span::new(0, 600))], &other[..600]), None, "nothing is left");
    assert_eq!(outside(b"a few bytes", &[], b"a few bytes"), Some(true));
}

#[test]
fn differing_ranges_are_joined_and_bounded() {
    let other = vec![7u8; 1 << 20];
    let mut own = other.clone();
    own[4096 * 3..4096 * 5].fill(8);
    own[4096 * 9] = 8;
    let said = compared((&facts(&own, &[]), &own), (&facts(&other, &[]), &other));
    assert_eq!(said.ranges, [Span::new(4096 * 3, 8192), Span::new(4096 * 9, 4096)]);
    own.iter_mut().step_by(8192).for_each(|byte| *byte = 9);
    let said = compared((&facts(&own, &[]), &own), (&facts(&other, &[]), &other));
    assert_eq!(said.ranges.len(), DIFFERENCES_KEPT);
    assert_eq!(said.ranges.last().map(|last| last.end()), Some(4096 * 255), "the last one covers all others");
}

#[test]
fn bytes_behind_a_hole_are_compared_too() {
    let other: Vec<u8> = (0..40_000u32).map(|n| (n % 249) as u8).collect();
    let hole = Span::new(8192, 4096);
    let blame = [(FaultKind::ReadError, hole)];
    let (own, theirs) = (facts(&other, &blame), facts(&other, &[]));
    let (cuts, excused) = (cuts(&own, [(&theirs, Identity::Key)]), excused(&own, &theirs, Identity::Key));
    let whole = pieces(&cuts, &other, None);
    let of = |bytes: &[u8], hole| compare(&cuts, &pieces(&cuts, bytes, Some(hole)), &whole, &excused).outside;
    assert_eq!(of(&other, hole), Some(true));
    let mut behind = other.clone();
    behind[30_000] ^= 1;
    assert_eq!(of(&behind, hole), Some(false));
    assert_eq!(of(&other, Span::new(8192, 8192)), None, "this time more is missing than is blamed");
}

#[test]
fn what_the_sender_signed_excuses_the_body_under_one_header() {
    let other = b"From: a\n\nthe body as it was signed\n";
    let own = b"From: a\n\nthe b0dy as it was sign3d and\n";
    let said = |own_header: u8, agrees: Agrees, own_bytes: &[u8]| {
        let (mut mine, mut theirs) = (facts(own_bytes, &[]), facts(other, &[]));
        signed(&mut mine, own_header, 9, Agrees::No);
        signed(&mut theirs, 1, 9, agrees);
        (compared((&mine, own_bytes), (&theirs, other)).outside, refutes(&theirs, &mine))
    };
    assert_eq!(said(1, Agrees::Whole, own), (Some(true), true));
    assert_eq!(said(2, Agrees::Whole, own), (Some(false), false), "another header may be another message");
    assert_eq!(said(1, Agrees::No, own), (Some(false), false));
    assert_eq!(said(1, Agrees::UpTo(20), own), (Some(false), false), "what l= does not cover differs");
    assert_eq!(said(1, Agrees::UpTo(20), b"From: a\n\nthe b0dy as it was signed\n"), (Some(true), false));
}

/// Whoever knows a message's header can write another body that its hash fits; what that may do is bounded.
#[test]
fn a_planted_body_under_one_header_is_heard_by_key_alone() {
    let (own, planted) = (b"From: a\n\nwhat was sent and received\n", b"From: a\n\nwhat the hash in it fits\n  \n");
    assert_eq!(own.len(), planted.len() - 1);
    let facts_of = |bytes: &[u8], agrees| {
        let mut said = facts(bytes, &[]);
        said.evidence.set(Check::Header, Outcome::Pass);
        signed(&mut said, 1, 9, agrees);
        said.digest = Some(crate::model::Digest::of(bytes));
        said
    };
    let (mut mine, theirs) = (facts_of(own, Agrees::No), facts_of(planted, Agrees::Whole));
    assert!(accuses(&theirs, Identity::Key, &mine));
    assert_eq!(word(&theirs, &mine), Word::Accuses);
    for identity in [Identity::Size, Identity::Stray] {
        assert!(!accuses(&theirs, identity, &mine));
        assert_eq!(excused(&mine, &theirs, identity), [], "it excuses no byte");
        assert_eq!(super::outside(&mine, &theirs, identity, &Comparison::default()), None);
    }
    let mut odd = theirs.clone();
    odd.evidence.blame(Fault {
        check: Check::NativeSize,
        kind: FaultKind::TooLong,
        span: Span::new(9, 1),
        errno: None,
    });
    assert!(!accuses(&odd, Identity::Key, &mine), "it is not whole itself");
    // The server recorded that what was sent is as long as it is here.
    mine.evidence.set(Check::NativeSize, Outcome::Pass);
    assert!(!accuses(&theirs, Identity::Key, &mine));
    assert_eq!(excused(&mine, &theirs, Identity::Key), []);
    assert_eq!(word(&theirs, &mine), Word::Rival, "shown, and left alone");
    let rotten = facts_of(b"From: a\n\nwhat was sent and r3ceived\n", Agrees::No);
    assert_eq!(word(&mine, &rotten), Word::Rival, "neither is proven");
}

/// Equal copies corroborate if they lie on two file systems, and nothing else does.
#[test]
fn only_equal_bytes_elsewhere_corroborate() {
    let of = |bytes: &[u8], dev: u64, read: bool| {
        let mut said = facts(bytes, &[]);
        said.digest = read.then(|| crate::model::Digest::of(bytes));
        said.stat.dev = dev;
        said
    };
    let own = of(b"From: a\n\nx\n", 1, true);
    assert_eq!(word(&of(b"From: a\n\nx\n", 2, true), &own), Word::Equal { apart: true });
    assert_eq!(word(&of(b"From: a\n\nx\n", 1, true), &own), Word::Equal { apart: false });
    assert_eq!(word(&of(b"From: a\n\ny\n", 2, true), &own), Word::Rival);
    let unread = of(b"From: a\n\nx\n", 2, false);
    assert_eq!((word(&unread, &own), word(&unread, &of(b"", 1, false))), (Word::Nothing, Word::Nothing));
}

proptest! {
    /// Equal outside the blame is exactly that.
    #[test]
    fn outside_means_every_byte(
        length in 1usize..9000, from in 0usize..9000, size in 1usize..5000,
        changes in prop::collection::vec(0usize..9000, 0..3), cut in prop::option::of(0usize..9000),
    ) {
        let other: Vec<u8> = (0..length).map(|n| (n % 253) as u8).collect();
        let mut own = other.clone();
        changes.iter().filter(|&&at| at < length).for_each(|&at| own[at] ^= 0x80);
        own.truncate(cut.unwrap_or(length).max(1));
        let blame = Span::new(from as u64, size as u64);
        let reaches = blame.end() >= own.len() as u64;
        let excused = |at: usize| from <= at && (at < from + size || reaches);
        let differ = (0..length).filter(|&at| own.get(at) != other.get(at));
        let unequal = differ.clone().any(|at| !excused(at));
        let compared_any = (0..length).any(|at| !excused(at));
        let said = outside(&own, &[(FaultKind::BinaryRegion, blame)], &other);
        prop_assert_eq!(said, match (unequal, compared_any) { (true, _) => Some(false), (_, true) => Some(true), _ => None });
    }
}
