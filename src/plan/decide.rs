//! Which of several copies is the message.

use super::compare::refutes;
use crate::model::message::CopyFacts;
use crate::model::{Assurance, Digest, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// How a candidate was found, which is no proof of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The same key, in the same account.
    Key,
    /// A file of the expected size in the same account: counts only by digest or by equal bytes.
    Size,
    /// A file without a name of its own (`#12345`): counts only by digest or by equal bytes.
    Stray,
}

/// One copy that may heal a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Place in the order of trust, 0 first; a source's newer generation comes before its older ones.
    pub rank: u32,
    /// What people call the source, with the generation's time.
    pub source: String,
    pub identity: Identity,
    pub facts: CopyFacts,
    /// Whether it equals the damaged copy in every block outside the blamed ranges, where that was compared.
    pub outside: Option<bool>,
}

/// One message that is not intact, and all copies that were found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub verdict: Verdict,
    /// The catalog's digest.
    pub expected: Option<Digest>,
    /// A file stands at the target, and whether it holds any bytes.
    pub present: Option<Present>,
    pub candidates: Vec<Candidate>,
}

/// The file that stands at the target now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    pub empty: bool,
    /// Digest of what stands there, where it could be read.
    pub digest: Option<Digest>,
    /// What it calls itself.
    pub message_id: Option<String>,
}

impl Present {
    pub fn of(facts: &CopyFacts) -> Present {
        Present { empty: facts.stat.size == 0, digest: facts.digest, message_id: message_id(facts).map(str::to_owned) }
    }
}

fn message_id(facts: &CopyFacts) -> Option<&str> {
    facts.envelope.as_ref()?.message_id.as_deref()
}

/// What is to be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Take this candidate (index into [`Case::candidates`]).
    Take { index: usize, assurance: Assurance, why: String },
    /// Nothing proves a copy.
    Refuse { why: String },
}

/// Picks the best-proven copy: never the newest, never the majority. Ties between different contents are refused.
pub fn decide(case: &Case) -> Choice {
    if case.candidates.is_empty() {
        return refuse("no copy found in any source");
    }
    match case.expected {
        Some(expected) => by_digest(case, expected),
        None if case.verdict == Verdict::Suspect => suspect(case),
        None => by_evidence(case),
    }
}

/// Nothing proves it damaged, and so nothing may replace it: people are told what speaks for a copy.
fn suspect(case: &Case) -> Choice {
    let whole = |c: &&Candidate| usable(case, c) && c.outside == Some(true);
    refuse(match case.candidates.iter().filter(whole).min_by_key(|c| c.rank) {
        Some(copy) => format!(
            "{} holds a copy that differs only in what is suspect here, and is whole there; but only a copy with the \
             recorded digest may replace a suspect message, and none is recorded",
            copy.source
        ),
        None => "only a copy with the recorded digest may replace a suspect message, and none is recorded".to_owned(),
    })
}

fn refuse(why: impl Into<String>) -> Choice {
    Choice::Refuse { why: why.into() }
}

/// With a catalog: a copy has the recorded digest, or it is not the message.
fn by_digest(case: &Case, expected: Digest) -> Choice {
    let equal = |c: &&(usize, &Candidate)| c.1.facts.digest == Some(expected);
    let best = case.candidates.iter().enumerate().collect::<Vec<_>>();
    match best.iter().filter(equal).min_by_key(|(_, c)| (c.rank, c.identity)) {
        Some(&(index, candidate)) => Choice::Take {
            index,
            assurance: Assurance::Identical,
            why: format!("{} holds the recorded content", candidate.source),
        },
        None => refuse(match case.candidates.len() {
            1 => "1 copy found, but it does not hold the recorded content".to_owned(),
            n => format!("{n} copies found, but none holds the recorded content"),
        }),
    }
}

/// Copies with one content, and how surely that is the message.
struct Group<'a> {
    digest: Digest,
    assurance: Assurance,
    /// Index and candidate, best rank first.
    members: Vec<(usize, &'a Candidate)>,
}

