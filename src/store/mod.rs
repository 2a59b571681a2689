//! Store formats: what lies where in a tree of mail, what its names claim, how its bytes are compressed.
//! One folder or file a format, each behind [`Store`].
//!
//! May open and list (through `sys`), never write.

pub mod codec;
pub mod discover;
pub mod dovecot;
pub mod eml;
mod lz4;
pub mod maildir;
pub mod mbox;
pub mod mdbox;
pub mod mh;
pub mod sdbox;
pub mod target;

use crate::model::wire::{Entry, EntryKind, Place};
use crate::model::{Format, Key, RelPath, Stamp, container};

/// What the rest of the program asks about a format. Names are those of files, as bytes. Unless a format says otherwise,
/// its messages lie in the mailbox's own folder, under names that say no more than which message it is.
pub trait Store: Sync {
    /// Where in its mailbox a file of the mailbox's own folder belongs; `None` where messages lie in subfolders.
    fn place(&self, name: &[u8]) -> Option<Place>;
    /// The folder, below that of the mailbox, that holds what belongs to `place`; empty for the mailbox's own.
    fn folder(&self, _: Place) -> &'static [u8] {
        b""
    }
    /// Subfolders that every mailbox has.
    fn subfolders(&self) -> &'static [&'static [u8]] {
        &[]
    }
    /// What stays when a server renames the file.
    fn key(&self, name: &[u8]) -> Key {
        Key(name.to_vec())
    }
    /// Whether a key is the same message's in every mailbox of an account; numbers count anew in each.
    fn keys_travel(&self) -> bool {
        false
    }
    /// Whether a name stands for the same message for good: else another may come to bear it, here and in copies.
    fn keys_last(&self) -> bool {
        true
    }
    /// Whether no server gives a message such a name.
    fn is_odd(&self, _: &[u8]) -> bool {
        false
    }
    /// Bytes before compression, and with every line end as CRLF, as far as the name claims them.
    fn claims(&self, _: &[u8]) -> (Option<u64>, Option<u64>) {
        (None, None)
    }
    /// When the message was delivered, where the name tells.
    fn delivered(&self, _: &[u8]) -> Option<Stamp> {
        None
    }
    /// What people call the mailbox whose folder is `dir` below its account's.
    fn mailbox_name(&self, dir: &RelPath) -> String;
}

/// The format behind its name.
pub fn of(format: Format) -> &'static dyn Store {
    match format {
        Format::Maildir => &maildir::Maildir,
        Format::Sdbox => &sdbox::Sdbox,
        Format::Mh => &mh::Mh,
        Format::Eml => &eml::Eml,
        Format::Mbox => &mbox::Mbox,
        Format::Mdbox => &mdbox::Mdbox,
    }
}

/// The format of the mailbox in `dir`, where nothing is known but its path and the names of messages in it.
pub fn format_of<'a>(dir: &RelPath, names: impl IntoIterator<Item = &'a [u8]>) -> Format {
    match dir.name() {
        sdbox::MAILS => return Format::Sdbox,
        container::MBOX => return Format::Mbox,
        name if container::is_shared(name) => return Format::Mdbox,
        _ => {}
    }
    let plain = |name: &[u8]| [Format::Mh, Format::Eml].into_iter().find(|&f| of(f).place(name) == Some(Place::Cur));
    let mut formats = names.into_iter().map(plain);
    // One name that is another's speaks against both: no server gives its messages such names.
    let first = formats.next().flatten();
    first.filter(|_| formats.all(|format| format == first)).unwrap_or_default()
}

/// What people call the mailbox in `dir` below its account's folder.
pub fn mailbox_name(dir: &RelPath) -> String {
    of(format_of(dir, [])).mailbox_name(dir)
}

/// Path of a message below its mailbox folder; `None` for a name that cannot be a file.
pub fn message_path(format: Format, mailbox: &RelPath, place: Place, name: &[u8]) -> Option<RelPath> {
    let folder = match of(format).folder(place) {
        b"" => mailbox.clone(),
        sub => mailbox.join(sub).ok()?,
    };
    folder.join(name).ok()
}

/// Whether an entry is a file that a server would show as a message.
pub fn is_message(entry: &Entry) -> bool {
    matches!(entry.place, Place::New | Place::Cur) && entry.kind == EntryKind::File
}

/// The UID of a message, where its name tells.
pub fn uid(name: &[u8]) -> Option<u32> {
    sdbox::uid(name).or_else(|| mdbox::Named::parse(name)?.uid)
}

/// Format, mailbox folder and file name of a message's path, if it is one.
pub fn split_message_path(path: &RelPath) -> Option<(Format, RelPath, &[u8])> {
    if let Some((_, name)) = container::split(path) {
        return Some((Format::Mbox, path.parent()?, name));
    }
    if let Some(mailbox) = path.parent().filter(|mailbox| container::is_shared(mailbox.name())) {
        return Some((Format::Mdbox, mailbox, path.name()));
    }
    if let Some((mailbox, name)) = maildir::split_message_path(path) {
        return Some((Format::Maildir, mailbox, name));
    }
    let mailbox = path.parent()?;
    let format = format_of(&mailbox, [path.name()]);
    // Numbers are the names of our own slots too: where no mail is looked for, nothing is a message.
    let reserved = format != Format::Sdbox && mailbox.components().any(|part| discover::RESERVED.contains(&part));
    (!reserved && of(format).place(path.name()) == Some(Place::Cur)).then(|| (format, mailbox, path.name()))
}
