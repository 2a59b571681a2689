//! A verify with a budget: how much of what is on record is read tonight, and which messages those are.
//!
//! The messages that were proven longest ago come first. Which ones those are is known before the first is read, from
//! one count for each time of proof: a run stamps everything that it proves with one time, so the counts are few,
//! however large the store is. Pure: the times, the counts and the pace come as arguments.

use std::collections::BTreeMap;

/// Seconds of a day.
pub const DAY: u64 = 86_400;
/// Different times that are told apart; beyond that neighbours are counted as one.
const TIMES_MAX: usize = 4096;

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

    /// Whatever arrives meanwhile, and however often the runs come, nobody waits longer than the budget promises.
    #[test]
    fn every_message_is_read_within_the_promised_nights() {
        for (share, nights) in [(300, 4), (500, 2), (70, 15), (1000, 1)] {
            let mut mail: Vec<(i64, u64)> = (0..500).map(|n| (0, 1 + n * n % 977)).collect();
            for night in 1..60i64 {
                let known = ages(&mail);
                let mut ration = Ration::of(&known, Budget::Share(share).bytes(known.total(), None));
                for message in &mut mail {
                    if ration.take(message.0, message.1) {
                        message.0 = night;
                    }
                }
                let waited = mail.iter().map(|message| night - message.0).max().unwrap();
                assert!(waited < nights, "{share} in night {night}: {waited}");
                mail.extend((0..20).map(|n| (night, n * 31)));
            }
        }
    }
}
