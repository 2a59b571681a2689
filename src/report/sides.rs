//! A store held against its replica, for people: each difference in a line, and at the end what a sync would do.
//!
//! Pure.

use super::sanitise::{FIELD, SENTENCE, inline};
use super::text::{Style, Tone};
use super::words::{self, count, number};
use crate::model::sides::{Difference, Gaps, Kind, Side, Sides};

/// Columns of the word at the left.
const MARGIN: usize = 14;

/// Whether people see it without `-v`: what a finding tells already, and what a sync may carry over, is no news.
pub fn is_shown(difference: &Difference, style: Style) -> bool {
    style.verbose > 0 || !(difference.told || difference.kind.is_safe())
}

/// One difference: how, where, why, and which side is right.
pub fn difference(replica: &str, difference: &Difference, style: Style) -> String {
    let word = match difference.kind {
        Kind::Contents => "differs",
        Kind::Damaged(_) | Kind::DamagedOnly(..) | Kind::DamagedBoth => "damaged",
        Kind::Only(Side::Here, _) => "only here",
        Kind::Only(Side::There, _) => "only there",
    };
    let tone = if difference.kind.is_safe() { Tone::Good } else { Tone::Doubtful };
    let gap = " ".repeat(MARGIN.saturating_sub(word.len()));
    let right = match difference.kind.right() {
        Some(Side::Here) => "the store is right".to_owned(),
        Some(Side::There) => format!("{} is right", inline(replica, FIELD)),
        None => "neither side is proven right".to_owned(),
    };
    format!(
        "{}{gap}{}  {}  {}: {}; {right}\n",
        style.paint(tone, word),
        inline(&difference.account, FIELD),
        inline(&difference.mailbox, FIELD),
        difference.key,
        inline(&difference.why, SENTENCE),
    )
}

/// The lines of the final block.
pub(super) fn block(sides: &Sides) -> Vec<(&'static str, Option<Tone>, String)> {
    let mut lines = Vec::new();
    let read = format!("{} ({}) read", count(sides.messages, "message"), words::bytes(sides.bytes));
    let same = parts(&[(sides.equal, "the same on both sides"), (sides.moved, "moved on one side")]);
    lines.push(("Replica", None, join(&[read, same])));
    let damage = parts(&[
        (sides.damaged_here, "damaged here"),
        (sides.damaged_there, "damaged there"),
        (sides.damaged_both, "on no side as they should be"),
        (sides.contents, "different, and nothing tells which is right"),
    ]);
    let differ = join(&[damage, only(&sides.only_here, "here"), only(&sides.only_there, "there")]);
    let tone = if sides.vetoes() { Tone::Bad } else { Tone::Good };
    lines.push(("Differ", Some(tone), if differ.is_empty() { "nothing".to_owned() } else { differ }));
    let mut label = "A sync";
    for text in syncs(sides) {
        lines.push((label, Some(Tone::Bad), text));
        label = "";
    }
    let read_errors = format!("{} on the replica", count(sides.read_errors, "read error"));
    lines.extend((sides.read_errors > 0).then_some(("Medium there", Some(Tone::Bad), read_errors)));
    let verdict = match sides.vetoes() {
        true => "must not run now: repair first, see Next",
        false => "in both directions loses nothing of what was compared",
    };
    lines.push(("Syncing", Some(tone), verdict.to_owned()));
    lines
}

/// What each kind of sync would destroy.
fn syncs(sides: &Sides) -> Vec<String> {
    let mut texts = Vec::new();
    for (deletes, place) in [(sides.sync_deletes_there, "on the replica"), (sides.sync_deletes_here, "in the store")] {
        if deletes > 0 {
            texts.push(format!(
                "by the servers (dsync, doveadm sync or backup) would delete {} on the good side, {place}",
                count(deletes, "message")
            ));
        }
    }
    let ways = [(sides.push, "from the store to the replica"), (sides.pull, "from the replica to the store")];
    for (harm, way) in ways {
        let deeds = [
            (harm.deletes > 0).then(|| format!("delete {}", count(harm.deletes, "whole message"))),
            (harm.overwrites > 0).then(|| format!("overwrite {} with worse", count(harm.overwrites, "message"))),
        ];
        let deeds: Vec<String> = deeds.into_iter().flatten().collect();
        if !deeds.is_empty() {
            texts.push(format!("by rsync --delete {way} would {}", deeds.join(" and ")));
        }
    }
    texts
}

fn only(gaps: &Gaps, place: &str) -> String {
    let other = if place == "here" { "there" } else { "here" };
    let why = parts(&[
        (gaps.new, "new"),
        (gaps.deleted, &format!("deleted {other}")),
        (gaps.lost, &format!("lost {other}")),
        (gaps.undecided, &format!("lost or deleted {other}")),
    ]);
    if gaps.total() == 0 { String::new() } else { format!("{} only {place} ({why})", number(gaps.total())) }
}

fn parts(counts: &[(u64, &str)]) -> String {
    let parts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
    parts.join(", ")
}

fn join(texts: &[String]) -> String {
    texts.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;
    use crate::model::sides::{Gap, Harmful};

    fn told(sides: &Sides) -> String {
        block(sides).into_iter().map(|(label, _, text)| format!("{label}: {text}\n")).collect()
    }

    #[test]
    fn says_what_a_sync_would_delete() {
        let mut sides = Sides { messages: 40, equal: 40, sync_deletes_there: 1960, ..Sides::default() };
        sides.only_there.lost = 1960;
        sides.push = Harmful { deletes: 1960, overwrites: 0 };
        let text = told(&sides);
        for words in [
            "would delete 1,960 messages on the good side, on the replica",
            "1,960 only there (1,960 lost here)",
            "rsync --delete from the store to the replica would delete 1,960 whole messages",
            "must not run now",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn is_calm_where_nothing_is_at_stake() {
        let mut sides = Sides { messages: 40, equal: 38, ..Sides::default() };
        sides.only_there.deleted = 2;
        let text = told(&sides);
        assert!(text.contains("2 only there (2 deleted here)") && text.contains("loses nothing"), "{text}");
        assert!(!text.contains("would"), "{text}");
        sides.only_here.new = 1;
        sides.pull.deletes = 1;
        let text = told(&sides);
        assert!(text.contains("rsync --delete from the replica to the store would delete 1 whole message"), "{text}");
        assert!(text.contains("loses nothing"), "{text}");
    }

    #[test]
    fn a_difference_says_who_is_right() {
        let only = Difference {
            account: "ann".into(),
            mailbox: "INBOX".into(),
            key: Key(b"1.x".to_vec()),
            kind: Kind::Only(Side::There, Gap::Lost),
            here: None,
            there: None,
            why: "it was lost\u{1b}".into(),
            deleted_by_sync: false,
            told: false,
        };
        let text = difference("/replica", &only, Style::default());
        assert!(text.starts_with("only there    ann  INBOX  1.x: it was lost") && !text.contains('\u{1b}'), "{text}");
        assert!(text.ends_with("; /replica is right\n"), "{text}");
        assert!(is_shown(&only, Style::default()));
        assert!(!is_shown(&Difference { told: true, ..only.clone() }, Style::default()));
        let new = Difference { kind: Kind::Only(Side::There, Gap::New), ..only };
        assert!(!is_shown(&new, Style::default()) && is_shown(&new, Style { verbose: 1, ..Style::default() }));
    }
}
