//! One reader that goes over the disk as messages lie on it, for disks that are slow to seek: what lies next to each other
//! is read from the block device in one go, while what was read before is judged.
//!
//! Runs in the lane only, never writes. Bytes of the device count only for a file that lay there before and after, and only
//! for its good: whatever they do not show to be whole is read again as the file that it is.

use super::examine::{self, Subject};
use super::serve::{Folders, Shop};
use crate::model::Verdict;
use crate::model::container;
use crate::model::limits::{READ_BATCH, SWEEP_BYTES, WHOLE_MESSAGE};
use crate::model::wire::{Hello, ReadItem, ReadMode, Reading, Spot, Trouble};
use crate::model::{Format, RelPath, Stat};
use crate::read::{Medium, fill};
use crate::sys::attr;
use crate::sys::blocks::Device;
use crate::sys::clock;
use crate::sys::dir::Dir;
use crate::sys::direct::{ALIGN, AlignedBuf};
use crate::sys::disks;
use crate::sys::extents::{Extent, Layout};
use crate::sys::mounts::Mounts;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are asked of a device at a time: of a quick one so many that it has no time to idle between two of them.
const CHUNK: u64 = 8 << 20;
const CHUNK_FIRST: u64 = 256 << 10;
const CHUNK_LEAST: u64 = 64 << 10;
/// A read that takes longer was too large, and one that takes half as long too small.
const CHUNK_TIME: Duration = Duration::from_millis(120);
/// After which what was read is judged, and told, before more is read.
const PORTION_TIME: Duration = Duration::from_millis(150);
/// What lies between two messages and is read along with them: a seek would take as long. Bytes.
const GAP: u64 = 512 << 10;
const _: () = assert!(WHOLE_MESSAGE <= CHUNK && CHUNK_FIRST <= CHUNK);
/// A file that was changed a shorter while ago may still be on its way to the device. Seconds.
const SETTLED: i64 = 300;

/// The devices whose blocks may be read, and the turn at the disk.
#[derive(Default)]
pub(super) struct Arm {
    devices: Vec<Device>,
    /// Who has the turn has the buffer.
    turn: Mutex<Option<Turn>>,
    /// A device failed: nothing is read along any more that nobody asked for.
    sick: AtomicBool,
}

struct Turn {
    buffer: AlignedBuf,
    /// Bytes that this disk is asked for at a time.
    chunk: u64,
}

impl Turn {
    fn first() -> Turn {
        Turn { buffer: AlignedBuf::new(CHUNK as usize), chunk: CHUNK_FIRST }
    }

    /// Learns from how long a whole chunk took.
    fn took(&mut self, time: Duration) {
        if time > CHUNK_TIME {
            self.chunk = (self.chunk / 2).max(CHUNK_LEAST);
        } else if time < CHUNK_TIME / 2 {
            self.chunk = (self.chunk * 2).min(CHUNK);
        }
    }
}

impl Arm {
    /// The devices under these folders, if the parent wants them read. Called before the sandbox.
    pub fn of(hello: &Hello, paths: &[PathBuf], mounts: Option<&Mounts>) -> Arm {
        let mut devices: Vec<Device> = Vec::new();
        for mount in paths.iter().filter(|_| hello.blocks).filter_map(|path| mounts?.of(path)) {
            let known = devices.iter().any(|device| device.dev == rustix::fs::makedev(mount.dev.0, mount.dev.1));
            // Where it cannot be had, files are read as files.
            devices.extend((!known).then(|| Device::open(Path::new(disks::SYS), mount).ok()).flatten());
        }
        Arm { devices, ..Arm::default() }
    }
}

/// A file to be read from its device.
struct Lying<'i> {
    item: &'i ReadItem,
    dir: Arc<Dir>,
    file: File,
    stat: Stat,
    extents: Vec<Extent>,
    device: usize,
    /// Where its bytes go.
    place: usize,
    state: State,
    /// Runs that were not read yet, and whether one was not given.
    left: usize,
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of it was read yet.
    Waiting,
    Loaded,
    /// The device did not give all of it.
    Failed,
}

