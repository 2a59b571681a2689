//! Walks a tree for accounts and mailboxes. Lists folders; opens messages only where their names could be anybody's (MH),
//! for their first bytes; follows no symbolic link.

use super::maildir::{QUARANTINE, SUBFOLDERS, companion};
use super::{eml, mbox, mdbox, mh, sdbox};
use crate::model::limits::DEPTH_MAX;
use crate::model::wire::{FoundMailbox, Trouble};
use crate::model::{Format, RelPath, container};
use crate::sys::attr::fstat;
use crate::sys::dir::{Dir, Root};
use crate::sys::fs::Kind;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// What the walk could not look into, beside the mailboxes that it found.
#[derive(Debug, Default)]
pub struct Walked {
    pub directories: u64,
    pub troubles: Vec<Trouble>,
    pub symlinks: Vec<RelPath>,
}

/// The operation of a trouble that only says: mail of another format lies here.
pub const FOREIGN: &str = "read";

/// Names of our own folders and the file system's, which hold no mail. Users can give them to mailboxes too.
pub(super) const RESERVED: [&[u8]; 5] = [b"lost+found", b".snapshot", b".zfs", b".mailmend", QUARANTINE.as_bytes()];

/// A folder still to be looked into.
struct Visit {
    path: RelPath,
    account: Option<RelPath>,
    /// The folder where the account of the mbox files begins that lie here.
    files: Option<RelPath>,
    depth: usize,
    /// The format of an account that has all its mailboxes in one folder, where this lies below it.
    dbox: Option<Format>,
    /// Below a folder of MH: files named by numbers are messages, whatever is left of them.
    in_mh: bool,
}

/// What one folder holds, as far as discovery cares.
#[derive(Default)]
struct Folder {
    children: Vec<Vec<u8>>,
    /// Files that may be mailboxes.
    files: Vec<Vec<u8>>,
    cur: bool,
    new: bool,
    tmp: bool,
    /// A server keeps an account's or mailbox's own files here.
    server_files: bool,
    uidlist: bool,
    /// The format of the inbox in it.
    inbox_child: Option<Format>,
    /// `mailboxes`, with dbox mailboxes in it; and the storage that these share in mdbox.
    dbox_home: bool,
    storage: bool,
    /// The mark of another format's mailbox or storage.
    foreign: Option<&'static str>,
    /// Files named by plain numbers, the first few; the mark of MH; files that end in `.eml`.
    numbered: Vec<Vec<u8>>,
    sequences: bool,
    eml: bool,
}

impl Folder {
    /// The format of the account that begins here, where it is one of dbox.
    fn dbox(&self) -> Option<Format> {
        self.dbox_home.then_some(if self.storage { Format::Mdbox } else { Format::Sdbox })
    }
}

