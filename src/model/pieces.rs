//! Contents cut into pieces, so that two copies on different machines' disks are compared without moving their bytes.

use super::limits::{COMPARE_BLOCK, CUTS_MAX};
use serde::{Deserialize, Serialize};

/// Where contents are cut besides every [`COMPARE_BLOCK`] bytes: at the edges of what is blamed and where copies
/// end, so that every piece lies within a blamed range or outside, and bytes beside it are compared exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cuts(Vec<u64>);

impl Cuts {
    /// More cuts than are kept leave larger pieces, never wrong ones.
    pub fn new(edges: impl IntoIterator<Item = u64>) -> Cuts {
        let mut edges: Vec<u64> = edges.into_iter().collect();
        edges.sort_unstable();
        edges.dedup();
        edges.truncate(CUTS_MAX);
        Cuts(edges)
    }

    /// Where the piece that begins at `at` ends.
    pub fn end(&self, at: u64) -> u64 {
        let block = (at / COMPARE_BLOCK).saturating_add(1).saturating_mul(COMPARE_BLOCK);
        let cut = self.0[self.0.partition_point(|&cut| cut <= at)..].first().copied();
        cut.filter(|&cut| cut > at).map_or(block, |cut| cut.min(block))
    }
}

/// Short digests of the pieces of one content, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pieces {
    /// Bytes of the content, as far as its reader came.
    pub length: u64,
    /// `None` where bytes of a piece were not given. Pieces behind the last one were not looked at.
    pub digests: Vec<Option<[u8; 16]>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_ends_a_piece() {
        let cuts = Cuts::new([5000, 10, 5000, 4096]);
        let mut ends = vec![0];
        while ends.len() < 6 {
            ends.push(cuts.end(ends[ends.len() - 1]));
        }
        assert_eq!(ends, [0, 10, 4096, 5000, 8192, 12_288]);
        assert!((0..12).all(|at| Cuts(vec![9, 3]).end(at) > at), "a crafted list still goes forward");
        assert_eq!(Cuts::default().end(u64::MAX), u64::MAX / COMPARE_BLOCK * COMPARE_BLOCK + (COMPARE_BLOCK - 1));
    }
}
