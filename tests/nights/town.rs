//! A living store with its replica: what users, servers and jobs do, and the truth of every message.
//!
//! Whatever is done is done in both. What a disk does is in `year`.

use crate::common::Mailmend;
use mailmend::drill::companions::number_in_uidlist;
use mailmend::drill::copy;
use mailmend::drill::corpus::Mails;
use mailmend::drill::disk::{self, Dress};
use mailmend::drill::names::{self, Identity};
use mailmend::drill::truth::{Coding, Snapshot};
use mailmend::drill::world::{self, WorldOptions};
use mailmend::model::{Digest, RelPath, Stamp};
use mailmend::store::dovecot::mailbox_name_guid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Messages that may leave one mailbox on a day before a program has to wonder.
const DEPARTURES: usize = 3;

pub struct Town {
    pub store: PathBuf,
    pub replica: PathBuf,
    pub rng: fastrand::Rng,
    mails: Mails,
    /// What every message holds that its owner did not delete.
    pub truth: BTreeMap<Identity, Digest>,
    /// Names of one file among several.
    linked: BTreeSet<Identity>,
    /// The mailboxes that something was done in today.
    pub busy: BTreeMap<RelPath, usize>,
    /// Messages that came or were moved today, and what they were: no night knows them by their names.
    pub moved: BTreeMap<Identity, Identity>,
    /// Messages that a repair put back, until the next night has seen them: the records still say that they are gone, so
    /// that whoever deleted them now would be asked about it.
    pub returned: BTreeSet<Identity>,
    number: u64,
    clock: i64,
}

impl Town {
    pub fn new(dir: &Path, seed: u64, accounts: usize, messages: usize) -> Town {
        let (store, replica) = (dir.join("store"), dir.join("replica"));
        let mut mails = Mails::generated(seed);
        world::build(&store, &mut mails, &WorldOptions { seed, accounts, messages }).expect("a store");
        let tree = Snapshot::take(&store).expect("a tree");
        let identity = |path: &RelPath| names::identity(path).expect("a message");
        let truth: BTreeMap<_, _> = tree.messages().map(|(path, entry)| (identity(path), entry.digest)).collect();
        let linked = tree.messages().filter(|(_, e)| e.nlink > 1).map(|(path, _)| identity(path)).collect();
        let rng = fastrand::Rng::with_seed(seed);
        let town = Town {
            store,
            replica,
            rng,
            mails,
            truth,
            linked,
            busy: BTreeMap::new(),
            moved: BTreeMap::new(),
            returned: BTreeSet::new(),
            number: 5_000_000,
            clock: 1_741_000_000,
        };
        for inbox in town.inboxes() {
            town.note(&town.store, &inbox, &[(4, b"Sent".to_vec())]);
        }
        copy::plain(&town.store, &town.replica).expect("a replica");
        town
    }

    pub fn mailboxes(&self) -> BTreeSet<RelPath> {
        self.truth.keys().map(|identity| identity.mailbox.clone()).collect()
    }

    pub fn inboxes(&self) -> Vec<RelPath> {
        self.mailboxes().into_iter().filter(|mailbox| mailbox.name() == b"Maildir").collect()
    }

    pub fn account(mailbox: &RelPath) -> RelPath {
        names::account(&mailbox.join(b"cur").expect("a path"))
    }

    pub fn within(&self, mailbox: &RelPath) -> Vec<Identity> {
        self.truth.keys().filter(|identity| identity.mailbox == *mailbox).cloned().collect()
    }

    /// Messages under one name each, in an order of chance, without those that are left alone.
    pub fn any(&mut self, spared: &dyn Fn(&Identity) -> bool) -> Vec<Identity> {
        let settled = |identity: &Identity| !self.linked.contains(identity) && !self.moved.contains_key(identity);
        let fit = |i: &&Identity| settled(i) && !self.returned.contains(*i) && !spared(i);
        let mut all: Vec<Identity> = self.truth.keys().filter(fit).cloned().collect();
        self.rng.shuffle(&mut all);
        all
    }

    /// One day of the users; `spared` are messages that the disk has hit. Returns what they deleted.
    pub fn day(&mut self, load: usize, full: usize, spared: &dyn Fn(&Identity) -> bool) -> Vec<Identity> {
        self.busy.clear();
        self.moved.clear();
        for _ in 0..load {
            self.deliver();
        }
        for identity in self.any(&|_| false).into_iter().take(load * 2) {
            self.flag(&identity);
        }
        for identity in self.any(spared).into_iter().take(load / 2) {
            self.relocate(&identity);
        }
        let deletions = if self.truth.len() > full { load + 2 } else { load / 2 };
        let mut deleted = Vec::new();
        for identity in self.any(spared).into_iter().take(deletions) {
            if self.leaves(&identity.mailbox) {
                self.delete(&identity);
                deleted.push(identity);
            }
        }
        deleted
    }

