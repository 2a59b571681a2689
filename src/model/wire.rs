//! What parent and lane say to each other. The lane lists, opens, reads, hashes and checks; it knows no
//! catalog, no plan and no terminal. Frames are postcard records behind a little-endian u32 length: no names
//! of fields travel, so no type in here may leave a field out.

use super::container::{Own, Storage};
use super::digest::Digest;
use super::form::Form;
use super::format::Format;
use super::groups::Value;
use super::message::{CopyFacts, Encoding, Stamp, Stat, Xattr};
use super::path::{RelPath, bytes_text};
use super::pieces::{Cuts, Pieces};
use super::server::{Guids, Ledger, Line, Question, Witness};
use super::span::Span;
use super::triage::{Doing, SampleOrder, Sampled, Walk};
use serde::{Deserialize, Serialize};

/// A directory that a lane opens before it enters its sandbox; the only places it can read afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// The last components may hold `*` and `?`; every directory that matches becomes a root.
    pub pattern: bool,
}

/// First message to a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub roots: Vec<RootSpec>,
    /// Readers in flight.
    pub readers: usize,
    /// Enter the sandbox (off only where the lane runs inside the parent's process, under test).
    pub sandbox: bool,
    /// Pretend that openat2 does not exist: the fall-back under test.
    pub without_openat2: bool,
    /// Bytes a second that all readers together may read of files.
    pub bwlimit: Option<u64>,
    pub io_class: IoClass,
    /// Read what lies next to each other from the block device itself, where that may be done.
    pub blocks: bool,
    /// The folder in which a server keeps attachments apart from their messages.
    pub attachments: Option<Vec<u8>>,
    /// Seconds east of UTC of the clock that wrote dates without a zone.
    pub zone: i64,
}

/// What a disk is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disk {
    /// As measured.
    #[default]
    Auto,
    /// Many readers at a time, in the order in which mailboxes are listed.
    Flash,
    /// One reader, in the order in which messages lie on it.
    Spindle,
}

/// How much a lane wants the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IoClass {
    /// As much as anybody.
    #[default]
    Normal,
    /// When nobody else does: in the idle I/O class, and stepping back while others move data.
    Idle,
}

/// One root as the lane found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootInfo {
    /// Index into [`Hello::roots`].
    pub spec: u32,
    /// Canonical path.
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// When the folder that a pattern matched was changed (the snapshot's own, which may lie above this root); without
    /// a pattern the root's mtime.
    pub changed: Stamp,
    pub stat: Stat,
    pub is_dir: bool,
    /// Type of the file system, as in /proc/mounts (`ext4`, `fuse.sshfs`).
    pub fs_type: String,
    /// Whether the root is itself a mount point.
    pub mount_point: bool,
}

/// An operation and the object it failed on, with the system's error number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub root: u32,
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    pub operation: String,
    pub errno: Option<i32>,
    /// What it means, where the number does not tell.
    pub detail: String,
}

/// Where in a mailbox a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    New,
    Cur,
    Tmp,
    /// The mailbox folder itself: companion files.
    Top,
}

impl Place {
    /// The subfolder's name; empty for [`Place::Top`].
    pub fn dir(self) -> &'static [u8] {
        match self {
            Place::New => b"new",
            Place::Cur => b"cur",
            Place::Tmp => b"tmp",
            Place::Top => b"",
        }
    }
}

/// One directory entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub place: Place,
    #[serde(with = "bytes_text")]
    pub name: Vec<u8>,
    pub ino: u64,
    pub kind: EntryKind,
    /// Only where the request asked for it.
    pub stat: Option<Stat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
    /// FIFO, socket, device.
    Other,
}

/// A mailbox folder that discovery met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundMailbox {
    /// Its folder below the root.
    pub dir: RelPath,
    /// Folder of the account that it belongs to, below the root.
    pub account: RelPath,
    pub stat: Stat,
    pub format: Format,
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadMode {
    /// A message: digest, then the cheap checks unless the digest is the expected one.
    Message,
    /// Digest only.
    Digest,
    /// The same of the bytes as they are stored, whatever they look like.
    Stored,
    /// Digest only, of a file that has no business being large.
    Companion,
}

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadItem {
    pub id: u64,
    pub root: u32,
    pub path: RelPath,
    pub mode: ReadMode,
    /// Of the mailbox.
    pub format: Format,
    /// In which form it is read and judged.
    pub form: Form,
    /// Of a message that lies in one file with others: that file as it was when it was listed.
    pub file: Option<Stat>,
    /// The catalog's digest.
    pub expected: Option<Digest>,
    /// Sizes claimed by the name (Maildir `S=`, `W=`).
    pub size_claim: Option<u64>,
    pub crlf_claim: Option<u64>,
    /// Also report the envelope when the checks are not needed.
    pub envelope: bool,
    /// Read from the medium, past the page cache, where the file system allows it.
    pub medium: bool,
    pub effort: Effort,
    /// Also tell the chaining values of its groups, if it is stored as it is and read whole.
    pub groups: bool,
    /// Whatever is checked is also judged by its signatures. Else only what the other checks doubt is, and no digest
    /// decides.
    pub deep: bool,
}

