//! What goes into the catalog and comes out of it.
//!
//! Pure data; may not touch files or the database.

use crate::model::event::Subject;
use crate::model::tally::Tally;
use crate::model::wire::Place;
use crate::model::{Attrs, Digest, Encoding, Envelope, Key, Missing, RelPath, Stamp, Verdict};

/// A store in this catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub(super) i64);

/// A mailbox in this catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub(super) i64);

/// One run's record for one store in this catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) i64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRow {
    pub id: StoreId,
    /// Canonical, absolute.
    pub path: Vec<u8>,
    pub added: Stamp,
    /// Whether it was a mount point when last seen; `None` where nobody looked yet.
    pub mount_point: Option<bool>,
    pub fs_type: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Below the store.
    pub dir: RelPath,
    /// As shown.
    pub name: String,
    /// Mailboxes that are there.
    pub mailboxes: u64,
    /// Files of messages that are there.
    pub messages: u64,
    /// The oldest epoch of its mailboxes; `None` where one was never verified or there is none.
    pub last_verified: Option<Stamp>,
    /// The oldest complete listing of its mailboxes; `None` where one was never listed or there is none.
    pub last_listed: Option<Stamp>,
}

/// Owner and permissions of a mailbox's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits only (07777).
    pub mode: u32,
}

/// Times of a mailbox's `new` and `cur`, taken before the listing that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirTimes {
    pub new_mtime: Stamp,
    pub new_ctime: Stamp,
    pub cur_mtime: Stamp,
    pub cur_ctime: Stamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    pub id: MailboxId,
    /// Folder of its account, below the store.
    pub account: RelPath,
    /// Below the store.
    pub dir: RelPath,
    /// `None` where it was never seen.
    pub folder: Option<Folder>,
    /// At the last complete listing.
    pub dir_times: Option<DirTimes>,
    /// The last complete listing.
    pub listed: Option<Stamp>,
    /// The epoch: when every message that says nothing else was last verified.
    pub verified: Option<Stamp>,
    /// Files of messages that are there, whole or not.
    pub messages: u64,
    /// The folder was there once and is no more.
    pub gone: bool,
    /// The file `maildirfolder` is there.
    pub marker: bool,
}

/// What became of a message, by the last look at it. In every state the digests are those of the
/// recorded whole content, never of what harm left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// There, and nothing said that it is not whole. The digests describe the file.
    Present,
    /// There, with other content than the digest's, or (where there is no digest) provably broken.
    Damaged,
    /// There, but the medium does not give all of it.
    Unreadable,
    /// Not there.
    Missing(Missing),
}

impl State {
    /// Whether a file of this key was there.
    pub fn on_disk(self) -> bool {
        !matches!(self, State::Missing(_))
    }

    /// Damage or loss that is not explained by its owner.
    pub fn is_harm(self) -> bool {
        match self {
            State::Present => false,
            State::Damaged | State::Unreadable => true,
            State::Missing(missing) => matches!(missing, Missing::Lost | Missing::Undecided),
        }
    }
}

/// One message of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub key: Key,
    /// `New` or `Cur`.
    pub place: Place,
    /// The full file name, as last seen.
    pub name: Vec<u8>,
    /// Of the content after decompression. `None` where no reading ever gave all of it.
    pub digest: Option<Digest>,
    /// Of the bytes as stored, where they differ from the content.
    pub stored: Option<Digest>,
    /// Where it differs from `digest`.
    pub canonical: Option<Digest>,
    /// Bytes after decompression.
    pub length: u64,
    /// Bytes as stored.
    pub size: u64,
    pub encoding: Encoding,
    pub attrs: Attrs,
    /// One without any field is recorded as `None`.
    pub envelope: Option<Envelope>,
    pub first_seen: Stamp,
    pub last_seen: Stamp,
    /// The last time its whole content was proven. `None`: never. 1970-01-01 counts as never.
    pub verified: Option<Stamp>,
    pub state: State,
    /// A human accepted the harm that `state` tells. Set by `accept_*` only; ignored when recording.
    pub accepted: bool,
    /// The checks had doubts about the content when it was recorded: the digest is no proof of wholeness.
    pub suspect: bool,
}

/// One look at one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxUpdate {
    /// Folder of the account, below the store.
    pub account: RelPath,
    /// The account, as shown.
    pub account_name: String,
    /// Folder of the mailbox, below the store.
    pub dir: RelPath,
    /// `None` keeps what is recorded.
    pub folder: Option<Folder>,
    /// Taken before the listing. Recorded only if the listing is complete.
    pub dir_times: Option<DirTimes>,
    /// When it was listed.
    pub listed: Stamp,
    /// The listing finished: whatever is on record, was there before and is not reported as
    /// [`MessageChange::Gone`] was seen. Only then can anything be gone.
    pub complete: bool,
    /// Begins a new epoch. Messages that this update does not name keep the time they have.
    pub verified: Option<Stamp>,
    /// The folder itself is no more.
    pub gone: bool,
    /// The file `maildirfolder` is there.
    pub marker: bool,
}