    /// Whether one more may leave a mailbox today. Counts it if it may.
    fn leaves(&mut self, mailbox: &RelPath) -> bool {
        let left = self.busy.entry(mailbox.clone()).or_default();
        *left += 1;
        *left <= DEPARTURES && self.truth.keys().filter(|identity| identity.mailbox == *mailbox).count() > 4
    }

    fn touch(&mut self, mailbox: &RelPath) {
        self.busy.entry(mailbox.clone()).or_default();
    }

    fn roots(&self) -> [PathBuf; 2] {
        [self.store.clone(), self.replica.clone()]
    }

    fn deliver(&mut self) {
        let inboxes = self.inboxes();
        let inbox = self.rng.choice(&inboxes).expect("an inbox").clone();
        let bytes = self.mails.message().expect("a message");
        let received = self.time();
        let name = self.fresh(received, Some((bytes.len() as u64, names::crlf_size(&bytes))));
        for root in self.roots() {
            let folder = root.join(inbox.as_path());
            disk::create(&folder.join("new").join(text(&name)), &bytes, dress(&folder), received).expect("mail");
        }
        self.touch(&inbox);
        let key = names::key(&name).to_vec();
        let identity = Identity { mailbox: inbox, key };
        self.truth.insert(identity.clone(), Digest::of(&bytes));
        self.moved.insert(identity.clone(), identity);
    }

    /// When the next message comes: of the town's own clock, so that the same seed gives the same year.
    fn time(&mut self) -> Stamp {
        self.clock += 977;
        Stamp { sec: self.clock, nsec: 1000 * self.rng.u32(..1_000_000) }
    }

    /// A name that no other message has.
    fn fresh(&mut self, received: Stamp, sizes: Option<(u64, u64)>) -> Vec<u8> {
        self.number += 1;
        names::fresh(received, self.number, sizes)
    }

    fn flag(&mut self, identity: &Identity) {
        let flags: [&[u8]; 5] = [b"S", b"RS", b"FS", b"ST", b"PS"];
        let flags = flags[self.rng.usize(..flags.len())];
        for root in self.roots() {
            let Some(from) = find(&root, identity) else { continue };
            let name = from.file_name().expect("a name").as_bytes().to_vec();
            let to = root.join(identity.mailbox.as_path()).join("cur").join(text(&names::with_flags(&name, flags)));
            fs::rename(&from, &to).expect("a flag");
            if from.parent() != to.parent() {
                number_in_uidlist(&root.join(identity.mailbox.as_path()), &name).ok();
            }
        }
        self.touch(&identity.mailbox);
    }

    fn relocate(&mut self, identity: &Identity) {
        let account = Town::account(&identity.mailbox);
        let others: Vec<RelPath> = self.mailboxes().into_iter().filter(|m| *m != identity.mailbox).collect();
        let others: Vec<_> = others.into_iter().filter(|m| Town::account(m) == account).collect();
        let Some(folder) = self.rng.choice(&others).cloned() else { return };
        if self.leaves(&identity.mailbox) {
            self.put_into(identity, &folder);
        }
    }

    fn put_into(&mut self, identity: &Identity, folder: &RelPath) {
        let name = names::with_flags(
            &{
                let time = self.time();
                self.fresh(time, None)
            },
            b"S",
        );
        for root in self.roots() {
            let Some(from) = find(&root, identity) else { continue };
            fs::rename(&from, root.join(folder.as_path()).join("cur").join(text(&name))).expect("a move");
            number_in_uidlist(&root.join(folder.as_path()), &name).ok();
        }
        let digest = self.truth.remove(identity).expect("it was there");
        let new = Identity { mailbox: folder.clone(), key: names::key(&name).to_vec() };
        self.truth.insert(new.clone(), digest);
        self.moved.insert(new, identity.clone());
        self.touch(&identity.mailbox.clone());
        self.touch(folder);
    }

    pub fn delete(&mut self, identity: &Identity) {
        for root in self.roots() {
            if let Some(path) = find(&root, identity) {
                fs::remove_file(path).expect("a deletion");
            }
        }
        self.truth.remove(identity);
        self.touch(&identity.mailbox);
    }

    /// A user makes a folder and puts mail into it.
    pub fn make_folder(&mut self, number: u32, spared: &dyn Fn(&Identity) -> bool) {
        let inboxes = self.inboxes();
        let inbox = self.rng.choice(&inboxes).expect("an inbox").clone();
        let plus_plus = self.mailboxes().iter().any(|m| Town::account(m) == inbox && m.name().starts_with(b"."));
        let name = if plus_plus { format!(".Box{number}") } else { format!("Box{number}") };
        let folder = inbox.join(name.as_bytes()).expect("a path");
        for root in self.roots() {
            let (above, path) = (root.join(inbox.as_path()), root.join(folder.as_path()));
            let owner = dress(&above).owner;
            for sub in ["cur", "new", "tmp"] {
                disk::make_dirs(&path.join(sub), Dress { owner, mode: 0o700 }).expect("a folder");
            }
            if plus_plus {
                disk::create(&path.join("maildirfolder"), b"", dress(&above), now()).expect("a mark");
            }
        }
        let mine: Vec<_> = self.any(spared).into_iter().filter(|i| Town::account(&i.mailbox) == inbox).collect();
        for identity in mine.into_iter().take(6) {
            if self.leaves(&identity.mailbox) {
                self.put_into(&identity, &folder);
            }
        }
    }

