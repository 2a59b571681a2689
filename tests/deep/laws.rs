//! Never called authenticated, corroborated or identical when it is not: seeded damages of signed mail, judged alone and
//! among copies, by an oracle that knows the truth. Thousands here, a million with `MAILMEND_LONG=1`.

use crate::canonical::canonical;
use crate::common;
use crate::real::signed;
use fastrand::Rng;
use mailmend::model::limits::WINDOW;
use mailmend::model::{Agrees, Assurance, CopyFacts, Digest, Outcome, Stat, Verdict};
use mailmend::plan::compare::{self, Word};
use mailmend::plan::decide::Present;
use mailmend::plan::{Candidate, Case, Choice, Identity, decide};
use mailmend::report::base64;
use mailmend::verify::{Checks, Claims, Piecer};
use rayon::prelude::*;
use sha2::Digest as _;

/// One message as its sender signed it, with where its body begins and how its body is read.
struct Mail {
    bytes: Vec<u8>,
    body: usize,
    relaxed: bool,
    limit: Option<usize>,
}

fn mail(rng: &mut Rng, number: u64) -> Mail {
    let relaxed = rng.bool();
    let end = if rng.bool() { "\r\n" } else { "\n" };
    let mut body = String::new();
    for _ in 0..rng.usize(1..60) {
        let words =
            (0..rng.usize(0..12)).map(|_| ["mail", "is", "a", " b ", "Grüße", "=20", "--x", "\tz"][rng.usize(..8)]);
        body += &(words.collect::<Vec<_>>().join(" ") + end);
    }
    body += &end.repeat(rng.usize(..3));
    let all = canonical(body.as_bytes(), relaxed);
    let limit = (rng.u8(..4) == 0 && !all.is_empty()).then(|| rng.usize(1..=all.len()));
    let hash = base64::encode(&sha2::Sha256::digest(&all[..limit.unwrap_or(all.len())]));
    let (form, length) =
        (["simple", "relaxed"][usize::from(relaxed)], limit.map(|l| format!(" l={l};")).unwrap_or_default());
    let head = format!(
        "From: a@example.org{end}DKIM-Signature: v=1; a=rsa-sha256; d=example.org; c=relaxed/{form};{length} bh={hash}; b=x{end}\
         Message-ID: <{number}@example.org>{end}Subject: {number}{end}{end}"
    );
    Mail { body: head.len(), bytes: (head + &body).into_bytes(), relaxed, limit }
}

/// Damages a copy in one of the ways of disks and software.
fn harm(bytes: &[u8], another: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut harmed = bytes.to_vec();
    let at = rng.usize(..bytes.len());
    let size = [1, 8, 64, 512, 4096][rng.usize(..5)].min(bytes.len() - at);
    match rng.u8(..9) {
        0 | 1 => harmed[at] ^= 1 << rng.u8(..8),
        2 => harmed[at..at + size].fill(0),
        3 => harmed[at..at + size].fill(0xFF),
        4 => harmed[at..at + size].iter_mut().for_each(|byte| *byte = rng.u8(..)),
        5 => harmed.iter_mut().skip(at).take(size).zip(another).for_each(|(mine, theirs)| *mine = *theirs),
        6 => harmed.truncate(at),
        7 => harmed.extend_from_slice(&another[..size.min(another.len())]),
        _ => harmed[at..at + size].fill(b' '),
    }
    harmed
}

/// All that one reading of a copy gives, as a lane would.
fn facts(bytes: &[u8], device: u64, size: Option<u64>) -> CopyFacts {
    let mut checks = Checks::new(Claims { size, crlf: None });
    bytes.chunks(WINDOW).for_each(|window| checks.feed(window));
    let (mut evidence, envelope) = checks.finish();
    signed(bytes).into_iter().for_each(|signed| evidence.sign(signed));
    let length = bytes.len() as u64;
    let stat = Stat { dev: device, size: length, ..Stat::default() };
    CopyFacts { stat, length, digest: Some(Digest::of(bytes)), evidence, envelope, ..CopyFacts::default() }
}

