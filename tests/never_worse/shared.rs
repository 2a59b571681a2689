//! The account of every trial whose mail is in mdbox: real indexes, and two files of a storage.

use crate::kit;
use mailmend::drill::truth::Snapshot;
use mailmend::model::RelPath;
use mailmend::store::dovecot::extras::Files;
use mailmend::store::mdbox::map::Index;
use std::fs;
use std::path::{Path, PathBuf};

const MAP: &[u8] = include_bytes!("../../testdata/mdbox/map.log");
const INBOX: &[u8] = include_bytes!("../../testdata/mdbox/inbox.log");
const FIRST: &[u8] = include_bytes!("../../testdata/mdbox/m.1");

/// Where messages lie in both files, and how long each is, by the map.
const LINE: usize = 16;
const EACH: usize = 657;

fn storage(store: &Path, name: &str) -> PathBuf {
    store.join("fay/mdbox/storage").join(name)
}

/// The two messages that the map has in the second file, like the last one in the first.
fn second() -> Vec<u8> {
    let shown = Index::read(&Files { index: None, logs: vec![INBOX.to_vec()] }).shown;
    let mut file = FIRST[..LINE].to_vec();
    for shown in shown.iter().filter(|shown| shown.uid > 6) {
        let mut message = FIRST[FIRST.len() - EACH..].to_vec();
        let line = memchr::memmem::rfind(&message, b"\nG").expect("a GUID") + 2;
        let guid: String = shown.guid.expect("a GUID").iter().map(|byte| format!("{byte:02x}")).collect();
        message[line..line + 32].copy_from_slice(guid.as_bytes());
        file.extend(message);
    }
    assert_eq!(file.len(), LINE + 2 * EACH);
    file
}

pub fn fill(store: &Path) {
    let folder = store.join("fay/mdbox/mailboxes/INBOX/dbox-Mails");
    [&folder, &storage(store, "")].iter().for_each(|dir| fs::create_dir_all(dir).expect("a folder"));
    kit::put(&folder.join("dovecot.index.log"), INBOX);
    kit::put(&storage(store, "dovecot.map.index.log"), MAP);
    kit::put(&storage(store, "m.1"), FIRST);
    kit::put(&storage(store, "m.2"), &second());
}

/// A bit in the body of one message; and the other file ends within its first.
pub fn break_it(store: &Path, silently: &dyn Fn(&Path, &[u8])) {
    let mut first = FIRST.to_vec();
    first[LINE + EACH + 400] ^= 4;
    silently(&storage(store, "m.1"), &first);
    silently(&storage(store, "m.2"), &second()[..LINE + EACH / 2]);
}

/// Insists that each file is whole: as it was, or as it has to be.
pub fn assert_old_or_new(now: &Snapshot, either: [&Snapshot; 2], at: &str) {
    for file in ["m.1", "m.2"] {
        let path = RelPath::new(format!("fay/mdbox/storage/{file}").as_bytes()).expect("a path");
        let digest = |tree: &Snapshot| tree.get(&path).map(|entry| entry.digest);
        let found = digest(now);
        assert!(found.is_some() && either.iter().any(|tree| digest(tree) == found), "{at}: {path} is neither");
    }
}
