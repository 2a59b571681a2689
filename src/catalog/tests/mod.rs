//! Tests of the catalog, with what they share.

mod edited;
mod files;
mod full;
mod keep;
mod laws;
mod lines;
mod manual;
mod round_trip;
mod seals;
mod speed;

use super::*;
use crate::model::message::Xattr;
use crate::model::wire::Place;
use crate::model::{Attrs, Digest, Encoding, Envelope, Key, RelPath, Stamp};

struct Home {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/catalog.db");
    Home { _dir: dir, path }
}

fn at(sec: i64) -> Stamp {
    Stamp { sec, nsec: 5 }
}

fn dir(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn key(name: &str) -> Key {
    Key(name.as_bytes().to_vec())
}

/// A message with every field filled.
fn message(name: &str, content: &str, seen: Stamp) -> MessageRow {
    MessageRow {
        key: key(name),
        place: Place::Cur,
        name: format!("{name},S=12:2,S\u{fffd}").into_bytes(),
        digest: Some(Digest::of(content.as_bytes())),
        stored: Some(Digest::of(b"stored")),
        canonical: Some(Digest::of(b"canonical")),
        length: content.len() as u64,
        size: 12,
        encoding: Encoding::Zstd,
        attrs: Attrs {
            uid: 5000,
            gid: u32::MAX,
            mode: 0o600,
            mtime: Stamp { sec: -7, nsec: 999_999_999 },
            xattrs: vec![Xattr { name: b"user.x".to_vec(), value: vec![0, 255, b'%'] }],
        },
        envelope: Some(Envelope {
            message_id: Some("<a@b>".into()),
            from: Some("Ann".into()),
            date: Some(-1),
            subject: Some("\u{1b}[31m".into()),
        }),
        first_seen: seen,
        last_seen: seen,
        verified: Some(seen),
        state: State::Present,
        accepted: false,
        suspect: false,
    }
}

fn update(listed: Stamp) -> MailboxUpdate {
    MailboxUpdate {
        account: dir("example.org/ann"),
        account_name: "ann@example.org".into(),
        dir: dir("example.org/ann/Maildir/.Sent"),
        folder: Some(Folder { uid: 5000, gid: 5000, mode: 0o2700 }),
        dir_times: Some(DirTimes { new_mtime: at(1), new_ctime: at(2), cur_mtime: at(3), cur_ctime: at(4) }),
        listed,
        complete: true,
        verified: Some(listed),
        gone: false,
        marker: true,
    }
}

impl Catalog {
    fn look(&mut self, store: StoreId, update: &MailboxUpdate, changes: Vec<MessageChange>) -> Result<MailboxId> {
        self.record_mailbox(store, update, &mut changes.into_iter())
    }

    fn all(&self, mailbox: MailboxId, which: Which) -> Vec<MessageRow> {
        let mut rows = Vec::new();
        self.messages(mailbox, which, &mut |row| rows.push(row.unwrap())).unwrap();
        rows
    }

    fn one(&self, mailbox: MailboxId, name: &str) -> MessageRow {
        self.message(mailbox, &key(name)).unwrap().unwrap()
    }
}

fn seen(name: &str, content: &str, when: Stamp) -> MessageChange {
    MessageChange::Seen(message(name, content, when))
}

/// A catalog with one mailbox of three messages, all verified at 100.
fn three() -> (Home, Catalog, StoreId, MailboxId) {
    let home = home();
    let mut catalog = Catalog::open(&home.path).unwrap();
    let store = catalog.store(b"/var/vmail", at(1)).unwrap();
    let changes = ["a", "b", "c"].map(|name| seen(name, name, at(100)));
    let mailbox = catalog.look(store, &update(at(100)), changes.into()).unwrap();
    (home, catalog, store, mailbox)
}

fn by(sec: i64) -> Acceptance<'static> {
    Acceptance { who: "root", at: at(sec), why: "disk is gone" }
}
