//! The measurements as text.

use crate::measure::{Accused, COLUMNS, Row};

pub fn accused(accused: &Accused) -> String {
    let mut text = format!("{} real messages, {} fixtures\n", accused.traffic, accused.fixtures);
    for count in &accused.counts {
        text += &format!(
            "{:22} real: {} damaged, {} suspect; fixtures: {} damaged, {} suspect\n",
            count.form, count.damaged, count.suspect, count.fixtures_damaged, count.fixtures_suspect
        );
    }
    text
}

pub fn rows(rows: &[Row]) -> String {
    let mut text = format!("{:34}{:>9}", "damage", "tried");
    COLUMNS.iter().for_each(|column| text += &format!("{:>13}", column.name));
    text += "   blamed rightly   signed bodies named\n";
    for row in rows {
        text += &format!("{:34}{:>9}", row.kind.words(), row.total);
        row.seen.iter().zip(&row.tried).for_each(|(&seen, &tried)| text += &format!("{:>13}", share(seen, tried)));
        text += &format!("{:>9} of {}", row.covered, row.blamed);
        text += &format!("{:>9} of {}\n", row.signed - row.unseen, row.signed);
    }
    text
}

/// Percent, never rounded up to all, nor down to none.
pub fn share(part: usize, whole: usize) -> String {
    match part {
        _ if whole == 0 => "-".into(),
        0 => "0".into(),
        part if part == whole => "100".into(),
        part => format!("{:.2}", ((part * 10_000 / whole.max(1)) as f64 / 100.0).max(0.01)),
    }
}
