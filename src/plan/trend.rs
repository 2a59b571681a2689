//! Whether a store's device is getting worse: the last nights against the store's own earlier ones.
//!
//! Pure. Only what was counted and timed goes in; a store without earlier nights has no trend.

const DAY: i64 = 86_400;
/// The nights that are judged. Seconds.
const RECENT: i64 = 7 * DAY;
/// The nights before them that tell how often errors and damage are usual. Seconds.
const BEFORE: i64 = 30 * DAY;
/// The same of the pace, which is less even. Seconds.
const PACED: i64 = 83 * DAY;
/// What is older tells nothing. Seconds.
pub const MEMORY: i64 = RECENT + PACED;
/// With fewer nights nothing is usual.
const NIGHTS: usize = 3;
/// A night that read less than this was listing folders, not reading. Bytes.
const TIMED: u64 = 1 << 30;
/// Fewer newly damaged messages are findings, and no trend.
const HARMED: u64 = 3;
/// Worse by less than this factor is chance.
const FAR: u64 = 2;

/// One verify, as the records tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Night {
    /// Unix seconds.
    pub began: i64,
    /// Milliseconds.
    pub elapsed: u64,
    /// Stored bytes that were read.
    pub bytes: u64,
    pub read_errors: u64,
    /// Messages found damaged or unreadable that were on record as whole.
    pub harmed: u64,
    /// It stood still for so long because others needed the disks. Milliseconds.
    pub paused: u64,
    /// Number of the store's device; 0 where it was not recorded.
    pub device: u64,
}

/// How often in the last nights, and in how many runs before how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise {
    pub recent: u64,
    pub before: u64,
    pub runs_before: u64,
}

/// Bytes a second, by the median of the nights that read at least 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub recent: u64,
    pub before: u64,
}

/// What got worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// The device that the newest night read.
    pub device: u64,
    pub read_errors: Option<Rise>,
    pub harmed: Option<Rise>,
    pub pace: Option<Pace>,
}

impl Signs {
    pub fn any(&self) -> bool {
        self.read_errors.is_some() || self.harmed.is_some() || self.pace.is_some()
    }
}

/// Judges the nights up to `now` (Unix seconds), in any order. What another device did says nothing of this one.
pub fn trend(nights: &[Night], now: i64) -> Signs {
    let past = |night: &&Night| night.began <= now;
    let newest = nights.iter().filter(past).max_by_key(|night| (night.began, night.device));
    let device = newest.map_or(0, |night| night.device);
    let same = |night: &&Night| device == 0 || night.device == 0 || night.device == device;
    // From the youngest age to the oldest, the latter excluded.
    let aged = |from: i64, to: i64| -> Vec<Night> {
        let within = |night: &&Night| (from..to).contains(&now.saturating_sub(night.began));
        nights.iter().filter(past).filter(same).filter(within).copied().collect()
    };
    let (recent, before) = (aged(0, RECENT), aged(RECENT, RECENT + BEFORE));
    Signs {
        device,
        read_errors: rise(&recent, &before, 1, |night| night.read_errors),
        harmed: rise(&recent, &before, HARMED, |night| night.harmed),
        pace: slower(&recent, &aged(RECENT, MEMORY)),
    }
}

/// More a night than before, by far. The mean, not the median: that of what is rare is always zero.
fn rise(recent: &[Night], before: &[Night], floor: u64, count: fn(&Night) -> u64) -> Option<Rise> {
    let sum = |nights: &[Night]| nights.iter().map(count).fold(0, u64::saturating_add);
    let (now, then) = (sum(recent), sum(before));
    let product = |a: u64, b: usize| u128::from(a) * b as u128;
    let far = product(now, before.len()) > u128::from(FAR).saturating_mul(product(then, recent.len()));
    let told = before.len() >= NIGHTS && now >= floor && far;
    told.then_some(Rise { recent: now, before: then, runs_before: before.len() as u64 })
}

fn slower(recent: &[Night], before: &[Night]) -> Option<Pace> {
    let pace = Pace { recent: median_pace(recent)?, before: median_pace(before)? };
    (pace.recent < pace.before / FAR).then_some(pace)
}

