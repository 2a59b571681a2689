//! The lane's side: lists, opens, reads, hashes and checks, and can do nothing else.
//!
//! Runs in a process of its own, sandboxed before its first thread; under test on a thread. Knows no
//! catalog, no plan, no terminal. Everything that strangers wrote is parsed here and nowhere else.

use super::examine::Reader;
use super::gentle::Gentle;
use super::listing::{self, Manner};
use super::storage::Maps;
use super::sweep::Arm;
use super::{closely, examine, frame, ledger, packed, roots, sample, shared, storage, witness};
use crate::model::limits::{LIST_BATCH, NAMED_MAX, PATHS_BATCH};
use crate::model::path::escape;
use crate::model::wire::{Answer, EntryKind, Hello, ReadItem, Reading, Request, RootSpec, Sandbox, Stated, Trouble};
use crate::model::{Format, RelPath, Stat, container};
use crate::store::{discover, maildir::companion, sdbox};
use crate::sys::dir::{Dir, Root};
use crate::sys::fs::Kind;
use crate::sys::sandbox;
use crate::sys::slots::Slots;
use rayon::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What every reader of the lane shares.
pub struct Shop {
    roots: Vec<Root>,
    attachments: Option<Root>,
    slots: Slots,
    pace: Gentle,
    /// Seconds east of UTC of the clock that wrote dates without a zone.
    zone: i64,
    maps: Maps,
    /// Moved by one reader at a time, where messages are read in the order in which they lie.
    pub(super) arm: Arm,
    out: Mutex<UnixStream>,
    todo: Mutex<Todo>,
}

/// Requests that no reader has taken.
#[derive(Default)]
struct Todo {
    /// The parent waits for each of these.
    urgent: VecDeque<Request>,
    /// The parent asked ahead.
    later: VecDeque<Request>,
}

/// Serves one parent until it hangs up.
///
/// # Errors
/// The socket's; what goes wrong with files is answered, not returned.
pub fn serve(mut stream: UnixStream, slots: Slots) -> io::Result<()> {
    let mut buffer = Vec::new();
    let Some(hello) = frame::read::<Hello>(&mut stream, &mut buffer)? else { return Ok(()) };
    // Resolving patterns and entering the sandbox comes before the first thread; opening comes after it,
    // because a descriptor that was opened before still leads to the writable mount.
    let (paths, mut troubles) = roots::expand(&hello.roots);
    let apart: Vec<RootSpec> =
        hello.attachments.iter().map(|path| RootSpec { path: path.clone(), pattern: false }).collect();
    let (apart, mut lacking) = roots::expand(&apart);
    let seen: Vec<PathBuf> = [roots::only_paths(&paths), roots::only_paths(&apart)].concat();
    let mounts = crate::sys::mounts::Mounts::read().ok();
    let (pace, mut notes) = Gentle::of(&hello, &roots::only_paths(&paths), mounts.as_ref());
    // A device lies outside of what a sandbox lets be opened, and is no way to a writable mount.
    let arm = Arm::of(&hello, &roots::only_paths(&paths), mounts.as_ref());
    let sandbox =
        if hello.sandbox { crate::sys::sandbox::enter(&seen, sandbox::Options::default()) } else { unconfined() };
    let (open, infos) = roots::open(&paths, mounts.as_ref(), hello.without_openat2, &mut troubles);
    let (attachments, _) = roots::open(&apart, mounts.as_ref(), hello.without_openat2, &mut lacking);
    notes.extend(lacking.iter().map(|trouble| {
        format!("attachments: cannot {} {}: {}", trouble.operation, escape(&trouble.path), trouble.detail)
    }));
    frame::write(&mut stream, &Answer::Ready { roots: infos, troubles, sandbox, notes })?;

    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(hello.readers.max(1))
        .thread_name(|n| format!("reader-{n}"))
        .build()
        .map_err(io::Error::other)?;
    let (out, zone, attachments) = (Mutex::new(stream.try_clone()?), hello.zone, attachments.into_iter().next());
    let shop = Arc::new(Shop {
        roots: open,
        attachments,
        slots,
        pace,
        zone,
        maps: Maps::default(),
        arm,
        out,
        todo: Mutex::default(),
    });
    while let Some(request) = frame::read::<Request>(&mut stream, &mut buffer)? {
        shop.put(request);
        let shop = Arc::clone(&shop);
        pool.spawn_fifo(move || {
            // As many readers come as there are requests, so each is taken once.
            let Some(request) = shop.take() else { return };
            let guarded = catch_unwind(AssertUnwindSafe(|| shop.handle(&request)));
            let gone = match guarded {
                Ok(sent) => sent.is_err(),
                Err(panic) => shop.send(&Answer::Broken { text: panic_text(&panic) }).is_err(),
            };
            if gone {
                // The parent left: nobody is there to read for.
                drop(shop);
            }
        });
    }
    Ok(())
}

