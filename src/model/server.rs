//! What a mail server's own files say of a mailbox, and of messages that are gone from it.
//!
//! Pure data.

use super::message::{Key, Stat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the server's files of one mailbox say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Witness {
    /// One for each message that was asked for, in that order.
    pub messages: Vec<Witnessed>,
    /// By the list of UIDs; `None` where it is not there or does not say.
    pub uid_validity: Option<u32>,
    /// HIGHESTMODSEQ (RFC 7162) as the indexes have it.
    pub highest_modseq: u64,
    /// Number of the newest log, for the next one.
    pub log_seq: u32,
    /// The indexes that are there, by name.
    pub indexes: Vec<(Vec<u8>, Stat)>,
}

/// A message that a server's files are asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// What its file is or was called.
    pub name: Vec<u8>,
    /// The UID that another list gives it, for one that the server's own has forgotten.
    pub uid: Option<u32>,
    /// The UIDVALIDITY under which it has the UID in its name, where that is known.
    pub era: Option<u32>,
}

/// What the server knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Witnessed {
    /// Its UID by the list of UIDs, or as it was given: what it comes back under.
    pub uid: Option<u32>,
    /// The list has no line for it any more.
    pub unlisted: bool,
    pub says: Says,
    /// Its indexes count the message as gone for good: put back as things are, it would get a new UID.
    pub expunged: bool,
    /// Its logs tell of nothing before that. Seconds since 1970; `None` where there is no log.
    pub since: Option<u32>,
    /// A partner of the server's sync, which is a source, has deleted it: the next sync deletes it here too.
    pub deleted_at_partner: bool,
}

/// What the server says of a message that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Says {
    #[default]
    Nothing,
    /// A client deleted it, or asked for that.
    DeletedByUser,
    /// The server found the file gone, and nobody had asked for that.
    LossNoticed,
    /// A partner of the server's sync deleted it; that one's log knows why.
    DeletedBySync,
    /// It still lists the message: whoever took the file did not ask the server.
    Listed,
    /// The same, and its file lies in the alternative storage (ALT=), where nobody looks.
    Apart,
    /// It began anew, under a later UIDVALIDITY, and never knew the message.
    Restarted,
}

/// How whole a server's file is, as far as it can tell by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Whole {
    #[default]
    Absent,
    Damaged,
    Sound,
}

/// Everything that a server's files say of one mailbox as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The list of UIDs.
    pub list: Whole,
    /// By the list, else by the indexes.
    pub uid_validity: Option<u32>,
    /// No UID from here on was ever given away, as far as list and indexes know.
    pub next_uid: u32,
    pub mailbox_guid: Option<[u8; 16]>,
    /// What else the head of the list says: a letter and its value.
    pub head: Vec<(u8, Vec<u8>)>,
    /// Of the list, by ascending UID.
    pub lines: Vec<Line>,
    /// The table of keywords, and the names of the letters `a` to `z` by number.
    pub keywords: Whole,
    pub letters: BTreeMap<u8, Vec<u8>>,
    /// The indexes with their logs.
    pub index: Whole,
    /// When the present indexes were begun. Unix seconds, 0 where it is not known.
    pub begun: u32,
    /// HIGHESTMODSEQ (RFC 7162) as the indexes have it, 0 where there are none.
    pub highest_modseq: u64,
    /// Number of the newest log.
    pub log_seq: u32,
    /// UIDs of the messages that the indexes hold; only such as the logs saw given away.
    pub indexed: Vec<u32>,
    /// The same without that condition; nothing where the indexes are damaged.
    pub held: Vec<u32>,
    /// UIDs of the messages that the server found gone without having been asked; only such as the logs saw given away.
    pub noticed: Vec<u32>,
    /// In sdbox, whose index alone knows them: what it holds, with the flags.
    pub flags: Vec<(u32, u8)>,
    /// In sdbox: since when the index has no past, as where the server began it anew; Unix seconds, 0 where it has one. And
    /// the messages whose flags it took over then and that nobody has changed since: dsync believes a partner before it.
    pub reset: u32,
    pub unsaid: Vec<u32>,
    /// In mdbox: the messages of the storage that the mailbox shows, and the UIDVALIDITY of the map that numbers them.
    pub shown: Vec<Shown>,
    pub map_validity: u32,
    /// Keywords by the indexes, with the UIDs of the messages that have them.
    pub marked: Vec<(Vec<u8>, Vec<u32>)>,
    /// Only beside mbox files, where no list of UIDs stands.
    pub recalled: Box<Recalled>,
    /// Only in an account's own folder: the log of what was done with mailboxes, and those that were deleted, each by its
    /// GUID or by the hash of its name, with the time. Unix seconds.
    pub mailbox_log: Whole,
    pub deleted: Vec<([u8; 16], u32)>,
    /// All of these files that are there.
    pub files: Vec<(Vec<u8>, Stat)>,
}

impl Ledger {
    /// Takes over what lists and tables say that are kept elsewhere.
    pub fn take_lists(&mut self, control: Ledger) {
        let Ledger { list, uid_validity, next_uid, mailbox_guid, head, lines, keywords, letters, .. } = control;
        *self = Ledger {
            list,
            uid_validity,
            next_uid,
            mailbox_guid,
            head,
            lines,
            keywords,
            letters,
            ..std::mem::take(self)
        };
    }

    /// Takes over what indexes and logs say that are kept elsewhere.
    pub fn take_indexes(&mut self, other: Ledger) {
        let Ledger { index, begun, highest_modseq, log_seq, indexed, held, noticed, marked, .. } = other;
        let next_uid = self.next_uid.max(other.next_uid);
        let uid_validity = self.uid_validity.or(other.uid_validity);
        *self = Ledger {
            index,
            begun,
            highest_modseq,
            log_seq,
            indexed,
            held,
            noticed,
            marked,
            next_uid,
            uid_validity,
            ..std::mem::take(self)
        };
    }
}

/// A message of the storage that an mdbox mailbox shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shown {
    pub uid: u32,
    /// In the map; 0 where the index does not say.
    pub number: u32,
    /// When it was put there. Seconds since 1970.
    pub saved: u32,
    pub guid: [u8; 16],
}

/// Flags of the messages that indexes hold, and of those that the server found gone without having been asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recalled {
    /// All of them, ascending.
    pub uids: Vec<u32>,
    /// Each flag as the indexes have it, with the UIDs of the messages that bear it.
    pub flags: Vec<(u8, Vec<u32>)>,
    pub keywords: Vec<(Vec<u8>, Vec<u32>)>,
}

/// A message in a list of UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub uid: u32,
    /// Of the name that the message goes by, which is that of its file unless the list gives it another (`G`).
    pub key: Key,
    /// The file, without flags.
    pub file: Vec<u8>,
    /// What else the line says: a letter and its value.
    pub fields: Vec<(u8, Vec<u8>)>,
}

impl Line {
    /// What clients and partners know the message by.
    pub fn guid(&self) -> &[u8] {
        self.fields.iter().find(|(letter, _)| *letter == b'G').map_or(&self.file, |(_, guid)| guid)
    }
}

/// Names of files without flags, with the names that their messages go by, where those differ.
pub type Guids = Vec<(Vec<u8>, Vec<u8>)>;
