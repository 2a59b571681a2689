//! The questions that a lane answers one at a time, from the parent's side.
//!
//! May not open anything: what a lane cannot answer comes back as a trouble.

use super::{Found, HomeFiles, Lane, LaneError, Listing, serve};
use crate::model::container::{Own, Storage};
use crate::model::form::Form;
use crate::model::groups::Value;
use crate::model::message::Encoding;
use crate::model::pieces::{Cuts, Pieces};
use crate::model::server::{Guids, Ledger, Question, Witness};
use crate::model::wire::{Answer, Fetched, Given, Request, Stated, Trouble};
use crate::model::{Format, RelPath, Span, Stat};
use std::io;

/// What requests for a mail server's lists, indexes and logs do.
const SERVERS_FILES: &str = "read the server's files";

impl Lane {
    /// Walks `dir` for mailboxes. A walk that did not finish has a trouble.
    pub fn discover(&mut self, root: u32, dir: &RelPath) -> Result<Found, LaneError> {
        let walk = self.ask_discover(root, dir)?;
        Ok(self.discovered(walk, root, dir))
    }

    /// Has `dir` walked, and does not wait. Nothing else may be asked before [`Lane::discovered`] is.
    pub fn ask_discover(&mut self, root: u32, dir: &RelPath) -> Result<u64, LaneError> {
        let id = self.id();
        self.send(&Request::Discover { id, root, dir: dir.clone() })?;
        Ok(id)
    }

    /// What the walk found that was asked for.
    pub fn discovered(&mut self, id: u64, root: u32, dir: &RelPath) -> Found {
        let mut found = Found::default();
        loop {
            match self.answer() {
                Ok(Answer::Found { id: got, mailboxes }) if got == id => found.mailboxes.extend(mailboxes),
                Ok(Answer::Aside { id: got, troubles, symlinks }) if got == id => {
                    found.troubles.extend(troubles);
                    found.symlinks.extend(symlinks);
                }
                Ok(Answer::FoundEnd { id: got }) if got == id => {
                    found.set_aside();
                    return found;
                }
                Ok(_) => {}
                Err(fall) => {
                    let trouble = self.fallen(fall, root, dir, "look for mailboxes");
                    found.troubles.push(trouble);
                    return found;
                }
            }
        }
    }

    /// Lists one mailbox.
    pub fn list(&mut self, root: u32, dir: &RelPath, format: Format, stat: bool) -> Result<Listing, LaneError> {
        let id = self.id();
        self.send(&Request::List { id, root, dir: dir.clone(), format, stat })?;
        let mut listing = Listing::default();
        loop {
            match self.answer() {
                Ok(Answer::Entries { id: got, entries }) if got == id => listing.entries.extend(entries),
                Ok(Answer::Aside { id: got, troubles, .. }) if got == id => {
                    // Nothing there is an answer, not a trouble: the listing above it was possible.
                    let absent = |t: &Trouble| matches!(t.errno, Some(2 | 20)) && t.path == dir.as_bytes();
                    listing.troubles.extend(troubles.into_iter().filter(|t| !absent(t)));
                }
                Ok(Answer::EntriesEnd { id: got, dirs, seal }) if got == id => {
                    (listing.dirs, listing.seal) = (dirs, seal);
                    return Ok(listing);
                }
                Ok(_) => {}
                Err(fall) => {
                    let trouble = self.fallen(fall, root, dir, "list folder");
                    listing.troubles.push(trouble);
                    return Ok(listing);
                }
            }
        }
    }

    /// The companion files in an account's home.
    pub fn home(&mut self, root: u32, dir: &RelPath) -> Result<HomeFiles, LaneError> {
        let id = self.id();
        self.send(&Request::ListHome { id, root, dir: dir.clone() })?;
        let mut home = HomeFiles::default();
        loop {
            match self.answer() {
                Ok(Answer::Home { id: got, files }) if got == id => home.files.extend(files),
                Ok(Answer::Aside { id: got, troubles, .. }) if got == id => home.troubles.extend(troubles),
                Ok(Answer::HomeEnd { id: got }) if got == id => return Ok(home),
                Ok(_) => {}
                Err(fall) => {
                    home.troubles.push(self.fallen(fall, root, dir, "list folder"));
                    return Ok(home);
                }
            }
        }
    }

    /// Puts a request that one answer ends: the first that `pick` takes. A lane that falls over it is a trouble with `path`.
    fn ask<T>(
        &mut self,
        request: &Request,
        (root, path, doing): (u32, &RelPath, &str),
        mut pick: impl FnMut(Answer) -> Option<T>,
    ) -> Result<Result<T, Trouble>, LaneError> {
        self.send(request)?;
        loop {
            match self.answer() {
                Ok(answer) => {
                    if let Some(taken) = pick(answer) {
                        return Ok(Ok(taken));
                    }
                }
                Err(fall) => return Ok(Err(self.fallen(fall, root, path, doing))),
            }
        }
    }

