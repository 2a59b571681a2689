//! Mailboxes that a lane was asked to look at again before anybody waits for the answer.
//!
//! Their answers come between those to other requests and are put by. May not tell why one failed: whoever asked lists
//! that mailbox by itself, which does.

use super::{Lane, LaneError, Listing, Sealed};
use crate::model::wire::{Answer, Request};
use std::collections::HashMap;

/// Stands for one call of [`Lane::recheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// What was asked for and not fetched.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// By the number of the request.
    open: HashMap<u64, (Ticket, usize)>,
    tickets: HashMap<Ticket, Asked>,
}

#[derive(Debug)]
struct Asked {
    listings: Vec<Listing>,
    left: usize,
}

impl Ahead {
    /// Keeps an answer to what was asked ahead; gives back any other.
    pub fn absorb(&mut self, answer: Answer) -> Option<Answer> {
        let (Answer::Entries { id, .. } | Answer::Aside { id, .. } | Answer::EntriesEnd { id, .. }) = &answer else {
            return Some(answer);
        };
        let id = *id;
        let Some(&(ticket, nth)) = self.open.get(&id) else { return Some(answer) };
        let asked = self.tickets.get_mut(&ticket)?;
        let listing = &mut asked.listings[nth];
        match answer {
            Answer::Entries { entries, .. } => listing.entries.extend(entries),
            Answer::Aside { troubles, .. } => listing.troubles.extend(troubles),
            Answer::EntriesEnd { dirs, seal, .. } => {
                (listing.dirs, listing.seal) = (dirs, seal);
                asked.left -= 1;
                self.open.remove(&id);
            }
            _ => {}
        }
        None
    }

    /// The process that was asked is gone.
    pub fn forget(&mut self) {
        self.open.clear();
        self.tickets.clear();
    }
}

impl Lane {
    /// Asks whether several mailboxes are as they were, and does not wait. The lane does what else it is asked first.
    pub fn recheck(&mut self, root: u32, mailboxes: &[Sealed]) -> Result<Ticket, LaneError> {
        let ticket = Ticket(self.id());
        let process = self.restarts;
        let mut ids = Vec::with_capacity(mailboxes.len());
        for Sealed { dir, format, times } in mailboxes {
            let id = self.id();
            self.send(&Request::Recheck { id, root, dir: dir.clone(), format: *format, times: *times })?;
            ids.push(id);
        }
        if process != self.restarts {
            // The process died between two of them: the one that was started in its place knows nothing of the first.
            return Ok(ticket);
        }
        self.ahead.open.extend(ids.into_iter().enumerate().map(|(nth, id)| (id, (ticket, nth))));
        let listings = vec![Listing::default(); mailboxes.len()];
        self.ahead.tickets.insert(ticket, Asked { listings, left: mailboxes.len() });
        Ok(ticket)
    }

    /// The answer, without the messages. `None` where it failed for any reason.
    pub fn rechecked(&mut self, ticket: Ticket) -> Option<Vec<Listing>> {
        while self.ahead.tickets.get(&ticket)?.left > 0 {
            match self.next_answer() {
                Ok(answer) => drop(self.ahead.absorb(answer)),
                Err(fall) => self.abandon(fall),
            }
        }
        Some(self.ahead.tickets.remove(&ticket)?.listings)
    }
}