/// How a place that the medium does not give at once is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Effort {
    /// Again, page by page.
    #[default]
    Pages,
    /// Not again for now: a copy elsewhere may do.
    Swift,
    /// Again, sector by sector past the cache; these places at once so, for they are known not to be given.
    Closely(Vec<Span>),
}

/// Where a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Spot {
    /// Byte of the device at which it begins; `None` where the file system does not tell.
    pub at: Option<u64>,
    pub ino: u64,
}

/// A part of a file, as far as the medium gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Given {
    /// From where it was asked for, up to the end of the file; zeros where there is a hole.
    #[serde(with = "serde_bytes_vec")]
    pub bytes: Vec<u8>,
    /// Within the file.
    pub holes: Vec<Span>,
}

/// What reading one file came to.
pub type Reading = Result<CopyFacts, Trouble>;

/// What lies at a path: type, `lstat`, and for a file its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    pub kind: EntryKind,
    pub stat: Stat,
    pub xattrs: Vec<Xattr>,
}

/// To the lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Walk `dir` below `root` for accounts and mailboxes.
    Discover { id: u64, root: u32, dir: RelPath },
    /// List one mailbox of a format. `stat` also asks for size, times and owner of every entry.
    List { id: u64, root: u32, dir: RelPath, format: Format, stat: bool },
    /// The same with `stat`, but of messages only the seal is sent. Not even that where times of `new` and `cur` differ
    /// from these (`mtime` and `ctime` of each).
    Recheck { id: u64, root: u32, dir: RelPath, format: Format, times: [Stamp; 4] },
    /// List the companion files of an account's home (sieve scripts and the like), recursively but shallow.
    ListHome { id: u64, root: u32, dir: RelPath },
    /// What is this path? Answered by `Stated`.
    StatPath { id: u64, root: u32, path: RelPath },
    Read {
        items: Vec<ReadItem>,
        /// Bytes that the parent has written until now, for whoever watches the disks.
        written: u64,
        /// One after the other, as they stand there.
        in_order: bool,
    },
    /// Where do these files lie? Answered by `Located`.
    Locate { id: u64, files: Vec<(u32, RelPath)> },
    /// How long does a read at the beginning of each of these take? Answered by `Probed`.
    Probe { id: u64, files: Vec<(u32, RelPath)>, medium: bool },
    /// What do the server's own files of the mailbox `dir` say of these messages?
    Witness { id: u64, root: u32, dir: RelPath, names: Vec<Question> },
    /// Which files of the mailbox `dir` does the server know by another name than their own?
    Guids { id: u64, root: u32, dir: RelPath },
    /// All that the server's own files of the mailbox `dir` say of it.
    Ledger { id: u64, root: u32, dir: RelPath },
    /// Digests of each piece of the decoded content.
    Pieces { id: u64, root: u32, path: RelPath, form: Form, cuts: Cuts },
    /// The stored bytes; decoded, turned into `form` and encoded again where that or `encode` differs from what is stored.
    Fetch { id: u64, root: u32, path: RelPath, form: Form, encode: Option<Encoding> },
    /// What does the file of a message that lies in one with others say around it? Answered by `Own`.
    Own { id: u64, root: u32, path: RelPath },
    /// What lies in this file, which mailboxes share? Answered by `Storage`.
    Storage { id: u64, root: u32, path: RelPath },
    /// Bytes of a file as they are stored, which must still be `file`.
    Range { id: u64, root: u32, path: RelPath, span: Span, file: Option<Stat> },
    /// Chaining values of the groups of a content of this length, read as closely as the medium allows.
    Groups { id: u64, root: u32, path: RelPath, length: u64 },
    /// Bytes of a file with the holes in them, read as closely as the medium allows.
    Fragment { id: u64, root: u32, path: RelPath, span: Span },
    /// Look around for a while, then read messages drawn by lot.
    Sample { id: u64, order: SampleOrder },
}

