//! The two numbers that the checks are tuned for, on real mail: whole mail accused, damage missed.
//!
//! Reads the corpus where it is (`MAILMEND_CORPUS`, or `shared/corpus` beside or above this folder) and says
//! so where it is not. Prints counts and the names of files, never their content.

use mailmend::model::{Verdict, limits::WINDOW};
use mailmend::verify::{Checks, Claims, Hashing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Message {
    kind: String,
    path: String,
    bytes: Vec<u8>,
}

fn corpus() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let near = ["../shared/corpus", "../../shared/corpus"].map(|place| here.join(place));
    std::env::var_os("MAILMEND_CORPUS").map(PathBuf::from).into_iter().chain(near).find(|place| place.is_dir())
}

/// Unpacks the archives into a folder that goes away with the test.
fn load(corpus: &Path) -> Vec<Message> {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let archive = entry.unwrap().path();
        if archive.to_string_lossy().ends_with(".tar.zst") {
            let tar = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(folder.path()).status();
            assert!(tar.unwrap().success(), "cannot unpack {}", archive.display());
        }
    }
    let manifest = Command::new("zstd").arg("-dc").arg(corpus.join("MANIFEST.tsv.zst")).stderr(Stdio::null()).output();
    let manifest = String::from_utf8(manifest.unwrap().stdout).unwrap();
    let message = |line: &str| {
        let field: Vec<&str> = line.split('\t').collect();
        let path = format!("{}/{}", field[2].replace('/', "+"), field[3]);
        let bytes = std::fs::read(folder.path().join(&path)).ok()?;
        Some(Message { kind: field[5].to_owned(), path, bytes })
    };
    manifest.lines().skip(1).filter(|line| !line.contains("\tmbox/")).filter_map(message).collect()
}

fn verdict(bytes: &[u8], size: Option<u64>) -> (Verdict, String) {
    let mut checks = Checks::new(Claims { size, crlf: None });
    bytes.chunks(WINDOW).for_each(|window| checks.feed(window));
    let (evidence, _) = checks.finish();
    let kinds: Vec<String> = evidence.faults().iter().map(|fault| format!("{:?}", fault.kind)).collect();
    (evidence.verdict(), kinds.join(","))
}

fn is_traffic(message: &Message) -> bool {
    matches!(message.kind.as_str(), "ham" | "spam" | "list")
}

fn accused(messages: &[Message]) {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut faults: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for message in messages {
        let (verdict, kinds) = verdict(&message.bytes, Some(message.bytes.len() as u64));
        *counts.entry((message.kind.clone(), verdict.name())).or_default() += 1;
        if !verdict.is_intact() {
            *faults.entry((is_traffic(message), kinds.clone())).or_default() += 1;
            if std::env::var_os("CORPUS_NAMES").is_some() {
                println!("{} {} {kinds} {}", message.kind, verdict.name(), message.path);
            }
        }
    }
    println!("{counts:#?}\n{faults:#?}");
    let count = |name: &str| {
        let rows =
            counts.iter().filter(|((kind, verdict), _)| kind != "malformed" && kind != "dkim" && *verdict == name);
        rows.map(|(_, count)| count).sum::<usize>()
    };
    let traffic = messages.iter().filter(|message| is_traffic(message)).count();
    assert!(count("damaged") * 10_000 <= traffic, "{} of {traffic} damaged", count("damaged"));
    assert!(count("suspect") * 300 <= traffic, "{} of {traffic} suspect", count("suspect"));
}

/// Damages traffic in one way and returns how much of it was caught.
fn caught(
    messages: &[Message],
    what: &str,
    mut harm: impl FnMut(&mut Vec<u8>, &mut fastrand::Rng) -> Option<u64>,
) -> f64 {
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut seen, mut total, mut damaged) = (0u32, 0u32, 0u32);
    for message in messages.iter().filter(|message| is_traffic(message)) {
        let mut bytes = message.bytes.clone();
        let Some(size) = harm(&mut bytes, &mut rng) else { continue };
        let (verdict, _) = verdict(&bytes, (size > 0).then_some(size));
        total += 1;
        seen += u32::from(!verdict.is_intact());
        damaged += u32::from(verdict == Verdict::Damaged);
        if verdict.is_intact() && std::env::var_os("CORPUS_NAMES").is_some() {
            println!("missed {what}: {}", message.path);
        }
    }
    println!("{what}: {seen} of {total} not intact, {damaged} damaged");
    f64::from(seen) / f64::from(total.max(1))
}

