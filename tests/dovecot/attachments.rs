//! Attachments that a real server keeps apart from their messages (mail_attachment_dir): found, proven by their names, and
//! put in their places.

use crate::common::{Answer, bench::Bench, spec};
use crate::kit;
use crate::server::{Dovecot, give};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Base64 in lines of so many bytes, as a client sends it.
fn base64(bytes: &[u8], line: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        let digit = |place: usize| char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
        (0..4).map(|place| if place <= chunk.len() { digit(place) } else { '=' }).collect::<String>()
    };
    let text: String = bytes.chunks(3).map(group).collect();
    let lines: Vec<&str> = text.as_bytes().chunks(line).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    lines.join("\r\n")
}

fn letter(number: u8) -> String {
    let bytes: Vec<u8> = (0..9000 + usize::from(number)).map(|at| (at * 31 + usize::from(number) * 7) as u8).collect();
    let part = |kind: &str, coding: &str, body: &str| {
        format!(
            "--B\r\nContent-Type: {kind}; name=\"a\"\r\nContent-Transfer-Encoding: {coding}\r\n\
             Content-Disposition: attachment; filename=\"a\"\r\n\r\n{body}\r\n"
        )
    };
    let head = format!(
        "From: ann@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\
         Subject: {number}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"B\"\r\n\r\n\
         --B\r\nContent-Type: text/plain\r\n\r\nhello {number}\r\n"
    );
    let plain = format!("line {number} of a text\r\n").repeat(200);
    let octets = "application/octet-stream";
    let parts = [
        part(octets, "base64", &base64(&bytes, 76)),
        part("text/plain", "7bit", &plain),
        // Nobody writes such lines: kept as it is.
        part(octets, "base64", &format!("{}\r\n{}", base64(&bytes[..60], 40), base64(&bytes[60..6000], 60))),
    ];
    head + &parts.concat() + "--B--\r\n"
}

/// Three messages of a server that hashes like this, and its folder of attachments.
fn mail(bench: &Bench, hash: &str, fs_kind: &str) -> (PathBuf, usize) {
    let dir = bench.dir.path().join(format!("server-{hash}"));
    let (store, apart) = (bench.store.join(hash), dir.join("attachments"));
    for folder in [store.join("ann"), apart.clone()] {
        fs::create_dir_all(folder).expect("a folder");
    }
    give(&bench.store);
    give(&apart);
    let settings = format!(
        "mail_location = sdbox:{}/%u/sdbox\nmail_attachment_dir = {}\nmail_attachment_min_size = 1k\n\
         mail_attachment_hash = %{{{hash}}}\nmail_attachment_fs = {fs_kind}\n",
        spec(&store),
        spec(&apart)
    );
    let mut server = Dovecot::with(&dir, &store, &settings);
    server.go();
    let mut imap = server.imap("ann");
    (1..=3).for_each(|number| imap.append("INBOX", "", letter(number).as_bytes()));
    drop(imap);
    server.stop();
    let files = walkdir::WalkDir::new(&apart).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    (apart.clone(), files.count())
}

fn run(bench: &Bench, verb: &str, store: &Path, apart: Option<&Path>) -> Answer {
    let apart = apart.into_iter().flat_map(|apart| [OsString::from("--attachments"), apart.into()]);
    bench.tool.run([OsString::from(verb), store.into()].into_iter().chain(apart))
}

/// A file of attachments that belongs to one message; with one file for many, every name of it.
fn one(apart: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let files = walkdir::WalkDir::new(apart).sort_by_file_name().into_iter().flatten();
    let files: Vec<_> = files.filter(|entry| entry.file_type().is_file()).collect();
    let inode = files.first().expect("an attachment").metadata().expect("a file").ino();
    let same = files.into_iter().filter(|entry| entry.metadata().expect("a file").ino() == inode);
    same.map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn attachments_kept_apart_are_proven_by_their_names() {
    if !kit::can("attachments apart", true, &["dovecot"]) {
        return;
    }
    for (hash, fs_kind) in [("sha1", "sis posix"), ("sha256", "posix"), ("sha512", "posix")] {
        let bench = kit::empty();
        let (apart, files) = mail(&bench, hash, fs_kind);
        assert!(files >= 6, "the server keeps {files} files apart");
        let store = bench.store.join(hash);
        // Without the folder nothing is said of them; with it every message is whole, and so it stays on record.
        let blind = run(&bench, "audit", &store, None);
        assert_eq!((blind.count("undetermined"), blind.count("damaged")), (3, 0), "{hash}: {blind}");
        assert!(blind.mentions("--attachments"), "{blind}");
        for verb in ["audit", "verify", "verify"] {
            let answer = run(&bench, verb, &store, Some(&apart)).expect(0);
            assert_eq!((answer.count("messages"), answer.count("undetermined")), (3, 0), "{hash}: {answer}");
        }
        let blind = run(&bench, "verify", &store, None);
        assert_eq!((blind.count("undetermined"), blind.count("damaged")), (3, 0), "{hash}: {blind}");
        // One bit in an attachment, and one that is gone.
        let names = one(&apart);
        let sound = fs::read(&names[0]).expect("an attachment");
        let mut broken = sound.clone();
        broken[700] ^= 1;
        fs::write(&names[0], &broken).expect("damage");
        let answer = run(&bench, "verify", &store, Some(&apart)).expect(4);
        assert_eq!(answer.count("damaged"), 1, "{hash}: {answer}");
        assert!(answer.mentions("kept apart is gone or damaged"), "{answer}");
        fs::write(&names[0], &sound).expect("an attachment");
        run(&bench, "verify", &store, Some(&apart)).expect(0);
        names.iter().for_each(|name| fs::remove_file(name).expect("a loss"));
        assert_eq!(run(&bench, "audit", &store, Some(&apart)).expect(4).count("damaged"), 1, "{hash}");
    }
}
