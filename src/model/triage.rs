//! What a triage asks of the readers, what it gathers of each device, and what it says of it in the end.
//!
//! Pure data. What the signs mean is decided in `plan::triage`.

use super::digest::Digest;
use super::evidence::{Fault, Verdict};
use super::path::{RelPath, bytes_text};
use super::wire::Trouble;
use serde::{Deserialize, Serialize};

/// One folder to take a sample of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRoot {
    pub root: u32,
    /// Folders below it on which another file system is mounted.
    pub skip: Vec<RelPath>,
}

/// What a sample is taken of, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleOrder {
    pub roots: Vec<SampleRoot>,
    /// Looking for mailboxes and listing them ends after this, wherever it is. Milliseconds.
    pub list_ms: u64,
    /// All ends after this. Milliseconds.
    pub total_ms: u64,
    /// Messages drawn from all that were listed.
    pub most: u32,
    pub seed: u64,
}

/// One message that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    pub root: u32,
    /// The account's folder below the root, and the message's path.
    pub account: RelPath,
    pub path: RelPath,
    /// Drawn from all messages alike; else because its account would have had none.
    pub uniform: bool,
    /// Every byte came past the cache.
    pub medium: bool,
    pub size: u64,
    /// How long each read from the medium took, in microseconds.
    pub reads: Vec<u32>,
    pub seen: Result<Seen, Trouble>,
}

/// What a message that was read to its end looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub faults: Vec<Fault>,
}

/// How far the looking came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Walk {
    pub folders: u64,
    /// Folders that were met and not looked into for want of time.
    pub folders_left: u64,
    pub mailboxes: u64,
    pub mailboxes_listed: u64,
    /// Messages in the mailboxes that were listed.
    pub messages: u64,
    /// Symbolic links that were not followed.
    pub symlinks: u64,
    /// How long looking into the folders took. Milliseconds.
    pub took_ms: u64,
}

impl Walk {
    /// Whether nothing was left out for want of time.
    pub fn complete(&self) -> bool {
        self.folders_left == 0 && self.mailboxes_listed == self.mailboxes
    }
}

/// What a device is, as far as it changes what may be expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    Rotating,
    Flash,
    /// The disks are another machine's.
    Network,
    /// A program answers for it.
    Fuse,
    Memory,
    #[default]
    Unknown,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rotating => "rotating",
            Kind::Flash => "flash",
            Kind::Network => "network",
            Kind::Fuse => "fuse",
            Kind::Memory => "memory",
            Kind::Unknown => "unknown",
        }
    }

    /// Whether what is behind it cannot be seen from here.
    pub fn is_remote(self) -> bool {
        matches!(self, Kind::Network | Kind::Fuse)
    }
}

/// The verdict on a device. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Read from, and nothing speaks against it.
    Healthy,
    /// Nothing was read from it: nothing is known.
    Unknown,
    /// Something is wrong, and all evidence of the device itself is clean.
    NotTheDisk,
    /// It still gives its bytes, and shows that it will not for long.
    Degrading,
    /// It does not give all of its bytes, or does not answer for long.
    Failing,
    /// It gives nothing any more.
    Gone,
}

impl Health {
    /// In machine output.
    pub fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Unknown => "unknown",
            Health::NotTheDisk => "not_the_disk",
            Health::Degrading => "degrading",
            Health::Failing => "failing",
            Health::Gone => "gone",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Health::NotTheDisk => "not the disk",
            Health::Unknown => "not known",
            other => other.name(),
        }
    }

    /// Whether the device is to blame.
    pub fn is_ill(self) -> bool {
        self >= Health::Degrading
    }
}

/// How long reads took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    pub reads: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
    /// Reads so slow that a disk must have tried again and again.
    pub stalls: u64,
}

/// What a disk's own records say (SMART, NVMe), as far as they could be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Smart {
    /// Its overall self-assessment.
    pub passed: Option<bool>,
    pub reallocated: Option<u64>,
    pub pending: Option<u64>,
    pub uncorrectable: Option<u64>,
    /// Errors on the cable between disk and controller.
    pub link_errors: Option<u64>,
    /// NVMe: any bit is a warning.
    pub critical_warning: Option<u64>,
    pub media_errors: Option<u64>,
    /// NVMe: 100 is the end of the life that it was made for.
    pub percent_used: Option<u64>,
}

