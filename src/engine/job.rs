//! What one run works with: its options, lanes, catalog, counters and listeners.

use super::account::EngineError;
use super::budget::{self, Night};
use super::lane::{EachReading, Lane};
use super::lanes::Lanes;
use super::mbox::Numbers;
use super::planfile::PlanWriter;
use super::risk::Risk;
use super::selection::Selection;
use super::unfinished::Resumed;
use crate::catalog::{Catalog, RunId, StoreId};
use crate::model::event::{Event, Finding, Observer, Phase, Subject};
use crate::model::plan::Step;
use crate::model::tally::Tally;
use crate::model::wire::{ReadItem, Reading, Trouble};
use crate::model::{RelPath, Verdict, path};
use crate::plan::Undecided;
use crate::plan::budget::Budget;
use crate::source::Generation;
use crate::source::layout::Layout;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Looks and reports.
    Audit,
    /// Also records in the catalog.
    Verify,
    /// Plans, and executes if told to.
    Repair,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Audit => "audit",
            Mode::Verify => "verify",
            Mode::Repair => "repair",
        }
    }
}

/// What the user chose.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    /// Compare also messages that look whole with their copies.
    pub deep: bool,
    pub undecided: Undecided,
    /// `--owner`.
    pub owner: Option<(u32, u32)>,
    pub select: Selection,
    /// `--layout`.
    pub layout: Option<Layout>,
    /// The other side of the server's sync has what it deleted back: nothing is held because of it.
    pub both_sides: bool,
    /// Hold findings that a step will heal back until its outcome is known.
    pub hold_findings: bool,
    /// `--budget`: a verify reads only so much of what is on record.
    pub budget: Option<Budget>,
    /// `--max-age` in seconds: what a budget leaves unread for longer counts as not checked.
    pub max_age: Option<u64>,
    /// `--read-from disk`: messages are read past the cache where the file system lets us.
    pub medium: bool,
    /// `--against`: the one source is a replica, which is read and compared as a whole.
    pub against: bool,
}

/// The store of this run.
#[derive(Debug, Clone)]
pub struct StoreRef {
    /// Canonical.
    pub path: PathBuf,
    /// The same for people and machines.
    pub text: String,
    pub lane: usize,
    pub root: u32,
    pub dev: u64,
    /// Whether it is itself where a file system is mounted, and of which type.
    pub mount_point: bool,
    pub fs_type: String,
    /// Its number in the catalog.
    pub id: Option<StoreId>,
    /// `--layout`.
    pub desk: Option<Desk>,
}

/// Where the server of the store keeps lists and indexes, if not with the mail: lane and root of what all accounts have
/// in common.
#[derive(Debug, Clone)]
pub struct Desk {
    pub layout: Layout,
    pub control: Option<(usize, u32)>,
    pub index: Option<(usize, u32)>,
}

/// One run on one store.
pub struct Job<'a> {
    pub run: String,
    pub run_id: Option<RunId>,
    /// When the run began: everything that it records was seen then, so that of two mailboxes of one run neither
    /// is older than the other.
    pub started: crate::model::Stamp,
    pub options: Options,
    pub store: StoreRef,
    pub generations: Vec<Generation>,
    pub lanes: &'a mut Lanes,
    pub catalog: Option<&'a mut Catalog>,
    pub observer: &'a mut dyn Observer,
    /// Says whether the user asked to stop.
    pub stop: &'a dyn Fn() -> bool,
    pub tally: Tally,
    pub plan: Option<PlanWriter>,
    /// Turns a finding into the line that the catalog keeps.
    pub describe: &'a dyn Fn(&Finding) -> String,
    pub findings: Vec<crate::catalog::FindingRow>,
    /// Messages listed so far, for progress.
    pub known_messages: u64,
    pub read_messages: u64,
    pub read_bytes: u64,
    /// Messages that the cache may have answered for although the medium was asked.
    pub cached: u64,
    /// Read errors of the store's own device.
    pub store_errors: u64,
    /// What a repair that was cut off still owes this store.
    pub resumed: Resumed,
    /// The catalog knows accounts of this store.
    pub catalog_knows_store: bool,
    /// When earlier verifies of this store began. Unix seconds.
    pub nights: Vec<i64>,
    /// What the server or its sync would do now.
    pub risk: Risk,
    /// How often each kind of "not checked" was told: after a few, only the number grows.
    pub told: HashMap<String, u64>,
    /// Files of the server that could not be read, each told once however often it is asked.
    pub unread: HashSet<(u32, Vec<u8>)>,
    /// Generations that were walked whole and hold mail, whosever: an account that is not in one was not there.
    pub holds_mail: HashSet<usize>,
    /// How the messages of the account's mailboxes in one file are numbered.
    pub numbers: HashMap<RelPath, Numbers>,
    /// What a budget lets this run read.
    pub night: Option<Night>,
}