/// What is said where no sandbox was asked for.
pub fn unconfined() -> Sandbox {
    Sandbox {
        read_only_mounts: false,
        landlock_abi: 0,
        syscall_filter: false,
        capabilities_dropped: false,
        notes: vec!["runs inside the parent's process".to_owned()],
    }
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

impl Shop {
    fn put(&self, request: Request) {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::Recheck { .. } => todo.later.push_back(request),
            _ => todo.urgent.push_back(request),
        }
    }

    fn take(&self) -> Option<Request> {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        todo.urgent.pop_front().or_else(|| todo.later.pop_front())
    }

    pub fn send(&self, answer: &Answer) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut *out, answer)
    }

    /// Names what this reader is about to touch, so that a hang or a crash can be put down to it.
    pub fn name(&self, id: u64, progress: u64) {
        // Without slots a hang costs one more time-out, nothing else.
        self.slots.set(rayon::current_thread_index().unwrap_or(0), id, progress).ok();
    }

    pub fn reader<'a>(&'a self, tick: &'a dyn Fn(u64)) -> Reader<'a> {
        Reader { tick, pace: &self.pace, attachments: self.attachments.as_ref(), zone: self.zone, maps: &self.maps }
    }

    pub fn root(&self, number: u32, path: &[u8]) -> Result<&Root, Trouble> {
        self.roots.get(number as usize).ok_or_else(|| trouble(number, path, "open", &rustix::io::Errno::BADF.into()))
    }

    fn handle(&self, request: &Request) -> io::Result<()> {
        let done = match request {
            Request::Discover { id, root, dir } => self.discover(*id, *root, dir),
            Request::List { id, root, dir, format, stat } => {
                let manner = Manner { format: *format, stat: *stat, again: None };
                listing::list(self, *id, *root, dir, manner)
            }
            Request::Recheck { id, root, dir, format, times } => {
                let manner = Manner { format: *format, stat: true, again: Some(*times) };
                listing::list(self, *id, *root, dir, manner)
            }
            Request::ListHome { id, root, dir } => self.list_home(*id, *root, dir),
            Request::StatPath { id, root, path } => {
                let stat = self.look(*id, (*root, path), |r, _| stat_path(r, *root, path));
                self.send(&Answer::Stated { id: *id, stat })
            }
            Request::Read { items, written, in_order } => {
                self.pace.parent_wrote(*written);
                if *in_order { self.sweep(items) } else { self.read(items) }
            }
            Request::Locate { id, files } => self.send(&Answer::Located { id: *id, spots: self.locate(*id, files) }),
            Request::Probe { id, files, medium } => {
                self.send(&Answer::Probed { id: *id, took: self.probe(*id, files, *medium) })
            }
            Request::Witness { id, root, dir, names } => {
                let witness = self.look(*id, (*root, dir), |r, _| witness::witness(r, *root, dir, names));
                self.send(&Answer::Witness { id: *id, witness })
            }
            Request::Guids { id, root, dir } => {
                let guids = self.look(*id, (*root, dir), |r, _| Ok(witness::guids(r, dir))).unwrap_or_default();
                self.in_parts(&guids, |guids| Answer::Guids { id: *id, guids })?;
                self.send(&Answer::GuidsEnd { id: *id })
            }
            Request::Ledger { id, root, dir } => {
                let mut ledger = self.look(*id, (*root, dir), |r, _| ledger::ledger(r, *root, dir));
                let lines = ledger.as_mut().map(|ledger| std::mem::take(&mut ledger.lines)).unwrap_or_default();
                self.in_parts(&lines, |lines| Answer::Lines { id: *id, lines })?;
                self.send(&Answer::Ledger { id: *id, ledger })
            }
            Request::Pieces { id, root, path, form, cuts } => {
                let pieces = self.look(*id, (*root, path), |r, by| examine::pieces(r, *root, path, (form, cuts), by));
                self.send(&Answer::Pieces { id: *id, pieces })
            }
            Request::Fetch { id, root, path, form, encode } => {
                let sink = &mut |bytes: &[u8]| self.send(&Answer::Data { id: *id, bytes: bytes.to_vec() });
                let how = (form, *encode);
                let result = self.look(*id, (*root, path), |r, by| examine::fetch(r, *root, path, how, sink, by));
                self.send(&Answer::DataEnd { id: *id, result })
            }
            Request::Own { id, root, path } => {
                let own = self.look(*id, (*root, path), |r, by| shared::own_any(r, *root, path, by));
                self.send(&Answer::Own { id: *id, own })
            }
            Request::Storage { id, root, path } => {
                let storage = self.look(*id, (*root, path), |r, by| storage::storage(r, *root, path, by));
                self.send(&Answer::Storage { id: *id, storage })
            }
            Request::Range { id, root, path, span, file } => {
                let sink = &mut |bytes: &[u8]| self.send(&Answer::Data { id: *id, bytes: bytes.to_vec() });
                let at = packed::At { number: *root, path, span: *span, file: *file };
                let result = self.look(*id, (*root, path), |r, by| packed::range(r, &at, sink, by));
                self.send(&Answer::DataEnd { id: *id, result })
            }
            Request::Groups { id, root, path, length } => {
                let groups = self.look(*id, (*root, path), |r, by| closely::groups(r, *root, path, *length, by));
                self.send(&Answer::Groups { id: *id, groups })
            }
            Request::Fragment { id, root, path, span } => {
                let given = self.look(*id, (*root, path), |r, by| closely::fragment(r, *root, path, *span, by));
                self.send(&Answer::Fragment { id: *id, given })
            }
            Request::Sample { id, order } => sample::sample(
                &sample::Desk {
                    id: *id,
                    roots: &self.roots,
                    say: &|answer| self.send(answer),
                    tick: &|progress| self.name(*id, progress),
                },
                order,
            ),
        };
        self.name(0, 0);
        done
    }

    /// Does what one question about one path wants, under its number.
    fn look<T>(
        &self,
        id: u64,
        (root, path): (u32, &RelPath),
        ask: impl FnOnce(&Root, &Reader<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.name(id, 0);
        let tick = |progress| self.name(id, progress);
        ask(self.root(root, path.as_bytes())?, &self.reader(&tick))
    }

    /// Sends a long answer in frames of bounded size.
    fn in_parts<T: Clone>(&self, all: &[T], answer: impl Fn(Vec<T>) -> Answer) -> io::Result<()> {
        all.chunks(LIST_BATCH).try_for_each(|part| self.send(&answer(part.to_vec())))
    }

    fn read(&self, items: &[ReadItem]) -> io::Result<()> {
        let folders = Folders::default();
        let copies = items.par_iter().map(|item| (item.id, self.one(item, &folders))).collect();
        self.copies(copies, true)
    }

    /// Hands on what reading some items came to.
    pub(super) fn copies(&self, copies: Vec<(u64, Reading)>, last: bool) -> io::Result<()> {
        self.send(&Answer::Copies { copies, last, paused_ms: self.pace.paused_ms() })
    }

    /// Reads one item, whatever it is.
    pub(super) fn one(&self, item: &ReadItem, folders: &Folders) -> Reading {
        self.guarded(item, &|reader| {
            let root = self.root(item.root, item.path.as_bytes())?;
            if container::split(&item.path).is_some() {
                return packed::copy(root, item, reader);
            }
            if item.format == Format::Mdbox {
                return shared::copy(root, item, reader);
            }
            examine::copy(&*folders.of(root, item.root, &item.path)?, item, reader)
        })
    }

    /// Has one item in hand meanwhile. A panic is told as one.
    pub(super) fn guarded(&self, item: &ReadItem, read: &dyn Fn(&Reader<'_>) -> Reading) -> Reading {
        self.name(item.id, 0);
        let tick = |progress| self.name(item.id, progress);
        let reading = catch_unwind(AssertUnwindSafe(|| read(&self.reader(&tick))));
        self.name(0, 0);
        reading.unwrap_or_else(|panic| Err(internal(item, &panic_text(&panic))))
    }

    fn discover(&self, id: u64, number: u32, dir: &RelPath) -> io::Result<()> {
        let root = match self.root(number, dir.as_bytes()) {
            Ok(root) => root,
            Err(trouble) => {
                self.aside(id, vec![trouble], Vec::new())?;
                return self.send(&Answer::FoundEnd { id });
            }
        };
        let mut batch = Vec::new();
        let mut sent = Ok(());
        let steps = std::cell::Cell::new(0);
        let walked = discover::discover(
            root,
            number,
            dir,
            &mut |mailbox| {
                batch.push(mailbox);
                if batch.len() >= PATHS_BATCH && sent.is_ok() {
                    sent = self.send(&Answer::Found { id, mailboxes: std::mem::take(&mut batch) });
                }
            },
            &|| {
                steps.set(steps.get() + 1);
                self.name(id, steps.get());
            },
        );
        sent?;
        self.send(&Answer::Found { id, mailboxes: batch })?;
        self.aside(id, walked.troubles, walked.symlinks)?;
        self.send(&Answer::FoundEnd { id })
    }

    /// Tells what a walk or a listing met besides what it looked for, in frames of bounded size.
    pub fn aside(&self, id: u64, troubles: Vec<Trouble>, symlinks: Vec<RelPath>) -> io::Result<()> {
        for part in troubles.chunks(PATHS_BATCH) {
            self.send(&Answer::Aside { id, troubles: part.to_vec(), symlinks: Vec::new() })?;
        }
        for part in symlinks.chunks(PATHS_BATCH) {
            self.send(&Answer::Aside { id, troubles: Vec::new(), symlinks: part.to_vec() })?;
        }
        Ok(())
    }

    fn list_home(&self, id: u64, number: u32, dir: &RelPath) -> io::Result<()> {
        let (mut files, mut troubles) = (Vec::new(), Vec::new());
        self.name(id, 0);
        match self.root(number, dir.as_bytes()) {
            Ok(root) => {
                home_files(root, number, dir, &mut files, &mut troubles);
                if let Ok(sieve) = dir.join(b"sieve") {
                    home_files(root, number, &sieve, &mut files, &mut troubles);
                }
            }
            Err(trouble) => troubles.push(trouble),
        }
        for part in files.chunks(PATHS_BATCH) {
            self.send(&Answer::Home { id, files: part.to_vec() })?;
        }
        self.aside(id, troubles, Vec::new())?;
        self.send(&Answer::HomeEnd { id })
    }
}

/// The folders of one batch, each opened once: messages are opened relative to them.
#[derive(Default)]
pub(super) struct Folders(Mutex<HashMap<(u32, RelPath), Arc<Dir>>>);

impl Folders {
    /// The folder of a file.
    pub fn of(&self, root: &Root, number: u32, path: &RelPath) -> Result<Arc<Dir>, Trouble> {
        let at = (number, path.parent().unwrap_or_default());
        let known = |map: &HashMap<_, Arc<Dir>>| map.get(&at).cloned();
        if let Some(dir) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(dir);
        }
        let open = root.open_dir(&at.1).map_err(|e| trouble(number, path.as_bytes(), "open folder", &e))?;
        let open = Arc::new(open);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(at, Arc::clone(&open));
        Ok(open)
    }
}

