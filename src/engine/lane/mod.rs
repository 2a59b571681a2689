//! Lane processes: everything that touches a store or a source for reading happens in one.
//!
//! The parent's side. It never opens a file of a store itself while scanning: it asks, waits with a time
//! limit, and leaves a lane that hangs behind without waiting for it.

pub mod examine;
pub mod frame;
mod ledger;
pub mod roots;
mod sample;
pub mod sampling;
pub mod serve;
mod witness;

pub use witness::NOT_A_FILE;

#[cfg(test)]
mod tests;

use crate::model::limits::{LANE_RESTARTS, READ_BATCH, READS_IN_FLIGHT};
use crate::model::message::Encoding;
use crate::model::pieces::{Cuts, Pieces};
use crate::model::server::{Guids, Ledger, Witness};
use crate::model::wire::{
    Answer, Entry, Fetched, FoundMailbox, Hello, Place, ReadItem, Reading, Request, RootInfo, RootSpec, Sandbox,
    Stated, Trouble,
};
use crate::model::{RelPath, Stat};
use crate::store::maildir::discover;
use crate::sys::slots::Slots;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

/// What requests for a mail server's lists, indexes and logs do.
const SERVERS_FILES: &str = "read the server's files";

/// How lanes are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Readers in flight in one lane.
    pub readers: usize,
    /// A read, stat or listing that takes longer is given up.
    pub read_timeout: Duration,
    /// Run the lane on a thread of this process, unconfined: tests and simulation only.
    pub in_process: bool,
    pub without_openat2: bool,
}

/// Why a lane could not serve at all.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error("cannot start a reader process: {0}")]
    Start(#[source] io::Error),
    #[error("the device of {path} does not answer")]
    Hung { path: String },
    #[error("the reader process for {path} ended: {detail}")]
    Died { path: String, detail: String },
}

/// What a request came to when the lane did not answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fall {
    Hung,
    Died,
}

/// One lane process and the folders that it serves.
pub struct Lane {
    settings: Settings,
    specs: Vec<RootSpec>,
    pub roots: Vec<RootInfo>,
    pub troubles: Vec<Trouble>,
    pub sandbox: Sandbox,
    running: Option<Running>,
    next_id: u64,
    restarts: u32,
    /// Lanes that were left behind because they hung.
    pub left_behind: u32,
}

/// The process (or thread), its socket and its slots.
struct Running {
    child: Option<Child>,
    socket: UnixStream,
    answers: Receiver<io::Result<Answer>>,
    slots: Slots,
}

/// What a complete or partial listing of one mailbox gave.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Empty means complete: only then may a message be called missing.
    pub troubles: Vec<Trouble>,
    pub dirs: Vec<(Place, Stat)>,
}

impl Listing {
    pub fn complete(&self) -> bool {
        self.troubles.is_empty()
    }

    /// Whether the mailbox folder itself was there.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|(place, _)| *place == Place::Top)
    }
}

/// What a walk for mailboxes gave.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub mailboxes: Vec<FoundMailbox>,
    pub troubles: Vec<Trouble>,
    pub symlinks: Vec<RelPath>,
}

impl Found {
    /// What kept the walk from looking into a place. That mail of another format lies there is no such thing
    /// where only copies are looked for.
    pub fn obstacles(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().filter(|t| t.operation != discover::FOREIGN)
    }
}

/// The files of a user's mail set-up in an account's home.
#[derive(Debug, Clone, Default)]
pub struct HomeFiles {
    pub files: Vec<(RelPath, Stat)>,
    pub troubles: Vec<Trouble>,
}

/// Takes each item back with what reading it came to.
pub type EachReading<'a> = dyn FnMut(ReadItem, Reading) + 'a;