/// A RAID array of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Array {
    pub name: String,
    /// As in `array_state` (`clean`, `active`, `inactive`).
    pub state: String,
    /// Members that are missing.
    pub degraded: u64,
    pub mismatches: u64,
    /// `idle`, `recover`, `check`.
    pub action: String,
    /// Members that it threw out, or that had errors.
    pub bad_members: Vec<String>,
}

/// One disk below a file system, and what the kernel says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// As below /sys/block (`sda`, `nvme0n1`, `loop3`).
    pub name: String,
    pub model: String,
    pub bytes: u64,
    pub rotating: Option<bool>,
    /// Of SCSI and NVMe (`running`, `offline`, `live`).
    pub state: Option<String>,
    /// The file behind a loop device.
    pub backing: Option<String>,
    pub smart: Option<Smart>,
}

/// What a device did between two looks at the kernel's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Reads and writes that were finished, of everybody.
    pub requests: u64,
    /// Finished by nobody yet.
    pub in_flight: u64,
    /// Commands that the SCSI layer counts as failed.
    pub failed: u64,
}

/// All that is known of a device before it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signs {
    pub kind: Kind,
    /// Messages of which every byte came.
    pub whole_reads: u64,
    /// Times that it did not answer, and messages that it gave after the first of them.
    pub hangs: u64,
    pub read_after_hang: u64,
    /// Messages and folders that the device gave an error for.
    pub read_errors: u64,
    /// Errors that say: there is no such device any more.
    pub absent_errors: u64,
    /// Places where the file system says that it is damaged itself.
    pub corrupt: u64,
    /// Messages that came without an error and are not what they should be.
    pub damaged: u64,
    pub latency: Latency,
    /// Messages were listed, and not one was read in the time.
    pub none_in_time: bool,
    /// What looking into a folder took on average, in milliseconds.
    pub folder_ms: u64,
    /// The typical read of the other devices of its kind.
    pub peers_p50: Option<u64>,
    /// Requests of others per request of ours.
    pub foreign: Option<u64>,
    /// Errors that its file systems have on record.
    pub recorded_errors: u64,
    pub failed_commands: u64,
    pub disks: Vec<Disk>,
    pub arrays: Vec<Array>,
}

/// One file system of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    pub mount_point: String,
    pub source: String,
    pub fs_type: String,
    /// `major:minor`.
    pub device: String,
}

/// An account on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    pub store: String,
    pub account: String,
    /// Its folder could be looked into.
    pub listed: bool,
}

/// What the messages that were read say of those that were not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Messages that were read, and how many of them are damaged or were not given whole.
    pub checked: u64,
    pub damaged: u64,
    /// The same of those that were drawn from all alike: only they say something of the rest.
    pub uniform: u64,
    pub uniform_damaged: u64,
    /// One is 95 % sure that fewer per million of the rest are damaged; `None` where nothing of it was checked.
    pub upper_per_million: Option<f64>,
    pub walk: Walk,
}

impl Sample {
    /// Whether every message was read, so that nothing is left to be guessed.
    pub fn is_census(&self) -> bool {
        self.walk.complete() && self.uniform == self.walk.messages
    }
}

/// Everything that is said of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceReport {
    /// What people call it (`sda`, `sda + sdb (md0)`, `server:/export`).
    pub name: String,
    pub file_systems: Vec<FileSystem>,
    pub signs: Signs,
    pub health: Health,
    pub reasons: Vec<String>,
    /// Sorted.
    pub accounts: Vec<Hit>,
    pub sample: Sample,
    /// Whether reads came past the cache, so that the medium was tested.
    pub medium_tested: bool,
    /// What could not be looked at, for other reasons than the device.
    pub not_checked: u64,
    pub notes: Vec<String>,
}

/// A name as the kernel or a stranger wrote it, in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    pub root: u32,
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
}

/// Microseconds in words.
pub fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{:.1} ms", micros as f64 / 1e3),
        1_000..1_000_000 => format!("{} ms", (micros + 500) / 1_000),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}
