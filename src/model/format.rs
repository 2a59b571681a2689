//! The formats in which mail is kept.

use serde::{Deserialize, Serialize};

/// How a mailbox keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A file for each message in `cur` and `new`.
    #[default]
    Maildir,
    /// Dovecot's single-dbox: `dbox-Mails/u.UID`, each message in a frame.
    Sdbox,
    /// A file for each message, named by a plain number.
    Mh,
    /// A plain folder of `.eml` files.
    Eml,
    /// One file, each message behind a line that begins with "From ".
    Mbox,
    /// Dovecot's multi-dbox: the messages of all mailboxes of an account in `storage/m.N`, each in a frame.
    Mdbox,
}

impl Format {
    pub const ALL: [Format; 6] = [Format::Maildir, Format::Sdbox, Format::Mh, Format::Eml, Format::Mbox, Format::Mdbox];

    /// Whether messages lie in files with others.
    pub fn is_packed(self) -> bool {
        matches!(self, Format::Mbox | Format::Mdbox)
    }

    /// Whether the indexes of Dovecot alone know what is in a mailbox.
    pub fn is_dbox(self) -> bool {
        matches!(self, Format::Sdbox | Format::Mdbox)
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Maildir => "maildir",
            Format::Sdbox => "sdbox",
            Format::Mh => "mh",
            Format::Eml => "eml",
            Format::Mbox => "mbox",
            Format::Mdbox => "mdbox",
        }
    }
}
