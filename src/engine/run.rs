//! One run: sets up lanes and sources, goes through the accounts of each store, ends with the counts.

use super::account::{Account, EngineError};
use super::folders::Folders;
use super::job::{Desk, Job, Mode, Options, StoreRef, state_error};
use super::lane::{LaneError, Settings};
use super::lanes::{Lanes, Place, absolute};
use super::mbox::Homes;
use super::planfile::PlanWriter;
use super::{budget, execute, group, record, risk, scan, unfinished};
use crate::catalog::{Catalog, RunId, StoreId};
use crate::model::event::{Event, Finding, Observer, Phase};
use crate::model::plan::{Header, PlanSource, SCHEMA};
use crate::model::tally::Tally;
use crate::model::wire::{FoundMailbox, Trouble};
use crate::model::{RelPath, Stamp, path};
use crate::plan::{guards, rate};
use crate::source::layout::{Apart, Layout};
use crate::source::time::{self, Origin};
use crate::source::{self, Generation, Spec};
use crate::store::maildir;
use crate::sys::clock;
use crate::sys::lock::Lock;
use crate::sys::mounts::Mounts;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything that a run needs from outside.
pub struct Invocation<'a> {
    pub run: String,
    pub store: PathBuf,
    pub sources: Vec<Spec>,
    pub options: Options,
    pub lane: Settings,
    pub catalog: Option<&'a mut Catalog>,
    /// Whether runs and findings may be written to the catalog.
    pub record: bool,
    pub observer: &'a mut dyn Observer,
    pub stop: &'a dyn Fn() -> bool,
    pub describe: &'a dyn Fn(&Finding) -> String,
    /// The plan will be executed on the store: nobody else may write there from now on.
    pub lock: bool,
    /// The state folder, where a repair of this store that was cut off is looked for.
    pub state: Option<PathBuf>,
    /// Write a plan to this file.
    pub plan: Option<PathBuf>,
    /// The plan is for another, empty place: every folder has to be made there.
    pub elsewhere: bool,
}

/// What came of scanning.
pub struct Scanned {
    pub tally: Tally,
    /// The plan, written and synced.
    pub plan: Option<PathBuf>,
    /// Bytes and files that its steps need, and how many of them change anything.
    pub need: (u64, u64, u64),
    /// Read errors of the store's own device.
    pub store_errors: u64,
    pub store: Option<StoreRef>,
    /// Held since before the scan, where the plan is to be executed.
    pub lock: Option<Lock>,
}

