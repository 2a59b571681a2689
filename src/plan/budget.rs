//! A verify with a budget: how much of what is on record is read tonight, and which messages those are.
//!
//! The messages that were proven longest ago come first. Which ones those are is known before the first is read, from
//! one count for each time of proof: a run stamps everything that it proves with one time, so the counts are few,
//! however large the store is. Pure: the times, the counts, the nights and the pace come as arguments.
//!
//! What a share promises: 20 % reads every message again within five nights, however the store grows, and where it
//! shrinks to no less than half meanwhile. A share of what is left of a shrunken store would not get through what was
//! there before, so a night reads as much more as the promise takes, at most twice the share. What is new is read in its
//! first night and costs nothing of the share. Sizes and times are limits, and promise nothing where the store grows.

use std::collections::BTreeMap;

/// Seconds of a day.
pub const DAY: u64 = 86_400;
/// Different times that are told apart; beyond that neighbours are counted as one.
const TIMES_MAX: usize = 4096;
/// A night reads at most so many times its share to keep what earlier nights promised.
const CATCH_UP_MAX: u64 = 2;

/// What one run may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Seconds.
    Time(u64),
    /// Thousandths of the stored bytes that are on record.
    Share(u32),
    /// Stored bytes.
    Bytes(u64),
}

impl Budget {
    /// Bytes that it pays for; `None` where only the clock will tell, or all of it is paid for.
    pub fn bytes(self, total: Load, pace: Option<Pace>) -> Option<u64> {
        match self {
            Budget::Share(thousandths) => Some(scaled(total.bytes, thousandths.into(), 1000)),
            Budget::Bytes(bytes) => Some(bytes),
            Budget::Time(seconds) => pace.map(|pace| scaled(pace.bytes, seconds.saturating_mul(1000), pace.millis)),
        }
    }

    /// Nights within which everything is read once, whatever becomes of the store meanwhile; `None` where that depends.
    pub fn nights(self) -> Option<u64> {
        match self {
            Budget::Share(thousandths) => Some(1000_u64.div_ceil(u64::from(thousandths.max(1)))),
            Budget::Bytes(_) | Budget::Time(_) => None,
        }
    }

    /// Bytes of what is on record that are read tonight. `before`: when the last nights with this budget began.
    pub fn tonight(self, ages: &Ages, pace: Option<Pace>, before: &[i64]) -> Option<u64> {
        let bytes = self.bytes(ages.total(), pace)?;
        let due = self.nights().map_or(0, |nights| ages.due(nights, before));
        Some(bytes.max(due.min(bytes.saturating_mul(CATCH_UP_MAX))))
    }

    /// So many times as much, rounded up to what people would write.
    fn times(self, factor: f64) -> String {
        let up = |n: f64| n.ceil().max(1.0) as u64;
        match self {
            Budget::Time(seconds) => {
                let seconds = seconds as f64 * factor;
                match seconds <= 7200.0 {
                    true => format!("{}m", up(seconds / 60.0)),
                    false => format!("{}h", up(seconds / 3600.0)),
                }
            }
            Budget::Share(thousandths) => format!("{}%", up(f64::from(thousandths) * factor / 10.0).min(100)),
            Budget::Bytes(bytes) => {
                let bytes = bytes as f64 * factor;
                let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
                let (name, unit) = units.into_iter().find(|(_, unit)| bytes >= *unit * 2.0).unwrap_or(("B", 1.0));
                format!("{}{name}", up(bytes / unit))
            }
        }
    }
}

/// `n * by / of`, rounded up; without limit where there is nothing to divide by.
fn scaled(n: u64, by: u64, of: u64) -> u64 {
    if of == 0 {
        return u64::MAX;
    }
    let product = u128::from(n) * u128::from(by);
    u64::try_from(product.div_ceil(u128::from(of))).unwrap_or(u64::MAX)
}

/// What earlier runs read, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub bytes: u64,
    pub millis: u64,
}

/// A number of messages and their stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub messages: u64,
    pub bytes: u64,
}

