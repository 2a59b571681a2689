//! The sandbox holds: a process that entered it tries every way to change a store, and none works.
//!
//! Each case runs in a process of its own, with one thread, as root or as a user who owns the whole store
//! (so that nothing but the sandbox is in the way). The same attempts without a sandbox must succeed, or
//! they would prove nothing. Where a layer cannot be had the case says so loudly; with `CI=true` it fails.

use mailmend::model::RelPath;
use mailmend::model::wire::Sandbox;
use mailmend::sys::dir::Root;
use mailmend::sys::sandbox::{Options, enter};
use mailmend::sys::slots::Slots;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Uid, XattrFlags};
use rustix::fs::{Timespec, Timestamps};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

const CASE: &str = "MAILMEND_SANDBOX_CASE";
const NOBODY: u32 = 65534;

/// Which layer a case is about; every layer alone must hold, except for Landlock's known gaps.
struct Case {
    name: &'static str,
    root: bool,
    /// `None`: no sandbox, every attempt must succeed.
    options: Option<Options>,
    /// Attempts that this layer is known not to stop.
    gaps: &'static [&'static str],
    /// What else it must stop.
    outside: &'static [&'static str],
}

const NOTHING: Options = Options {
    mounts: false,
    user_namespace: false,
    landlock: false,
    syscall_filter: false,
    without_mount_setattr: false,
};
const ALL: Options = Options { mounts: true, landlock: true, syscall_filter: true, ..NOTHING };
const MOUNTS: Options = Options { mounts: true, ..NOTHING };
const ONE_BY_ONE: Options = Options { without_mount_setattr: true, ..MOUNTS };
const LANDLOCK: Options = Options { landlock: true, ..NOTHING };
const FILTER: Options = Options { syscall_filter: true, ..NOTHING };

/// Landlock rules on opening and on names; it knows nothing of what belongs to an inode.
const LANDLOCK_GAPS: &[&str] = &[
    "chmod",
    "fchmod",
    "chown",
    "fchown",
    "utimens",
    "futimens",
    "setxattr",
    "fsetxattr",
    "removexattr",
    "acl",
    "setflags",
];
const EVERYTHING: &[&str] = &["read", "list", "device", "exec", "tcp", "kill"];
/// EPERM (filter), EACCES and EXDEV (Landlock), EROFS (mounts), ENOSYS (openat2 without Landlock).
const REFUSALS: &[&str] = &["(os error 1)", "(os error 13)", "(os error 18)", "(os error 30)", "(os error 38)"];

const CASES: [Case; 12] = [
    Case { name: "root_without", root: true, options: None, gaps: &[], outside: &[] },
    Case { name: "user_without", root: false, options: None, gaps: &[], outside: &[] },
    Case { name: "root_all", root: true, options: Some(ALL), gaps: &[], outside: EVERYTHING },
    Case { name: "root_mounts", root: true, options: Some(MOUNTS), gaps: &[], outside: &["device", "exec"] },
    Case {
        name: "root_mounts_one_by_one",
        root: true,
        options: Some(ONE_BY_ONE),
        gaps: &[],
        outside: &["device", "exec"],
    },
    Case { name: "root_landlock", root: true, options: Some(LANDLOCK), gaps: LANDLOCK_GAPS, outside: EVERYTHING },
    Case {
        name: "root_filter",
        root: true,
        options: Some(FILTER),
        gaps: &[],
        outside: &["device", "exec", "tcp", "kill"],
    },
    Case { name: "user_all", root: false, options: Some(ALL), gaps: &[], outside: EVERYTHING },
    Case {
        name: "user_namespace",
        root: false,
        options: Some(Options { user_namespace: true, ..MOUNTS }),
        gaps: &[],
        outside: &["device", "exec"],
    },
    Case {
        name: "user_namespace_one_by_one",
        root: false,
        options: Some(Options { user_namespace: true, ..ONE_BY_ONE }),
        gaps: &[],
        outside: &["device", "exec"],
    },
    Case { name: "user_landlock", root: false, options: Some(LANDLOCK), gaps: LANDLOCK_GAPS, outside: EVERYTHING },
    Case {
        name: "user_filter",
        root: false,
        options: Some(FILTER),
        gaps: &[],
        outside: &["device", "exec", "tcp", "kill"],
    },
];