/// Walks `start` below `root`, depth first. `found` is called for each mailbox; `tick` before each folder.
pub fn discover(
    root: &Root,
    root_number: u32,
    start: &RelPath,
    found: &mut dyn FnMut(FoundMailbox),
    tick: &dyn Fn(),
) -> Walked {
    let mut walked = Walked::default();
    let mut unread = Vec::new();
    if root.is_file() {
        single_file(root, found);
        return walked;
    }
    let first = Visit { path: start.clone(), account: None, files: None, depth: 0, dbox: None, in_mh: false };
    let mut stack = vec![first];
    while let Some(Visit { path, account, files, depth, dbox, in_mh }) = stack.pop() {
        tick();
        walked.directories += 1;
        let mut fail = |operation: &str, error: &io::Error, detail: &str| {
            walked.troubles.push(Trouble {
                root: root_number,
                path: path.as_bytes().to_vec(),
                operation: operation.to_owned(),
                errno: error.raw_os_error(),
                detail: if detail.is_empty() { error.to_string() } else { detail.to_owned() },
            });
        };
        if depth > DEPTH_MAX {
            fail("walk", &io::Error::from(io::ErrorKind::InvalidInput), "folders nested too deep");
            continue;
        }
        let dir = match root.open_dir(&path) {
            Ok(dir) => dir,
            Err(error) => {
                fail("open folder", &error, "");
                continue;
            }
        };
        let mut links = Vec::new();
        let (mut folder, ended) = look(&dir, account.is_some(), &mut links);
        if let Err(error) = ended {
            fail("list folder", &error, "");
        }
        let is_mailbox = is_mailbox(&folder);
        let dbox = dbox.or(folder.dbox());
        if let (Some(format), Some(DBOX)) = (dbox, folder.foreign) {
            folder.foreign = None;
            folder.children.retain(|child| child != sdbox::MAILS);
            if let Err(error) = dbox_mails(root, &path, account.as_ref(), format, found) {
                fail("open folder", &error, "");
            }
        }
        if folder.dbox() == Some(Format::Mdbox) {
            folder.foreign = None;
            folder.children.retain(|child| child != container::STORAGE);
        }
        if !is_mailbox && depth > 0 && RESERVED.contains(&path.name()) {
            continue;
        }
        walked.symlinks.extend(links.iter().filter_map(|name| path.join(name).ok()));
        if let Some(format) = folder.foreign.filter(|_| !is_mailbox) {
            let known = format!("mail in the format {format} lies here: known, not supported yet");
            fail(FOREIGN, &io::Error::from(io::ErrorKind::Unsupported), &known);
        }
        let in_mh = in_mh || folder.inbox_child == Some(Format::Mh);
        let mut format = if is_mailbox { Some(Format::Maildir) } else { plain(&dir, &folder, in_mh) };
        if format.is_some_and(|format| format != Format::Maildir) && SUBFOLDERS.contains(&path.name()) {
            let named = "mail lies here in a folder with the name of a part of a Maildir: rename it to have it checked";
            fail(FOREIGN, &io::Error::from(io::ErrorKind::Unsupported), named);
            format = None;
        }
        let in_mh = in_mh || format == Some(Format::Mh);
        let mut files = files;
        let of_files = format.is_none() && is_unmarked(&folder);
        if account.is_none() && of_files {
            files = Files { dir: &dir, path: &path, root: root_number }.look(&folder.files, files, found, &mut unread);
        }
        // Files of the server's own say nothing of a format: beside mbox files they are of these.
        let other = format.is_some() || ((files.is_none() || !of_files) && begins(&folder));
        let account = account.or(other.then(|| path.clone()));
        if let (Some(format), Some(account)) = (format, &account) {
            match dir.stat_self() {
                Ok(stat) => found(FoundMailbox { dir: path.clone(), account: account.clone(), stat, format }),
                Err(error) => fail("stat folder", &error, ""),
            }
        }
        let inside_mailbox = is_mailbox;
        for child in folder.children.iter().rev() {
            if inside_mailbox && SUBFOLDERS.contains(&&child[..]) {
                continue;
            }
            if let Ok(child) = path.join(child) {
                let (account, files) = (account.clone(), files.clone());
                stack.push(Visit { path: child, account, files, depth: depth + 1, dbox, in_mh });
            }
        }
    }
    walked.troubles.extend(unread);
    walked
}

/// The messages of the mailbox `path` of a dbox format, if it is an account's.
fn dbox_mails(
    root: &Root,
    path: &RelPath,
    account: Option<&RelPath>,
    format: Format,
    found: &mut dyn FnMut(FoundMailbox),
) -> io::Result<()> {
    let folder = path.join(sdbox::MAILS).unwrap_or_default();
    let stat = root.open_dir(&folder)?.stat_self()?;
    if let Some(account) = account {
        let below = folder.strip_prefix(account).map_or(0, |rel| rel.components().count());
        let shared = format == Format::Mdbox && below > 0;
        let dir = if shared { container::mailbox_beside(&folder, below) } else { folder };
        found(FoundMailbox { dir, account: account.clone(), stat, format });
    }
    Ok(())
}

/// What the walk sees in one folder.
#[derive(Debug, Default)]
pub struct Glance {
    /// Of the messages in it; of an mdbox the folder is that of the storage.
    pub mailbox: Option<Format>,
    pub begins_account: bool,
    /// Folders in it in which there may be more, sorted.
    pub children: Vec<Vec<u8>>,
    pub symlinks: u64,
}