/// From the lane. Every request is answered by exactly one message that ends it (`*End`, `Stated`, or one `Copy` for each item).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Ready {
        roots: Vec<RootInfo>,
        troubles: Vec<Trouble>,
        sandbox: Sandbox,
        /// What of the wishes for a gentle pace cannot be had.
        notes: Vec<String>,
    },
    Found {
        id: u64,
        mailboxes: Vec<FoundMailbox>,
    },
    /// Places that a walk or a listing could not look into, and links that it did not follow.
    Aside {
        id: u64,
        troubles: Vec<Trouble>,
        symlinks: Vec<RelPath>,
    },
    /// Discovery ended.
    FoundEnd {
        id: u64,
    },
    Entries {
        id: u64,
        entries: Vec<Entry>,
    },
    /// Listing ended. Only with no trouble is it complete. `dirs` are the folder itself, new and cur.
    EntriesEnd {
        id: u64,
        dirs: Vec<(Place, Stat)>,
        /// Of a listing with `stat`: digest of all that it tells of messages and of what stands in the mailbox's folder.
        seal: Option<Digest>,
    },
    Home {
        id: u64,
        files: Vec<(RelPath, Stat)>,
    },
    HomeEnd {
        id: u64,
    },
    Stated {
        id: u64,
        stat: Result<Stated, Trouble>,
    },
    /// Items of a `Read`.
    Copies {
        copies: Vec<(u64, Reading)>,
        /// All of its items are answered.
        last: bool,
        /// How long all readers together have paused until now, because others needed the disks.
        paused_ms: u64,
    },
    /// Of each file, in the order of the question; where one could not be looked at, nothing.
    Located {
        id: u64,
        spots: Vec<Spot>,
    },
    /// Microseconds, of those that could be read.
    Probed {
        id: u64,
        took: Vec<u64>,
    },
    Witness {
        id: u64,
        witness: Result<Witness, Trouble>,
    },
    /// Names of files without flags, with the names that the messages go by.
    Guids {
        id: u64,
        guids: Guids,
    },
    GuidsEnd {
        id: u64,
    },
    /// Lines of its list, ascending.
    Lines {
        id: u64,
        lines: Vec<Line>,
    },
    /// The rest.
    Ledger {
        id: u64,
        ledger: Result<Ledger, Trouble>,
    },
    Pieces {
        id: u64,
        pieces: Result<Pieces, Trouble>,
    },
    Own {
        id: u64,
        own: Result<Own, Trouble>,
    },
    Storage {
        id: u64,
        storage: Result<Storage, Trouble>,
    },
    /// `None` of a group that the file does not give whole.
    Groups {
        id: u64,
        groups: Result<Vec<Option<Value>>, Trouble>,
    },
    Fragment {
        id: u64,
        given: Result<Given, Trouble>,
    },
    Data {
        id: u64,
        #[serde(with = "serde_bytes_vec")]
        bytes: Vec<u8>,
    },
    /// `digest` is that of the decoded content that was sent.
    DataEnd {
        id: u64,
        result: Result<Fetched, Trouble>,
    },
    /// What a sample is about to touch, so that a hang can be put down to it.
    SampleAt {
        id: u64,
        doing: Doing,
    },
    /// An account's folder, below the root of this number.
    SampleAccount {
        id: u64,
        root: u32,
        dir: RelPath,
    },
    SampleFile {
        id: u64,
        file: Sampled,
    },
    /// How far looking around came.
    SampleWalk {
        id: u64,
        walk: Walk,
    },
    SampleEnd {
        id: u64,
    },
    /// The lane's own code failed (a panic): never damage, always our error.
    Broken {
        text: String,
    },
}

/// What a fetch delivered besides bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    pub digest: Digest,
    pub length: u64,
    pub stored_as: Encoding,
    pub mtime: Stamp,
    pub xattrs: Vec<Xattr>,
}

/// What keeps a lane from writing, strongest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Every mount is read-only in the lane's own mount namespace.
    pub read_only_mounts: bool,
    /// Landlock ABI in force, 0 for none.
    pub landlock_abi: u32,
    /// A filter on system calls leaves only those that reading needs.
    pub syscall_filter: bool,
    /// Privileges other than reading were given up.
    pub capabilities_dropped: bool,
    /// What could not be had, for people.
    pub notes: Vec<String>,
}

/// Byte strings as one block rather than a sequence of numbers.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, Envelope, Evidence, Fault, FaultKind, Outcome};

    #[test]
    fn facts_with_empty_and_full_fields_travel() {
        let mut evidence = Evidence::default();
        evidence.set(Check::Read, Outcome::Pass);
        let fault = |errno| Fault { check: Check::Mime, kind: FaultKind::NoParts, span: Span::new(1, 2), errno };
        evidence.blame(fault(None));
        evidence.blame(fault(Some(5)));
        let envelopes = [None, Some(Envelope::default()), Some(Envelope { date: Some(1), ..Envelope::default() })];
        for envelope in envelopes {
            let facts = CopyFacts { evidence: evidence.clone(), envelope, ..CopyFacts::default() };
            let sent = Answer::Copies { copies: vec![(7, Ok(facts))], last: true, paused_ms: 5 };
            let wire = postcard::to_allocvec(&sent).unwrap();
            assert_eq!(postcard::from_bytes::<Answer>(&wire).unwrap(), sent);
        }
    }
}
