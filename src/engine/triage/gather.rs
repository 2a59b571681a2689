//! One device's sample: asks a lane, and once more where it did not answer, to tell a device that stumbles from one
//! that is gone. Runs in a thread of its own, and only ever waits with a limit.

use super::places::{Place, limited};
use crate::engine::lane::sampling::{Ended, Told};
use crate::engine::lane::{Lane, LaneError, Settings};
use crate::model::RelPath;
use crate::model::path;
use crate::model::triage::{Doing, SampleOrder, SampleRoot, Sampled, Walk};
use crate::model::wire::{RootSpec, Trouble};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Parts of the time, in percent: after these nothing more is listed, and read.
const LIST_SHARE: u32 = 40;
const READ_SHARE: u32 = 70;
/// Messages drawn; more make the bound hardly better.
const MOST: u32 = 20_000;
/// The same of the second try.
const AGAIN: Duration = Duration::from_secs(4);
const AGAIN_MOST: u32 = 64;
/// Accounts, troubles and messages of one device that are kept: a lane is not trusted.
const KEPT: usize = 200_000;

/// What was gathered so far. Places are numbers into all places of the run.
#[derive(Debug, Default)]
pub struct Gathered {
    pub accounts: Vec<(usize, RelPath)>,
    /// Roots in here are numbers of places.
    pub files: Vec<Sampled>,
    pub troubles: Vec<(usize, Trouble)>,
    pub walk: Walk,
    pub hangs: u64,
    pub read_after_hang: u64,
    pub hung_at: Option<String>,
    pub died: Option<String>,
    pub ended: bool,
}

/// One device's sample.
pub struct Task {
    pub places: Vec<(usize, Place)>,
    pub settings: Settings,
    pub seed: u64,
    pub deadline: Instant,
    pub stopped: Arc<AtomicBool>,
    pub into: Arc<Mutex<Gathered>>,
}

impl Task {
    pub fn run(self) {
        for (number, place) in &self.places {
            if let Some(trouble) = place.trouble.clone() {
                self.gathered().troubles.push((*number, trouble));
            }
        }
        let open: Vec<&(usize, Place)> = self.places.iter().filter(|(_, place)| place.trouble.is_none()).collect();
        if open.iter().any(|(_, place)| place.silent) {
            self.gathered().hangs += 1;
        }
        // Twice at most: what hung before it could be opened has had its first try.
        let tries = if self.gathered().hangs > 0 { 1..2 } else { 0..2 };
        for again in tries.map(|attempt| attempt > 0) {
            if open.is_empty() || self.stopped.load(Ordering::Relaxed) || !self.attempt(&open, again) {
                break;
            }
        }
        self.gathered().ended = true;
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.into.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one sample; whether it hung.
    fn attempt(&self, open: &[&(usize, Place)], again: bool) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let specs = open.iter().map(|(_, p)| RootSpec { path: p.path.as_os_str().as_bytes().to_vec(), pattern: false });
        let mut lane = match Lane::start(specs.collect(), limited(&self.settings, self.deadline)) {
            Ok(lane) => lane,
            Err(LaneError::Hung { .. }) => {
                self.gathered().hangs += 1;
                return true;
            }
            Err(error) => {
                self.gathered().died = Some(error.to_string());
                return false;
            }
        };
        // Numbers of the lane's roots, and of its specifications, to numbers of places.
        let of_spec: Vec<usize> = open.iter().map(|(number, _)| *number).collect();
        let at = |spec: u32| of_spec.get(spec as usize).copied();
        let of_root: Vec<usize> = lane.roots.iter().filter_map(|root| at(root.spec)).collect();
        for trouble in std::mem::take(&mut lane.troubles) {
            self.gathered().troubles.extend(at(trouble.root).map(|place| (place, trouble)));
        }
        let skip = |place: usize| open.iter().find(|(n, _)| *n == place).map(|(_, p)| p.skip.clone());
        let roots =
            (0u32..).zip(&of_root).map(|(root, &place)| SampleRoot { root, skip: skip(place).unwrap_or_default() });
        let time = if again { left.min(AGAIN) } else { left };
        let order = SampleOrder {
            roots: roots.collect(),
            list_ms: millis(time * LIST_SHARE / 100),
            total_ms: millis(time * READ_SHARE / 100),
            most: if again { AGAIN_MOST } else { MOST },
            seed: self.seed.wrapping_add(u64::from(again)),
        };
        let stop = || self.stopped.load(Ordering::Relaxed);
        let ended = lane.sample(&order, self.deadline, &stop, &mut |told| self.take(told, &of_root, again));
        match ended {
            Ok(Ended::Done | Ended::Late) => false,
            Ok(Ended::Hung(doing)) => {
                let mut gathered = self.gathered();
                gathered.hangs += 1;
                gathered.hung_at = gathered.hung_at.take().or_else(|| self.name(doing?, &of_root));
                true
            }
            Ok(Ended::Died(why)) => {
                self.gathered().died = Some(why);
                false
            }
            Err(error) => {
                self.gathered().died = Some(error.to_string());
                false
            }
        }
    }

    fn name(&self, doing: Doing, of_root: &[usize]) -> Option<String> {
        let place = of_root.get(doing.root as usize)?;
        let (_, place) = self.places.iter().find(|(number, _)| number == place)?;
        let path = if doing.path.is_empty() {
            place.path.clone()
        } else {
            place.path.join(std::ffi::OsStr::from_bytes(&doing.path))
        };
        Some(path::escape(path.as_os_str().as_bytes()))
    }

    fn take(&self, told: Told, of_root: &[usize], again: bool) {
        let place = |root: u32| of_root.get(root as usize).copied();
        let mut gathered = self.gathered();
        match told {
            Told::Account(root, dir) => {
                // A second try meets the same ones again.
                if let Some(place) = place(root).filter(|_| gathered.accounts.len() < KEPT) {
                    gathered.accounts.push((place, dir));
                }
            }
            Told::Trouble(trouble) => {
                if let Some(place) = place(trouble.root).filter(|_| gathered.troubles.len() < KEPT) {
                    gathered.troubles.push((place, trouble));
                }
            }
            Told::File(mut file) => {
                let Some(place) = place(file.root).and_then(|place| u32::try_from(place).ok()) else { return };
                file.root = place;
                gathered.read_after_hang += u64::from(again && file.seen.is_ok());
                if (!again || gathered.files.is_empty()) && gathered.files.len() < KEPT {
                    gathered.files.push(file);
                }
            }
            Told::Walk(walk) if !again => gathered.walk = walk,
            Told::Walk(_) => {}
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
