//! One file, read once: hashes, checks, holes, and the other questions a parent may ask of its content.
//!
//! Runs in the lane only. Opens for reading through `sys`, never follows a link, never writes.

use super::gentle::{Gentle, Paced};
use super::past::{Past, Window};
use super::serve::trouble;
use super::storage::Maps;
use super::{converted, framed, packed, shared};
use crate::model::container::{self, Lies};
use crate::model::evidence::{Check, Evidence, Fault, FaultKind, Outcome, Verdict};
use crate::model::form::Form;
use crate::model::groups::{GROUP, Value};
use crate::model::limits::{COMPANION_MAX, MESSAGE_MAX, WHOLE_MESSAGE, WINDOW};
use crate::model::message::{CopyFacts, Encoding};
use crate::model::pieces::{Cuts, Pieces};
use crate::model::wire::{Effort, Fetched, ReadItem, ReadMode, Trouble};
use crate::model::{Digest, Format, RelPath, Span, Stat};
use crate::read::{self, Medium, Piece, Sequential};
use crate::store;
use crate::store::codec::{self, Failure};
use crate::sys::attr;
use crate::sys::dir::{Dir, Root};
use crate::sys::direct::{ALIGN, AlignedBuf};
use crate::verify::checks::{Checks, Claims};
use crate::verify::convert::Converting;
use crate::verify::groups::Grouper;
use crate::verify::hashing::Hashing;
use crate::verify::{BodyProof, Piecer};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};

thread_local! {
    /// Each reader's buffer: small messages lie in it whole, larger ones pass through it.
    pub(super) static BUFFER: RefCell<AlignedBuf> = RefCell::new(AlignedBuf::new(WHOLE_MESSAGE as usize + ALIGN));
}

/// Who reads: how that is told, and at which pace it is done.
pub struct Reader<'a> {
    pub tick: &'a dyn Fn(u64),
    pub pace: &'a Gentle,
    /// Where attachments lie that are no part of their messages' files.
    pub attachments: Option<&'a Root>,
    /// Seconds east of UTC of the clock that wrote dates without a zone.
    pub zone: i64,
    /// Maps of mailboxes that share files, as they were read last.
    pub maps: &'a Maps,
}

impl Reader<'_> {
    pub(super) fn medium<'a>(&'a self, file: &'a File) -> Paced<'a> {
        Paced { file, pace: self.pace, tick: self.tick }
    }
}

/// A file to examine: where it lies and how to name it when it fails.
pub(super) struct Subject<'a> {
    pub item: &'a ReadItem,
    pub file: File,
    pub stat: Stat,
    pub reader: &'a Reader<'a>,
    /// Where it was opened past the cache.
    pub past: Option<Window>,
    /// Where it begins, among others in its file.
    pub begins: Option<u64>,
    /// All of its bytes, where the device itself gave them.
    pub loaded: Option<&'a [u8]>,
}

/// Reads one file and says what it is worth.
///
/// # Errors
/// A trouble where it could not be opened or changed while it was read. Bytes that the medium did not give
/// are no trouble: they are holes in the evidence.
pub fn copy(dir: &Dir, item: &ReadItem, reader: &Reader<'_>) -> Result<CopyFacts, Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(item.root, item.path.as_bytes(), operation, &error);
    let name = item.path.name();
    let direct = if item.medium || matches!(item.effort, Effort::Closely(_)) {
        dir.open_direct(name).map_err(|e| fail("open", e))?
    } else {
        None
    };
    let (file, past) = match direct {
        Some(file) => (file, Some(Window::default())),
        None => (dir.open_file(name).map_err(|e| fail("open", e))?, None),
    };
    let stat = attr::fstat(&file).map_err(|e| fail("stat", e))?.1;
    let most = if item.mode == ReadMode::Companion { COMPANION_MAX } else { MESSAGE_MAX };
    modest(&stat, most).map_err(|e| fail("read", e))?;
    let subject = Subject { item, file, stat, reader, past, begins: None, loaded: None };
    let facts = examined(dir, &subject).map_err(|e| fail("open", e))?;
    let after = attr::fstat(&subject.file).map_err(|e| fail("stat", e))?.1;
    if (after.size, after.mtime) != (stat.size, stat.mtime) {
        return Err(fail("read", io::Error::new(io::ErrorKind::ResourceBusy, "changed while it was read")));
    }
    Ok(facts)
}

