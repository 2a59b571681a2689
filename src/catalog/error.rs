//! What can go wrong with a catalog, in kinds that a caller can act on, with the words for people.
//!
//! May not touch files or the database.

use crate::model::{Digest, Key};
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, CatalogError>;

/// A failure of the catalog: our inability to work, never damage of mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("catalog {}: {detail}", path.display())]
pub struct CatalogError {
    pub kind: Kind,
    /// The catalog's file.
    pub path: PathBuf,
    /// What failed, for people; names the row where one is to blame.
    pub detail: String,
}

/// What a caller can do about a [`CatalogError`] depends on this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The file is a damaged catalog.
    Corrupt,
    /// The file is something else.
    NotOurs,
    /// A newer mailmend wrote it; `found` is its schema version.
    TooNew { found: i64 },
    /// The disk is full; nothing of the transaction was kept.
    Full,
    /// Another process held it longer than the time-out.
    Busy,
    /// It cannot be written here, or not read without writing.
    ReadOnly,
    /// The operating system refused something else.
    Io,
    /// One row holds what mailmend never writes: somebody edited it, or the disk did.
    BadRow,
    /// A recorded digest would have been overwritten. Nothing of the transaction was kept.
    DigestConflict(Box<DigestConflict>),
    /// The call asks for what the catalog's laws forbid; a mistake of the caller.
    Misuse,
}

/// The content under a key is not the recorded one, and nothing legitimate explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestConflict {
    pub key: Key,
    pub recorded: Digest,
    pub found: Digest,
}

impl CatalogError {
    /// What an administrator can do about it.
    pub fn hint(&self) -> &'static str {
        match &self.kind {
            Kind::Corrupt => {
                "'mailmend catalog check' says what is wrong; with --repair it puts the newest sound backup in its place \
                 and keeps the damaged file"
            }
            Kind::NotOurs => "give another file with --catalog, or move this one away",
            Kind::TooNew { .. } => "use the newer mailmend that wrote it, or another file with --catalog",
            Kind::Full => "free space on the file system of the catalog, or give another place with --catalog",
            Kind::Busy => "another mailmend is writing; wait for it to end and try again",
            Kind::ReadOnly => "copy the catalog and its '-wal' file to a writable folder and name it with --catalog",
            Kind::Io => "see that the folder exists, belongs to this user and is no symbolic link",
            Kind::BadRow => "'mailmend catalog check' names every such row; --repair puts back the newest sound backup",
            Kind::DigestConflict(_) => "changed content is recorded as such, it never replaces a digest",
            Kind::Misuse => "this is a mistake in mailmend; please report it",
        }
    }
}

/// A failure before the path of the catalog is known to it.
#[derive(Debug)]
pub(super) enum Fail {
    Sql(rusqlite::Error),
    Os { what: &'static str, error: std::io::Error },
    Other(Kind, String),
}

pub(super) type Inner<T> = std::result::Result<T, Fail>;

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Fail {
        Fail::Sql(error)
    }
}

impl Fail {
    pub fn misuse(detail: impl Into<String>) -> Fail {
        Fail::Other(Kind::Misuse, detail.into())
    }

    pub fn bad_row(detail: impl Into<String>) -> Fail {
        Fail::Other(Kind::BadRow, detail.into())
    }

    pub fn corrupt(detail: impl Into<String>) -> Fail {
        Fail::Other(Kind::Corrupt, detail.into())
    }

    pub fn os(what: &'static str) -> impl FnOnce(std::io::Error) -> Fail {
        move |error| Fail::Os { what, error }
    }

    pub fn conflict(key: &Key, recorded: Digest, found: Digest) -> Fail {
        let detail = format!("message {key} is recorded as {recorded}, but was given as {found}");
        Fail::Other(Kind::DigestConflict(Box::new(DigestConflict { key: key.clone(), recorded, found })), detail)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Fail::Sql(error) => kind_of_sql(error),
            Fail::Os { error, .. } => kind_of_os(error),
            Fail::Other(kind, _) => kind.clone(),
        }
    }

    /// What failed, for people.
    pub fn words(self) -> String {
        match self {
            Fail::Sql(error) => error.to_string(),
            Fail::Os { what, error } => format!("{what}: {error}"),
            Fail::Other(_, detail) => detail,
        }
    }

    /// The public error: `path` is the catalog's file.
    pub fn at(self, path: &Path) -> CatalogError {
        CatalogError { kind: self.kind(), path: path.to_owned(), detail: self.words() }
    }
}

fn kind_of_os(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Full,
        ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
        _ => Kind::Io,
    }
}

fn kind_of_sql(error: &rusqlite::Error) -> Kind {
    use rusqlite::ErrorCode;
    let Some(code) = error.sqlite_error() else {
        // Everything else that rusqlite reports is about a value that does not fit.
        return Kind::BadRow;
    };
    if code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE {
        return Kind::Full;
    }
    match code.code {
        ErrorCode::DatabaseCorrupt => Kind::Corrupt,
        ErrorCode::NotADatabase => Kind::NotOurs,
        ErrorCode::DiskFull => Kind::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Kind::Busy,
        ErrorCode::ReadOnly => Kind::ReadOnly,
        // No row of ours meets the limits that every connection has.
        ErrorCode::TooBig | ErrorCode::OutOfMemory => Kind::BadRow,
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::ApiMisuse => Kind::Misuse,
        // Our statements are fixed and tested; one that fails to compile meets a schema that is not ours.
        ErrorCode::Unknown => Kind::Corrupt,
        _ => Kind::Io,
    }
}