impl Lane {
    /// Starts a lane for `specs`. Folders that cannot be opened are in `troubles`, not an error.
    ///
    /// # Errors
    /// When no process can be started, or it does not answer in time.
    pub fn start(specs: Vec<RootSpec>, settings: Settings) -> Result<Lane, LaneError> {
        let mut lane = Lane {
            settings,
            specs,
            roots: Vec::new(),
            troubles: Vec::new(),
            sandbox: serve::unconfined(),
            running: None,
            next_id: 1,
            restarts: 0,
            left_behind: 0,
        };
        let (roots, troubles, sandbox) = lane.launch()?;
        // A lane that is started again serves the very folders that this one found.
        lane.specs = roots.iter().map(|r| RootSpec { path: r.path.clone(), pattern: false }).collect();
        (lane.roots, lane.troubles, lane.sandbox) = (roots, troubles, sandbox);
        Ok(lane)
    }

    fn launch(&mut self) -> Result<(Vec<RootInfo>, Vec<Trouble>, Sandbox), LaneError> {
        let running = Running::start(&self.settings).map_err(LaneError::Start)?;
        let hello = Hello {
            roots: self.specs.clone(),
            readers: self.settings.readers,
            sandbox: !self.settings.in_process,
            without_openat2: self.settings.without_openat2,
        };
        let path = self.path_text();
        frame::write(&mut &running.socket, &hello).map_err(LaneError::Start)?;
        match running.answers.recv_timeout(self.settings.read_timeout.max(Duration::from_secs(2))) {
            Ok(Ok(Answer::Ready { roots, troubles, sandbox })) => {
                self.running = Some(running);
                Ok((roots, troubles, sandbox))
            }
            Ok(Ok(other)) => Err(LaneError::Died { path, detail: format!("unexpected answer {other:?}") }),
            Ok(Err(error)) => Err(LaneError::Died { path, detail: error.to_string() }),
            Err(RecvTimeoutError::Timeout) => {
                running.leave();
                self.left_behind += 1;
                Err(LaneError::Hung { path })
            }
            Err(RecvTimeoutError::Disconnected) => {
                let detail = running.farewell();
                Err(LaneError::Died { path, detail })
            }
        }
    }

    fn path_text(&self) -> String {
        self.specs.first().map(|s| crate::model::path::escape(&s.path)).unwrap_or_default()
    }

    /// A number for the next request or item; never used twice in one lane's life.
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The running process, started again if the last one was left behind or died.
    fn running(&mut self) -> Result<&Running, LaneError> {
        if self.running.is_none() {
            if self.restarts >= LANE_RESTARTS {
                return Err(LaneError::Hung { path: self.path_text() });
            }
            self.restarts += 1;
            self.launch()?;
        }
        self.running.as_ref().ok_or_else(|| LaneError::Hung { path: self.path_text() })
    }

    /// Leaves the process behind: killed, not waited for.
    fn abandon(&mut self, fall: Fall) {
        if let Some(running) = self.running.take() {
            if fall == Fall::Hung {
                self.left_behind += 1;
            }
            running.leave();
        }
    }

