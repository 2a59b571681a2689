//! One file read so closely that nothing is lost but what the medium itself cannot give: for messages that no copy can
//! prove whole, and that may come out of several.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::examine::{Reader, modest};
use super::serve::trouble;
use crate::model::groups::Value;
use crate::model::limits::{FRAGMENT_MAX, MESSAGE_MAX, WINDOW};
use crate::model::wire::{Given, Trouble};
use crate::model::{RelPath, Span};
use crate::read::{Piece, SECTOR, closely};
use crate::sys::attr;
use crate::sys::dir::Root;
use crate::sys::direct::{ALIGN, AlignedBuf};
use crate::verify::groups::Grouper;
use std::fs::File;
use std::io;

/// The chaining value of each group of a content of `length` bytes that this file is a copy of, as far as it has them.
pub fn groups(
    root: &Root,
    number: u32,
    path: &RelPath,
    length: u64,
    by: &Reader<'_>,
) -> Result<Vec<Option<Value>>, Trouble> {
    let fail = |error: io::Error| trouble(number, path.as_bytes(), "read", &error);
    if length > MESSAGE_MAX {
        return Err(fail(io::ErrorKind::FileTooLarge.into()));
    }
    let mut grouper = Grouper::new(length);
    let mut buffer = AlignedBuf::new(WINDOW);
    read(root, path, Span::new(0, length), buffer.bytes_mut(), by, &mut |piece| match piece {
        Piece::Bytes(bytes) => grouper.feed(bytes),
        Piece::Hole(span, _) => grouper.hole(span.length),
    })
    .map_err(fail)?;
    Ok(grouper.finish())
}

/// Bytes of a file with the holes in them.
pub fn fragment(root: &Root, number: u32, path: &RelPath, span: Span, by: &Reader<'_>) -> Result<Given, Trouble> {
    let fail = |error: io::Error| trouble(number, path.as_bytes(), "read", &error);
    if span.length > FRAGMENT_MAX {
        return Err(fail(io::ErrorKind::InvalidInput.into()));
    }
    let mut given = Given::default();
    let mut buffer = AlignedBuf::new(WINDOW.min(usize::try_from(span.length).unwrap_or(WINDOW) + 2 * ALIGN));
    read(root, path, span, buffer.bytes_mut(), by, &mut |piece| match piece {
        Piece::Bytes(bytes) => given.bytes.extend_from_slice(bytes),
        Piece::Hole(hole, _) => {
            given.bytes.resize(usize::try_from(hole.end() - span.offset).unwrap_or(0), 0);
            given.holes.push(hole);
        }
    })
    .map_err(fail)?;
    Ok(given)
}

/// Past the cache where the file system allows it: only so does a bad sector cost no more than itself.
fn read(
    root: &Root,
    path: &RelPath,
    span: Span,
    buffer: &mut [u8],
    by: &Reader<'_>,
    each: &mut dyn FnMut(Piece<'_>),
) -> io::Result<()> {
    let dir = root.open_dir(&path.parent().unwrap_or_default())?;
    let mut progress = 0;
    let mut tick = || {
        progress += 1;
        (by.tick)(progress);
    };
    let mut pass = |file: &File, grain: usize, each: &mut dyn FnMut(Piece<'_>)| -> io::Result<()> {
        modest(&attr::fstat(file)?.1, MESSAGE_MAX)?;
        closely(&by.medium(file), span, grain, buffer, &mut tick, each);
        Ok(())
    };
    if let Some(file) = dir.open_direct(path.name())? {
        let mut probe = AlignedBuf::new(ALIGN);
        let refused = |error: io::Error| error.kind() == io::ErrorKind::InvalidInput;
        // Some file systems take the flag and refuse the read.
        if !std::os::unix::fs::FileExt::read_at(&file, probe.bytes_mut(), 0).is_err_and(refused) {
            return pass(&file, SECTOR, each);
        }
    }
    pass(&dir.open_file(path.name())?, ALIGN, each)
}

#[cfg(test)]
mod tests {
    use super::super::gentle::Gentle;
    use super::super::storage::Maps;
    use super::*;
    use crate::model::groups::Cut;
    use crate::model::{Digest, Zone};

    #[test]
    fn any_part_of_a_file_and_all_its_groups() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let pace = Gentle::not();
        let maps = Maps::default();
        let zone = Zone::utc();
        let by = Reader { tick: &|_| (), pace: &pace, attachments: None, zone: &zone, maps: &maps };
        let path = RelPath::new(b"m".to_vec()).unwrap();
        for size in [0, 1, 5000, 16_384, 100_001] {
            let content: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
            std::fs::write(folder.path().join("m"), &content).unwrap();
            let values = groups(&root, 0, &path, size as u64, &by).unwrap();
            let values: Vec<Value> = values.into_iter().map(Option::unwrap).collect();
            assert_eq!(Cut::new(size as u64).root(&values), Some(Digest::of(&content)));
            for (at, length) in [(0, size), (1, 1000), (511, 513), (size / 2, size)] {
                let given = fragment(&root, 0, &path, Span::new(at as u64, length as u64), &by).unwrap();
                let end = (at + length).min(size);
                assert!(given.holes.is_empty() && given.bytes == content[at.min(size)..end.max(at.min(size))]);
            }
        }
        assert!(fragment(&root, 0, &path, Span::new(0, FRAGMENT_MAX + 1), &by).is_err());
    }
}
