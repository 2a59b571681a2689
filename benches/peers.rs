//! The benchmark beside the floor and beside what people use today: `cargo bench --bench peers`.
//!
//! Builds seeded corpora (20,000 messages of 31 KB on average with a long tail, 200,000 of 6 KB; `-- --million` also a million
//! of 4 KB; `-- --messages N` only the first, with N), installs the peers where it may (root, Debian), lets all take turns in
//! one run, and prints times, ratios with their spread, and peak memory. The floor is a program of two threads that lists
//! every folder and opens, stats, reads and closes every file. `-- --cold` is the cold cache instead (root). It is no test: only a
//! person can tell whether the machine was busy.
//!
//! What limits next: of a warm `verify` the kernel's open, read and close (the floor) and BLAKE3 are all but a fifth.

#[path = "peers/bare.rs"]
mod bare;
mod common;
#[path = "peers/corpus.rs"]
mod corpus;
#[path = "peers/process.rs"]
mod process;
#[path = "peers/rivals.rs"]
mod rivals;
#[path = "metadata/walk.rs"]
mod walk;
#[path = "metadata/world.rs"]
mod world;

use common::{Options, forget};
use process::{peak, timed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const SEED: u64 = 9;
/// One of so many messages is harmed for the repair.
const HARMED_EACH: usize = 5;

fn main() {
    rivals::install();
    let options = Options::of_command_line(0);
    let million = std::env::args().any(|word| word == "--million");
    let corpora: [(usize, world::Write, &str, bool); 3] = [
        (20_000, corpus::of_31_kb, "31 KB", true),
        (200_000, corpus::of_6_kb, "6 KB", options.messages == 0),
        (1_000_000, corpus::of_4_kb, "4 KB", million),
    ];
    for (messages, write, mean, wanted) in corpora {
        let messages = if options.messages > 0 { options.messages } else { messages };
        if !wanted {
            continue;
        }
        let bench = Bench::build(messages, write);
        println!("\n## {messages} messages, {mean} on average ({} MB)", bench.bytes / 1_000_000);
        match options.cold {
            true => bench.cold(),
            false => bench.warm(mean == "31 KB"),
        }
    }
    let binary = fs::metadata(env!("CARGO_BIN_EXE_mailmend")).map_or(0, |file| file.len());
    println!("\nThe binary has {:.1} MB.", binary as f64 / 1e6);
}

struct Bench {
    dir: tempfile::TempDir,
    messages: usize,
    bytes: u64,
}

/// The times of one contender, in the order of the rounds.
struct Row {
    name: String,
    times: Vec<Duration>,
    memory: Option<u64>,
}

impl Bench {
    fn build(messages: usize, write: world::Write) -> Bench {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let built = world::build(&dir.path().join("store"), SEED, messages, write).expect("a store");
        assert_eq!((built.messages, built.mailboxes % 5), (messages, 0));
        Bench { dir, messages, bytes: built.bytes }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn walk(&self, threads: usize, look: walk::Look) -> Duration {
        let began = Instant::now();
        let (files, bytes) = walk::walk(&self.store(), threads, look).expect("a walk");
        let took = began.elapsed();
        assert_eq!(files, self.messages as u64);
        assert!(bytes == 0 || bytes == self.bytes, "all is read");
        took
    }

    fn mailmend(&self, words: &[&str], state: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailmend"));
        command.env_clear().args(words).arg(self.store()).args(["--quiet", "--state"]).arg(self.dir.path().join(state));
        command
    }

    /// With all of it in the cache.
    fn warm(&self, repairs: bool) {
        let verify = ["verify", "--read-from", "cache", "--backups", "0"];
        timed(&mut self.mailmend(&verify, "state"), &[0]);
        let metadata = ["verify", "--read-from", "cache", "--backups", "0", "--budget", "1B"];
        timed(&mut self.mailmend(&metadata, "state-of-metadata-first"), &[0]);
        timed(&mut self.mailmend(&metadata, "state-of-metadata-first"), &[0]);
        let notes = self.dir.path().join("notes");
        fs::create_dir_all(&notes).expect("a folder");
        let checkers: Vec<_> =
            rivals::CHECKERS.iter().filter_map(|c| Some((c, c.ready(&self.store(), &notes)?))).collect();
        let made = ["verify", "--read-from", "cache", "--backups", "0"];
        let mut rows: Vec<Row> = Vec::new();
        for round in 0..ROUNDS {
            let mut put = |name: &str, time: Duration| match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.times.push(time),
                None => rows.push(Row { name: name.to_owned(), times: vec![time], memory: None }),
            };
            put("floor: open, stat, read, close", self.walk(2, bare::read_all));
            put("mailmend verify", timed(&mut self.mailmend(&verify, "state"), &[0]));
            put("mailmend verify, first night", timed(&mut self.mailmend(&made, &format!("state-{round}")), &[0]));
            put("mailmend audit, no catalog", timed(&mut self.mailmend(&["audit"], "none"), &[0]));
            put("walk and BLAKE3, no records", self.walk(2, bare::hash));
            put("walk, BLAKE3 and mail-parser", self.walk(2, bare::parse));
            for (checker, command) in checkers.iter().filter(|(checker, _)| round == 0 || !checker.slow) {
                put(checker.name, timed(&mut command(), &[0]));
            }
            put("stat walk", self.walk(2, walk::stat));
            put(
                "mailmend verify, metadata only",
                timed(&mut self.mailmend(&metadata, "state-of-metadata-first"), &[0]),
            );
        }
        let memory = [
            ("mailmend verify", peak(&mut self.mailmend(&verify, "state"))),
            ("mailmend verify, first night", peak(&mut self.mailmend(&made, "state-of-memory"))),
            ("mailmend audit, no catalog", peak(&mut self.mailmend(&["audit"], "none"))),
        ];
        for (name, bytes) in memory {
            rows.iter_mut().filter(|row| row.name == name).for_each(|row| row.memory = Some(bytes));
        }
        let (metadata, data): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.name.contains("stat walk") || row.name.contains("metadata"));
        print(&data);
        print(&metadata);
        if repairs {
            self.repairs();
        }
    }

    /// With nothing in the cache: the floor at any number of threads, and what mailmend finds by itself.
    fn cold(&self) {
        let mut rows: Vec<Row> = Vec::new();
        timed(&mut self.mailmend(&["verify", "--backups", "0"], "state"), &[0]);
        for _ in 0..ROUNDS {
            let mut put = |name: String, time: Duration| match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.times.push(time),
                None => rows.push(Row { name, times: vec![time], memory: None }),
            };
            for threads in [32, 16, 8, 4, 2, 1] {
                forget();
                put(format!("floor, {threads} threads"), self.walk(threads, bare::read_all));
            }
            forget();
            put("mailmend verify".to_owned(), timed(&mut self.mailmend(&["verify", "--backups", "0"], "state"), &[0]));
            forget();
            put("mailmend audit".to_owned(), timed(&mut self.mailmend(&["audit"], "none"), &[0]));
        }
        rows.sort_by_key(|row| (!row.name.starts_with("floor"), middle(&row.times)));
        print(&rows);
    }

    /// A fifth of the messages cut, emptied, overwritten in a part or in one bit, and a whole replica beside.
    fn repairs(&self) {
        let (store, replica, notes) = (self.store(), self.dir.path().join("replica"), self.dir.path().join("notes"));
        copy(&store, &replica);
        let mut rows = vec![];
        let restorers: Vec<_> = rivals::RESTORERS.iter().filter(|r| rivals::there(r.program)).collect();
        restorers.iter().for_each(|restorer| restorer.note(&replica, &notes));
        let mut put =
            |name: &str, time: Duration| rows.push(Row { name: name.to_owned(), times: vec![time], memory: None });
        let files = harm(&store);
        let began = Instant::now();
        bare::write(&replica, &store, &files).expect("files");
        put("write and sync, bare", began.elapsed());
        let from = replica.to_str().expect("a path in UTF-8").to_owned();
        let harmed = harm(&store).len();
        put(
            "mailmend repair --apply",
            timed(&mut self.mailmend(&["repair", "--from", &from, "--apply"], "state"), &[1]),
        );
        assert!(same(&replica, &store), "every message is back");
        for restorer in restorers {
            harm(&store);
            put(restorer.name, timed(&mut restorer.restore(&replica, &notes, &store), &[0]));
        }
        println!("\n{harmed} messages harmed, one replica:");
        print(&rows);
    }
}