/// One step of the walk, for whoever goes in an order of his own. What was seen before an error is kept.
pub fn glance(dir: &Dir, name: &[u8], in_account: bool) -> (Glance, io::Result<()>) {
    let mut links = Vec::new();
    let (mut folder, ended) = look(dir, in_account, &mut links);
    let mailbox = is_mailbox(&folder);
    if !mailbox && RESERVED.contains(&name) {
        return (Glance::default(), ended);
    }
    folder.children.retain(|child| !(mailbox && SUBFOLDERS.contains(&&child[..])));
    let plain = if mailbox || begins(&folder) { None } else { plain(dir, &folder, false) };
    let begins_account = !in_account && (begins(&folder) || plain.is_some());
    let mailbox = match name {
        _ if mailbox => Some(Format::Maildir),
        sdbox::MAILS if in_account => Some(Format::Sdbox),
        container::STORAGE if in_account => Some(Format::Mdbox),
        _ => plain,
    };
    (Glance { mailbox, begins_account, children: folder.children, symlinks: links.len() as u64 }, ended)
}

/// Whether the walk would see an account in this folder, were it not inside one already.
///
/// # Errors
/// Where the folder cannot be listed to its end.
pub fn begins_account(dir: &Dir) -> io::Result<bool> {
    let (folder, ended) = look(dir, false, &mut Vec::new());
    ended.map(|()| begins(&folder) || plain(dir, &folder, false).is_some())
}

/// Whether nothing in a folder is the mark of a format.
fn is_unmarked(folder: &Folder) -> bool {
    folder.inbox_child.is_none() && !folder.dbox_home && folder.foreign.is_none()
}

fn begins(folder: &Folder) -> bool {
    is_mailbox(folder) || folder.inbox_child.is_some() || folder.server_files || folder.dbox_home
}

fn is_mailbox(folder: &Folder) -> bool {
    folder.cur || (folder.new && folder.tmp) || folder.uidlist
}

/// Files of a folder that are opened to learn whether it holds mail, and their bytes that are read.
const OPENED: usize = 16;
const FIRST_BYTES: u64 = 4096;

/// The format of a folder whose files are plain messages. Names are enough where they end in `.eml`; numbers can be
/// anybody's, and count where the folder has the mark of MH, lies below one that has, or holds what begins as mail.
fn plain(dir: &Dir, folder: &Folder, in_mh: bool) -> Option<Format> {
    if folder.foreign.is_some() {
        return None;
    }
    if folder.sequences || (!folder.numbered.is_empty() && (in_mh || holds_mail(dir, &folder.numbered))) {
        return Some(Format::Mh);
    }
    folder.eml.then_some(Format::Eml)
}

/// Whether one of these files begins as mail. One that cannot be read is reason enough to look closer.
fn holds_mail(dir: &Dir, names: &[Vec<u8>]) -> bool {
    names.iter().any(|name| {
        let mut first_bytes = Vec::new();
        let read = dir.open_file(name).and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut first_bytes));
        match read {
            Ok(_) => mh::begins_with_header(&first_bytes),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    })
}

/// What marks a mailbox of either dbox format.
const DBOX: &str = "dbox";

/// The format whose mailboxes or storage a name marks (FORMATS.md): known, and never taken for a Maildir.
fn foreign(name: &[u8], kind: Kind) -> Option<&'static str> {
    match (name, kind) {
        (sdbox::MAILS, Kind::Directory) => Some(DBOX),
        (b"dovecot.map.index" | b"dovecot.map.index.log", Kind::File) => Some("mdbox"),
        (b"cyrus.header" | b"cyrus.index", Kind::File) => Some("Cyrus"),
        // A spool that lost its header and index still is none of MH.
        (_, Kind::File) if mh::is_cyrus(name) => Some("Cyrus"),
        _ => None,
    }
}

