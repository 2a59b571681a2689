//! Bounds-checked reading of little-endian numbers, lines as Dovecot cuts them, and the list of what was wrong.

use crate::model::limits::FAULTS_KEPT;

/// Something that could not be read, or contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1, in a text file; the offset of the byte in a binary one.
    pub at: u64,
    pub what: &'static str,
}

/// The first faults of a file, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub first: Vec<Fault>,
    pub count: u64,
}

impl Faults {
    pub(super) fn add(&mut self, at: u64, what: &'static str) {
        self.count += 1;
        if self.first.len() < FAULTS_KEPT {
            self.first.push(Fault { at, what });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// `N` bytes at an offset, if they are there.
pub(super) fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes(data, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    bytes(data, at).map(u64::from_le_bytes)
}

/// A size or offset that a file states, as one of memory.
pub(super) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A line of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// From 1.
    pub number: u64,
    /// Without its end, which may be CR LF.
    pub text: &'a [u8],
    /// The last line may lack its end; Dovecot does not see it then.
    pub ended: bool,
}

impl<'a> Line<'a> {
    /// What C code takes for the line.
    pub fn up_to_nul(&self) -> &'a [u8] {
        self.text.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split_inclusive(|&byte| byte == b'\n').zip(1..).map(|(line, number)| match line.strip_suffix(b"\n") {
        Some(text) => Line { number, text: text.strip_suffix(b"\r").unwrap_or(text), ended: true },
        None => Line { number, text: line, ended: false },
    })
}

/// A decimal number and nothing else.
pub(super) fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Which of the numbers to keep so that what is left strictly ascends and as many as possible are left: one
/// garbled number must not cost all that follow it.
pub(super) fn ascending(numbers: &[u32]) -> Option<Vec<bool>> {
    if numbers.is_sorted_by(|a, b| a < b) {
        return None;
    }
    // For each length, the place of the smallest number that ends an ascending run of that length.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = Vec::with_capacity(numbers.len());
    for (place, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|&end| numbers[end] < *number);
        before.push(length.checked_sub(1).map_or(usize::MAX, |shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(place);
        } else {
            ends[length] = place;
        }
    }
    let mut keep = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(place) = next {
        keep[place] = true;
        next = Some(before[place]).filter(|&place| place != usize::MAX);
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_garbled_number_costs_itself_only() {
        assert_eq!(ascending(&[1, 2, 5]), None);
        assert_eq!(ascending(&[]), None);
        assert_eq!(ascending(&[1, 900, 3, 4]), Some(vec![true, false, true, true]));
        assert_eq!(ascending(&[7, 1, 2, 2]).unwrap().iter().filter(|keep| **keep).count(), 2);
    }

    #[test]
    fn numbers_stand_alone() {
        assert_eq!(decimal::<u32>(b"4294967295"), Some(u32::MAX));
        for text in ["", "+1", " 1", "1 ", "4294967296", "0x1"] {
            assert_eq!(decimal::<u32>(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn lines_end_as_dovecot_ends_them() {
        let found: Vec<_> = lines(b"a\r\n\nb\0c\nd").map(|line| (line.number, line.up_to_nul(), line.ended)).collect();
        assert_eq!(found, [(1, &b"a"[..], true), (2, b"", true), (3, b"b", true), (4, b"d", false)]);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        assert_eq!(u32_at(&[1, 0, 0, 0], 0), Some(1));
        assert_eq!(u32_at(&[1, 0, 0, 0], 1), None);
        assert_eq!(u64_at(&[], usize::MAX), None);
        assert_eq!(u16_at(&[1, 2], 0), Some(0x201));
    }
}
