//! Stores made by hand, message by message, and a look at running processes.

// Every test program uses a part of this.
#![allow(dead_code)]

use crate::common::bench::Bench;
use crate::common::{Answer, Mailmend, absent, is_root, must, skip, spec};
use mailmend::drill::corpus::Mails;
use mailmend::drill::{Repair, Undecided, disk};
use mailmend::model::{Stamp, form};
use mailmend::store::dovecot::{flag, fresh};
use mailmend::store::sdbox::frame;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// When every message of these stores was received.
pub const RECEIVED: Stamp = Stamp { sec: 1_700_000_000, nsec: 123_456_789 };

/// A store with nothing in it.
pub fn empty() -> Bench {
    at(tempfile::tempdir().expect("a temporary folder"))
}

/// The same in a folder that is there.
pub fn at(dir: tempfile::TempDir) -> Bench {
    let [store, replica, backup, state] = ["store", "replica", "backup", "state"].map(|n| dir.path().join(n));
    fs::create_dir(&store).expect("a store");
    Bench { dir, store, replica, backup, tool: Mailmend::with_state(state), mails: Mails::generated(1) }
}

/// An empty mailbox.
pub fn mailbox(path: &Path) -> PathBuf {
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(sub)).expect("a mailbox");
    }
    path.to_owned()
}

/// A message of about `size` bytes whose body repeats nothing.
pub fn letter(number: u64, size: usize) -> Vec<u8> {
    let mut text = format!(
        "Message-ID: <{number}@example.org>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: Ann <ann@example.org>\n\
         To: bob@example.org\nSubject: letter {number}\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
    );
    let mut rng = fastrand::Rng::with_seed(number);
    while text.len() < size {
        let words: Vec<String> = (0..9).map(|_| format!("{:06x}", rng.u32(..1 << 24))).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text.into_bytes()
}

/// The name that a server gives a message.
pub fn name(number: u64, size: usize) -> String {
    format!("1700000000.M{number}P1.mx,S={size}:2,S")
}

/// Puts a file down with its received date.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a message");
    disk::set_mtime(path, RECEIVED).expect("its date");
}

/// Delivers a letter of `size` bytes as read mail.
pub fn deliver(mailbox: &Path, number: u64, size: usize) -> PathBuf {
    let bytes = letter(number, size);
    let path = mailbox.join("cur").join(name(number, bytes.len()));
    put(&path, &bytes);
    path
}

/// A mailbox of an sdbox account as its server leaves it: `count` letters from number `first` on, each seen, and an index
/// that lists them.
pub fn dbox(account: &Path, mailbox: &str, first: u64, count: u32, size: usize) -> PathBuf {
    let folder = account.join("mailboxes").join(mailbox).join("dbox-Mails");
    fs::create_dir_all(&folder).expect("a mailbox");
    for uid in 1..=count {
        let letter = letter(first + u64::from(uid), size);
        let crlf = letter.len() + letter.iter().filter(|&&byte| byte == b'\n').count();
        let guid = format!("{:032x}", first + u64::from(uid));
        let marks = form::Marks { guid, received: RECEIVED.sec };
        let (head, tail) = frame::around(&marks, letter.len() as u64, crlf as u64).expect("a frame");
        put(&folder.join(format!("u.{uid}")), &[head, letter, tail].concat());
    }
    let marks: Vec<fresh::Marks> =
        (1..=count).map(|uid| fresh::Marks { uid, flags: flag::SEEN, keywords: Vec::new() }).collect();
    let register = fresh::Register {
        indexid: 1_600_000_000,
        file_seq: 2,
        modseq: 9,
        uid_validity: 1_600_000_000,
        next_uid: count + 1,
        mailbox_guid: [u8::try_from(first).unwrap_or(1); 16],
    };
    put(&folder.join("dovecot.index.log"), &fresh::register(&register, 1_600_000_000, &marks, None));
    folder
}

/// Overwrites `length` bytes in the middle of a file, silently.
pub fn damage(path: &Path, length: usize) {
    let mut bytes = fs::read(path).expect("a message");
    let (middle, mtime) = (bytes.len() / 2, disk::mtime_of(&disk::stat(path).expect("a message")));
    for byte in &mut bytes[middle..middle + length] {
        *byte ^= 0x15;
    }
    disk::overwrite(path, &bytes).expect("damage");
    disk::set_mtime(path, mtime).expect("its date");
}

/// A file goes away as it does in an offline check of the file system: the date of its folder tells nothing.
pub fn lose(file: &Path) {
    let dir = fs::File::open(file.parent().expect("a folder")).expect("a folder");
    let date = dir.metadata().and_then(|m| m.modified()).expect("a date");
    fs::remove_file(file).expect("a loss");
    dir.set_modified(date).expect("its date");
}

/// `repair STORE --from REPLICA --apply`.
#[track_caller]
pub fn heal(bench: &Bench) -> Answer {
    bench.tool.repair(&bench.store, &from(&bench.replica))
}

/// All from one source, undecided messages included.
pub fn from(source: &Path) -> Repair {
    Repair { sources: vec![spec(source)], apply: true, undecided: Undecided::Restore }
}

/// Whether the machine has what a test needs; says so where it has not.
pub fn can(test: &str, root: bool, programs: &[&str]) -> bool {
    if root && !is_root() {
        skip(test, "needs root");
        return false;
    }
    let missing = absent(programs);
    if !missing.is_empty() {
        skip(test, &format!("not installed: {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Waits until `ready` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists.flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Sends a signal by name.
pub fn signal(pid: u32, signal: &str) {
    drop(std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).output());
}

/// A file system of its own in a folder, unmounted at the end.
#[must_use = "it is unmounted when this is dropped"]
pub struct Mounted {
    pub path: PathBuf,
}

impl Mounted {
    /// A file system in memory that has neither extended attributes nor a size.
    pub fn bare(path: PathBuf) -> Mounted {
        fs::create_dir(&path).expect("a mount point");
        must("mount", &["-t", "ramfs", "drill", &spec(&path)]);
        Mounted { path }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("--lazy").arg(&self.path).status());
    }
}