    /// Waits for the next answer, as long as the readers move.
    fn answer(&mut self) -> Result<Answer, Fall> {
        let Some(running) = &self.running else { return Err(Fall::Died) };
        let mut last = running.seats();
        let mut since = Instant::now();
        loop {
            match running.answers.recv_timeout(Duration::from_millis(200)) {
                Ok(Ok(Answer::Broken { .. })) | Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fall::Died);
                }
                Ok(Ok(answer)) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {
                    let now = running.seats();
                    if now != last {
                        (last, since) = (now, Instant::now());
                    } else if since.elapsed() >= self.settings.read_timeout {
                        return Err(Fall::Hung);
                    }
                }
            }
        }
    }

    /// Items that a reader had in hand when the lane fell.
    fn in_hand(&self) -> Vec<u64> {
        let Some(running) = &self.running else { return Vec::new() };
        running.seats().into_iter().map(|(id, _)| id).filter(|&id| id != 0).collect()
    }

    fn send(&mut self, request: &Request) -> Result<(), LaneError> {
        // A process that died since the last answer is started again, once, for this request.
        if self.send_once(request)? {
            return Ok(());
        }
        self.abandon(Fall::Died);
        frame::write(&mut &self.running()?.socket, request).map_err(LaneError::Start)
    }

    /// Sends a request to the running process; false where that one died.
    fn send_once(&mut self, request: &Request) -> Result<bool, LaneError> {
        let mut socket = &self.running()?.socket;
        Ok(frame::write(&mut socket, request).is_ok())
    }

    fn fallen(&mut self, fall: Fall, root: u32, path: &RelPath, operation: &str) -> Trouble {
        self.abandon(fall);
        let (errno, detail) = match fall {
            Fall::Hung => (Some(110), format!("no answer within {} s", self.settings.read_timeout.as_secs())),
            Fall::Died => (None, "the reader process ended on it".to_owned()),
        };
        Trouble { root, path: path.as_bytes().to_vec(), operation: operation.to_owned(), errno, detail }
    }

    /// Walks `dir` for mailboxes. A walk that did not finish has a trouble.
    pub fn discover(&mut self, root: u32, dir: &RelPath) -> Result<Found, LaneError> {
        let id = self.id();
        self.send(&Request::Discover { id, root, dir: dir.clone() })?;
        let mut found = Found::default();
        loop {
            match self.answer() {
                Ok(Answer::Found { id: got, mailboxes }) if got == id => found.mailboxes.extend(mailboxes),
                Ok(Answer::Aside { id: got, troubles, symlinks }) if got == id => {
                    found.troubles.extend(troubles);
                    found.symlinks.extend(symlinks);
                }
                Ok(Answer::FoundEnd { id: got }) if got == id => return Ok(found),
                Ok(_) => {}
                Err(fall) => {
                    let trouble = self.fallen(fall, root, dir, "look for mailboxes");
                    found.troubles.push(trouble);
                    return Ok(found);
                }
            }
        }
    }

    /// Lists one mailbox.
    pub fn list(&mut self, root: u32, dir: &RelPath, stat: bool) -> Result<Listing, LaneError> {
        let id = self.id();
        self.send(&Request::List { id, root, dir: dir.clone(), stat })?;
        let mut listing = Listing::default();
        loop {
            match self.answer() {
                Ok(Answer::Entries { id: got, entries }) if got == id => listing.entries.extend(entries),
                Ok(Answer::Aside { id: got, troubles, .. }) if got == id => {
                    // Nothing there is an answer, not a trouble: the listing above it was possible.
                    let absent = |t: &Trouble| matches!(t.errno, Some(2 | 20)) && t.path == dir.as_bytes();
                    listing.troubles.extend(troubles.into_iter().filter(|t| !absent(t)));
                }
                Ok(Answer::EntriesEnd { id: got, dirs }) if got == id => {
                    listing.dirs = dirs;
                    return Ok(listing);
                }
                Ok(_) => {}
                Err(fall) => {
                    let trouble = self.fallen(fall, root, dir, "list folder");
                    listing.troubles.push(trouble);
                    return Ok(listing);
                }
            }
        }
    }

    /// The companion files in an account's home.
    pub fn home(&mut self, root: u32, dir: &RelPath) -> Result<HomeFiles, LaneError> {
        let id = self.id();
        self.send(&Request::ListHome { id, root, dir: dir.clone() })?;
        let mut home = HomeFiles::default();
        loop {
            match self.answer() {
                Ok(Answer::Home { id: got, files }) if got == id => home.files.extend(files),
                Ok(Answer::Aside { id: got, troubles, .. }) if got == id => home.troubles.extend(troubles),
                Ok(Answer::HomeEnd { id: got }) if got == id => return Ok(home),
                Ok(_) => {}
                Err(fall) => {
                    home.troubles.push(self.fallen(fall, root, dir, "list folder"));
                    return Ok(home);
                }
            }
        }
    }

    /// Puts a request that one answer ends: the first that `pick` takes. A lane that falls over it is a trouble with `path`.
    fn ask<T>(
        &mut self,
        request: &Request,
        (root, path, doing): (u32, &RelPath, &str),
        mut pick: impl FnMut(Answer) -> Option<T>,
    ) -> Result<Result<T, Trouble>, LaneError> {
        self.send(request)?;
        loop {
            match self.answer() {
                Ok(answer) => {
                    if let Some(taken) = pick(answer) {
                        return Ok(Ok(taken));
                    }
                }
                Err(fall) => return Ok(Err(self.fallen(fall, root, path, doing))),
            }
        }
    }

    /// Type, `lstat` and attributes of one path.
    pub fn stat(&mut self, root: u32, path: &RelPath) -> Result<Result<Stated, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::StatPath { id, root, path: path.clone() };
        let stated = self.ask(&request, (root, path, "stat"), |answer| match answer {
            Answer::Stated { id: got, stat } if got == id => Some(stat),
            _ => None,
        })?;
        Ok(stated.flatten())
    }

    /// What a server's own files say of messages that are gone from the mailbox `dir`.
    pub fn witness(
        &mut self,
        root: u32,
        dir: &RelPath,
        names: Vec<(Vec<u8>, Option<u32>)>,
    ) -> Result<Result<Witness, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Witness { id, root, dir: dir.clone(), names };
        let witness = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Witness { id: got, witness } if got == id => Some(witness),
            _ => None,
        })?;
        Ok(witness.flatten())
    }

    /// All that a server's own files of the mailbox `dir` say of it.
    pub fn ledger(&mut self, root: u32, dir: &RelPath) -> Result<Result<Ledger, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Ledger { id, root, dir: dir.clone() };
        let mut all = Vec::new();
        let ledger = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Lines { id: got, lines } if got == id => {
                all.extend(lines);
                None
            }
            Answer::Ledger { id: got, ledger } if got == id => Some(ledger),
            _ => None,
        })?;
        Ok(ledger.flatten().map(|ledger| Ledger { lines: all, ..ledger }))
    }

    /// Files that the server knows by another name than their own: names without flags, and the names that the messages
    /// go by. Empty where no list says so, or it cannot be read: then files are what they are called.
    pub fn guids(&mut self, root: u32, dir: &RelPath) -> Result<Guids, LaneError> {
        let id = self.id();
        let mut all = Vec::new();
        let request = Request::Guids { id, root, dir: dir.clone() };
        let ended = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Guids { id: got, guids } if got == id => {
                all.extend(guids);
                None
            }
            Answer::GuidsEnd { id: got } if got == id => Some(()),
            _ => None,
        })?;
        Ok(ended.map_or_else(|_| Vec::new(), |()| all))
    }

    /// Digests of each piece of a file's content.
    pub fn pieces(&mut self, root: u32, path: &RelPath, cuts: &Cuts) -> Result<Result<Pieces, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Pieces { id, root, path: path.clone(), cuts: cuts.clone() };
        let pieces = self.ask(&request, (root, path, "compare"), |answer| match answer {
            Answer::Pieces { id: got, pieces } if got == id => Some(pieces),
            _ => None,
        })?;
        Ok(pieces.flatten())
    }

    /// Brings a file's bytes, window by window.
    pub fn fetch(
        &mut self,
        root: u32,
        path: &RelPath,
        encode: Option<Encoding>,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<Fetched, Trouble>, LaneError> {
        let id = self.id();
        self.send(&Request::Fetch { id, root, path: path.clone(), encode })?;
        let mut taken = Ok(());
        loop {
            match self.answer() {
                Ok(Answer::Data { id: got, bytes }) if got == id => {
                    if taken.is_ok() {
                        taken = sink(&bytes);
                    }
                }
                Ok(Answer::DataEnd { id: got, result }) if got == id => {
                    return Ok(match taken {
                        Ok(()) => result,
                        Err(error) => Err(serve::trouble(root, path.as_bytes(), "write", &error)),
                    });
                }
                Ok(_) => {}
                Err(fall) => return Ok(Err(self.fallen(fall, root, path, "read"))),
            }
        }
    }

    /// Reads one file.
    pub fn read_one(&mut self, item: ReadItem) -> Reading {
        let mut answer = None;
        let path = item.path.clone();
        let root = item.root;
        self.read_all(&mut std::iter::once(item), &mut |_, result| answer = Some(result), &|| false);
        answer.unwrap_or_else(|| {
            Err(serve::trouble(root, path.as_bytes(), "read", &io::Error::other("the reader gave no answer")))
        })
    }

    /// Reads every item, several batches in flight. `each` gets exactly one answer for each item that was
    /// taken from `items`; a file on which the lane hangs or dies is answered with a trouble and the rest
    /// goes on in a new lane. Stops taking items once `stop` says so.
    pub fn read_all(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachReading<'_>,
        stop: &dyn Fn() -> bool,
    ) {
        let mut flight = Flight::default();
        loop {
            while flight.batches < READS_IN_FLIGHT && !stop() {
                let batch = flight.next_batch(items, &mut || self.id());
                if batch.is_empty() {
                    break;
                }
                match self.send_once(&Request::Read { items: batch }) {
                    Ok(true) => flight.batches += 1,
                    // What the dead process had was lost with it: all of it is asked for again.
                    Ok(false) => self.recover(Fall::Died, &mut flight, each),
                    Err(error) => {
                        flight.give_up(&error, each);
                        for item in &mut *items {
                            let trouble = gone(&item, &error);
                            each(item, Err(trouble));
                        }
                        return;
                    }
                }
            }
            if flight.outstanding.is_empty() {
                return;
            }
            match self.answer() {
                Ok(Answer::Copies { copies }) => {
                    flight.batches = flight.batches.saturating_sub(1);
                    for (id, result) in copies {
                        if let Some(item) = flight.outstanding.remove(&id) {
                            each(item, result);
                        }
                    }
                }
                Ok(_) => {}
                Err(fall) => self.recover(fall, &mut flight, each),
            }
        }
    }

    /// After a fall, everything outstanding is asked for again, except for its culprits. A reader that hangs has
    /// named its file. A process that died had several in hand, and may have been killed for no fault of any:
    /// those are tried again one by one, and only the file on which it dies a second time, alone, is given up.
    /// Without a culprit it ends all the same: processes are started again a limited number of times.
    fn recover(&mut self, fall: Fall, flight: &mut Flight, each: &mut EachReading<'_>) {
        let mut in_hand = self.in_hand();
        in_hand.retain(|id| flight.outstanding.contains_key(id));
        self.abandon(fall);
        flight.batches = 0;
        for id in in_hand {
            let Some(item) = flight.outstanding.remove(&id) else { continue };
            if fall == Fall::Died && !std::mem::take(&mut flight.alone) {
                flight.suspects.push_back(item);
            } else {
                let trouble = self.fallen(fall, item.root, &item.path, "read");
                each(item, Err(trouble));
            }
        }
        flight.alone = false;
        flight.wary |= fall == Fall::Hung;
        flight.again.extend(std::mem::take(&mut flight.outstanding).into_values());
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.abandon(Fall::Died);
    }
}

