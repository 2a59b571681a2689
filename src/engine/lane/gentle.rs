//! The pace at which a lane reads: a limit in bytes a second over all its readers, and pauses while others need the
//! disks. Every read of a file's content goes through here.
//!
//! Waits, and says meanwhile that it does: a wait is no hang. Decides nothing: `plan::gentle` does.

use crate::model::wire::{Hello, IoClass};
use crate::plan::gentle::{self, BackOff, Bucket, Sample};
use crate::read::Medium;
use crate::sys::disks;
use crate::sys::meter::{Meter, Moved};
use crate::sys::mounts::Mounts;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(500);
/// A wait is told that often.
const SLICE: Duration = Duration::from_millis(200);
/// A shorter pause is put off until there is more of it: a thread does not sleep so exactly.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Reads of one look that are remembered.
const READS: usize = 1024;

/// How this lane reads.
pub struct Gentle {
    began: Instant,
    bucket: Option<Mutex<Bucket>>,
    watch: Option<Mutex<Watch>>,
    /// Halvings of the pace.
    step: AtomicU32,
    /// Counts the slices of all waits, so that none looks like the one before.
    told: AtomicU64,
    /// Bytes that the parent has written until now.
    written: AtomicU64,
    /// Nanoseconds of pauses that are still owed.
    owed: AtomicU64,
    paused: AtomicU64,
}

struct Watch {
    meter: Meter,
    back_off: BackOff,
    looked: Instant,
    before: Moved,
    /// The parent's bytes that were seen, and those that no disk has written yet.
    written: u64,
    unwritten: u64,
    reads: Vec<Duration>,
}

impl Gentle {
    /// As fast as it goes.
    pub fn not() -> Gentle {
        Gentle {
            began: Instant::now(),
            bucket: None,
            watch: None,
            step: AtomicU32::new(0),
            // Far from what any reader counts for itself.
            told: AtomicU64::new(1 << 48),
            written: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            paused: AtomicU64::new(0),
        }
    }

    /// As the parent asks, with what it should know of that. Called before the sandbox: the counters lie outside, and
    /// before the first thread: all of them take over the class.
    pub fn of(hello: &Hello, paths: &[PathBuf], mounts: Option<&Mounts>) -> (Gentle, Vec<String>) {
        let mut pace = Gentle { bucket: hello.bwlimit.map(|rate| Mutex::new(Bucket::new(rate))), ..Gentle::not() };
        let mut notes = Vec::new();
        if hello.io_class == IoClass::Idle {
            if hello.sandbox
                && let Err(error) = crate::sys::idle::idle_io()
            {
                notes.push(format!("no idle I/O class: {error}"));
            }
            match Watch::new(paths, mounts) {
                Ok(watch) => pace.watch = Some(Mutex::new(watch)),
                Err(error) => notes.push(format!("does not back off for the I/O of others: {error}")),
            }
        }
        (pace, notes)
    }

    /// How long all readers together have paused for others.
    pub fn paused_ms(&self) -> u64 {
        self.paused.load(Relaxed)
    }

    /// Hears how much the parent has written.
    pub fn parent_wrote(&self, bytes: u64) {
        self.written.fetch_max(bytes, Relaxed);
    }

    /// Does one read when its time has come.
    fn read(&self, tick: &dyn Fn(u64), read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        if self.bucket.is_none() && self.watch.is_none() {
            return read();
        }
        self.wait(tick);
        let began = Instant::now();
        let result = read();
        let took = began.elapsed();
        if let (Some(bucket), Ok(got)) = (&self.bucket, &result) {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).pay(self.began.elapsed(), *got as u64);
        }
        if let Some(watch) = &self.watch {
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(step) = watch.after(took, self.written.load(Relaxed)) {
                self.step.store(step, Relaxed);
            }
            drop(watch);
            self.pause(gentle::pause(self.step.load(Relaxed), took), tick);
        }
        result
    }

    fn wait(&self, tick: &dyn Fn(u64)) {
        let Some(bucket) = &self.bucket else { return };
        loop {
            let wait = bucket.lock().unwrap_or_else(PoisonError::into_inner).wait(self.began.elapsed());
            if wait.is_zero() {
                return;
            }
            self.sleep(wait.min(SLICE), tick);
        }
    }

    fn pause(&self, pause: Duration, tick: &dyn Fn(u64)) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let owed = self.owed.fetch_add(nanos(pause), Relaxed).saturating_add(nanos(pause));
        if owed < nanos(PAUSE_MIN) {
            return;
        }
        let mut left = Duration::from_nanos(self.owed.swap(0, Relaxed));
        self.paused.fetch_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX), Relaxed);
        while !left.is_zero() {
            let slice = left.min(SLICE);
            self.sleep(slice, tick);
            left -= slice;
        }
    }

    fn sleep(&self, time: Duration, tick: &dyn Fn(u64)) {
        std::thread::sleep(time);
        tick(self.told.fetch_add(1, Relaxed));
    }
}

impl Watch {
    fn new(paths: &[PathBuf], mounts: Option<&Mounts>) -> io::Result<Watch> {
        let sys = Path::new(disks::SYS);
        let mounts = mounts.ok_or_else(|| io::Error::other("the mount table cannot be read"))?;
        let below = paths.iter().filter_map(|path| mounts.of(path)).map(|mount| disks::below(sys, mount).disks);
        let names: BTreeSet<String> = below.flatten().collect();
        let meter = Meter::open(sys, &names.into_iter().collect::<Vec<_>>())?;
        let before = meter.read()?;
        let (back_off, looked) = (BackOff::default(), Instant::now());
        Ok(Watch { meter, back_off, looked, before, written: 0, unwritten: 0, reads: Vec::new() })
    }

    /// Takes a read down; when it is time for another look, says how far to step back.
    fn after(&mut self, took: Duration, written: u64) -> Option<u32> {
        if self.reads.len() < READS {
            self.reads.push(took);
        }
        let span = self.looked.elapsed();
        if span < LOOK {
            return None;
        }
        let mut reads = std::mem::take(&mut self.reads);
        reads.sort_unstable();
        let middle = reads.get(reads.len() / 2).copied().unwrap_or_default();
        self.looked = Instant::now();
        // A disk that was pulled is noticed by its reads.
        let now = self.meter.read().ok()?;
        let moved = now.disks.saturating_sub(self.before.disks);
        let read = now.own.saturating_sub(self.before.own);
        self.before = now;
        // What the parent records is on its way to a disk for half a minute, perhaps to one of these.
        self.unwritten = self.unwritten.saturating_add(written.saturating_sub(self.written));
        self.written = written;
        let recorded = moved.saturating_sub(read).min(self.unwritten);
        self.unwritten -= recorded;
        let reads = u32::try_from(reads.len()).unwrap_or(u32::MAX);
        Some(self.back_off.judge(&Sample { span, moved, own: read + recorded, reads, middle }))
    }
}

/// A file that is read at a lane's pace.
pub struct Paced<'a> {
    pub file: &'a File,
    pub pace: &'a Gentle,
    pub tick: &'a dyn Fn(u64),
}

impl Medium for Paced<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pace.read(self.tick, || Medium::read_at(self.file, buffer, offset))
    }
}
