//! What disks, controllers and crashes do to a message, each kind of it reproducible.

use crate::mail::{Place, Shape};
use fastrand::Rng;
use std::ops::Range;

pub const SECTOR: usize = 512;
pub const BLOCK: usize = 4096;

/// What a lost region reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    Zeros,
    Ff,
    Random,
    /// What other messages hold from some sector on.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bit flipped.
    Bit(Place),
    /// So many bytes overwritten, at a sector's edge as often as not.
    Over(Fill, usize),
    /// Cut off, at every tenth of its length.
    Cut {
        multipart: bool,
    },
    /// Cut off at a block's edge.
    CutAtBlock,
    Emptied,
    /// The content of another message.
    Swapped,
    /// Bytes of other messages behind the end, up to the block's edge as often as not.
    Tail,
}

impl Kind {
    pub fn all() -> Vec<Kind> {
        let bits = [Place::Header, Place::Text, Place::Base64, Place::Quoted].map(Kind::Bit);
        let fills = [Fill::Zeros, Fill::Ff, Fill::Random, Fill::Other];
        let over = fills.iter().flat_map(|&fill| [SECTOR, BLOCK, 64 << 10].map(|length| Kind::Over(fill, length)));
        let cuts = [Kind::Cut { multipart: true }, Kind::Cut { multipart: false }, Kind::CutAtBlock];
        bits.into_iter().chain(over).chain(cuts).chain([Kind::Emptied, Kind::Swapped, Kind::Tail]).collect()
    }

    /// Whether fewer bytes are left than there were.
    pub fn shortens(self) -> bool {
        matches!(self, Kind::Cut { .. } | Kind::CutAtBlock | Kind::Emptied)
    }

    /// How often one message is harmed in this way, each time differently.
    pub fn times(self) -> usize {
        if matches!(self, Kind::Cut { .. }) { 9 } else { 1 }
    }

    pub fn words(self) -> String {
        let size = |length: usize| match length {
            SECTOR => "512 B",
            BLOCK => "4 KiB",
            _ => "64 KiB",
        };
        match self {
            Kind::Bit(Place::Header) => "one bit in a header".into(),
            Kind::Bit(Place::Text) => "one bit in text".into(),
            Kind::Bit(Place::Base64) => "one bit in base64".into(),
            Kind::Bit(Place::Quoted) => "one bit in quoted-printable".into(),
            Kind::Over(Fill::Zeros, length) => format!("{} of zeros", size(length)),
            Kind::Over(Fill::Ff, length) => format!("{} of 0xFF", size(length)),
            Kind::Over(Fill::Random, length) => format!("{} of random bytes", size(length)),
            Kind::Over(Fill::Other, length) => format!("{} of other messages", size(length)),
            Kind::Cut { multipart: true } => "multipart cut off anywhere".into(),
            Kind::Cut { multipart: false } => "other message cut off anywhere".into(),
            Kind::CutAtBlock => "cut off at a 4 KiB block".into(),
            Kind::Emptied => "emptied".into(),
            Kind::Swapped => "another message instead".into(),
            Kind::Tail => "bytes of others behind the end".into(),
        }
    }
}

pub struct Harmed {
    pub bytes: Vec<u8>,
    /// From the first to the last byte that differs, where bytes were overwritten.
    pub region: Option<Range<usize>>,
}

/// Harms a message for the `nth` time. `None` where this kind cannot happen to it, or changed nothing.
pub fn inflict(kind: Kind, nth: usize, shape: &Shape, others: &[Shape], rng: &mut Rng) -> Option<Harmed> {
    let mut bytes = shape.bytes.clone();
    let region = match kind {
        Kind::Bit(place) => Some(flip(&mut bytes, shape, place, rng)?),
        Kind::Over(fill, length) => Some(overwrite(&mut bytes, fill, length, others, rng)?),
        Kind::Cut { multipart } => {
            (shape.multipart == multipart).then_some(())?;
            bytes.truncate(bytes.len() * (nth + 1) / 10);
            None
        }
        Kind::CutAtBlock => {
            let blocks = (bytes.len().max(1) - 1) / BLOCK;
            bytes.truncate(BLOCK * rng.usize(1..=(blocks > 0).then_some(blocks)?));
            None
        }
        Kind::Emptied => {
            bytes.clear();
            None
        }
        Kind::Swapped => {
            bytes = rng.choice(others)?.bytes.clone();
            None
        }
        Kind::Tail => {
            let room = BLOCK - bytes.len() % BLOCK;
            let length = if rng.bool() { room } else { rng.usize(1..=BLOCK) };
            bytes.extend(stale(length, others, rng));
            None
        }
    };
    let emptied_by_rounding = bytes.is_empty() && kind != Kind::Emptied;
    (bytes != shape.bytes && !emptied_by_rounding).then_some(Harmed { bytes, region })
}

fn flip(bytes: &mut [u8], shape: &Shape, place: Place, rng: &mut Rng) -> Option<Range<usize>> {
    let ranges: Vec<&Range<usize>> = shape.places.iter().filter(|(p, _)| *p == place).map(|(_, r)| r).collect();
    let mut nth = rng.usize(..ranges.iter().map(|range| range.len()).sum::<usize>().max(1));
    for range in ranges {
        if nth < range.len() {
            let at = range.start + nth;
            bytes[at] ^= 1 << rng.u8(..8);
            return Some(at..at + 1);
        }
        nth -= range.len();
    }
    None
}

fn overwrite(bytes: &mut [u8], fill: Fill, length: usize, others: &[Shape], rng: &mut Rng) -> Option<Range<usize>> {
    let start = rng.usize(..=bytes.len().checked_sub(length)?);
    let start = if rng.bool() { start / SECTOR * SECTOR } else { start };
    let new = match fill {
        Fill::Zeros => vec![0; length],
        Fill::Ff => vec![0xFF; length],
        Fill::Random => (0..length).map(|_| rng.u8(..)).collect(),
        Fill::Other => stale(length, others, rng),
    };
    let differs = |at: &usize| bytes[start + at] != new[*at];
    let (first, last) = ((0..length).find(differs)?, (0..length).rfind(differs)?);
    bytes[start..start + length].copy_from_slice(&new);
    Some(start + first..start + last + 1)
}

/// What other messages hold, one after the other, from some sector of one of them on.
fn stale(length: usize, others: &[Shape], rng: &mut Rng) -> Vec<u8> {
    let mut at = rng.usize(..others.len());
    let from = rng.usize(..=others[at].bytes.len()) / SECTOR * SECTOR;
    let mut stale = others[at].bytes[from..].to_vec();
    while stale.len() < length {
        at = (at + 1) % others.len();
        stale.extend_from_slice(&others[at].bytes);
    }
    stale.truncate(length);
    stale
}