/// Scans the store of the invocation.
///
/// # Errors
/// What makes the run impossible; damage, loss and what could not be read is in the tally.
pub fn scan_store(mut call: Invocation<'_>) -> Result<Scanned, EngineError> {
    let mut scanned =
        Scanned { tally: Tally::default(), plan: None, need: (0, 0, 0), store_errors: 0, store: None, lock: None };
    let mut setup = prepare(&call.store, &call.sources, call.options.layout.as_ref(), &call.lane)?;
    warnings(&call, &mut setup)?;
    let run_id = match begin(&mut call, &mut setup.store) {
        Ok(run_id) => run_id,
        // Whoever only looks can do without records, and says that there are none.
        Err(error) if call.options.mode != Mode::Verify && unrecordable(&error) => {
            scanned.tally.own_errors += 1;
            let what = format!("cannot record this run: {error}");
            call.observer.event(Event::Error { path: String::new(), what, hint: None });
            setup.store.id = find(call.catalog.as_deref(), &setup.store)?;
            None
        }
        Err(error) => return Err(error),
    };
    still_mounted(call.catalog.as_deref_mut(), &setup.store, call.record && call.options.mode == Mode::Verify)?;
    if let (true, Some(state)) = (call.lock, &call.state) {
        scanned.lock = Some(execute::lock(state, &setup.store.path)?);
        // Before anything is looked at: a folder that was just made still has our owner and mode, which would pass
        // for its user's.
        unfinished::settle(state, &setup.store.path, &call.run, call.observer)?;
    }
    let owed = call.state.as_ref().map(|state| unfinished::owed(state, &setup.store.path)).transpose()?;
    let header = header(&call.run, &setup);
    let plan = match &call.plan {
        Some(file) => Some(PlanWriter::create(file, &header).map_err(state_error("cannot write the plan", file))?),
        None => None,
    };
    call.observer.event(Event::Start {
        command: call.options.mode.name().to_owned(),
        store: setup.store.text.clone(),
        sources: setup.generations.iter().map(|g| (g.label.clone(), g.time)).collect(),
    });
    let mut lanes = setup.lanes;
    let mut job = Job {
        run: call.run.clone(),
        run_id,
        started: clock::now(),
        options: call.options.clone(),
        tally: Tally { partial: !call.options.select.is_all(), device: setup.store.dev, ..Tally::default() },
        store: setup.store,
        generations: setup.generations,
        lanes: &mut lanes,
        catalog: call.catalog.as_deref_mut(),
        observer: &mut *call.observer,
        stop: call.stop,
        plan,
        describe: call.describe,
        findings: Vec::new(),
        known_messages: 0,
        read_messages: 0,
        read_bytes: 0,
        cached: 0,
        store_errors: 0,
        resumed: owed.unwrap_or_default(),
        catalog_knows_store: false,
        nights: Vec::new(),
        risk: risk::Risk::default(),
        told: HashMap::new(),
        unread: HashSet::new(),
        holds_mail: HashSet::new(),
        numbers: HashMap::new(),
        night: None,
    };
    for note in setup.notes {
        job.note(note);
    }
    job.lanes.notes().into_iter().for_each(|text| job.observer.event(Event::Detail { text }));
    let mut reached = HashSet::new();
    let ended = match accounts(&mut job, call.elsewhere, &mut reached) {
        Err(EngineError::Lane(error)) => given_up(&mut job, &error, &reached),
        other => other,
    };
    job.tell_rest();
    job.tally.interrupted |= job.stopped();
    job.flush_findings();
    about_lanes(&mut job);
    // A run that could not go on is no clean one in the records either.
    job.tally.own_errors += u64::from(ended.is_err());
    record::forget(&mut job);
    if let (Some(catalog), Some(run)) = (&mut job.catalog, job.run_id) {
        let exit = job.tally.exit();
        let ended = catalog.end_run(run, &job.tally, exit, clock::now());
        if let Err(error) = ended {
            job.own_error("record the end of the run", &error.to_string());
        }
    }
    scanned.store_errors += job.store_errors;
    scanned.store = Some(job.store.clone());
    if let Some(plan) = job.plan.take() {
        scanned.need = (plan.need_bytes, plan.need_files, plan.writing);
        let written = plan.finish().map_err(state_error("cannot write the plan in", Path::new("the run's folder")))?;
        scanned.plan = Some(written);
    }
    scanned.tally.add(&job.tally);
    ended.map(|()| scanned)
}

/// What readers met that is no matter of any one file.
fn about_lanes(job: &mut Job<'_>) {
    let left = job.lanes.left_behind();
    if left > 0 {
        job.note(format!("{left} reader process(es) hung in the kernel and were left behind"));
    }
    if job.cached > 0 {
        let n = if job.cached == 1 { "1 message".to_owned() } else { format!("{} messages", job.cached) };
        job.note(format!(
            "medium not tested for {n}: they were read through the cache, as their file system or format wants it"
        ));
    }
    job.tally.paused_ms = u64::try_from(job.lanes.paused().as_millis()).unwrap_or(u64::MAX);
    for text in job.lanes.swept() {
        job.observer.event(Event::Detail { text });
    }
    let paused = job.lanes.paused().as_secs_f64();
    if paused > 0.0 {
        let text = format!("readers paused for {paused:.2} s while others used the disks (--io-class)");
        job.observer.event(Event::Detail { text });
    }
}

