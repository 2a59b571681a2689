//! In which order a lane reads: as mailboxes are listed, many at a time, or as messages lie on the disk, one after the other.
//!
//! The parent's side. What a disk is like is measured, for what it says of itself is often wrong: a virtual disk of any kind
//! calls itself rotating or not as it pleases. Reads nothing itself.

use super::sweep::lies_alone;
use super::{EachReading, Fall, Lane, LaneError};
use crate::model::limits::{LIST_BATCH, MEASURE_WINDOW, SWEEP_WINDOW};
use crate::model::wire::{Answer, Disk, ReadItem, Reading, Request, Spot};
use crate::sys::disks;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Reads that measure a disk; of fewer files nothing is concluded.
const PROBES: usize = 24;
const PROBES_LEAST: usize = 12;
/// A disk of which most reads take longer has an arm to move.
const SLOW: Duration = Duration::from_millis(3);
/// Fewer files are not worth being put in order.
const FEW: usize = 8;

/// What a lane does, and what it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Unknown,
    AsListed,
    AsLying,
}

/// The order of one lane.
#[derive(Debug)]
pub struct Order {
    way: Way,
    /// As somebody wants it who knows.
    given: bool,
    window: usize,
    /// What it did so far in the order of the disk.
    swept: Swept,
    /// What of this people should know, each once: whether without being asked.
    pub news: Vec<(bool, String)>,
}

#[derive(Debug, Default)]
struct Swept {
    messages: u64,
    bytes: u64,
    locating: Duration,
    reading: Duration,
}

impl Order {
    pub fn new(disk: Disk) -> Order {
        let way = match disk {
            Disk::Auto => Way::Unknown,
            Disk::Flash => Way::AsListed,
            Disk::Spindle => Way::AsLying,
        };
        Order { way, given: disk != Disk::Auto, window: SWEEP_WINDOW, swept: Swept::default(), news: Vec::new() }
    }

    /// Messages that should be asked for at a time.
    pub fn window(&self) -> usize {
        match self.way {
            Way::Unknown => self.window.min(MEASURE_WINDOW),
            Way::AsListed => 1,
            Way::AsLying => self.window,
        }
    }

    /// There may not be time for more than a few.
    pub fn hurry(&mut self) {
        self.window = MEASURE_WINDOW;
    }

    /// Whether the disk has one reader that goes over it.
    pub fn sweeps(&self) -> bool {
        self.way == Way::AsLying
    }

    pub fn is_unknown(&self) -> bool {
        self.way == Way::Unknown
    }

    /// Where no disk of this machine lies below, there is no arm either.
    pub fn is_remote(&mut self) {
        if self.is_unknown() {
            self.way = Way::AsListed;
        }
    }

    /// The medium failed: it is read as gently as there is.
    pub fn fell_ill(&mut self, path: &str) {
        if self.way == Way::AsListed && !self.given {
            self.way = Way::AsLying;
            // Every account is told as soon as it can be.
            self.hurry();
            self.news.push((
                true,
                format!("{path}: the disk failed to read: from now on one reader, in the order of the disk"),
            ));
        }
    }

    fn settle(&mut self, path: &str, took: &[u64]) {
        let mut took = took.to_vec();
        if took.len() < PROBES_LEAST {
            return;
        }
        took.sort_unstable();
        let middle = Duration::from_micros(took[took.len() / 2]);
        let shown = format!("a read takes {:.2} ms, measured (--disk)", middle.as_secs_f64() * 1e3);
        if middle > SLOW {
            self.way = Way::AsLying;
            self.news
                .push((true, format!("{path}: one reader, in the order in which messages lie on the disk: {shown}")));
        } else {
            self.way = Way::AsListed;
            self.news.push((false, format!("{path}: several readers, in the order of the mailboxes: {shown}")));
        }
    }

    /// What was done in the order of the disk, in words.
    pub fn summary(&self) -> Option<String> {
        let Swept { messages, bytes, locating, reading } = &self.swept;
        let seconds = reading.as_secs_f64();
        let rate = *bytes as f64 / 1e6 / seconds.max(1e-9);
        (*messages > 0).then(|| {
            format!(
                "read {messages} messages, {:.1} MB, in the order of the disk in {seconds:.2} s ({rate:.1} MB/s), after {:.2} s of \
                 looking where they lie",
                *bytes as f64 / 1e6,
                locating.as_secs_f64()
            )
        })
    }
}

impl Lane {
    /// Reads window by window, each in the order of the disk, if that is the order; else as given.
    pub(super) fn read_windows(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachReading<'_>,
        stop: &dyn Fn() -> bool,
    ) {
        while self.order.is_unknown() || self.order.sweeps() {
            let window: Vec<ReadItem> = items.take(self.order.window()).collect();
            if window.is_empty() || stop() {
                return;
            }
            let window = self.arrange(window, &|item| item);
            self.read_arranged(&mut window.into_iter(), each, stop);
        }
        self.read_as_given(items, each, stop);
    }