fn main() {
    if let Some(name) = std::env::var_os(CASE) {
        let case = CASES.iter().find(|case| *case.name == name).expect("a case");
        return child(case);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |case: &&Case| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| case.name.contains(filter.as_str()))
    };
    let cases: Vec<&Case> = CASES.iter().filter(wanted).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return cases.iter().for_each(|case| println!("{}: test", case.name));
    }
    let mut failed = 0;
    for case in cases {
        let complaints = run(case);
        let skipped = case.root && !is_root();
        let verdict = if complaints.is_empty() { if skipped { "ignored" } else { "ok" } } else { "FAILED" };
        println!("test {} ... {verdict}", case.name);
        complaints.iter().for_each(|complaint| println!("    {complaint}"));
        failed += usize::from(!complaints.is_empty());
    }
    if failed > 0 {
        println!("{failed} failed");
        std::process::exit(101);
    }
}

/// Says loudly that something was not tested; in CI that is a failure.
fn not_tested(why: &str, complaints: &mut Vec<String>) {
    println!("NOT TESTED: {why}");
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        complaints.push(format!("not tested: {why}"));
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs one case and says what was not as it should be.
fn run(case: &Case) -> Vec<String> {
    let mut complaints = Vec::new();
    if case.root && !is_root() {
        not_tested(&format!("{} needs root", case.name), &mut complaints);
        return complaints;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let owner = if case.root || !is_root() { None } else { Some(NOBODY) };
    prepare(dir.path(), owner).expect("a store");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();

    let before = snapshot(dir.path());
    let output = Command::new(std::env::current_exe().expect("this program"))
        .env(CASE, case.name)
        .env("MAILMEND_SANDBOX_DIR", dir.path())
        .env("MAILMEND_SANDBOX_PORT", port.to_string())
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        complaints.push(format!("the child ended with {}: {text}{errors}", output.status));
        return complaints;
    }
    let held = case.options.is_none_or(|options| has_its_layers(case, options, &text, &mut complaints));
    if held {
        judge(case, &text, &mut complaints);
    }
    if held && case.options.is_some() {
        compare(&before, &snapshot(dir.path()), &mut complaints);
    }
    complaints
}

/// The child says `sandbox JSON`, `works NAME ok|ERROR`, `change NAME ok|ERROR`, `outside NAME ok|ERROR`.
fn judge(case: &Case, text: &str, complaints: &mut Vec<String>) {
    let mut said: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        if let (Some(what), Some(name), Some(result)) = (words.next(), words.next(), words.next()) {
            said.insert((what, name), result);
        }
    }
    for (&(what, name), &result) in &said {
        let succeeded = result == "ok";
        let stopped =
            case.options.is_some() && (what == "change" || (what == "outside" && case.outside.contains(&name)));
        match (what, stopped) {
            ("change" | "outside", true) if succeeded => complaints.push(format!("{what} {name} was possible")),
            // Failing for another reason would prove nothing.
            ("change" | "outside", true) if !REFUSALS.iter().any(|refusal| result.ends_with(refusal)) => {
                complaints.push(format!("{what} {name} was not refused but failed: {result}"));
            }
            ("works", _) if !succeeded => complaints.push(format!("{name} no longer works: {result}")),
            ("change", false) if !succeeded => {
                not_tested(&format!("{}: {name} cannot be tried here: {result}", case.name), complaints);
            }
            _ => {}
        }
    }
    let counted = said.keys().filter(|(what, _)| *what == "change").count();
    if counted != CHANGES.len() - case.gaps.len() {
        complaints.push(format!("only {counted} attempts were reported:\n{text}"));
    }
}