/// Writes the beginning of the run to the catalog, if it is to be recorded; in any case looks up the store's number.
fn begin(call: &mut Invocation<'_>, store: &mut StoreRef) -> Result<Option<RunId>, EngineError> {
    let path = store.path.as_os_str().as_bytes();
    match &mut call.catalog {
        Some(catalog) if call.record => {
            let started = clock::now();
            store.id = Some(catalog.store(path, started)?);
            Ok(Some(catalog.begin_run(&call.run, call.options.mode.name(), store.id, started)?))
        }
        catalog => {
            store.id = find(catalog.as_deref(), store)?;
            Ok(None)
        }
    }
}

fn find(catalog: Option<&Catalog>, store: &StoreRef) -> Result<Option<StoreId>, EngineError> {
    match catalog {
        Some(catalog) => Ok(catalog.find_store(store.path.as_os_str().as_bytes())?),
        None => Ok(None),
    }
}

/// Whether the catalog is sound and only takes nothing more.
fn unrecordable(error: &EngineError) -> bool {
    use crate::catalog::Kind;
    matches!(error, EngineError::Catalog(e) if matches!(e.kind, Kind::Full | Kind::ReadOnly | Kind::Busy | Kind::Io))
}

/// What speaks against relying on this machine's clock, the sources, or the place of the records.
fn warnings(call: &Invocation<'_>, setup: &mut Setup) -> Result<(), EngineError> {
    let (now, dev) = (clock::now(), setup.store.dev);
    let last = match (&call.catalog, find(call.catalog.as_deref(), &setup.store)?) {
        (Some(catalog), Some(store)) => catalog.latest_run(store)?.map(|run| run.began),
        _ => None,
    };
    setup.notes.extend(guards::clock(now, last));
    for source in &setup.generations {
        setup.notes.extend(guards::poor_source(&source.label, source.time, now, source.dev, dev));
    }
    let state = call.state.as_ref().and_then(|state| std::fs::metadata(state).ok());
    if let (true, Some(state)) = (call.lock, state) {
        setup.notes.extend(guards::shared_fate("the state folder (catalog, journals)", dev, state.dev()));
    }
    Ok(())
}

/// Refuses a store that was a mount point when it was verified and is none now: an empty folder under a disk that
/// is not mounted is no loss, and nothing may be restored into it.
fn still_mounted(catalog: Option<&mut Catalog>, store: &StoreRef, record: bool) -> Result<(), EngineError> {
    let (Some(catalog), Some(id)) = (catalog, store.id) else { return Ok(()) };
    let known = catalog.stores()?.into_iter().find(|row| row.id == id).and_then(|row| row.mount_point);
    if let Some(text) = guards::unmounted(&store.text, known, store.mount_point) {
        return Err(EngineError::Refused(text));
    }
    if record {
        catalog.set_store_mount(id, store.mount_point, &store.fs_type)?;
    }
    Ok(())
}

/// The device or the readers are gone for good: what was not reached was not checked, and the run ends in order.
fn given_up(job: &mut Job<'_>, error: &LaneError, reached: &HashSet<RelPath>) -> Result<(), EngineError> {
    let mut unseen = job.known_messages.saturating_sub(job.read_messages);
    if let (Some(catalog), Some(store)) = (&job.catalog, job.store.id) {
        for row in catalog.coverage(store)?.iter().filter(|row| !reached.contains(&row.account)) {
            let name = maildir::account_name(&row.account, &job.store.path);
            if job.options.select.account_at(&name, &row.account) {
                unseen += row.messages;
            }
        }
    }
    job.tally.not_checked += unseen.max(1);
    job.tally.read_errors += u64::from(matches!(error, LaneError::Hung { .. }));
    let what = format!("{error}; the rest was not checked");
    let hint = "see the kernel log for the device; the same command again goes on where it answers";
    let hint = matches!(error, LaneError::Hung { .. }).then(|| hint.to_owned());
    job.observer.event(Event::Error { path: job.store.text.clone(), what, hint });
    Ok(())
}

fn header(run: &str, setup: &Setup) -> Header {
    let source = |g: &Generation| PlanSource {
        name: g.label.clone(),
        path: path::escape(g.path.as_os_str().as_bytes()),
        time: g.time,
    };
    Header {
        schema: SCHEMA.to_owned(),
        run: run.to_owned(),
        store: setup.store.text.clone(),
        sources: setup.generations.iter().map(source).collect(),
    }
}

