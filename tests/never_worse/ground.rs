//! The ground of every trial: a small damaged store on a disk of its own that can be set back, and the judgement on
//! what is left of it.

use crate::common::bench::assert_none;
use crate::common::device::LoopDisk;
use crate::common::{Answer, Mailmend, spec};
use crate::kit;
use crate::shared;
use crate::trace::Tracer;
use mailmend::drill::copy;
use mailmend::drill::disk;
use mailmend::drill::truth::{self, Snapshot, Strictness};
use mailmend::model::{Digest, RelPath};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What all of these tests need.
pub const NEEDS: [&str; 5] = ["strace", "mkfs.ext4", "mount", "umount", "fsfreeze"];

/// Files by content, told apart by their inode.
pub type Copies = BTreeMap<Digest, BTreeSet<u64>>;

pub struct Ground {
    pub disk: LoopDisk,
    pub store: PathBuf,
    pub replica: PathBuf,
    pub tool: Mailmend,
    pub tracer: Tracer,
    pub truth: Snapshot,
    pub damaged: Snapshot,
    /// The copies that an untouched repair left, and its name.
    pub repaired: Option<(String, Copies)>,
    /// Where the state is not on the disk: it survives what the disk does not.
    apart: bool,
    pub damaged_copies: Copies,
    // Last, for it must go after the disk in it.
    dir: tempfile::TempDir,
}

/// One account's mailbox with letters from `first` on; all of it belongs to `owner`.
fn fill(path: &Path, first: u64, count: u64) {
    kit::mailbox(path);
    for number in first..first + count {
        kit::deliver(path, number, 3000);
    }
    kit::put(&path.join("dovecot-uidlist"), format!("3 V1 N{count} G{first:032x}\n").as_bytes());
}

fn build(store: &Path) {
    fill(&store.join("ann/Maildir"), 0, 4);
    fill(&store.join("ann/Maildir/.Sent"), 10, 2);
    fill(&store.join("ann/Maildir/.Lost"), 20, 3);
    fill(&store.join("bob/Maildir"), 30, 4);
    fill(&store.join("cid/Maildir"), 40, 4);
    kit::put(&store.join("ann/Maildir/subscriptions"), b"Sent\nLost\n");
    fs::create_dir_all(store.join("dan/mh/inbox")).expect("a folder of MH");
    for number in 1..=3 {
        kit::put(&numbered(store, number), &kit::letter(50 + number, 3000));
    }
    for (mailbox, first) in [("INBOX", 60), ("Sent", 70)] {
        kit::dbox(&store.join("eve/sdbox"), mailbox, first, 3, 3000);
    }
    shared::fill(store);
    fs::create_dir_all(store.join("gil/mail")).expect("a folder of mbox files");
    for (file, first) in PACKED {
        let all: Vec<u8> = (first..first + 4).flat_map(packed).collect();
        kit::put(&store.join(file), &all);
    }
    let accounts = [
        ("ann", 61_001),
        ("bob", 61_002),
        ("cid", 61_003),
        ("dan", 61_004),
        ("eve", 61_005),
        ("fay", 61_006),
        ("gil", 61_007),
    ];
    for (account, owner) in accounts {
        for entry in walkdir::WalkDir::new(store.join(account)) {
            let path = entry.expect("a readable store").into_path();
            std::os::unix::fs::lchown(&path, Some(owner), Some(owner)).expect("chown");
        }
    }
}

/// A message of the account whose mail is in MH.
fn numbered(store: &Path, number: u64) -> PathBuf {
    store.join(format!("dan/mh/inbox/{number}"))
}

/// Files that hold many messages, with the numbers of the first.
pub const PACKED: [(&str, u64); 2] = [("gil/mail/inbox", 90), ("gil/mail/Old", 100)];

/// A message as it stands in such a file.
fn packed(number: u64) -> Vec<u8> {
    [b"From ann@example.org  Mon Jan  1 00:00:00 2024\n", &kit::letter(number, 3000)[..], b"\n"].concat()
}

/// The one file in `cur` with this number.
pub fn letter(mailbox: &Path, number: u64) -> PathBuf {
    let length = kit::letter(number, 3000).len();
    mailbox.join("cur").join(kit::name(number, length))
}

