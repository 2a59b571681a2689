//! What a mail server's own files say of a mailbox, and of messages that are gone from it.
//!
//! Pure data.

use super::message::Stat;
use serde::{Deserialize, Serialize};

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
}

/// Names of files without flags, with the names that their messages go by, where those differ.
pub type Guids = Vec<(Vec<u8>, Vec<u8>)>;