/// How an item is read.
enum Way<'i> {
    Blocks(Lying<'i>),
    File(&'i ReadItem),
}

impl Shop {
    /// Reads one after the other, in the order given. The disk has one reader at a time; others judge meanwhile.
    pub(super) fn sweep(&self, items: &[ReadItem]) -> io::Result<()> {
        let folders = Folders::default();
        let mut room = AlignedBuf::new(SWEEP_BYTES);
        let mut rest: VecDeque<&ReadItem> = items.iter().collect();
        while !rest.is_empty() {
            let mut ways = self.portion(&mut rest, &folders);
            let mut turn = self.arm.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // Only of one that is read alone it is known whom a hang is to be put down to.
            let alone = if items.len() == 1 { items[0].id } else { 0 };
            self.load(&mut ways, room.bytes_mut(), turn.get_or_insert_with(Turn::first), alone);
            let mut copies: Vec<(u64, Reading)> = Vec::with_capacity(ways.len());
            for way in &ways {
                if let Way::File(item) = way {
                    copies.push((item.id, self.one(item, &folders)));
                }
            }
            drop(turn);
            for way in ways.iter().rev() {
                let Way::Blocks(lying) = way else { continue };
                match lying.state {
                    State::Waiting => {
                        rest.push_front(lying.item);
                        continue;
                    }
                    State::Loaded | State::Failed => {}
                }
                let reading = self.judge(lying, room.bytes()).unwrap_or_else(|| {
                    let _turn = self.arm.turn.lock().unwrap_or_else(PoisonError::into_inner);
                    self.one(lying.item, &folders)
                });
                copies.push((lying.item.id, reading));
            }
            self.copies(copies, rest.is_empty())?;
        }
        Ok(())
    }

    /// Takes what is read in one go, and opens it.
    fn portion<'i>(&self, items: &mut VecDeque<&'i ReadItem>, folders: &Folders) -> Vec<Way<'i>> {
        let (mut ways, mut used, mut files) = (Vec::new(), 0, 0);
        while let Some(&item) = items.front() {
            // Naming it finds out whom a hang is to be put down to.
            self.name(item.id, 0);
            let way = match self.lying(item, folders) {
                Some(lying) => {
                    let room = (lying.stat.size as usize).next_multiple_of(ALIGN);
                    if used + room > SWEEP_BYTES {
                        break;
                    }
                    used += room;
                    Way::Blocks(Lying { place: used - room, ..lying })
                }
                None if files == READ_BATCH => break,
                None => {
                    files += 1;
                    Way::File(item)
                }
            };
            ways.push(way);
            items.pop_front();
        }
        self.name(0, 0);
        ways
    }

    /// The file of an item, if the blocks of a device hold it.
    fn lying<'i>(&self, item: &'i ReadItem, folders: &Folders) -> Option<Lying<'i>> {
        if self.arm.devices.is_empty() || !lies_alone(item.format, &item.path) || item.mode != ReadMode::Message {
            return None;
        }
        let root = self.root(item.root, item.path.as_bytes()).ok()?;
        let dir = folders.of(root, item.root, &item.path).ok()?;
        let file = dir.open_file(item.path.name()).ok()?;
        let stat = attr::fstat(&file).ok()?.1;
        let device = self.arm.devices.iter().position(|device| device.dev == stat.dev)?;
        let age = clock::now().sec.saturating_sub(stat.ctime.sec);
        let settled = self.arm.devices[device].settled || age > SETTLED;
        if !settled || stat.size == 0 || stat.size > WHOLE_MESSAGE {
            return None;
        }
        let extents = Layout::of(&file, stat.size).plain?;
        Some(Lying { item, dir, file, stat, extents, device, place: 0, state: State::Waiting, left: 0, failed: false })
    }

    /// Reads what lies on devices, chunk by chunk in the order of the blocks, for as long as a portion takes.
    fn load(&self, ways: &mut [Way<'_>], room: &mut [u8], turn: &mut Turn, id: u64) {
        let runs = runs(ways);
        let (began, mut rest, mut progress, mut done) = (Instant::now(), &runs[..], 0, 0);
        // One is read to its end, however slow the disk is.
        while !rest.is_empty() && (done == 0 || began.elapsed() < PORTION_TIME) {
            let gap = if self.arm.sick.load(Relaxed) { 0 } else { GAP.min(turn.chunk) };
            let (chunk, more) = rest.split_at(together(rest, gap, turn.chunk));
            rest = more;
            progress += 1;
            self.name(id, progress);
            let first = chunk[0];
            let end = chunk.iter().map(|run| run.physical + run.length).max().unwrap_or(first.physical);
            let length = (end - first.physical) as usize;
            let tick = |progress| self.name(id, progress);
            let reader = self.reader(&tick);
            let medium = reader.medium(&self.arm.devices[first.device].file);
            let asked = Instant::now();
            let got = fill(&medium, &mut turn.buffer.bytes_mut()[..length], first.physical).unwrap_or(0);
            if got < length {
                self.arm.sick.store(true, Relaxed);
            } else if length as u64 * 2 > turn.chunk {
                turn.took(asked.elapsed());
            }
            let bytes = &turn.buffer.bytes()[..got];
            for run in chunk {
                let Way::Blocks(lying) = &mut ways[run.way] else { continue };
                let at = (run.physical - first.physical) as usize;
                match bytes.get(at..at + run.length as usize) {
                    Some(bytes) => room[run.place..run.place + bytes.len()].copy_from_slice(bytes),
                    None => lying.failed = true,
                }
                lying.left -= 1;
                if lying.left == 0 {
                    done += 1;
                    lying.state = if lying.failed { State::Failed } else { State::Loaded };
                }
            }
        }
        self.name(0, 0);
    }

    /// What the device's bytes are worth; `None` where the file itself has to be read.
    fn judge(&self, lying: &Lying<'_>, room: &[u8]) -> Option<Reading> {
        let Lying { item, dir, file, stat, extents, place, state, .. } = lying;
        if *state != State::Loaded {
            return None;
        }
        let bytes = &room[*place..*place + stat.size as usize];
        let judged = self.guarded(item, &|reader| {
            let file = file.try_clone().map_err(|_| nothing())?;
            let subject = Subject { item, file, stat: *stat, reader, past: None, begins: None, loaded: Some(bytes) };
            examine::examined(dir, &subject).map_err(|_| nothing())
        });
        let facts = judged.ok().filter(|facts| matches!(facts.evidence.verdict(), Verdict::Intact(_)))?;
        let now = attr::fstat(file).ok()?.1;
        let same = (now.size, now.mtime, now.ctime) == (stat.size, stat.mtime, stat.ctime);
        let lies_there = Layout::of(file, stat.size).plain.as_ref() == Some(extents);
        (same && lies_there).then_some(Ok(facts))
    }

    /// Where files lie. One that cannot be looked at lies nowhere: reading it will tell.
    pub(super) fn locate(&self, id: u64, files: &[(u32, RelPath)]) -> Vec<Spot> {
        let folders = Folders::default();
        let mut spots = Vec::with_capacity(files.len());
        for (nth, (number, path)) in files.iter().enumerate() {
            self.name(id, nth as u64);
            let spot = || {
                let root = self.root(*number, path.as_bytes()).ok()?;
                let file = folders.of(root, *number, path).ok()?.open_file(path.name()).ok()?;
                let stat = attr::fstat(&file).ok()?.1;
                Some(Spot { at: Layout::of(&file, stat.size).first, ino: stat.ino })
            };
            spots.push(spot().unwrap_or_default());
        }
        spots
    }

    /// How long a read at the beginning of each of these files takes, as the parent will have them read.
    pub(super) fn probe(&self, id: u64, files: &[(u32, RelPath)], medium: bool) -> Vec<u64> {
        let folders = Folders::default();
        let mut buffer = AlignedBuf::new(ALIGN);
        let mut took = Vec::new();
        for (nth, (number, path)) in files.iter().enumerate() {
            self.name(id, nth as u64);
            let open = || {
                let dir = folders.of(self.root(*number, path.as_bytes()).ok()?, *number, path).ok()?;
                let direct = if medium { dir.open_direct(path.name()).ok()? } else { None };
                let file = direct.or_else(|| dir.open_file(path.name()).ok())?;
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).ok();
                Some(file)
            };
            let Some(file) = open() else { continue };
            let began = Instant::now();
            if Medium::read_at(&file, buffer.bytes_mut(), 0).is_ok_and(|got| got > 0) {
                took.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        }
        took
    }
}

