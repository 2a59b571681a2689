//! Copies in sources that keep mail in another format: found by what they hold, for their names mean nothing here, and
//! read as what the store's own server would have made of them.

use super::account::{EngineError, is_message};
use super::find::Found;
use super::harm::Harm;
use super::job::Job;
use crate::model::form::{Ends, Form};
use crate::model::wire::{Effort, Entry, ReadItem, ReadMode};
use crate::model::{Digest, Format, RelPath};
use crate::plan::Identity;
use crate::store;
use std::collections::HashMap;

/// Copies of one content, or with one Message-ID, that are read for one message at most.
const COPIES: usize = 8;

/// All messages that one generation holds of an account in other formats.
#[derive(Default)]
pub struct Holdings {
    all: Vec<Holding>,
    by_content: HashMap<Digest, Vec<usize>>,
    by_id: HashMap<String, Vec<usize>>,
}

struct Holding {
    path: RelPath,
    entry: Entry,
    digest: Digest,
}

impl Holdings {
    /// Reads every message of these mailboxes, which lie below the generation's root.
    pub fn read(
        job: &mut Job<'_>,
        generation: usize,
        mailboxes: &[(RelPath, Format)],
    ) -> Result<Holdings, EngineError> {
        let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
        let mut entries: HashMap<RelPath, Entry> = HashMap::new();
        let mut items = Vec::new();
        for (dir, format) in mailboxes {
            let listing = job.lanes.lanes[lane].list(root, dir, *format, false)?;
            listing.troubles.iter().for_each(|trouble| job.not_checked(trouble));
            for entry in listing.entries.into_iter().filter(is_message) {
                let Some(path) = store::message_path(*format, dir, entry.place, &entry.name) else { continue };
                items.push(item(root, path.clone(), *format));
                entries.insert(path, entry);
            }
        }
        let mut holdings = Holdings::default();
        let mut troubles = Vec::new();
        job.read_lane(lane, &mut items.into_iter(), &mut |_, item, reading| match reading {
            Ok(facts) => {
                let (Some(entry), Some(digest)) = (entries.remove(&item.path), facts.digest) else { return };
                let number = holdings.all.len();
                let content = facts.canonical_digest().unwrap_or(digest);
                holdings.by_content.entry(content).or_default().push(number);
                if let Some(id) = facts.envelope.and_then(|envelope| envelope.message_id) {
                    holdings.by_id.entry(id).or_default().push(number);
                }
                holdings.all.push(Holding { path: item.path, entry, digest });
            }
            // A copy that vanished while a source rotates is no copy.
            Err(trouble) if trouble.errno == Some(2) => {}
            Err(trouble) => troubles.push(trouble),
        });
        troubles.iter().for_each(|trouble| job.not_checked(trouble));
        Ok(holdings)
    }

    /// Copies that may be the message, in every form that a server keeping `format` may have given it.
    pub fn find(&self, generation: usize, harm: &Harm, format: Format) -> Vec<Found> {
        let expected = harm.expected();
        let content = harm.row.as_ref().and_then(|row| row.canonical).or(expected);
        let id = harm.facts.as_ref().and_then(|facts| facts.envelope.as_ref()?.message_id.as_deref());
        let numbers = match (expected, content, id) {
            (Some(_), Some(content), _) => self.by_content.get(&content),
            // Without a digest it has to call itself the same, and to equal what is left.
            (None, _, Some(id)) if harm.present => self.by_id.get(id),
            _ => None,
        };
        let all = numbers.into_iter().flatten().take(COPIES).map(|&number| &self.all[number]);
        let found = |one: &Holding, form: Form| Found {
            generation,
            path: one.path.clone(),
            place: one.entry.place,
            name: one.entry.name.clone(),
            identity: Identity::Size,
            form,
        };
        let in_forms = |one| match expected {
            Some(expected) if is_exactly(one, expected) => vec![found(one, Form::default())],
            expected => forms(format, expected.is_some()).map(|form| found(one, form)).collect(),
        };
        all.flat_map(in_forms).collect()
    }
}

fn is_exactly(one: &Holding, expected: Digest) -> bool {
    one.digest == expected
}

/// The forms in which a message may have stood: a digest tells which it was; else as Dovecot writes it, or, where nobody's
/// server did, in any. Fields that mbox software rewrites are no part of it, unless it came with them.
fn forms(format: Format, told: bool) -> impl Iterator<Item = Form> {
    let any = told || matches!(format, Format::Mh | Format::Eml);
    let ends: &[Ends] = if any { &[Ends::Lf, Ends::Kept, Ends::Crlf] } else { &[Ends::Lf] };
    ends.iter().flat_map(|&ends| [true, false].map(|bare| Form { ends, bare, frame: None }))
}

fn item(root: u32, path: RelPath, format: Format) -> ReadItem {
    ReadItem {
        id: 0,
        root,
        path,
        mode: ReadMode::Message,
        format,
        form: Form::default(),
        file: None,
        expected: None,
        size_claim: None,
        crlf_claim: None,
        envelope: true,
        medium: false,
        effort: Effort::Pages,
        groups: false,
        deep: false,
    }
}
