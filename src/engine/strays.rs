//! Files that belong to nobody, and that no missing message claimed: told, and left where they are.

use super::account::{Account, Mailbox};
use super::harm::{self, Harm, Haul};
use super::job::Job;
use crate::model::event::Subject;
use crate::model::server::Witnessed;

/// Reports files that belong to nobody and that no missing message claimed.
pub fn report(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox], haul: &Haul) {
    for stray in haul.strays.iter().filter(|s| !s.claimed) {
        let mailbox = &mailboxes[stray.mailbox];
        let entry = &mailbox.listing.entries[stray.entry];
        let key = mailbox.key(&entry.name);
        let twice = mailbox.files.get(&key).is_some_and(|&first| first != stray.entry);
        let reason = if twice {
            "a second file of the same message".to_owned()
        } else {
            match stray.facts.digest.and_then(|d| haul.fresh.get(&d)) {
                Some(&(m, at)) => {
                    let twin = &mailboxes[m].listing.entries[at];
                    format!("belongs to nobody; the same content as {}", crate::model::path::escape(&twin.name))
                }
                None => "belongs to nobody: no mail server gives such a name".to_owned(),
            }
        };
        let as_harm = Harm {
            mailbox: stray.mailbox,
            key,
            verdict: stray.facts.evidence.verdict(),
            reason,
            place: entry.place,
            name: entry.name.clone(),
            present: true,
            facts: Some(stray.facts.clone()),
            row: None,
            witnessed: Witnessed::default(),
        };
        let mut finding = harm::finding(job, &account.name, mailboxes, &as_harm);
        finding.subject = Subject::Stray;
        job.finding(finding);
    }
}
