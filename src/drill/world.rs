//! Builds a tree of Maildir accounts in the shapes that servers leave behind.
//!
//! Writes only below the folder that it is given, which must be empty or absent.

use super::companions::Companions;
use super::corpus::Mails;
use super::disk::{self, Dress, DrillError, Result};
use super::names;
use crate::model::{RelPath, Stamp};
use fastrand::Rng;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Received dates begin here (January 2023) ...
const FIRST_DAY: i64 = 1_672_531_200;
/// ... and end here (20 February 2025), before any snapshot of the drill was taken.
const LAST_DAY: i64 = 1_740_009_600;

/// What to build.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    pub seed: u64,
    pub accounts: usize,
    /// Messages of an account, on average.
    pub messages: usize,
}

/// What was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct World {
    pub accounts: usize,
    pub mailboxes: usize,
    pub messages: usize,
    /// Bytes as stored; a message with two names counts once.
    pub bytes: u64,
}

/// How an account's folders lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `.Archive.2026` beside the INBOX.
    MaildirPlusPlus,
    /// `Archive/2026` below it.
    Nested,
}

/// Share of an account's messages in each mailbox, in percent.
const PLUS_PLUS: [(&str, usize); 4] = [("", 50), (".Sent", 20), (".Archive.2026", 20), (".Entw&APw-rfe", 10)];
const NESTED: [(&str, usize); 4] = [("", 50), ("Sent", 20), ("Archive/2026", 20), ("Archive", 10)];

/// One account being built.
struct Account<'a> {
    root: &'a Path,
    home: RelPath,
    layout: Layout,
    owner: Option<(u32, u32)>,
    compressed: bool,
}

/// Builds the store below `root`. The same options, messages and privileges give the same store.
pub fn build(root: &Path, mails: &mut Mails, options: &WorldOptions) -> Result<World> {
    disk::make_dirs(root, Dress { owner: None, mode: 0o755 })?;
    if disk::at("list", root, std::fs::read_dir(root))?.next().is_some() {
        return Err(DrillError::Setup(format!("{} is not empty", root.display())));
    }
    let may_chown = disk::stat(root)?.uid() == 0;
    let mut builder = Builder { rng: Rng::with_seed(options.seed), mails, number: 0, world: World::default() };
    for index in 0..options.accounts {
        let messages = options.messages * builder.rng.usize(70..=130) / 100;
        let account = Account::number(root, index, may_chown)?;
        builder.account(&account, messages.max(8))?;
    }
    Ok(builder.world)
}

impl<'a> Account<'a> {
    /// The shapes take turns.
    fn number(root: &'a Path, index: usize, may_chown: bool) -> Result<Account<'a>> {
        let user = format!("user{:02}", index + 1);
        let home = match index % 5 {
            2 => format!("example.net/{user}"),
            3 => format!("customers/{:04}/example.com/{user}", 1000 + index),
            _ => format!("example.org/{user}"),
        };
        let owner = may_chown.then(|| (20_000 + index as u32 % 3, 20_000));
        Ok(Account {
            root,
            home: RelPath::new(home).map_err(|e| DrillError::Setup(e.to_string()))?,
            layout: if index % 5 == 4 { Layout::Nested } else { Layout::MaildirPlusPlus },
            owner,
            compressed: index % 4 == 1,
        })
    }

    fn home(&self) -> PathBuf {
        self.root.join(self.home.as_path())
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        let maildir = self.home().join("Maildir");
        if name.is_empty() { maildir } else { maildir.join(name) }
    }

    fn folder(&self) -> Dress {
        Dress { owner: self.owner, mode: 0o700 }
    }

    fn file(&self) -> Dress {
        Dress { owner: self.owner, mode: 0o600 }
    }
}

struct Builder<'a> {
    rng: Rng,
    mails: &'a mut Mails,
    number: u64,
    world: World,
}

/// One message as it was put down.
struct Placed {
    path: PathBuf,
    in_cur: bool,
    length: u64,
    received: Stamp,
}