/// Lists one folder. What was seen before an error is kept; the error is returned beside it.
fn look(dir: &Dir, in_account: bool, links: &mut Vec<Vec<u8>>) -> (Folder, io::Result<()>) {
    let mut folder = Folder::default();
    let (mut inbox, mut mailboxes) = (None, false);
    let mut sort_in = |name: &[u8], kind: Kind| match kind {
        Kind::Directory => {
            match name {
                b"cur" => folder.cur = true,
                b"new" => folder.new = true,
                b"tmp" => folder.tmp = true,
                sdbox::MAILBOXES => mailboxes = true,
                container::STORAGE => folder.storage = true,
                // Only a server's has one spelling.
                _ if name.eq_ignore_ascii_case(b"INBOX") && inbox.as_deref() != Some(&b"INBOX"[..]) => {
                    inbox = Some(name.to_vec());
                }
                _ => {}
            }
            folder.foreign = folder.foreign.or(foreign(name, kind));
            if name == IMAP {
                return;
            }
            folder.children.push(name.to_vec());
        }
        Kind::Symlink if companion::in_home(name).is_none() && companion::in_mailbox(name).is_none() => {
            links.push(name.to_vec());
        }
        Kind::File if foreign(name, kind).is_some() => folder.foreign = foreign(name, kind),
        Kind::File => match name {
            b"dovecot-uidlist" => folder.uidlist = true,
            b"dovecot.mailbox.log" | b"dovecot-uidvalidity" | b"subscriptions" => folder.server_files = true,
            mh::SEQUENCES => folder.sequences = true,
            _ => {
                if mh::number(name).is_some() && folder.numbered.len() < OPENED {
                    folder.numbered.push(name.to_vec());
                }
                folder.eml |= eml::is_message(name);
                folder.files.push(name.to_vec());
            }
        },
        _ => {}
    };
    let ended = dir.entries(&mut |name, kind, _| {
        sort_in(name, kind);
        Ok(())
    });
    folder.inbox_child = inbox.filter(|_| !in_account).and_then(|inbox| mailbox_child(dir, &inbox));
    let (holds, remembers) = if mailboxes { holds_dbox(dir) } else { (false, false) };
    folder.dbox_home = holds;
    folder.storage |= remembers;
    folder.children.sort();
    folder.files.sort();
    (folder, ended)
}

/// Where Dovecot keeps the indexes of the mbox files beside it.
const IMAP: &[u8] = b".imap";
/// Ends of the names of files that lie beside mbox files and are none.
const BESIDE: [&[u8]; 3] = [b".msf", b".lock", b".snm"];

/// The files of one folder that belongs to no account of another format.
struct Files<'a> {
    dir: &'a Dir,
    path: &'a RelPath,
    root: u32,
}

impl Files<'_> {
    /// Tells the mboxes among them, which belong to the account that begins in the folder `account`, or here. Files of
    /// several users are a spool, in which each is an account of its own.
    fn look(
        &self,
        names: &[Vec<u8>],
        account: Option<RelPath>,
        found: &mut dyn FnMut(FoundMailbox),
        troubles: &mut Vec<Trouble>,
    ) -> Option<RelPath> {
        let mut boxes = Vec::new();
        for name in names.iter().filter(|name| !BESIDE.iter().any(|end| name.ends_with(end))) {
            let Ok(path) = self.path.join(name) else { continue };
            let opened = self.dir.open_file(name).and_then(|file| Ok((begins_as_mbox(&file)?, fstat(&file)?.1)));
            match opened {
                Ok((true, stat)) => boxes.push((path, stat)),
                Ok((false, _)) => {}
                // Whatever it is, its reader may not have it, and it may be no mail at all.
                Err(error) if matches!(error.raw_os_error(), Some(1 | 2 | 13)) => {}
                Err(error) => troubles.push(Trouble {
                    root: self.root,
                    path: path.as_bytes().to_vec(),
                    operation: "read".to_owned(),
                    errno: error.raw_os_error(),
                    detail: error.to_string(),
                }),
            }
        }
        let spool = account.is_none() && boxes.iter().any(|(_, stat)| stat.uid != boxes[0].1.uid);
        let home = account.or_else(|| (!boxes.is_empty() && !spool).then(|| self.path.clone()));
        for (path, stat) in boxes {
            let account = home.clone().unwrap_or_else(|| path.clone());
            found(FoundMailbox { dir: container::mailbox_in(&path), account, stat, format: Format::Mbox });
        }
        home
    }
}

