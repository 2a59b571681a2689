//! One message as it was found: its key, what the file system said, what reading it showed.

use super::digest::Digest;
use super::evidence::Evidence;
use super::form::Marks;
use super::groups::Value;
use super::path::bytes_text;
use serde::{Deserialize, Serialize};

/// A message's native name in its mailbox: for Maildir the file name up to the first `,` or `:`
/// (servers rewrite the rest). Bytes, as strangers wrote them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(#[serde(with = "bytes_text")] pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::path::escape(&self.0))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::path::escape(&self.0))
    }
}

/// A point in time with the file system's precision: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    pub sec: i64,
    pub nsec: u32,
}

/// What `fstat` said of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    /// Bytes as stored.
    pub size: u64,
    pub mtime: Stamp,
    pub ctime: Stamp,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits only (07777).
    pub mode: u32,
}

impl Stat {
    /// Whether `other` is the same inode with the same content, as far as attributes tell. The time of the
    /// last attribute change is left out (a change of flags renames, and that sets it), and so is the
    /// device number (it may be another one after a reboot).
    pub fn same_file(&self, other: &Stat) -> bool {
        self.ino == other.ino && self.size == other.size && self.mtime == other.mtime
    }

    /// Whether nothing at all happened to the inode since `other` was taken.
    pub fn untouched(&self, other: &Stat) -> bool {
        self.same_file(other) && self.ctime == other.ctime
    }
}

/// Whether an extended attribute is its owner's to set, so that a replacement keeps it. All others are the
/// system's: they grant privileges or are made anew.
pub fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
}

/// What a repaired message gets besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attrs {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits only (07777).
    pub mode: u32,
    /// The received date.
    pub mtime: Stamp,
    /// `user.*` and POSIX ACL attributes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    #[serde(with = "bytes_text")]
    pub name: Vec<u8>,
    #[serde(with = "bytes_text")]
    pub value: Vec<u8>,
}

/// How a message's bytes are stored. Recognised by magic, never by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    /// The lz4 frame format.
    Lz4,
    /// Dovecot's own container of lz4 blocks.
    Lz4Dovecot,
    /// Dovecot mail_crypt (`CRYPTED\x03`): opaque.
    Crypted,
    /// Plain, in the frame of Dovecot's single-dbox.
    Sdbox,
}

/// The few header fields that name a message to people and find candidates. Never proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(default)]
    pub message_id: Option<String>,
    #[serde(default)]
    pub from: Option<String>,
    /// Seconds since 1970, from the Date field.
    #[serde(default)]
    pub date: Option<i64>,
    #[serde(default)]
    pub subject: Option<String>,
}

/// All that one reading of one copy gave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopyFacts {
    pub stat: Stat,
    pub encoding: Encoding,
    /// Bytes after decompression, as far as they could be read.
    pub length: u64,
    /// Of the bytes after decompression; `None` where not every byte could be read or decoded.
    pub digest: Option<Digest>,
    /// Of the bytes as stored, where they differ.
    pub stored: Option<Digest>,
    /// After CRLF to LF and without mutable mbox headers, where it differs from `digest`.
    pub canonical: Option<Digest>,
    pub evidence: Evidence,
    pub envelope: Option<Envelope>,
    /// What the frame around it says, where there is one that does.
    pub marks: Option<Marks>,
    /// Chaining values of its groups, where they were asked for and there is more than one.
    pub groups: Vec<Value>,
    /// The medium was asked for and the cache may have answered.
    pub cached: bool,
    /// What it lacks was read sector by sector past the cache: there is no less that could be missing.
    pub closely: bool,
}

impl CopyFacts {
    /// The digest that is equal across formats and line ends.
    pub fn canonical_digest(&self) -> Option<Digest> {
        self.canonical.or(self.digest)
    }
}