/// Without a catalog: the evidence inside the copies and between them.
fn by_evidence(case: &Case) -> Choice {
    let mut groups = group(case);
    if groups.is_empty() {
        return refuse(match case.candidates.len() {
            1 => "1 copy found, but it is not whole or cannot be shown to be this message".to_owned(),
            n => format!("{n} copies found, but none is whole and shown to be this message"),
        });
    }
    groups.sort_by_key(|g| (std::cmp::Reverse(g.assurance), g.members[0].1.rank, g.digest));
    let best = &groups[0];
    if let Some(rival) = groups.get(1).filter(|g| g.assurance == best.assurance) {
        return refuse(format!(
            "{} and {} hold different contents, each {}: nothing tells which is right",
            best.members[0].1.source,
            rival.members[0].1.source,
            best.assurance.name()
        ));
    }
    let overwrites = case.present.as_ref().is_some_and(|p| !p.empty);
    if overwrites && best.assurance == Assurance::Plausible {
        return refuse(format!("{} holds a whole copy, but nothing outside proves it", best.members[0].1.source));
    }
    let (index, candidate) = best.members[0];
    Choice::Take { index, assurance: best.assurance, why: reason(best, candidate) }
}

fn reason(group: &Group<'_>, candidate: &Candidate) -> String {
    let source = &candidate.source;
    let signed = candidate.facts.evidence.signed().filter(|_| candidate.facts.evidence.is_body_proven());
    let body = signed.map(|signed| format!("; {} fits its body", signed.words()));
    let base = match group.assurance {
        Assurance::Corroborated => format!("{source}: equal copies on different file systems"),
        Assurance::Consistent if candidate.outside == Some(true) => {
            format!("{source}: equals the damaged copy outside the damage")
        }
        Assurance::Consistent => format!("{source}: has the size that the server recorded"),
        _ => format!("{source}: reads and parses clean"),
    };
    base + &body.unwrap_or_default()
}

/// Groups the usable candidates by content and grades each group. Of copies with one header the one whose body the
/// hash in its signature proves is the message; the others are not, however many they are.
fn group(case: &Case) -> Vec<Group<'_>> {
    let mut by_content: BTreeMap<Digest, Vec<(usize, &Candidate)>> = BTreeMap::new();
    for (index, candidate) in case.candidates.iter().enumerate() {
        if let Some(digest) = candidate.facts.digest.filter(|_| usable(case, candidate)) {
            by_content.entry(digest).or_default().push((index, candidate));
        }
    }
    let damaged = case.present.as_ref().and_then(|p| p.digest);
    // However it was found: this only takes copies out.
    let refuted = |members: &[(usize, &Candidate)]| {
        members.iter().any(|(_, member)| case.candidates.iter().any(|other| refutes(&other.facts, &member.facts)))
    };
    let refuted: BTreeSet<Digest> = by_content.iter().filter(|(_, m)| refuted(m)).map(|(digest, _)| *digest).collect();
    by_content
        .into_iter()
        .filter(|(digest, _)| !refuted.contains(digest))
        // A copy that equals the damaged file holds the same damage.
        .filter(|(digest, _)| Some(*digest) != damaged)
        .map(|(digest, mut members)| {
            members.sort_by_key(|(index, c)| (c.rank, *index));
            Group { digest, assurance: grade(&members), members }
        })
        .collect()
}

/// Whole by its own evidence, and shown to be this message.
fn usable(case: &Case, candidate: &Candidate) -> bool {
    let whole = candidate.facts.evidence.verdict().is_intact();
    let shown = match candidate.identity {
        Identity::Key => candidate.outside != Some(false),
        // Mails of one sender may be alike in all but a few bytes, which may be those that are damaged.
        Identity::Size | Identity::Stray => {
            let own = case.present.as_ref().and_then(|p| p.message_id.as_deref());
            candidate.outside == Some(true) && own.is_some() && own == message_id(&candidate.facts)
        }
    };
    whole && shown
}

