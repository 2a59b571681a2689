//! Messages: checks, hashes, signatures, compressed forms.

use mailmend::model::limits::FAULTS_KEPT;
use mailmend::model::{Encoding, Evidence, FaultKind, Span};
use mailmend::store::codec;
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

pub fn codec(data: &[u8]) {
    let detected = codec::detect(data);
    for encoding in [detected, Encoding::Gzip, Encoding::Zstd, Encoding::Lz4, Encoding::Lz4Dovecot] {
        let Ok(decoder) = codec::decoder(encoding, Box::new(data)) else { continue };
        let mut out = Vec::new();
        decoder.take(DECODED_MAX).read_to_end(&mut out).ok();
        assert!(out.len() as u64 <= DECODED_MAX);
    }
}