pub fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Other => EntryKind::Other,
    }
}

fn stat_path(root: &Root, number: u32, path: &RelPath) -> Result<Stated, Trouble> {
    let fail = |error: io::Error| trouble(number, path.as_bytes(), "stat", &error);
    let (kind, stat) = root.stat(path).map_err(fail)?.ok_or_else(|| fail(rustix::io::Errno::NOENT.into()))?;
    let xattrs = match kind {
        // A file that cannot be opened still has its `lstat`, which is what a repair needs to know it by.
        Kind::File => root.open_file(path).and_then(|f| crate::sys::attr::xattrs(&f)).unwrap_or_default(),
        _ => Vec::new(),
    };
    Ok(Stated { kind: entry_kind(kind), stat, xattrs })
}

/// Collects the files of `dir` that belong to its user's mail set-up.
fn home_files(root: &Root, number: u32, dir: &RelPath, files: &mut Vec<(RelPath, Stat)>, troubles: &mut Vec<Trouble>) {
    let open = match root.open_dir(dir) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return troubles.push(trouble(number, dir.as_bytes(), "open folder", &error)),
    };
    let mut names = Vec::new();
    // The folder above all mailboxes of dbox is none itself, and holds what concerns all of them.
    let above = matches!(open.stat(sdbox::MAILBOXES), Ok(Some((Kind::Directory, _))));
    let ended = open.entries(&mut |name, kind, _| {
        let known = companion::in_home(name).or_else(|| companion::in_mailbox(name).filter(|_| above));
        if kind == Kind::File && known.is_some_and(companion::Companion::restored) {
            names.push(name.to_vec());
        }
        Ok(())
    });
    if let Err(error) = ended {
        troubles.push(trouble(number, dir.as_bytes(), "list folder", &error));
    }
    if names.len() > NAMED_MAX {
        let error = io::Error::new(io::ErrorKind::InvalidData, "more filters than anybody writes");
        troubles.push(trouble(number, dir.as_bytes(), "list folder", &error));
        names.truncate(NAMED_MAX);
    }
    for name in names {
        if let (Ok(path), Ok(Some((Kind::File, stat)))) = (dir.join(&name), open.stat(&name)) {
            files.push((path, stat));
        }
    }
}

/// What failed, where, and the system's reason.
pub fn trouble(root: u32, path: &[u8], operation: &str, error: &io::Error) -> Trouble {
    Trouble {
        root,
        path: path.to_vec(),
        operation: operation.to_owned(),
        errno: error.raw_os_error(),
        detail: error.to_string(),
    }
}

fn internal(item: &ReadItem, text: &str) -> Trouble {
    Trouble {
        root: item.root,
        path: item.path.as_bytes().to_vec(),
        operation: "check".to_owned(),
        errno: None,
        detail: format!("mailmend's own fault: {text}"),
    }
}