/// What a file in this folder is worth.
pub(super) fn examined(dir: &Dir, subject: &Subject<'_>) -> io::Result<CopyFacts> {
    BUFFER.with_borrow_mut(|buffer| subject.examine(dir, buffer.bytes_mut()))
}

/// What lies among others in a file, as if it were a file.
pub(super) struct Among<'a> {
    pub medium: Paced<'a>,
    pub begins: u64,
    pub size: u64,
}

impl Medium for Among<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        self.medium.read_at(&mut buffer[..most], self.begins + offset)
    }
}

/// A file of which no place is read twice.
struct Once<'a>(Paced<'a>);

impl Medium for Once<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn unit_end(&self, _: u64) -> Option<u64> {
        None
    }
}

impl Subject<'_> {
    fn examine(&self, dir: &Dir, buffer: &mut [u8]) -> io::Result<CopyFacts> {
        let known = match self.medium().read_at(&mut buffer[..ALIGN], 0) {
            // Some file systems take the flag and refuse the read.
            Err(error) if self.past.is_some() && error.kind() == io::ErrorKind::InvalidInput => {
                let file = dir.open_file(self.item.path.name())?;
                return Subject { file, past: None, ..*self }.examine(dir, buffer);
            }
            known => known.unwrap_or(0),
        };
        let encoding = match self.item.mode {
            ReadMode::Stored => Encoding::Plain,
            _ => codec::detect(&buffer[..known.min(codec::DETECT)]),
        };
        let mut facts = if !self.item.form.keeps_content() {
            self.turned(encoding, buffer)?
        } else if self.item.format == Format::Sdbox && self.item.mode == ReadMode::Message {
            framed::copy(self, None, buffer)
        } else {
            match encoding {
                Encoding::Plain | Encoding::Crypted => self.plain(encoding, buffer),
                _ => self.compressed(encoding, buffer),
            }
        };
        facts.closely = self.past.is_some() && matches!(self.item.effort, Effort::Closely(_));
        facts.cached = self.item.medium && self.past.is_none() && self.loaded.is_none();
        Ok(facts)
    }

    /// What the message is in another form. What is not all there can be turned into nothing else.
    fn turned(&self, encoding: Encoding, buffer: &mut [u8]) -> io::Result<CopyFacts> {
        let frame =
            (encoding == Encoding::Sdbox).then(|| framed::frame(&*self.medium(), self.stat.size, false, buffer));
        match frame.flatten().is_some_and(|frame| frame.partial) {
            true => Ok(framed::copy(self, None, buffer)),
            false => converted::copy(self, encoding, buffer),
        }
    }

    pub(super) fn medium(&self) -> Box<dyn Medium + '_> {
        if let Some(bytes) = self.loaded {
            return Box::new(bytes);
        }
        let medium = self.reader.medium(&self.file);
        if let Some(begins) = self.begins {
            return Box::new(Among { medium, begins, size: self.stat.size });
        }
        match &self.past {
            Some(window) => Box::new(Past { medium, size: self.stat.size, window, effort: &self.item.effort }),
            None if self.item.effort == Effort::Swift => Box::new(Once(medium)),
            None => Box::new(medium),
        }
    }

    fn start(&self, encoding: Encoding) -> CopyFacts {
        CopyFacts { stat: self.stat, encoding, ..CopyFacts::default() }
    }

    fn claims(&self) -> Claims {
        Claims { size: self.item.size_claim, crlf: self.item.crlf_claim }
    }

    fn checks(&self, encoding: Encoding) -> Checks {
        match encoding {
            Encoding::Crypted => Checks::opaque(self.claims()),
            _ => Checks::new(self.claims()),
        }
    }

    /// The deep tier, where it is to run whatever the cheap one says.
    fn proof(&self, encoding: Encoding) -> Option<BodyProof> {
        (self.item.deep && self.is_undecided(encoding)).then(BodyProof::new)
    }

    /// Whether the checks judge the content, or are asked to although a digest does.
    fn is_undecided(&self, encoding: Encoding) -> bool {
        let message = self.item.mode == ReadMode::Message && encoding != Encoding::Crypted;
        message && (self.item.expected.is_none() || self.item.deep)
    }

    /// The deep tier on what the cheap one doubts: the sender may have written it just so, and among copies it tells
    /// which is right. Read once more, for there is little of it.
    fn doubted(&self, encoding: Encoding, buffer: &mut [u8], evidence: &mut Evidence) {
        let doubted = matches!(evidence.verdict(), Verdict::Suspect | Verdict::Damaged);
        if self.item.deep || !doubted || !self.is_undecided(encoding) {
            return;
        }
        let (mut proof, mut progress) = (BodyProof::new(), 0);
        let mut count = || {
            progress += 1;
            (self.reader.tick)(progress);
        };
        if encoding == Encoding::Plain {
            read::stream(&*self.medium(), self.stat.size, buffer, &mut count, &mut |piece| match piece {
                Piece::Bytes(bytes) => proof.feed(bytes),
                Piece::Hole(span, _) => proof.hole(span),
            });
        } else {
            let (mut raw, medium) = (|_: &[u8]| (), self.medium());
            let reader = Box::new(Sequential::new(&*medium, self.stat.size, &mut raw));
            let mut feed = |bytes: &[u8]| {
                count();
                proof.feed(bytes);
            };
            if decode(encoding, reader, buffer, &mut feed).is_err() {
                return;
            }
        }
        proof.finish().into_iter().for_each(|signed| evidence.sign(signed));
    }

    /// Bytes as stored are the message's bytes.
    fn plain(&self, encoding: Encoding, buffer: &mut [u8]) -> CopyFacts {
        let whole = self.stat.size <= WHOLE_MESSAGE;
        let window = if whole { buffer.len() } else { WINDOW };
        let buffer = &mut buffer[..window];
        // A large message that should equal a known digest is hashed first: the checks would only be needed
        // if it does not, and then a second reading is cheap beside the repair.
        let hash_only = self.item.mode != ReadMode::Message || self.item.expected.is_some();
        let gaps = match encoding {
            Encoding::Plain if !whole && self.item.mode == ReadMode::Message => read::gaps(&self.file, self.stat.size),
            _ => Vec::new(),
        };
        // No such content was ever recorded as whole, so that no digest needs to be known.
        if let Some(pass) = self.gapped(&gaps, buffer) {
            return self.judged(pass, encoding);
        }
        let mut pass = self.pass(encoding, buffer, !hash_only);
        if hash_only && !pass.holes && pass.digest.is_some() {
            if self.item.mode != ReadMode::Message || pass.digest == self.item.expected {
                return self.known(pass, encoding);
            }
            pass = self.pass(encoding, buffer, true);
        } else if hash_only {
            // Holes: judged by what was read, without bothering the medium again for a whole pass of checks.
            pass.evidence.get_or_insert_with(Evidence::default);
        }
        if let (Some(evidence), Some(_)) = (&mut pass.evidence, pass.digest) {
            self.doubted(encoding, buffer, evidence);
        }
        self.judged(pass, encoding)
    }

    /// One reading in windows, feeding the hasher and, if asked, the checks.
    pub(super) fn pass(&self, encoding: Encoding, buffer: &mut [u8], check: bool) -> Pass {
        let mut hashing = Hashing::new();
        let mut checks = check.then(|| self.checks(encoding));
        let mut proof = self.proof(encoding).filter(|_| check);
        let mut holes = Vec::new();
        let grouped =
            self.item.groups && encoding == Encoding::Plain && self.stat.size > GROUP && self.begins.is_none();
        let mut grouper = grouped.then(|| Grouper::new(self.stat.size));
        let mut progress = 0;
        let mut tick = || {
            progress += 1;
            (self.reader.tick)(progress);
        };
        let done = read::stream(&*self.medium(), self.stat.size, buffer, &mut tick, &mut |piece| match piece {
            Piece::Bytes(bytes) => {
                hashing.feed(bytes);
                if let Some(grouper) = &mut grouper {
                    grouper.feed(bytes);
                }
                if let Some(checks) = &mut checks {
                    checks.feed(bytes);
                }
                if let Some(proof) = &mut proof {
                    proof.feed(bytes);
                }
            }
            Piece::Hole(span, errno) => {
                if let Some(proof) = &mut proof {
                    proof.hole(span);
                }
                holes.push((span, errno));
                if let Some(checks) = &mut checks {
                    checks.hole(span, FaultKind::ReadError, errno);
                }
            }
        });
        let hashes = hashing.finish();
        let (evidence, envelope) = match checks.map(Checks::finish) {
            Some((mut evidence, envelope)) => {
                proof.and_then(BodyProof::finish).into_iter().for_each(|signed| evidence.sign(signed));
                (Some(evidence), envelope)
            }
            None => (None, None),
        };
        let mut pass = Pass {
            length: done.length,
            holes: done.holes > 0,
            digest: (done.holes == 0).then_some(hashes.digest),
            canonical: hashes.canonical.filter(|_| done.holes == 0),
            stored: None,
            groups: grouper
                .filter(|_| done.holes == 0)
                .and_then(|g| g.finish().into_iter().collect())
                .unwrap_or_default(),
            evidence,
            envelope,
        };
        if !check && pass.holes {
            let evidence = pass.evidence.get_or_insert_with(Evidence::default);
            for (span, errno) in holes {
                evidence.blame(Fault { check: Check::Read, kind: FaultKind::ReadError, span, errno });
            }
        }
        pass
    }

    /// Reads all but the gaps of a message, which are damage: anybody can make gigabytes of them that take no room.
    /// `None` where there are none, or one lies where bytes may be anything.
    fn gapped(&self, gaps: &[Span], buffer: &mut [u8]) -> Option<Pass> {
        gaps.first()?;
        let mut checks = self.checks(Encoding::Plain);
        let (mut at, mut holes, mut progress) = (0, false, 0);
        let mut tick = || {
            progress += 1;
            (self.reader.tick)(progress);
        };
        for gap in gaps.iter().copied().chain([Span::new(self.stat.size, 0)]) {
            let medium = self.medium();
            let behind = read::Behind(&*medium, at);
            let done = read::stream(&behind, gap.offset - at, buffer, &mut tick, &mut |piece| match piece {
                Piece::Bytes(bytes) => checks.feed(bytes),
                Piece::Hole(span, errno) => {
                    checks.hole(Span::new(at + span.offset, span.length), FaultKind::ReadError, errno);
                }
            });
            holes |= done.holes > 0;
            // A file that shrank ends here; that it changed is noticed by its caller.
            if gap.length > 0 && !checks.zeros(gap) {
                return None;
            }
            at = gap.end();
        }
        let (evidence, envelope) = checks.finish();
        let (length, evidence) = (self.stat.size, Some(evidence));
        Some(Pass {
            length,
            holes,
            digest: None,
            canonical: None,
            stored: None,
            groups: Vec::new(),
            evidence,
            envelope,
        })
    }

    /// Decodes while hashing both forms. A decoder cannot go on behind a hole or a broken frame.
    fn compressed(&self, encoding: Encoding, buffer: &mut [u8]) -> CopyFacts {
        let mut stored = blake3::Hasher::new();
        let mut stored_bytes = 0u64;
        let mut raw = |bytes: &[u8]| {
            stored.update(bytes);
            stored_bytes += bytes.len() as u64;
        };
        let mut hashing = Hashing::new();
        let mut checks = self.checks(encoding);
        let mut proof = self.proof(encoding);
        let mut progress = 0;
        let failed = {
            let medium = self.medium();
            let reader = Box::new(Sequential::new(&*medium, self.stat.size, &mut raw));
            let mut feed = |bytes: &[u8]| {
                progress += 1;
                (self.reader.tick)(progress);
                hashing.feed(bytes);
                checks.feed(bytes);
                if let Some(proof) = &mut proof {
                    proof.feed(bytes);
                }
            };
            decode(encoding, reader, &mut buffer[..WINDOW], &mut feed).err()
        };
        let hashes = hashing.finish();
        let (mut evidence, envelope) = checks.finish();
        if let Some(error) = &failed {
            self.decoding_failed(error, stored_bytes, &mut evidence);
        } else {
            evidence.set(Check::NativeHash, if has_checksum(encoding) { Outcome::Pass } else { Outcome::Absent });
            proof.and_then(BodyProof::finish).into_iter().for_each(|signed| evidence.sign(signed));
            self.doubted(encoding, &mut buffer[..WINDOW], &mut evidence);
        }
        let whole = failed.is_none();
        let pass = Pass {
            length: hashes.length,
            holes: evidence.get(Check::Read) == Outcome::Fail,
            digest: whole.then_some(hashes.digest),
            canonical: hashes.canonical.filter(|_| whole),
            stored: whole.then(|| Digest(*stored.finalize().as_bytes())),
            groups: Vec::new(),
            evidence: Some(evidence),
            envelope,
        };
        self.judged(pass, encoding)
    }

    fn decoding_failed(&self, error: &io::Error, stored_bytes: u64, evidence: &mut Evidence) {
        let rest = Span::new(stored_bytes, self.stat.size.saturating_sub(stored_bytes));
        let failure = codec::failure(error);
        if failure == Failure::TooLarge {
            evidence.set(Check::NativeHash, Outcome::Unknown);
        } else if failure == Failure::Medium {
            let kind = FaultKind::ReadError;
            evidence.blame(Fault { check: Check::Read, kind, span: rest, errno: error.raw_os_error() });
        } else {
            let kind = FaultKind::BrokenCompression;
            let from = stored_bytes.min(self.stat.size);
            evidence.blame(Fault {
                check: Check::NativeHash,
                kind,
                span: Span::new(
                    from.saturating_sub(WINDOW as u64),
                    self.stat.size - from.saturating_sub(WINDOW as u64),
                ),
                errno: None,
            });
        }
    }

    /// The content is what was expected (or nothing was to be checked): no check runs.
    pub(super) fn known(&self, pass: Pass, encoding: Encoding) -> CopyFacts {
        let mut facts = self.start(encoding);
        facts.evidence.set(Check::Read, Outcome::Pass);
        if self.item.expected.is_some() {
            let equal = pass.digest == self.item.expected;
            facts.evidence.set(Check::Digest, if equal { Outcome::Pass } else { Outcome::Fail });
        }
        facts.length = pass.length;
        facts.digest = pass.digest;
        facts.canonical = pass.canonical;
        facts.groups = pass.groups;
        facts
    }

    pub(super) fn judged(&self, pass: Pass, encoding: Encoding) -> CopyFacts {
        let mut facts = self.start(encoding);
        facts.evidence = pass.evidence.unwrap_or_default();
        facts.evidence.opaque |= encoding == Encoding::Crypted;
        facts.length = pass.length;
        facts.digest = pass.digest;
        facts.canonical = pass.canonical;
        facts.stored = pass.stored;
        facts.groups = pass.groups;
        facts.envelope = pass.envelope;
        match (self.item.expected, facts.digest) {
            (Some(expected), Some(found)) if expected == found => facts.evidence.set(Check::Digest, Outcome::Pass),
            (Some(_), Some(_)) => facts.evidence.blame(Fault {
                check: Check::Digest,
                kind: FaultKind::DigestMismatch,
                span: Span::new(0, facts.length),
                errno: None,
            }),
            (Some(_), None) => facts.evidence.set(Check::Digest, Outcome::Unknown),
            (None, _) => {}
        }
        debug_assert!(!pass.holes || facts.evidence.verdict() == Verdict::Unreadable);
        facts
    }
}

