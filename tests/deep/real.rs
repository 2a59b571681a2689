//! Real mail: how much of what is signed proves itself, and what that costs. Reads the corpus where it is
//! (`MAILMEND_CORPUS`), prints counts and never content.

use crate::common;
use mailmend::model::limits::WINDOW;
use mailmend::model::{Agrees, Outcome, Signed, Verdict};
use mailmend::verify::{BodyProof, Checks, Claims};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The files of the corpus that are one message each.
pub fn messages() -> Option<Vec<Vec<u8>>> {
    let folder = common::corpus::folder()?;
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.expect("readable"));
    let is_message = |path: &Path| !path.components().any(|part| part.as_os_str() == "mbox");
    let messages = files.filter(|entry| entry.file_type().is_file() && is_message(entry.path()));
    Some(messages.map(|entry| std::fs::read(entry.path()).expect("readable")).collect())
}

pub fn signed(message: &[u8]) -> Option<Signed> {
    let mut proof = BodyProof::new();
    message.chunks(WINDOW).for_each(|window| proof.feed(window));
    proof.finish()
}

fn verdict(message: &[u8], deep: bool) -> Verdict {
    let mut checks = Checks::new(Claims { size: Some(message.len() as u64), crlf: None });
    message.chunks(WINDOW).for_each(|window| checks.feed(window));
    let (mut evidence, _) = checks.finish();
    if let Some(signed) = deep.then(|| signed(message)).flatten() {
        evidence.sign(signed);
    }
    evidence.verdict()
}

fn other_ends(message: &[u8]) -> Vec<u8> {
    let lf: Vec<u8> =
        message.split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).collect::<Vec<_>>().join(&b'\n');
    if message.windows(2).any(|two| two == b"\r\n") {
        lf
    } else {
        lf.split(|&b| b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..])
    }
}

#[test]
fn real_signatures_prove_what_they_signed() {
    let Some(messages) = messages() else {
        return common::skip("signatures of real mail", "no corpus of real mail here");
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut accused, mut cleared, mut ends) = (0, 0, 0);
    for message in &messages {
        let said = signed(message);
        let name = match said.as_ref().map(|signed| signed.agrees) {
            None => "unsigned",
            Some(Agrees::Whole) => "whole",
            Some(Agrees::UpTo(_)) => "up to l=",
            Some(Agrees::No) => "no",
            Some(Agrees::Unread) => "unread",
        };
        *counts.entry(name).or_default() += 1;
        if said.is_some_and(|signed| signed.outcome() == Outcome::Pass) {
            ends += usize::from(!signed(&other_ends(message)).is_some_and(|s| s.outcome() == Outcome::Pass));
        }
        let (cheap, deep) = (verdict(message, false), verdict(message, true));
        accused += usize::from(!cheap.is_intact());
        cleared += usize::from(!cheap.is_intact() && deep.is_intact());
        assert!(deep.is_intact() || !cheap.is_intact(), "the deep tier accuses nobody by itself");
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let proven = count("whole") + count("up to l=");
    let all = proven + count("no");
    println!("{counts:?}: {:.1} % of {all} signed agree", 100.0 * proven as f64 / all as f64);
    println!("{ends} agree only with the line ends they are stored with; of {accused} accused {cleared} proven whole");
    assert_eq!(count("unread"), 0);
    assert!(proven * 100 >= all * 75, "FIELD.md: 81 %");
    cost(&messages);
}

/// Prints what the deep tier costs; asserts nothing, for machines and builds differ.
fn cost(messages: &[Vec<u8>]) {
    let signed_ones: Vec<&Vec<u8>> = messages.iter().filter(|message| signed(message).is_some()).collect();
    let all: Vec<&Vec<u8>> = messages.iter().collect();
    for (what, some) in [("all", all), ("the signed", signed_ones)] {
        let bytes: usize = some.iter().map(|message| message.len()).sum();
        let time = |work: &dyn Fn(&[u8])| {
            let once = || {
                let start = Instant::now();
                some.iter().for_each(|message| work(message));
                start.elapsed().as_secs_f64()
            };
            bytes as f64 / (0..5).map(|_| once()).fold(f64::INFINITY, f64::min) / 1e9
        };
        let deep = time(&|message| drop(std::hint::black_box(signed(message))));
        let blake = time(&|message| {
            std::hint::black_box(mailmend::model::Digest::of(message));
        });
        println!("{what}: deep {deep:.2} GB/s, BLAKE3 {blake:.2} GB/s");
    }
}