/// Overwrites 512 bytes or more, at a sector's edge or anywhere.
fn overwrite(bytes: &mut [u8], rng: &mut fastrand::Rng, mut fill: impl FnMut(&mut fastrand::Rng) -> u8) -> Option<u64> {
    let length = 512 * rng.usize(1..=8).min(bytes.len() / 512);
    if length == 0 {
        return None;
    }
    let start = rng.usize(..=bytes.len() - length);
    let start = if rng.bool() { start / 512 * 512 } else { start };
    bytes[start..start + length].iter_mut().for_each(|byte| *byte = fill(rng));
    Some(bytes.len() as u64)
}

/// Cuts anywhere behind the first byte.
fn cut(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) -> Option<u64> {
    let size = bytes.len();
    bytes.truncate(rng.usize(1..size.max(2)));
    (size > 1).then_some(size as u64)
}

fn is_multipart(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase().replace("\r\n", "\n");
    let header = text.split("\n\n").next().unwrap_or_default();
    header.contains("\ncontent-type: multipart/") && header.contains("boundary=")
}

#[test]
fn real_mail_is_not_accused_and_damage_is_not_missed() {
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: no corpus of real mail here");
        return;
    };
    let messages = load(&corpus);
    assert!(messages.len() > 10_000);
    accused(&messages);
    assert!(caught(&messages, "zeros", |bytes, rng| overwrite(bytes, rng, |_| 0)) >= 0.999);
    assert!(caught(&messages, "0xFF", |bytes, rng| overwrite(bytes, rng, |_| 0xFF)) >= 0.999);
    assert!(caught(&messages, "random", |bytes, rng| overwrite(bytes, rng, |rng| rng.u8(..))) >= 0.999);
    assert!(caught(&messages, "cut, S= known", cut) >= 1.0);
    let multiparts = |bytes: &mut Vec<u8>, rng: &mut fastrand::Rng| {
        let body = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
        if !is_multipart(bytes) || body + 2 >= bytes.len() || !verdict(bytes, None).0.is_intact() {
            return None;
        }
        let end = bytes.windows(3).rposition(|three| three == b"\n--")?;
        bytes.truncate(rng.usize(body + 2..end.max(body + 3)));
        Some(0)
    };
    let often: Vec<Message> =
        (0..10).flat_map(|_| messages.iter().filter(|m| is_multipart(&m.bytes)).map(copy)).collect();
    assert!(caught(&often, "multipart cut, S= unknown", multiparts) >= 0.99);
    speed(&messages);
}

fn copy(message: &Message) -> Message {
    Message { kind: message.kind.clone(), path: message.path.clone(), bytes: message.bytes.clone() }
}

/// Prints what the cheap tier costs; asserts nothing, for machines and builds differ.
fn speed(messages: &[Message]) {
    for crlf in [false, true] {
        println!("stored with {}:", if crlf { "CRLF" } else { "LF" });
        let ends =
            |message: &&Message| is_traffic(message) && message.bytes.windows(2).any(|two| two == b"\r\n") == crlf;
        speed_of(&messages.iter().filter(ends).collect::<Vec<_>>());
    }
}

fn speed_of(traffic: &[&Message]) {
    let bytes: usize = traffic.iter().map(|message| message.bytes.len()).sum();
    let time = |what: &str, work: &dyn Fn(&[u8])| {
        let once = || {
            let start = std::time::Instant::now();
            traffic.iter().for_each(|message| work(&message.bytes));
            start.elapsed().as_secs_f64()
        };
        let best = (0..15).map(|_| once()).fold(f64::INFINITY, f64::min);
        println!(
            "{what}: {:.2} GB/s, {:.2} us a message",
            bytes as f64 / best / 1e9,
            best * 1e6 / traffic.len() as f64
        );
    };
    let check = |bytes: &[u8]| {
        let mut checks = Checks::new(Claims { size: Some(bytes.len() as u64), crlf: None });
        bytes.chunks(WINDOW).for_each(|window| checks.feed(window));
        std::hint::black_box(checks.finish());
    };
    let hash = |bytes: &[u8]| {
        let mut hashing = Hashing::new();
        bytes.chunks(WINDOW).for_each(|window| hashing.feed(window));
        std::hint::black_box(hashing.finish());
    };
    time("BLAKE3", &|bytes| {
        std::hint::black_box(mailmend::model::Digest::of(bytes));
    });
    time("hashing", &hash);
    time("checks", &check);
    time("both", &|bytes| {
        hash(bytes);
        check(bytes);
    });
}