fn middle(times: &[Duration]) -> Duration {
    let mut times = times.to_owned();
    times.sort();
    times[times.len() / 2]
}

/// Every row beside the first one, round by round.
fn print(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!("\n| | seconds | times the first (median; least to most) | peak memory |\n| --- | --- | --- | --- |");
    for row in rows {
        let mut ratios: Vec<f64> =
            row.times.iter().zip(&first.times).map(|(time, bare)| time.as_secs_f64() / bare.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        let memory = row.memory.map_or(String::new(), |bytes| format!("{} MiB", bytes >> 20));
        let seconds = middle(&row.times).as_secs_f64();
        println!("| {} | {seconds:.3} | {median:.2} ({least:.2} to {most:.2}) | {memory} |", row.name);
    }
}

fn copy(from: &Path, to: &Path) {
    timed(Command::new("cp").args(["-a"]).args([from, to]), &[0]);
    timed(&mut Command::new("sync"), &[0]);
}

/// All files, in order.
fn files(top: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(top).sort_by_file_name().into_iter().map(|entry| entry.expect("a listing"));
    let plain = all.filter(|entry| entry.file_type().is_file());
    plain.map(|entry| entry.path().strip_prefix(top).expect("it lies below").to_owned()).collect()
}

/// Harms some; the same each time.
fn harm(store: &Path) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = files(store).into_iter().step_by(HARMED_EACH).collect();
    for (number, file) in files.iter().enumerate() {
        let path = store.join(file);
        let mut bytes = fs::read(&path).expect("a message");
        let half = bytes.len() / 2;
        match number % 4 {
            0 => bytes.truncate(half),
            1 => bytes.clear(),
            2 => bytes[half..].iter_mut().take(4096).for_each(|byte| *byte = 0),
            _ => bytes[half] ^= 1,
        }
        fs::write(&path, bytes).expect("a file");
    }
    timed(&mut Command::new("sync"), &[0]);
    files
}

fn same(left: &Path, right: &Path) -> bool {
    let all = files(left);
    all == files(right) && all.iter().all(|file| fs::read(left.join(file)).ok() == fs::read(right.join(file)).ok())
}