/// What a signature calls proven is what was signed: byte for byte in the canonical form, and not one byte more.
fn check_alone(mail: &Mail, harmed: &[u8], said: &CopyFacts) -> bool {
    let Some(signed) = said.evidence.signed() else { return false };
    let body = &harmed[signed.body as usize..];
    // Damage of the header may have changed what was signed and where the body begins; then nothing is to be held.
    if harmed.get(..mail.body) != Some(&mail.bytes[..mail.body]) {
        return false;
    }
    let truth = canonical(&mail.bytes[mail.body..], mail.relaxed);
    let now = canonical(body, mail.relaxed);
    match signed.agrees {
        Agrees::Whole => assert!(mail.limit.is_none() && now == truth, "{:?}", String::from_utf8_lossy(harmed)),
        Agrees::UpTo(end) => {
            let limit = mail.limit.expect("l= is in the signature");
            assert_eq!(now.get(..limit), truth.get(..limit));
            let proven = canonical(&harmed[mail.body..end as usize], mail.relaxed);
            assert!(truth[..limit].starts_with(proven.strip_suffix(b"\r\n").unwrap_or(&proven)));
            assert_ne!(said.evidence.get(mailmend::model::Check::DkimBody), Outcome::Pass, "only up to l=");
        }
        Agrees::No | Agrees::Unread => {
            let limit = mail.limit.unwrap_or(usize::MAX).min(truth.len());
            let equal = if mail.limit.is_some() { now.get(..limit) == truth.get(..limit) } else { now == truth };
            assert!(!equal, "what is as it was signed is proven");
        }
    }
    signed.agrees == Agrees::Whole
}

/// Compares as the engine does: cut where anything is blamed, by digests of pieces.
fn outside(own: (&CopyFacts, &[u8]), other: (&CopyFacts, &[u8]), identity: Identity) -> Option<bool> {
    let ((own, own_bytes), (other, other_bytes)) = (own, other);
    let cuts = compare::cuts(own, [(other, identity)]);
    let pieces = |bytes: &[u8]| {
        let mut piecer = Piecer::new(&cuts);
        piecer.feed(bytes);
        piecer.finish()
    };
    let excused = compare::excused(own, other, identity);
    let said = compare::compare(&cuts, &pieces(own_bytes), &pieces(other_bytes), &excused);
    compare::outside(own, other, identity, &said)
}

/// What two copies say of each other, on one file system or on two.
fn check_words(mail: &Mail, harmed: &[u8], rng: &mut Rng) -> bool {
    let (here, there) = (rng.u64(1..3), rng.u64(1..3));
    let (damaged, whole) = (facts(harmed, here, None), facts(&mail.bytes, there, None));
    let (of_whole, of_damaged) = (compare::word(&whole, &damaged), compare::word(&damaged, &whole));
    let equal = harmed == mail.bytes;
    assert_eq!(of_whole == Word::Equal { apart: here != there }, equal);
    assert_eq!(matches!(of_damaged, Word::Equal { .. }), equal);
    assert_ne!(of_damaged, Word::Accuses, "a damaged copy names the whole one");
    let body = (harmed.get(..mail.body) == Some(&mail.bytes[..mail.body])).then(|| &harmed[mail.body..]);
    let other = |body| canonical(body, mail.relaxed) != canonical(&mail.bytes[mail.body..], mail.relaxed);
    let named = mail.limit.is_none() && body.is_some_and(other);
    assert_eq!(of_whole == Word::Accuses, named, "a signature over all of it names what changed, and nothing else");
    named
}