/// A store and its sources, opened.
pub struct Setup {
    pub lanes: Lanes,
    pub store: StoreRef,
    pub generations: Vec<Generation>,
    /// What the user should know of them.
    pub notes: Vec<String>,
}

/// Opens a store and its sources, and refuses what cannot be meant.
///
/// # Errors
/// A path that is not there, a store inside a source or a source inside the store.
pub fn prepare(
    path: &Path,
    sources: &[Spec],
    layout: Option<&Layout>,
    settings: &Settings,
) -> Result<Setup, EngineError> {
    let templates = sources
        .iter()
        .map(|s| s.template().map_err(|e| EngineError::Usage(format!("--from {}: {e}", s.label()))))
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths = vec![(path.to_owned(), false)];
    paths.extend(sources.iter().zip(&templates).map(|(s, t)| (t.base.clone(), s.pattern)));
    let bases = [Apart::Control, Apart::Index].map(|apart| layout.and_then(|layout| layout.base(apart)));
    let desks = bases.map(|base| {
        let number = paths.len();
        paths.extend(base.map(|base| (base, false)));
        number
    });
    let lanes = Lanes::start(&paths, settings)?;
    if let Some((spec, trouble)) = lanes.troubles.first() {
        return Err(unusable(*spec, trouble, sources));
    }
    let place = lanes.of_spec(0).next().cloned();
    let place = place.ok_or_else(|| EngineError::Usage(format!("cannot open {}", path.display())))?;
    let store = StoreRef {
        path: place.path().to_owned(),
        text: path::escape(&place.info.path),
        lane: place.lane,
        root: place.root,
        dev: place.info.stat.dev,
        mount_point: place.info.mount_point,
        fs_type: place.info.fs_type.clone(),
        id: None,
        desk: layout.map(|layout| desk(layout, &lanes, desks)),
    };
    let mut generations = Vec::new();
    let mut notes = sandbox_notes(&lanes);
    for (number, (spec, template)) in sources.iter().zip(&templates).enumerate() {
        let places: Vec<Place> = lanes.of_spec(number + 1).cloned().collect();
        for place in &places {
            apart(&store.path, place.path())?;
        }
        for generation in of_source(spec, template.below_account.clone(), &places, &mut notes) {
            generations.push((number as u32, generation));
        }
    }
    source::rank(&mut generations);
    Ok(Setup { lanes, store, generations: generations.into_iter().map(|(_, g)| g).collect(), notes })
}

/// The folders of `--layout`, with the numbers of their paths.
fn desk(layout: &Layout, lanes: &Lanes, [control, index]: [usize; 2]) -> Desk {
    let of = |apart, number| {
        layout.base(apart)?;
        lanes.of_spec(number).next().map(|place| (place.lane, place.root))
    };
    Desk { layout: layout.clone(), control: of(Apart::Control, control), index: of(Apart::Index, index) }
}

fn unusable(spec: usize, trouble: &Trouble, sources: &[Spec]) -> EngineError {
    let path = path::escape(&trouble.path);
    let what = match sources.get(spec.wrapping_sub(1)) {
        Some(source) => format!("source {}: cannot open {path}: {}", source.label(), trouble.detail),
        None => format!("cannot open {path}: {}", trouble.detail),
    };
    let what = if closed_mount(trouble) { format!("{what}; {CLOSED_MOUNT}") } else { what };
    match trouble.errno.is_some_and(|e| scan::MEDIUM_ERRORS.contains(&e)) {
        // The path is right and the disk is not: nothing could be checked.
        true => EngineError::Refused(what),
        false => EngineError::Usage(what),
    }
}

const CLOSED_MOUNT: &str = "a FUSE mount is closed to everybody, even to root, but the user who mounted it: \
                            mount it with -o allow_other, or run this as that user";

/// Whether somebody else's FUSE mount is what denied it: modes and owners look right there.
fn closed_mount(trouble: &Trouble) -> bool {
    let path = absolute(Path::new(OsStr::from_bytes(&trouble.path)));
    let fuse = |table: Mounts| table.of(&path).is_some_and(|mount| mount.fs_type.starts_with("fuse"));
    trouble.errno == Some(13) && Mounts::read().is_ok_and(fuse)
}