    /// Reads what [`Lane::arrange`] put in order, as [`Lane::read_all`] does.
    pub fn read_arranged(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachReading<'_>,
        stop: &dyn Fn() -> bool,
    ) {
        let (began, mut messages, mut bytes) = (Instant::now(), 0, 0);
        let mut counting = |item: ReadItem, reading: Reading| {
            messages += 1;
            bytes += reading.as_ref().map_or(0, |facts| facts.stat.size);
            each(item, reading);
        };
        self.read_as_given(items, &mut counting, stop);
        if self.order.sweeps() {
            let swept = &mut self.order.swept;
            swept.messages += messages;
            swept.bytes += bytes;
            swept.reading += began.elapsed();
        }
    }

    /// Puts work in the order in which it is to be read, once it is known what the disk is like.
    pub fn arrange<T>(&mut self, work: Vec<T>, item: &dyn Fn(&T) -> &ReadItem) -> Vec<T> {
        self.measure(&work.iter().map(item).collect::<Vec<_>>());
        let began = Instant::now();
        if !self.order.sweeps() || work.len() < FEW {
            return work;
        }
        let mut spots = Vec::with_capacity(work.len());
        for part in work.chunks(LIST_BATCH) {
            let files: Vec<_> = part.iter().map(item).map(|item| (item.root, item.path.clone())).collect();
            let id = self.id();
            let located = self.simply(&Request::Locate { id, files }, &mut |answer| match answer {
                Answer::Located { id: got, spots } if got == id => Some(spots),
                _ => None,
            });
            // A file at which the lane hung hangs again when it is read, and is told then.
            let Some(located) = located.filter(|located| located.len() == part.len()) else { break };
            spots.extend(located);
        }
        // By their inodes, where the file system does not tell.
        spots.resize(work.len(), Spot::default());
        let mut keyed: Vec<(u32, Spot, T)> =
            spots.into_iter().zip(work).map(|(spot, work)| (item(&work).root, spot, work)).collect();
        keyed.sort_by_key(|(root, spot, _)| (*root, *spot));
        self.order.swept.locating += began.elapsed();
        keyed.into_iter().map(|(_, _, work)| work).collect()
    }

    /// Finds out what the disk is like, if that is not known and there is enough to tell by.
    fn measure(&mut self, window: &[&ReadItem]) {
        if !self.order.is_unknown() {
            return;
        }
        let local = |path: &[u8]| disks::is_local(Path::new(OsStr::from_bytes(path)));
        if !self.roots.iter().any(|root| local(&root.path)) {
            return self.order.is_remote();
        }
        let mut rng = fastrand::Rng::with_seed(window.len() as u64);
        let alone = window.iter().filter(|item| lies_alone(item.format, &item.path));
        let drawn = rng.choose_multiple(alone, PROBES);
        if drawn.len() < PROBES_LEAST {
            return;
        }
        let medium = drawn.iter().any(|item| item.medium);
        let files = drawn.into_iter().map(|item| (item.root, item.path.clone())).collect();
        let id = self.id();
        let took = self.simply(&Request::Probe { id, files, medium }, &mut |answer| match answer {
            Answer::Probed { id: got, took } if got == id => Some(took),
            _ => None,
        });
        let path = self.path_text();
        self.order.settle(&path, &took.unwrap_or_default());
        if self.order.sweeps() {
            self.with_blocks();
        }
    }

    /// Starts the process anew, so that it gets at the device before it gives up the right to.
    pub(super) fn with_blocks(&mut self) {
        self.abandon(Fall::Died);
        // Where it does not start, the next request says so.
        self.launch().ok();
    }

    /// One question without which everything goes on as well.
    fn simply<T>(&mut self, request: &Request, pick: &mut dyn FnMut(Answer) -> Option<T>) -> Option<T> {
        let sent: Result<(), LaneError> = self.send(request);
        sent.ok()?;
        loop {
            match self.answer() {
                Ok(answer) => {
                    if let Some(taken) = pick(answer) {
                        return Some(taken);
                    }
                }
                Err(fall) => {
                    self.abandon(fall);
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_what_most_of_its_reads_say() {
        let chosen = |took: &[u64]| {
            let mut order = Order::new(Disk::Auto);
            order.settle("/srv", took);
            (order.way, order.window(), order.news.len())
        };
        assert_eq!(chosen(&[9000; 24]), (Way::AsLying, SWEEP_WINDOW, 1));
        assert_eq!(chosen(&[100; 24]), (Way::AsListed, 1, 1));
        let mostly_cached: Vec<u64> = [[2; 14].as_slice(), &[9000; 10]].concat();
        assert_eq!(chosen(&mostly_cached).0, Way::AsListed);
        assert_eq!(chosen(&[9000; 5]), (Way::Unknown, MEASURE_WINDOW, 0));
        for (disk, sweeps) in [(Disk::Auto, true), (Disk::Flash, false)] {
            let mut flash = Order::new(disk);
            flash.settle("/srv", &[100; 24]);
            flash.fell_ill("/srv");
            assert_eq!((flash.sweeps(), flash.news.iter().any(|(told, _)| *told)), (sweeps, sweeps));
        }
    }
}
