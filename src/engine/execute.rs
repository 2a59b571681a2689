//! Carries out a plan file or takes a run back, with lanes that deliver and lanes that prove.

use super::account::EngineError;
use super::compose::{self, measured};
use super::lane::Settings;
use super::lanes::Lanes;
use super::mbox;
use super::planfile::{PlanError, PlanReader};
use super::runs::{RunFolder, RunNote};
use super::splice;
use crate::apply::{self, Applied, Executor, FileLog, Prover, Stop, Supplied, Supply, SupplyError};
use crate::model::container;
use crate::model::event::{ActionSummary, Event, Finding, Observer, Phase, Subject};
use crate::model::form::Form;
use crate::model::journal::Outcome;
use crate::model::plan::{Action, Fingerprint, Graft, Location, Slice, Step};
use crate::model::tally::Tally;
use crate::model::wire::{Effort, ReadItem, ReadMode};
use crate::model::{Digest, Format, RelPath};
use crate::plan::guards;
use crate::store::mbox::from_line::LINE_MAX as FIRST_LINE;
use crate::store::mbox::is_mbox;
use crate::store::sdbox::frame::is_file_header;
use crate::store::target::{lawful, permitted};
use crate::sys::dir::Root;
use crate::sys::fs::Tree;
use crate::sys::links;
use crate::sys::lock::Lock;
use crate::sys::osfs::{self, OsFs};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What carrying out a plan needs.
pub struct Execution<'a> {
    pub run: String,
    pub command: String,
    pub folder: RunFolder,
    pub plan: PathBuf,
    /// The tree that targets lie in: the store, or the folder of `--into`.
    pub base: PathBuf,
    pub base_is_mailbox: bool,
    /// The base is not the store that the plan was made for.
    pub elsewhere: bool,
    pub quarantine: Option<PathBuf>,
    /// The state folder, for the lock.
    pub state: PathBuf,
    pub lane: Settings,
    /// The lock of the base, where it is held already.
    pub lock: Option<Lock>,
    /// Bytes and files that the plan needs.
    pub need: (u64, u64),
    pub observer: &'a mut dyn Observer,
    pub stop: &'a dyn Fn() -> bool,
}

/// Delivers copies from the plan's sources.
struct LaneSupply {
    lanes: Lanes,
    /// Lane and root of each source of the plan.
    sources: Vec<(usize, u32)>,
    store: (usize, u32),
}

