//! Lane processes: everything that touches a store or a source for reading happens in one.
//!
//! The parent's side. It never opens a file of a store itself while scanning: it asks, waits with a time
//! limit, and leaves a lane that hangs behind without waiting for it.

pub mod ahead;
mod ask;
mod attached;
mod closely;
mod converted;
pub mod examine;
mod flight;
pub mod frame;
mod framed;
mod gentle;
mod ledger;
mod listing;
mod order;
mod packed;
mod past;
mod process;
pub mod roots;
mod sample;
pub mod sampling;
mod sealing;
pub mod serve;
mod shared;
mod storage;
mod sweep;
mod witness;

pub use process::lane_main;
pub use witness::NOT_A_FILE;

use ahead::Ahead;
use flight::{Flight, gone};
use order::Order;
use process::Running;

#[cfg(test)]
mod tests;

use crate::model::limits::{LANE_RESTARTS, READS_IN_FLIGHT};
use crate::model::wire::{
    Answer, Disk, Entry, FoundMailbox, Hello, IoClass, Place, ReadItem, Reading, Request, RootInfo, RootSpec, Sandbox,
    Trouble,
};
use crate::model::{Check, Digest, Format, Outcome, RelPath, Stamp, Stat};
use crate::store::discover;
use crate::sys::meter;
use crossbeam_channel::RecvTimeoutError;
use std::io;
use std::time::{Duration, Instant};

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
    /// Bytes a second that each lane may read of files.
    pub bwlimit: Option<u64>,
    pub io_class: IoClass,
    pub disk: Disk,
    /// Where the server keeps attachments apart from their messages.
    pub attachments: Option<std::path::PathBuf>,
    /// `--mbox-timezone`: seconds east of UTC of the clock that wrote dates without a zone.
    pub zone: i64,
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
    /// What of the wishes for a gentle pace cannot be had.
    pub notes: Vec<String>,
    running: Option<Running>,
    next_id: u64,
    restarts: u32,
    /// Lanes that were left behind because they hung.
    pub left_behind: u32,
    /// How long its readers together paused because others needed the disks.
    pub paused_ms: u64,
    ahead: Ahead,
    pub order: Order,
}

/// What a complete or partial listing of one mailbox gave.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Empty means complete: only then may a message be called missing.
    pub troubles: Vec<Trouble>,
    pub dirs: Vec<(Place, Stat)>,
    /// By which it is known again, where every entry was looked at.
    pub seal: Option<Digest>,
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

/// A mailbox that may be as it was: its folder, its format, and `mtime` and `ctime` of its `new` and `cur` then.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub dir: RelPath,
    pub format: Format,
    pub times: [Stamp; 4],
}

/// What a walk for mailboxes gave.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub mailboxes: Vec<FoundMailbox>,
    pub troubles: Vec<Trouble>,
    pub symlinks: Vec<RelPath>,
    /// Folders of `.eml` files beside the mailboxes of a server: documents of users, and no mail of the store.
    pub documents: usize,
}

