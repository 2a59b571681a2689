//! Counts: whom the checks accuse, which damage they see with which evidence, and where they say that it lies.
//! Seeded; the order of threads does not matter.

use crate::canonical::canonical;
use crate::harm::{self, Kind};
use crate::mail::{self, Form, Mail, Shape};
use fastrand::Rng;
use mailmend::model::{Check, CopyFacts, Digest, Evidence, Missing, Outcome, Stat, Verdict, limits::WINDOW};
use mailmend::plan::compare::{self, Word};
use mailmend::plan::{Candidate, Choice, Identity, decide};
use mailmend::verify::{BodyProof, Checks, Claims, Hashing};
use rayon::prelude::*;
use std::ops::Range;

/// One message at one place, with all that a reading of it shows.
pub struct Copy<'a> {
    pub bytes: &'a [u8],
    pub facts: CopyFacts,
}

impl Copy<'_> {
    /// As a lane reads it that hears signatures.
    pub fn on(device: u64, bytes: &[u8]) -> Copy<'_> {
        let (mut hashing, mut proof, mut checks) = (Hashing::new(), BodyProof::new(), Checks::new(Claims::default()));
        for window in bytes.chunks(WINDOW) {
            hashing.feed(window);
            proof.feed(window);
            checks.feed(window);
        }
        let (hashes, (mut evidence, envelope)) = (hashing.finish(), checks.finish());
        proof.finish().into_iter().for_each(|signed| evidence.sign(signed));
        let (length, digest) = (bytes.len() as u64, Some(hashes.digest));
        let stat = Stat { dev: device, size: length, ..Stat::default() };
        let canonical = hashes.canonical;
        Copy { bytes, facts: CopyFacts { stat, length, digest, canonical, evidence, envelope, ..CopyFacts::default() } }
    }

    fn is_intact(&self) -> bool {
        self.facts.evidence.verdict().is_intact()
    }
}

/// A message as it was, which may be what a copy on another device still is, and as it is.
pub struct Case<'a> {
    pub whole: &'a Copy<'a>,
    pub harmed: &'a Copy<'a>,
}

/// Evidence that may be at hand. A new kind of it is one more function in `COLUMNS`.
#[derive(Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// Whether the damage is seen; `None` where the message has no such evidence.
    pub judge: fn(&Case) -> Option<bool>,
}

impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.name == other.name
    }
}

pub const CATALOG: Column = Column { name: "catalog", judge: |case| Some(!catalog(case).verdict().is_intact()) };
pub const SIGNED: Column = Column { name: "signed copy", judge: signed_copy };

/// The first is what the bytes show alone.
pub const COLUMNS: [Column; 7] = [
    Column { name: "nothing", judge: |case| seen(&judge(case.harmed.bytes, Claims::default())) },
    Column { name: "S=", judge: |case| seen(&judge(case.harmed.bytes, claims_of_size(case.whole.bytes))) },
    Column { name: "S= and W=", judge: |case| seen(&judge(case.harmed.bytes, claims(case.whole.bytes))) },
    SIGNED,
    Column { name: "copy differs", judge: copy_differs },
    Column { name: "copy names", judge: |case| Some(between(case) == Between::Whole) },
    CATALOG,
];

fn seen(evidence: &Evidence) -> Option<bool> {
    Some(!evidence.verdict().is_intact())
}

/// Of messages that a signature proves when whole, with a whole copy: its own bytes show the damage, or the signature
/// that fits the copy and not this one.
fn signed_copy(case: &Case) -> Option<bool> {
    let accused = || compare::word(&case.whole.facts, &case.harmed.facts) == Word::Accuses;
    case.whole.facts.evidence.is_body_proven().then(|| !case.harmed.is_intact() || accused())
}

/// With a whole copy on another device, signed or not: something is wrong, whichever of the two is it.
fn copy_differs(case: &Case) -> Option<bool> {
    let word = compare::word(&case.whole.facts, &case.harmed.facts);
    Some(!case.harmed.is_intact() || matches!(word, Word::Accuses | Word::Rival))
}

/// Which of two copies the planner takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    Whole,
    Harmed,
    Neither,
}

