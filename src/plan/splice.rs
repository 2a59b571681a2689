//! One whole message out of several damaged copies: which bytes of which copy, proven by what is on record.
//!
//! Pure. May not guess: what comes out has the recorded digest, or nothing comes out.

use crate::model::groups::{Cut, Value};
use crate::model::{Digest, Span};

/// The smallest unit that a medium fails to give: one logical sector. Bytes.
pub const BLOCK: u64 = 512;
/// Ways to put one group together that are tried.
const TRIES: usize = 4096;
/// Ways that are kept of a group whose value is not on record.
const KEPT: usize = 16;
/// Chaining values that are merged while ways to put the groups together are tried.
const MERGES: usize = 1 << 24;

/// What is on record of the content.
#[derive(Debug, Clone)]
pub struct Known {
    pub cut: Cut,
    pub digest: Digest,
    /// Of each group, where the record has them.
    pub values: Option<Vec<Value>>,
}

/// Bytes of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub copy: usize,
    pub span: Span,
}

/// One way to put a group together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub value: Value,
    pub parts: Vec<Part>,
}

/// What one copy gives of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub copy: usize,
    /// From the beginning of the group; zeros where there is a hole. May be short.
    pub bytes: Vec<u8>,
    /// Within the content.
    pub holes: Vec<Span>,
}

/// What the ways come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The content, part by part.
    Whole(Vec<Part>),
    /// Groups of which another way is needed; none where no closer look could help.
    Open(Vec<usize>),
}

impl Known {
    /// Values that are not those of the digest are no record.
    pub fn new(length: u64, digest: Digest, values: Option<Vec<Value>>) -> Known {
        let cut = Cut::new(length);
        let values = values.filter(|values| cut.root(values) == Some(digest));
        // The digest of a content of one group is that group's value.
        let values = values.or_else(|| (cut.count() == 1).then(|| vec![digest.0]));
        Known { cut, digest, values }
    }
}

/// The ways that copies give at once: each has a group whole, or not.
pub fn ways(known: &Known, copies: &[Vec<Option<Value>>]) -> Vec<Vec<Way>> {
    let of_group = |group: usize| {
        let mut ways: Vec<Way> = Vec::new();
        for (copy, values) in copies.iter().enumerate() {
            let Some(Some(value)) = values.get(group) else { continue };
            if !ways.iter().any(|way| way.value == *value) {
                ways.push(Way { value: *value, parts: vec![Part { copy, span: known.cut.span(group) }] });
            }
        }
        ways
    };
    (0..known.cut.count()).map(of_group).collect()
}

/// Picks one way of each group so that the content is the one on record.
pub fn settle(known: &Known, ways: &[Vec<Way>]) -> Settled {
    match &known.values {
        Some(values) => by_value(values, ways),
        None => by_digest(known, ways),
    }
}

fn by_value(values: &[Value], ways: &[Vec<Way>]) -> Settled {
    let fits = |(ways, value): (&Vec<Way>, &Value)| ways.iter().position(|way| way.value == *value);
    let picked: Vec<Option<usize>> = ways.iter().zip(values).map(fits).collect();
    let open: Vec<usize> = (0..picked.len()).filter(|&group| picked[group].is_none()).collect();
    if !open.is_empty() {
        return Settled::Open(open);
    }
    Settled::Whole(joined(ways.iter().zip(picked).filter_map(|(ways, nth)| ways.get(nth?))))
}

/// Tries ways until the digest is right: groups in which the copies agree have one each.
fn by_digest(known: &Known, ways: &[Vec<Way>]) -> Settled {
    let empty: Vec<usize> = (0..ways.len()).filter(|&group| ways[group].is_empty()).collect();
    if !empty.is_empty() {
        return Settled::Open(empty);
    }
    let disputed: Vec<usize> = (0..ways.len()).filter(|&group| ways[group].len() > 1).collect();
    let counts: Vec<usize> = disputed.iter().map(|&group| ways[group].len()).collect();
    let mut picked = vec![0; ways.len()];
    for choice in choices(&counts, MERGES / ways.len().max(1)) {
        disputed.iter().zip(&choice).for_each(|(&group, &nth)| picked[group] = nth);
        let values: Vec<Value> = ways.iter().zip(&picked).map(|(ways, &nth)| ways[nth].value).collect();
        if known.cut.root(&values) == Some(known.digest) {
            return Settled::Whole(joined(ways.iter().zip(&picked).map(|(ways, &nth)| &ways[nth])));
        }
    }
    Settled::Open(disputed)
}