impl Found {
    /// Sets such folders aside.
    fn set_aside(&mut self) {
        if self.mailboxes.iter().any(|mailbox| mailbox.format != Format::Eml) {
            let before = self.mailboxes.len();
            self.mailboxes.retain(|mailbox| mailbox.format != Format::Eml);
            self.documents = before - self.mailboxes.len();
        }
    }

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

/// What a lane that was started says of itself.
struct Ready {
    roots: Vec<RootInfo>,
    troubles: Vec<Trouble>,
    sandbox: Sandbox,
    notes: Vec<String>,
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
            order: Order::new(settings.disk),
            settings,
            specs,
            roots: Vec::new(),
            troubles: Vec::new(),
            sandbox: serve::unconfined(),
            notes: Vec::new(),
            running: None,
            next_id: 1,
            restarts: 0,
            left_behind: 0,
            paused_ms: 0,
            ahead: Ahead::default(),
        };
        let Ready { roots, troubles, sandbox, notes } = lane.launch()?;
        // A lane that is started again serves the very folders that this one found.
        lane.specs = roots.iter().map(|r| RootSpec { path: r.path.clone(), pattern: false }).collect();
        (lane.roots, lane.troubles, lane.sandbox, lane.notes) = (roots, troubles, sandbox, notes);
        Ok(lane)
    }

    fn launch(&mut self) -> Result<Ready, LaneError> {
        let running = Running::start(&self.settings).map_err(LaneError::Start)?;
        let hello = Hello {
            roots: self.specs.clone(),
            readers: self.settings.readers,
            sandbox: !self.settings.in_process,
            without_openat2: self.settings.without_openat2,
            bwlimit: self.settings.bwlimit,
            io_class: self.settings.io_class,
            blocks: self.order.sweeps(),
            attachments: self.settings.attachments.as_ref().map(|path| path.as_os_str().as_encoded_bytes().to_vec()),
            zone: self.settings.zone,
        };
        let path = self.path_text();
        frame::write(&mut &running.socket, &hello).map_err(LaneError::Start)?;
        match running.answers.recv_timeout(self.settings.read_timeout.max(Duration::from_secs(2))) {
            Ok(Ok(Answer::Ready { roots, troubles, sandbox, notes })) => {
                self.running = Some(running);
                Ok(Ready { roots, troubles, sandbox, notes })
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
        self.ahead.forget();
        if let Some(running) = self.running.take() {
            if fall == Fall::Hung {
                self.left_behind += 1;
            }
            running.leave();
        }
    }

    /// Waits for the next answer to what somebody waits for.
    fn answer(&mut self) -> Result<Answer, Fall> {
        loop {
            let answer = self.next_answer()?;
            if let Some(answer) = self.ahead.absorb(answer) {
                return Ok(answer);
            }
        }
    }

    /// Waits for the next answer, as long as the readers move.
    fn next_answer(&mut self) -> Result<Answer, Fall> {
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

    /// Reads every item, several batches in flight. `each` gets exactly one answer for each item, in any order; a file on
    /// which the lane hangs or dies is answered with a trouble and the rest goes on in a new lane. Once `stop` says so,
    /// nothing that was not begun is read.
    pub fn read_all(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachReading<'_>,
        stop: &dyn Fn() -> bool,
    ) {
        self.read_windows(items, each, stop);
    }

    /// The same in the order given, or close to it.
    fn read_as_given(
        &mut self,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachReading<'_>,
        stop: &dyn Fn() -> bool,
    ) {
        let watched = self.settings.io_class == IoClass::Idle;
        let in_order = self.order.sweeps();
        let mut flight = Flight { paced: self.settings.bwlimit.is_some(), in_order, ..Flight::default() };
        let path = self.path_text();
        loop {
            while flight.batches < READS_IN_FLIGHT && !stop() {
                let batch = flight.next_batch(items, &mut || self.id());
                if batch.is_empty() {
                    break;
                }
                let written = if watched { meter::written().unwrap_or(0) } else { 0 };
                match self.send_once(&Request::Read { items: batch, written, in_order }) {
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
                Ok(Answer::Copies { copies, last, paused_ms }) => {
                    self.paused_ms = self.paused_ms.max(paused_ms);
                    flight.batches = flight.batches.saturating_sub(usize::from(last));
                    for (id, result) in copies {
                        if let Some(item) = flight.outstanding.remove(&id) {
                            if is_ill(&result) {
                                self.order.fell_ill(&path);
                            }
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

/// Whether the medium did not give all of a file.
fn is_ill(reading: &Reading) -> bool {
    match reading {
        Ok(facts) => facts.evidence.get(Check::Read) == Outcome::Fail,
        Err(trouble) => trouble.errno == Some(rustix::io::Errno::IO.raw_os_error()),
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.abandon(Fall::Died);
    }
}