/// Lines that one reason for "not checked" gets.
const TOLD: u64 = 10;

/// Hears what reading each file came to. May use the job, except for its lanes.
pub type EachRead<'e> = dyn FnMut(&mut Job<'_>, ReadItem, Reading) + 'e;

impl Job<'_> {
    pub fn store_lane(&mut self) -> &mut Lane {
        &mut self.lanes.lanes[self.store.lane]
    }

    /// Reads files of the store, several in flight.
    pub fn read_store(&mut self, items: &mut dyn Iterator<Item = ReadItem>, each: &mut EachRead<'_>) {
        self.read_lane(self.store.lane, items, each);
    }

    /// Reads files through one lane.
    pub fn read_lane(&mut self, lane: usize, items: &mut dyn Iterator<Item = ReadItem>, each: &mut EachRead<'_>) {
        self.read_by(Lane::read_all, lane, items, each);
    }

    /// Reads files of the store that its lane arranged.
    pub fn read_arranged(&mut self, items: &mut dyn Iterator<Item = ReadItem>, each: &mut EachRead<'_>) {
        self.read_by(Lane::read_arranged, self.store.lane, items, each);
    }

    /// The lane is taken out of the set meanwhile, so that `each` may use the job, except for its lanes.
    fn read_by(
        &mut self,
        read: fn(&mut Lane, &mut dyn Iterator<Item = ReadItem>, &mut EachReading<'_>, &dyn Fn() -> bool),
        lane: usize,
        items: &mut dyn Iterator<Item = ReadItem>,
        each: &mut EachRead<'_>,
    ) {
        let stop = self.stop;
        let mut taken = self.lanes.lanes.swap_remove(lane);
        read(&mut taken, items, &mut |item, result| each(self, item, result), stop);
        let news = std::mem::take(&mut taken.order.news);
        self.lanes.lanes.push(taken);
        let last = self.lanes.lanes.len() - 1;
        self.lanes.lanes.swap(lane, last);
        for (told, text) in news {
            self.observer.event(if told { Event::Note { text } } else { Event::Detail { text } });
        }
    }

    /// The generation that the store is held against.
    pub fn against(&self) -> Option<usize> {
        (self.options.against && !self.generations.is_empty()).then_some(0)
    }

    pub fn stopped(&self) -> bool {
        (self.stop)()
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.observer.event(Event::Note { text: text.into() });
    }

    pub fn progress(&mut self, phase: Phase) {
        let (done, total, bytes) = (self.read_messages, self.known_messages, self.read_bytes);
        self.observer.event(Event::Progress { phase, done, total, bytes });
    }

    /// Something should have been looked at and could not be.
    pub fn not_checked(&mut self, trouble: &Trouble) {
        self.tally.not_checked += 1;
        let reason = match &trouble.operation[..] {
            "check" | "follow" => trouble.detail.clone(),
            operation => format!("cannot {operation}: {}", trouble.detail),
        };
        let told = self.told.entry(reason.clone()).or_default();
        *told += 1;
        let quiet = *told > TOLD;
        if trouble.errno == Some(5) || trouble.errno == Some(110) {
            self.tally.read_errors += 1;
        }
        let hint = match trouble.errno {
            Some(13 | 1) => Some("run mailmend as root or as the owner of the mail".to_owned()),
            Some(5) => Some("the disk returned a read error here: see the kernel log".to_owned()),
            _ => None,
        };
        if quiet {
            return;
        }
        let what = format!("not checked: {reason}");
        self.observer.event(Event::Error { path: path::escape(&trouble.path), what, hint });
    }

    /// The same of a file that several questions are about: counts once.
    pub fn not_checked_once(&mut self, trouble: &Trouble) {
        if self.unread.insert((trouble.root, trouble.path.clone())) {
            self.not_checked(trouble);
        }
    }

    /// Says how often what was no longer told happened.
    pub fn tell_rest(&mut self) {
        budget::tell_overdue(self);
        let mut rest: Vec<_> = std::mem::take(&mut self.told).into_iter().filter(|(_, n)| *n > TOLD).collect();
        rest.sort();
        for (reason, n) in rest {
            let what = format!("not checked, {} more like these: {reason}", n - TOLD);
            self.observer.event(Event::Error { path: String::new(), what, hint: None });
        }
    }

    /// Counts, reports and remembers one finding.
    pub fn finding(&mut self, mut finding: Finding) {
        finding.accepted = self.is_accepted(&finding);
        self.remember(&finding);
        self.observer.event(Event::Finding(Box::new(finding)));
    }

    /// Keeps a finding for `status` and `accept`.
    pub fn remember(&mut self, finding: &Finding) {
        // What was accepted stands on record by itself: told again every night, it would only fill the catalog.
        if self.run_id.is_none() || finding.accepted {
            return;
        }
        let mailbox_dir = match finding.subject {
            Subject::Message => crate::store::split_message_path(&finding.path)
                .map(|(_, dir, _)| dir)
                .or_else(|| finding.path.parent())
                .unwrap_or_default(),
            _ => finding.path.parent().unwrap_or_default(),
        };
        self.findings.push(crate::catalog::FindingRow {
            subject: finding.subject,
            account: finding.account.clone(),
            mailbox: finding.mailbox.clone(),
            mailbox_dir,
            key: finding.key.clone(),
            verdict: finding.verdict,
            digest: None,
            open: is_harm(finding.verdict),
            json: (self.describe)(finding),
        });
        if self.findings.len() >= 1000 {
            self.flush_findings();
        }
    }

    /// Writes remembered findings to the catalog. A failure is ours, counted and told, and ends nothing.
    pub fn flush_findings(&mut self) {
        let findings = std::mem::take(&mut self.findings);
        if findings.is_empty() {
            return;
        }
        if let (Some(catalog), Some(run)) = (&mut self.catalog, self.run_id)
            && let Err(error) = catalog.record_findings(run, &findings)
        {
            self.own_error("record findings", &error.to_string());
        }
    }

    /// Our own failure: never damage, always in the exit status.
    pub fn own_error(&mut self, what: &str, detail: &str) {
        self.tally.own_errors += 1;
        self.observer.event(Event::Error { path: String::new(), what: format!("cannot {what}: {detail}"), hint: None });
    }

    /// Appends a step to the plan, if this run makes one.
    pub fn push_step(&mut self, step: &mut Step) -> Result<(), EngineError> {
        match &mut self.plan {
            Some(plan) => plan.push(step).map_err(|source| EngineError::State {
                what: "cannot write the plan in",
                path: "the run's folder".to_owned(),
                source,
            }),
            None => Ok(()),
        }
    }

    /// Whether a human accepted this loss earlier.
    pub fn is_accepted(&self, finding: &Finding) -> bool {
        let (Some(catalog), Some(store)) = (&self.catalog, self.store.id) else { return false };
        if !is_harm(finding.verdict) {
            return false;
        }
        let (dir, key) = match finding.subject {
            Subject::Message => match crate::store::split_message_path(&finding.path) {
                Some((_, dir, _)) => (dir, finding.key.as_ref()),
                None => return false,
            },
            _ => (finding.path.parent().unwrap_or_default(), finding.key.as_ref()),
        };
        let accepted = catalog.is_accepted(store, finding.subject, &dir, key);
        accepted.ok().flatten().is_some_and(|row| row.covers(finding.verdict))
    }
}

/// Whether a verdict is damage or loss that its owner does not explain.
pub fn is_harm(verdict: Verdict) -> bool {
    use crate::model::Missing;
    match verdict {
        Verdict::Damaged | Verdict::Unreadable => true,
        Verdict::Missing(missing) => matches!(missing, Missing::Lost | Missing::Undecided),
        Verdict::Intact(_) | Verdict::Suspect | Verdict::Undetermined => false,
    }
}

/// Wraps an error of the state folder.
pub fn state_error(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.display().to_string();
    move |source| EngineError::State { what, path, source }
}