/// A store that is one file.
fn single_file(root: &Root, found: &mut dyn FnMut(FoundMailbox)) {
    if let Ok(Some((_, stat))) = root.stat(&RelPath::root()) {
        let (dir, account) = (container::mailbox_in(&RelPath::root()), RelPath::root());
        found(FoundMailbox { dir, account, stat, format: Format::Mbox });
    }
}

/// Whether a file begins as an mbox does.
///
/// # Errors
/// Where its beginning cannot be read.
pub fn begins_as_mbox(file: &File) -> io::Result<bool> {
    let mut first = [0; mbox::from_line::LINE_MAX];
    let mut got = 0;
    while got < first.len() {
        match file.read_at(&mut first[got..], got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !first[..got].starts_with(&b"From "[..got.min(5)]) {
            return Ok(false);
        }
    }
    Ok(mbox::is_mbox(&first[..got]))
}

/// Whether a mailbox of a dbox format lies in the folder `mailboxes` below `dir`, and whether the index of one says that
/// its messages lie in a storage that mailboxes share, wherever that has gone.
fn holds_dbox(dir: &Dir) -> (bool, bool) {
    let Ok(mailboxes) = dir.open_dir(sdbox::MAILBOXES) else { return (false, false) };
    let (mut holds, mut remembers, mut asked) = (false, false, 0);
    let ended = mailboxes.entries(&mut |name, kind, _| {
        if remembers || asked >= OPENED || kind != Kind::Directory {
            return Ok(());
        }
        let Ok(inside) = mailboxes.open_dir(name).and_then(|mailbox| mailbox.open_dir(sdbox::MAILS)) else {
            return Ok(());
        };
        (holds, asked) = (true, asked + 1);
        remembers = mdbox::INDEXES.iter().any(|index| begins_with(&inside, index, mdbox::is_index));
        Ok(())
    });
    // Half of a listing is reason enough to look closer.
    (holds || ended.is_err(), remembers)
}

/// Whether the beginning of a file is such; not where it cannot be read.
fn begins_with(dir: &Dir, name: &[u8], is_such: fn(&[u8]) -> bool) -> bool {
    let mut first = Vec::new();
    let read = dir.open_file(name).and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut first));
    read.is_ok() && is_such(&first)
}

