//! What a fuzzer does with each parser of strangers' bytes: any answer will do that keeps what the parser promises.
//!
//! `cargo-fuzz` runs these on inputs that it grows (`fuzz/README.md`), and the project's tests run the same functions on
//! real files that they damage (`tests/fuzz.rs`). Nothing here may depend on anything but the bytes.

mod mail;
mod records;
mod server;

/// One target: its name, which is that of a file in `fuzz_targets`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 20] = [
    ("checks", mail::checks),
    ("codec", mail::codec),
    ("frame", mail::frame),
    ("hashing", mail::hashing),
    ("mbox", mail::mbox),
    ("mdbox", mail::mdbox),
    ("signatures", mail::signatures),
    ("config", records::config),
    ("journal", records::journal),
    ("plan", records::plan),
    ("values", records::values),
    ("index", server::index),
    ("keywords", server::keywords),
    ("log", server::log),
    ("mailbox_log", server::mailbox_log),
    ("map", server::map),
    ("mutf7", server::mutf7),
    ("names", server::names),
    ("subscriptions", server::subscriptions),
    ("uidlist", server::uidlist),
];

/// Runs one target.
///
/// # Panics
/// Where there is none of that name, and where the parser does not keep what it promises.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    (target.1)(data);
}
