//! Laws that hold for any bytes and any damage.

use crate::corpus;
use crate::harm::{self, Kind};
use crate::mail::Shape;
use crate::measure::{Case, catalog};
use fastrand::Rng;
use mailmend::model::{Assurance, Verdict};
use rayon::prelude::*;

/// Damages that are tried, and with `MAILMEND_LONG`.
const CASES: u64 = 20_000;
const LONG: u64 = 1_000_000;

/// Whatever happened to a message whose digest was recorded: it is never called whole unless it is.
#[test]
fn nothing_is_called_identical_that_is_not() {
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
            let verdict = catalog(&Case { whole: &shape.bytes, harmed: &harmed.bytes }).verdict();
            assert!(!verdict.is_intact(), "seed {seed}: {verdict:?}");
            1
        })
        .sum();
    assert!(tried * 10 > cases * 9, "only {tried} of {cases} damages happened");
    for shape in &shapes {
        let verdict = catalog(&Case { whole: &shape.bytes, harmed: &shape.bytes }).verdict();
        assert_eq!(verdict, Verdict::Intact(Assurance::Identical));
    }
}
