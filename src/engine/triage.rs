//! Is it the disk, which one, and who is hit? A sample of every device below the stores, all at once, within seconds.
//!
//! Changes nothing and records nothing. Touches no store itself: whatever may hang is done by lanes, and the run ends
//! at its deadline whatever they do. The verdicts are those of `plan::triage`.

mod gather;
mod people;
mod places;

use super::lane::Settings;
use crate::catalog::Catalog;
use crate::model::event::Finding;
use crate::model::path;
use crate::model::triage::{Activity, Array, DeviceReport, Disk, FileSystem, Sample, Signs, Smart};
use crate::plan::triage::{judge, latency, peers, upper_per_million};
use crate::sys::{disks, health, smart};
use gather::Gathered;
use people::Records;
use places::{Place, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Reads before which requests of others cannot be told from ours.
const OURS_MIN: u64 = 8;
/// What is waited for a lane beyond the deadline: it may have been about to say that nothing answers.
const GRACE: Duration = Duration::from_secs(2);
/// A disk that has not told its own records by then is not waited for.
const SMART_PATIENCE: Duration = Duration::from_secs(8);

/// Everything that a triage needs from outside.
pub struct Call<'a> {
    pub stores: Vec<PathBuf>,
    pub lane: Settings,
    /// The whole of it ends after this, give or take a lane's start.
    pub within: Duration,
    pub catalog: Option<&'a Catalog>,
    pub stop: &'a dyn Fn() -> bool,
    /// What messages are drawn is decided by this number.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Triaged {
    /// The most urgent first.
    pub devices: Vec<DeviceReport>,
    /// Messages of the sample that are damaged or were not given whole.
    pub findings: Vec<Finding>,
    pub notes: Vec<String>,
    /// Path, and what could not be done there.
    pub errors: Vec<(String, String)>,
    pub not_checked: u64,
    pub own_errors: u64,
    pub interrupted: bool,
}