/// Every kind of damage that ends in a change of its own kind.
pub fn break_it(store: &Path) {
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|n| store.join(n).join("Maildir"));
    let silently = |path: &Path, bytes: &[u8]| {
        disk::overwrite(path, bytes).expect("damage");
        disk::set_mtime(path, kit::RECEIVED).expect("its date");
    };
    silently(&letter(&ann, 0), b"");
    silently(&letter(&bob, 30), &kit::letter(30, 3000)[..1200]);
    kit::damage(&letter(&bob, 31), 1);
    kit::damage(&letter(&bob, 32), 512);
    fs::remove_dir_all(ann.join(".Lost")).expect("a lost folder");
    fs::remove_file(ann.join("subscriptions")).expect("a lost list");
    fs::remove_file(cid.join("dovecot-uidlist")).expect("a lost list");
    // As a file system check leaves a disk: names gone, times of the folders as they were.
    let cur = cid.join("cur");
    let time = disk::mtime_of(&disk::stat(&cur).expect("a folder"));
    fs::rename(letter(&cid, 40), cur.join("#4711")).expect("a stray");
    fs::remove_file(letter(&cid, 41)).expect("a lost message");
    disk::set_mtime(&cur, time).expect("its date");
    silently(&numbered(store, 1), &kit::letter(51, 3000)[..1200]);
    shared::break_it(store, &silently);
    let [whole, cut] = PACKED.map(|(file, _)| store.join(file));
    kit::damage(&whole, 100);
    let short = fs::read(&cut).expect("a file")[..packed(100).len() * 2 + 700].to_vec();
    silently(&cut, &short);
    let inbox = store.join("dan/mh/inbox");
    let time = disk::mtime_of(&disk::stat(&inbox).expect("a folder"));
    fs::remove_file(numbered(store, 2)).expect("a lost message");
    disk::set_mtime(&inbox, time).expect("its date");
    let [inbox, sent] = ["INBOX", "Sent"].map(|name| store.join("eve/sdbox/mailboxes").join(name).join("dbox-Mails"));
    let message = inbox.join("u.1");
    silently(&message, &fs::read(&message).expect("a message")[..1200]);
    // Its index has it still.
    fs::remove_file(inbox.join("u.2")).expect("a lost message");
    fs::remove_file(sent.join("dovecot.index.log")).expect("a lost index");
}

impl Ground {
    /// On ext4, with the state on the same disk.
    pub fn new() -> Ground {
        Ground::on("ext4", 96, &["-b", "4096"], false)
    }

    pub fn on(kind: &str, mib: u64, mkfs: &[&str], apart: bool) -> Ground {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut disk = LoopDisk::make(dir.path(), kind, mib, mkfs);
        let [store, replica] = ["store", "replica"].map(|n| disk.path.join(n));
        build(&store);
        let state = if apart { dir.path().join("state") } else { disk.path.join("state") };
        let tool = Mailmend::with_state(state);
        tool.verify(&store).expect(0);
        copy::plain(&store, &replica).expect("a replica");
        let truth = Snapshot::take(&store).expect("the truth");
        break_it(&store);
        let damaged = Snapshot::take(&store).expect("the damage");
        disk.keep("damaged");
        let tracer = Tracer::new(dir.path(), &tool.binary);
        let damaged_copies = Copies::new();
        let mut ground =
            Ground { disk, store, replica, tool, tracer, truth, damaged, repaired: None, apart, damaged_copies, dir };
        ground.keep_state("damaged");
        ground.damaged_copies = ground.copies();
        ground
    }

    /// A repair that nothing disturbs, kept for undo.
    pub fn repair(&mut self) {
        let answer = self.tool.run(self.typed()).expect(1);
        self.assert_healed(&answer);
        let run = answer.run_name();
        self.disk.keep("repaired");
        self.keep_state("repaired");
        self.repaired = Some((run, self.copies()));
    }

    /// `repair STORE --from REPLICA --undecided restore --apply`.
    pub fn typed(&self) -> Vec<String> {
        let (store, replica) = (spec(&self.store), spec(&self.replica));
        ["repair", &store, "--from", &replica, "--undecided", "restore", "--apply"].map(str::to_owned).to_vec()
    }

    /// `undo RUN --apply`.
    pub fn typed_undo(&self) -> Vec<String> {
        let (run, _) = self.repaired.as_ref().expect("a repair was made");
        ["undo", run, "--apply"].map(str::to_owned).to_vec()
    }

    fn keep_state(&self, name: &str) {
        if self.apart {
            copy::plain(&self.tool.state, &self.dir.path().join(format!("{name}.state"))).expect("the state");
        }
    }

    /// Everything as it was kept.
    pub fn go_back(&mut self, name: &str) {
        self.disk.go_back(name);
        if self.apart {
            fs::remove_dir_all(&self.tool.state).expect("the old state");
            copy::plain(&self.dir.path().join(format!("{name}.state")), &self.tool.state).expect("the state");
        }
    }

    pub fn tree(&self) -> Snapshot {
        Snapshot::take(&self.store).expect("the store is readable")
    }

    /// Where runs put what they replace.
    pub fn quarantine(&self) -> PathBuf {
        self.disk.path.join(".mailmend")
    }

    /// Every file of the store and of the quarantine that holds anything.
    pub fn copies(&self) -> Copies {
        let mut copies = Copies::new();
        for root in [self.store.clone(), self.quarantine()].iter().filter(|root| root.exists()) {
            for entry in walkdir::WalkDir::new(root) {
                let path = entry.expect("a readable tree").into_path();
                let meta = fs::symlink_metadata(&path).expect("a file");
                if meta.is_file() && meta.len() > 0 {
                    let digest = truth::content(&fs::read(&path).expect("a readable file"));
                    copies.entry(digest).or_default().insert(meta.ino());
                }
            }
        }
        copies
    }

