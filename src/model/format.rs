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
}

impl Format {
    pub const ALL: [Format; 4] = [Format::Maildir, Format::Sdbox, Format::Mh, Format::Eml];

    pub fn name(self) -> &'static str {
        match self {
            Format::Maildir => "maildir",
            Format::Sdbox => "sdbox",
            Format::Mh => "mh",
            Format::Eml => "eml",
            Format::Mbox => "mbox",
        }
    }
}
