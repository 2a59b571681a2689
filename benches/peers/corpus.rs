//! Messages of the sizes that a corpus asks for: plain and quoted text, HTML beside text, attachments; a quarter carry a DKIM
//! signature whose body hash is true.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use sha2::{Digest as _, Sha256};

/// Width of the long tail: the mean lies at 2.3 times the median.
const SIGMA: f64 = 1.3;
const SMALLEST: usize = 700;
const LARGEST: usize = 20 << 20;
/// Below this a message is text alone.
const TEXT_ONLY: usize = 3 << 10;

pub fn of_31_kb(rng: &mut Rng, number: usize) -> Vec<u8> {
    message(rng, number, 31.0)
}

pub fn of_6_kb(rng: &mut Rng, number: usize) -> Vec<u8> {
    message(rng, number, 6.0)
}

pub fn of_4_kb(rng: &mut Rng, number: usize) -> Vec<u8> {
    message(rng, number, 4.0)
}

fn message(rng: &mut Rng, number: usize, mean_kb: f64) -> Vec<u8> {
    let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let size = mean_kb * 1000.0 * (SIGMA * normal - SIGMA * SIGMA / 2.0).exp();
    let size = (size as usize).clamp(SMALLEST, LARGEST);
    let (kind, body) = match (size, rng.u8(..10)) {
        (..TEXT_ONLY, _) => ("text/plain; charset=utf-8".to_owned(), text(rng, size.saturating_sub(500))),
        (_, 0..3) => parts(rng, "alternative", "text/html; charset=utf-8", size, |rng, size| {
            format!("<html><body><p>{}</p></body></html>\n", text(rng, size))
        }),
        _ => parts(rng, "mixed", "application/pdf\nContent-Transfer-Encoding: base64", size, attachment),
    };
    let signature = if number.is_multiple_of(4) { signature(&body) } else { String::new() };
    format!(
        "Return-Path: <sender{0}@example.com>\nReceived: from mx{1}.example.com (mx{1}.example.com [192.0.2.{1}])\n\tby \
         mail.example.org with ESMTPS id {2:x}\n\tfor <somebody@example.org>; Thu, 01 Jan 2026 00:00:00 +0000\n{signature}From: \
         Sender {0} <sender{0}@example.com>\nTo: somebody@example.org\nSubject: message {number} of many\nMessage-ID: \
         <{number}.{2:x}@example.com>\nDate: Thu, 01 Jan 2026 00:00:00 +0000\nMIME-Version: 1.0\nContent-Type: {kind}\n\n{body}",
        rng.u32(..1000),
        rng.u8(1..250),
        rng.u64(..),
    )
    .into_bytes()
}

/// Two parts, of which the second fills the message up.
fn parts(
    rng: &mut Rng,
    kind: &str,
    second: &str,
    size: usize,
    fill: fn(&mut Rng, usize) -> String,
) -> (String, String) {
    let boundary = format!("=_{:016x}", rng.u64(..));
    let first = text(rng, (size / 4).min(2_000));
    let rest = fill(rng, size.saturating_sub(1_200 + first.len()));
    let body = format!(
        "--{boundary}\nContent-Type: text/plain; charset=utf-8\n\n{first}\n--{boundary}\nContent-Type: {second}\n\n{rest}\n\
         --{boundary}--\n"
    );
    (format!("multipart/{kind}; boundary=\"{boundary}\""), body)
}

fn text(rng: &mut Rng, size: usize) -> String {
    const WORDS: [&str; 12] = [
        "garden", "window", "letter", "under", "seven", "order", "bridge", "silver", "quiet", "paper", "morning",
        "ticket",
    ];
    let (mut out, mut line) = (String::with_capacity(size + 80), 0);
    while out.len() < size {
        let word = WORDS[rng.usize(..WORDS.len())];
        out.push_str(word);
        line += word.len() + 1;
        out.push(if line > 64 { '\n' } else { ' ' });
        line = if line > 64 { 0 } else { line };
    }
    out.push('\n');
    out
}

fn attachment(rng: &mut Rng, size: usize) -> String {
    let mut bytes = vec![0; size * 3 / 4];
    rng.fill(&mut bytes);
    let mut out = String::with_capacity(size + size / 64);
    for line in bytes.chunks(57) {
        STANDARD.encode_string(line, &mut out);
        out.push('\n');
    }
    out
}

/// A signature that nobody made, over a body hash that fits (RFC 6376, simple).
fn signature(body: &str) -> String {
    let wire = format!("{}\r\n", body.trim_end_matches('\n').replace('\n', "\r\n"));
    let hash = STANDARD.encode(Sha256::digest(wire.as_bytes()));
    format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.com; s=one;\n\th=From:To:Subject:Date; \
         bh={hash};\n\tb={}\n",
        "A".repeat(64)
    )
}
