//! The spindle benchmark: `cargo bench --bench spindle`. What it costs to read a store from a disk that is slow to seek: a
//! model of one below a real file system. Prints what `dd bs=1M` gets from it, what the data phase of a cold audit gets, and
//! what reading in the order of the directories gets.
//!
//! Needs root, nbdfuse and mkfs.ext4. Seeded; no test: only a person can tell whether the machine was busy.
//! `-- --messages N` for another size.

#[path = "spindle/disk.rs"]
mod disk;
#[path = "spindle/stack.rs"]
mod stack;

use fastrand::Rng;
use stack::{Stack, must, text};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What the issue that asked for this promises: of dd's rate, and of that in directory order.
const OF_DD: f64 = 0.8;
const OF_DIRECTORY: f64 = 10.0;
const SEED: u64 = 8;
const MAILBOXES: usize = 200;
/// Files that are read in the order of their directories: of a disk that takes 7 ms for each, a part has to do.
const IN_DIRECTORY_ORDER: usize = 1500;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = words.iter().position(|word| word == "--messages").and_then(|at| words.get(at + 1)?.parse().ok());
    let messages = number.unwrap_or(20_000);
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT RUN: needs root");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let image = build(dir.path(), messages);
    let socket = dir.path().join("disk.sock");
    disk::serve(&image, &socket).expect("a modelled disk");
    let stack = Stack::up(&socket, dir.path());
    let store = stack.mounted.join("store");

    let dd = {
        forget();
        let began = Instant::now();
        must("dd", &[&format!("if={}", stack.device), "of=/dev/null", "bs=1M", "status=none"]);
        let rate = rate(fs::metadata(&image).expect("the image").len(), began.elapsed());
        arm("dd");
        rate
    };
    println!("dd bs=1M                 {dd:7.1} MB/s");
    let audit = audit(&store, &dir.path().join("state"), messages);
    println!("audit, data phase        {audit:7.1} MB/s   {:.0} % of dd", 100.0 * audit / dd);
    arm("audit");
    let directory = directory_order(&store);
    arm("in directory order");
    println!("in directory order       {directory:7.1} MB/s   the audit is {:.0} times as fast", audit / directory);
    let holds = |holds: bool| if holds { "holds" } else { "is missed" };
    println!("\nat least {:.0} % of dd {}", 100.0 * OF_DD, holds(audit >= OF_DD * dd));
    println!("at least {OF_DIRECTORY:.0} times directory order {}", holds(audit >= OF_DIRECTORY * directory));
}

/// Tells what the disk had to do, which a busy machine does not change.
fn arm(what: &str) {
    let (moves, busy) = (disk::MOVES.swap(0, Relaxed), disk::BUSY.swap(0, Relaxed) as f64 / 1e6);
    println!("{what:24} {moves:7} moves   {busy:.2} s of the disk's time");
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

/// Drops what the kernel remembers of all file systems.
fn forget() {
    must("sync", &[]);
    fs::write("/proc/sys/vm/drop_caches", "3").expect("dropping caches");
}

/// Audits the store cold, insists on the right answer, and tells the rate at which it read the messages.
fn audit(store: &Path, state: &Path, messages: usize) -> f64 {
    forget();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailmend"));
    command.env_clear().args(["audit", text(store), "--json", "-v", "--state", text(state)]).stdin(Stdio::null());
    let began = Instant::now();
    let answer = command.output().expect("the binary runs");
    let took = began.elapsed();
    let lines = String::from_utf8_lossy(&answer.stdout).into_owned();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["messages"].as_u64(), Some(messages as u64), "{summary}");
    assert!(answer.status.success(), "{summary}");
    let notes: Vec<&str> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
    let swept = notes.iter().find_map(|note| Some((*note, note.split_once("s (")?.1.split_once(" MB/s")?.0)));
    let Some((note, rate)) = swept else { panic!("not in the order of the disk: {notes:#?}") };
    println!("audit, all of it         {:7.1} s      {note}", took.as_secs_f64());
    rate.parse().expect("a rate")
}

/// Reads files as `readdir` gives them, mailbox by mailbox.
fn directory_order(store: &Path) -> f64 {
    forget();
    let mut files: Vec<PathBuf> = Vec::new();
    let mut mailboxes: Vec<PathBuf> = fs::read_dir(store).expect("a store").flatten().map(|e| e.path()).collect();
    mailboxes.sort();
    for mailbox in mailboxes {
        files.extend(fs::read_dir(mailbox.join("cur")).expect("a mailbox").flatten().map(|entry| entry.path()));
        if files.len() >= IN_DIRECTORY_ORDER {
            break;
        }
    }
    let (began, mut bytes, mut buffer) = (Instant::now(), 0, Vec::new());
    for path in files.iter().take(IN_DIRECTORY_ORDER) {
        buffer.clear();
        bytes += fs::File::open(path).and_then(|mut file| file.read_to_end(&mut buffer)).expect("a message") as u64;
    }
    rate(bytes, began.elapsed())
}

/// An image with a store whose mail came to all of its mailboxes by turns.
fn build(dir: &Path, messages: usize) -> PathBuf {
    let [image, filling] = ["disk.img", "filling"].map(|name| dir.join(name));
    let size = (messages as u64 * 40_000).max(64 << 20).next_multiple_of(1 << 20);
    fs::File::create(&image).and_then(|file| file.set_len(size)).expect("an image");
    must("mkfs.ext4", &["-q", "-F", "-b", "4096", "-m", "0", "-N", &(messages + 4096).to_string(), text(&image)]);
    fs::create_dir(&filling).expect("a mount point");
    must("mount", &["-o", "loop", text(&image), text(&filling)]);
    let filled = std::panic::catch_unwind(|| fill(&filling.join("store"), messages));
    must("umount", &[text(&filling)]);
    println!("{messages} messages in {MAILBOXES} mailboxes, {} MB\n", filled.expect("a filled disk") / 1_000_000);
    image
}

fn fill(store: &Path, messages: usize) -> u64 {
    let mut rng = Rng::with_seed(SEED);
    let mailbox = |number: usize| store.join(format!("user{number:03}"));
    for number in 0..MAILBOXES {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(mailbox(number).join(sub)).expect("a mailbox");
        }
    }
    let mut bytes = 0;
    for number in 0..messages {
        let size = match rng.u32(..100) {
            0..70 => rng.usize(2_000..12_000),
            70..95 => rng.usize(20_000..80_000),
            _ => rng.usize(100_000..500_000),
        };
        let mut text = format!(
            "From: sender@example.com\nTo: somebody@example.org\nSubject: message {number}\nMessage-ID: <{number}@example.com>\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\n\n"
        );
        while text.len() < size {
            text.push_str(&format!("{:016x} {:016x} {:016x}\n", rng.u64(..), rng.u64(..), rng.u64(..)));
        }
        bytes += text.len() as u64;
        let name = format!("{}.M{}P1.mx1,S={}:2,S", 1_700_000_000 + number, rng.u32(..1_000_000), text.len());
        fs::write(mailbox(rng.usize(..MAILBOXES)).join("cur").join(name), text).expect("a message");
    }
    bytes
}
