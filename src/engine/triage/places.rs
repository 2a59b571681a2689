//! Which file systems lie at and below the stores, and on which devices.
//!
//! From the table of mounts and /sys alone; that a store is where its path says is asked of a lane.

use super::{Call, Triaged};
use crate::engine::lane::{Lane, LaneError, Settings};
use crate::engine::lanes::absolute;
use crate::model::RelPath;
use crate::model::path;
use crate::model::triage::Kind;
use crate::model::wire::{RootSpec, Trouble};
use crate::sys::disks::{self, Below};
use crate::sys::mounts::{Mount, Mounts};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// File systems below one store that are looked at.
const NESTED_MAX: usize = 256;

/// A part of a store that lies on one file system.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store's path, canonical where it could be had.
    pub store: PathBuf,
    /// Below the store.
    pub rel: RelPath,
    pub path: PathBuf,
    pub mount: Option<Mount>,
    /// Other file systems below this part.
    pub skip: Vec<RelPath>,
    /// Even opening it was not answered.
    pub silent: bool,
    /// It could not be opened.
    pub trouble: Option<Trouble>,
}

/// The places that share their disks.
#[derive(Debug, Clone)]
pub struct Unit {
    pub name: String,
    pub below: Below,
    pub places: Vec<usize>,
}

impl Unit {
    pub fn mount_points(&self, places: &[Place]) -> Vec<PathBuf> {
        let mounts = self.places.iter().filter_map(|&at| places[at].mount.as_ref());
        let mut points: Vec<PathBuf> = mounts.map(|mount| mount.mount_point.clone()).collect();
        points.sort();
        points.dedup();
        points
    }
}

/// How a store's path was found.
enum Opened {
    At(PathBuf),
    Silent,
    Refused(Trouble),
    Failed(String),
}

/// All places of all stores.
pub fn find(call: &Call<'_>, deadline: Instant, triaged: &mut Triaged) -> Vec<Place> {
    let Ok(mounts) = Mounts::read() else {
        triaged.own_errors += 1;
        triaged.errors.push(("/proc/self/mountinfo".to_owned(), "cannot read the table of mounts".to_owned()));
        return Vec::new();
    };
    // Each by its own lane, all at once: one that hangs costs the others nothing.
    let opening: Vec<_> = call
        .stores
        .iter()
        .map(|store| {
            let (path, settings) = (absolute(store), limited(&call.lane, deadline));
            thread::spawn(move || open(&path, settings))
        })
        .collect();
    let mut places = Vec::new();
    for (store, opened) in call.stores.iter().zip(opening) {
        let given = absolute(store);
        match opened.join().unwrap_or_else(|_| Opened::Failed("the thread for it ended".to_owned())) {
            Opened::At(path) => divide(&mounts, &path, None, &mut places),
            Opened::Silent => divide(&mounts, &given, Some(None), &mut places),
            Opened::Refused(trouble) if trouble.errno == Some(2) => {
                triaged.not_checked += 1;
                triaged.errors.push((path::escape(given.as_os_str().as_bytes()), "there is no such folder".to_owned()));
            }
            Opened::Refused(trouble) => divide(&mounts, &given, Some(Some(trouble)), &mut places),
            Opened::Failed(detail) => {
                triaged.own_errors += 1;
                triaged.errors.push((path::escape(given.as_os_str().as_bytes()), detail));
            }
        }
    }
    places
}

/// No lane waits past the deadline.
pub fn limited(settings: &Settings, deadline: Instant) -> Settings {
    let left = deadline.saturating_duration_since(Instant::now());
    Settings { read_timeout: settings.read_timeout.min(left.max(Duration::from_secs(1))), ..settings.clone() }
}

fn open(path: &Path, settings: Settings) -> Opened {
    match Lane::start(vec![RootSpec { path: path.as_os_str().as_bytes().to_vec(), pattern: false }], settings) {
        Ok(mut lane) => match (lane.roots.first(), lane.troubles.pop()) {
            (Some(root), _) => Opened::At(PathBuf::from(OsString::from_vec(root.path.clone()))),
            (None, Some(trouble)) => Opened::Refused(trouble),
            (None, None) => Opened::Failed("it cannot be opened".to_owned()),
        },
        Err(LaneError::Hung { .. }) => Opened::Silent,
        Err(error) => Opened::Failed(error.to_string()),
    }
}

