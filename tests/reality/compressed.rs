//! Stores whose server compresses or encrypts: what is compared is the mail, what is written is the server's form.

use crate::common::bench::{Bench, assert_same};
use crate::kit;
use mailmend::model::Encoding;
use mailmend::store::codec;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each form with the program that makes it, where there is one besides ours and Dovecot.
const FORMS: [(Encoding, &str); 6] = [
    (Encoding::Gzip, "gzip"),
    (Encoding::Zstd, "zstd"),
    (Encoding::Bzip2, "bzip2"),
    (Encoding::Xz, "xz"),
    (Encoding::Lz4, "lz4"),
    (Encoding::Lz4Dovecot, ""),
];
const PROGRAMS: [&str; 5] = ["gzip", "zstd", "bzip2", "xz", "lz4"];

fn pack(form: (Encoding, &str), bytes: &[u8]) -> Vec<u8> {
    if form.1.is_empty() {
        let mut packed = Vec::new();
        codec::encode(form.0, &mut &bytes[..], &mut packed).expect("compression");
        return packed;
    }
    filter(form.1, "-c", bytes)
}

fn unpack(form: (Encoding, &str), bytes: &[u8]) -> Vec<u8> {
    if form.1.is_empty() {
        let mut plain = Vec::new();
        let mut decoder = codec::decoder(form.0, Box::new(bytes)).expect("a decoder");
        std::io::Read::read_to_end(&mut decoder, &mut plain).expect("whole compressed bytes");
        return plain;
    }
    filter(form.1, "-dc", bytes)
}

fn filter(program: &str, option: &str, bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.arg(option).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a compressor");
    let mut input = child.stdin.take().expect("its input");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("the writer").expect("all of it was taken");
    assert!(output.status.success(), "{program} {option}");
    output.stdout
}

fn account(bench: &Bench, form: (Encoding, &str)) -> PathBuf {
    bench.store.join(if form.1.is_empty() { "dovecot" } else { form.1 })
}

fn message(account: &Path, number: u64) -> PathBuf {
    account.join("cur").join(kit::name(number, kit::letter(number, size(number)).len()))
}

/// Small ones, and one that does not fit into a window or a chunk.
fn size(number: u64) -> usize {
    if number == 1 { 700_000 } else { 6000 }
}

/// An account in each form.
fn packed(bench: &Bench) {
    for form in FORMS {
        let account = kit::mailbox(&account(bench, form));
        for number in 1..8 {
            kit::put(&message(&account, number), &pack(form, &kit::letter(number, size(number))));
        }
    }
}

#[test]
fn compressed_mail_is_healed_in_its_own_form() {
    if !kit::can("compressed mail", false, &PROGRAMS) {
        return;
    }
    let bench = kit::empty();
    packed(&bench);
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(answer.count("messages"), 42, "{answer}");
    bench.replicate();
    let truth = bench.tree();
    let broken: Vec<PathBuf> = FORMS.iter().flat_map(|f| [1, 2].map(|n| message(&account(&bench, *f), n))).collect();
    broken.iter().for_each(|path| kit::damage(path, 40));

    let verified = bench.tool.verify(&bench.store).expect(4);
    assert_eq!(verified.count("damaged"), 12, "{verified}");
    let answer = kit::heal(&bench).expect(1);
    assert_eq!(answer.count("repaired"), 12, "{answer}");
    assert_same(&truth, &bench.tree(), "the replica holds the very same bytes");
}

/// The replica stores the same mail plainly; the names, with the size before compression, are the same.
#[test]
fn a_plain_replica_heals_compressed_mail() {
    if !kit::can("compressed mail", false, &PROGRAMS) {
        return;
    }
    for with_catalog in [true, false] {
        let bench = kit::empty();
        packed(&bench);
        if with_catalog {
            bench.tool.verify(&bench.store).expect(0);
        }
        bench.replicate();
        for form in FORMS {
            for number in 1..8 {
                let path = message(&account(&bench, form), number);
                kit::put(
                    &bench.replica.join(path.strip_prefix(&bench.store).expect("below")),
                    &kit::letter(number, size(number)),
                );
            }
        }
        let undone = bench.tree();
        for form in FORMS {
            for number in [1, 2] {
                kit::damage(&message(&account(&bench, form), number), 40);
            }
            if with_catalog {
                fs::remove_file(message(&account(&bench, form), 3)).expect("a loss");
            }
        }
        let answer = kit::heal(&bench);
        for form in FORMS {
            for number in 1..8 {
                let path = message(&account(&bench, form), number);
                let Ok(stored) = fs::read(&path) else { panic!("{} is missing: {answer}", path.display()) };
                // A form without a checksum shows no damage without a catalog; there it may stay.
                let silent = !with_catalog && matches!(form.0, Encoding::Lz4 | Encoding::Lz4Dovecot | Encoding::Zstd);
                if silent && number < 3 {
                    continue;
                }
                assert_eq!(codec::detect(&stored), form.0, "{}: {answer}", path.display());
                assert!(unpack(form, &stored) == kit::letter(number, size(number)), "{}: {answer}", path.display());
            }
        }
        let after = bench.tree();
        for (path, entry) in undone.messages() {
            let is = after.get(path).expect("every message");
            assert_eq!((is.mtime, is.mode, is.uid), (entry.mtime, entry.mode, entry.uid), "{path}");
        }
    }
}