/// Items on their way.
#[derive(Default)]
struct Flight {
    outstanding: BTreeMap<u64, ReadItem>,
    /// Items of a lane that fell, to be asked for again.
    again: VecDeque<ReadItem>,
    /// Items that a lane had in hand when it died: to be asked for one by one.
    suspects: VecDeque<ReadItem>,
    /// The one batch in flight is one suspect.
    alone: bool,
    batches: usize,
    /// A lane fell. A batch is answered as a whole, so from now on no file waits for one that hangs.
    wary: bool,
}

impl Flight {
    fn next_batch(&mut self, items: &mut dyn Iterator<Item = ReadItem>, id: &mut dyn FnMut() -> u64) -> Vec<ReadItem> {
        if self.batches > 0 && (self.alone || !self.suspects.is_empty()) {
            return Vec::new();
        }
        let suspect = self.suspects.pop_front();
        self.alone = suspect.is_some();
        let most = if self.alone || self.wary { 1 } else { READ_BATCH };
        let mut next = suspect;
        let mut batch = Vec::new();
        while batch.len() < most {
            let Some(item) = next.take().or_else(|| self.again.pop_front()).or_else(|| items.next()) else { break };
            let asked = ReadItem { id: id(), ..item };
            self.outstanding.insert(asked.id, asked.clone());
            batch.push(asked);
        }
        batch
    }

