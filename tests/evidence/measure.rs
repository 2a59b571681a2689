//! Counts: whom the checks accuse, which damage they see with which evidence, and where they say that it lies.
//! Seeded; the order of threads does not matter.

use crate::harm::{self, Kind};
use crate::mail::{self, Form, Mail, Shape};
use fastrand::Rng;
use mailmend::model::{Check, Digest, Evidence, Outcome, Verdict, limits::WINDOW};
use mailmend::verify::{Checks, Claims, Hashing};
use rayon::prelude::*;
use std::ops::Range;

/// A message as it was, and as it is.
pub struct Case<'a> {
    pub whole: &'a [u8],
    pub harmed: &'a [u8],
}

/// Evidence that may be at hand. A new kind of it is one more function in `COLUMNS`.
#[derive(Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub judge: fn(&Case) -> Evidence,
}

impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.name == other.name
    }
}

pub const CATALOG: Column = Column { name: "catalog", judge: catalog };

/// The first is what the bytes show alone.
pub const COLUMNS: [Column; 4] = [
    Column { name: "nothing", judge: |case| judge(case.harmed, Claims::default()) },
    Column { name: "S=", judge: |case| judge(case.harmed, claims_of_size(case.whole)) },
    Column { name: "S= and W=", judge: |case| judge(case.harmed, claims(case.whole)) },
    CATALOG,
];

pub fn judge(bytes: &[u8], claims: Claims) -> Evidence {
    let mut checks = Checks::new(claims);
    bytes.chunks(WINDOW).for_each(|window| checks.feed(window));
    checks.finish().0
}

/// The size alone.
pub fn claims_of_size(whole: &[u8]) -> Claims {
    Claims { size: Some(whole.len() as u64), crlf: None }
}

/// What the server notes in a file's name.
pub fn claims(whole: &[u8]) -> Claims {
    let lf = memchr::memchr_iter(b'\n', whole).count();
    let crlf = memchr::memmem::find_iter(whole, b"\r\n").count();
    Claims { size: Some(whole.len() as u64), crlf: Some((whole.len() + lf - crlf) as u64) }
}

/// With the digest that was recorded when the message was whole.
pub fn catalog(case: &Case) -> Evidence {
    let mut hashing = Hashing::new();
    case.harmed.chunks(WINDOW).for_each(|window| hashing.feed(window));
    let equal = hashing.finish().digest == Digest::of(case.whole);
    let mut evidence = judge(case.harmed, Claims::default());
    evidence.set(Check::Digest, if equal { Outcome::Pass } else { Outcome::Fail });
    evidence
}

/// Whole mail that was called something else, in one form and with one set of claims.
#[derive(Debug, Default, Clone)]
pub struct Count {
    pub form: String,
    pub damaged: usize,
    pub suspect: usize,
    pub fixtures_damaged: usize,
    pub fixtures_suspect: usize,
}

#[derive(Debug)]
pub struct Accused {
    pub traffic: usize,
    pub fixtures: usize,
    pub counts: Vec<Count>,
}

impl Accused {
    /// In every form, with and without the sizes.
    pub fn of(mails: &[Mail]) -> Accused {
        let forms = Form::ALL.into_iter().flat_map(|form| [(form, false), (form, true)]);
        Accused {
            traffic: mails.iter().filter(|mail| mail.is_traffic()).count(),
            fixtures: mails.iter().filter(|mail| !mail.is_traffic()).count(),
            counts: forms.map(|(form, sized)| Accused::count(mails, form, sized)).collect(),
        }
    }

    fn count(mails: &[Mail], form: Form, sized: bool) -> Count {
        let verdict = |mail: &Mail| {
            let bytes = mail::stored(&mail.bytes, form);
            let evidence = judge(&bytes, if sized { claims(&bytes) } else { Claims::default() });
            let verdict = evidence.verdict();
            if !verdict.is_intact() && std::env::var_os("CORPUS_NAMES").is_some() && form == Form::Given && !sized {
                let kinds: Vec<String> = evidence.faults().iter().map(|fault| format!("{:?}", fault.kind)).collect();
                println!("{} {} {} {}", mail.kind, verdict.name(), kinds.join(","), mail.path);
            }
            verdict
        };
        let verdicts: Vec<Verdict> = mails.par_iter().map(verdict).collect();
        let count = |traffic, damaged| {
            let accused = |verdict: &Verdict| !verdict.is_intact() && (*verdict == Verdict::Damaged) == damaged;
            mails.iter().zip(&verdicts).filter(|(mail, v)| mail.is_traffic() == traffic && accused(v)).count()
        };
        Count {
            form: format!("{form:?}{}", if sized { ", S= and W=" } else { "" }),
            damaged: count(true, true),
            suspect: count(true, false),
            fixtures_damaged: count(false, true),
            fixtures_suspect: count(false, false),
        }
    }
}

