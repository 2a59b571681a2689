//! How fast a store is read beside the work of others: a limit in bytes a second, and backing off while others need
//! the disks.
//!
//! Pure: times and counts come as arguments, and what is decided is a number.

use std::time::Duration;

/// What may be read at once after a pause, in time at the full rate: more would be felt.
const BURST: Duration = Duration::from_millis(100);

/// Bytes a second, whoever reads them. What was read is paid for before the next read: over any length of time no more
/// comes through than the rate, the burst and the reads that were under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    rate: u64,
    /// When all that was read is paid for, since the bucket was made.
    free: Duration,
}

impl Bucket {
    /// `rate` in bytes a second.
    pub fn new(rate: u64) -> Bucket {
        Bucket { rate: rate.max(1), free: Duration::ZERO }
    }

    /// How long the next read has to wait.
    pub fn wait(&self, now: Duration) -> Duration {
        self.free.saturating_sub(now)
    }

    /// So much was read.
    pub fn pay(&mut self, now: Duration, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free = self.free.max(now.saturating_sub(BURST)).saturating_add(cost);
    }
}

/// What was measured over a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub span: Duration,
    /// Bytes that the disks gave and took, whoever asked.
    pub moved: u64,
    /// Bytes that we had of them or gave them.
    pub own: u64,
    /// Reads of ours, and how long the middle one took.
    pub reads: u32,
    pub middle: Duration,
}

/// How often the pace is halved at most: a night that backs off all the time takes eight times as long, and ends.
pub const STEPS: u32 = 3;
/// Less than this, in bytes a second, disturbs nobody and is not disturbed.
const LITTLE: u64 = 256 << 10;
/// ... nor is less than this part of what we read at full pace.
const PART: u64 = 20;
/// Reads that take so many times as long as they used to wait for somebody.
const SLOWER: u32 = 3;
/// Shorter differences are chance.
const CHANCE: Duration = Duration::from_millis(2);
/// Reads that make a middle.
const READS: u32 = 8;
/// Samples without others before the pace rises again.
const CALM: u32 = 2;

/// Whether others need the disks, and how far we step back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackOff {
    step: u32,
    calm: u32,
    /// The middle read while nobody else was there.
    baseline: Option<Duration>,
}

impl BackOff {
    /// Halvings of the pace until the next sample.
    pub fn judge(&mut self, sample: &Sample) -> u32 {
        let others = self.others(sample);
        let slow = self.slow(sample);
        if !others {
            self.learn(sample);
        }
        if others || slow {
            (self.step, self.calm) = ((self.step + 1).min(STEPS), 0);
        } else {
            self.calm += 1;
            if self.calm >= CALM {
                (self.step, self.calm) = (self.step.saturating_sub(1), 0);
            }
        }
        self.step
    }

