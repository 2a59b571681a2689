//! Messages that lie in one file with others (mbox): lists them, and reads each in its range.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::examine::{Pass, Reader, Subject, modest};
use super::serve::trouble;
use crate::model::evidence::{Check, Fault, FaultKind, Outcome, Verdict};
use crate::model::limits::{MESSAGE_MAX, WINDOW};
use crate::model::pieces::{Cuts, Pieces};
use crate::model::wire::{Entry, EntryKind, Place, ReadItem, Trouble};
use crate::model::{CopyFacts, Encoding, RelPath, Span, Stamp, Stat, container};
use crate::read::{self, Medium, Piece};
use crate::store::mbox::keys::Keys;
use crate::store::mbox::scan::{Part, Scanner};
use crate::store::mbox::unframe::Unframe;
use crate::store::mbox::window::Window;
use crate::store::mbox::{Named, from_line};
use crate::sys::attr;
use crate::sys::dir::Root;
use crate::sys::direct::ALIGN;
use crate::verify::checks::{Checks, Claims};
use crate::verify::hashing::Hashing;
use crate::verify::{BodyProof, Piecer};
use std::fs::File;
use std::io;

/// How often a file is listed that changes meanwhile.
const ATTEMPTS: u32 = 2;

/// The messages of one file, and what kept some from being seen.
#[derive(Default)]
pub struct Contents {
    pub entries: Vec<Entry>,
    pub troubles: Vec<Trouble>,
    /// Of the file; `None` where it is not there.
    pub stat: Option<Stat>,
}

/// Lists the mailbox `dir`, which stands for a file. `count` hears how far that is.
pub fn list(root: &Root, number: u32, dir: &RelPath, by: &Reader<'_>) -> Contents {
    let mut contents = Contents::default();
    let file = container::file_of_mailbox(dir).unwrap_or_default();
    for attempt in 1..=ATTEMPTS {
        contents = Contents::default();
        let fail = |operation: &str, error: &io::Error| trouble(number, dir.as_bytes(), operation, error);
        let open = match root.open_file(&file).and_then(|open| Ok((attr::fstat(&open)?.1, open))) {
            Ok(open) => open,
            Err(error) => {
                contents.troubles.push(fail("open", &error));
                return contents;
            }
        };
        let (stat, open) = open;
        contents.stat = Some(stat);
        scan(&mut contents, &open, &stat, by, &|error| fail("read", error));
        match attr::fstat(&open) {
            Ok((_, after)) if after.same_file(&stat) => return contents,
            Ok(_) if attempt < ATTEMPTS => {}
            Ok(_) => contents.troubles.push(fail("list", &changed())),
            Err(error) => {
                contents.troubles.push(fail("stat", &error));
                return contents;
            }
        }
    }
    contents
}

fn scan(contents: &mut Contents, file: &File, stat: &Stat, by: &Reader<'_>, fail: &dyn Fn(&io::Error) -> Trouble) {
    let medium = by.medium(file);
    let steps = std::cell::Cell::new(0);
    let tick = || {
        steps.set(steps.get() + 1);
        (by.tick)(steps.get());
    };
    let mut scanner = Scanner::new(Window::new(&medium, stat.size, WINDOW, &tick));
    let (mut keys, mut validity) = (Keys::default(), None);
    let mut push = |(part, uid): (Part, Option<u32>)| {
        validity = validity.or(part.validity);
        let named = Named::of(&part, uid, validity, by.zone);
        let (name, stat) = (named.name(), Some(stat_of(stat, &named)));
        contents.entries.push(Entry {
            place: Place::Cur,
            name,
            ino: stat.map_or(0, |s| s.ino),
            kind: EntryKind::File,
            stat,
        });
    };
    for part in scanner.by_ref() {
        keys.push(part).into_iter().for_each(&mut push);
    }
    keys.finish().into_iter().for_each(&mut push);
    for (span, errno) in scanner.window().holes() {
        let error = errno.map_or_else(|| io::Error::other("not readable"), io::Error::from_raw_os_error);
        let mut trouble = fail(&error);
        trouble.detail += &format!(" (bytes {} to {}): messages may lie there", span.offset, span.end());
        contents.troubles.push(trouble);
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "changed while it was read")
}