impl Supply for LaneSupply {
    fn fetch(&mut self, step: &Step, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Supplied, SupplyError> {
        if let Action::Write { bytes, .. } = &step.action {
            sink(bytes).map_err(|e| SupplyError(e.to_string()))?;
            let (digest, length) = (Digest::of(bytes), bytes.len() as u64);
            return Ok(Supplied { digest, length, xattrs: Vec::new() });
        }
        if let Action::Rebuild { parts, .. } = &step.action {
            return self.rebuild(step, parts, sink);
        }
        if let Action::Splice { parts, .. } = &step.action {
            return self.splice(&step.target, parts, sink);
        }
        let Action::Restore { from, stored_as, .. } = &step.action else {
            return Err(SupplyError("the step fetches nothing".to_owned()));
        };
        let known = match from.source {
            Some(number) => self.sources.get(number as usize).copied(),
            None => Some(self.store),
        };
        let (lane, root) =
            known.ok_or_else(|| SupplyError("the plan names a source that it does not list".to_owned()))?;
        let fetched = self.lanes.lanes[lane].fetch(root, &from.path, (&from.form, Some(*stored_as)), sink);
        match fetched.map_err(|e| SupplyError(e.to_string()))? {
            Ok(fetched) => Ok(Supplied { digest: fetched.digest, length: fetched.length, xattrs: fetched.xattrs }),
            Err(trouble) => Err(SupplyError(format!("cannot {} {}: {}", trouble.operation, from.path, trouble.detail))),
        }
    }
}

impl LaneSupply {
    fn splice(
        &mut self,
        target: &RelPath,
        parts: &[Graft],
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Supplied, SupplyError> {
        let (store, sources) = (self.store, &self.sources);
        let place = |from: &Location| match from.source {
            Some(number) => sources.get(number as usize).copied(),
            None => splice::is_own(target, from).then_some(store),
        };
        let lanes = &mut self.lanes;
        supplied(measured(sink, |sink| compose::graft(parts, lanes, &place, sink)))
    }

    /// A plan can be edited: only what holds messages is put together anew, and only the like comes of it.
    fn rebuild(
        &mut self,
        step: &Step,
        parts: &[Slice],
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Supplied, SupplyError> {
        let shared = container::storage_number(&step.target).is_some();
        if step.before != Fingerprint::Nothing && !shared {
            mbox::holds_messages(&mut self.lanes, self.store, &step.target).map_err(SupplyError)?;
        }
        let mut first = Vec::new();
        let mut checked = |bytes: &[u8]| {
            if first.len() < FIRST_LINE {
                first.extend_from_slice(&bytes[..bytes.len().min(FIRST_LINE - first.len())]);
                let line = first.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
                let ended = first.contains(&b'\n') || first.len() == FIRST_LINE;
                if ended && !(if shared { is_file_header(line) } else { is_mbox(&first) }) {
                    return Err(io::Error::other("what the plan puts together holds no messages"));
                }
            }
            sink(bytes)
        };
        let mut places = compose::Places {
            lanes: &mut self.lanes,
            store: self.store,
            sources: self.sources.clone(),
            target: step.target.clone(),
        };
        supplied(measured(&mut checked, |sink| compose::compose(parts, &mut places, sink)))
    }
}

fn supplied(measured: Result<(Digest, u64), String>) -> Result<Supplied, SupplyError> {
    let (digest, length) = measured.map_err(SupplyError)?;
    Ok(Supplied { digest, length, xattrs: Vec::new() })
}

/// Reads files of the target again, from the medium where it can be had.
struct LaneProver {
    lanes: Lanes,
    base: (usize, u32),
    quarantine: (usize, u32),
}

impl LaneProver {
    fn start(base: &Path, quarantine: &Path, settings: &Settings) -> Result<LaneProver, EngineError> {
        let lanes = Lanes::start(&[(base.to_owned(), false), (quarantine.to_owned(), false)], settings)?;
        let place = |n| lanes.of_spec(n).next().map(|p| (p.lane, p.root));
        match (place(0), place(1)) {
            (Some(base), Some(quarantine)) => Ok(LaneProver { lanes, base, quarantine }),
            _ => Err(EngineError::Refused(format!("cannot read {} again after writing", base.display()))),
        }
    }
}

impl Prover for LaneProver {
    fn digest(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        self.read(tree, path, ReadMode::Digest)
    }

    fn stored(&mut self, tree: Tree, path: &RelPath) -> Result<(Digest, u64), String> {
        self.read(tree, path, ReadMode::Stored)
    }
}

impl LaneProver {
    fn read(&mut self, tree: Tree, path: &RelPath, mode: ReadMode) -> Result<(Digest, u64), String> {
        let (lane, root) = if tree == Tree::Base { self.base } else { self.quarantine };
        let item = ReadItem {
            id: 0,
            root,
            path: path.clone(),
            mode,
            form: Form::default(),
            format: Format::default(),
            file: None,
            expected: None,
            size_claim: None,
            crlf_claim: None,
            envelope: false,
            medium: true,
            effort: Effort::Pages,
            groups: false,
            deep: false,
        };
        let facts =
            self.lanes.lanes[lane].read_one(item).map_err(|t| format!("cannot {}: {}", t.operation, t.detail))?;
        facts.digest.map(|digest| (digest, facts.length)).ok_or_else(|| "not all of it could be read again".to_owned())
    }
}

/// Carries out the plan and reports every step.
///
/// # Errors
/// What keeps the run from working at all. Steps that fail are in the tally.
pub fn execute(call: Execution<'_>) -> Result<(Tally, Applied), EngineError> {
    let reader = PlanReader::open(&call.plan)?;
    let mut supply = supply(&reader, &call.lane)?;
    let _lock = match call.lock {
        Some(held) => held,
        None => {
            let taken = lock(&call.state, &call.base)?;
            super::unfinished::settle(&call.state, &call.base, &call.run, call.observer)?;
            taken
        }
    };
    // What an earlier run left behind is cleared away by now, and the folder of the quarantine needs room itself.
    enough_space(&call.base, call.need)?;
    let quarantine = super::runs::quarantine(call.quarantine.as_deref(), &call.base, call.base_is_mailbox, &call.run)?;
    let note = RunNote {
        run: call.run.clone(),
        command: call.command.clone(),
        base: call.base.clone(),
        quarantine: quarantine.clone(),
        undoes: None,
    };
    call.folder.write_note(&note)?;
    if !call.elsewhere {
        let (lane, root) = supply.store;
        super::kept::keep(&call.plan, &call.folder, (&mut supply.lanes.lanes[lane], root), call.observer)?;
    }
    let fs = open_fs(&call.base, &quarantine)?;
    let mut prover = LaneProver::start(&call.base, &quarantine, &call.lane)?;
    let mut log = FileLog::open(&call.folder.journal())
        .map_err(super::job::state_error("cannot open", &call.folder.journal()))?
        .checked(lawful);
    let mut options = apply::Options::new(&call.run, &text(&call.base), &text(&quarantine));
    options.interrupt = call.stop;
    let elsewhere = call.elsewhere;
    let mut tally = Tally::default();
    let store = reader.header.store.clone();
    let (observer, total) = (call.observer, call.need.1);
    let mut done = 0;
    let mut bytes = 0;
    let mut steps = reader.map(|step| ready(step, elsewhere));
    let executor = Executor::new(&fs, &mut log, &mut supply, &mut prover, options);
    let applied = executor.run(&mut steps, &mut |step, outcome, detail| {
        done += 1;
        bytes += step.action.length();
        observer.event(Event::Progress { phase: Phase::Repair, done, total: total.max(done), bytes });
        for one in step.each() {
            count(&mut tally, &one, outcome);
            if let Some(finding) = finding(&one, &store, Some((outcome, detail))) {
                observer.event(Event::Finding(Box::new(finding)));
            }
        }
    })?;
    stopped(&applied, &mut tally, observer);
    Ok((tally, applied))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn supply(reader: &PlanReader, settings: &Settings) -> Result<LaneSupply, EngineError> {
    let path = |text: &str| -> Result<PathBuf, EngineError> {
        use std::os::unix::ffi::OsStringExt;
        let bytes = crate::model::path::unescape(text);
        let path = bytes.map(|b| PathBuf::from(std::ffi::OsString::from_vec(b))).filter(|p| p.is_absolute());
        path.ok_or_else(|| EngineError::Usage(format!("the plan names a path that is none: {text}")))
    };
    let mut paths = vec![(path(&reader.header.store)?, false)];
    for source in &reader.header.sources {
        paths.push((path(&source.path)?, false));
    }
    let lanes = Lanes::start(&paths, settings)?;
    if let Some((spec, trouble)) = lanes.troubles.first() {
        let name = reader.header.sources.get(spec.wrapping_sub(1)).map_or("the store", |s| s.name.as_str());
        let path = crate::model::path::escape(&trouble.path);
        return Err(EngineError::Usage(format!("{name}: cannot open {path}: {}", trouble.detail)));
    }
    let place = |n| lanes.of_spec(n).next().map(|p| (p.lane, p.root)).unwrap_or_default();
    let sources = (1..paths.len()).map(place).collect();
    Ok(LaneSupply { store: place(0), sources, lanes })
}

fn open_fs(base: &Path, quarantine: &Path) -> Result<OsFs, EngineError> {
    let failed = |path| super::job::state_error("cannot open", path);
    let slots = Root::open(quarantine).map_err(failed(quarantine))?;
    // Where the folder is said to be, users may have put another: what it holds is neither shown nor removed.
    links::ours_alone(slots.top()).map_err(failed(quarantine))?;
    OsFs::new(Root::open(base).map_err(failed(base))?, slots).map_err(failed(base))
}

/// One writer at a time on one tree.
///
/// # Errors
/// Where another run has it; the words name its process.
pub fn lock(state: &Path, base: &Path) -> Result<Lock, EngineError> {
    let folder = state.join("locks");
    std::fs::create_dir_all(&folder).map_err(super::job::state_error("cannot make", &folder))?;
    let name = Digest::of(base.as_os_str().as_encoded_bytes()).to_string();
    Lock::exclusive(&folder.join(&name[..32])).map_err(|e| EngineError::Refused(format!("{}: {e}", base.display())))
}

fn enough_space(base: &Path, need: (u64, u64)) -> Result<(), EngineError> {
    let free = Root::open(base).and_then(|root| osfs::free(root.top().reopen()?.as_fd()));
    let free = free.map_err(|e| EngineError::Refused(format!("cannot tell how much space is free: {e}")))?;
    guards::space(need, free).map_or(Ok(()), |text| Err(EngineError::Refused(text)))
}

/// A step as it is executed: checked again, and turned to the other place where the store is left alone.
fn ready(step: Result<Step, PlanError>, elsewhere: bool) -> Result<Step, String> {
    let mut step = step.map_err(|e| e.to_string())?;
    permitted(&step)?;
    if matches!(&step.action, Action::Restore { from, .. } if from.source.is_none()) {
        return Err(format!("step {} would restore from the store itself", step.number));
    }
    if elsewhere {
        step.before = Fingerprint::Nothing;
        if let Action::Rename { from, inode, content, length } = &step.action {
            step.action = Action::Restore {
                from: Location { source: None, path: from.clone(), form: Form::default() },
                stored_as: crate::model::Encoding::Plain,
                attrs: crate::model::Attrs {
                    uid: inode.uid,
                    gid: inode.gid,
                    mode: inode.mode & 0o666,
                    mtime: inode.mtime,
                    xattrs: Vec::new(),
                },
                content: *content,
                length: *length,
            };
        }
    }
    Ok(step)
}

fn count(tally: &mut Tally, step: &Step, outcome: Outcome) {
    match outcome {
        Outcome::Done | Outcome::Already if step.is_means() => {}
        // What was not counted as harm is no healing: it must not make up for harm that remains.
        Outcome::Done | Outcome::Already if step.key.is_some() && !super::job::is_harm(step.verdict) => {}
        Outcome::Done | Outcome::Already if step.key.is_some() => tally.repaired += 1,
        Outcome::Done | Outcome::Already => tally.companions_repaired += 1,
        Outcome::Failed => tally.failed += 1,
        Outcome::Conflict => tally.conflicts += 1,
        Outcome::Held => tally.held += 1,
        Outcome::Skipped => {}
    }
}

/// Tells why a run stopped before its end, and counts what it left.
fn stopped(applied: &Applied, tally: &mut Tally, observer: &mut dyn Observer) {
    match &applied.stop {
        Some(Stop::Interrupted) => tally.interrupted = true,
        Some(Stop::FileSystem(words)) => {
            tally.failed += applied.left.max(1);
            observer.event(Event::Error { path: String::new(), what: words.clone(), hint: None });
        }
        None => {}
    }
}

/// The finding of a step that was executed; what is done for other steps is told only where it fails.
pub fn finding(step: &Step, store: &str, outcome: Option<(Outcome, &str)>) -> Option<Finding> {
    let folder = matches!(step.action, Action::MakeFolder { .. });
    if step.is_means() && matches!(outcome, None | Some((Outcome::Done | Outcome::Already, _))) {
        return None;
    }
    let subject = match (&step.key, folder) {
        (Some(_), _) => Subject::Message,
        (None, true) => Subject::Folder,
        (None, false) => Subject::Companion,
    };
    let details = &step.details;
    Some(Finding {
        subject,
        store: store.to_owned(),
        account: step.account.clone(),
        mailbox: step.mailbox.clone(),
        key: step.key.clone(),
        uid: details.uid,
        guid: None,
        path: step.target.clone(),
        size: details.size,
        device: details.device.clone(),
        internal_date: details.internal_date,
        verdict: step.verdict,
        checks: details.evidence.as_ref().map(super::harm::checks).unwrap_or_default(),
        faults: details.evidence.as_ref().map(|e| e.faults().to_vec()).unwrap_or_default(),
        signed: details.evidence.as_ref().and_then(|e| e.signed().cloned()),
        reason: details.reason.clone(),
        envelope: details.envelope.clone(),
        action: Some(ActionSummary {
            kind: step.action.name().to_owned(),
            source: details.source.clone(),
            assurance: step.assurance,
            why: step.why.clone(),
        }),
        outcome: outcome.map(|(outcome, detail)| (outcome, detail.to_owned())),
        accepted: false,
    })
}

/// What taking a run back needs.
pub struct Undoing<'a> {
    pub run: String,
    pub state: PathBuf,
    pub undone: RunNote,
    pub observer: &'a mut dyn Observer,
    pub stop: &'a dyn Fn() -> bool,
}

/// Takes a run back.
///
/// # Errors
/// What keeps it from working at all. Steps that fail are in the tally.
pub fn undo(call: Undoing<'_>) -> Result<(Tally, Applied), EngineError> {
    let note = &call.undone;
    let _lock = lock(&call.state, &note.base)?;
    // An undo that was cut off may have left the lock of a mailbox in which nothing is left to be done.
    super::unfinished::settle(&call.state, &note.base, &call.run, call.observer)?;
    let fs = open_fs(&note.base, &note.quarantine)?;
    let folder = RunFolder::create(&call.state, &call.run)?;
    let old = RunFolder::named(&call.state, &note.run)?.journal();
    let mut undone = FileLog::open(&old).map_err(super::job::state_error("cannot open", &old))?.checked(lawful);
    folder.write_note(&RunNote {
        run: call.run.clone(),
        command: "undo".to_owned(),
        base: note.base.clone(),
        quarantine: note.quarantine.clone(),
        undoes: Some(note.run.clone()),
    })?;
    let mut log =
        FileLog::open(&folder.journal()).map_err(super::job::state_error("cannot open", &folder.journal()))?;
    let mut options = apply::Options::new(&call.run, &text(&note.base), &text(&note.quarantine));
    options.interrupt = call.stop;
    let mut tally = Tally::default();
    let store = text(&note.base);
    let observer = call.observer;
    let mut done = 0;
    let applied = apply::undo(&fs, &mut undone, &mut log, &options, &mut |step, outcome, detail| {
        done += 1;
        step.each().iter().for_each(|one| count(&mut tally, one, outcome));
        // Taking a repair back heals nothing.
        tally.put_back += std::mem::take(&mut tally.repaired) + std::mem::take(&mut tally.companions_repaired);
        observer.event(Event::Progress { phase: Phase::Undo, done, total: done, bytes: 0 });
        for mut finding in step.each().iter().filter_map(|one| finding(one, &store, Some((outcome, detail)))) {
            // It is the repair's, and just what was not done here.
            finding.action = None;
            observer.event(Event::Finding(Box::new(finding)));
        }
    })?;
    if applied.damaged_lines > 0 {
        tally.own_errors += applied.damaged_lines;
        let what = format!(
            "{} line(s) of the journal are damaged: what they told of was not taken back",
            applied.damaged_lines
        );
        observer.event(Event::Error { path: old.display().to_string(), what, hint: None });
    }
    stopped(&applied, &mut tally, observer);
    Ok((tally, applied))
}

/// A prover for the folder of one run's slots, for `quarantine purge`.
///
/// # Errors
/// When no lane can be started.
pub fn prover(base: &Path, quarantine: &Path, settings: &Settings) -> Result<impl Prover + use<>, EngineError> {
    LaneProver::start(base, quarantine, settings)
}

/// The file system of one run's slots, for `quarantine`.
///
/// # Errors
/// Where either tree cannot be opened.
pub fn quarantine_fs(note: &RunNote) -> Result<OsFs, EngineError> {
    open_fs(&note.base, &note.quarantine)
}