/// Whether a message has a file to itself.
pub(super) fn lies_alone(format: Format, path: &RelPath) -> bool {
    container::split(path).is_none() && format != Format::Mdbox
}

/// Never told: the file is read as such.
fn nothing() -> Trouble {
    Trouble { root: 0, path: Vec::new(), operation: String::new(), errno: None, detail: String::new() }
}

/// A part of a file on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    device: usize,
    physical: u64,
    length: u64,
    /// Where its bytes go.
    place: usize,
    way: usize,
}

/// All that is to be read from devices, in the order of their blocks.
fn runs(ways: &mut [Way<'_>]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (way, lying) in ways.iter_mut().enumerate() {
        let Way::Blocks(lying) = lying else { continue };
        let end = (lying.stat.size as usize).next_multiple_of(ALIGN) as u64;
        for extent in lying.extents.iter().filter(|extent| extent.logical < end) {
            let length = extent.length.min(end - extent.logical);
            let place = lying.place + extent.logical as usize;
            runs.push(Run { device: lying.device, physical: extent.physical, length, place, way });
            lying.left += 1;
        }
    }
    runs.sort_unstable_by_key(|run| (run.device, run.physical));
    runs
}

/// How many of the first runs are read together: with gaps of at most `gap` between them, and in one chunk unless the first
/// alone is longer.
fn together(runs: &[Run], gap: u64, chunk: u64) -> usize {
    let Some(first) = runs.first() else { return 0 };
    let mut end = first.physical + first.length;
    for (count, run) in runs.iter().enumerate().skip(1) {
        let near = run.device == first.device && run.physical <= end.saturating_add(gap);
        let last = run.physical + run.length;
        if !near || last.saturating_sub(first.physical) > chunk {
            return count;
        }
        end = end.max(last);
    }
    runs.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_are_short_and_leave_nothing_out(
            places in prop::collection::vec((0u64..1 << 12, 1u64..64, 0usize..2), 0..60), gap in 0u64..100
        ) {
            let unit = ALIGN as u64;
            let mut runs: Vec<Run> = places
                .iter()
                .map(|&(at, length, device)| Run {
                    device, physical: at * unit, length: length * unit, place: 0, way: 0,
                })
                .collect();
            runs.sort_unstable_by_key(|run| (run.device, run.physical));
            let (mut rest, mut chunk) = (&runs[..], CHUNK);
            while !rest.is_empty() {
                let (now, more) = rest.split_at(together(rest, gap * unit, chunk));
                let end = now.iter().map(|run| run.physical + run.length).max().unwrap();
                prop_assert!(end - now[0].physical <= chunk.max(now[0].length));
                prop_assert!(now.iter().all(|run| run.device == now[0].device));
                (rest, chunk) = (more, (chunk / 2).max(unit));
            }
        }
    }

    #[test]
    fn a_slow_disk_is_asked_for_less() {
        let mut turn = Turn::first();
        (0..10).for_each(|_| turn.took(Duration::from_millis(3)));
        assert_eq!(turn.chunk, CHUNK);
        (0..4).for_each(|_| turn.took(Duration::from_secs(1)));
        assert_eq!(turn.chunk, CHUNK >> 4);
        (0..40).for_each(|_| turn.took(Duration::from_secs(1)));
        assert_eq!(turn.chunk, CHUNK_LEAST);
    }
}