/// Divides a store by the file systems that are mounted in it. `failed`: it did not answer, or with this trouble.
fn divide(mounts: &Mounts, store: &Path, failed: Option<Option<Trouble>>, places: &mut Vec<Place>) {
    let mut nested: BTreeMap<PathBuf, Mount> = BTreeMap::new();
    // Of several on one mount point the last is seen.
    for mount in mounts.iter().filter(|m| m.mount_point.starts_with(store) && m.mount_point != store) {
        if !holds_no_mail(&mount.fs_type) && nested.len() < NESTED_MAX {
            nested.insert(mount.mount_point.clone(), mount.clone());
        }
    }
    let rel = |path: &Path| {
        let below = path.strip_prefix(store).ok()?.as_os_str().as_bytes().to_vec();
        RelPath::new(below).ok()
    };
    let rels: Vec<RelPath> = nested.keys().filter_map(|path| rel(path)).collect();
    let mut add = |at: RelPath, path: PathBuf, mount: Option<Mount>, failed: &Option<Option<Trouble>>| {
        let skip = rels.iter().filter(|other| **other != at).filter_map(|other| other.strip_prefix(&at)).collect();
        let (silent, trouble) = (matches!(failed, Some(None)), failed.clone().flatten());
        places.push(Place { store: store.to_owned(), rel: at, path, mount, skip, silent, trouble });
    };
    add(RelPath::root(), store.to_owned(), mounts.of(store).cloned(), &failed);
    for (path, mount) in nested {
        if let Some(at) = rel(&path) {
            add(at, path, Some(mount), &None);
        }
    }
}

fn holds_no_mail(fs_type: &str) -> bool {
    let kernel = ["proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "autofs", "mqueue", "debugfs", "tracefs"];
    kernel.contains(&fs_type)
}

/// Groups the places by the disks below them.
pub fn units(places: &[Place]) -> Vec<Unit> {
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        let below = place.mount.as_ref().map(|m| disks::below(Path::new(disks::SYS), m)).unwrap_or_default();
        let name = name(&below, place);
        let key = if below.disks.is_empty() { name.clone() } else { below.disks.join(" ") };
        let unit = units.entry(key).or_insert_with(|| Unit { name, below: below.clone(), places: Vec::new() });
        unit.places.push(number);
        // Two volumes on the same disks: one device, whose arrays are those of both.
        for array in below.arrays {
            if !unit.below.arrays.contains(&array) {
                unit.below.arrays.push(array);
            }
        }
    }
    units.into_values().collect()
}

/// What people call it.
fn name(below: &Below, place: &Place) -> String {
    let source = place.mount.as_ref().map(|m| path::escape(m.source.as_bytes())).unwrap_or_default();
    let disks = below.disks.join(" + ");
    match (below.kind, below.disks.is_empty(), below.between.is_empty()) {
        (_, false, true) => disks,
        (_, false, false) => format!("{disks} ({})", below.between.join(", ")),
        (Kind::Network | Kind::Fuse, ..) if !source.is_empty() => source,
        _ => {
            let at = place.mount.as_ref().map(|m| path::escape(m.mount_point_bytes())).unwrap_or_default();
            format!("{source} at {at}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
27 1 254:0 / / rw - ext4 /dev/vda rw
28 27 8:1 / /srv/mail rw - ext4 /dev/sda1 rw
29 28 8:17 / /srv/mail/b rw - ext4 /dev/sdb1 rw
30 29 0:30 / /srv/mail/b/x rw - nfs4 filer:/x rw
31 28 0:5 / /srv/mail/proc rw - proc proc rw
32 27 0:31 / /srv/mailbox rw - tmpfs tmpfs rw";

    #[test]
    fn a_store_is_divided_by_what_is_mounted_in_it() {
        let mounts = Mounts::parse(TABLE);
        let mut places = Vec::new();
        divide(&mounts, Path::new("/srv/mail"), None, &mut places);
        let is: Vec<(String, String, String)> = places
            .iter()
            .map(|p| {
                let skip: Vec<String> = p.skip.iter().map(ToString::to_string).collect();
                (p.rel.to_string(), p.mount.as_ref().unwrap().fs_type.clone(), skip.join(" "))
            })
            .collect();
        let should = [("", "ext4", "b b/x"), ("b", "ext4", "x"), ("b/x", "nfs4", "")];
        assert_eq!(is, should.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        let mut below = Vec::new();
        divide(&mounts, Path::new("/srv/mail/b/y"), Some(None), &mut below);
        assert!(below.len() == 1 && below[0].silent && below[0].mount.as_ref().unwrap().dev == (8, 17));
    }

    #[test]
    fn what_is_not_on_disks_is_named_by_its_source() {
        let mut places = Vec::new();
        divide(&Mounts::parse(TABLE), Path::new("/srv/mail/b/x"), None, &mut places);
        divide(&Mounts::parse(TABLE), Path::new("/srv/mailbox"), None, &mut places);
        let names: Vec<String> = units(&places).into_iter().map(|unit| unit.name).collect();
        assert_eq!(names, ["filer:/x", "tmpfs at /srv/mailbox"]);
    }
}