/// A message as if it were a file: its own size, and the time at which it was received.
fn stat_of(file: &Stat, named: &Named) -> Stat {
    let mtime = named.received.map_or(file.mtime, |sec| Stamp { sec, nsec: 0 });
    Stat { size: named.message.length, mtime, ..*file }
}

/// A message in its file, opened.
struct Opened {
    file: File,
    /// Of the file.
    stat: Stat,
    named: Named,
}

fn open(root: &Root, number: u32, path: &RelPath) -> Result<Opened, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(number, path.as_bytes(), operation, &error);
    let no_place = || fail("read", io::Error::new(io::ErrorKind::InvalidInput, "says of no place in a file"));
    let (place, name) = container::split(path).ok_or_else(no_place)?;
    let named = Named::parse(name).ok_or_else(no_place)?;
    let file = root.open_file(&place).map_err(|e| fail("open", e))?;
    let stat = attr::fstat(&file).map_err(|e| fail("stat", e))?.1;
    modest(&stat_of(&stat, &named), MESSAGE_MAX).map_err(|e| fail("read", e))?;
    if named.message.end() > stat.size || !still_begins(&file, &named) {
        return Err(fail("read", changed()));
    }
    Ok(Opened { file, stat, named })
}

/// Whether the line that begins the message stands where it was seen; so too where the medium does not tell.
fn still_begins(file: &File, named: &Named) -> bool {
    let mut line = vec![0; named.line.length.min(from_line::LINE_MAX as u64) as usize];
    if named.received.is_none() {
        return true;
    }
    match Medium::read_at(file, &mut line, named.line.offset) {
        Ok(got) => got == line.len() && from_line::parse(&line).is_some() && line.ends_with(b"\n"),
        Err(_) => true,
    }
}

/// Reads one message and says what it is worth.
///
/// # Errors
/// A trouble where its file could not be opened or changed since it was listed.
pub fn copy(root: &Root, item: &ReadItem, reader: &Reader<'_>) -> Result<CopyFacts, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(item.root, item.path.as_bytes(), operation, &error);
    let Opened { file, stat, named } = open(root, item.root, &item.path)?;
    if item.file.is_some_and(|listed| !listed.same_file(&stat)) {
        return Err(fail("read", changed()));
    }
    let subject = Subject { item, file, stat: stat_of(&stat, &named), reader, past: None, begins: None };
    let facts = CopyFacts { cached: item.medium, ..examine(&subject, &named) };
    let after = attr::fstat(&subject.file).map_err(|e| fail("stat", e))?.1;
    if !after.same_file(&stat) {
        return Err(fail("read", changed()));
    }
    Ok(facts)
}

/// Reads it once; once more where the checks doubt it, for what its signatures say. A digest vouches for the message,
/// never for the fields and the line that the server keeps with it.
fn examine(subject: &Subject<'_>, named: &Named) -> CopyFacts {
    if let (Some(expected), false) = (subject.item.expected, named.harmed) {
        let (pass, harmed) = pass(subject, named, None, None);
        if pass.digest == Some(expected) && harmed.is_none() {
            return subject.known(pass, Encoding::Plain);
        }
    }
    let facts = checked(subject, named, subject.item.deep);
    let doubted = matches!(facts.evidence.verdict(), Verdict::Suspect | Verdict::Damaged);
    if doubted && !subject.item.deep { checked(subject, named, true) } else { facts }
}

fn checked(subject: &Subject<'_>, named: &Named, deep: bool) -> CopyFacts {
    let proof = deep.then(BodyProof::new);
    let (mut pass, harmed) = pass(subject, named, Some(Checks::new(Claims::default())), proof);
    let place = harmed.unwrap_or(0).min(pass.length);
    let harmed = harmed.is_some() || named.harmed;
    if let (Some(evidence), true) = (&mut pass.evidence, harmed) {
        let (kind, span) = (FaultKind::BrokenFrame, Span::new(place, 0));
        evidence.blame(Fault { check: Check::NativeHash, kind, span, errno: None });
    }
    let mut facts = subject.judged(pass, Encoding::Plain);
    if harmed {
        // The digest is the message's alone.
        facts.evidence.set(Check::Digest, Outcome::Unknown);
    }
    facts
}