    /// Folders that users made.
    pub fn made_folders(&self) -> Vec<RelPath> {
        let made = |m: &RelPath| m.name().strip_prefix(b".").unwrap_or(m.name()).starts_with(b"Box");
        self.mailboxes().into_iter().filter(made).collect()
    }

    /// Its owner deletes a folder by a client: the server notes that. Returns what was in it.
    pub fn delete_folder(&mut self, folder: &RelPath) -> Vec<Identity> {
        let inbox = Town::account(folder);
        let name = folder.name().strip_prefix(b".").unwrap_or(folder.name()).to_vec();
        for root in self.roots() {
            fs::remove_dir_all(root.join(folder.as_path())).expect("a folder");
            self.note(&root, &inbox, &[(1, b"its guid".to_vec()), (2, name.clone())]);
        }
        let mut within = self.within(folder);
        within.extend(self.moved.iter().filter(|(new, _)| new.mailbox == *folder).map(|(_, old)| old.clone()));
        self.truth.retain(|identity, _| identity.mailbox != *folder);
        within
    }

    /// Adds to the server's log of mailboxes.
    fn note(&self, root: &Path, inbox: &RelPath, deeds: &[(u8, Vec<u8>)]) {
        let seconds = u32::try_from(now().sec).expect("a time");
        for (deed, name) in deeds {
            let guid = mailbox_name_guid(name);
            let record = [&[*deed, 0, 0, 0][..], &guid[..], &seconds.to_be_bytes()[..]].concat();
            disk::append(&root.join(inbox.as_path()).join("dovecot.mailbox.log"), &record).expect("a note");
        }
    }

    /// The job that compresses old mail, on the store alone.
    pub fn compress(&mut self, most: usize) -> usize {
        let tree = Snapshot::take(&self.store).expect("a tree");
        let plain = |e: &mailmend::drill::truth::Entry| e.coding == Coding::Plain && e.nlink == 1 && e.size > 64;
        let all: Vec<_> = tree.messages().filter(|(_, e)| plain(e)).collect();
        let chosen = all.iter().filter(|(path, _)| names::mailbox(path).is_some_and(|(_, p)| p == names::Place::Cur));
        let mut number = 0;
        for (path, entry) in chosen.take(most) {
            let file = self.store.join(path.as_path());
            let bytes = fs::read(&file).expect("a message");
            let temporary = file.with_file_name("compressing");
            let owner = Some((entry.uid, entry.gid));
            let stored = if self.rng.bool() { zstd::encode_all(&bytes[..], 3).expect("zstd") } else { gzip(&bytes) };
            disk::create(&temporary, &stored, Dress { owner, mode: entry.mode }, entry.mtime).expect("mail");
            fs::rename(&temporary, &file).expect("the job");
            let mailbox = names::mailbox(path).expect("a message").0;
            self.touch(&mailbox);
            number += 1;
        }
        number
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).and_then(|()| encoder.finish()).expect("gzip")
}

/// The file of a message, under whatever flags.
pub fn find(root: &Path, identity: &Identity) -> Option<PathBuf> {
    ["cur", "new"].iter().find_map(|sub| {
        let folder = root.join(identity.mailbox.as_path()).join(sub);
        let mut entries = fs::read_dir(folder).ok()?.flatten();
        entries.find(|e| names::key(e.file_name().as_bytes()) == identity.key).map(|e| e.path())
    })
}

/// Owner of a folder, for the files in it.
fn dress(folder: &Path) -> Dress {
    let meta = fs::metadata(folder).expect("a folder");
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    Dress { owner: root.then(|| (meta.uid(), meta.gid())), mode: 0o600 }
}

fn text(name: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(name))
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    Stamp { sec: i64::try_from(since.as_secs()).expect("a time"), nsec: since.subsec_nanos() }
}

/// The second night knows the folder only as one that is gone.
#[test]
fn a_folder_that_its_owner_deleted_is_not_asked_about_in_any_night() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut town = Town::new(dir.path(), 3, 1, 40);
    let tool = Mailmend::with_state(dir.path().join("state"));
    town.make_folder(1, &|_| false);
    tool.verify(&town.store).expect(0);
    town.moved.clear();
    let folder = town.made_folders().pop().expect("a folder");
    assert!(town.store.join(folder.as_path()).join("maildirfolder").exists(), "with a file of the server");
    let deleted = town.delete_folder(&folder).len() as u64;
    assert_eq!(tool.verify(&town.store).expect(0).count("deleted"), deleted);
    for _ in 0..2 {
        let answer = tool.verify(&town.store).expect(0);
        assert_eq!((answer.findings().count(), answer.count("companions_lost")), (0, 0), "{answer}");
    }
}