    /// Type, `lstat` and attributes of one path.
    pub fn stat(&mut self, root: u32, path: &RelPath) -> Result<Result<Stated, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::StatPath { id, root, path: path.clone() };
        let stated = self.ask(&request, (root, path, "stat"), |answer| match answer {
            Answer::Stated { id: got, stat } if got == id => Some(stat),
            _ => None,
        })?;
        Ok(stated.flatten())
    }

    /// What a server's own files say of messages that are gone from the mailbox `dir`.
    pub fn witness(
        &mut self,
        root: u32,
        dir: &RelPath,
        names: Vec<Question>,
    ) -> Result<Result<Witness, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Witness { id, root, dir: dir.clone(), names };
        let witness = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Witness { id: got, witness } if got == id => Some(witness),
            _ => None,
        })?;
        Ok(witness.flatten())
    }

    /// All that a server's own files of the mailbox `dir` say of it.
    pub fn ledger(&mut self, root: u32, dir: &RelPath) -> Result<Result<Ledger, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Ledger { id, root, dir: dir.clone() };
        let mut all = Vec::new();
        let ledger = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Lines { id: got, lines } if got == id => {
                all.extend(lines);
                None
            }
            Answer::Ledger { id: got, ledger } if got == id => Some(ledger),
            _ => None,
        })?;
        Ok(ledger.flatten().map(|ledger| Ledger { lines: all, ..ledger }))
    }

    /// Files that the server knows by another name than their own: names without flags, and the names that the messages
    /// go by. Empty where no list says so, or it cannot be read: then files are what they are called.
    pub fn guids(&mut self, root: u32, dir: &RelPath) -> Result<Guids, LaneError> {
        let id = self.id();
        let mut all = Vec::new();
        let request = Request::Guids { id, root, dir: dir.clone() };
        let ended = self.ask(&request, (root, dir, SERVERS_FILES), |answer| match answer {
            Answer::Guids { id: got, guids } if got == id => {
                all.extend(guids);
                None
            }
            Answer::GuidsEnd { id: got } if got == id => Some(()),
            _ => None,
        })?;
        Ok(ended.map_or_else(|_| Vec::new(), |()| all))
    }

    /// Digests of each piece of a file's content.
    pub fn pieces(
        &mut self,
        root: u32,
        path: &RelPath,
        (form, cuts): (&Form, &Cuts),
    ) -> Result<Result<Pieces, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Pieces { id, root, path: path.clone(), form: form.clone(), cuts: cuts.clone() };
        let pieces = self.ask(&request, (root, path, "compare"), |answer| match answer {
            Answer::Pieces { id: got, pieces } if got == id => Some(pieces),
            _ => None,
        })?;
        Ok(pieces.flatten())
    }

    /// What a file says around one of its messages.
    pub fn own(&mut self, root: u32, path: &RelPath) -> Result<Result<Own, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Own { id, root, path: path.clone() };
        let own = self.ask(&request, (root, path, "read"), |answer| match answer {
            Answer::Own { id: got, own } if got == id => Some(own),
            _ => None,
        })?;
        Ok(own.flatten())
    }

    /// What lies in a file that mailboxes share.
    pub fn storage(&mut self, root: u32, path: &RelPath) -> Result<Result<Storage, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Storage { id, root, path: path.clone() };
        let storage = self.ask(&request, (root, path, SERVERS_FILES), |answer| match answer {
            Answer::Storage { id: got, storage } if got == id => Some(storage),
            _ => None,
        })?;
        Ok(storage.flatten())
    }

    /// Chaining values of the groups of a content of `length` bytes, as far as a file gives them.
    pub fn groups(
        &mut self,
        (root, path): (u32, &RelPath),
        length: u64,
    ) -> Result<Result<Vec<Option<Value>>, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Groups { id, root, path: path.clone(), length };
        let groups = self.ask(&request, (root, path, "read"), |answer| match answer {
            Answer::Groups { id: got, groups } if got == id => Some(groups),
            _ => None,
        })?;
        Ok(groups.flatten())
    }

    /// Bytes of a file with the holes in them; at most [`FRAGMENT_MAX`](crate::model::limits::FRAGMENT_MAX).
    pub fn fragment(&mut self, (root, path): (u32, &RelPath), span: Span) -> Result<Result<Given, Trouble>, LaneError> {
        let id = self.id();
        let request = Request::Fragment { id, root, path: path.clone(), span };
        let given = self.ask(&request, (root, path, "read"), |answer| match answer {
            Answer::Fragment { id: got, given } if got == id => Some(given),
            _ => None,
        })?;
        Ok(given.flatten())
    }

    /// Brings bytes of a file as they are stored, which must still be the one that `file` tells of.
    pub fn range(
        &mut self,
        (root, path): (u32, &RelPath),
        span: Span,
        file: Option<Stat>,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<Fetched, Trouble>, LaneError> {
        let id = self.id();
        self.send(&Request::Range { id, root, path: path.clone(), span, file })?;
        self.data(id, (root, path), sink)
    }

    /// Brings a file's bytes, window by window.
    pub fn fetch(
        &mut self,
        root: u32,
        path: &RelPath,
        (form, encode): (&Form, Option<Encoding>),
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<Fetched, Trouble>, LaneError> {
        let id = self.id();
        self.send(&Request::Fetch { id, root, path: path.clone(), form: form.clone(), encode })?;
        self.data(id, (root, path), sink)
    }

    fn data(
        &mut self,
        id: u64,
        (root, path): (u32, &RelPath),
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<Fetched, Trouble>, LaneError> {
        let mut taken = Ok(());
        loop {
            match self.answer() {
                Ok(Answer::Data { id: got, bytes }) if got == id => {
                    if taken.is_ok() {
                        taken = sink(&bytes);
                    }
                }
                Ok(Answer::DataEnd { id: got, result }) if got == id => {
                    return Ok(match taken {
                        Ok(()) => result,
                        Err(error) => Err(serve::trouble(root, path.as_bytes(), "write", &error)),
                    });
                }
                Ok(_) => {}
                Err(fall) => return Ok(Err(self.fallen(fall, root, path, "read"))),
            }
        }
    }
}