/// A server that compresses from today on, or again with more effort, damages nothing.
#[test]
fn another_form_of_the_same_mail_is_no_damage() {
    if !kit::can("compressed mail", false, &PROGRAMS) {
        return;
    }
    let bench = kit::empty();
    packed(&bench);
    let plain = kit::mailbox(&bench.store.join("plain"));
    for number in 1..8 {
        kit::deliver(&plain, number, size(number));
    }
    bench.tool.verify(&bench.store).expect(0);
    for (at, form) in FORMS.iter().enumerate() {
        let next = FORMS[(at + 1) % FORMS.len()];
        for number in 1..8 {
            let path = message(&account(&bench, *form), number);
            kit::put(&path, &pack(next, &kit::letter(number, size(number))));
        }
    }
    for number in 1..8 {
        let bytes = kit::letter(number, size(number));
        kit::put(&plain.join("cur").join(kit::name(number, bytes.len())), &pack(FORMS[0], &bytes));
    }
    let answer = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(answer.findings().count(), 0, "{answer}");
    assert_eq!(answer.count("intact.identical"), 49, "{answer}");
    // What is healed now is written as the server stores it now.
    bench.replicate();
    let truth = bench.tree();
    kit::damage(&message(&account(&bench, FORMS[0]), 1), 40);
    kit::heal(&bench).expect(1);
    assert_same(&truth, &bench.tree(), "in its present form");
}

/// A store that was compressed anew since the catalog last saw it is healed in the form that it has now.
#[test]
fn the_form_that_stands_there_wins_over_the_recorded_one() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let path = kit::deliver(&account, 1, 50_000);
    kit::deliver(&account, 2, 5000);
    bench.tool.verify(&bench.store).expect(0);
    let bytes = kit::letter(1, 50_000);
    let mut packed = Vec::new();
    codec::encode(Encoding::Gzip, &mut &bytes[..], &mut packed).expect("gzip");
    kit::put(&path, &packed);
    bench.replicate();
    kit::damage(&path, 40);
    kit::heal(&bench).expect(1);
    assert_eq!(fs::read(&path).expect("a message"), packed);
}

/// Nothing can look into encrypted mail: only a digest or an equal copy proves it.
#[test]
fn encrypted_mail_is_proven_by_its_digest_alone() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let paths: Vec<PathBuf> = (1..6)
        .map(|number| {
            let mut bytes = b"CRYPTED\x03\x07\x02".to_vec();
            bytes.extend(fastrand::Rng::with_seed(number).choose_multiple(0..=255u8, 200));
            bytes.extend((0..8000).map(|n| (n * number % 251) as u8));
            // The size in the name is that of the mail inside.
            let path = account.join("cur").join(kit::name(number, 4321));
            kit::put(&path, &bytes);
            path
        })
        .collect();
    let first = bench.tool.run(["audit".into(), bench.store.clone()]);
    assert_eq!(first.count("undetermined"), 5, "{first}");
    assert_eq!(first.count("damaged"), 0, "{first}");
    assert_eq!(first.status & 4, 0, "never called damaged: {first}");
    bench.tool.verify(&bench.store);
    let second = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(second.count("intact.identical"), 5, "{second}");

    bench.replicate();
    let truth = bench.tree();
    kit::damage(&paths[0], 40);
    fs::remove_file(&paths[1]).expect("a loss");
    let third = bench.tool.verify(&bench.store).expect_bits(4);
    assert_eq!(third.count("damaged") + third.count("undetermined"), 1, "{third}");
    kit::heal(&bench).expect(1);
    assert_same(&truth, &bench.tree(), "healed by digest");
}

/// `S=` is the size of the mail, not of its compressed form.
#[test]
fn the_size_in_a_name_counts_decoded_bytes() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann"));
    let bytes = kit::letter(1, 30_000);
    let mut packed = Vec::new();
    codec::encode(Encoding::Zstd, &mut &bytes[..], &mut packed).expect("zstd");
    kit::put(&account.join("cur").join(kit::name(1, bytes.len())), &packed);
    kit::put(&account.join("cur").join(kit::name(2, packed.len())), &packed);
    let answer = bench.tool.run(["audit".into(), bench.store.clone()]);
    assert_eq!(answer.count("suspect") + answer.count("damaged"), 1, "{answer}");
    let damaged: Vec<_> = answer.found().iter().map(|f| f.path.to_string()).collect();
    assert_eq!(damaged.len(), 1, "{answer}");
    assert!(damaged[0].contains(".M2P1."), "the one that claims its stored size: {answer}");
}