/// What the sandbox says of itself must be what was asked for. Where a layer could not be had, the case says so,
/// and is judged further only if others are left to hold.
fn has_its_layers(case: &Case, options: Options, text: &str, complaints: &mut Vec<String>) -> bool {
    let report = text.lines().find_map(|line| line.strip_prefix("sandbox ")).map(serde_json::from_str::<Sandbox>);
    let Some(Ok(sandbox)) = report else {
        complaints.push(format!("no report of the sandbox: {text}"));
        return false;
    };
    let mounts = options.mounts && (case.root || options.user_namespace);
    if !sandbox.capabilities_dropped
        || (sandbox.read_only_mounts && !mounts)
        || (sandbox.landlock_abi > 0 && !options.landlock)
    {
        complaints.push(format!("the report is wrong: {sandbox:?}"));
    }
    // A user has no mount namespace without a user namespace, and is told so.
    let expected = usize::from(options.mounts && !mounts);
    let complete = sandbox.read_only_mounts == mounts
        && (sandbox.landlock_abi > 0) == options.landlock
        && sandbox.notes.len() == expected;
    if !complete {
        not_tested(&format!("{}: {}", case.name, sandbox.notes.join("; ")), complaints);
    }
    complete || options == ALL
}

// ---- the store ----

/// A store with one file or folder for each attempt, and a file outside it.
fn prepare(top: &Path, owner: Option<u32>) -> io::Result<()> {
    std::fs::set_permissions(top, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let store = top.join("store");
    std::fs::create_dir_all(store.join("other"))?;
    std::fs::create_dir(store.join("rmdir"))?;
    std::fs::create_dir(top.join("outside"))?;
    std::fs::write(top.join("outside/file"), b"secret")?;
    for (name, _) in CHANGES {
        if *name != "rmdir" {
            std::fs::write(store.join(name), b"From: x\n\nbody\n")?;
        }
    }
    // Mail that only its owner and whoever may read everything can read.
    let private = store.join("private");
    std::fs::create_dir(&private)?;
    std::fs::write(private.join("mail"), b"From: y\n")?;
    std::fs::set_permissions(private.join("mail"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    if is_root() {
        std::os::unix::fs::chown(private.join("mail"), Some(NOBODY), Some(NOBODY))?;
        std::os::unix::fs::chown(&private, Some(NOBODY), Some(NOBODY))?;
    }
    // The file system may have none; the attempt then says that it cannot be tried.
    rustix::fs::setxattr(store.join("removexattr"), "user.x", b"x", XattrFlags::empty()).ok();
    if let Some(owner) = owner {
        for entry in walkdir::WalkDir::new(&store) {
            std::os::unix::fs::lchown(entry?.path(), Some(owner), Some(owner))?;
        }
    }
    Ok(())
}

/// Everything that could have changed: names, types, inodes, owners, modes, sizes, times, attributes, bytes.
fn snapshot(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(top) {
        let entry = entry.expect("an entry");
        let m = entry.metadata().expect("its metadata");
        let mut text = format!(
            "{:o} {}:{} ino {} links {} size {} mtime {}.{} ctime {}.{}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.ino(),
            m.nlink(),
            m.size(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec()
        );
        if m.is_file() {
            let file = File::open(entry.path()).expect("a file");
            let xattrs = mailmend::sys::attr::xattrs(&file).expect("its attributes");
            let bytes = std::fs::read(entry.path()).expect("its bytes");
            text += &format!(" {xattrs:?} {:?}", String::from_utf8_lossy(&bytes));
        }
        all.insert(entry.into_path(), text);
    }
    all
}

fn compare(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>, complaints: &mut Vec<String>) {
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    for path in paths {
        if before.get(path) != after.get(path) {
            complaints.push(format!("{} changed: {:?} -> {:?}", path.display(), before.get(path), after.get(path)));
        }
    }
}

// ---- the child ----

fn child(case: &Case) {
    let top = PathBuf::from(std::env::var_os("MAILMEND_SANDBOX_DIR").expect("a folder"));
    let store = top.join("store");
    if is_root() && !case.root {
        become_nobody().expect("another user");
    }
    let (mut here, there) = UnixStream::pair().expect("a socket");
    let slots = Slots::create(1).expect("slots");
    if let Some(options) = case.options {
        let sandbox = enter(std::slice::from_ref(&store), options);
        println!("sandbox {}", serde_json::to_string(&sandbox).expect("JSON"));
    }
    tell("works", "reading", reading(&store));
    tell("works", "socket", here.write_all(b"x").and_then(|()| (&there).read_exact(&mut [0])));
    tell("works", "slots", slots.set(0, 1, 2));
    tell("works", "threads", std::thread::Builder::new().spawn(|| {}).map(|thread| drop(thread.join())));
    for (name, attempt) in OUTSIDE {
        tell("outside", name, attempt(&top));
    }
    for (name, attempt) in CHANGES.iter().filter(|(name, _)| !case.gaps.contains(name)) {
        tell("change", name, attempt(&store, &store.join(name)));
    }
}

fn tell(what: &str, name: &str, result: io::Result<()>) {
    match result {
        Ok(()) => println!("{what} {name} ok"),
        Err(error) => println!("{what} {name} {error}"),
    }
}

fn become_nobody() -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // As in a process that this user started, so that its /proc/self belongs to it.
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?)
}

fn reading(store: &Path) -> io::Result<()> {
    let root = Root::open(store)?;
    let mut names = 0;
    root.top().entries(&mut |_, _, _| {
        names += 1;
        Ok(())
    })?;
    let mut text = String::new();
    let private = RelPath::new("private/mail").map_err(io::Error::other)?;
    root.open_file(&private)?.read_to_string(&mut text)?;
    let (_, stat) = root.stat(&private)?.ok_or(io::ErrorKind::NotFound)?;
    if is_root() && stat.uid != NOBODY {
        return Err(io::Error::other("shown with another owner"));
    }
    text.clear();
    root.open_file(&RelPath::new("create").map_err(io::Error::other)?)?.read_to_string(&mut text)?;
    let (stat, _) = mailmend::sys::direct::read_file(root.top(), b"create", &mut |_| {})?;
    match (names > 20, text.len() as u64 == stat.size) {
        (true, true) => Ok(()),
        _ => Err(io::Error::other("not what was written")),
    }
}

type Attempt = (&'static str, fn(&Path, &Path) -> io::Result<()>);

/// Every kind of change. Each has a file of its own name in the store to work on.
const CHANGES: &[Attempt] = &[
    ("create", |store, _| File::create_new(store.join("new")).map(drop)),
    ("truncate", |_, file| File::create(file).map(drop)),
    ("rdwr", |_, file| OpenOptions::new().read(true).write(true).open(file)?.write_all(b"X")),
    ("append", |_, file| OpenOptions::new().append(true).open(file)?.write_all(b"X")),
    ("ftruncate", |_, file| OpenOptions::new().write(true).open(file)?.set_len(1)),
    ("fallocate", |_, file| {
        let file = OpenOptions::new().write(true).open(file)?;
        Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 9000)?)
    }),
    ("reopen", |_, file| {
        let file = File::open(file)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        OpenOptions::new().write(true).open(path)?.write_all(b"X")
    }),
    ("openat2", |_, file| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat2(CWD, file, flags, Mode::empty(), rustix::fs::ResolveFlags::empty())?;
        File::from(fd).write_all(b"X")
    }),
    ("tmpfile", |store, _| {
        let fd = rustix::fs::open(store, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR)?;
        Ok(rustix::fs::linkat(
            CWD,
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            CWD,
            store.join("linked"),
            AtFlags::SYMLINK_FOLLOW,
        )?)
    }),
    ("unlink", |_, file| std::fs::remove_file(file)),
    ("rename", |store, file| std::fs::rename(file, store.join("renamed"))),
    ("rename_over", |store, file| std::fs::rename(file, store.join("append"))),
    ("move", |store, file| std::fs::rename(file, store.join("other/moved"))),
    ("exchange", |store, file| {
        Ok(rustix::fs::renameat_with(CWD, file, CWD, store.join("truncate"), RenameFlags::EXCHANGE)?)
    }),
    ("link", |store, file| std::fs::hard_link(file, store.join("second"))),
    ("symlink", |store, _| std::os::unix::fs::symlink("x", store.join("soft"))),
    ("mkdir", |store, _| std::fs::create_dir(store.join("folder"))),
    ("rmdir", |_, folder| std::fs::remove_dir(folder)),
    ("mkfifo", |store, _| Ok(rustix::fs::mkfifoat(CWD, store.join("fifo"), Mode::RUSR)?)),
    ("mknod", |store, _| Ok(rustix::fs::mknodat(CWD, store.join("node"), FileType::RegularFile, Mode::RUSR, 0)?)),
    ("bind", |store, _| UnixListener::bind(store.join("socket")).map(drop)),
    ("chmod", |_, file| Ok(rustix::fs::chmodat(CWD, file, Mode::RUSR, AtFlags::empty())?)),
    ("fchmod", |_, file| Ok(rustix::fs::fchmod(File::open(file)?, Mode::RUSR)?)),
    ("chown", |_, file| {
        let me = (Some(rustix::process::geteuid()), Some(rustix::process::getegid()));
        Ok(rustix::fs::chownat(CWD, file, me.0, me.1, AtFlags::empty())?)
    }),
    ("fchown", |_, file| {
        let me = (Some(rustix::process::geteuid()), Some(rustix::process::getegid()));
        Ok(rustix::fs::fchown(File::open(file)?, me.0, me.1)?)
    }),
    ("utimens", |_, file| Ok(rustix::fs::utimensat(CWD, file, &LONG_AGO, AtFlags::empty())?)),
    ("futimens", |_, file| Ok(rustix::fs::futimens(File::open(file)?, &LONG_AGO)?)),
    ("setxattr", |_, file| Ok(rustix::fs::setxattr(file, "user.y", b"y", XattrFlags::empty())?)),
    ("fsetxattr", |_, file| Ok(rustix::fs::fsetxattr(File::open(file)?, "user.y", b"y", XattrFlags::empty())?)),
    ("removexattr", |_, file| Ok(rustix::fs::removexattr(file, "user.x")?)),
    ("acl", |_, file| {
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, bits, id) in
            [(1u16, 6u16, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)]
        {
            acl.extend([&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        Ok(rustix::fs::setxattr(file, "system.posix_acl_access", &acl, XattrFlags::empty())?)
    }),
    ("setflags", |_, file| {
        let file = File::open(file)?;
        Ok(rustix::fs::ioctl_setflags(&file, rustix::fs::ioctl_getflags(&file)? | IFlags::NODUMP)?)
    }),
];

const LONG_AGO: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: 1, tv_nsec: 0 },
};

type Escape = (&'static str, fn(&Path) -> io::Result<()>);

/// What else a confined process has no business with.
const OUTSIDE: &[Escape] = &[
    ("read", |top| std::fs::read(top.join("outside/file")).map(drop)),
    ("list", |top| std::fs::read_dir(top.join("outside")).map(drop)),
    ("device", |_| OpenOptions::new().write(true).open("/dev/null").map(drop)),
    ("exec", |_| Command::new("/bin/true").status().map(drop)),
    ("tcp", |_| {
        let port = std::env::var("MAILMEND_SANDBOX_PORT").unwrap_or_default();
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).map(drop)
    }),
    ("kill", |_| {
        let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::test_kill_process(parent)?)
    }),
];
