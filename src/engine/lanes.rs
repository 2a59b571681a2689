//! One lane per physical device, over all folders of a run.
//!
//! Which device a folder lies on is read from the mount table and /sys, through partitions, volumes, arrays and loop
//! devices: the folder itself is not touched.

use super::lane::{Lane, LaneError, Settings};
use crate::model::wire::{RootInfo, RootSpec, Trouble};
use crate::sys::disks;
use crate::sys::mounts::Mounts;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder that the run works with.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which of the paths that were asked for led here.
    pub spec: usize,
    pub lane: usize,
    /// Number of the root in its lane.
    pub root: u32,
    pub info: RootInfo,
}

impl Place {
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.info.path))
    }
}

/// All lanes of a run.
pub struct Lanes {
    pub lanes: Vec<Lane>,
    pub places: Vec<Place>,
    /// What could not be opened: which path asked for, and why.
    pub troubles: Vec<(usize, Trouble)>,
}

impl Lanes {
    /// Starts the lanes for `paths` (path, is it a pattern).
    ///
    /// # Errors
    /// When no lane can be started at all.
    pub fn start(paths: &[(PathBuf, bool)], settings: &Settings) -> Result<Lanes, LaneError> {
        let table = Mounts::read().ok();
        let mut groups: Vec<(BTreeSet<String>, Vec<usize>)> = Vec::new();
        for (number, (path, _)) in paths.iter().enumerate() {
            let device = device(table.as_ref(), path);
            match groups.iter_mut().find(|(known, _)| *known == device) {
                Some((_, members)) => members.push(number),
                None => groups.push((device, vec![number])),
            }
        }
        let mut all = Lanes { lanes: Vec::new(), places: Vec::new(), troubles: Vec::new() };
        for (_, members) in groups {
            let specs = members
                .iter()
                .map(|&n| RootSpec { path: absolute(&paths[n].0).as_os_str().as_bytes().to_vec(), pattern: paths[n].1 })
                .collect();
            let lane = Lane::start(specs, settings.clone())?;
            let number = all.lanes.len();
            for (root, info) in (0u32..).zip(&lane.roots) {
                let spec = members.get(info.spec as usize).copied().unwrap_or_default();
                all.places.push(Place { spec, lane: number, root, info: info.clone() });
            }
            for trouble in &lane.troubles {
                let spec = members.get(trouble.root as usize).copied().unwrap_or_default();
                all.troubles.push((spec, trouble.clone()));
            }
            all.lanes.push(lane);
        }
        all.places.sort_by_key(|p| (p.spec, p.root));
        Ok(all)
    }

    /// The folders that one of the paths led to.
    pub fn of_spec(&self, spec: usize) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |p| p.spec == spec)
    }

    /// Lanes that hung and were left behind.
    pub fn left_behind(&self) -> u32 {
        self.lanes.iter().map(|l| l.left_behind).sum()
    }

    /// How long readers paused because others needed the disks.
    pub fn paused(&self) -> Duration {
        Duration::from_millis(self.lanes.iter().map(|l| l.paused_ms).sum())
    }

    /// What lanes did in the order of their disks.
    pub fn swept(&self) -> Vec<String> {
        self.lanes.iter().filter_map(|lane| lane.order.summary()).collect()
    }

    /// What of the wishes for a gentle pace cannot be had, each once.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.lanes.iter().flat_map(|lane| lane.notes.clone()).collect();
        notes.sort();
        notes.dedup();
        notes
    }
}

/// The path from the root, by its words alone.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What people would take out of the machine.
fn device(table: Option<&Mounts>, path: &Path) -> BTreeSet<String> {
    let mount = |table: &Mounts| table.of(&absolute(path)).map(|m| disks::bottom(Path::new(disks::SYS), table, m));
    table.and_then(mount).unwrap_or_default()
}
