//! Laws that hold for any bytes and any damage.

use crate::corpus;
use crate::harm::{self, Kind};
use crate::mail::Shape;
use crate::measure::{Case, Copy, catalog};
use fastrand::Rng;
use mailmend::model::{Assurance, Verdict};
use mailmend::plan::compare::{Word, word};
use rayon::prelude::*;

/// Damages that are tried, and with `MAILMEND_LONG`.
const CASES: u64 = 20_000;
const LONG: u64 = 1_000_000;

/// Whatever happened to a message whose digest was recorded: it is never called whole unless it is. Nor does a whole
/// copy on another device corroborate it, nor it that copy, nor what was copied from it on the same device.
#[test]
fn nothing_is_called_identical_or_corroborated_that_is_not() {
    let mut mails = corpus::mails(3);
    let shapes: Vec<Shape> = (0..1500).map(|_| Shape::of(mails.message().expect("a message"))).collect();
    let cases = if std::env::var_os("MAILMEND_LONG").is_some() { LONG } else { CASES };
    let kinds: Vec<Kind> = Kind::all();
    let tried: u64 = (0..cases)
        .into_par_iter()
        .map(|seed| {
            let mut rng = Rng::with_seed(seed);
            let shape = &shapes[rng.usize(..shapes.len())];
            // Most kinds happen to any message; which one is left to chance until one does.
            let harmed = std::iter::from_fn(|| Some(kinds[rng.usize(..kinds.len())])).take(20).find_map(|kind| {
                let mut own = Rng::with_seed(seed);
                harm::inflict(kind, seed as usize % 9, shape, &shapes, &mut own)
            });
            let Some(harmed) = harmed else { return 0 };
            let (whole, harmed) = (Copy::on(1, &shape.bytes), Copy::on(2, &harmed.bytes));
            let verdict = catalog(&Case { whole: &whole, harmed: &harmed }).verdict();
            assert!(!verdict.is_intact(), "seed {seed}: {verdict:?}");
            for (copy, own) in [(&whole, &harmed), (&harmed, &whole)] {
                let word = word(&copy.facts, &own.facts);
                assert!(!matches!(word, Word::Equal { .. }), "seed {seed}: {word:?}");
            }
            assert_ne!(word(&harmed.facts, &whole.facts), Word::Accuses, "seed {seed}");
            assert_eq!(word(&harmed.facts, &harmed.facts), Word::Equal { apart: false }, "seed {seed}");
            1
        })
        .sum();
    assert!(tried * 10 > cases * 9, "only {tried} of {cases} damages happened");
    for shape in &shapes {
        let (here, there) = (Copy::on(1, &shape.bytes), Copy::on(2, &shape.bytes));
        let verdict = catalog(&Case { whole: &here, harmed: &there }).verdict();
        assert_eq!(verdict, Verdict::Intact(Assurance::Identical));
        assert_eq!(word(&here.facts, &there.facts), Word::Equal { apart: true });
    }
}
