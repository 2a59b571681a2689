//! How long ago messages were proven, as `status` shows it, and when all of them will have been again.
//!
//! Reads the catalog only.

use crate::catalog::{Catalog, RunRow, StoreId};
use crate::engine::selection::Selection;
use crate::model::Stamp;
use crate::plan::budget::{DAY, Load, rounds};
use crate::report::words;
use crate::store;
use crate::sys::clock;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Days up to which a message counts in each class; the last one is open.
const DAYS: [u64; 9] = [1, 2, 3, 4, 7, 14, 30, 60, u64::MAX];
/// Nights whose pace counts.
const NIGHTS: usize = 7;
/// Signs of the longest bar.
const BAR: u64 = 30;

/// What is known of one store.
#[derive(Debug, Default)]
pub struct Proven {
    classes: [u64; DAYS.len()],
    /// At the pace of the last nights all that is on record will have been read again.
    covered: Option<Stamp>,
}

impl Proven {
    pub fn of(catalog: &Catalog, store: StoreId, select: &Selection, now: Stamp) -> crate::catalog::Result<Proven> {
        let (mut proven, mut total) = (Proven::default(), Load::default());
        catalog.ages(store, &mut |row| {
            let rel = row.dir.strip_prefix(&row.account).unwrap_or_default();
            let wanted =
                select.account_at(&row.account_name, &row.account) && select.mailbox(&store::mailbox_name(&rel));
            if let (Some(verified), true) = (row.verified, wanted) {
                let age = u64::try_from(now.sec.saturating_sub(verified)).unwrap_or(0);
                proven.classes[class(age)] += row.messages;
                total.add(Load { messages: row.messages, bytes: row.bytes });
            }
        })?;
        proven.covered = covered(&catalog.runs(Some(store), 50)?, total);
        Ok(proven)
    }

    /// Lines of `status`; nothing where nothing was proven.
    pub fn write(&self, text: &mut String) {
        let most = self.classes.iter().copied().max().unwrap_or(0);
        let mut label = "Ages";
        for (class, &messages) in self.classes.iter().enumerate().filter(|(_, messages)| **messages > 0) {
            let bar = "#".repeat((messages.saturating_mul(BAR) / most).max(1) as usize);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label:<14}{:<17}{:>12}  {bar}", name(class), words::number(messages));
            label = "";
        }
        if let Some(at) = self.covered {
            let at = clock::for_people(at);
            let day = at.split(' ').next().unwrap_or(&at);
            let _ =
                writeln!(text, "Covered       by {day} all of it will have been read again, at the last nights' pace");
        }
    }

    /// The same for machines: messages by the days since their last proof, and the day.
    pub fn json(&self) -> (Value, Value) {
        let classes = self.classes.iter().enumerate().map(|(class, messages)| {
            let days = Some(DAYS[class]).filter(|&days| days != u64::MAX);
            json!({ "under_days": days, "messages": messages })
        });
        (classes.collect(), json!(self.covered.map(clock::rfc3339)))
    }
}

fn class(age: u64) -> usize {
    DAYS.iter().position(|&days| age / DAY < days).unwrap_or(DAYS.len() - 1)
}

fn name(class: usize) -> String {
    match (class.checked_sub(1).map(|before| DAYS[before]), DAYS[class]) {
        (None, _) => "within a day".to_owned(),
        (Some(from), u64::MAX) => format!("over {from} days ago"),
        (Some(from), until) => format!("{from} to {until} days ago"),
    }
}

/// When all will have been read at the pace of the last nights that left something for the next; `None` where the last
/// one left nothing.
fn covered(runs: &[RunRow], total: Load) -> Option<Stamp> {
    let verifies = runs.iter().filter(|run| run.command == "verify");
    let nights = verifies.map_while(|run| {
        let tally = run.tally.as_ref().filter(|tally| tally.deferred > 0)?;
        Some((run.began, tally.bytes))
    });
    let nights: Vec<(Stamp, u64)> = nights.take(NIGHTS).collect();
    let (newest, oldest) = (nights.first()?.0, nights.last()?.0);
    let number = nights.len() as u64;
    let between = match number {
        1 => DAY,
        _ => u64::try_from(newest.sec.saturating_sub(oldest.sec)).ok()?.div_ceil(number - 1),
    };
    let bytes = nights.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes)) / number;
    let seconds = i64::try_from(rounds(total, bytes).checked_mul(between)?).ok()?;
    Some(Stamp { sec: newest.sec.checked_add(seconds)?, nsec: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_and_no_gaps() {
        assert_eq!([0, DAY - 1, DAY, 4 * DAY, 7 * DAY, u64::MAX].map(class), [0, 0, 1, 4, 5, 8]);
        assert_eq!([0, 1, 4, 8].map(name), ["within a day", "1 to 2 days ago", "4 to 7 days ago", "over 60 days ago"]);
        let proven = Proven { classes: [60, 1, 0, 0, 0, 0, 0, 0, 2], covered: Some(Stamp { sec: 0, nsec: 0 }) };
        let mut text = String::new();
        proven.write(&mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].ends_with(&"#".repeat(30)) && lines[1].ends_with("1  #"), "{text}");
        assert!(lines[3].starts_with("Covered       by 1970-01-01 all of it"), "{text}");
    }
}