/// Looks at every device below the stores.
pub fn run(call: &Call<'_>) -> Triaged {
    let deadline = Instant::now() + call.within;
    let mut triaged = Triaged::default();
    let places = places::find(call, deadline, &mut triaged);
    let units = places::units(&places);
    let before = activities(&units);
    let stopped = Arc::new(AtomicBool::new(false));
    let work: Vec<Work> = units.iter().map(|unit| Work::start(call, unit, &places, deadline, &stopped)).collect();
    let asked = ask_disks(&units);
    loop {
        triaged.interrupted |= (call.stop)();
        stopped.store(triaged.interrupted, Ordering::Relaxed);
        let ended = work.iter().all(Work::ended) && asked.iter().all(|(_, answer)| answer.is_finished());
        let late = Instant::now() >= deadline + GRACE;
        if ended || late || triaged.interrupted {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let after = activities(&units);
    let mut told: BTreeMap<String, Smart> = BTreeMap::new();
    for (name, answer) in asked.into_iter().filter(|(_, answer)| answer.is_finished()) {
        told.extend(answer.join().ok().flatten().map(|smart| (name, smart)));
    }
    let mut records = Records::new(call.catalog);
    let mut gathered: Vec<Gathered> = work.iter().map(Work::take).collect();
    let owners = people::owners(&places, &gathered, &mut records);
    for ((unit, gathered), (before, after)) in units.iter().zip(&mut gathered).zip(before.iter().zip(&after)) {
        let report = report(unit, &places, gathered, (before, after), &told, &mut records, &mut triaged);
        triaged.devices.push(report);
    }
    for (report, unit) in triaged.devices.iter_mut().zip(&units) {
        report.accounts = people::hits(unit, &places, &owners);
    }
    triaged.own_errors += records.failures;
    triaged.notes.extend(records.notes);
    verdicts(&mut triaged.devices);
    triaged
}

/// Judges each device beside the others of its kind.
fn verdicts(devices: &mut [DeviceReport]) {
    let typical: Vec<_> = devices.iter().map(|d| (d.signs.kind, d.signs.latency)).collect();
    for (at, device) in devices.iter_mut().enumerate() {
        let others = typical
            .iter()
            .enumerate()
            .filter(|(other, (kind, latency))| *other != at && *kind == device.signs.kind && latency.reads >= OURS_MIN);
        device.signs.peers_p50 = peers(others.map(|(_, (_, latency))| latency.p50).collect());
        (device.health, device.reasons) = judge(&device.signs);
    }
    devices.sort_by(|a, b| b.health.cmp(&a.health).then_with(|| a.name.cmp(&b.name)));
}

/// A device's sample on its way.
struct Work(Arc<Mutex<Gathered>>);

impl Work {
    fn start(call: &Call<'_>, unit: &Unit, places: &[Place], deadline: Instant, stopped: &Arc<AtomicBool>) -> Work {
        let shared = Arc::new(Mutex::new(Gathered::default()));
        let task = gather::Task {
            places: unit.places.iter().map(|&at| (at, places[at].clone())).collect(),
            settings: call.lane.clone(),
            seed: call.seed,
            deadline,
            stopped: Arc::clone(stopped),
            into: Arc::clone(&shared),
        };
        let started = thread::Builder::new().name("triage".to_owned()).spawn(move || task.run());
        if let Err(error) = started {
            let mut gathered = shared.lock().unwrap_or_else(PoisonError::into_inner);
            (gathered.died, gathered.ended) = (Some(error.to_string()), true);
        }
        Work(shared)
    }

    fn ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    fn take(&self) -> Gathered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the disks of each device did so far.
fn activities(units: &[Unit]) -> Vec<Activity> {
    let sum = |unit: &Unit| {
        unit.below.disks.iter().map(|disk| disks::activity(Path::new(disks::SYS), disk)).fold(
            Activity::default(),
            |sum, one| Activity {
                requests: sum.requests.saturating_add(one.requests),
                in_flight: sum.in_flight.saturating_add(one.in_flight),
                failed: sum.failed.saturating_add(one.failed),
            },
        )
    };
    units.iter().map(sum).collect()
}

type Asked = (String, thread::JoinHandle<Option<Smart>>);

/// Asks each disk for its own records, where we may.
fn ask_disks(units: &[Unit]) -> Vec<Asked> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = units.iter().flat_map(|unit| &unit.below.disks).collect();
    let ask = |name: &String| {
        let of = name.clone();
        let asking = thread::Builder::new().name("smart".to_owned()).spawn(move || smart::read(&of, SMART_PATIENCE));
        Some((name.clone(), asking.ok()?))
    };
    names.into_iter().filter(|name| smart::may_have(name)).filter_map(ask).collect()
}

/// Puts together what is known of one device.
fn report(
    unit: &Unit,
    places: &[Place],
    gathered: &mut Gathered,
    (before, after): (&Activity, &Activity),
    told: &BTreeMap<String, Smart>,
    records: &mut Records<'_>,
    triaged: &mut Triaged,
) -> DeviceReport {
    let counted = people::count(places, gathered, records, &mut triaged.findings);
    let ours = counted.reads.len() as u64 * 2 + gathered.files.len() as u64 * 4 + gathered.walk.folders * 4;
    let others = after.requests.saturating_sub(before.requests).saturating_sub(ours);
    let mut reads = counted.reads;
    let sys = Path::new(disks::SYS);
    let disk = |name: &String| Disk { smart: told.get(name).cloned(), ..disks::disk(sys, name) };
    let arrays: Vec<Array> = unit.below.arrays.iter().map(|name| disks::array(sys, name)).collect();
    let signs = Signs {
        kind: unit.below.kind,
        whole_reads: counted.whole,
        hangs: gathered.hangs,
        read_after_hang: gathered.read_after_hang,
        read_errors: counted.read_errors,
        absent_errors: counted.absent_errors,
        corrupt: counted.corrupt,
        damaged: counted.damaged,
        latency: latency(&mut reads),
        none_in_time: gathered.walk.messages > 0 && gathered.files.is_empty() && gathered.hangs == 0,
        folder_ms: gathered.walk.took_ms / gathered.walk.folders.max(1),
        peers_p50: None,
        foreign: (reads.len() as u64 >= OURS_MIN).then(|| others / ours.max(1)),
        recorded_errors: unit.mount_points(places).iter().filter_map(|at| health::recorded_errors(at)).sum(),
        failed_commands: after.failed.saturating_sub(before.failed),
        disks: unit.below.disks.iter().map(disk).collect(),
        arrays,
    };
    let mut notes = Vec::new();
    let medium_tested = gathered.files.iter().any(|f| f.medium) && gathered.files.iter().all(|f| f.medium);
    if !medium_tested && counted.whole > 0 {
        notes.push("medium not tested: the file system does not let reads past the cache".to_owned());
    }
    if let Some(died) = gathered.died.take() {
        triaged.own_errors += 1;
        triaged.errors.push((unit.name.clone(), died));
    }
    if let Some(at) = &gathered.hung_at {
        notes.push(format!("it stopped answering at {at}"));
    }
    if gathered.walk.symlinks > 0 {
        notes.push(format!("{} symbolic links were not followed", gathered.walk.symlinks));
    }
    triaged.not_checked += counted.not_checked + u64::from(gathered.hangs > 0);
    triaged.errors.extend(counted.errors);
    let upper =
        (counted.sample.uniform > 0).then(|| upper_per_million(counted.sample.uniform_damaged, counted.sample.uniform));
    let (health, reasons) = judge(&signs);
    DeviceReport {
        name: unit.name.clone(),
        file_systems: file_systems(unit, places),
        signs,
        health,
        reasons,
        accounts: Vec::new(),
        sample: Sample { upper_per_million: upper, walk: gathered.walk, ..counted.sample },
        medium_tested,
        not_checked: counted.not_checked,
        notes,
    }
}

fn file_systems(unit: &Unit, places: &[Place]) -> Vec<FileSystem> {
    let mut all: Vec<FileSystem> = Vec::new();
    for &at in &unit.places {
        let Some(mount) = &places[at].mount else { continue };
        let one = FileSystem {
            mount_point: path::escape(mount.mount_point_bytes()),
            source: path::escape(mount.source.as_bytes()),
            fs_type: mount.fs_type.clone(),
            device: crate::sys::mounts::device_name(mount.dev),
        };
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}