/// A damaged copy and some others, of which some are damaged, too: what is taken, if anything is?
fn check_copies(mail: &Mail, another: &[u8], rng: &mut Rng) -> Option<bool> {
    let own_bytes = harm(&mail.bytes, another, rng);
    let own = facts(&own_bytes, 1, None);
    let mut copies: Vec<Vec<u8>> = Vec::new();
    for _ in 0..rng.usize(1..4) {
        copies.push(match rng.u8(..4) {
            0 => harm(&mail.bytes, another, rng),
            1 => copies.last().cloned().unwrap_or_else(|| another.to_vec()),
            _ => mail.bytes.clone(),
        });
    }
    let candidate = |(rank, bytes): (usize, &Vec<u8>)| {
        let facts = facts(bytes, rng.u64(1..4), None);
        let identity = if rng.u8(..3) > 0 { Identity::Key } else { Identity::Size };
        let outside = outside((&own, &own_bytes), (&facts, bytes), identity);
        Candidate { rank: rank as u32, source: format!("s{rank}"), identity, facts, outside }
    };
    let candidates: Vec<Candidate> = copies.iter().enumerate().map(candidate).collect();
    let refuted = candidates.iter().any(|c| compare::accuses(&c.facts, c.identity, &own));
    let verdict = if refuted { Verdict::Damaged } else { own.evidence.verdict() };
    if verdict.is_intact() {
        return None;
    }
    let case = Case { verdict, expected: None, present: Some(Present::of(&own)), candidates };
    let Choice::Take { index, assurance, why } = decide(&case) else { return Some(false) };
    let taken = &copies[index];
    assert!(assurance > Assurance::Plausible, "what nothing outside proves overwrites nothing");
    assert!(assurance <= Assurance::Corroborated, "no digest is known, and nothing proves the header: {why}");
    let device = case.candidates[index].facts.stat.dev;
    let mut equal = case.candidates.iter().zip(&copies).filter(|(_, bytes)| *bytes == taken).map(|(c, _)| &c.facts);
    let apart = equal.any(|facts| facts.stat.dev != device);
    assert!(assurance != Assurance::Corroborated || apart, "no equal copy lies on another file system: {why}");
    // Outside of what is excused in the damaged copy, not one byte differs from it; and what a signature proves is so.
    let excused = compare::excused(&own, &case.candidates[index].facts, case.candidates[index].identity);
    for at in 0..own_bytes.len().max(taken.len()) {
        let free = excused.iter().any(|span| span.offset <= at as u64 && (at as u64) < span.end());
        assert!(free || own_bytes.get(at) == taken.get(at), "byte {at}: {why}");
    }
    check_alone(mail, taken, &case.candidates[index].facts);
    if refuted && mail.limit.is_none() && taken.get(..mail.body) == Some(&mail.bytes[..mail.body]) {
        let same = canonical(&taken[mail.body..], mail.relaxed) == canonical(&mail.bytes[mail.body..], mail.relaxed);
        assert!(same, "of two copies under one header the one that the sender signed wins: {why}");
    }
    Some(true)
}

/// What came of some cases.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    proven: u32,
    ignored: u32,
    named: u32,
    healed: u32,
    refused: u32,
}

impl std::ops::Add for Came {
    type Output = Came;
    fn add(self, other: Came) -> Came {
        Came {
            proven: self.proven + other.proven,
            ignored: self.ignored + other.ignored,
            named: self.named + other.named,
            healed: self.healed + other.healed,
            refused: self.refused + other.refused,
        }
    }
}

fn one_case(seed: u64, cases: u64) -> Came {
    let mut rng = Rng::with_seed(seed);
    let one = mail(&mut rng, seed);
    let another = mail(&mut rng, seed + cases);
    let whole = facts(&one.bytes, 1, None);
    assert_eq!(check_alone(&one, &one.bytes, &whole), one.limit.is_none(), "seed {seed}");
    let plausible = Verdict::Intact(Assurance::Plausible);
    assert_eq!(whole.evidence.verdict(), plausible, "the header is not proven: seed {seed}");
    let harmed = harm(&one.bytes, &another.bytes, &mut rng);
    let said = facts(&harmed, 1, None);
    let agrees = check_alone(&one, &harmed, &said);
    if let Verdict::Intact(assurance) = said.evidence.verdict() {
        assert_eq!(assurance, Assurance::Plausible, "nothing outside the message says more: seed {seed}");
    }
    let named = check_words(&one, &harmed, &mut rng);
    let copies = check_copies(&one, &another.bytes, &mut rng);
    Came {
        proven: u32::from(agrees),
        ignored: u32::from(agrees && harmed != one.bytes),
        named: u32::from(named),
        healed: u32::from(copies == Some(true)),
        refused: u32::from(copies == Some(false)),
    }
}

#[test]
fn nothing_is_called_proven_that_is_not() {
    let cases = if common::long() { 1_000_000 } else { 6_000 };
    let all = (0..cases).into_par_iter().map(|seed| one_case(seed, cases)).reduce(Came::default, std::ops::Add::add);
    let Came { proven, ignored, named, healed, refused } = all;
    println!("{cases} damages: {proven} bodies proven ({ignored} changed only in what the canonical form ignores)");
    println!("among copies: {healed} healed, {refused} refused; {named} named by one whole copy");
    assert!(
        proven > 0 && named > cases as u32 / 4 && healed > cases as u32 / 50 && refused > 0,
        "the cases are no test"
    );
}
