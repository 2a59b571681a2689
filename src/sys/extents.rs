//! Where the bytes of a file lie on its device.
//!
//! Asks the file system (FIEMAP) and nobody else. May not read the file, nor make the file system write anything back for
//! the answer; where it does not tell, that is an answer, too.

use super::direct::ALIGN;
use super::raw::{self, EXTENTS};
use std::fs::File;
use std::os::fd::AsFd;

const LAST: u32 = 0x1;
/// FIEMAP_EXTENT_UNKNOWN and DELALLOC: on no place of the device yet.
const NOWHERE: u32 = 0x2 | 0x4;
/// LAST, MERGED and SHARED say nothing against reading the blocks themselves. Encoded, encrypted, inline, tail-packed and
/// unwritten ones hold other bytes than the file has.
const PLAIN: u32 = LAST | 0x1000 | 0x2000;

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Within the file.
    pub logical: u64,
    /// Within the device that the file system lies on.
    pub physical: u64,
    pub length: u64,
}

/// What a file system tells of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Where its first bytes lie. Good for an order, even where other bytes lie there than the file has.
    pub first: Option<u64>,
    /// All of its bytes, in order, where the blocks of the device hold them as they are.
    pub plain: Option<Vec<Extent>>,
}

impl Layout {
    /// How a file of `size` bytes lies.
    pub fn of(file: &File, size: u64) -> Layout {
        let Ok(map) = raw::fiemap(file.as_fd()) else { return Layout::default() };
        let mapped = &map.extents[..(map.mapped as usize).min(EXTENTS)];
        let first = mapped.first().filter(|extent| extent.flags & NOWHERE == 0).map(|extent| extent.physical);
        let mut plain = Vec::with_capacity(mapped.len());
        let mut end = 0;
        for extent in mapped {
            let whole = [extent.logical, extent.physical, extent.length].iter().all(|n| n.is_multiple_of(ALIGN as u64));
            if !whole || extent.flags & !PLAIN != 0 || extent.logical != end {
                return Layout { first, plain: None };
            }
            end = end.saturating_add(extent.length);
            plain.push(Extent { logical: extent.logical, physical: extent.physical, length: extent.length });
        }
        let complete = mapped.last().is_some_and(|extent| extent.flags & LAST != 0) && end >= size;
        Layout { first, plain: Some(plain).filter(|_| complete) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn extents_cover_a_file_or_none_are_told() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all_at(&vec![b'x'; 3 * ALIGN + 5], 0).unwrap();
        file.sync_all().unwrap();
        let size = 3 * ALIGN as u64 + 5;
        let layout = Layout::of(&file, size);
        let Some(plain) = layout.plain else {
            return eprintln!("NOT TESTED: this file system does not tell where its files lie");
        };
        assert_eq!(layout.first, Some(plain[0].physical));
        assert_eq!(plain.iter().map(|extent| extent.length).sum::<u64>(), 4 * ALIGN as u64);
        // A gap is no place.
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"end", (1 << 20) - 3).unwrap();
        file.sync_all().unwrap();
        assert_eq!(Layout::of(&file, 1 << 20).plain, None);
        assert_eq!(Layout::of(&file, 1 << 20).first, layout.first);
        assert_eq!(Layout::of(&tempfile::tempfile().unwrap(), 0).first, None);
    }
}