/// What was learned of one message. Changes come in strictly ascending order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageChange {
    /// There. New keys are added as they are. Of a known key, name, place, attributes, state, `last_seen`
    /// and `verified` (unless `None`) are taken over; with an equal digest also `stored`, `canonical`,
    /// `size`, `encoding` and `suspect` (a re-encoding); a first digest is added. Where `digest` is
    /// `None` or the state is harm, the recorded content and attributes stay. Another digest than the
    /// recorded one is refused: that is [`MessageChange::Changed`].
    Seen(MessageRow),
    /// There, and `Damaged` or `Unreadable`. A key that is not on record is passed over.
    Harmed { key: Key, state: State },
    /// Not in a complete listing. A key that is not on record is passed over.
    Gone { key: Key, missing: Missing },
    /// The same by the complete listing of a run that records no listing: it is on record as missing, and what came
    /// since the last recorded listing stays unknown. A key that is not on record is passed over.
    Missed { key: Key, missing: Missing },
    /// There, with other content that nothing explains. The recorded digest stays, the message is
    /// `Damaged`, the other content is remembered in the history.
    Changed { key: Key, digest: Digest, length: u64 },
    /// There, with content that takes the place of the recorded one, which moves to the history.
    /// Refused unless the recorded one is suspect or its harm was accepted.
    Replaced { row: MessageRow, why: String },
    /// The name is another message's by now, in a format whose names do not last. The digest of the one that had it
    /// moves to the history.
    Renamed { row: MessageRow },
}

impl MessageChange {
    pub fn key(&self) -> &Key {
        match self {
            MessageChange::Seen(row) | MessageChange::Replaced { row, .. } | MessageChange::Renamed { row } => &row.key,
            MessageChange::Harmed { key, .. }
            | MessageChange::Gone { key, .. }
            | MessageChange::Missed { key, .. }
            | MessageChange::Changed { key, .. } => key,
        }
    }
}

/// Other content that was once under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    pub digest: Digest,
    pub length: u64,
    pub at: Stamp,
    /// It was the recorded content until then; else it was only seen, as damage.
    pub replaced: bool,
    pub why: String,
}

/// How well one mailbox is covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    pub mailbox: MailboxId,
    pub account: RelPath,
    pub dir: RelPath,
    /// Messages that count as present and whole; the rest of this row is about them.
    pub messages: u64,
    /// Of these, never verified.
    pub never: u64,
    /// Of the others.
    pub oldest: Option<Stamp>,
    pub newest: Option<Stamp>,
    pub listed: Option<Stamp>,
}

/// Messages of one mailbox that were last proven at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeRow {
    /// Folder of the account, below the store.
    pub account: RelPath,
    /// The account, as shown.
    pub account_name: String,
    /// Folder of the mailbox, below the store.
    pub dir: RelPath,
    /// Seconds; `None`: never.
    pub verified: Option<i64>,
    pub messages: u64,
    /// As stored; an empty message counts as one byte.
    pub bytes: u64,
}

/// How well a whole store is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proof {
    /// Files of messages that are there.
    pub messages: u64,
    /// Of these, about how many were never proven whole.
    pub never: u64,
    /// The oldest proof of the others.
    pub oldest: Option<Stamp>,
}

/// A message on record whose harm is open or accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarmedRow {
    pub mailbox: MailboxId,
    pub account: RelPath,
    pub dir: RelPath,
    pub key: Key,
    pub state: State,
    pub accepted: bool,
}

/// Messages of a store whose harm is on record. The first four do not count what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HarmCounts {
    pub damaged: u64,
    pub unreadable: u64,
    pub lost: u64,
    pub undecided: u64,
    pub accepted: u64,
}

/// A file that the server keeps beside the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanionRow {
    /// Below the store.
    pub path: RelPath,
    pub digest: Digest,
    pub size: u64,
    pub attrs: Attrs,
    pub seen: Stamp,
    /// It was there once and is no more; the rest describes it as it was last seen.
    pub gone: bool,
}

/// One run on one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub id: RunId,
    /// What messages to people call it.
    pub run: String,
    /// `None` for a run that concerned no one store.
    pub store: Option<StoreId>,
    pub command: String,
    pub began: Stamp,
    /// The rest is `None` until the run ended by itself.
    pub ended: Option<Stamp>,
    pub exit: Option<u8>,
    pub tally: Option<Tally>,
}

/// Something that a run found not intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingRow {
    pub subject: Subject,
    /// As shown.
    pub account: String,
    /// As shown.
    pub mailbox: String,
    /// Below the store.
    pub mailbox_dir: RelPath,
    pub key: Option<Key>,
    pub verdict: Verdict,
    pub digest: Option<Digest>,
    /// The harm was still there when the run ended.
    pub open: bool,
    /// The whole finding, as machine output gives it.
    pub json: String,
}

/// Who accepts a loss, when and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance<'a> {
    pub who: &'a str,
    pub at: Stamp,
    pub why: &'a str,
}

/// A loss that a human accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRow {
    pub mailbox_dir: RelPath,
    pub subject: Subject,
    pub key: Option<Key>,
    pub at: Stamp,
    /// As shown.
    pub account: String,
    /// The run whose finding it was.
    pub run: String,
    pub verdict: Verdict,
    pub who: String,
    pub why: String,
    /// When the message was whole again or came to worse harm: no longer in force.
    pub ended: Option<Stamp>,
}

impl AcceptedRow {
    /// Whether harm of this kind is what was accepted, or less than that.
    pub fn covers(&self, verdict: Verdict) -> bool {
        self.ended.is_none() && harm_rank(verdict) <= harm_rank(self.verdict)
    }
}

/// Who accepts that a message is damaged has not accepted that it is gone.
pub(super) fn harm_rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Missing(_) => 2,
        Verdict::Damaged | Verdict::Unreadable | Verdict::Undetermined => 1,
        Verdict::Suspect | Verdict::Intact(_) => 0,
    }
}
