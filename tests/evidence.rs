//! What the cheap tier is worth, measured on real mail: whole mail accused, damage missed, ranges blamed.
//!
//! Reads the corpus where it is (`MAILMEND_CORPUS`, or `shared/corpus` beside or above this folder) and says
//! so where it is not. Prints counts and the names of files, never their content. `cargo bench --bench evidence`
//! prints the same and the cost.
//! `MAILMEND_UPDATE_README=1 cargo test --test evidence` writes the table in the README anew.

#[path = "common/canonical.rs"]
mod canonical;
#[path = "common/corpus.rs"]
mod corpus;
#[path = "evidence/harm.rs"]
mod harm;
#[path = "evidence/laws.rs"]
mod laws;
#[path = "evidence/mail.rs"]
mod mail;
#[path = "evidence/measure.rs"]
mod measure;
#[path = "evidence/readme.rs"]
mod readme;
#[path = "evidence/table.rs"]
mod table;

use harm::{Fill, Kind};
use mail::{Form, Mail};
use measure::{Accused, Row};

/// All of the corpus; `None`, and said so, where there is none.
fn corpus() -> Option<Vec<Mail>> {
    let Some(mails) = mail::load() else {
        eprintln!("\n*** SKIPPED: the evidence on real mail: no corpus here ***\n");
        return None;
    };
    assert!(mails.len() > 10_000);
    Some(mails)
}

#[test]
fn whole_mail_is_not_accused() {
    let Some(mails) = corpus() else { return };
    let accused = Accused::of(&mails);
    println!("{}", table::accused(&accused));
    let traffic = accused.traffic;
    for count in &accused.counts {
        assert!(count.damaged * 10_000 <= traffic, "{count:?} of {traffic}");
        assert!(count.suspect * 300 <= traffic, "{count:?} of {traffic}");
    }
    assert!(accused.fixtures > 3000, "{accused:?}");
}

#[test]
fn damage_is_not_missed_and_the_readme_says_so() {
    let Some(mails) = corpus() else { return };
    let rows = measure::rows(&mails);
    println!("{}", table::rows(&rows));
    rows.iter().for_each(reaches_its_target);
    readme::hold(&Accused::of(&mails), &rows, std::env::var_os("MAILMEND_UPDATE_README").is_some());
}

/// What is promised of each kind of damage, whatever the form in which the message is stored.
fn reaches_its_target(row: &Row) {
    assert!(row.total > 0, "{:?} damaged nothing", row.kind);
    for (column, seen) in measure::COLUMNS.iter().zip(&row.seen) {
        let exact = *column == measure::CATALOG || (row.kind.shortens() && column.name.starts_with("S="));
        assert!(!exact || *seen == row.total, "{:?}, {}: {row:?}", row.kind, column.name);
    }
    assert_eq!(row.wrong, 0, "a damaged copy was taken for the message: {row:?}");
    assert_eq!(row.unseen, 0, "a signed body changed, and a signed copy does not name it: {row:?}");
    let alone = row.seen[0] as f64 / row.total as f64;
    match row.kind {
        Kind::Over(Fill::Zeros | Fill::Ff | Fill::Random, _) => {
            assert!(alone >= 0.999, "{row:?}");
            assert_eq!(row.covered, row.blamed, "the blamed range does not cover the damage: {row:?}");
        }
        Kind::Cut { multipart: true } => assert!(alone >= 0.99, "{row:?}"),
        Kind::Emptied => assert_eq!(row.seen[0], row.total),
        _ => {}
    }
}

/// Fixtures of mail software are strange, and everything has an answer within bounds.
#[test]
fn strange_mail_has_an_answer_in_every_form() {
    let Some(mails) = corpus() else { return };
    for mail in mails.iter().filter(|mail| !mail.is_traffic()) {
        for form in Form::ALL {
            let bytes = mail::stored(&mail.bytes, form);
            let whole = measure::judge(&bytes, Default::default());
            for fault in whole.faults() {
                assert!(fault.span.end() <= bytes.len() as u64, "{}: {fault:?}", mail.path);
            }
        }
    }
}
