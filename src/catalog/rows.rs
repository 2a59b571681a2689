//! Values between rows and types. A catalog may be edited or rot: every value is checked on reading,
//! and what does not fit is named by row and column, never guessed and never a panic.
//!
//! May not run statements.

use super::error::{Fail, Inner};
use super::types::State;
use crate::model::event::Subject;
use crate::model::message::Xattr;
use crate::model::wire::Place;
use crate::model::{Assurance, Attrs, Digest, Encoding, Key, Missing, RelPath, Stamp, Verdict, path};
use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};

/// A value that mailmend never writes.
#[derive(Debug)]
pub(super) struct Bad {
    column: &'static str,
    why: String,
}

impl Bad {
    fn new(column: &'static str, why: impl Into<String>) -> Bad {
        Bad { column, why: why.into() }
    }

    /// The error, with the row's name.
    pub fn of(self, row: impl std::fmt::Display) -> Fail {
        Fail::bad_row(format!("{row}: {} {}", self.column, self.why))
    }
}

type Cell<T> = Result<T, Bad>;

/// Reads the columns of one row from left to right, in the order of the statement.
pub(super) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Cells<'r, 's> {
    pub fn new(row: &'r Row<'s>) -> Self {
        Cells { row, next: 0 }
    }

    fn value(&mut self, column: &'static str) -> Cell<ValueRef<'r>> {
        let at = self.next;
        self.next += 1;
        self.row.get_ref(at).map_err(|error| Bad::new(column, error.to_string()))
    }

    pub fn maybe_int(&mut self, column: &'static str) -> Cell<Option<i64>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(value) => Ok(Some(value)),
            _ => Err(Bad::new(column, "is not a whole number")),
        }
    }

    pub fn int(&mut self, column: &'static str) -> Cell<i64> {
        self.maybe_int(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    pub fn count(&mut self, column: &'static str) -> Cell<u64> {
        let value = self.int(column)?;
        u64::try_from(value).map_err(|_| Bad::new(column, format!("is {value}")))
    }

    pub fn small(&mut self, column: &'static str) -> Cell<u32> {
        self.maybe_small(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    pub fn maybe_small(&mut self, column: &'static str) -> Cell<Option<u32>> {
        let value = self.maybe_int(column)?;
        value.map(|v| u32::try_from(v).map_err(|_| Bad::new(column, format!("is {v}")))).transpose()
    }

    /// An exit status.
    pub fn maybe_exit(&mut self, column: &'static str) -> Cell<Option<u8>> {
        let value = self.maybe_int(column)?;
        value.map(|v| u8::try_from(v).map_err(|_| Bad::new(column, format!("is {v}")))).transpose()
    }

    pub fn maybe_flag(&mut self, column: &'static str) -> Cell<Option<bool>> {
        match self.maybe_int(column)? {
            None => Ok(None),
            Some(0) => Ok(Some(false)),
            Some(1) => Ok(Some(true)),
            Some(value) => Err(Bad::new(column, format!("is {value}, not 0 or 1"))),
        }
    }

    pub fn flag(&mut self, column: &'static str) -> Cell<bool> {
        self.maybe_flag(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    pub fn maybe_text(&mut self, column: &'static str) -> Cell<Option<String>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(Bad::new(column, "is not UTF-8")),
            },
            _ => Err(Bad::new(column, "is not text")),
        }
    }

    pub fn text(&mut self, column: &'static str) -> Cell<String> {
        self.maybe_text(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    fn maybe_blob(&mut self, column: &'static str) -> Cell<Option<&'r [u8]>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(Bad::new(column, "is not a blob")),
        }
    }

    pub fn blob(&mut self, column: &'static str) -> Cell<&'r [u8]> {
        self.maybe_blob(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    pub fn maybe_digest(&mut self, column: &'static str) -> Cell<Option<Digest>> {
        let Some(bytes) = self.maybe_blob(column)? else { return Ok(None) };
        let bytes =
            bytes.try_into().map_err(|_| Bad::new(column, format!("has {} bytes instead of 32", bytes.len())))?;
        Ok(Some(Digest(bytes)))
    }

    pub fn digest(&mut self, column: &'static str) -> Cell<Digest> {
        self.maybe_digest(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    pub fn path(&mut self, column: &'static str) -> Cell<RelPath> {
        RelPath::new(self.blob(column)?).map_err(|bad| Bad::new(column, format!("is no path below the store: {bad}")))
    }

    pub fn maybe_key(&mut self, column: &'static str) -> Cell<Option<Key>> {
        let Some(bytes) = self.maybe_blob(column)? else { return Ok(None) };
        if is_key(bytes) { Ok(Some(Key(bytes.to_vec()))) } else { Err(Bad::new(column, "is no key")) }
    }

    pub fn key(&mut self, column: &'static str) -> Cell<Key> {
        self.maybe_key(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    /// A file name: it will become the last component of a path.
    pub fn file_name(&mut self, column: &'static str) -> Cell<Vec<u8>> {
        let bytes = self.blob(column)?;
        if is_file_name(bytes) { Ok(bytes.to_vec()) } else { Err(Bad::new(column, "is no file name")) }
    }

    /// Two columns: seconds and nanoseconds.
    pub fn maybe_stamp(&mut self, column: &'static str) -> Cell<Option<Stamp>> {
        match (self.maybe_int(column)?, self.maybe_int(column)?) {
            (None, None) => Ok(None),
            (Some(sec), Some(nsec)) => match u32::try_from(nsec) {
                Ok(nsec) if nsec < 1_000_000_000 => Ok(Some(Stamp { sec, nsec })),
                _ => Err(Bad::new(column, format!("has {nsec} nanoseconds"))),
            },
            _ => Err(Bad::new(column, "is half a time")),
        }
    }

    pub fn stamp(&mut self, column: &'static str) -> Cell<Stamp> {
        self.maybe_stamp(column)?.ok_or_else(|| Bad::new(column, "is empty"))
    }

    /// uid, gid, mode, mtime, mtime_ns, xattrs.
    pub fn attrs(&mut self) -> Cell<Attrs> {
        let (uid, gid, mode) = (self.small("uid")?, self.small("gid")?, self.small("mode")?);
        if mode > 0o7777 {
            return Err(Bad::new("mode", format!("is {mode:o}")));
        }
        let mtime = self.stamp("mtime")?;
        let xattrs = match self.maybe_text("xattrs")? {
            None => Vec::new(),
            Some(json) => serde_json::from_str::<Vec<Xattr>>(&json)
                .map_err(|error| Bad::new("xattrs", format!("cannot be read: {error}")))?,
        };
        Ok(Attrs { uid, gid, mode, mtime, xattrs })
    }

    pub fn place(&mut self, column: &'static str) -> Cell<Place> {
        match self.int(column)? {
            0 => Ok(Place::New),
            1 => Ok(Place::Cur),
            other => Err(Bad::new(column, format!("is {other}"))),
        }
    }

    pub fn encoding(&mut self, column: &'static str) -> Cell<Encoding> {
        let code = self.int(column)?;
        let found = usize::try_from(code).ok().and_then(|at| ENCODINGS.get(at));
        found.copied().ok_or_else(|| Bad::new(column, format!("is {code}")))
    }

    pub fn state(&mut self, column: &'static str) -> Cell<State> {
        let code = self.int(column)?;
        let found = usize::try_from(code).ok().and_then(|at| STATES.get(at));
        found.copied().ok_or_else(|| Bad::new(column, format!("is {code}")))
    }

    pub fn subject(&mut self, column: &'static str) -> Cell<Subject> {
        const ALL: [Subject; 4] = [Subject::Message, Subject::Stray, Subject::Companion, Subject::Folder];
        let name = self.text(column)?;
        let found = ALL.into_iter().find(|s| s.name() == name);
        found.ok_or_else(|| Bad::new(column, format!("is '{}'", path::escape(name.as_bytes()))))
    }

    /// Two columns: the verdict, and why it is missing or how surely it is intact.
    pub fn verdict(&mut self) -> Cell<Verdict> {
        let (name, reason) = (self.text("verdict")?, self.maybe_text("reason")?);
        let found = verdicts().find(|v| v.name() == name && reason_of(*v) == reason.as_deref());
        found.ok_or_else(|| Bad::new("verdict", format!("is '{}'", path::escape(name.as_bytes()))))
    }
}

/// Codes of `message.encoding`, by position.
const ENCODINGS: [Encoding; 9] = [
    Encoding::Plain,
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Bzip2,
    Encoding::Xz,
    Encoding::Lz4,
    Encoding::Crypted,
    Encoding::Lz4Dovecot,
    Encoding::Sdbox,
];

/// Codes of `message.state`, by position. 1 to 4 are open harm (the index `message_harmed`).
const STATES: [State; 8] = [
    State::Present,
    State::Damaged,
    State::Unreadable,
    State::Missing(Missing::Lost),
    State::Missing(Missing::Undecided),
    State::Missing(Missing::Deleted),
    State::Missing(Missing::Moved),
    State::Missing(Missing::PresumedDeleted),
];

pub(super) fn encoding_code(encoding: Encoding) -> i64 {
    match encoding {
        Encoding::Plain => 0,
        Encoding::Gzip => 1,
        Encoding::Zstd => 2,
        Encoding::Bzip2 => 3,
        Encoding::Xz => 4,
        Encoding::Lz4 => 5,
        Encoding::Crypted => 6,
        Encoding::Lz4Dovecot => 7,
        Encoding::Sdbox => 8,
    }
}

pub(super) fn state_code(state: State) -> i64 {
    match state {
        State::Present => 0,
        State::Damaged => 1,
        State::Unreadable => 2,
        State::Missing(Missing::Lost) => 3,
        State::Missing(Missing::Undecided) => 4,
        State::Missing(Missing::Deleted) => 5,
        State::Missing(Missing::Moved) => 6,
        State::Missing(Missing::PresumedDeleted) => 7,
    }
}

pub(super) fn place_code(place: Place) -> Inner<i64> {
    match place {
        Place::New => Ok(0),
        Place::Cur => Ok(1),
        Place::Tmp | Place::Top => Err(Fail::misuse("messages lie in new or cur only")),
    }
}

/// The second column of a verdict.
pub(super) fn reason_of(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Missing(missing) => Some(missing.name()),
        Verdict::Intact(assurance) => Some(assurance.name()),
        _ => None,
    }
}

fn verdicts() -> impl Iterator<Item = Verdict> {
    const MISSING: [Missing; 5] =
        [Missing::Lost, Missing::Undecided, Missing::Deleted, Missing::Moved, Missing::PresumedDeleted];
    [Verdict::Suspect, Verdict::Damaged, Verdict::Unreadable, Verdict::Undetermined]
        .into_iter()
        .chain(MISSING.into_iter().map(Verdict::Missing))
        .chain(Assurance::ALL.into_iter().map(Verdict::Intact))
}

/// Keys become no path by themselves, but names built from them do.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    bytes.len() <= 255 && !bytes.contains(&0) && !bytes.contains(&b'/')
}

pub(super) fn is_file_name(bytes: &[u8]) -> bool {
    RelPath::root().join(bytes).is_ok()
}

/// SQLite's numbers are signed.
pub(super) fn number(value: u64) -> Inner<i64> {
    i64::try_from(value).map_err(|_| Fail::misuse(format!("{value} is no size")))
}

/// The two columns of a time.
pub(super) fn stamp_values(stamp: Option<Stamp>) -> [Value; 2] {
    match stamp {
        Some(Stamp { sec, nsec }) => [Value::Integer(sec), Value::Integer(nsec.into())],
        None => [Value::Null, Value::Null],
    }
}

/// The column of extended attributes: JSON, or nothing where there are none.
pub(super) fn xattrs_text(xattrs: &[Xattr]) -> Inner<Option<String>> {
    if xattrs.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(xattrs).map(Some).map_err(|error| Fail::misuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positions() {
        for (at, encoding) in ENCODINGS.into_iter().enumerate() {
            assert_eq!(encoding_code(encoding), at as i64);
        }
        for (at, state) in STATES.into_iter().enumerate() {
            assert_eq!(state_code(state), at as i64);
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        assert!(is_file_name(b"1.2.host:2,S") && is_key(b"") && !is_key(b"../x"));
    }
}
