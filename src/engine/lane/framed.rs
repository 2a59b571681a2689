//! Messages that a server wrote into a frame (sdbox, mdbox): digest and checks are of what is in it, and the frame is judged by
//! itself.
//!
//! Runs in the lane only, on files that are open already.

use super::attached;
use super::examine::{Pass, Subject};
use crate::model::evidence::{Check, Evidence, Fault, FaultKind, Outcome, Verdict};
use crate::model::limits::WINDOW;
use crate::model::{CopyFacts, Digest, Encoding, Span};
use crate::read::{self, Medium, Piece};
use crate::store::codec;
use crate::store::dovecot::{Guid, message_guid};
use crate::store::sdbox::frame::{self, Frame};
use crate::store::sdbox::parts::Part;
use crate::sys::dir::Root;
use crate::sys::direct::ALIGN;
use crate::verify::BodyProof;
use crate::verify::checks::{Checks, Claims};
use crate::verify::hashing::Hashing;

/// What stands around the message, in a file of its own or `among` others; `None` where the medium does not give both ends of the file.
pub fn frame(file: &dyn Medium, size: u64, among: bool, buffer: &mut [u8]) -> Option<Frame> {
    let mut ends = [Vec::new(), Vec::new()];
    let places = [(0, frame::HEAD), (size.saturating_sub(frame::TAIL as u64), frame::TAIL)];
    for ((from, most), end) in places.into_iter().zip(&mut ends) {
        *end = part(file, from, most, buffer)?;
    }
    Some(if among { frame::read_one(&ends[0], &ends[1], size) } else { frame::read(&ends[0], &ends[1], size) })
}

/// At most `most` bytes from `from` on; `None` where the medium does not give all of them.
fn part(file: &dyn Medium, from: u64, most: usize, buffer: &mut [u8]) -> Option<Vec<u8>> {
    // Whole aligned pages: reads past the cache take nothing less.
    let page = from / ALIGN as u64 * ALIGN as u64;
    let skipped = (from - page) as usize;
    let room = buffer.get_mut(..(skipped + most).next_multiple_of(ALIGN))?;
    let mut bytes = Vec::new();
    match file.read_at(room, page) {
        Ok(got) => bytes.extend_from_slice(room.get(..got)?),
        // A bad sector near it may take it along at first: then page by page.
        Err(_) => {
            let length = room.len() as u64;
            let done = read::stream(&read::Behind(file, page), length, room, &mut || {}, &mut |piece| {
                if let Piece::Bytes(more) = piece {
                    bytes.extend_from_slice(more);
                }
            });
            if done.holes > 0 {
                return None;
            }
        }
    }
    bytes.truncate(skipped + most);
    bytes.drain(..skipped.min(bytes.len()));
    Some(bytes)
}

/// Reads a framed message once; once more where the checks doubt it, for what its signatures say. A digest vouches for
/// the message, never for the frame around it. `guid` is what the server's index says that it has.
pub fn copy(subject: &Subject<'_>, guid: Option<Guid>, buffer: &mut [u8]) -> CopyFacts {
    let mut frame = frame(&*subject.medium(), subject.stat.size, subject.begins.is_some(), buffer);
    if let (Some(frame), Some(guid)) = (&mut frame, guid)
        && frame.guid.as_deref().map(message_guid).is_some_and(|own| own != guid)
    {
        let end = frame.message.end();
        frame.broken.push(Span::new(end, subject.stat.size.saturating_sub(end)));
    }
    let sound = frame.as_ref().is_some_and(|frame| frame.broken.is_empty() && frame.short_of.is_none());
    let parts = frame.as_ref().and_then(|frame| Some((frame, frame.parts.as_deref()?)));
    let plain = |frame: &Frame, buffer: &mut [u8]| !is_encoded(&*subject.medium(), frame.message, buffer);
    if let (Some((frame, parts)), Some(root), true) = (parts, subject.reader.attachments, sound)
        && plain(frame, buffer)
    {
        return with_parts(subject, (frame, parts), root, buffer);
    }
    let mut facts = alone(subject, frame.as_ref(), sound, buffer);
    // Its own file is proven; what lies elsewhere was not looked at.
    if parts.is_some() && facts.evidence.get(Check::Digest) == Outcome::Pass {
        facts.evidence.set(Check::Digest, Outcome::Unknown);
        facts.evidence.opaque = true;
    }
    facts
}

/// What stands in the file itself.
fn alone(subject: &Subject<'_>, frame: Option<&Frame>, sound: bool, buffer: &mut [u8]) -> CopyFacts {
    if let (Some(frame), Some(expected), true) = (frame, subject.item.expected, sound) {
        let pass = hashed(subject, frame.message, buffer);
        if pass.digest == Some(expected) {
            let marks = frame.marks();
            return CopyFacts { marks, ..subject.known(pass, encoding(subject)) };
        }
    }
    let facts = checked(subject, frame, buffer, subject.item.deep);
    let doubted = matches!(facts.evidence.verdict(), Verdict::Suspect | Verdict::Damaged);
    if doubted && !subject.item.deep { checked(subject, frame, buffer, true) } else { facts }
}

/// A message whose attachments lie apart. Its digest is that of its own file.
fn with_parts(subject: &Subject<'_>, whole: (&Frame, &[Part]), root: &Root, buffer: &mut [u8]) -> CopyFacts {
    let pass = hashed(subject, whole.0.message, buffer);
    let (mut evidence, mut envelope) = attached::evidence(subject, whole, root, subject.item.deep);
    let doubted = matches!(evidence.verdict(), Verdict::Suspect | Verdict::Damaged);
    if doubted && !subject.item.deep {
        (evidence, envelope) = attached::evidence(subject, whole, root, true);
    }
    let marks = whole.0.marks();
    let mut facts = subject.judged(Pass { evidence: Some(evidence), envelope, ..pass }, encoding(subject));
    if facts.evidence.faults().iter().any(|fault| fault.kind == FaultKind::Attachment) {
        facts.evidence.set(Check::Digest, Outcome::Unknown);
    }
    CopyFacts { marks, ..facts }
}