/// The best assurance that any member has or that the members give each other.
fn grade(members: &[(usize, &Candidate)]) -> Assurance {
    let own = members
        .iter()
        .map(|(_, c)| match c.facts.evidence.verdict() {
            Verdict::Intact(assurance) => assurance,
            _ => Assurance::Plausible,
        })
        .max()
        .unwrap_or(Assurance::Plausible);
    let fits = if members.iter().any(|(_, c)| c.outside == Some(true)) { Assurance::Consistent } else { own };
    let first = members[0].1.facts.stat.dev;
    let apart = members.iter().any(|(_, c)| c.facts.stat.dev != first);
    own.max(fits).max(if apart { Assurance::Corroborated } else { own })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::evidence::{Check, Evidence, Fault, FaultKind, Outcome};
    use crate::model::{Agrees, Envelope, Signed, Span, Stat};
    use proptest::prelude::*;

    fn copy(rank: u32, content: u8, dev: u64, sized: bool) -> Candidate {
        let mut evidence = Evidence::default();
        evidence.set(Check::Read, Outcome::Pass);
        evidence.set(Check::Header, Outcome::Pass);
        if sized {
            evidence.set(Check::NativeSize, Outcome::Pass);
        }
        let facts = CopyFacts {
            stat: Stat { dev, ino: u64::from(rank), ..Stat::default() },
            digest: Some(Digest([content; 32])),
            evidence,
            envelope: Some(Envelope { message_id: Some("m".into()), ..Envelope::default() }),
            ..CopyFacts::default()
        };
        Candidate { rank, source: format!("s{rank}"), identity: Identity::Key, facts, outside: None }
    }

    fn broken(mut candidate: Candidate) -> Candidate {
        candidate.facts.evidence.blame(Fault {
            check: Check::Pattern,
            kind: FaultKind::NulRun,
            span: Span::new(0, 512),
            errno: None,
        });
        candidate
    }

    fn damaged(candidates: Vec<Candidate>) -> Case {
        let present = Some(Present { empty: false, digest: Some(Digest([99; 32])), message_id: Some("m".into()) });
        Case { verdict: Verdict::Damaged, expected: None, present, candidates }
    }

    fn taken(choice: &Choice) -> Option<(usize, Assurance)> {
        match choice {
            Choice::Take { index, assurance, .. } => Some((*index, *assurance)),
            Choice::Refuse { .. } => None,
        }
    }

    #[test]
    fn the_digest_beats_order_and_number() {
        let mut case = damaged(vec![copy(0, 1, 1, true), copy(1, 1, 2, true), copy(2, 7, 3, false)]);
        case.expected = Some(Digest([7; 32]));
        assert_eq!(taken(&decide(&case)), Some((2, Assurance::Identical)));
        case.expected = Some(Digest([8; 32]));
        assert_eq!(taken(&decide(&case)), None, "two equal copies do not outvote the record");
    }

    #[test]
    fn plausible_alone_never_overwrites_but_fills_a_gap() {
        let mut case = damaged(vec![copy(0, 1, 1, false)]);
        assert_eq!(taken(&decide(&case)), None);
        case.present = Some(Present { empty: true, ..Present::default() });
        assert_eq!(taken(&decide(&case)), Some((0, Assurance::Plausible)));
        case.present = None;
        assert_eq!(taken(&decide(&case)), Some((0, Assurance::Plausible)));
    }

    #[test]
    fn ties_between_contents_are_refused() {
        assert_eq!(taken(&decide(&damaged(vec![copy(0, 1, 1, true), copy(1, 2, 1, true)]))), None);
        let better = damaged(vec![copy(0, 1, 1, false), copy(1, 2, 1, true)]);
        assert_eq!(taken(&decide(&better)), Some((1, Assurance::Consistent)));
    }

    #[test]
    fn copies_on_one_file_system_do_not_corroborate() {
        let linked = damaged(vec![copy(0, 1, 1, false), copy(1, 1, 1, false)]);
        assert_eq!(taken(&decide(&linked)), None);
        let apart = damaged(vec![copy(0, 1, 1, false), copy(1, 1, 2, false)]);
        assert_eq!(taken(&decide(&apart)), Some((0, Assurance::Corroborated)));
    }

    #[test]
    fn a_rotten_snapshot_is_no_candidate() {
        let newest_rotten = damaged(vec![broken(copy(0, 2, 1, true)), copy(1, 1, 1, true)]);
        assert_eq!(taken(&decide(&newest_rotten)), Some((1, Assurance::Consistent)));
        let mut same_rot = damaged(vec![copy(0, 99, 1, true)]);
        assert_eq!(taken(&decide(&same_rot)), None, "it holds the very damage");
        same_rot.verdict = Verdict::Suspect;
        assert_eq!(taken(&decide(&same_rot)), None);
    }

    #[test]
    fn size_alone_shows_nothing() {
        let mut candidate = copy(0, 1, 1, true);
        candidate.identity = Identity::Size;
        assert_eq!(taken(&decide(&damaged(vec![candidate.clone()]))), None);
        candidate.outside = Some(true);
        assert_eq!(taken(&decide(&damaged(vec![candidate.clone()]))), Some((0, Assurance::Consistent)));
        candidate.facts.envelope = None;
        assert_eq!(taken(&decide(&damaged(vec![candidate]))), None, "a mail that is alike in all but a few bytes");
    }

    #[test]
    fn a_copy_that_the_sender_signed_refutes_any_number_of_others() {
        let signed = |mut candidate: Candidate, agrees| {
            let header = Some([1; 16]);
            candidate.facts.evidence.sign(Signed { domain: None, agrees, header, body: 9 });
            candidate
        };
        let rotten = |rank| signed(copy(rank, 1, u64::from(rank), true), Agrees::No);
        let good = |identity| Candidate { identity, ..signed(copy(5, 2, 1, true), Agrees::Whole) };
        let all = |good| damaged(vec![rotten(0), rotten(1), rotten(2), good]);
        assert_eq!(taken(&decide(&all(good(Identity::Key)))), Some((3, Assurance::Consistent)));
        assert_eq!(taken(&decide(&all(good(Identity::Size)))), None, "what it refutes is not taken either");
        let other = Candidate { facts: copy(5, 2, 1, true).facts, ..good(Identity::Key) };
        assert_eq!(
            taken(&decide(&all(other))),
            Some((0, Assurance::Corroborated)),
            "without a signature nothing is refuted"
        );
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        (0u32..5, 0u8..4, 0u64..3, any::<bool>(), any::<bool>(), proptest::option::of(any::<bool>()), 0u8..3).prop_map(
            |(rank, content, dev, sized, whole, outside, identity)| {
                let mut c = copy(rank, content, dev, sized);
                c.outside = outside;
                c.identity = [Identity::Key, Identity::Size, Identity::Stray][usize::from(identity)];
                if whole { c } else { broken(c) }
            },
        )
    }

    fn content(case: &Case) -> Option<Digest> {
        taken(&decide(case)).and_then(|(index, _)| case.candidates[index].facts.digest)
    }

    proptest! {
        #[test]
        fn order_of_candidates_is_irrelevant(
            mut candidates in proptest::collection::vec(any_candidate(), 0..6),
            expected in proptest::option::of(0u8..4), at in 0usize..6,
        ) {
            let mut case = damaged(candidates.clone());
            case.expected = expected.map(|b| Digest([b; 32]));
            let before = content(&case);
            if !candidates.is_empty() {
                let n = candidates.len();
                candidates.rotate_left(at % n);
                candidates.reverse();
            }
            case.candidates = candidates;
            prop_assert_eq!(content(&case), before);
        }

        #[test]
        fn never_takes_what_is_not_proven(
            candidates in proptest::collection::vec(any_candidate(), 0..6), expected in proptest::option::of(0u8..4),
        ) {
            let mut case = damaged(candidates);
            case.expected = expected.map(|b| Digest([b; 32]));
            if let Choice::Take { index, assurance, .. } = decide(&case) {
                let chosen = &case.candidates[index];
                prop_assert!(assurance > Assurance::Plausible);
                match case.expected {
                    Some(digest) => prop_assert_eq!(chosen.facts.digest, Some(digest)),
                    None => prop_assert!(chosen.facts.evidence.verdict().is_intact()),
                }
            }
        }

        #[test]
        fn more_copies_never_hurt_where_the_content_is_recorded(
            candidates in proptest::collection::vec(any_candidate(), 0..6), more in any_candidate(),
        ) {
            let mut case = damaged(candidates);
            case.expected = Some(Digest([1; 32]));
            let before = content(&case);
            case.candidates.push(more);
            prop_assert!(before.is_none() || content(&case) == before);
        }
    }
}
