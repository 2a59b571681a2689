//! Hands on the bytes of a file or a message that is put together from parts, each from where it lies.
//!
//! Reads through lanes; writes nothing, and decides nothing.

use super::lanes::Lanes;
use crate::model::limits::FRAGMENT_MAX;
use crate::model::plan::{Graft, Location, Slice};
use crate::model::{Digest, Encoding, RelPath, Span};
use crate::verify::Hashing;
use std::io;

/// Takes bytes.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Where parts come from.
pub struct Places<'a> {
    pub lanes: &'a mut Lanes,
    /// Lane and root.
    pub store: (usize, u32),
    pub sources: Vec<(usize, u32)>,
    pub target: RelPath,
}

/// Parts under way.
#[derive(Default)]
pub struct Parts(pub Vec<Slice>);

impl Parts {
    pub fn keep(&mut self, from: u64, to: u64) {
        if let Some(Slice::Keep { span }) = self.0.last_mut()
            && span.end() == from
        {
            span.length = to - span.offset;
        } else if from < to {
            self.0.push(Slice::Keep { span: Span::new(from, to - from) });
        }
    }

    pub fn made(&mut self, bytes: Vec<u8>) {
        match self.0.last_mut() {
            Some(Slice::Made { bytes: before }) => before.extend(bytes),
            _ if bytes.is_empty() => {}
            _ => self.0.push(Slice::Made { bytes }),
        }
    }

    pub fn extend(&mut self, more: Parts) {
        for part in more.0 {
            match part {
                Slice::Made { bytes } => self.made(bytes),
                part => self.0.push(part),
            }
        }
    }

    pub fn copy(&mut self, from: &Location, start: u64, end: u64) {
        if start < end {
            self.0.push(Slice::Copy { from: from.clone(), span: Span::new(start, end - start) });
        }
    }
}

/// Hands the bytes of the parts to `sink`, in order.
///
/// # Errors
/// Words for people.
pub fn compose(parts: &[Slice], places: &mut Places<'_>, sink: Sink<'_>) -> Result<(), String> {
    for part in parts {
        match part {
            Slice::Made { bytes } => sink(bytes).map_err(|error| error.to_string())?,
            Slice::Fill { length } => {
                let (window, mut left) = ([b' '; 4096], *length);
                while left > 0 {
                    let now = left.min(window.len() as u64);
                    sink(&window[..now as usize]).map_err(|error| error.to_string())?;
                    left -= now;
                }
            }
            Slice::Keep { span } => {
                let (lane, root) = places.store;
                let kept = places.lanes.lanes[lane].range((root, &places.target), *span, None, sink);
                kept.map_err(|error| error.to_string())?
                    .map_err(|t| format!("what is to stay cannot be read: {}", t.detail))?;
            }
            Slice::Copy { from, span } => {
                let known = from.source.and_then(|number| places.sources.get(number as usize).copied());
                let (lane, root) = known.ok_or(NOT_LISTED)?;
                let mut at = 0u64;
                let fetched = places.lanes.lanes[lane].fetch(
                    root,
                    &from.path,
                    (&from.form, Some(Encoding::Plain)),
                    &mut |bytes| {
                        let hit = span.clipped(Span::new(at, bytes.len() as u64));
                        let start = usize::try_from(hit.offset.saturating_sub(at)).unwrap_or(usize::MAX);
                        at += bytes.len() as u64;
                        if hit.length == 0 {
                            return Ok(());
                        }
                        sink(bytes.get(start..start + hit.length as usize).unwrap_or_default())
                    },
                );
                fetched
                    .map_err(|error| error.to_string())?
                    .map_err(|t| format!("the copy cannot be read: {}", t.detail))?;
                if at < span.end() {
                    return Err("the copy is shorter than it was".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// Hands the bytes of a message to `sink` that is put together from what several copies give of it. `place` tells the lane
/// and root of a copy.
///
/// # Errors
/// Words for people.
pub fn graft(
    parts: &[Graft],
    lanes: &mut Lanes,
    place: &dyn Fn(&Location) -> Option<(usize, u32)>,
    sink: Sink<'_>,
) -> Result<(), String> {
    for Graft { from, span } in parts {
        let (lane, root) = place(from).ok_or(NOT_LISTED)?;
        let mut at = span.offset;
        while at < span.end() {
            let part = Span::new(at, FRAGMENT_MAX.min(span.end() - at));
            let given = lanes.lanes[lane].fragment((root, &from.path), part).map_err(|error| error.to_string())?;
            let given =
                given.map_err(|trouble| format!("cannot {} {}: {}", trouble.operation, from.path, trouble.detail))?;
            if !given.holes.is_empty() || given.bytes.len() as u64 != part.length {
                return Err(format!("{} no longer gives what it gave", from.path));
            }
            sink(&given.bytes).map_err(|error| error.to_string())?;
            at = part.end();
        }
    }
    Ok(())
}

const NOT_LISTED: &str = "the plan names a source that it does not list";

/// Lets `give` hand its bytes to `sink`; the digest and the number of what went there.
///
/// # Errors
/// What `give` says.
pub fn measured(sink: Sink<'_>, give: impl FnOnce(Sink<'_>) -> Result<(), String>) -> Result<(Digest, u64), String> {
    let mut hashing = Hashing::new();
    give(&mut |bytes| {
        hashing.feed(bytes);
        sink(bytes)
    })?;
    let hashes = hashing.finish();
    Ok((hashes.digest, hashes.length))
}