impl Builder<'_> {
    fn account(&mut self, account: &Account<'_>, messages: usize) -> Result<()> {
        let home = account.home();
        let domain = home.parent().unwrap_or(account.root);
        disk::make_dirs(domain, Dress { owner: None, mode: 0o755 })?;
        disk::make_dirs(&home, account.folder())?;
        let shares = if account.layout == Layout::Nested { NESTED } else { PLUS_PLUS };
        let mut companions = Companions::new(account.file(), self.rng.fork());
        let mut inbox = Vec::new();
        for (name, share) in shares {
            let placed = self.mailbox(account, name, messages * share / 100)?;
            companions.count(placed.iter().map(|p| p.length));
            if name.is_empty() {
                inbox = placed;
            } else {
                let copies =
                    if name.contains("2026") { self.copies(&inbox, &account.mailbox(name))? } else { Vec::new() };
                let plus_plus = account.layout == Layout::MaildirPlusPlus;
                companions.mailbox(&account.mailbox(name), &in_cur(placed.iter().chain(&copies)), plus_plus)?;
            }
        }
        companions.mailbox(&account.mailbox(""), &in_cur(&inbox), false)?;
        companions.account(&home, &account.mailbox(""), &shares.map(|(name, _)| name), account.folder())?;
        self.world.accounts += 1;
        Ok(())
    }

    fn mailbox(&mut self, account: &Account<'_>, name: &str, messages: usize) -> Result<Vec<Placed>> {
        let dir = account.mailbox(name);
        for sub in ["cur", "new", "tmp"] {
            disk::make_dirs(&dir.join(sub), account.folder())?;
        }
        self.world.mailboxes += 1;
        let unread = if name.is_empty() { 12 } else { 0 };
        (0..messages).map(|_| self.message(account, &dir, unread)).collect()
    }

    /// One message; `unread` in a hundred lie in `new`.
    fn message(&mut self, account: &Account<'_>, mailbox: &Path, unread: u32) -> Result<Placed> {
        let bytes = self.mails.message()?;
        let received = Stamp { sec: self.rng.i64(FIRST_DAY..LAST_DAY), nsec: self.rng.u32(..1_000_000_000) };
        let in_cur = self.rng.u32(..100) >= unread;
        let name = self.name(received, &bytes, in_cur);
        let path = mailbox.join(if in_cur { "cur" } else { "new" }).join(os(&name));
        let stored =
            if account.compressed && self.rng.u32(..100) < 60 { self.compress(&path, &bytes)? } else { bytes.clone() };
        disk::create(&path, &stored, account.file(), received)?;
        self.world.messages += 1;
        self.world.bytes += stored.len() as u64;
        Ok(Placed { path, in_cur, length: bytes.len() as u64, received })
    }

    /// A name as servers give it: most record the sizes (of the uncompressed message), some do not.
    fn name(&mut self, received: Stamp, bytes: &[u8], in_cur: bool) -> Vec<u8> {
        self.number += 1;
        let sizes = (self.rng.u32(..100) >= 15).then(|| (bytes.len() as u64, names::crlf_size(bytes)));
        let name = names::fresh(received, self.number, sizes);
        if !in_cur {
            return name;
        }
        let flags: [&[u8]; 6] = [b"", b"S", b"S", b"RS", b"FS", b"Sa"];
        names::with_flags(&name, flags[self.rng.usize(..flags.len())])
    }

    fn compress(&mut self, path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
        if self.rng.bool() {
            return disk::at("compress", path, zstd::encode_all(bytes, 3));
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        disk::at("compress", path, std::io::Write::write_all(&mut encoder, bytes).and_then(|()| encoder.finish()))
    }

    /// Copies as a server makes them inside one account: a second name of the same inode.
    fn copies(&mut self, from: &[Placed], to: &Path) -> Result<Vec<Placed>> {
        let mut copies = Vec::new();
        for original in from.iter().filter(|p| p.in_cur).step_by(20) {
            self.number += 1;
            let name = names::with_flags(&names::fresh(original.received, self.number, None), b"S");
            let path = to.join("cur").join(os(&name));
            disk::link(&original.path, &path)?;
            self.world.messages += 1;
            copies.push(Placed { path, in_cur: true, length: original.length, received: original.received });
        }
        Ok(copies)
    }
}

/// Names of those that the server has numbered.
fn in_cur<'a>(placed: impl IntoIterator<Item = &'a Placed>) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let name = |p: &Placed| p.path.file_name().map(|n| n.as_bytes().to_vec());
    placed.into_iter().filter(|p| p.in_cur).filter_map(name).collect()
}

fn os(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use super::super::truth::{Coding, Snapshot, Strictness};
    use super::*;

    fn make(root: &Path) -> (World, Snapshot) {
        let options = WorldOptions { seed: 3, accounts: 6, messages: 60 };
        let world = build(root, &mut Mails::generated(3), &options).unwrap();
        (world, Snapshot::take(root).unwrap())
    }

    #[test]
    fn the_world_is_as_counted_and_the_same_for_the_same_seed() {
        let dir = tempfile::tempdir().unwrap();
        let (world, tree) = make(&dir.path().join("a"));
        assert_eq!((world.accounts, world.mailboxes), (6, 24));
        assert_eq!(tree.messages().count(), world.messages);
        let (_, again) = make(&dir.path().join("b"));
        assert_eq!(tree.differences(&again, Strictness::Healed), vec![]);
        assert!(
            build(&dir.path().join("a"), &mut Mails::generated(3), &WorldOptions { seed: 1, accounts: 1, messages: 9 })
                .is_err()
        );
    }

    #[test]
    fn names_tell_the_sizes_and_every_shape_occurs() {
        let dir = tempfile::tempdir().unwrap();
        let (_, tree) = make(dir.path());
        let messages: Vec<_> = tree.messages().collect();
        assert!(messages.iter().any(|(_, e)| e.nlink > 1) && messages.iter().any(|(_, e)| e.coding == Coding::Zstd));
        assert!(messages.iter().any(|(_, e)| e.coding == Coding::Gzip));
        assert!(messages.iter().any(|(p, _)| p.parent().unwrap().name() == b"new"));
        assert!(messages.iter().any(|(p, _)| p.to_string().contains("Archive/2026/cur")));
        for (path, entry) in messages {
            let claim = path.name().split(|&b| b == b',').find_map(|f| f.strip_prefix(b"S="));
            let Some(claim) = claim else { continue };
            let stored = disk::read(&dir.path().join(path.as_path())).unwrap();
            let length = if entry.coding == Coding::Plain { stored.len().to_string() } else { continue };
            assert_eq!(std::str::from_utf8(claim).unwrap(), length, "{path}");
        }
    }
}
