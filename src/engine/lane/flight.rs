//! Files on their way to a lane and back: what is asked next, and what is asked again when a lane fell.
//!
//! Knows no processes and waits for nothing.

use super::{EachReading, LaneError};
use crate::model::limits::{PACED_BATCH, READ_BATCH, SWEEP_BATCH};
use crate::model::wire::{ReadItem, Trouble};
use std::collections::{BTreeMap, VecDeque};

/// Items on their way.
#[derive(Default)]
pub(super) struct Flight {
    pub outstanding: BTreeMap<u64, ReadItem>,
    /// Items of a lane that fell, to be asked for again.
    pub again: VecDeque<ReadItem>,
    /// Items that a lane had in hand when it died: to be asked for one by one.
    pub suspects: VecDeque<ReadItem>,
    /// The one batch in flight is one suspect.
    pub alone: bool,
    pub batches: usize,
    /// A lane fell. A batch is answered as a whole, so from now on no file waits for one that hangs.
    pub wary: bool,
    /// The lane reads in the order of the disk: only what a fallen one left is asked for one by one.
    pub in_order: bool,
    /// The lane reads at a limited pace: a stop is not to wait until it has read much more.
    pub paced: bool,
}

impl Flight {
    pub fn next_batch(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        id: &mut dyn FnMut() -> u64,
    ) -> Vec<ReadItem> {
        if self.batches > 0 && (self.alone || !self.suspects.is_empty()) {
            return Vec::new();
        }
        let suspect = self.suspects.pop_front();
        self.alone = suspect.is_some();
        let most = match self.paced {
            _ if self.alone => 1,
            _ if self.wary && !(self.in_order && self.again.is_empty()) => 1,
            true => PACED_BATCH,
            false if self.in_order => SWEEP_BATCH,
            false => READ_BATCH,
        };
        let mut next = suspect;
        let mut batch = Vec::new();
        while batch.len() < most {
            let Some(item) = next.take().or_else(|| self.again.pop_front()).or_else(|| items.next()) else { break };
            let asked = ReadItem { id: id(), ..item };
            self.outstanding.insert(asked.id, asked.clone());
            batch.push(asked);
        }
        batch
    }

    pub fn give_up(&mut self, error: &LaneError, each: &mut EachReading<'_>) {
        let outstanding = std::mem::take(&mut self.outstanding).into_values();
        for item in outstanding.chain(std::mem::take(&mut self.suspects)).chain(std::mem::take(&mut self.again)) {
            let trouble = gone(&item, error);
            each(item, Err(trouble));
        }
    }
}

pub(super) fn gone(item: &ReadItem, error: &LaneError) -> Trouble {
    Trouble {
        root: item.root,
        path: item.path.as_bytes().to_vec(),
        operation: "read".to_owned(),
        errno: None,
        detail: error.to_string(),
    }
}
