//! How a copy in one format becomes what the server of another would have stored.

use serde::{Deserialize, Serialize};

/// What is changed in a copy's bytes on the way. By default nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Form {
    pub ends: Ends,
    /// Leave out the header fields that mbox software rewrites.
    pub bare: bool,
    /// Put a frame of sdbox around it.
    pub frame: Option<Marks>,
}

/// Line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    #[default]
    Kept,
    Lf,
    Crlf,
}

/// What the frame around a message says of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marks {
    /// As its server keeps it: 32 hexadecimal digits, or the name that it had in a Maildir.
    pub guid: String,
    /// Unix seconds.
    pub received: i64,
}

impl Form {
    pub fn is_kept(&self) -> bool {
        *self == Form::default()
    }

    /// Whether the message itself stays as it is.
    pub fn keeps_content(&self) -> bool {
        self.ends == Ends::Kept && !self.bare
    }
}
