//! The truth table of the verdict, and that it holds for every combination of outcomes.

use super::*;

/// The outcomes that count, as the table reads them.
struct Seen<'a>(&'a Evidence);

impl Seen<'_> {
    fn is(&self, check: Check, outcome: Outcome) -> bool {
        self.0.get(check) == outcome
    }

    fn any(&self, checks: &[Check], outcome: Outcome) -> bool {
        checks.iter().any(|&check| self.is(check, outcome))
    }

    /// A structure that the checks cannot follow, and that no signature shows to be as the sender wrote it.
    fn strange(&self) -> bool {
        self.any(&STRUCTURE, Outcome::Unknown) && !self.is(Check::DkimBody, Outcome::Pass)
    }

    fn proof(&self) -> bool {
        self.0.faults().iter().any(|fault| fault.kind.proves_damage())
    }
}

/// What the server noted, and what every message has.
const ESSENTIAL: [Check; 4] = [Check::NativeSize, Check::NativeHash, Check::Header, Check::Pattern];
/// What only some messages have.
const STRUCTURE: [Check; 2] = [Check::Mime, Check::Encoding];

type Row = (&'static str, fn(&Seen) -> bool, Verdict);

/// The first row that fits decides.
const TABLE: [Row; 12] = [
    ("not every byte was read", |s| s.is(Check::Read, Outcome::Fail), Verdict::Unreadable),
    ("nobody read it", |s| !s.is(Check::Read, Outcome::Pass), Verdict::Undetermined),
    ("as recorded", |s| s.is(Check::Digest, Outcome::Pass), Verdict::Intact(Assurance::Identical)),
    ("not as recorded", |s| s.is(Check::Digest, Outcome::Fail), Verdict::Damaged),
    ("a fault that no whole mail has", |s| s.proof(), Verdict::Damaged),
    ("encrypted", |s| s.0.opaque, Verdict::Undetermined),
    ("a fault", |s| s.any(&ESSENTIAL, Outcome::Fail) || s.any(&STRUCTURE, Outcome::Fail), Verdict::Suspect),
    ("not followed", |s| s.strange() && !s.any(&ESSENTIAL, Outcome::Unknown), Verdict::Suspect),
    ("not finished", |s| s.any(&ESSENTIAL, Outcome::Unknown), Verdict::Undetermined),
    ("not checked", |s| s.is(Check::Header, Outcome::Absent), Verdict::Undetermined),
    (
        "the server's word agrees",
        |s| s.any(&[Check::NativeSize, Check::NativeHash], Outcome::Pass),
        Verdict::Intact(Assurance::Consistent),
    ),
    ("clean", |_| true, Verdict::Intact(Assurance::Plausible)),
];

/// Every outcome of every check, whether encrypted or not, without a fault, with a weak one and with a proof.
#[test]
fn the_table_holds_for_every_combination() {
    let outcomes = [Outcome::Pass, Outcome::Fail, Outcome::Absent, Outcome::Unknown];
    let mut used = [0u32; TABLE.len()];
    for combination in 0..4usize.pow(9) * 6 {
        let mut evidence = Evidence { opaque: combination % 2 == 1, ..Evidence::default() };
        if let Some(kind) = [None, Some(FaultKind::NulByte), Some(FaultKind::NulRun)][combination / 2 % 3] {
            evidence.blame(Fault { check: Check::Pattern, kind, span: Span::new(0, 1), errno: None });
        }
        let mut rest = combination / 6;
        for check in Check::ALL {
            evidence.set(check, outcomes[rest % 4]);
            rest /= 4;
        }
        let seen = Seen(&evidence);
        let row = TABLE.iter().position(|(_, fits, _)| fits(&seen)).expect("the last row fits");
        used[row] += 1;
        assert_eq!(evidence.verdict(), TABLE[row].2, "{}: {evidence:?}", TABLE[row].0);
    }
    assert!(used.iter().all(|&times| times > 0), "rows that nothing reaches: {used:?}");
}

/// Every kind of fault leads to the verdict that its class promises, and has words of its own.
#[test]
fn every_fault_has_its_verdict_and_its_words() {
    use FaultKind::*;
    let damage =
        [DigestMismatch, TooShort, BrokenCompression, BrokenFrame, Empty, NotAHeader, NulRun, FfRun, BinaryRegion];
    let doubt = [
        TooLong,
        NulByte,
        UnclosedMultipart,
        NoParts,
        BrokenBase64,
        BrokenQuotedPrintable,
        HeaderUnended,
        BrokenHeader,
        BareHeader,
        ForeignSector,
        CutAtBlock,
        VirtualSizeMismatch,
    ];
    let classes = damage.map(|kind| (kind, Verdict::Damaged)).into_iter().chain(doubt.map(|k| (k, Verdict::Suspect)));
    let mut words = std::collections::BTreeSet::new();
    for (kind, verdict) in classes {
        let mut evidence = Evidence::default();
        [Check::Read, Check::Header].into_iter().for_each(|check| evidence.set(check, Outcome::Pass));
        evidence.blame(Fault { check: Check::Pattern, kind, span: Span::new(0, 1), errno: None });
        assert_eq!(evidence.verdict(), verdict, "{kind:?}");
        assert!(words.insert(kind.words()), "{kind:?}: {} says another too", kind.words());
    }
}