    /// Insists that of nothing there are fewer copies than before, damaged bytes included, and that no intact file
    /// was touched.
    #[track_caller]
    pub fn assert_none_lost(&self, before: &Copies, at: &str) {
        let now = self.copies();
        for (digest, files) in before {
            let left = now.get(digest).map_or(0, BTreeSet::len);
            assert!(left >= files.len(), "{at}: {left} instead of {} copies of {digest}", files.len());
        }
        let tree = self.tree();
        shared::assert_old_or_new(&tree, [&self.damaged, &self.truth], at);
        for (file, _) in PACKED {
            let path = RelPath::new(file.as_bytes()).expect("a path");
            let now = tree.get(&path).unwrap_or_else(|| panic!("{at}: {file} is gone"));
            let whole =
                [&self.damaged, &self.truth].iter().any(|t| t.get(&path).is_some_and(|t| t.digest == now.digest));
            assert!(whole, "{at}: {file} is neither as it was nor healed");
        }
        for (path, was) in self.damaged.files().filter(|(path, was)| self.intact(path, was)) {
            let is = tree.get(path).unwrap_or_else(|| panic!("{at}: the intact {path} is gone"));
            let difference = was.difference(is, Strictness::Untouched);
            assert!(difference.is_none(), "{at}: the intact {path} is not as it was: {difference:?}");
        }
    }

    fn intact(&self, path: &RelPath, was: &truth::Entry) -> bool {
        self.truth.get(path).is_some_and(|t| t.difference(was, Strictness::Healed).is_none())
    }

    /// Insists on the whole truth and nothing besides, in the store and in the quarantine.
    #[track_caller]
    pub fn assert_healed(&self, after: &Answer) {
        assert_none(
            &self.truth.differences(&self.tree(), Strictness::Served),
            &format!("not healed by {}", brief(after)),
        );
        let now = self.copies();
        let staged = |digest: &&Digest| !self.damaged_copies.contains_key(digest) && now[digest].len() > 1;
        let left: Vec<&Digest> = now.keys().filter(staged).collect();
        assert!(left.is_empty(), "{} staged copies were left behind after {}", left.len(), brief(after));
    }

    pub fn healed(&self) -> bool {
        self.truth.differences(&self.tree(), Strictness::Served).is_empty()
    }

    pub fn taken_back(&self) -> bool {
        self.damaged.differences(&self.tree(), Strictness::Healed).is_empty()
    }

    /// Insists on the damaged store, inode for inode.
    #[track_caller]
    pub fn assert_taken_back(&self, after: &Answer) {
        let differences = self.damaged.differences(&self.tree(), Strictness::Untouched);
        assert_none(&differences, &format!("not taken back by {}", brief(after)));
    }

    /// Typed once more, it does what is left; and the catalog is as good as before.
    #[track_caller]
    pub fn finish(&self, at: &str) {
        let answer = self.tool.run(self.typed());
        assert!(matches!(answer.status, 0 | 1), "{at}: the second run: {}", brief(&answer));
        assert!(!answer.mentions("panicked"), "{at}: {}", brief(&answer));
        self.assert_healed(&answer);
        self.assert_none_lost(&self.damaged_copies, at);
        let verified = self.tool.verify(&self.store);
        assert_eq!(verified.status, 0, "{at}: after the second run: {}", brief(&verified));
    }

    /// Takes all repairs back, newest first.
    #[track_caller]
    pub fn take_all_back(&self, at: &str) {
        let folder = |entry: std::io::Result<fs::DirEntry>| entry.expect("a run").path();
        // By the clock: two runs of one second are not told apart by their names.
        let began = |path: &PathBuf| fs::metadata(path.join("run.json")).and_then(|meta| meta.modified()).ok();
        let runs = fs::read_dir(self.tool.state.join("runs")).expect("runs").map(folder);
        let mut runs: Vec<_> = runs.filter_map(|path| Some((began(&path)?, path))).collect();
        runs.sort_unstable();
        let mut last = None;
        for (_, path) in runs.iter().rev() {
            let run = path.file_name().expect("a name").to_string_lossy();
            let answer = self.tool.run(["undo", &run, "--apply"]);
            let nothing = answer.status == 16 && answer.mentions("changed nothing");
            assert!(answer.status == 0 || nothing, "{at}: {}", brief(&answer));
            last = Some(answer);
        }
        let last = last.unwrap_or_else(|| panic!("{at}: no run to take back"));
        self.assert_taken_back(&last);
    }

    /// Calls that change a file: those of the last run under [`Tracer::listening`].
    pub fn calls(&self) -> Vec<crate::trace::Call> {
        self.tracer.calls(&[&self.disk.path, self.dir.path()])
    }
}

/// What a run said, without its findings: a failed trial of many is to be readable.
pub fn brief(answer: &Answer) -> String {
    let undone = |line: &Value| line["type"] == "finding" && line["outcome"]["kind"] != "done";
    let told = answer.lines.iter().filter(|line| line["type"] == "error" || line["type"] == "note" || undone(line));
    let told: Vec<String> = told.map(ToString::to_string).collect();
    format!("`{}` (status {})\n{}\n{}", answer.typed, answer.status, told.join("\n"), answer.stderr)
}