/// Refuses a store that is, contains or lies inside a source.
fn apart(store: &Path, source: &Path) -> Result<(), EngineError> {
    if store == source {
        return Err(EngineError::Usage(format!("{} is both the store and a source", store.display())));
    }
    if store.starts_with(source) {
        return Err(EngineError::Usage(format!(
            "the store {} lies inside the source {}",
            store.display(),
            source.display()
        )));
    }
    if source.starts_with(store) {
        return Err(EngineError::Usage(format!(
            "the source {} lies inside the store {}",
            source.display(),
            store.display()
        )));
    }
    Ok(())
}

fn sandbox_notes(lanes: &Lanes) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for lane in &lanes.lanes {
        let weak = !lane.sandbox.read_only_mounts && lane.sandbox.landlock_abi == 0 && !lane.sandbox.syscall_filter;
        if weak {
            for note in &lane.sandbox.notes {
                let text = format!("the readers are not confined: {note}");
                if !notes.contains(&text) {
                    notes.push(text);
                }
            }
        }
    }
    notes
}

/// The generations that one `--from` led to, with the time of each and where that comes from.
fn of_source(spec: &Spec, below: Option<RelPath>, places: &[Place], notes: &mut Vec<String>) -> Vec<Generation> {
    let newest = places.iter().map(|p| p.info.changed).max().unwrap_or_default();
    let several = spec.pattern;
    let fixed = absolute(&spec.location).components().count();
    let mut generations = Vec::new();
    for place in places {
        let own = place.path();
        let names: Vec<&[u8]> = match several {
            true => own.components().map(|c| c.as_os_str().as_bytes()).collect(),
            false => time::telling(own),
        };
        let (time, origin) = match spec.time {
            Some(time) => (time, Origin::Given),
            None => time::of_generation(&names, place.info.changed, newest),
        };
        let label = match (several, varying(spec, own, fixed)) {
            (true, Some(which)) => match &spec.name {
                Some(name) => format!("{name}/{which}"),
                None => own.display().to_string(),
            },
            _ => spec.label(),
        };
        notes.push(format!("source {label}: {} ({})", clock::for_people(time), origin.words()));
        generations.push(Generation {
            rank: 0,
            label,
            path: own.to_owned(),
            time,
            dated: origin != Origin::Mtime,
            partner: spec.partner,
            below_account: below.clone(),
            lane: place.lane,
            root: place.root,
            dev: place.info.stat.dev,
        });
    }
    generations
}

/// The part of a generation's path that its siblings do not share.
fn varying(spec: &Spec, own: &Path, fixed: usize) -> Option<String> {
    let location = absolute(&spec.location);
    let at = location.components().position(|c| c.as_os_str().as_bytes().iter().any(|b| b"*?[{".contains(b)))?;
    if own.components().count() != fixed {
        return own.file_name().map(|n| n.to_string_lossy().into_owned());
    }
    own.components().nth(at).map(|c| path::escape(c.as_os_str().as_bytes()))
}

