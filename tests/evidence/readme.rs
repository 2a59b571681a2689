//! The short form of the measurements, between two marks in the README.

use crate::harm::Kind;
use crate::measure::{Accused, COLUMNS, Count, Row};
use crate::table::share;
use std::path::Path;

const BEGIN: &str = "<!-- evidence: measured -->\n";
const END: &str = "<!-- evidence: end -->\n";

fn readme(accused: &Accused, rows: &[Row]) -> String {
    let worst = |of: fn(&Count) -> usize| accused.counts.iter().map(of).max().unwrap_or(0);
    let mut text = format!(
        "Of {} whole messages, stored with LF or CRLF, {} are called damaged and at most {} suspect.\n\n",
        number(accused.traffic),
        worst(|count| count.damaged),
        worst(|count| count.suspect)
    );
    text += "| seen, percent | ";
    COLUMNS.iter().for_each(|column| text += &format!("{} | ", column.name));
    text = text.trim_end().to_owned() + "\n| --- |";
    COLUMNS.iter().for_each(|_| text += " --- |");
    text.push('\n');
    for (name, row) in short(rows) {
        text += &format!("| {name} |");
        row.seen.iter().zip(&row.tried).for_each(|(&seen, &tried)| text += &format!(" {} |", share(seen, tried)));
        text.push('\n');
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (signed, unseen) = (sum(|row| row.signed), sum(|row| row.unseen));
    text += &format!(
        "\nBehind an unharmed header, {} of {} bodies that changed in more than white space were named by a signed copy; of {}\n\
         pairs, {} were judged the wrong way round.\n",
        number(signed - unseen),
        number(signed),
        number(sum(|row| row.total)),
        sum(|row| row.wrong)
    );
    text
}

/// Regions of every size in one row.
fn short(rows: &[Row]) -> Vec<(String, Row)> {
    let mut short: Vec<(String, Row)> = Vec::new();
    for row in rows {
        match (row.kind, short.last_mut()) {
            (Kind::Over(fill, _), Some((_, sum))) if matches!(sum.kind, Kind::Over(same, _) if same == fill) => {
                *sum = sum.clone().add(row);
            }
            (Kind::Over(..), _) => {
                let words = row.kind.words();
                let what = words.split_once(" of ").map_or("", |(_, what)| what);
                short.push((format!("512 B, 4 KiB or 64 KiB of {what}"), row.clone()));
            }
            _ => short.push((row.kind.words(), row.clone())),
        }
    }
    short
}

fn number(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", number(n / 1000), n % 1000) }
}

/// Holds the README to what was measured, or writes it anew.
pub fn hold(accused: &Accused, rows: &[Row], update: bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).expect("a README");
    let start = text.find(BEGIN).expect("the README has a place for the table") + BEGIN.len();
    let end = text.find(END).expect("the README's table ends");
    let measured = readme(accused, rows);
    if update {
        std::fs::write(&path, format!("{}{measured}{}", &text[..start], &text[end..])).expect("a README to write");
    } else {
        let hint = "MAILMEND_UPDATE_README=1 cargo test --test evidence";
        assert!(text[start..end] == measured, "the README's table is not what was measured: {hint}\n{measured}");
    }
}
