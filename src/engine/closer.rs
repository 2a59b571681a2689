//! A second, closer look at a message that the medium did not give whole, and that no copy proves: sector by sector where it
//! failed, so that nothing is missing but what cannot be had.
//!
//! For nothing that a copy heals: each failed read may cost the disk 30 seconds. Writes nothing.

use super::account::Mailbox;
use super::account::{self, EngineError};
use super::heal::Patient;
use super::job::Job;
use crate::model::evidence::Check;
use crate::model::wire::{Effort, ReadItem};
use crate::model::{Format, Outcome, Span};

/// Reads it again; whether anything came of that.
pub(super) fn look(job: &mut Job<'_>, mailboxes: &[Mailbox], patient: &mut Patient) -> Result<bool, EngineError> {
    let harm = &mut patient.harm;
    let mailbox = &mailboxes[harm.mailbox];
    let Some(facts) = harm.facts.as_ref().filter(|facts| harm.present && !facts.closely && facts.stat.ino != 0) else {
        return Ok(false);
    };
    if facts.evidence.get(Check::Read) != Outcome::Fail || mailbox.format.is_packed() {
        return Ok(false);
    }
    // Within a frame, places are those of the message and not of its file.
    let plain = mailbox.format != Format::Sdbox;
    let holes = facts.evidence.faults().iter().filter(|fault| plain && fault.check == Check::Read);
    let holes: Vec<Span> = holes.map(|fault| fault.span).collect();
    let entry = mailbox.files.get(&harm.key).map(|&at| &mailbox.listing.entries[at]);
    let Some(item) = entry.and_then(|entry| account::item(job, mailbox, entry)) else { return Ok(false) };
    let item = ReadItem { medium: true, effort: Effort::Closely(holes), ..item };
    match job.store_lane().read_one(item) {
        Ok(facts) if facts.closely => {
            harm.verdict = facts.evidence.verdict();
            harm.facts = Some(facts);
            Ok(true)
        }
        // No nearer than before; what is known of it stays.
        _ => Ok(false),
    }
}