    /// Whether the disks did more than we asked for.
    fn others(&self, sample: &Sample) -> bool {
        let a_second = |bytes: u64| {
            let bytes = u128::from(bytes) * 1_000_000_000 / sample.span.as_nanos().max(1);
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        // What we would read if we had not stepped back: else the others would seem more the less is left of us.
        let full = a_second(sample.own).saturating_mul(1 << self.step);
        a_second(sample.moved.saturating_sub(sample.own)) > LITTLE.max(full / PART)
    }

    fn slow(&self, sample: &Sample) -> bool {
        let limit = self.baseline.map(|base| base.saturating_mul(SLOWER).max(base.saturating_add(CHANCE)));
        sample.reads >= READS && limit.is_some_and(|limit| sample.middle > limit)
    }

    /// The baseline falls at once and rises slowly: a disk that becomes slower for good is not waited for for ever.
    fn learn(&mut self, sample: &Sample) {
        if sample.reads >= READS {
            let base = self.baseline.unwrap_or(sample.middle);
            self.baseline = Some(sample.middle.min(base + base / 64 + Duration::from_micros(10)));
        }
    }
}

/// How long to pause after a read, for a pace that was halved `step` times.
pub fn pause(step: u32, read: Duration) -> Duration {
    read.saturating_mul((1 << step.min(STEPS)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bucket_keeps_its_rate_and_forgives_no_debt() {
        let mut bucket = Bucket::new(1000);
        assert_eq!(bucket.wait(ms(0)), ms(0));
        bucket.pay(ms(0), 500);
        assert_eq!(bucket.wait(ms(100)), ms(400));
        bucket.pay(ms(500), 250);
        bucket.pay(ms(500), 250);
        assert_eq!(bucket.wait(ms(500)), ms(500), "two readers that came through together");
        bucket.pay(Duration::from_secs(60), 100);
        assert_eq!(bucket.wait(Duration::from_secs(60)), ms(0), "the burst pays for it");
        bucket.pay(Duration::from_secs(60), 1000);
        assert_eq!(bucket.wait(Duration::from_secs(60)), SECOND, "an idle minute is not saved up");
        Bucket::new(0).pay(SECOND, u64::MAX);
    }

    proptest! {
        #[test]
        fn no_more_comes_through_than_the_rate(rate in 1u64..1_000_000, reads in proptest::collection::vec((1u64..100_000, 0u64..50), 1..50)) {
            let (mut bucket, mut now, mut all) = (Bucket::new(rate), SECOND, 0);
            for (bytes, idle) in reads {
                now += bucket.wait(now) + ms(idle);
                bucket.pay(now, bytes);
                all += bytes;
            }
            now += bucket.wait(now);
            let most = rate as f64 * ((now - SECOND) + BURST).as_secs_f64();
            prop_assert!(all as f64 <= most * 1.001 + 50.0, "{} in {:?} at {}", all, now, rate);
        }
    }

    fn sample(others: u64, own: u64, middle: u64) -> Sample {
        Sample { span: SECOND, moved: own + others, own, reads: 100, middle: ms(middle) }
    }

    /// Judges so many equal samples.
    fn judged(back_off: &mut BackOff, sample: Sample, times: usize) -> Vec<u32> {
        (0..times).map(|_| back_off.judge(&sample)).collect()
    }

    #[test]
    fn steps_back_for_others_to_the_floor_and_comes_again() {
        let mut back_off = BackOff::default();
        assert_eq!(judged(&mut back_off, sample(0, 5 << 20, 5), 3), [0, 0, 0], "alone");
        assert_eq!(judged(&mut back_off, sample(4 << 20, 5 << 20, 5), 5), [1, 2, 3, 3, 3], "never slower than that");
        assert_eq!(judged(&mut back_off, sample(0, 1 << 20, 5), 7), [3, 2, 2, 1, 1, 0, 0], "slowly");
    }

    #[test]
    fn does_not_step_back_for_itself_or_for_crumbs() {
        let mut back_off = BackOff::default();
        assert_eq!(judged(&mut back_off, sample(0, 500 << 20, 5), 5), [0; 5]);
        assert_eq!(judged(&mut back_off, sample(100 << 10, 1 << 20, 5), 5), [0; 5], "100 kB a second");
        assert_eq!(judged(&mut back_off, sample(8 << 20, 500 << 20, 5), 5), [0; 5], "a fast disk and a little more");
        let counted_late = Sample { moved: 0, ..sample(0, 5 << 20, 5) };
        assert_eq!(judged(&mut back_off, counted_late, 5), [0; 5]);
        let nothing = Sample { span: Duration::ZERO, moved: 0, own: 0, reads: 0, middle: ms(0) };
        assert_eq!(judged(&mut back_off, nothing, 5), [0; 5]);
    }

    #[test]
    fn what_is_left_of_us_does_not_make_others_more() {
        let mut back_off = BackOff::default();
        judged(&mut back_off, sample(100 << 20, 160 << 20, 1), 4);
        assert_eq!(judged(&mut back_off, sample(7 << 20, 20 << 20, 1), 2), [3, 2], "7 beside 160, not beside 20");
    }

    #[test]
    fn steps_back_when_reads_wait_though_nobody_is_counted() {
        let mut back_off = BackOff::default();
        judged(&mut back_off, sample(0, 1 << 20, 5), 3);
        assert_eq!(judged(&mut back_off, sample(0, 1 << 20, 40), 3), [1, 2, 3]);
        assert_eq!(judged(&mut back_off, Sample { reads: 2, ..sample(0, 1 << 20, 40) }, 2), [3, 2], "two tell nothing");
        let for_good = judged(&mut back_off, sample(0, 1 << 20, 40), 200);
        assert_eq!(for_good.last(), Some(&0), "a disk that stays slow is the disk, not others");
        let mut quick = BackOff::default();
        judged(&mut quick, sample(0, 1 << 20, 0), 3);
        assert_eq!(judged(&mut quick, sample(0, 1 << 20, 1), 3), [0; 3], "a millisecond is chance");
    }

    #[test]
    fn a_pause_is_a_share_of_the_reading() {
        assert_eq!([0, 1, 2, 3, 9].map(|step| pause(step, ms(10))), [0, 10, 30, 70, 70].map(ms));
    }

    proptest! {
        #[test]
        fn any_samples_give_a_bounded_step(samples in proptest::collection::vec(any::<(u64, u64, u64, u32, u64)>(), 0..20)) {
            let mut back_off = BackOff::default();
            for (span, moved, own, reads, middle) in samples {
                let (span, middle) = (Duration::from_nanos(span), Duration::from_nanos(middle));
                let step = back_off.judge(&Sample { span, moved, own, reads, middle });
                prop_assert!(step <= STEPS);
            }
        }
    }
}
