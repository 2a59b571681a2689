//! The deep tier between copies: what two of them have in common, and which of two that differ is the message.
//!
//! Reads copies through lanes; decides nothing that `plan` can decide.

use super::account::{EngineError, Mailbox};
use super::find::{self, Found, Sources};
use super::harm::{Harm, Haul};
use super::heal::Patient;
use super::job::Job;
use super::scan;
use crate::model::form::Form;
use crate::model::message::CopyFacts;
use crate::model::server::Witnessed;
use crate::model::{Assurance, RelPath, Signed, Span, Verdict};
use crate::plan::compare::{self, Comparison, Word};
use crate::plan::{Candidate, Identity};

/// Compares candidates that nothing else proves with the damaged file, in every byte that nothing excuses. A suspect
/// message is damaged where the hash that its sender signed proves a copy with its very header and key, and not the
/// message itself.
pub fn compare(job: &mut Job<'_>, mailboxes: &[Mailbox], patient: &mut Patient) -> Result<(), EngineError> {
    let harm = &mut patient.harm;
    let unknown = harm.expected().is_none();
    let Some(own) = harm.facts.as_ref().filter(|f| harm.present && f.stat.size > 0 && unknown) else {
        return Ok(());
    };
    let proven = patient.candidates.iter().find(|c| compare::accuses(&c.facts, c.identity, own));
    if let (Verdict::Suspect, Some(candidate)) = (harm.verdict, proven) {
        harm.verdict = Verdict::Damaged;
        harm.reason = refuted(&candidate.source, &candidate.facts);
    }
    let needs = |c: &Candidate| {
        let verdict = c.facts.evidence.verdict();
        c.identity != Identity::Key || verdict == Verdict::Intact(Assurance::Plausible)
    };
    let compared: Vec<usize> = (0..patient.candidates.len()).filter(|&at| needs(&patient.candidates[at])).collect();
    let others: Vec<(&Found, &CopyFacts)> =
        compared.iter().map(|&at| (&patient.found[at], &patient.candidates[at].facts)).collect();
    let comparisons = side_by_side(job, &harm.path(mailboxes), own, &others)?;
    for (at, comparison) in compared.into_iter().zip(comparisons) {
        let candidate = &mut patient.candidates[at];
        candidate.outside = comparison.and_then(|c| compare::outside(own, &candidate.facts, candidate.identity, &c));
    }
    Ok(())
}

/// Compares one file of the store with copies of it; `None` for those that cannot be read.
fn side_by_side(
    job: &mut Job<'_>,
    path: &RelPath,
    own: &CopyFacts,
    others: &[(&Found, &CopyFacts)],
) -> Result<Vec<Option<Comparison>>, EngineError> {
    let mut comparisons = vec![None; others.len()];
    if others.is_empty() {
        return Ok(comparisons);
    }
    let cuts = compare::cuts(own, others.iter().map(|(found, facts)| (*facts, found.identity)));
    let root = job.store.root;
    let Ok(mine) = job.store_lane().pieces(root, path, (&Form::default(), &cuts))? else { return Ok(comparisons) };
    for ((found, facts), comparison) in others.iter().zip(&mut comparisons) {
        let generation = &job.generations[found.generation];
        let (lane, root) = (generation.lane, generation.root);
        if let Ok(theirs) = job.lanes.lanes[lane].pieces(root, &found.path, (&found.form, &cuts))? {
            let excused = compare::excused(own, facts, found.identity);
            *comparison = Some(compare::compare(&cuts, &mine, &theirs, &excused));
        }
    }
    Ok(comparisons)
}

fn refuted(source: &str, facts: &CopyFacts) -> String {
    let hash = facts.evidence.signed().map(Signed::words).unwrap_or_default();
    format!("{hash} fits the body of the copy in {source}, and not this one")
}

/// What a message that looks whole has against it.
enum Doubt {
    /// The hash that the sender signed proves another copy.
    Refuted(String),
    /// A whole copy has other content.
    Rival(String, Found, Box<CopyFacts>),
}

