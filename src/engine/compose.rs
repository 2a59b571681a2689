//! Hands on the bytes of a file that is put together from parts, each from where it lies.
//!
//! Reads through lanes; writes nothing, and decides nothing.

use super::lanes::Lanes;
use crate::model::plan::Slice;
use crate::model::wire::Place;
use crate::model::{Encoding, Format, RelPath, Span, container};
use crate::store::mbox::Named;
use std::io;

/// Where parts come from.
pub struct Places<'a> {
    pub lanes: &'a mut Lanes,
    /// Lane and root.
    pub store: (usize, u32),
    pub sources: Vec<(usize, u32)>,
    pub target: RelPath,
}

impl Places<'_> {
    /// Makes sure that the target is an mbox: at least one message in it begins as one does.
    ///
    /// # Errors
    /// Words for people.
    pub fn is_mbox(&mut self) -> Result<(), String> {
        let (lane, root) = self.store;
        let dir = container::mailbox_in(&self.target);
        let listing = self.lanes.lanes[lane].list(root, &dir, Format::Mbox, false);
        let listing = listing.map_err(|error| error.to_string())?;
        let begins = |name: &[u8]| Named::parse(name).is_some_and(|named| named.check.is_some());
        let size = listing.dirs.iter().find(|(place, _)| *place == Place::Top).map_or(0, |(_, stat)| stat.size);
        match size == 0 || listing.entries.iter().any(|entry| begins(&entry.name)) {
            true => Ok(()),
            false => Err("nothing in the file shows that it is an mbox".to_owned()),
        }
    }
}

/// Hands the bytes of the parts to `sink`, in order.
///
/// # Errors
/// Words for people.
pub fn compose(
    parts: &[Slice],
    places: &mut Places<'_>,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), String> {
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
                let (lane, root) = known.ok_or_else(|| "the plan names a source that it does not list".to_owned())?;
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
