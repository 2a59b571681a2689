//! A message that no copy holds whole, out of several damaged ones: the store's own and those of the sources.
//!
//! Only where its digest is on record, which proves what comes out. Reads what is sick again, and more closely than anybody
//! else: only for messages that nothing else heals. Writes nothing.

use super::account::{EngineError, Mailbox};
use super::folders;
use super::heal::Patient;
use super::job::{Job, Mode};
use crate::model::container::{self, Lies};
use crate::model::groups::Value;
use crate::model::plan::{Action, Graft, Location};
use crate::model::{Digest, Encoding, Format, Missing, RelPath, Verdict};
use crate::plan::Undecided;
use crate::plan::attrs::{Witnesses, settle};
use crate::plan::splice::{Fragment, Known, Part, Settled, closer, in_no_copy, settle as settle_groups, ways};

/// Copies of one message that are looked at.
const COPIES_MAX: usize = 16;

/// What several copies came to.
pub(super) enum Spliced {
    /// The content as it is on record.
    Whole { action: Action, source: String, why: String },
    /// Copies were looked at, and it is not; in words.
    Lacking(String),
    /// There is nothing to look at.
    Nothing,
}

/// A copy that may give some of the bytes.
struct Copy {
    from: Location,
    /// Lane and root.
    at: (usize, u32),
    label: String,
}

/// Tries to put a message together.
pub(super) fn splice(job: &mut Job<'_>, mailboxes: &[Mailbox], patient: &Patient) -> Result<Spliced, EngineError> {
    let harm = &patient.harm;
    let Some((digest, length)) = recorded(job, mailboxes, patient) else { return Ok(Spliced::Nothing) };
    let mut copies = copies(job, mailboxes, patient);
    if copies.len() < 2 {
        return Ok(Spliced::Nothing);
    }
    let mut values = Vec::new();
    for copy in std::mem::take(&mut copies) {
        let (lane, root) = copy.at;
        // One that cannot be read at all gives nothing, and was told before.
        if let Ok(groups) = job.lanes.lanes[lane].groups((root, &copy.from.path), length)? {
            values.push(groups);
            copies.push(copy);
        }
    }
    // One alone is what it is.
    if copies.len() < 2 {
        return Ok(Spliced::Nothing);
    }
    let record = match &job.catalog {
        Some(catalog) => catalog.groups(&digest)?,
        None => None,
    };
    let known = Known::new(length, digest, record);
    let parts = match assemble(job, &known, &copies, &values)? {
        Ok(parts) => parts,
        Err(why) => return Ok(Spliced::Lacking(why)),
    };
    let mailbox = &mailboxes[harm.mailbox];
    let present = harm.facts.as_ref().filter(|f| harm.present && f.stat.ino != 0).map(|f| f.stat);
    let attrs = settle(&Witnesses {
        present: present.as_ref(),
        folder: folders::standing(mailboxes, mailbox),
        catalog: harm.row.as_ref().map(|row| &row.attrs),
        given: job.options.owner,
        source: None,
        named: mailbox.store().delivered(&harm.name),
        xattrs: &[],
    });
    let mut labels: Vec<&str> = Vec::new();
    for part in &parts {
        let label = &copies[part.copy].label[..];
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let source = labels.join(", ");
    let why = format!("put together from {} parts of damaged copies, and proven by the recorded digest", parts.len());
    let graft = |part: &Part| Graft { from: copies[part.copy].from.clone(), span: part.span };
    let parts = parts.iter().map(graft).collect();
    Ok(Spliced::Whole { action: Action::Splice { parts, attrs, content: digest, length }, source, why })
}

/// The digest and length on record of a message that may be put together, and lies in a file of its own as it is.
fn recorded(job: &Job<'_>, mailboxes: &[Mailbox], patient: &Patient) -> Option<(Digest, u64)> {
    let harm = &patient.harm;
    let row = harm.row.as_ref()?;
    let plain = matches!(mailboxes[harm.mailbox].format, Format::Maildir | Format::Mh | Format::Eml);
    let comes_back = match harm.verdict {
        Verdict::Damaged | Verdict::Unreadable | Verdict::Missing(Missing::Lost) => true,
        Verdict::Missing(Missing::Undecided) => job.options.undecided == Undecided::Restore,
        _ => false,
    };
    let asked = job.options.mode != Mode::Verify && plain && comes_back && row.encoding == Encoding::Plain;
    let digest = harm.expected().filter(|_| asked)?;
    Some((digest, row.length))
}

fn copies(job: &Job<'_>, mailboxes: &[Mailbox], patient: &Patient) -> Vec<Copy> {
    let harm = &patient.harm;
    let mut copies = Vec::new();
    if harm.present {
        let from = Location { source: None, path: harm.path(mailboxes), form: Default::default() };
        copies.push(Copy { from, at: (job.store.lane, job.store.root), label: job.store.text.clone() });
    }
    for (found, candidate) in patient.found.iter().zip(&patient.candidates) {
        let apart = container::lies(&found.path) == Lies::Alone;
        if candidate.facts.encoding == Encoding::Plain && found.form.is_kept() && apart {
            let generation = &job.generations[found.generation];
            let source = u32::try_from(found.generation).ok();
            let from = Location { source, path: found.path.clone(), form: Default::default() };
            copies.push(Copy { from, at: (generation.lane, generation.root), label: generation.label.clone() });
        }
    }
    copies.truncate(COPIES_MAX);
    copies
}

/// The parts of the content; in words why there are none.
fn assemble(
    job: &mut Job<'_>,
    known: &Known,
    copies: &[Copy],
    values: &[Vec<Option<Value>>],
) -> Result<Result<Vec<Part>, String>, EngineError> {
    let mut all = ways(known, values);
    let open = match settle_groups(known, &all) {
        Settled::Whole(parts) => return Ok(Ok(parts)),
        Settled::Open(groups) => groups,
    };
    let mut lacking = 0;
    for group in open {
        let span = known.cut.span(group);
        let mut fragments = Vec::new();
        for (copy, Copy { from, at: (lane, root), .. }) in copies.iter().enumerate() {
            if let Ok(given) = job.lanes.lanes[*lane].fragment((*root, &from.path), span)? {
                fragments.push(Fragment { copy, bytes: given.bytes, holes: given.holes });
            }
        }
        lacking += in_no_copy(span, &fragments).iter().map(|span| span.length).sum::<u64>();
        all[group].extend(closer(known, group, &fragments));
    }
    Ok(match settle_groups(known, &all) {
        Settled::Whole(parts) => Ok(parts),
        Settled::Open(_) if lacking > 0 => Err(format!(
            "put together from {} damaged copies it would lack {lacking} of {} bytes",
            copies.len(),
            known.cut.length
        )),
        Settled::Open(_) => Err(format!("{} damaged copies together do not make the recorded content", copies.len())),
    })
}

/// Whether a part of the store itself may go to `target`: only what is left of the very message that stands there.
pub fn is_own(target: &RelPath, from: &Location) -> bool {
    let key = |path: &RelPath| {
        let (format, dir, name) = crate::store::split_message_path(path)?;
        Some((dir, crate::store::of(format).key(name)))
    };
    from.source.is_some() || (key(target).is_some() && key(target) == key(&from.path))
}