/// What one reading gave.
pub(super) struct Pass {
    pub length: u64,
    pub holes: bool,
    pub digest: Option<Digest>,
    pub canonical: Option<Digest>,
    pub stored: Option<Digest>,
    pub groups: Vec<Value>,
    pub evidence: Option<Evidence>,
    pub envelope: Option<crate::model::Envelope>,
}

fn has_checksum(encoding: Encoding) -> bool {
    // Dovecot writes zstd and lz4 frames without one; the others always carry one.
    matches!(encoding, Encoding::Gzip | Encoding::Bzip2 | Encoding::Xz)
}

/// Decodes `reader` to its end.
fn decode<'a>(
    encoding: Encoding,
    reader: Box<dyn Read + 'a>,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let mut decoder = codec::decoder(encoding, reader)?;
    loop {
        match decoder.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => each(&buffer[..got]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Refuses what is larger than it can be: reading it would take hours, and anybody can make such a file.
pub(super) fn modest(stat: &Stat, most: u64) -> io::Result<()> {
    if stat.size <= most {
        return Ok(());
    }
    let text = format!("larger than a file of its kind can be ({} MiB)", most >> 20);
    Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
}

/// Opens a file that is to be decoded as a whole.
fn open(root: &Root, number: u32, path: &RelPath) -> Result<(File, Stat, Encoding), Trouble> {
    let fail = |operation: &str, error: io::Error| trouble(number, path.as_bytes(), operation, &error);
    let file = root.open_file(path).map_err(|e| fail("open", e))?;
    let stat = attr::fstat(&file).map_err(|e| fail("stat", e))?.1;
    modest(&stat, MESSAGE_MAX).map_err(|e| fail("read", e))?;
    let mut magic = [0; codec::DETECT];
    let known = Medium::read_at(&file, &mut magic, 0).map_err(|e| fail("read", e))?;
    Ok((file, stat, codec::detect(&magic[..known])))
}

/// Short digests of each piece of the decoded content. A decoder ends at the first byte that the medium did not give.
pub fn pieces(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, cuts): (&Form, &Cuts),
    by: &Reader<'_>,
) -> Result<Pieces, Trouble> {
    match container::lies(path) {
        Lies::InMbox => return packed::pieces(root, number, path, (form, cuts), by),
        Lies::InStorage => return shared::pieces(root, number, path, (form, cuts), by),
        Lies::Alone => {}
    }
    let (file, stat, encoding) = open(root, number, path)?;
    let mut piecer = Piecer::new(cuts);
    let medium = by.medium(&file);
    let (mut buffer, mut progress) = (vec![0; WINDOW], 0);
    let mut count = || {
        progress += 1;
        (by.tick)(progress);
    };
    let framed = store::format_of(&path.parent().unwrap_or_default(), []) == Format::Sdbox;
    if !form.keeps_content() {
        let mut raw = |_: &[u8]| count();
        let decoder = codec::decoder(encoding, Box::new(Sequential::new(&medium, stat.size, &mut raw)));
        let mut reader = Converting::new(form, decoder.map_err(|e| trouble(number, path.as_bytes(), "decode", &e))?);
        // What came before a failure is still worth comparing.
        while let Ok(got @ 1..) = reader.read(&mut buffer) {
            piecer.feed(&buffer[..got]);
        }
    } else if let Some(frame) = framed.then(|| framed::frame(&medium, stat.size, false, &mut buffer)).flatten() {
        let behind = read::Behind(&medium, frame.message.offset);
        read::stream(&behind, frame.message.length, &mut buffer, &mut count, &mut |piece| match piece {
            Piece::Bytes(bytes) => piecer.feed(bytes),
            Piece::Hole(span, _) => piecer.hole(span.length),
        });
    } else if matches!(encoding, Encoding::Plain | Encoding::Crypted) {
        read::stream(&medium, stat.size, &mut buffer, &mut count, &mut |piece| match piece {
            Piece::Bytes(bytes) => piecer.feed(bytes),
            Piece::Hole(span, _) => piecer.hole(span.length),
        });
    } else {
        let mut raw = |_: &[u8]| ();
        let reader = Box::new(Sequential::new(&medium, stat.size, &mut raw));
        let mut feed = |bytes: &[u8]| {
            count();
            piecer.feed(bytes);
        };
        // What came before a failure is still worth comparing.
        drop(decode(encoding, reader, &mut buffer, &mut feed));
    }
    Ok(piecer.finish())
}

/// Sends a file's bytes: as stored, or decoded and encoded as `encode` where that differs. The digest is that
/// of the decoded content, computed from the bytes that were sent.
pub fn fetch(
    root: &Root,
    number: u32,
    path: &RelPath,
    (form, encode): (&Form, Option<Encoding>),
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    by: &Reader<'_>,
) -> Result<Fetched, Trouble> {
    match container::lies(path) {
        Lies::InMbox => return packed::fetch(root, number, path, (form, encode), sink, by),
        Lies::InStorage => return shared::fetch(root, number, path, (form, encode), sink, by),
        Lies::Alone => {}
    }
    let fail = |operation: &str, error: io::Error| trouble(number, path.as_bytes(), operation, &error);
    let (file, stat, stored_as) = open(root, number, path)?;
    let medium = by.medium(&file);
    let xattrs = attr::xattrs(&file).map_err(|e| fail("read attributes", e))?;
    let wanted = encode.unwrap_or(stored_as);
    let mut hashing = Hashing::new();
    let mut progress = 0;
    let mut count = || {
        progress += 1;
        (by.tick)(progress);
    };
    let mut sent = Ok(());
    if converted::is_stored_so(form, stored_as, wanted) {
        let mut pass_on = |bytes: &[u8]| {
            count();
            for part in bytes.chunks(WINDOW) {
                if sent.is_ok() {
                    sent = sink(part);
                }
            }
        };
        let reader = Box::new(Sequential::new(&medium, stat.size, &mut pass_on));
        decode(stored_as, reader, &mut vec![0; WINDOW], &mut |bytes| hashing.feed(bytes))
            .map_err(|e| fail("read", e))?;
    } else {
        let make = || -> io::Result<Box<dyn Read + '_>> {
            let stored = Box::new(read::Quiet::new(&medium, stat.size));
            Ok(Box::new(Converting::new(form, codec::decoder(stored_as, stored)?)))
        };
        let mut counted = |bytes: &[u8]| {
            count();
            sink(bytes)
        };
        converted::deliver(&make, (form, wanted), &mut hashing, &mut counted).map_err(|e| fail("convert", e))?;
    }
    sent.map_err(|e| fail("send", e))?;
    let hashes = hashing.finish();
    Ok(Fetched { digest: hashes.digest, length: hashes.length, stored_as: wanted, mtime: stat.mtime, xattrs })
}