    fn give_up(&mut self, error: &LaneError, each: &mut EachReading<'_>) {
        let outstanding = std::mem::take(&mut self.outstanding).into_values();
        for item in outstanding.chain(std::mem::take(&mut self.suspects)).chain(std::mem::take(&mut self.again)) {
            let trouble = gone(&item, error);
            each(item, Err(trouble));
        }
    }
}

fn gone(item: &ReadItem, error: &LaneError) -> Trouble {
    Trouble {
        root: item.root,
        path: item.path.as_bytes().to_vec(),
        operation: "read".to_owned(),
        errno: None,
        detail: error.to_string(),
    }
}

impl Running {
    fn start(settings: &Settings) -> io::Result<Running> {
        let (socket, theirs) = UnixStream::pair()?;
        let slots = Slots::create(settings.readers.max(1))?;
        let child = if settings.in_process {
            let slots = Slots::from_fd(slots.as_fd().try_clone_to_owned()?)?;
            thread::Builder::new().name("lane".to_owned()).spawn(move || serve::serve(theirs, slots))?;
            None
        } else {
            Some(spawn(theirs.into(), slots.as_fd().try_clone_to_owned()?)?)
        };
        // Bounded: a lane that produces faster than the parent records waits in its own socket.
        let (sender, answers) = bounded(2 * READS_IN_FLIGHT);
        let mut reading = socket.try_clone()?;
        thread::Builder::new().name("lane-answers".to_owned()).spawn(move || {
            let mut buffer = Vec::new();
            loop {
                match frame::read::<Answer>(&mut reading, &mut buffer) {
                    Ok(None) => return,
                    Ok(Some(answer)) => {
                        if sender.send(Ok(answer)).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        drop(sender.send(Err(error)));
                        return;
                    }
                }
            }
        })?;
        Ok(Running { child, socket, answers, slots })
    }