/// Compares messages that look whole, and that no digest vouches for, with their copies (`--deep`): equal copies
/// on another file system corroborate; of two contents the one that the sender signed is right, else both are under
/// suspicion.
pub fn deep(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    haul: &mut Haul,
) -> Result<(), EngineError> {
    let unproven = std::mem::take(&mut haul.unproven);
    if unproven.is_empty() {
        return Ok(());
    }
    let mut corroborated = vec![false; unproven.len()];
    let mut doubts: Vec<Option<Doubt>> = unproven.iter().map(|_| None).collect();
    for generation in 0..job.generations.len() {
        let mut wanted = Vec::new();
        for (index, (at, facts)) in unproven.iter().enumerate() {
            let mailbox = &mailboxes[at.mailbox];
            let key = mailbox.key(&mailbox.listing.entries[at.entry].name);
            let found = sources.find(job, generation, &mailbox.rel, &key, None)?;
            wanted.extend(found.into_iter().map(|f| (index, f, facts.digest)));
        }
        let label = job.generations[generation].label.clone();
        for (index, found, result) in find::read(job, generation, wanted) {
            let Ok(copy) = result else { continue };
            let (at, own) = (unproven[index].0, &unproven[index].1);
            // Where names do not last, it is a copy only if it calls itself the same.
            if !mailboxes[at.mailbox].store().keys_last() && !find::same_message(own, &copy) {
                continue;
            }
            let doubt = &mut doubts[index];
            match compare::word(&copy, own) {
                Word::Equal { apart } => corroborated[index] |= apart,
                Word::Accuses if !matches!(doubt, Some(Doubt::Refuted(_))) => {
                    *doubt = Some(Doubt::Refuted(refuted(&label, &copy)));
                }
                Word::Rival if doubt.is_none() => *doubt = Some(Doubt::Rival(label.clone(), found, Box::new(copy))),
                Word::Accuses | Word::Rival | Word::Nothing => {}
            }
        }
    }
    for ((index, (at, facts)), doubt) in unproven.into_iter().enumerate().zip(doubts) {
        let Verdict::Intact(before) = facts.evidence.verdict() else { continue };
        let entry = &mailboxes[at.mailbox].listing.entries[at.entry];
        let (verdict, reason) = match doubt {
            // Equal copies are unchanged since the older was made, which may have been made of rot.
            Some(Doubt::Refuted(why)) => (Verdict::Damaged, why),
            _ if corroborated[index] => {
                job.tally.intact[before as usize] -= 1;
                job.tally.count(Verdict::Intact(before.max(Assurance::Corroborated)));
                continue;
            }
            Some(Doubt::Rival(label, found, copy)) => {
                let path = mailboxes[at.mailbox].path(entry).unwrap_or_default();
                let compared = side_by_side(job, &path, &facts, &[(&found, &copy)])?;
                let place = compared.into_iter().flatten().next().map(|c| places(&c.ranges)).unwrap_or_default();
                (
                    Verdict::Suspect,
                    format!("{label} holds a whole copy with other content{place}: nothing tells which is right"),
                )
            }
            None => continue,
        };
        job.tally.intact[before as usize] -= 1;
        let harm = Harm {
            mailbox: at.mailbox,
            key: mailboxes[at.mailbox].key(&entry.name),
            verdict,
            reason,
            place: entry.place,
            name: entry.name.clone(),
            present: true,
            facts: Some(facts),
            row: None,
            witnessed: Witnessed::default(),
        };
        scan::record_harm(haul, &harm, job.options.mode);
        haul.harms.push(harm);
    }
    Ok(())
}

/// ` in bytes 4096 to 8191 and 2 more places`.
fn places(ranges: &[Span]) -> String {
    let Some(first) = ranges.first() else { return String::new() };
    let more = match ranges.len() - 1 {
        0 => String::new(),
        n => format!(" and {n} more {}", if n == 1 { "place" } else { "places" }),
    };
    format!(" in bytes {} to {}{more}", first.offset, first.end() - 1)
}
