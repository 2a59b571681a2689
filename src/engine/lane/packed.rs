//! Messages that lie in one file with others (mbox): lists them, and reads each in its range.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::converted;
use super::examine::{Pass, Reader, Subject, modest};
use super::serve::trouble;
use crate::model::container::Own;
use crate::model::evidence::{Check, Fault, FaultKind, Outcome, Verdict};
use crate::model::form::Form;
use crate::model::limits::{MESSAGE_MAX, WINDOW};
use crate::model::pieces::{Cuts, Pieces};
use crate::model::wire::{Entry, EntryKind, Fetched, Place, ReadItem, Trouble};
use crate::model::{CopyFacts, Digest, Encoding, RelPath, Span, Stamp, Stat, container};
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
use crate::verify::convert::{Converter, Converting};
use crate::verify::hashing::Hashing;
use crate::verify::{BodyProof, Piecer};
use std::fs::File;
use std::io::{self, Read};

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
            place: if part.internal { Place::Top } else { Place::Cur },
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
    let subject = Subject { item, file, stat: stat_of(&stat, &named), reader, past: None, begins: None, loaded: None };
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
    let (mut converter, mut turned, mut unframe) = (Converter::new(&subject.item.form), Vec::new(), Unframe::new());
    stream(&*subject.medium(), named.message, subject.reader, &mut unframe, &mut |piece| match piece {
        Piece::Bytes(bytes) => {
            turned.clear();
            converter.feed(bytes, &mut turned);
            content.feed(&turned);
            checks.iter_mut().for_each(|checks| checks.feed(&turned));
            proof.iter_mut().for_each(|proof| proof.feed(&turned));
            length += turned.len() as u64;
        }
        Piece::Hole(span, errno) => {
            let span = Span::new(length, span.length);
            checks.iter_mut().for_each(|checks| checks.hole(span, FaultKind::ReadError, errno));
            proof.iter_mut().for_each(|proof| proof.hole(span));
            length = span.end();
            holes = true;
        }
    });
    turned.clear();
    converter.finish(&mut turned);
    content.feed(&turned);
    checks.iter_mut().for_each(|checks| checks.feed(&turned));
    proof.iter_mut().for_each(|proof| proof.feed(&turned));
    length += turned.len() as u64;
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
        groups: Vec::new(),
        evidence,
        envelope,
    };
    (pass, unframe.harmed)
}

/// Passes on what belongs to the message at a place in a file, as clients see it.
fn stream(file: &dyn Medium, message: Span, by: &Reader<'_>, unframe: &mut Unframe, each: &mut dyn FnMut(Piece<'_>)) {
    let mut progress = 0;
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
}

/// Bytes to read at a time: a small message at once.
fn buffer(length: u64) -> usize {
    usize::try_from(length + ALIGN as u64).unwrap_or(WINDOW).min(WINDOW).next_multiple_of(ALIGN)
}

/// Short digests of each piece of a message.
pub fn pieces(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, cuts): (&Form, &Cuts),
    by: &Reader<'_>,
) -> Result<Pieces, Trouble> {
    let Opened { file, named, .. } = open(root, number, path)?;
    let mut piecer = Piecer::new(cuts);
    let (mut converter, mut turned) = (Converter::new(form), Vec::new());
    stream(&by.medium(&file), named.message, by, &mut Unframe::new(), &mut |piece| match piece {
        Piece::Bytes(bytes) => {
            turned.clear();
            converter.feed(bytes, &mut turned);
            piecer.feed(&turned);
        }
        Piece::Hole(span, _) => piecer.hole(span.length),
    });
    turned.clear();
    converter.finish(&mut turned);
    piecer.feed(&turned);
    Ok(piecer.finish())
}

/// What the file says around a message.
pub fn own(root: &Root, number: u32, path: &RelPath, by: &Reader<'_>) -> Result<Own, Trouble> {
    let Opened { file, named, .. } = open(root, number, path)?;
    let fail = |error: io::Error| trouble(number, path.as_bytes(), "read", &error);
    let mut line = vec![0; named.line.length.min(from_line::LINE_MAX as u64 + 2) as usize];
    let got = Medium::read_at(&file, &mut line, named.line.offset).map_err(fail)?;
    line.truncate(got);
    let (mut unframe, mut length, mut hole) = (Unframe::keeping(), 0u64, None);
    stream(&by.medium(&file), named.message, by, &mut unframe, &mut |piece| match piece {
        Piece::Bytes(bytes) => length += bytes.len() as u64,
        Piece::Hole(span, errno) => {
            length += span.length;
            hole = hole.or(Some(errno));
        }
    });
    // Of a message with a hole only what stands before that is known, and so is nothing.
    if let Some(errno) = hole {
        return Err(fail(errno.map_or_else(|| io::Error::other("not readable"), io::Error::from_raw_os_error)));
    }
    let begins = from_line::parse(&line).is_some();
    let empty = if line.ends_with(b"\r\n") { 2 } else { 1 };
    let (fields, head) = (std::mem::take(&mut unframe.fields), unframe.head);
    Ok(Own { line, begins, fields, head, length, empty })
}