    /// What each reader has in hand, and how far it is.
    fn seats(&self) -> Vec<(u64, u64)> {
        (0..self.slots.workers()).map(|w| self.slots.get(w).unwrap_or_default()).collect()
    }

    /// Kills the process and does not wait for it: one that hangs in the kernel cannot end.
    fn leave(mut self) {
        self.socket.shutdown(std::net::Shutdown::Both).ok();
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            // Reaped by a thread of its own, which dies with us if the kernel never lets the child go.
            thread::spawn(move || child.wait().ok());
        }
    }

    /// Why a process that hung up did so.
    fn farewell(mut self) -> String {
        match self.child.take().map(|mut child| child.wait()) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "its thread ended".to_owned(),
        }
    }
}

/// Starts this program again as a lane: its socket as standard input, its slots as standard output, no
/// terminal, no environment, a process group of its own so that Ctrl-C reaches the parent alone.
fn spawn(socket: OwnedFd, slots: OwnedFd) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    // Ours are closed on execution; what a careless shell or service left open is not. Before Linux 5.11 it stays.
    crate::sys::sandbox::inherit_nothing().ok();
    Command::new("/proc/self/exe")
        .arg("lane")
        .env_clear()
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(slots))
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The whole life of a lane process.
///
/// # Errors
/// The socket's.
pub fn lane_main() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let slots = Slots::from_fd(io::stdout().as_fd().try_clone_to_owned()?)?;
    serve::serve(socket, slots)
}
