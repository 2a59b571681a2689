//! How much mail usually goes from an account between two nights: what is far above that is an alarm.
//!
//! Pure. A rate only tells presumed deletions from what nobody can tell; a server's word and every sign of loss go before
//! it (`missing`).

use std::collections::{BTreeMap, BTreeSet};

const DAY: i64 = 86_400;
/// Nights that must be on record before an account has a history: until then a share of the mailbox decides.
const NIGHTS: u64 = 7;
/// As many may go from an account in one night without any history of such nights.
const FEW: u64 = 20;
/// A night is usual up to this many times what was seen before.
const FAR: u64 = 2;
/// What is older says nothing of today's habits. Seconds.
pub const MEMORY: i64 = 90 * DAY;

/// An account's own history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Nights on record since the account was first seen.
    pub nights: u64,
    /// What went in one night, by the second largest night: a single one is no habit.
    pub usual: u64,
}

impl Rate {
    /// From when the account was first seen, the nights on record, and, for each message that was deleted, the night that
    /// saw it last. Unix seconds.
    pub fn of(first: i64, nights: &[i64], deleted: impl IntoIterator<Item = i64>, now: i64) -> Rate {
        let since = now.saturating_sub(MEMORY);
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for night in deleted.into_iter().filter(|&night| night >= since) {
            *counts.entry(night).or_default() += 1;
        }
        let mut counts: Vec<u64> = counts.into_values().collect();
        counts.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
        // Two runs of one day are one night.
        let nights: BTreeSet<i64> =
            nights.iter().filter(|&&night| night >= since.max(first)).map(|night| night.div_euclid(DAY)).collect();
        Rate { nights: nights.len() as u64, usual: counts.get(1).copied().unwrap_or_default() }
    }
}

/// Messages that went at once and that nothing explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// From the mailbox, and how many it was known to hold.
    pub mailbox: u64,
    pub known: u64,
    /// From the whole account.
    pub account: u64,
}

/// Why so many are an alarm; `None` where they may pass for deletions.
///
/// Without a history, up to three messages or 5 % of a mailbox pass. With one, so do twice as many as went in the second
/// largest of the earlier nights, however large a share that is; but of the whole account no more than that, or twenty.
pub fn alarm(gone: Gone, rate: Rate) -> Option<String> {
    let share = (gone.known / 20).max(3);
    let known = rate.nights >= NIGHTS;
    let usual = if known { rate.usual.saturating_mul(FAR) } else { 0 };
    if gone.mailbox > share.max(usual) {
        return Some(format!("{} of {} messages of this mailbox are gone at once", gone.mailbox, gone.known));
    }
    if known && gone.account > usual.max(FEW) {
        return Some(format!(
            "{} messages of this account are gone at once, far above its own history ({} on a large night)",
            gone.account, rate.usual
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hundred nights, the last of them now.
    fn nights() -> Vec<i64> {
        (1..=100).map(|night| night * DAY).collect()
    }

    fn after(counts: &[(i64, usize)]) -> Rate {
        let deleted = counts.iter().flat_map(|&(night, count)| vec![night * DAY; count]);
        Rate::of(0, &nights(), deleted, 100 * DAY)
    }

    fn alarms(mailbox: u64, known: u64, account: u64, rate: Rate) -> bool {
        alarm(Gone { mailbox, known, account }, rate).is_some()
    }

    #[test]
    fn the_first_nights_go_by_the_share() {
        for (gone, known, expected) in [(3, 10, false), (4, 10, true), (50, 1000, false), (51, 1000, true)] {
            assert_eq!(alarms(gone, known, 900, Rate::default()), expected, "{gone} of {known}");
            assert_eq!(alarms(gone, known, 900, Rate { nights: 6, usual: 5000 }), expected);
        }
    }

    #[test]
    fn a_weekly_clean_up_is_no_alarm_once_it_is_a_habit() {
        let once = after(&[(80, 400)]);
        assert!(alarms(400, 500, 400, once), "once is no habit");
        let habit = after(&[(80, 400), (87, 350), (94, 380)]);
        assert_eq!(habit, Rate { nights: 91, usual: 380 });
        assert!(!alarms(400, 500, 400, habit) && !alarms(700, 700, 700, habit));
        assert!(alarms(761, 5000, 761, habit), "far above even that");
        let forgotten = after(&[(1, 400), (2, 400)]);
        assert!(alarms(400, 500, 400, forgotten), "long ago");
    }

    #[test]
    fn one_who_never_deletes_and_loses_forty_at_once_raises_an_alarm() {
        let never = after(&[]);
        assert!(alarms(40, 2000, 40, never), "in one mailbox");
        assert!(alarms(2, 2000, 40, never), "over many mailboxes");
        assert!(!alarms(2, 2000, 20, never));
        assert!(!alarms(40, 2000, 40, Rate::default()), "nothing is known of a new account");
    }

    #[test]
    fn an_account_has_no_history_before_it_was_seen() {
        assert_eq!(Rate::of(97 * DAY, &nights(), [], 100 * DAY).nights, 4);
        let hourly: Vec<i64> = (0..48).map(|hour| hour * 3_600).collect();
        assert_eq!(Rate::of(0, &hourly, [], 2 * DAY).nights, 2, "two days of hourly runs");
    }

    proptest! {
        #[test]
        fn more_is_never_less_alarming(mailbox in 0u64..500, more in 0u64..500, known in 500u64..2000,
                                       nights in 0u64..100, usual in 0u64..500) {
            let rate = Rate { nights, usual };
            let alarmed = alarms(mailbox, known, mailbox, rate);
            prop_assert!(!alarmed || alarms(mailbox + more, known, mailbox + more, rate));
        }

        #[test]
        fn the_order_of_the_past_is_irrelevant(mut gone in prop::collection::vec(10i64..100, 0..60)) {
            let one = Rate::of(0, &nights(), gone.iter().map(|n| n * DAY), 100 * DAY);
            gone.reverse();
            prop_assert_eq!(one, Rate::of(0, &nights(), gone.iter().map(|n| n * DAY), 100 * DAY));
        }
    }
}
