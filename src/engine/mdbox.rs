//! What is particular about mailboxes that share files (mdbox): messages that a mailbox shows and the storage has not,
//! and such as their owners deleted. Plans nothing.

use super::account::{EngineError, Mailbox};
use super::harm::{Harm, Haul};
use super::job::Job;
use super::rebuild::Ward;
use crate::model::container::{self, Framed, Own};
use crate::model::server::{Says, Witnessed};
use crate::model::wire::{Entry, Place};
use crate::model::{Format, Missing, Verdict};
use crate::store::dovecot::{Guid, message_guid};
use crate::store::mdbox::{Named, map};
use std::collections::{BTreeMap, BTreeSet};

/// Notes which messages their owner deleted, where the server has no memory of it: the storage still has them, and by the map
/// no mailbox shows them. The server counts whenever it makes the map anew, and what it finds lost has no place in that.
pub fn deleted(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    names: &[Vec<u8>],
    said: &mut [Witnessed],
) -> Result<(), EngineError> {
    let Some(shared) = container::shared(&mailbox.dir) else { return Ok(()) };
    let mut by_file: BTreeMap<u32, Vec<(usize, Named, map::Place)>> = BTreeMap::new();
    for (nth, name) in names.iter().enumerate().take(said.len()) {
        let named = Named::parse(name).filter(|named| said[nth].says == Says::Nothing && named.guid.is_some());
        if let Some((named, place)) = named.and_then(|named| Some((named, named.place?))) {
            by_file.entry(place.file).or_default().push((nth, named, place));
        }
    }
    let (root, mut looks) = (job.store.root, LOOKS);
    for (file, asked) in by_file {
        let Ok(path) = shared.storage.join(format!("m.{file}").as_bytes()) else { continue };
        let Ok(storage) = job.store_lane().storage(root, &path)? else { continue };
        let unshown = |frame: &&Framed| frame.shown == 0 && frame.sound && storage.complete;
        let left: Vec<&Framed> = storage.frames.iter().filter(unshown).collect();
        for (nth, named, place) in asked {
            // Where the server mended the file, all that follows has moved a little.
            let mut like: Vec<&&Framed> = left.iter().filter(|frame| frame.size == u64::from(place.size)).collect();
            like.sort_by_key(|frame| frame.offset.abs_diff(u64::from(place.offset)));
            for frame in like.into_iter().take(looks) {
                looks -= 1;
                let Ok(offset) = u32::try_from(frame.offset) else { continue };
                let there = Named { place: Some(map::Place { offset, ..place }), ..named };
                let Ok(path) = mailbox.dir.join(&there.name()) else { continue };
                let own = job.store_lane().own(root, &path)?.unwrap_or_default();
                if guid_of(&own) == named.guid {
                    said[nth].says = Says::DeletedByUser;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Mailboxes in which a message gets shorter in its place: only a server that mended its frame made it longer than it was. It
/// knows that length, and would break off a client that asks for the message before it finds out.
pub fn resized(mailboxes: &[Mailbox], wards: &[Ward]) -> BTreeSet<usize> {
    let shorter = |ward: &&Ward| {
        let facts = ward.harm.facts.as_ref().filter(|_| mailboxes[ward.harm.mailbox].format == Format::Mdbox);
        facts.is_some_and(|facts| facts.length > ward.length)
    };
    wards.iter().filter(shorter).map(|ward| ward.harm.mailbox).collect()
}

/// Messages that are looked at for all that may have been deleted.
const LOOKS: usize = 1 << 14;

/// What a message says behind itself.
fn guid_of(own: &Own) -> Option<Guid> {
    let line = own.fields.iter().find_map(|field| field.text.strip_prefix(b"G"))?;
    Some(message_guid(line.strip_suffix(b"\n")?))
}

/// Takes what a mailbox shows and the storage has not out of its listing.
pub fn take_lost(format: Format, entries: &mut Vec<Entry>) -> Vec<Entry> {
    let is_lost = |entry: &Entry| Named::parse(&entry.name).is_some_and(|named| named.lost);
    let shown = |entry: &mut Entry| format == Format::Mdbox && entry.place == Place::Cur && is_lost(entry);
    entries.extract_if(.., shown).collect()
}

/// Adds a harm for every message of a mailbox that the storage has not, and that the catalog does not know: those that it
/// knows are missing in the listing.
pub fn lost(mailboxes: &[Mailbox], m: usize, haul: &mut Haul) {
    let mailbox = &mailboxes[m];
    for entry in &mailbox.lost {
        let key = mailbox.key(&entry.name);
        let Some(named) = Named::parse(&entry.name).filter(|_| !mailbox.rows.contains_key(&key)) else { continue };
        let reason = match named.place {
            Some(place) => format!("the server still shows it, and storage/m.{} has it no more", place.file),
            None => "the server still shows it, and nothing tells where in the storage it is".to_owned(),
        };
        let verdict = Verdict::Missing(Missing::Lost);
        haul.harms.push(Harm {
            mailbox: m,
            key,
            verdict,
            reason,
            place: entry.place,
            name: entry.name.clone(),
            present: false,
            facts: None,
            row: None,
            witnessed: Witnessed { uid: named.uid, says: Says::Listed, ..Witnessed::default() },
        });
    }
}