/// One reading. Also says where a field of the server's own is not as any server writes it.
fn pass(
    subject: &Subject<'_>,
    named: &Named,
    mut checks: Option<Checks>,
    mut proof: Option<BodyProof>,
) -> (Pass, Option<u64>) {
    let (mut content, mut length, mut holes) = (Hashing::new(), 0u64, false);
    let harmed = stream(&*subject.medium(), named.message, subject.reader, &mut |piece| match piece {
        Piece::Bytes(bytes) => {
            content.feed(bytes);
            checks.iter_mut().for_each(|checks| checks.feed(bytes));
            proof.iter_mut().for_each(|proof| proof.feed(bytes));
            length += bytes.len() as u64;
        }
        Piece::Hole(span, errno) => {
            let span = Span::new(length, span.length);
            checks.iter_mut().for_each(|checks| checks.hole(span, FaultKind::ReadError, errno));
            proof.iter_mut().for_each(|proof| proof.hole(span));
            length = span.end();
            holes = true;
        }
    });
    let hashes = content.finish();
    let (evidence, envelope) = match checks.map(Checks::finish) {
        Some((mut evidence, envelope)) => {
            proof.and_then(BodyProof::finish).into_iter().for_each(|signed| evidence.sign(signed));
            (Some(evidence), envelope)
        }
        None => (None, None),
    };
    let pass = Pass {
        length,
        holes,
        digest: (!holes).then_some(hashes.digest),
        canonical: hashes.canonical.filter(|_| !holes),
        stored: None,
        evidence,
        envelope,
    };
    (pass, harmed)
}

/// Passes on what belongs to the message at a place in a file, as clients see it. Returns where a field that does not
/// belong to it is harmed.
fn stream(file: &dyn Medium, message: Span, by: &Reader<'_>, each: &mut dyn FnMut(Piece<'_>)) -> Option<u64> {
    let (mut unframe, mut progress) = (Unframe::new(), 0);
    let mut tick = || {
        progress += 1;
        (by.tick)(progress);
    };
    // From a page's start, so that a bad sector costs one page and not two.
    let page = message.offset / ALIGN as u64 * ALIGN as u64;
    let behind = read::Behind(file, page);
    let mut at = page;
    read::stream(&behind, message.end() - page, &mut vec![0; buffer(message.length)], &mut tick, &mut |piece| {
        match piece {
            Piece::Bytes(bytes) => {
                let skipped = usize::try_from(message.offset.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
                unframe.feed(&bytes[skipped..], &mut |bytes| each(Piece::Bytes(bytes)));
                at += bytes.len() as u64;
            }
            Piece::Hole(span, errno) => {
                let hit = message.clipped(Span::new(page + span.offset, span.length));
                at = page + span.end();
                if hit.length > 0 {
                    unframe.hole(hit.length, &mut |bytes| each(Piece::Bytes(bytes)));
                    each(Piece::Hole(hit, errno));
                }
            }
        }
    });
    unframe.finish(&mut |bytes| each(Piece::Bytes(bytes)));
    unframe.harmed
}

/// Bytes to read at a time: a small message at once.
fn buffer(length: u64) -> usize {
    usize::try_from(length + ALIGN as u64).unwrap_or(WINDOW).min(WINDOW).next_multiple_of(ALIGN)
}

/// Short digests of each piece of a message.
pub fn pieces(root: &Root, number: u32, path: &RelPath, cuts: &Cuts, by: &Reader<'_>) -> Result<Pieces, Trouble> {
    let Opened { file, named, .. } = open(root, number, path)?;
    let mut piecer = Piecer::new(cuts);
    stream(&by.medium(&file), named.message, by, &mut |piece| match piece {
        Piece::Bytes(bytes) => piecer.feed(bytes),
        Piece::Hole(span, _) => piecer.hole(span.length),
    });
    Ok(piecer.finish())
}
