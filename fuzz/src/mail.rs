//! Messages: checks, hashes, signatures, compressed forms.

use mailmend::model::limits::FAULTS_KEPT;
use mailmend::model::{Encoding, Evidence, FaultKind, Span, Zone};
use mailmend::read::Medium;
use mailmend::store::codec;
use mailmend::store::mbox::Named;
use mailmend::store::mbox::keys::Keys;
use mailmend::store::mbox::scan::Scanner;
use mailmend::store::mbox::unframe::Unframe;
use mailmend::store::mbox::window::Window;
use mailmend::store::mdbox::storage;
use mailmend::store::sdbox::frame::{self, Content};
use mailmend::verify::{BodyProof, Checks, Claims, Hashing};
use std::io::Read;

/// Bytes that are taken of what a compressed message says it holds.
const DECODED_MAX: u64 = 1 << 20;

/// The sizes of windows that the first byte of an input asks for, beside all at once.
fn window(data: &[u8]) -> usize {
    1 + usize::from(data.first().copied().unwrap_or(0))
}

fn judged(data: &[u8], window: usize, claims: Claims) -> Evidence {
    let mut checks = Checks::new(claims);
    data.chunks(window).for_each(|bytes| checks.feed(bytes));
    checks.finish().0
}

/// The verdict does not depend on the windows, and nobody blames bytes that are not there.
pub fn checks(data: &[u8]) {
    let length = data.len() as u64;
    let size = data.get(1).map(|&byte| length.saturating_add(u64::from(byte % 3)).saturating_sub(1));
    let claims = Claims { size, crlf: data.get(2).filter(|&&byte| byte > 127).map(|_| length) };
    let whole = judged(data, data.len().max(1), claims);
    assert_eq!(whole, judged(data, window(data), claims));
    assert!(whole.faults().len() <= FAULTS_KEPT);
    // The size that a name claims may lie behind the end.
    assert!(whole.faults().iter().all(|fault| fault.span.end() <= length.max(size.unwrap_or(0))));
    let half = data.len() / 2;
    let mut holed = Checks::new(claims);
    holed.feed(&data[..half]);
    holed.hole(Span::new(half as u64, 512), FaultKind::ReadError, Some(5));
    holed.feed(&data[half..]);
    assert!(!holed.finish().0.verdict().is_intact(), "a message with a hole is not whole");
}

pub fn hashing(data: &[u8]) {
    let hashes = |window: usize| {
        let mut hashing = Hashing::new();
        data.chunks(window).for_each(|bytes| hashing.feed(bytes));
        hashing.finish()
    };
    let whole = hashes(data.len().max(1));
    assert_eq!(whole, hashes(window(data)));
    assert_eq!(whole.length, data.len() as u64);
}

/// A file in memory.
struct Bytes<'a>(&'a [u8]);

impl Medium for Bytes<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

/// The messages of a storage file do not depend on the window, follow each other, and lie within it.
pub fn mdbox(data: &[u8]) {
    let file = Bytes(data);
    let parts = |width: usize| -> Vec<_> {
        let window = |width| Window::new(&file, data.len() as u64, width, &|| ());
        storage::Scanner::new(window(width), window(4096)).collect()
    };
    let whole = parts(1 << 20);
    assert_eq!(whole, parts(window(data) * 16));
    let mut at = 0;
    for part in whole {
        assert!(part.offset >= at && part.frame.message.end() <= part.size.max(30));
        at = part.offset + part.size;
    }
    assert!(at <= data.len() as u64);
}

/// The messages do not depend on the window, follow each other without a gap, and have names that say where they stand.
pub fn mbox(data: &[u8]) {
    let file = Bytes(data);
    let parts =
        |width: usize| -> Vec<_> { Scanner::new(Window::new(&file, data.len() as u64, width, &|| ())).collect() };
    let whole = parts(1 << 20);
    assert_eq!(whole, parts(window(data) * 16));
    let zone = Zone::new("+01:00", 3600, Vec::new());
    let (mut at, mut keys, mut told) = (0, Keys::default(), Vec::new());
    for part in whole {
        assert!(part.from >= at && part.from <= at + 2);
        at = part.start() + part.length;
        told.extend(keys.push(part));
    }
    assert!(at <= data.len() as u64 && at + 2 >= data.len() as u64);
    told.extend(keys.finish());
    for (part, uid) in told {
        let named = Named::of(&part, uid, part.validity, &zone);
        assert_eq!(Named::parse(&named.name()), Some(named));
        let message = &data[part.start() as usize..][..part.length as usize];
        let unframed = |width: usize| {
            let (mut out, mut unframe) = (Vec::new(), Unframe::new());
            message.chunks(width).for_each(|bytes| unframe.feed(bytes, &mut |bytes| out.extend_from_slice(bytes)));
            unframe.finish(&mut |bytes| out.extend_from_slice(bytes));
            (out, unframe.harmed)
        };
        let out = unframed(message.len().max(1));
        assert!(out.0.len() <= message.len() && out == unframed(window(data)));
    }
}

/// Also with the bytes in the place of a signature's tags.
pub fn signatures(data: &[u8]) {
    let within = [b"DKIM-Signature: a=rsa-sha256; bh=", data, b"\r\n\r\nbody\r\n"].concat();
    for message in [data, &within] {
        let said = |window: usize| {
            let mut proof = BodyProof::new();
            message.chunks(window).for_each(|bytes| proof.feed(bytes));
            proof.finish()
        };
        let whole = said(message.len().max(1));
        assert_eq!(whole, said(window(data)));
        let Some(signed) = whole else { continue };
        assert!(signed.body <= message.len() as u64);
        let shown = signed.domain.unwrap_or_default();
        assert!(!shown.chars().any(mailmend::report::sanitise::is_dangerous), "{shown:?}");
        let mut cut = BodyProof::new();
        cut.feed(&message[..message.len() / 2]);
        cut.hole(Span::new(message.len() as u64 / 2, 512));
        cut.feed(&message[message.len() / 2..]);
        assert!(cut.finish().is_none_or(|signed| signed.agrees != mailmend::model::Agrees::Whole));
    }
}

/// What is blamed lies in the file, and a file is sound to whoever streams its message just when it is to whoever looks.
pub fn frame(data: &[u8]) {
    let (head, tail) = (&data[..data.len().min(frame::HEAD)], &data[data.len().saturating_sub(frame::TAIL)..]);
    let seen = frame::read(head, tail, data.len() as u64);
    let inside = |span: &Span| span.end() <= data.len() as u64;
    assert!(inside(&seen.message) && seen.broken.iter().all(inside), "{seen:?}");
    let sound = seen.broken.is_empty() && seen.short_of.is_none();
    let message = &data[seen.message.offset as usize..seen.message.end() as usize];
    let mut streamed = Vec::new();
    let ended = Content::new(data).read_to_end(&mut streamed).is_ok();
    assert_eq!(ended, sound, "{seen:?}");
    assert!(!sound || streamed == message, "{seen:?}");
}

pub fn codec(data: &[u8]) {
    let detected = codec::detect(data);
    for encoding in [detected, Encoding::Gzip, Encoding::Zstd, Encoding::Lz4, Encoding::Lz4Dovecot] {
        let Ok(decoder) = codec::decoder(encoding, Box::new(data)) else { continue };
        let mut out = Vec::new();
        decoder.take(DECODED_MAX).read_to_end(&mut out).ok();
        assert!(out.len() as u64 <= DECODED_MAX);
    }
}
