//! Something outside the store that nobody may touch, and runs of the binary that are watched: how long, how much
//! memory, what they print.

use crate::common::bench::Bench;
use crate::common::{Mailmend, must, spec};
use crate::kit;
use rustix::fs::inotify;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The mail user of these stores.
pub const USER: u32 = 12_345;
pub const GROUP: u32 = 12_346;
/// Stands in everything outside, and must show up nowhere.
pub const CANARY: &str = "canary-in-the-coal-mine";
/// Peak memory that no process of a run may have. KiB.
pub const PEAK_MAX: u64 = 96 << 10;
/// No run of these tests takes longer, on a machine that is busy with others too.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder beside the store with secrets in it, watched.
pub struct Trap {
    pub bench: Bench,
    pub outside: PathBuf,
    was: BTreeMap<PathBuf, String>,
    watch: OwnedFd,
}

impl Trap {
    pub fn new() -> Trap {
        let bench = kit::empty();
        fs::set_permissions(bench.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let outside = bench.dir.path().join("outside");
        let account = kit::mailbox(&outside.join("eve/Maildir"));
        let secret = format!("From: root\nSubject: {CANARY}\nMessage-ID: <{CANARY}@x>\n\n{CANARY}\n");
        let files = ["secret", "eve/Maildir/dovecot-uidlist", "eve/Maildir/subscriptions", "eve/x.sieve", "12"];
        files.iter().for_each(|name| fs::write(outside.join(name), &secret).expect("a secret"));
        for number in 0..3 {
            fs::write(account.join("cur").join(format!("1700000000.M{number}P9.mx:2,S")), &secret).expect("a secret");
        }
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify");
        Trap { bench, outside, was: BTreeMap::new(), watch }
    }

    /// All of it is the mail user's, and so is the process.
    pub fn unprivileged(mut self) -> Trap {
        self.bench = self.bench.unprivileged();
        self
    }

    /// From now on nothing outside may be touched.
    pub fn arm(&mut self) {
        // All but closing: what another test starts meanwhile holds this one's descriptors for a moment.
        let closing = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::CLOSE_NOWRITE;
        let all = inotify::WatchFlags::ALL_EVENTS - closing;
        for entry in walkdir::WalkDir::new(&self.outside) {
            let entry = entry.expect("a readable tree");
            if entry.file_type().is_dir() {
                inotify::add_watch(&self.watch, entry.path(), all).expect("a watch");
            }
        }
        self.was = tree(&self.outside);
        drop(self.events());
    }

    /// What happened outside since the last look.
    fn events(&self) -> Vec<String> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            events.push(format!("{:?} {:?}", event.events(), event.file_name()));
        }
        events
    }

    /// Insists that nothing outside was opened, read, changed, made or removed.
    #[track_caller]
    pub fn assert_untouched(&self, why: &str) {
        assert_eq!(self.events(), Vec::<String>::new(), "{why}: somebody was outside");
        self.assert_unchanged(why);
    }

    /// Insists that nothing outside was changed, made or removed, and that none of it went inside.
    #[track_caller]
    pub fn assert_unchanged(&self, why: &str) {
        let now = tree(&self.outside);
        // That was this look itself.
        drop(self.events());
        let differs: Vec<_> = now.iter().filter(|(path, is)| self.was.get(*path) != Some(is)).collect();
        assert!(differs.is_empty() && now.len() == self.was.len(), "{why}: changed outside: {differs:?}");
        let strangers: Vec<_> = names(self.bench.dir.path());
        let known = ["store", "replica", "state", "outside", ".mailmend", "attic", "export", "mailmend"];
        assert!(strangers.iter().all(|n| known.contains(&&n[..])), "{why}: {strangers:?}");
        for kept in ["state", ".mailmend", "replica"] {
            assert_no_canary(&self.bench.dir.path().join(kept), why);
        }
    }

    /// Runs the binary with the test's state folder, as a program and as a person would.
    pub fn run(&self, args: &[&str]) -> Heard {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        watched(&self.bench.tool, &args, true)
    }

    pub fn people(&self, args: &[&str]) -> Heard {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        watched(&self.bench.tool, &args, false)
    }

    /// Every command over the store, with all that must hold after each. Returns what the repairing run said.
    pub fn tour(&self) -> Heard {
        let (store, replica) = (spec(&self.bench.store), spec(&self.bench.replica));
        let repair = ["repair", &store, "--from", &replica, "--undecided", "restore"];
        for args in [&["audit", &store, "--from", &replica][..], &["verify", &store], &["status", &store]] {
            for heard in [self.run(args), self.people(args)] {
                self.assert_untouched(&heard.to_string());
                assert_eq!(heard.status & 16, 0, "{heard}");
            }
        }
        self.people(&repair);
        let before = tree(&self.bench.store);
        let applied = self.run(&[&repair[..], &["--apply"]].concat());
        self.assert_untouched(&applied.to_string());
        let Some(run) = applied.run_name() else { panic!("no run: {applied}") };
        let export = spec(&self.bench.dir.path().join("export"));
        let quarantine = [&["list"][..], &["show", &run], &["export", &run, "--into", &export]];
        for args in quarantine {
            let args = [&["quarantine"], args].concat();
            let heard = [self.run(&args), if args[1] == "export" { self.run(&["status"]) } else { self.people(&args) }];
            heard.iter().for_each(|heard| self.assert_untouched(&heard.to_string()));
        }
        fs::remove_dir_all(&export).ok();
        self.people(&["undo", &run]);
        let undone = self.run(&["undo", &run, "--apply"]);
        self.assert_untouched(&undone.to_string());
        let after = tree(&self.bench.store);
        let differs: Vec<_> = before.iter().filter(|(path, was)| after.get(*path) != Some(was)).take(5).collect();
        assert!(differs.is_empty(), "the undo did not bring back {differs:?}: {undone}");
        let again = self.run(&[&repair[..], &["--apply"]].concat());
        self.assert_untouched(&again.to_string());
        let purged = self.run(&["quarantine", "purge", &run, "--apply"]);
        self.assert_untouched(&purged.to_string());
        applied
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Everything that lies there: kind, owner, mode, links, size, times, target.
pub fn tree(top: &Path) -> BTreeMap<PathBuf, String> {
    let entries = walkdir::WalkDir::new(top).into_iter().map(|e| e.expect("a readable tree").into_path());
    let look = |path: PathBuf| {
        let stat = fs::symlink_metadata(&path).expect("what lies there");
        let mut text = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
        if stat.is_dir() {
            // Its times are those of what is in it.
            return (path, text);
        }
        text.push_str(&format!(" {} {} {}.{}", stat.nlink(), stat.size(), stat.mtime(), stat.mtime_nsec()));
        let target = fs::read_link(&path).unwrap_or_default();
        (path, format!("{text} {}", target.display()))
    };
    entries.map(look).collect()
}

#[track_caller]
fn assert_no_canary(top: &Path, why: &str) {
    for entry in walkdir::WalkDir::new(top).into_iter().flatten().filter(|e| e.file_type().is_file()) {
        // Files of gigabytes are the tests' own.
        if entry.metadata().is_ok_and(|stat| stat.len() > 256 << 20) {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap_or_default();
        assert!(!contains(&bytes, CANARY.as_bytes()), "{why}: the secret is in {}", entry.path().display());
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Gives a tree to the mail user.
pub fn give_away(top: &Path) {
    for entry in walkdir::WalkDir::new(top) {
        lchown(entry.expect("a readable tree").path(), Some(USER), Some(GROUP)).expect("chown");
    }
}

/// What was planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    LinkToFile,
    LinkToFolder,
    LinkToNothing,
    LinkLoop,
    HardLink,
    Fifo,
    Socket,
    Device,
    Folder,
    File,
}

impl Plant {
    pub const ALL: [Plant; 10] = [
        Plant::LinkToFile,
        Plant::LinkToFolder,
        Plant::LinkToNothing,
        Plant::LinkLoop,
        Plant::HardLink,
        Plant::Fifo,
        Plant::Socket,
        Plant::Device,
        Plant::Folder,
        Plant::File,
    ];

    /// Puts it down. What is hard-linked is `other`.
    pub fn put(self, at: &Path, outside: &Path, other: &Path) {
        match self {
            Plant::LinkToFile => symlink(outside.join("secret"), at).expect("a link"),
            Plant::LinkToFolder => symlink(outside.join("eve/Maildir"), at).expect("a link"),
            Plant::LinkToNothing => symlink(outside.join("made-by-whom"), at).expect("a link"),
            Plant::LinkLoop => symlink(at.file_name().expect("a name"), at).expect("a link"),
            Plant::HardLink => fs::hard_link(other, at).expect("a hard link"),
            Plant::Fifo => drop(must("mkfifo", &[&spec(at)])),
            Plant::Socket => drop(std::os::unix::net::UnixListener::bind(short(at)).expect("a socket")),
            // /dev/zero: whoever reads it never ends.
            Plant::Device => drop(must("mknod", &[&spec(at), "c", "1", "5"])),
            Plant::Folder => fs::create_dir_all(at.join("cur/new/tmp")).expect("folders"),
            Plant::File => fs::write(at, "what is this?").expect("a file"),
        }
        lchown(at, Some(USER), Some(GROUP)).expect("chown");
    }
}

/// A socket's path is at most 107 bytes long; a descriptor's is shorter.
fn short(at: &Path) -> PathBuf {
    let dir = Box::leak(Box::new(fs::File::open(at.parent().expect("a folder")).expect("a folder")));
    let fd = std::os::fd::AsRawFd::as_raw_fd(dir);
    PathBuf::from(format!("/proc/self/fd/{fd}")).join(at.file_name().expect("a name"))
}

/// What a watched run was.
pub struct Heard {
    pub typed: String,
    pub status: i32,
    pub lines: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
    /// The largest of all its processes. KiB.
    pub peak: u64,
    pub took: Duration,
}

impl Heard {
    pub fn run_name(&self) -> Option<String> {
        Some(self.lines.last()?["run"].as_str()?.to_owned())
    }

    pub fn mentions(&self, word: &str) -> bool {
        self.stdout.contains(word) || self.stderr.contains(word)
    }
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out: String = self.stdout.chars().rev().take(1500).collect::<Vec<_>>().into_iter().rev().collect();
        write!(f, "`{}` ended with {} in {:?}:\n{out}\n{}", self.typed, self.status, self.took, self.stderr)
    }
}

/// A process that is killed if the test gives up.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs to its end, at most for [`LIMIT`]. What it prints must be harmless, and JSON where that was asked for.
#[track_caller]
pub fn watched(tool: &Mailmend, args: &[OsString], json: bool) -> Heard {
    let mut command = tool.command();
    command.args(json.then_some("--json")).arg("--state").arg(&tool.state).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = Held(command.spawn().expect("the binary"));
    let peak = Arc::new(AtomicU64::new(0));
    let listen = |mut stream: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map(|_| bytes)
        })
    };
    let out = listen(Box::new(child.0.stdout.take().expect("its output")));
    let err = listen(Box::new(child.0.stderr.take().expect("its output")));
    let typed = format!("{args:?}");
    let status = loop {
        peak.fetch_max(peak_of(child.0.id()), SeqCst);
        match child.0.try_wait().expect("its end") {
            Some(status) => break status.code().unwrap_or(-1),
            None => assert!(start.elapsed() < LIMIT, "{typed} hangs"),
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |stream: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        let bytes = stream.join().expect("a listener").expect("its output");
        String::from_utf8(bytes).unwrap_or_else(|e| panic!("{typed} printed what is no UTF-8: {e}"))
    };
    let (stdout, stderr) = (text(out), text(err));
    for stream in [&stdout, &stderr] {
        let bad = stream.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(bad, None, "{typed} printed a control character:\n{stream}");
        assert!(!stream.contains(CANARY), "{typed} printed the secret:\n{stream}");
        assert!(!stream.contains("panicked"), "{typed}:\n{stream}");
    }
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{typed}: no JSON ({e}): {line}"));
    let lines: Vec<Value> = if json { stdout.lines().map(parse).collect() } else { Vec::new() };
    let heard = Heard { typed, status, lines, stdout, stderr, peak: peak.load(SeqCst), took: start.elapsed() };
    assert!(heard.status >= 0, "a signal ended {heard}");
    heard
}

/// The most memory that a process or one of its readers had. KiB.
fn peak_of(pid: u32) -> u64 {
    let all = kit::children(pid).into_iter().chain([pid]);
    let peaks = all.map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    });
    peaks.max().unwrap_or(0)
}

/// Longer with MAILMEND_LONG=1.
pub fn longer(usual: u64, long: u64) -> u64 {
    if std::env::var_os("MAILMEND_LONG").is_some_and(|v| v == "1") { long } else { usual }
}
