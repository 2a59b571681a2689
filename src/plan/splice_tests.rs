//! Damaged copies against what comes out of them.

use super::*;
use crate::verify::groups::Grouper;
use proptest::prelude::*;

/// A copy of a content: some bytes changed, some not given.
#[derive(Debug, Clone)]
struct Copy {
    bytes: Vec<u8>,
    holes: Vec<Span>,
}

impl Copy {
    fn values(&self, length: u64) -> Vec<Option<Value>> {
        let mut grouper = Grouper::new(length);
        for (at, byte) in self.bytes.iter().enumerate() {
            match self.holes.iter().any(|hole| hole.overlaps(Span::new(at as u64, 1))) {
                true => grouper.hole(1),
                false => grouper.feed(&[*byte]),
            }
        }
        grouper.finish()
    }

    fn fragment(&self, copy: usize, group: Span) -> Fragment {
        let end = (group.end() as usize).min(self.bytes.len());
        let bytes = self.bytes.get(group.offset as usize..end).unwrap_or_default().to_vec();
        let holes = self.holes.iter().map(|hole| group.clipped(*hole)).filter(|hole| hole.length > 0).collect();
        Fragment { copy, bytes, holes }
    }
}

fn content(length: usize) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| dice.u8(..)).collect()
}

fn values(bytes: &[u8]) -> Vec<Value> {
    let whole = Copy { bytes: bytes.to_vec(), holes: Vec::new() };
    whole.values(bytes.len() as u64).into_iter().map(Option::unwrap).collect()
}

/// As the engine does it: at once, then closer.
fn spliced(known: &Known, copies: &[Copy]) -> Option<Vec<u8>> {
    let length = known.cut.length;
    let mut all = ways(known, &copies.iter().map(|copy| copy.values(length)).collect::<Vec<_>>());
    let mut settled = settle(known, &all);
    if let Settled::Open(groups) = &settled {
        for &group in groups {
            let span = known.cut.span(group);
            let fragments: Vec<Fragment> = copies.iter().enumerate().map(|(n, c)| c.fragment(n, span)).collect();
            all[group].extend(closer(known, group, &fragments));
        }
        settled = settle(known, &all);
    }
    let Settled::Whole(parts) = settled else { return None };
    let bytes = |part: &Part| {
        let copy = &copies[part.copy];
        assert!(!copy.holes.iter().any(|hole| hole.overlaps(part.span)), "nobody reads a hole");
        copy.bytes[part.span.offset as usize..part.span.end() as usize].to_vec()
    };
    let bytes = parts.iter().flat_map(bytes).collect::<Vec<u8>>();
    assert_eq!(Digest::of(&bytes), known.digest, "what comes out is what is on record");
    Some(bytes)
}

#[test]
fn three_copies_with_different_sectors_gone_give_the_whole() {
    let bytes = content(100_000);
    let hole = |at: u64| Copy { bytes: bytes.clone(), holes: vec![Span::new(at, 512)] };
    // The first two in one group, so that none of them has it whole.
    let copies = [hole(512), hole(8192), hole(50_176)];
    for recorded in [Some(values(&bytes)), None] {
        let known = Known::new(100_000, Digest::of(&bytes), recorded);
        assert_eq!(spliced(&known, &copies[..2]).as_ref(), Some(&bytes));
        assert_eq!(spliced(&known, &copies).as_ref(), Some(&bytes));
        assert_eq!(spliced(&known, &copies[..1]), None);
    }
}

#[test]
fn rot_in_each_copy_is_outdone_by_what_is_on_record() {
    let bytes = content(300_000);
    let rotten = |places: &[usize]| {
        let mut copy = Copy { bytes: bytes.clone(), holes: Vec::new() };
        places.iter().for_each(|&at| copy.bytes[at] ^= 1);
        copy
    };
    let two = [rotten(&[3, 70_000, 200_000]), rotten(&[9000, 150_000])];
    let known = Known::new(300_000, Digest::of(&bytes), Some(values(&bytes)));
    assert_eq!(spliced(&known, &two).as_ref(), Some(&bytes));
    let known = Known::new(300_000, Digest::of(&bytes), None);
    assert_eq!(spliced(&known, &two).as_ref(), Some(&bytes), "the digest alone decides among few");
    let same = [rotten(&[3]), rotten(&[3])];
    assert_eq!(spliced(&known, &same), None);
    let of_another = Known::new(300_000, Digest::of(b"another"), Some(values(&bytes)));
    assert!(of_another.values.is_none() && spliced(&of_another, &two).is_none());
}

#[test]
fn what_no_copy_has_is_told_to_the_sector() {
    let bytes = content(20_000);
    let gone = |spans: &[(u64, u64)]| Copy {
        bytes: bytes.clone(),
        holes: spans.iter().map(|&(at, length)| Span::new(at, length)).collect(),
    };
    let group = Span::new(0, 16 << 10);
    let fragments = [gone(&[(1024, 1024), (4096, 4096)]).fragment(0, group), gone(&[(1536, 512)]).fragment(1, group)];
    assert_eq!(in_no_copy(group, &fragments), [Span::new(1536, 512)]);
    let short = Copy { bytes: bytes[..5000].to_vec(), holes: Vec::new() }.fragment(0, group);
    assert_eq!(in_no_copy(group, &[short]), [Span::new(4608, (16 << 10) - 4608)]);
}

fn flaws() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
    prop::collection::vec((any::<bool>(), 0usize..90_000, 1usize..9000), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_is_wrong_with_the_copies_nothing_wrong_comes_out(
        length in 1usize..90_000, recorded in any::<bool>(), flaws in prop::collection::vec(flaws(), 1..4), cut in 0usize..90_000
    ) {
        let bytes = content(length);
        let mut copies: Vec<Copy> = flaws.iter().map(|flaws| {
            let mut copy = Copy { bytes: bytes.clone(), holes: Vec::new() };
            for &(rot, at, long) in flaws.iter().filter(|(_, at, _)| *at < length) {
                match rot {
                    true => copy.bytes[at] ^= 0x20,
                    // The medium fails in sectors.
                    false => {
                        let (from, to) = (at as u64 / BLOCK * BLOCK, ((at + long) as u64).div_ceil(BLOCK) * BLOCK);
                        copy.holes.push(Span::new(from, to - from));
                    }
                }
            }
            copy
        }).collect();
        if cut < length {
            copies[0].bytes.truncate(cut);
        }
        let known = Known::new(length as u64, Digest::of(&bytes), recorded.then(|| values(&bytes)));
        let out = spliced(&known, &copies);
        prop_assert!(out.as_ref().is_none_or(|out| *out == bytes));
        // Where each sector is right in one copy that gives it, and the record tells which, it comes out.
        let sound = |copy: &Copy, span: Span| {
            let range = span.offset as usize..(span.end() as usize).min(length);
            copy.bytes.get(range.clone()) == bytes.get(range) && !copy.holes.iter().any(|hole| hole.overlaps(span))
        };
        let by_group = (0..known.cut.count()).all(|group| copies.iter().any(|copy| sound(copy, known.cut.span(group))));
        prop_assert!(!(recorded && by_group) || out.is_some(), "every group is whole somewhere");
    }
}
