//! What the executor is given besides a file system, simulated: a journal, a source, a prover.

use super::{Line, Lines, Log, Prover, Supplied, Supply, SupplyError};
use crate::model::journal::Record;
use crate::model::plan::Step;
use crate::model::{Digest, RelPath};
use crate::sys::fs::{Fs, Tree};
use crate::sys::simfs::SimFs;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

/// A journal on the simulated machine: an append is one operation, and a failed one may leave a part, of which
/// a line may be no record.
pub(super) struct SimLog<'a> {
    pub fs: &'a SimFs,
    pub journal: &'a RefCell<Vec<Line>>,
    pub broken: bool,
}

impl SimLog<'_> {
    fn lines(&self) -> io::Result<Vec<Line>> {
        self.fs.tick().map_err(|(error, _)| error)?;
        Ok(self.journal.borrow().clone())
    }
}

impl Log for SimLog<'_> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("broken"));
        }
        let dead = self.fs.is_dead();
        let part = || self.fs.operations() as usize % (records.len() + 1);
        let (kept, result) = match self.fs.tick() {
            Err((error, _)) if dead => (0, Err(error)),
            Ok(()) => (records.len(), Ok(())),
            Err((error, true)) => (records.len(), Err(error)),
            Err((error, false)) => (part(), Err(error)),
        };
        self.broken = result.is_err();
        let mut lines: Vec<Line> =
            records[..kept].iter().map(|record| Line::Record(Box::new(record.clone()))).collect();
        // A block in the middle did not get there: never of the first line, which fits one sector.
        if kept > 1 && kept < records.len() && self.fs.operations().is_multiple_of(3) {
            lines[0] = Line::Damaged;
        }
        self.journal.borrow_mut().extend(lines);
        result
    }

    fn forward(&self) -> io::Result<Lines<'_>> {
        Ok(Box::new(self.lines()?.into_iter().map(Ok)))
    }

    fn backward(&self) -> io::Result<Lines<'_>> {
        Ok(Box::new(self.lines()?.into_iter().rev().map(Ok)))
    }
}

/// A source that holds every message.
pub(super) struct SimSupply<'a>(pub &'a BTreeMap<Digest, Vec<u8>>);

impl Supply for SimSupply<'_> {
    fn fetch(&mut self, step: &Step, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Supplied, SupplyError> {
        let content = content_of(step).and_then(|digest| self.0.get(&digest));
        let content = content.ok_or_else(|| SupplyError("not in the source".to_owned()))?;
        for part in content.chunks(48) {
            sink(part).map_err(|error| SupplyError(error.to_string()))?;
        }
        Ok(Supplied { digest: Digest::of(content), length: content.len() as u64, xattrs: Vec::new() })
    }
}

/// Reads back through the simulated file system.
pub(super) struct SimProver<'a>(pub &'a SimFs);

impl Prover for SimProver<'_> {
    fn digest(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        let mut content = Vec::new();
        let read = self.0.read(tree, path, &mut |window| content.extend_from_slice(window));
        read.map_err(|error| error.to_string())?;
        Ok((Digest::of(&content), content.len() as u64))
    }
}

/// Digest of the message that a step is about.
pub(super) fn content_of(step: &Step) -> Option<Digest> {
    step.action.content().map(|(digest, _)| digest)
}