/// The parts of all ways in order; those that follow each other in one copy are one.
fn joined<'a>(ways: impl Iterator<Item = &'a Way>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    for part in ways.flat_map(|way| &way.parts) {
        match all.last_mut() {
            Some(last) if last.copy == part.copy && last.span.end() == part.span.offset => {
                last.span.length += part.span.length;
            }
            _ => all.push(*part),
        }
    }
    all
}

/// Every choice of one out of each of `counts`, the first ones first; at most `most`, and none where there are more.
fn choices(counts: &[usize], most: usize) -> impl Iterator<Item = Vec<usize>> {
    let total = counts.iter().try_fold(1usize, |total, &count| total.checked_mul(count)).filter(|&n| n <= most);
    let counts = counts.to_vec();
    (0..total.unwrap_or(0)).map(move |mut nth| {
        let of = |count: &usize| {
            let choice = nth % count;
            nth /= count;
            choice
        };
        counts.iter().map(of).collect()
    })
}

/// A run of blocks of a group, and the copies that have it: for each version its bytes' owner.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    span: Span,
    /// Copies that agree stand in one version; more of them first.
    versions: Vec<Vec<usize>>,
}

/// More ways to put a group together, of sectors of several copies. With a value on record only the one that has it.
pub fn closer(known: &Known, group: usize, fragments: &[Fragment]) -> Vec<Way> {
    let wanted = known.values.as_ref().and_then(|values| values.get(group).copied());
    let blocks = blocks(known.cut.span(group), fragments);
    if blocks.iter().any(|run| run.versions.is_empty()) {
        return Vec::new();
    }
    let mut found: Vec<Way> = Vec::new();
    for runs in [merged(&blocks), blocks] {
        let counts: Vec<usize> = runs.iter().map(|run| run.versions.len()).collect();
        for choice in choices(&counts, TRIES) {
            let parts: Vec<Part> = runs
                .iter()
                .zip(&choice)
                .map(|(run, &nth)| Part { copy: run.versions[nth][0], span: run.span })
                .collect();
            let bytes = assembled(known.cut.span(group), &parts, fragments);
            let Some(value) = known.cut.value(group, &bytes) else { continue };
            if wanted.is_some_and(|wanted| wanted != value) || found.iter().any(|way| way.value == value) {
                continue;
            }
            let parts = joined([Way { value, parts }].iter());
            found.push(Way { value, parts });
            if wanted.is_some() || found.len() == KEPT {
                return found;
            }
        }
    }
    found
}

/// Bytes of a group that no copy gives.
pub fn in_no_copy(group: Span, fragments: &[Fragment]) -> Vec<Span> {
    let lost = blocks(group, fragments).into_iter().filter(|run| run.versions.is_empty());
    let mut spans: Vec<Span> = Vec::new();
    for run in lost {
        match spans.last_mut() {
            Some(last) if last.end() == run.span.offset => last.length += run.span.length,
            _ => spans.push(run.span),
        }
    }
    spans
}

/// The blocks of a group, with who has which version of each.
fn blocks(group: Span, fragments: &[Fragment]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = group.offset;
    while at < group.end() {
        let span = Span::new(at, (BLOCK - at % BLOCK).min(group.end() - at));
        let mut versions: Vec<(&[u8], Vec<usize>)> = Vec::new();
        for fragment in fragments {
            let Some(bytes) = fragment.block(group, span) else { continue };
            match versions.iter_mut().find(|(known, _)| *known == bytes) {
                Some((_, copies)) => copies.push(fragment.copy),
                None => versions.push((bytes, vec![fragment.copy])),
            }
        }
        versions.sort_by_key(|(_, copies)| std::cmp::Reverse(copies.len()));
        runs.push(Run { span, versions: versions.into_iter().map(|(_, copies)| copies).collect() });
        at = span.end();
    }
    runs
}

/// Neighbours on which the same copies agree, as one.
fn merged(blocks: &[Run]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(last) if last.versions == block.versions => last.span.length += block.span.length,
            _ => runs.push(block.clone()),
        }
    }
    runs
}

fn assembled(group: Span, parts: &[Part], fragments: &[Fragment]) -> Vec<u8> {
    let of = |part: &Part| fragments.iter().find(|f| f.copy == part.copy)?.block(group, part.span);
    parts.iter().filter_map(of).collect::<Vec<_>>().concat()
}

impl Fragment {
    /// Bytes of the content, if the copy gives all of them.
    fn block(&self, group: Span, span: Span) -> Option<&[u8]> {
        let start = usize::try_from(span.offset.checked_sub(group.offset)?).ok()?;
        let bytes = self.bytes.get(start..start + usize::try_from(span.length).ok()?)?;
        (!self.holes.iter().any(|hole| hole.overlaps(span))).then_some(bytes)
    }
}

#[cfg(test)]
#[path = "splice_tests.rs"]
mod tests;