/// One kind of damage over all messages and forms.
#[derive(Debug, Clone)]
pub struct Row {
    pub kind: Kind,
    pub total: usize,
    /// Not called intact, per column.
    pub seen: Vec<usize>,
    /// Regions where a range was blamed by what the bytes show alone, and where it covers the damage.
    pub blamed: usize,
    pub covered: usize,
}

impl Row {
    fn empty(kind: Kind) -> Row {
        Row { kind, total: 0, seen: vec![0; COLUMNS.len()], blamed: 0, covered: 0 }
    }

    pub fn add(mut self, other: &Row) -> Row {
        self.seen.iter_mut().zip(&other.seen).for_each(|(sum, more)| *sum += more);
        (self.total, self.blamed) = (self.total + other.total, self.blamed + other.blamed);
        self.covered += other.covered;
        self
    }

    fn take(&mut self, case: &Case, region: Option<&Range<usize>>) {
        self.total += 1;
        for (index, (seen, column)) in self.seen.iter_mut().zip(COLUMNS).enumerate() {
            let evidence = (column.judge)(case);
            *seen += usize::from(!evidence.verdict().is_intact());
            if let (0, Some(region), false) = (index, region, evidence.faults().is_empty()) {
                self.blamed += 1;
                self.covered += usize::from(covers(&evidence, region));
            }
        }
    }
}

/// Whether the blamed ranges together hold every byte of the region.
fn covers(evidence: &Evidence, region: &Range<usize>) -> bool {
    let mut spans: Vec<(u64, u64)> = evidence.faults().iter().map(|f| (f.span.offset, f.span.end())).collect();
    spans.sort_unstable();
    let reached =
        spans.iter().fold(region.start as u64, |at, &(start, end)| if start <= at { at.max(end) } else { at });
    reached >= region.end as u64
}

/// Every kind of damage on every real message that is intact when whole, stored with LF and with CRLF.
pub fn rows(mails: &[Mail]) -> Vec<Row> {
    let kinds = Kind::all();
    let mut sums: Vec<Row> = kinds.iter().map(|&kind| Row::empty(kind)).collect();
    for form in [Form::Lf, Form::Crlf] {
        let traffic: Vec<&Mail> = mails.iter().filter(|mail| mail.is_traffic()).collect();
        let shapes: Vec<Shape> = traffic.par_iter().map(|mail| Shape::of(mail::stored(&mail.bytes, form))).collect();
        let partial = shapes.par_iter().enumerate().map(|(index, shape)| harmed(index, shape, &shapes, &kinds));
        let partial: Vec<Vec<Row>> = partial.collect();
        for rows in partial {
            sums = sums.into_iter().zip(&rows).map(|(sum, row)| sum.add(row)).collect();
        }
    }
    sums
}

fn harmed(index: usize, shape: &Shape, others: &[Shape], kinds: &[Kind]) -> Vec<Row> {
    let mut rows: Vec<Row> = kinds.iter().map(|&kind| Row::empty(kind)).collect();
    if !judge(&shape.bytes, Claims::default()).verdict().is_intact() {
        return rows;
    }
    for (number, row) in rows.iter_mut().enumerate() {
        let mut rng = Rng::with_seed(((index as u64) << 8) + number as u64);
        for nth in 0..row.kind.times() {
            if let Some(harmed) = harm::inflict(row.kind, nth, shape, others, &mut rng) {
                row.take(&Case { whole: &shape.bytes, harmed: &harmed.bytes }, harmed.region.as_ref());
            }
        }
    }
    rows
}