/// Goes through all accounts that the store, the catalog or the sources know, and tells which it `reached`.
fn accounts(job: &mut Job<'_>, elsewhere: bool, reached: &mut HashSet<RelPath>) -> Result<(), EngineError> {
    job.progress(Phase::Discover);
    let root = job.store.root;
    let walk = job.store_lane().ask_discover(root, &RelPath::root())?;
    job.night = budget::plan(job)?;
    if job.night.as_ref().is_some_and(budget::Night::is_timed) {
        job.store_lane().order.hurry();
    }
    let mut accounts: BTreeMap<RelPath, Vec<FoundMailbox>> = BTreeMap::new();
    let found = job.store_lane().discovered(walk, root, &RelPath::root());
    for trouble in &found.troubles {
        job.not_checked(trouble);
    }
    if found.documents > 0 {
        let hint = "folders of .eml files beside the mailboxes were left out: name one as STORE to have it checked";
        job.note(format!("{} {hint}", found.documents));
    }
    for link in &found.symlinks {
        job.not_checked(&Trouble {
            root,
            path: link.as_bytes().to_vec(),
            operation: "follow".to_owned(),
            errno: None,
            detail: "a symbolic link is not followed".to_owned(),
        });
    }
    let mut homes = Homes::default();
    for mailbox in found.mailboxes {
        homes.see(&mailbox);
        accounts.entry(mailbox.account.clone()).or_default().push(mailbox);
    }
    let mut listed: Option<Stamp> = None;
    if let (Some(catalog), Some(id)) = (&job.catalog, job.store.id) {
        job.nights = catalog.nights(id, job.started.sec.saturating_sub(rate::MEMORY))?;
        for row in catalog.accounts(id)? {
            job.catalog_knows_store = true;
            listed = listed.max(row.last_listed);
            homes.known.insert(row.dir.clone());
            accounts.entry(row.dir).or_default();
        }
    }
    let there = accounts.values().map(Vec::len).sum();
    if let Some(text) = guards::replaced(job.store.mount_point, job.catalog_knows_store, there) {
        job.note(text);
    }
    from_sources(job, &mut accounts, &mut homes, listed)?;
    let accounts = homes.settle(accounts);
    let mut folders = Folders::new(elsewhere);
    let empty = accounts.is_empty();
    let named = |(dir, mailboxes)| (Account { name: maildir::account_name(&dir, &job.store.path), dir }, mailboxes);
    let mut all: Vec<(Account, Vec<FoundMailbox>)> = budget::in_order(job, accounts).into_iter().map(named).collect();
    all.retain(|(account, _)| job.options.select.account_at(&account.name, &account.dir));
    if !group::all(job, &all, &mut folders, reached)? {
        return Ok(());
    }
    risk::tell(job);
    if empty {
        job.tally.not_checked += 1;
        job.observer.event(Event::Error {
            path: job.store.text.clone(),
            what: "no mailbox found here, and none is known to belong here: nothing was checked".to_owned(),
            hint: Some(
                "name the folder that holds the mail; for a replaced disk, add --from with a replica or backup"
                    .to_owned(),
            ),
        });
    }
    Ok(())
}

/// Adds the accounts that only sources know. A generation older than the catalog knows nothing that counts.
fn from_sources(
    job: &mut Job<'_>,
    accounts: &mut BTreeMap<RelPath, Vec<FoundMailbox>>,
    homes: &mut Homes,
    listed: Option<Stamp>,
) -> Result<(), EngineError> {
    let formats: std::collections::BTreeSet<crate::model::Format> =
        accounts.values().flatten().map(|mailbox| mailbox.format).collect();
    let here: BTreeMap<String, RelPath> =
        accounts.keys().map(|dir| (maildir::account_name(dir, &job.store.path), dir.clone())).collect();
    for n in 0..job.generations.len() {
        let generation = job.generations[n].clone();
        let old = generation.dated && listed.is_some_and(|l| generation.time <= l);
        let compared = job.against() == Some(n);
        if generation.below_account.is_some() || !compared && (old || generation.partner) {
            continue;
        }
        let found = job.lanes.lanes[generation.lane].discover(generation.root, &RelPath::root())?;
        for trouble in found.obstacles() {
            job.not_checked(trouble);
        }
        if found.mailboxes.is_empty() {
            job.note(format!("source {} holds no mailbox: nothing can be restored from it", generation.label));
        }
        if found.obstacles().next().is_none() && !found.mailboxes.is_empty() {
            job.holds_mail.insert(n);
        }
        for mailbox in found.mailboxes {
            // What a source keeps in another format heals what is known here, and is no account of its own.
            let name = maildir::account_name(&mailbox.account, &job.store.path);
            let known = here.get(&name).is_some_and(|dir| *dir != mailbox.account);
            if !known && (formats.is_empty() || formats.contains(&mailbox.format)) {
                homes.see(&mailbox);
                accounts.entry(mailbox.account).or_default();
            }
        }
    }
    Ok(())
}