/// How the message is stored: what lies among others is no file that could be put anywhere else as it is.
fn encoding(subject: &Subject<'_>) -> Encoding {
    if subject.begins.is_some() { Encoding::Plain } else { Encoding::Sdbox }
}

/// Digests only, of a message that should be one that is known.
fn hashed(subject: &Subject<'_>, message: Span, buffer: &mut [u8]) -> Pass {
    let (mut hashing, mut progress) = (Hashing::new(), 0);
    let mut tick = || {
        progress += 1;
        (subject.reader.tick)(progress);
    };
    let medium = subject.medium();
    let behind = read::Behind(&*medium, message.offset);
    let done = read::stream(&behind, message.length, &mut buffer[..WINDOW], &mut tick, &mut |piece| {
        if let Piece::Bytes(bytes) = piece {
            hashing.feed(bytes);
        }
    });
    let (whole, hashes) = (done.holes == 0, hashing.finish());
    Pass {
        length: done.length,
        holes: !whole,
        digest: whole.then_some(hashes.digest),
        canonical: hashes.canonical.filter(|_| whole),
        stored: None,
        groups: Vec::new(),
        evidence: None,
        envelope: None,
    }
}

fn checked(subject: &Subject<'_>, frame: Option<&Frame>, buffer: &mut [u8], deep: bool) -> CopyFacts {
    let size = subject.stat.size;
    let message = frame.map_or(Span::new(0, size), |frame| frame.message);
    let opaque = frame.is_some_and(|frame| frame.partial) || is_encoded(&*subject.medium(), message, buffer);
    let mut checks = if opaque { Checks::opaque(Claims::default()) } else { Checks::new(claims(frame)) };
    let mut proof = (deep && !opaque).then(BodyProof::new);
    let (mut file, mut content) = (blake3::Hasher::new(), Hashing::new());
    let (mut at, mut progress, mut outside) = (0, 0, Vec::new());
    let mut tick = || {
        progress += 1;
        (subject.reader.tick)(progress);
    };
    let done = read::stream(&*subject.medium(), size, &mut buffer[..WINDOW], &mut tick, &mut |piece| match piece {
        Piece::Bytes(bytes) => {
            file.update(bytes);
            let part = within(message, at, bytes);
            content.feed(part);
            checks.feed(part);
            proof.iter_mut().for_each(|proof| proof.feed(part));
            at += bytes.len() as u64;
        }
        Piece::Hole(span, errno) => {
            let hit = message.clipped(span);
            if hit.length > 0 {
                let inside = Span::new(hit.offset - message.offset, hit.length);
                checks.hole(inside, FaultKind::ReadError, errno);
                proof.iter_mut().for_each(|proof| proof.hole(inside));
            } else {
                outside.push(Fault { check: Check::Read, kind: FaultKind::ReadError, span, errno });
            }
            at = span.end();
        }
    });
    let (mut evidence, envelope) = checks.finish();
    outside.into_iter().for_each(|fault| evidence.blame(fault));
    proof.and_then(BodyProof::finish).into_iter().for_each(|signed| evidence.sign(signed));
    frame.into_iter().for_each(|frame| judge(frame, &mut evidence));
    let whole = done.holes == 0;
    let inner = content.finish();
    let pass = Pass {
        length: inner.length,
        holes: !whole,
        digest: whole.then_some(inner.digest),
        canonical: inner.canonical.filter(|_| whole),
        stored: (whole && subject.begins.is_none()).then(|| Digest(*file.finalize().as_bytes())),
        groups: Vec::new(),
        evidence: Some(evidence),
        envelope,
    };
    let mut facts = subject.judged(pass, encoding(subject));
    facts.marks = frame.and_then(Frame::marks);
    if facts.evidence.faults().iter().any(|fault| fault.kind == FaultKind::BrokenFrame) {
        facts.evidence.set(Check::Digest, Outcome::Unknown);
    }
    facts
}

/// The sizes that a sound frame claims of its message.
fn claims(frame: Option<&Frame>) -> Claims {
    let Some(frame) = frame else { return Claims::default() };
    match (frame.short_of, frame.broken.is_empty()) {
        (Some(size), _) => Claims { size: Some(size), crlf: None },
        (None, true) => Claims { size: Some(frame.message.length), crlf: frame.crlf },
        (None, false) => Claims::default(),
    }
}

/// The part of `bytes`, which stand at `at` in the file, that belongs to the message.
fn within(message: Span, at: u64, bytes: &[u8]) -> &[u8] {
    let hit = message.clipped(Span::new(at, bytes.len() as u64));
    let from = (hit.offset.max(at) - at) as usize;
    bytes.get(from..from + hit.length as usize).unwrap_or_default()
}

/// Whether the message is stored compressed or encrypted, as a plug-in of the server does: only a digest knows it.
fn is_encoded(file: &dyn Medium, message: Span, buffer: &mut [u8]) -> bool {
    let first = part(file, message.offset, codec::DETECT, buffer).unwrap_or_default();
    codec::detect(&first) != Encoding::Plain
}

fn judge(frame: &Frame, evidence: &mut Evidence) {
    for &span in &frame.broken {
        evidence.blame(Fault { check: Check::NativeHash, kind: FaultKind::BrokenFrame, span, errno: None });
    }
}