impl Load {
    pub fn add(&mut self, other: Load) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What was last proven when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ages {
    /// Seconds that count as one time.
    width: i64,
    times: BTreeMap<i64, Load>,
}

impl Default for Ages {
    fn default() -> Ages {
        Ages { width: 1, times: BTreeMap::new() }
    }
}

impl Ages {
    /// Adds messages that were proven at `time`, in seconds.
    pub fn add(&mut self, time: i64, load: Load) {
        self.times.entry(time.div_euclid(self.width)).or_default().add(load);
        while self.times.len() > TIMES_MAX {
            self.width *= 2;
            for (time, load) in std::mem::take(&mut self.times) {
                self.times.entry(time.div_euclid(2)).or_default().add(load);
            }
        }
    }

    pub fn total(&self) -> Load {
        let mut total = Load::default();
        self.times.values().for_each(|load| total.add(*load));
        total
    }

    /// Bytes to read tonight, oldest first, so that as many in every night to come are enough to read everything again
    /// within so many nights of its last proof.
    fn due(&self, nights: u64, before: &[i64]) -> u64 {
        let (mut older, mut due) = (0_u64, 0);
        for (&time, load) in &self.times {
            older = older.saturating_add(load.bytes);
            let waited = before.iter().filter(|night| night.div_euclid(self.width) > time).count() as u64;
            due = older.div_ceil(nights.saturating_sub(waited).max(1)).max(due);
        }
        due
    }

    /// What was proven longest ago, and when.
    pub fn oldest(&self) -> Option<i64> {
        self.times.keys().next().map(|time| time.saturating_mul(self.width))
    }
}

/// What one run reads of what is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ration {
    width: i64,
    /// Everything that was proven before it is read; `None`: everything.
    until: Option<i64>,
    /// Bytes that are left for what was proven at that time.
    left: u64,
}

impl Ration {
    /// The oldest, as far as `bytes` reach; everything where they are not limited.
    pub fn of(ages: &Ages, bytes: Option<u64>) -> Ration {
        let mut ration = Ration { width: ages.width, until: None, left: bytes.unwrap_or(u64::MAX) };
        for (&time, load) in &ages.times {
            if load.bytes > ration.left {
                ration.until = Some(time);
                return ration;
            }
            ration.left -= load.bytes;
        }
        ration
    }

    /// Whether a message of this size that was proven at `time` is read tonight. Counts it if it is.
    pub fn take(&mut self, time: i64, size: u64) -> bool {
        let Some(until) = self.until else { return true };
        let time = time.div_euclid(self.width);
        if time != until {
            return time < until;
        }
        // The last one may be larger than what is left: else one that is larger than the budget would never be read.
        let taken = self.left > 0;
        if taken {
            self.left = self.left.saturating_sub(weight(size));
        }
        taken
    }
}

/// What a message costs: an empty one, too, has to be looked at.
pub fn weight(size: u64) -> u64 {
    size.max(1)
}

/// Runs after which everything was read once.
pub fn rounds(total: Load, bytes: u64) -> u64 {
    if total.bytes == 0 { 0 } else { total.bytes.div_ceil(bytes.max(1)) }
}

