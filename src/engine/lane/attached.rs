//! Messages whose attachments the server keeps apart: each attachment is proven by the hash in its name, and the message
//! is judged as a whole, with every attachment in its place.
//!
//! Runs in the lane only. Digests stay those of what stands in the message's own file: they are known with and without the
//! folder of attachments.

use super::examine::Subject;
use crate::model::Span;
use crate::model::evidence::{Check, Evidence, Fault, FaultKind};
use crate::model::limits::WINDOW;
use crate::model::message::Envelope;
use crate::read::{Behind, Sequential};
use crate::report::base64;
use crate::store::sdbox::frame::Frame;
use crate::store::sdbox::parts::Part;
use crate::sys::dir::{Dir, Root};
use crate::verify::BodyProof;
use crate::verify::checks::{Checks, Claims};
use sha1::Digest as _;
use std::fs::File;
use std::io::{self, Read};

/// What the whole message is worth. An attachment that is gone, or is not what its name promises, is damage of it.
pub fn evidence(
    subject: &Subject<'_>,
    (frame, parts): (&Frame, &[Part]),
    root: &Root,
    deep: bool,
) -> (Evidence, Option<Envelope>) {
    let mut faults = Vec::new();
    let length = parts.iter().fold(frame.message.length, |sum, part| sum.saturating_add(part.size));
    let mut checks = Checks::new(Claims { size: Some(length), crlf: frame.crlf });
    let mut proof = deep.then(BodyProof::new);
    let mut progress = 0;
    let mut each = |bytes: &[u8]| {
        progress += 1;
        (subject.reader.tick)(progress);
        checks.feed(bytes);
        proof.iter_mut().for_each(|proof| proof.feed(bytes));
    };
    let medium = subject.medium();
    let behind = Behind(&*medium, frame.message.offset);
    let mut raw = |_: &[u8]| ();
    let mut own = Sequential::new(&behind, frame.message.length, &mut raw);
    let mut at = 0;
    let mut read = Ok(());
    for part in parts {
        read = read.and_then(|()| pass(&mut (&mut own).take(part.offset.saturating_sub(at)), &mut each));
        if !attach(root, part, &mut each) {
            let span = Span::new(part.offset, part.size);
            faults.push(Fault { check: Check::NativeHash, kind: FaultKind::Attachment, span, errno: None });
        }
        at = part.offset + part.size;
    }
    read = read.and_then(|()| pass(&mut own, &mut each));
    let (mut evidence, envelope) = if faults.is_empty() {
        checks.finish()
    } else {
        // What the checks say of a message with a gap is said by the gap.
        let (_, envelope) = checks.finish();
        let mut evidence = Evidence::default();
        evidence.set(Check::Read, crate::model::Outcome::Pass);
        (evidence, envelope)
    };
    if let Err(error) = read {
        let errno = error.raw_os_error();
        evidence.blame(Fault { check: Check::Read, kind: FaultKind::ReadError, span: frame.message, errno });
    }
    if faults.is_empty() {
        proof.and_then(BodyProof::finish).into_iter().for_each(|signed| evidence.sign(signed));
    }
    faults.into_iter().for_each(|fault| evidence.blame(fault));
    (evidence, envelope)
}

fn pass(reader: &mut dyn Read, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; WINDOW];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => each(&buffer[..got]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives the attachment as it stood in the message; false where it is not there, or not what it should be.
fn attach(root: &Root, part: &Part, each: &mut dyn FnMut(&[u8])) -> bool {
    let Ok(mut file) = find(root, part) else { return false };
    let Some(mut hash) = Hash::of(part.hash()) else { return false };
    let mut written = 0;
    let mut give = |bytes: &[u8]| {
        written += bytes.len() as u64;
        each(bytes);
    };
    let done = match part.base64 {
        None => pass(&mut file, &mut |bytes| {
            hash.feed(bytes);
            give(bytes);
        }),
        Some(line) => encoded(&mut file, line / 4 * 3, part.crlf, &mut |bytes| hash.feed(bytes), &mut give),
    };
    done.is_ok() && written == part.size && hash.is(part.hash())
}

/// Lines of base64, each of `block` bytes, without an end behind the last.
fn encoded(
    file: &mut dyn Read,
    block: usize,
    crlf: bool,
    raw: &mut dyn FnMut(&[u8]),
    give: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let mut begun = false;
    loop {
        let mut line = Vec::with_capacity(block);
        (&mut *file).take(block as u64).read_to_end(&mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        raw(&line);
        let end = if crlf { "\r\n" } else { "\n" };
        let text = if begun { end.to_owned() } else { String::new() } + &base64::encode(&line);
        give(text.as_bytes());
        begun = true;
    }
}

/// The attachment's file: under its name, under that with a message's mark, or, where one file serves many messages, under
/// its hash alone.
fn find(root: &Root, part: &Part) -> io::Result<File> {
    let dir = root.open_dir(&part.path.parent().unwrap_or_default())?;
    if let Ok(file) = dir.open_file(part.path.name()) {
        return Ok(file);
    }
    let mut name: Option<Vec<u8>> = None;
    dir.entries(&mut |found, _, _| {
        if part.goes_by(found) && name.as_ref().is_none_or(|name| found < &name[..]) {
            name = Some(found.to_vec());
        }
        Ok(())
    })?;
    let by_hash = |dir: &Dir| dir.open_dir(b"hashes")?.open_file(part.hash());
    match name {
        Some(name) => dir.open_file(&name),
        None => by_hash(&dir),
    }
}

/// The hash that a name promises (mail_attachment_hash), known by its length.
enum Hash {
    Sha1(Box<sha1::Sha1>),
    Sha256(Box<sha2::Sha256>),
    Sha512(Box<sha2::Sha512>),
}

impl Hash {
    fn of(digits: &[u8]) -> Option<Hash> {
        match digits.len() {
            40 => Some(Hash::Sha1(Box::default())),
            64 => Some(Hash::Sha256(Box::default())),
            128 => Some(Hash::Sha512(Box::default())),
            _ => None,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha1(hash) => hash.update(bytes),
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Sha512(hash) => hash.update(bytes),
        }
    }

    fn is(self, digits: &[u8]) -> bool {
        let found: Vec<u8> = match self {
            Hash::Sha1(hash) => hash.finalize().to_vec(),
            Hash::Sha256(hash) => hash.finalize().to_vec(),
            Hash::Sha512(hash) => hash.finalize().to_vec(),
        };
        let text: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        text.as_bytes() == digits
    }
}