/// The format of the folder `inbox` below `dir`, if it is a mailbox: the mark of an account whose folders are all nested.
fn mailbox_child(dir: &Dir, inbox: &[u8]) -> Option<Format> {
    let child = dir.open_dir(inbox).ok()?;
    if matches!(child.stat(b"cur"), Ok(Some((Kind::Directory, _)))) {
        return (inbox == b"INBOX").then_some(Format::Maildir);
    }
    let (folder, _) = look(&child, true, &mut Vec::new());
    plain(&child, &folder, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn mailbox(base: &Path, path: &str) {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(base.join(path).join(sub)).unwrap();
        }
    }

    fn walk(base: &Path) -> (Vec<(String, String)>, Walked) {
        let root = Root::open(base).unwrap();
        let mut seen = Vec::new();
        let walked = discover(
            &root,
            0,
            &RelPath::root(),
            &mut |m| seen.push((m.account.to_string(), m.dir.to_string())),
            &|| (),
        );
        seen.sort();
        (seen, walked)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    }

    #[test]
    fn finds_accounts_at_any_depth_and_in_both_layouts() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        for path in
            ["example.org/ann/Maildir", "example.org/ann/Maildir/.Sent", "bob", "bob/Work/2024", "c/INBOX", "c/Old"]
        {
            mailbox(base, path);
        }
        fs::create_dir_all(base.join("lost+found")).unwrap();
        let (seen, walked) = walk(base);
        assert_eq!(
            seen,
            pairs(&[
                ("bob", "bob"),
                ("bob", "bob/Work/2024"),
                ("c", "c/INBOX"),
                ("c", "c/Old"),
                ("example.org/ann/Maildir", "example.org/ann/Maildir"),
                ("example.org/ann/Maildir", "example.org/ann/Maildir/.Sent"),
            ])
        );
        assert!(walked.troubles.is_empty() && walked.symlinks.is_empty());
    }

    #[test]
    fn symbolic_links_are_listed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("store"), folder.path().join("other"));
        mailbox(&outside, "eve");
        mailbox(&inside, "ann");
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink("sieve/x", inside.join("ann/.dovecot.sieve")).unwrap();
        let (seen, walked) = walk(&inside);
        assert_eq!(seen, pairs(&[("ann", "ann")]));
        assert_eq!(walked.symlinks, vec![RelPath::new(&b"link"[..]).unwrap()]);
    }

    #[test]
    fn other_formats_are_named_and_never_taken_for_a_maildir() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        mailbox(base, "ann");
        for path in ["bob/storage", "eve/INBOX/dbox-Mails", "spool/c"] {
            fs::create_dir_all(base.join(path)).unwrap();
        }
        fs::write(base.join("spool/c/cyrus.header"), "").unwrap();
        fs::write(base.join("bob/storage/dovecot.map.index"), "").unwrap();
        fs::write(base.join("ann/cyrus.header"), "planted").unwrap();
        let (seen, walked) = walk(base);
        assert_eq!(seen, pairs(&[("ann", "ann")]));
        let told: Vec<_> = walked.troubles.iter().map(|t| (String::from_utf8_lossy(&t.path), &t.detail)).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().any(|(path, detail)| path == "bob/storage" && detail.contains("mdbox")), "{told:?}");
        assert!(told.iter().any(|(path, detail)| path == "eve/INBOX" && detail.contains("dbox")), "{told:?}");
        assert!(told.iter().any(|(path, detail)| path == "spool/c" && detail.contains("Cyrus")), "{told:?}");
    }

    #[test]
    fn accounts_in_sdbox_are_found_beside_others() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        mailbox(base, "ann");
        for path in ["example.org/bob/sdbox/mailboxes/INBOX", "example.org/bob/sdbox/mailboxes/Work/2024"] {
            fs::create_dir_all(base.join(path).join("dbox-Mails")).unwrap();
        }
        let (seen, walked) = walk(base);
        let bob = "example.org/bob/sdbox";
        let (inbox, work) =
            (format!("{bob}/mailboxes/INBOX/dbox-Mails"), format!("{bob}/mailboxes/Work/2024/dbox-Mails"));
        assert_eq!(seen, pairs(&[("ann", "ann"), (bob, &inbox), (bob, &work)]));
        assert!(walked.troubles.is_empty(), "{walked:?}");
        let (alone, _) = walk(&base.join(bob));
        assert_eq!(alone.len(), 2);
        assert!(alone.iter().all(|(account, _)| account.is_empty()), "{alone:?}");
    }

    #[test]
    fn accounts_in_mdbox_are_found_with_how_far_below_them_mailboxes_lie() {
        let folder = tempfile::tempdir().unwrap();
        let bob = folder.path().join("bob/mdbox");
        for path in ["mailboxes/INBOX/dbox-Mails", "mailboxes/mailboxes/2024/dbox-Mails", "storage"] {
            fs::create_dir_all(bob.join(path)).unwrap();
        }
        fs::write(bob.join("storage/dovecot.map.index"), "").unwrap();
        let expected = [
            ("mailboxes/INBOX/dbox-Mails/:mdbox3", Format::Mdbox),
            ("mailboxes/mailboxes/2024/dbox-Mails/:mdbox4", Format::Mdbox),
        ];
        let rows = |account: &str, below: &str| {
            let row = |(dir, format): (&str, Format)| (account.to_owned(), format!("{below}{dir}"), format);
            expected.map(row).to_vec()
        };
        assert_eq!(kinds(folder.path()), rows("bob/mdbox", "bob/mdbox/"));
        assert_eq!(kinds(&bob), rows("", ""));
        assert!(walk(folder.path()).1.troubles.is_empty());
        // The storage gone: an index still tells.
        fs::remove_dir_all(bob.join("storage")).unwrap();
        assert!(kinds(&bob).iter().all(|(.., format)| *format == Format::Sdbox));
        let log = include_bytes!("../../testdata/mdbox/inbox.log");
        fs::write(bob.join("mailboxes/INBOX/dbox-Mails/dovecot.index.log"), log).unwrap();
        assert_eq!(kinds(&bob), rows("", ""));
    }

    #[test]
    fn mailboxes_named_like_our_own_folders_are_mailboxes() {
        let folder = tempfile::tempdir().unwrap();
        let names = [".mailmend", ".mailmend-lists", "mailmend.quarantine", "lost+found"];
        names.iter().for_each(|name| mailbox(folder.path(), &format!("ann/{name}")));
        mailbox(folder.path(), "ann");
        let ours = folder.path().join(".mailmend/20261122T090000Z-ab12");
        fs::create_dir_all(&ours).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join(".mailmend/link")).unwrap();
        let (seen, walked) = walk(folder.path());
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert!(walked.troubles.is_empty() && walked.symlinks.is_empty(), "{walked:?}");
    }

    fn kinds(base: &Path) -> Vec<(String, String, Format)> {
        let root = Root::open(base).unwrap();
        let mut seen = Vec::new();
        let each = &mut |m: FoundMailbox| seen.push((m.account.to_string(), m.dir.to_string(), m.format));
        discover(&root, 0, &RelPath::root(), each, &|| ());
        seen.sort();
        seen
    }

    fn file(base: &Path, path: &str, text: &str) {
        fs::create_dir_all(base.join(path).parent().unwrap()).unwrap();
        fs::write(base.join(path), text).unwrap();
    }

    #[test]
    fn plain_folders_are_known_by_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        let mail = "From: a@example.org\nDate: x\n\nhello\n";
        for path in ["ann/club/7", "ann/inbox/1", "ann/inbox/22", "bob/1", "saved/INBOX/a.eml", "saved/Sent/b.EML"] {
            file(base, path, mail);
        }
        file(base, "ann/zeroed/3", "\0\0\0\0");
        file(base, "emptied/.mh_sequences", "unseen: 1\n");
        for path in ["numbers/1", "numbers/2", "numbers/notes.txt"] {
            file(base, path, "12:30 not mail\n");
        }
        let seen = kinds(base);
        let seen: Vec<_> = seen.iter().map(|(account, dir, format)| (&account[..], &dir[..], *format)).collect();
        let expected = [
            ("ann", "ann/club", Format::Mh),
            ("ann", "ann/inbox", Format::Mh),
            ("ann", "ann/zeroed", Format::Mh),
            ("bob", "bob", Format::Mh),
            ("emptied", "emptied", Format::Mh),
            ("saved", "saved/INBOX", Format::Eml),
            ("saved", "saved/Sent", Format::Eml),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_spool_of_cyrus_is_never_read_as_mh() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        let mail = "From: a@example.org\r\nDate: x\r\n\r\nhello\r\n";
        // With its header, without it, and with files of plain numbers among the others.
        for path in ["a/1.", "a/cyrus.header", "b/1.", "b/2.", "c/1.", "c/1", "c/2"] {
            file(base, path, mail);
        }
        let (seen, walked) = walk(base);
        assert!(seen.is_empty(), "{seen:?}");
        let told = walked.troubles.iter().filter(|t| t.detail.contains("Cyrus")).count();
        assert_eq!((told, walked.troubles.len()), (3, 3), "{walked:?}");
    }

    #[test]
    fn a_plain_folder_with_the_name_of_a_part_of_a_maildir_is_told() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "ann/new/1", "From: a\nDate: b\n\n");
        let (seen, walked) = walk(folder.path());
        assert!(seen.is_empty() && walked.troubles.len() == 1, "{seen:?} {walked:?}");
    }

    #[test]
    fn one_account_is_a_store_too() {
        let folder = tempfile::tempdir().unwrap();
        mailbox(folder.path(), ".");
        mailbox(folder.path(), ".Sent");
        assert_eq!(walk(folder.path()).0, pairs(&[("", ""), ("", ".Sent")]));
    }
}
