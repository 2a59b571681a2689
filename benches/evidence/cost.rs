//! What the checks cost on one core, beside what else reads every byte.

use crate::mail::{self, Form, Mail};
use crate::measure;
use mail_parser::MessageParser;
use mailmend::model::{Digest, limits::WINDOW};
use mailmend::verify::Hashing;
use std::hint::black_box;
use std::time::Instant;

/// The best of so many rounds counts.
const ROUNDS: usize = 15;

type Work = (&'static str, fn(&[u8]));

const WORKS: [Work; 6] = [
    ("BLAKE3", |bytes| {
        black_box(Digest::of(bytes));
    }),
    ("digest and canonical digest", hash),
    ("checks", check),
    ("both", |bytes| {
        hash(bytes);
        check(bytes);
    }),
    ("mail-parser, headers", |bytes| drop(black_box(MessageParser::default().parse_headers(bytes)))),
    ("mail-parser, everything", |bytes| drop(black_box(MessageParser::default().parse(bytes)))),
];

fn hash(bytes: &[u8]) {
    let mut hashing = Hashing::new();
    bytes.chunks(WINDOW).for_each(|window| hashing.feed(window));
    black_box(hashing.finish());
}

fn check(bytes: &[u8]) {
    black_box(measure::judge(bytes, measure::claims_of_size(bytes)));
}

/// Every real message in either form, and how each compares with the first.
pub fn table(mails: &[Mail]) -> String {
    let mut text = String::new();
    for form in [Form::Lf, Form::Crlf] {
        let traffic = mails.iter().filter(|mail| mail.is_traffic());
        let stored: Vec<Vec<u8>> = traffic.map(|mail| mail::stored(&mail.bytes, form)).collect();
        let bytes: usize = stored.iter().map(Vec::len).sum();
        let seconds: Vec<f64> = WORKS.iter().map(|(_, work)| best(&stored, *work)).collect();
        text += &format!(
            "{:30}{:>12}{:>14}{:>16}\n",
            format!("stored with {form:?}"),
            "MB/s",
            "us a message",
            "times BLAKE3"
        );
        for ((name, _), took) in WORKS.iter().zip(&seconds) {
            let (rate, each) = (bytes as f64 / took / 1e6, took * 1e6 / stored.len() as f64);
            text += &format!("{name:30}{rate:>12.0}{each:>14.2}{:>16.2}\n", took / seconds[0]);
        }
    }
    text
}

fn best(messages: &[Vec<u8>], work: fn(&[u8])) -> f64 {
    let round = |_| {
        let start = Instant::now();
        messages.iter().for_each(|bytes| work(bytes));
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
