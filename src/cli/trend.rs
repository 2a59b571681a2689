//! The early warning: what the nights on record say of a store's device, before it fails.
//!
//! Reads the catalog only.

use crate::catalog::{Catalog, StoreRow};
use crate::model::{Stamp, path};
use crate::plan::trend::{MEMORY, Night, Pace, Rise, Signs, trend};
use crate::report::words;
use crate::sys::mounts;
use serde_json::{Value, json};

/// What got worse with one store.
#[derive(Debug)]
pub struct Early {
    /// As people read it.
    store: String,
    signs: Signs,
}

impl Early {
    /// `None` while all is as it ever was.
    pub fn of(catalog: &Catalog, store: &StoreRow, now: Stamp) -> crate::catalog::Result<Option<Early>> {
        let runs = catalog.verifies(store.id, now.sec.saturating_sub(MEMORY))?;
        let nights: Vec<Night> = runs
            .iter()
            .filter_map(|run| {
                let (tally, ended) = (run.tally.as_ref()?, run.ended?);
                Some(Night {
                    began: run.began.sec,
                    elapsed: elapsed(run.began, ended),
                    bytes: tally.bytes,
                    read_errors: tally.read_errors,
                    harmed: tally.newly_harmed,
                    paused: tally.paused_ms,
                    device: tally.device,
                })
            })
            .collect();
        let signs = trend(&nights, now.sec);
        Ok(signs.any().then(|| Early { store: path::escape(&store.path), signs }))
    }

    /// One line: what was measured, and what to do.
    pub fn line(&self) -> String {
        let Signs { read_errors, harmed, pace, .. } = self.signs;
        let rise = |what: String, rise: Rise| {
            let before = if rise.before == 0 { "none".to_owned() } else { words::number(rise.before) };
            format!("{what} in the last 7 days, {before} in the {} before", words::count(rise.runs_before, "run"))
        };
        let mut told = Vec::new();
        told.extend(read_errors.map(|it| rise(words::count(it.recent, "read error"), it)));
        told.extend(harmed.map(|it| rise(format!("{} newly damaged", words::count(it.recent, "message")), it)));
        told.extend(pace.map(|Pace { recent, before }| {
            format!("it reads {}/s, usually {}/s", words::bytes(recent), words::bytes(before))
        }));
        let triage = format!("mailmend triage {}", words::quote(&self.store));
        let advice = match read_errors {
            Some(_) => format!("plan the disk's replacement, and run {triage}"),
            None => format!("{triage} tells whether it is the disk"),
        };
        let device = self.device().map(|device| format!(" ({device})")).unwrap_or_default();
        format!("{}{device}: {}: {advice}", self.store, told.join("; "))
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let rise =
            |rise: Rise| json!({ "recent": rise.recent, "before": rise.before, "runs_before": rise.runs_before });
        json!({
            "device": self.device(), "read_errors": self.signs.read_errors.map(rise),
            "newly_damaged": self.signs.harmed.map(rise),
            "bytes_per_second": self.signs.pace.map(|pace| json!({ "recent": pace.recent, "before": pace.before })),
            "text": self.line(),
        })
    }

    fn device(&self) -> Option<String> {
        let device = self.signs.device;
        (device != 0).then(|| mounts::device_name(mounts::device_numbers(device)))
    }
}

/// Milliseconds; none where the clock went back.
fn elapsed(began: Stamp, ended: Stamp) -> u64 {
    let millis = |at: Stamp| i128::from(at.sec) * 1000 + i128::from(at.nsec / 1_000_000);
    u64::try_from(millis(ended) - millis(began)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early(signs: Signs) -> Early {
        Early { store: "/var/vmail".to_owned(), signs }
    }

    #[test]
    fn one_line_says_what_was_measured_and_what_to_do() {
        let rise = |recent, before| Some(Rise { recent, before, runs_before: 30 });
        let errors = early(Signs { device: 0x800, read_errors: rise(3, 0), ..Signs::default() });
        assert_eq!(
            errors.line(),
            "/var/vmail (8:0): 3 read errors in the last 7 days, none in the 30 runs before: plan the disk's \
             replacement, and run mailmend triage /var/vmail"
        );
        let slow = Some(Pace { recent: 20_000_000, before: 90_000_000 });
        let rot = early(Signs { harmed: rise(4, 1), pace: slow, ..Signs::default() });
        let line = rot.line();
        assert!(
            line.starts_with("/var/vmail: 4 messages newly damaged in the last 7 days, 1 in the 30 runs before; it ")
        );
        assert!(line.ends_with(": mailmend triage /var/vmail tells whether it is the disk"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_clock_that_went_back_times_nothing() {
        let at = |sec| Stamp { sec, nsec: 500_000_000 };
        assert_eq!((elapsed(at(5), at(7)), elapsed(at(7), at(5))), (2_000, 0));
        assert_eq!(elapsed(at(i64::MIN), at(i64::MAX)), 0, "longer than any clock counts");
    }
}