/// Sends a message in another form: as it lies in its file, no other format can use it.
pub fn fetch(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, encode): (&Form, Option<Encoding>),
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    by: &Reader<'_>,
) -> Result<Fetched, Trouble> {
    let Opened { file, stat, named } = open(root, number, path)?;
    let (medium, wanted, mut hashing) = (by.medium(&file), encode.unwrap_or_default(), Hashing::new());
    let make = || -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Converting::new(form, Content::new(&medium, named.message))))
    };
    converted::deliver(&make, (form, wanted), &mut hashing, sink)
        .map_err(|e| trouble(number, path.as_bytes(), "convert", &e))?;
    let (hashes, mtime) = (hashing.finish(), stat_of(&stat, &named).mtime);
    Ok(Fetched { digest: hashes.digest, length: hashes.length, stored_as: wanted, mtime, xattrs: Vec::new() })
}

/// The message at a place in a file, as clients see it.
struct Content<'a> {
    file: &'a dyn Medium,
    left: Span,
    unframe: Unframe,
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Content<'_> {
    fn new(file: &dyn Medium, message: Span) -> Content<'_> {
        Content { file, left: message, unframe: Unframe::new(), ready: Vec::new(), at: 0, ended: false }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.ended {
            (self.at, self.ended) = (0, self.left.length == 0);
            self.ready.clear();
            let (unframe, ready) = (&mut self.unframe, &mut self.ready);
            if self.ended {
                unframe.finish(&mut |bytes| ready.extend_from_slice(bytes));
                continue;
            }
            let mut window = vec![0; WINDOW.min(usize::try_from(self.left.length).unwrap_or(WINDOW))];
            let got = self.file.read_at(&mut window, self.left.offset)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left = Span::new(self.left.offset + got as u64, self.left.length - got as u64);
            unframe.feed(&window[..got], &mut |bytes| ready.extend_from_slice(bytes));
        }
        let given = buffer.len().min(self.ready.len() - self.at);
        buffer[..given].copy_from_slice(&self.ready[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

/// Bytes of a file.
pub struct At<'a> {
    pub number: u32,
    pub path: &'a RelPath,
    pub span: Span,
    /// The file as it must still be.
    pub file: Option<Stat>,
}

/// Sends bytes of a file as they are stored.
pub fn range(
    root: &Root,
    at: &At<'_>,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    by: &Reader<'_>,
) -> Result<Fetched, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(at.number, at.path.as_bytes(), operation, &error);
    let file = root.open_file(at.path).map_err(|e| fail("open", e))?;
    let stat = attr::fstat(&file).map_err(|e| fail("stat", e))?.1;
    if at.file.is_some_and(|then| !then.same_file(&stat)) || at.span.end() > stat.size {
        return Err(fail("read", changed()));
    }
    let (mut hasher, mut progress, mut done) = (blake3::Hasher::new(), 0, Ok(()));
    let mut tick = || {
        progress += 1;
        (by.tick)(progress);
    };
    let medium = by.medium(&file);
    let behind = read::Behind(&medium, at.span.offset);
    let mut window = vec![0; buffer(at.span.length)];
    read::stream(&behind, at.span.length, &mut window, &mut tick, &mut |piece| match piece {
        Piece::Bytes(bytes) if done.is_ok() => {
            hasher.update(bytes);
            done = sink(bytes).map_err(|e| fail("send", e));
        }
        Piece::Hole(_, errno) if done.is_ok() => {
            let error = errno.map_or_else(|| io::Error::other("not readable"), io::Error::from_raw_os_error);
            done = Err(fail("read", error));
        }
        _ => {}
    });
    done?;
    let digest = Digest(*hasher.finalize().as_bytes());
    Ok(Fetched { digest, length: at.span.length, stored_as: Encoding::Plain, mtime: stat.mtime, xattrs: Vec::new() })
}