/// Two copies of a lost message, the damaged one preferred by order: which one is the message?
pub fn between(case: &Case) -> Between {
    let candidate = |(rank, copy): (u32, &Copy)| {
        let facts = copy.facts.clone();
        Candidate { rank, source: String::new(), identity: Identity::Key, facts, outside: None }
    };
    let candidates = [(0, case.harmed), (1, case.whole)].map(candidate).into();
    let verdict = Verdict::Missing(Missing::Lost);
    match decide(&mailmend::plan::Case { verdict, expected: None, present: None, candidates }) {
        Choice::Take { index: 0, .. } => Between::Harmed,
        Choice::Take { .. } => Between::Whole,
        Choice::Refuse { .. } => Between::Neither,
    }
}

/// Whether damage that lies in the body of a signed message changed more than what its canonical form ignores.
fn changed_what_was_signed(case: &Case) -> bool {
    let whole = case.whole.bytes;
    let Some(signed) = case.whole.facts.evidence.signed().filter(|s| s.outcome() == Outcome::Pass) else {
        return false;
    };
    let body = signed.body as usize;
    // What the relaxed form sees, the simple one sees, too.
    let other = |harmed: &[u8]| canonical(&harmed[body..], true) != canonical(&whole[body..], true);
    case.harmed.bytes.get(..body) == Some(&whole[..body]) && other(case.harmed.bytes)
}

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
    let equal = case.harmed.facts.digest == Some(Digest::of(case.whole.bytes));
    let mut evidence = judge(case.harmed.bytes, Claims::default());
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
    /// Messages that have this evidence, and damage that is seen by it, per column.
    pub tried: Vec<usize>,
    pub seen: Vec<usize>,
    /// Bodies of which the signature shows that they changed, and those that it did not give away.
    pub signed: usize,
    pub unseen: usize,
    /// The damaged copy was taken for the message, or the whole one accused: never.
    pub wrong: usize,
    /// Regions where a range was blamed by what the bytes show alone, and where it covers the damage.
    pub blamed: usize,
    pub covered: usize,
}

impl Row {
    fn empty(kind: Kind) -> Row {
        let none = vec![0; COLUMNS.len()];
        let (tried, seen) = (none.clone(), none);
        Row { kind, total: 0, tried, seen, signed: 0, unseen: 0, wrong: 0, blamed: 0, covered: 0 }
    }

    pub fn add(mut self, other: &Row) -> Row {
        self.seen.iter_mut().zip(&other.seen).for_each(|(sum, more)| *sum += more);
        self.tried.iter_mut().zip(&other.tried).for_each(|(sum, more)| *sum += more);
        (self.signed, self.unseen) = (self.signed + other.signed, self.unseen + other.unseen);
        self.wrong += other.wrong;
        (self.total, self.blamed) = (self.total + other.total, self.blamed + other.blamed);
        self.covered += other.covered;
        self
    }

    fn take(&mut self, case: &Case, region: Option<&Range<usize>>) {
        self.total += 1;
        for (column, (tried, seen)) in COLUMNS.iter().zip(self.tried.iter_mut().zip(&mut self.seen)) {
            let said = (column.judge)(case);
            *tried += usize::from(said.is_some());
            *seen += usize::from(said == Some(true));
        }
        let evidence = &case.harmed.facts.evidence;
        if let Some(region) = region.filter(|_| !evidence.faults().is_empty()) {
            self.blamed += 1;
            self.covered += usize::from(covers(evidence, region));
        }
        let (whole, harmed) = (&case.whole.facts, &case.harmed.facts);
        if changed_what_was_signed(case) {
            self.signed += 1;
            self.unseen += usize::from(compare::word(whole, harmed) != Word::Accuses);
        }
        let accused = compare::word(harmed, whole) == Word::Accuses;
        self.wrong += usize::from(accused || between(case) == Between::Harmed);
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
    let whole = Copy::on(1, &shape.bytes);
    if !judge(&shape.bytes, Claims::default()).verdict().is_intact() {
        return rows;
    }
    for (number, row) in rows.iter_mut().enumerate() {
        let mut rng = Rng::with_seed(((index as u64) << 8) + number as u64);
        for nth in 0..row.kind.times() {
            if let Some(harmed) = harm::inflict(row.kind, nth, shape, others, &mut rng) {
                let copy = Copy::on(2, &harmed.bytes);
                row.take(&Case { whole: &whole, harmed: &copy }, harmed.region.as_ref());
            }
        }
    }
    rows
}