/// `None` where too few nights read enough to tell.
fn median_pace(nights: &[Night]) -> Option<u64> {
    // A night that stepped back for others tells of them and not of the disk.
    let own = |night: &&Night| night.elapsed > 0 && night.paused <= night.elapsed / 10;
    let timed = nights.iter().filter(|night| night.bytes >= TIMED).filter(own);
    let pace = |night: &Night| u128::from(night.bytes) * 1000 / u128::from(night.elapsed);
    let mut paces: Vec<u64> = timed.map(|night| u64::try_from(pace(night)).unwrap_or(u64::MAX)).collect();
    paces.sort_unstable();
    (paces.len() >= NIGHTS).then(|| paces[paces.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000 * DAY;

    /// Forty nights, the newest first, each with 2 GiB in a minute.
    fn calm() -> Vec<Night> {
        let night = |age: i64| Night {
            began: NOW - age * DAY - 3_600,
            elapsed: 60_000,
            bytes: 2 << 30,
            device: 2049,
            ..Night::default()
        };
        (0..40).map(night).collect()
    }

    #[test]
    fn calm_nights_show_nothing() {
        assert_eq!(trend(&calm(), NOW), Signs { device: 2049, ..Signs::default() });
        assert!(!trend(&[], NOW).any());
    }

    #[test]
    fn read_errors_after_a_month_without_any_are_a_sign() {
        let mut nights = calm();
        nights[2].read_errors = 3;
        let rise = Rise { recent: 3, before: 0, runs_before: 30 };
        assert_eq!(trend(&nights, NOW).read_errors, Some(rise));
        assert_eq!(trend(&nights, NOW + 6 * DAY).read_errors, None, "a week later it is history");
        assert_eq!(trend(&nights[..9], NOW).read_errors, None, "two earlier nights are no baseline");
        assert!(trend(&nights[..10], NOW).read_errors.is_some());
    }

    #[test]
    fn what_was_so_before_is_no_sign() {
        let mut nights = calm();
        nights.iter_mut().for_each(|night| (night.read_errors, night.harmed) = (4, 5));
        assert!(!trend(&nights, NOW).any(), "one bad sector, met again every night");
        nights[..7].iter_mut().for_each(|night| (night.read_errors, night.harmed) = (8, 10));
        assert!(!trend(&nights, NOW).any(), "twice as many");
        nights[0].read_errors += 1;
        nights[1].harmed += 1;
        let signs = trend(&nights, NOW);
        assert_eq!(signs.read_errors, Some(Rise { recent: 57, before: 120, runs_before: 30 }));
        assert_eq!(signs.harmed, Some(Rise { recent: 71, before: 150, runs_before: 30 }));
    }

    #[test]
    fn a_damaged_message_is_a_finding_and_three_are_a_trend() {
        let mut nights = calm();
        nights[1].harmed = 2;
        assert!(!trend(&nights, NOW).any());
        nights[4].harmed = 1;
        assert!(trend(&nights, NOW).harmed.is_some());
    }

    #[test]
    fn half_the_pace_is_a_sign_and_one_slow_night_is_none() {
        let mut nights = calm();
        nights[0].elapsed = 600_000;
        assert_eq!(trend(&nights, NOW).pace, None);
        nights[..7].iter_mut().for_each(|night| night.elapsed = 120_001);
        let (before, recent) = ((2 << 30) / 60, (2u64 << 30) * 1000 / 120_001);
        assert_eq!(trend(&nights, NOW).pace, Some(Pace { recent, before }));
        nights.iter_mut().take(7).for_each(|night| night.paused = 12_001);
        assert_eq!(trend(&nights, NOW).pace, None, "these stood back for others");
        nights.iter_mut().for_each(|night| (night.bytes, night.paused) = (TIMED - 1, 0));
        assert_eq!(trend(&nights, NOW).pace, None, "nights that read too little to tell");
    }

    #[test]
    fn another_device_starts_anew() {
        let mut nights = calm();
        nights[0].read_errors = 3;
        nights[3..].iter_mut().for_each(|night| night.device = 2065);
        assert!(!trend(&nights, NOW).any(), "the new disk has no history");
        nights[3..].iter_mut().for_each(|night| night.device = 0);
        assert!(trend(&nights, NOW).read_errors.is_some(), "records without a device count");
    }

    prop_compose! {
        fn night()(age in 0i64..100, elapsed in 0u64.., bytes in 0u64.., read_errors in 0u64..9, harmed in 0u64..9,
                   device in 0u64..3) -> Night {
            Night { began: NOW - age * DAY / 2, elapsed, bytes, read_errors, harmed, device, paused: 0 }
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_records_is_irrelevant(mut nights in prop::collection::vec(night(), 0..60)) {
            let one = trend(&nights, NOW);
            nights.reverse();
            prop_assert_eq!(one, trend(&nights, NOW));
        }

        #[test]
        fn more_errors_never_hide_a_sign(mut nights in prop::collection::vec(night(), 1..60), more in 1u64.., at: usize) {
            let number = nights.len();
            let night = &mut nights[at % number];
            night.began = NOW - (NOW - night.began) % RECENT;
            let before = trend(&nights, NOW);
            let night = &mut nights[at % number];
            night.read_errors = night.read_errors.saturating_add(more);
            let after = trend(&nights, NOW);
            prop_assert!(before.read_errors.is_none() || after.read_errors.is_some());
            prop_assert_eq!((before.harmed, before.pace), (after.harmed, after.pace));
        }

        #[test]
        fn nights_that_are_all_alike_show_nothing(one in night(), ages in prop::collection::vec(0i64..90, 0..60)) {
            let nights: Vec<Night> = ages.iter().map(|age| Night { began: NOW - age * DAY, ..one }).collect();
            prop_assert!(!trend(&nights, NOW).any());
        }

        #[test]
        fn records_of_any_content_are_judged(began: Vec<(i64, u64, u64, u64)>, now: i64) {
            let night = |&(began, elapsed, bytes, read_errors): &(i64, u64, u64, u64)| {
                Night { began, elapsed, bytes, read_errors, harmed: read_errors, device: 0, paused: 0 }
            };
            trend(&began.iter().map(night).collect::<Vec<_>>(), now);
        }
    }
}
