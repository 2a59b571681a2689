//! The fuzz targets without a fuzzer: real files, damaged in seeded ways, through every parser.
//!
//! No panic, no broken promise, no input that takes seconds. `fuzz/README.md` says how a fuzzer runs the same.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use fastrand::Rng;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use targets::TARGETS;

/// Damaged inputs of each target, and with `MAILMEND_LONG`.
const CASES: u64 = 8_000;
const LONG: u64 = 300_000;
/// No input may take longer, however slow and busy the machine.
const SLOW: Duration = Duration::from_secs(5);

/// What a fuzzer found: the target, the bytes, and what they did. Numbered; none is ever taken away.
const REGRESSIONS: [(u32, &str, &[u8]); 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("testdata").join(folder))
        .expect("test data")
        .map(|e| e.expect("a file").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("test data")).collect()
}

fn lines(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

const NAMES: &str = "1700000000.M1P1.host,S=532,W=544:2,FSab\n1700000000.V803I1M5.mail:2,\n#12345\ndovecot-uidlist\n.Sent\n\
    INBOX/&AOQ-\nEntw&APw-rfe.&ZeVnLIqe-\n&Jjo-!\n&&-\na/../b";
const VALUES: &str = "/srv/mail\nmaildir:/srv/mail\nreplica@2026-01-02T03:04:05Z=/srv/{account}\ndaily.3\n2026-01-02\n\
    20261122T164622Z-bb9e\nhourly.0\nbackup-20260102-0304";

/// Real inputs of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let named = |name: &str| vec![fs::read(root().join("testdata").join(name)).expect("test data")];
    match target {
        "checks" | "hashing" | "signatures" => files("mail"),
        "codec" => files("mail").iter().flat_map(|mail| packed(mail)).collect(),
        "mdbox" => named("mdbox/m.1"),
        "map" => ["map.log", "inbox.log", "copied.index", "copied.log"].map(|n| named(&format!("mdbox/{n}"))).concat(),
        "mbox" => vec![joined(&files("mail"), true), joined(&files("mail"), false)],
        "frame" => files("mail").iter().map(|mail| framed(mail)).collect(),
        "config" => named("records/mailmend.toml"),
        "plan" | "journal" => named(&format!("records/{target}.jsonl")),
        "values" => lines(VALUES),
        "names" | "mutf7" => lines(NAMES),
        "log" => [named("dovecot/index.log"), named("dovecot/replica.index.log")].concat(),
        "mailbox_log" => named("dovecot/mailbox.log"),
        other => named(&format!("dovecot/{other}")),
    }
}

/// All mail in one file: as Dovecot stores it, or as an archive does.
fn joined(mails: &[Vec<u8>], sized: bool) -> Vec<u8> {
    let mut file = Vec::new();
    for (nth, mail) in mails.iter().enumerate() {
        file.extend(mailmend::store::mbox::from_line::write(b"ann@example.org", 1_700_000_000 + nth as i64));
        if sized {
            let head = memchr::memmem::find(mail, b"\n\n").map_or(mail.len(), |at| at + 2);
            let base = if nth == 0 { "X-IMAPbase: 1700000000 0000000099\n" } else { "" };
            let own = format!("{base}X-UID: {}\nStatus: RO\nContent-Length: {}\n", nth + 1, mail.len() - head);
            file.extend(own.into_bytes());
        }
        file.extend([mail, &b"\n"[..]].concat());
    }
    file
}

/// As Dovecot's single-dbox stores it.
fn framed(mail: &[u8]) -> Vec<u8> {
    let crlf = mail.len() + mail.iter().filter(|&&byte| byte == b'\n').count();
    let head = format!("2 M1e C6560a1b2\n\x01\x02N          {:016X}\n", mail.len());
    let tail = format!("\n\x01\x03\nR6560a1b1\nV{crlf:x}\nG0123456789abcdef0123456789abcdef\n\n");
    [head.as_bytes(), mail, tail.as_bytes()].concat()
}

fn packed(mail: &[u8]) -> Vec<Vec<u8>> {
    use mailmend::model::Encoding::{Bzip2, Gzip, Lz4, Lz4Dovecot, Xz, Zstd};
    let pack = |encoding| {
        let mut out = Vec::new();
        mailmend::store::codec::encode(encoding, &mut &mail[..], &mut out).expect("it can be compressed");
        out
    };
    [Gzip, Bzip2, Zstd, Xz, Lz4, Lz4Dovecot].map(pack).into()
}

/// One to four changes, as disks, editors and enemies make them.
fn mutate(seed: &[u8], others: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    const NUMBERS: [&[u8]; 8] =
        [&[0; 4], &[0xFF; 4], &[0xFF; 8], b"\xFF\xFF\xFF\x7F", b"4294967296", b"18446744073709551615", b"-1", b"\0"];
    let mut bytes = seed.to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..64)).min(bytes.len());
        match rng.u8(..8) {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.u8(..8)),
            2 => bytes[at..end].fill([0, 0xFF, b' ', b'\n', b'"'][rng.usize(..5)]),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, rng.choice(NUMBERS).expect("one").iter().copied())),
            5 => drop(bytes.splice(at..end, rng.choice(NUMBERS).expect("one").iter().copied())),
            6 => bytes.extend_from_within(at..end),
            _ => {
                let other = rng.choice(others).expect("a seed");
                let from = rng.usize(..=other.len());
                let piece = &other[from..(from + rng.usize(..256)).min(other.len())];
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
        }
    }
    bytes
}

fn holds(name: &str, what: &str, data: &[u8]) {
    let start = Instant::now();
    assert!(catch_unwind(|| targets::run(name, data)).is_ok(), "{name}: {what}: {}", data.escape_ascii());
    assert!(start.elapsed() < SLOW, "{name}: {what} took {:?}", start.elapsed());
}

#[test]
fn every_parser_takes_whatever_comes() {
    let cases = if std::env::var_os("MAILMEND_LONG").is_some() { LONG } else { CASES };
    for (name, _) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| holds(name, "as it is", seed));
        holds(name, "nothing", b"");
        for case in 0..cases {
            let mut rng = Rng::with_seed(case);
            let seed = rng.choice(&seeds).expect("a seed").clone();
            holds(name, &format!("case {case}"), &mutate(&seed, &seeds, &mut rng));
        }
    }
}

#[test]
fn what_was_found_once_stays_fixed() {
    for (number, name, data) in REGRESSIONS {
        holds(name, &format!("regression {number}"), data);
    }
}

/// A target that a fuzzer does not find is none.
#[test]
fn every_target_is_one_for_cargo_fuzz() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("a manifest");
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = fs::read_dir(root().join("fuzz/fuzz_targets")).expect("wrappers").map(|entry| entry.expect("a file"));
    let wrapped: BTreeSet<String> =
        files.map(|file| file.file_name().to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(names, wrapped);
    for name in &names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} stands in no [[bin]]");
        let wrapper = fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).expect("a wrapper");
        assert!(wrapper.contains(&format!("run(\"{name}\", data)")), "{name}");
    }
}