/// Says so where one run a night cannot cover the store before `max_age` (in seconds) is over.
pub fn too_small(budget: Budget, total: Load, bytes: u64, max_age: u64) -> Option<(String, String)> {
    let (nights, allowed) = (rounds(total, bytes), (max_age / DAY).max(1));
    if nights <= allowed {
        return None;
    }
    let days = if allowed == 1 { "1 day".to_owned() } else { format!("{allowed} days") };
    let enough = budget.times(total.bytes as f64 / bytes.max(1) as f64 / allowed as f64);
    let what = format!("at this budget the whole store takes {nights} nights; --max-age is {days}");
    Some((what, format!("raise the budget to {enough}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(messages: u64, bytes: u64) -> Load {
        Load { messages, bytes }
    }

    fn ages(all: &[(i64, u64)]) -> Ages {
        let mut ages = Ages::default();
        all.iter().for_each(|&(time, bytes)| ages.add(time, load(1, bytes)));
        ages
    }

    #[test]
    fn the_oldest_are_read_first_and_the_last_time_in_part() {
        let mut ration = Ration::of(&ages(&[(300, 50), (100, 10), (200, 20), (200, 20)]), Some(40));
        assert!(ration.take(100, 10), "older than all that is cut off");
        assert!(ration.take(200, 20), "30 are left");
        assert!(ration.take(200, 20), "10 are left, and the last one may be larger");
        assert!(!ration.take(200, 1), "nothing is left");
        assert!(!ration.take(300, 1) && ration.take(99, 1_000), "whatever is left");
    }

    #[test]
    fn a_budget_that_reaches_reads_everything() {
        let known = ages(&[(100, 10), (200, 30)]);
        for bytes in [None, Some(40), Some(u64::MAX)] {
            let mut ration = Ration::of(&known, bytes);
            assert!(ration.take(100, 10) && ration.take(200, 30) && ration.take(900, 5), "{bytes:?}");
        }
        assert!(!Ration::of(&known, Some(0)).take(100, 1), "none is none");
        assert!(Ration::of(&Ages::default(), Some(0)).take(5, 5), "nothing on record, nothing to put off");
    }

    #[test]
    fn many_times_are_counted_as_few_and_nothing_is_lost() {
        let mut all = Ages::default();
        (0..100_000).for_each(|n| all.add(n * 7 - 50_000, load(1, 3)));
        assert!(all.times.len() <= TIMES_MAX && all.width > 1);
        assert_eq!(all.total(), load(100_000, 300_000));
        assert!(all.oldest().is_some_and(|oldest| (oldest + 50_000).abs() < all.width));
        let mut ration = Ration::of(&all, Some(150_000));
        let read = (0..100_000).filter(|n| ration.take(n * 7 - 50_000, 3)).count();
        assert_eq!(read, 50_000);
    }

    #[test]
    fn shares_sizes_and_times_become_bytes() {
        let total = load(10, 1_000_001);
        assert_eq!(Budget::Share(300).bytes(total, None), Some(300_001));
        assert_eq!(Budget::Bytes(7).bytes(total, None), Some(7));
        assert_eq!(Budget::Time(60).bytes(total, None), None, "nothing is known of the pace");
        let pace = Pace { bytes: 5_000, millis: 2_000 };
        assert_eq!(Budget::Time(60).bytes(total, Some(pace)), Some(150_000));
        assert_eq!(Budget::Time(60).bytes(total, Some(Pace { millis: 0, ..pace })), Some(u64::MAX));
        assert_eq!(Budget::Time(u64::MAX).bytes(total, Some(pace)), Some(u64::MAX), "no overflow");
    }

    #[test]
    fn a_budget_that_never_covers_the_store_is_told_with_one_that_does() {
        let total = load(90, 9_000);
        let told = too_small(Budget::Time(4800), total, 100, 30 * DAY).unwrap();
        assert_eq!(told.0, "at this budget the whole store takes 90 nights; --max-age is 30 days");
        assert_eq!(told.1, "raise the budget to 4h");
        assert_eq!(too_small(Budget::Share(11), total, 100, 30 * DAY).unwrap().1, "raise the budget to 4%");
        assert_eq!(too_small(Budget::Bytes(100), total, 100, DAY).unwrap().1, "raise the budget to 9kB");
        assert_eq!(too_small(Budget::Bytes(300), total, 300, 30 * DAY), None);
        assert_eq!(too_small(Budget::Bytes(0), load(0, 0), 0, DAY), None, "nothing to cover");
    }

    #[test]
    fn a_shrunken_store_is_caught_up_with_and_at_most_twice_the_share_is_read() {
        let share = Budget::Share(200);
        let tonight = |known: &[(i64, u64)], before: &[i64]| share.tonight(&ages(known), None, before);
        assert_eq!(tonight(&[(0, 100)], &[0]), Some(20), "the first night after all was read");
        // Of 100 bytes, three nights read 60; what they read was deleted in part.
        let left = [(0, 40), (1, 5), (2, 10), (3, 20)];
        assert_eq!(tonight(&left, &[0, 1, 2, 3]), Some(20), "and not 15: two nights are left for 40");
        assert_eq!(tonight(&left, &[]), Some(15), "nothing is late under a budget that is new");
        assert_eq!(tonight(&left, &[0, 1, 2, 3, 4, 5, 6]), Some(30), "twice the share, whatever is late");
        assert_eq!(Budget::Bytes(7).tonight(&ages(&left), None, &[0, 1, 2, 3, 4]), Some(7), "a limit is one");
        assert_eq!(share.tonight(&Ages::default(), None, &[]), Some(0));
        assert_eq!([1, 70, 200, 300, 1000].map(|n| Budget::Share(n).nights()), [1000, 15, 5, 4, 1].map(Some));
    }

    /// A store through many nights: the mail with its times of proof, and the largest it was in the last ones.
    struct Nights {
        mail: Vec<(i64, u64)>,
        sizes: Vec<u64>,
        begun: Vec<i64>,
    }

    impl Nights {
        fn new(dice: &mut fastrand::Rng) -> Nights {
            let mail = (0..300).map(|_| (0, dice.u64(0..3) * dice.u64(0..5_000))).collect();
            Nights { mail, sizes: Vec::new(), begun: vec![0] }
        }

        /// One night: returns how many nights the longest unread message has waited, and the bytes of old mail read.
        fn pass(&mut self, budget: Budget, at: i64) -> (usize, u64) {
            let known = ages(&self.mail.iter().map(|&(time, size)| (time, weight(size))).collect::<Vec<_>>());
            self.sizes.push(known.total().bytes);
            let mut ration = Ration::of(&known, budget.tonight(&known, None, &self.begun));
            let mut read = 0;
            for message in &mut self.mail {
                if ration.take(message.0, message.1) {
                    read += weight(message.1);
                    message.0 = at;
                }
            }
            self.begun.push(at);
            let oldest = self.mail.iter().map(|message| message.0).min().unwrap_or(at);
            (self.begun.iter().filter(|night| **night > oldest).count(), read)
        }

        fn total(&self) -> u64 {
            self.mail.iter().map(|message| weight(message.1)).sum()
        }

        /// Deletes some of those that were proven last, which is the worst that can happen: not so much that the store
        /// becomes smaller than half of what it was in any of the last nights.
        fn shrink(&mut self, nights: usize, dice: &mut fastrand::Rng) {
            let most = self.sizes.iter().rev().take(nights).copied().max().unwrap_or(0);
            let mut total = self.total();
            self.mail.sort_by_key(|message| message.0);
            for _ in 0..dice.usize(0..120) {
                let Some(last) = self.mail.last().filter(|last| (total - weight(last.1)) * 2 >= most) else { return };
                total -= weight(last.1);
                self.mail.pop();
            }
        }

        fn grow(&mut self, at: i64, dice: &mut fastrand::Rng) {
            let new = dice.usize(0..90);
            self.mail.extend((0..new).map(|_| (at, dice.u64(0..8_000))));
        }
    }

    /// Whatever arrives and whatever is deleted meanwhile, and however irregularly the runs come, nobody waits longer
    /// than the share promises, and no night reads more than twice its share and a message.
    #[test]
    fn every_message_is_read_within_the_promised_nights() {
        for seed in 0..60 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let thousandths = [300, 500, 70, 200, 10, 1000, dice.u32(20..=1000)][seed as usize % 7];
            let budget = Budget::Share(thousandths);
            let nights = usize::try_from(budget.nights().unwrap()).unwrap();
            let (mut store, mut at) = (Nights::new(&mut dice), 0);
            for night in 0..80 + nights {
                at += dice.i64(1..200_000);
                let (waited, read) = store.pass(budget, at);
                assert!(waited < nights, "seed {seed}, {thousandths} in night {night}: {waited} of {nights}");
                let share = scaled(*store.sizes.last().unwrap(), thousandths.into(), 1000);
                assert!(read <= share * CATCH_UP_MAX + 10_000, "seed {seed}: {read} of {share}");
                // Seasons of growth, of shrinking, and of both.
                if (night / 9) % 3 != 1 {
                    store.grow(at, &mut dice);
                }
                if (night / 9) % 3 != 0 {
                    store.shrink(nights, &mut dice);
                }
            }
        }
    }
}
