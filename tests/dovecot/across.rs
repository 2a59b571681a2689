//! Any format heals any other, judged by the server that keeps the store: what is damaged comes from copies that the same
//! server made in its other formats, and from plain files.

use crate::common::bench::Bench;
use crate::common::{Answer, long, spec, words};
use crate::kit;
use crate::server::{Dovecot, give};
use std::fs;
use std::path::{Path, PathBuf};

/// Formats of the server's.
const SERVED: [&str; 4] = ["maildir", "mbox", "sdbox", "mdbox"];
const PLAIN: [&str; 2] = ["mh", "eml"];
const LETTERS: usize = 8;
/// A bit in the one, zeros in the other.
const HARMED: [usize; 2] = [3, 5];

/// With lines that look as if they began messages: this server quotes none.
fn letter(number: usize) -> String {
    let head = format!(
        "Return-Path: <bob@example.org>\nFrom: bob@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\
         Message-ID: <{number}@example.org>\nSubject: number {number}\n\n"
    );
    let line = "From here on nothing is quoted.\n\nFrom bob@example.org  Mon Jan  1 00:00:00 2024\n";
    head + line + &format!("the body of letter {number} of them\n").repeat(60)
}

fn location(format: &str, home: &Path) -> String {
    let home = home.display();
    match format {
        "maildir" => format!("maildir:{home}/Maildir"),
        "mbox" => format!("mbox:{home}/mail:INBOX={home}/mail/inbox"),
        _ => format!("{format}:{home}/{format}"),
    }
}

struct World {
    bench: Bench,
    server: Dovecot,
}

impl World {
    fn build(format: &str) -> World {
        let bench = kit::empty();
        let copies = bench.dir.path().join("copies");
        for home in SERVED.map(|copy| copies.join(copy).join("ann")).into_iter().chain([bench.store.join("ann")]) {
            fs::create_dir_all(home).expect("a home");
        }
        give(&bench.store);
        give(&copies);
        let dir = bench.dir.path().join("dovecot");
        let place = location(format, &bench.store.join("ann"));
        let mut server = Dovecot::with(
            &dir,
            &bench.store,
            &format!("mail_location = {place}\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n"),
        );
        server.go();
        let world = World { bench, server };
        (1..=LETTERS).for_each(|number| world.server.save(&letter(number)));
        world.server.must(&["flags", "add", "-u", "ann", "\\Seen", "mailbox", "INBOX", "uid", "1:3"]);
        world.server.must(&["flags", "add", "-u", "ann", "\\Flagged work", "mailbox", "INBOX", "uid", "3:6"]);
        for copy in SERVED.iter().filter(|copy| **copy != format) {
            world.server.must(&["backup", "-u", "ann", &location(copy, &copies.join(copy).join("ann"))]);
        }
        for number in 1..=LETTERS {
            let text = letter(number);
            for (path, text) in [
                (format!("mh/ann/inbox/{number}"), text.clone()),
                (format!("eml/ann/INBOX/{number}.eml"), text.replace('\n', "\r\n")),
            ] {
                let path = copies.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a letter");
            }
        }
        world
    }

    /// Files with mail in them.
    fn files(&self) -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(&self.bench.store).into_iter().flatten();
        let mail = all.filter(|entry| entry.file_type().is_file());
        let own = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot"));
        mail.map(walkdir::DirEntry::into_path).filter(|path| !own(path)).collect()
    }

    /// Damages one message of each kind, without a trace in any date.
    fn harm(&self) {
        for path in self.files() {
            let date = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a date");
            let mut bytes = fs::read(&path).expect("a file");
            for (nth, number) in HARMED.into_iter().enumerate() {
                let text = format!("the body of letter {number} of");
                let Some(at) = memchr::memmem::find(&bytes, text.as_bytes()) else { continue };
                match nth {
                    0 => bytes[at + 5] ^= 4,
                    _ => bytes[at + 500..at + 800].fill(0),
                }
            }
            // In place, as disks do it.
            fs::write(&path, bytes).expect("damage");
            fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(date)).expect("its date");
        }
    }

    fn repair(&self, copy: &str, more: &[&str]) -> Answer {
        let (store, copy) = (spec(&self.bench.store), spec(&self.bench.dir.path().join("copies").join(copy)));
        self.bench.tool.run(words(&["repair", &store, "--from", &copy, "--apply"]).chain(words(more)))
    }
}

/// The formats of the copies that one in `format` is healed from: every other one in a short run, other ones for each format.
fn chosen(format: &str, nth: usize) -> Vec<&'static str> {
    let all = SERVED.into_iter().chain(PLAIN).filter(|copy| *copy != format).enumerate();
    all.filter(|(at, _)| long() || (at + nth).is_multiple_of(2)).map(|(_, copy)| copy).collect()
}

#[test]
fn every_format_is_healed_from_every_other() {
    if !kit::can("copies in other formats", true, &["dovecot", "doveadm"]) {
        return;
    }
    for (nth, format) in SERVED.into_iter().enumerate() {
        let mut world = World::build(format);
        let before = world.server.shown();
        assert_eq!(before.matches("Subject: number").count(), LETTERS, "{before}");
        world.bench.tool.verify(&world.bench.store).expect(0);
        for copy in chosen(format, nth) {
            world.server.stop();
            world.harm();
            let answer = world.repair(copy, &[]);
            assert_eq!((answer.status, answer.count("repaired")), (1, 2), "{format} from {copy}: {answer}");
            world.server.go();
            let after = world.server.shown();
            let differs = before.lines().zip(after.lines()).find(|(was, is)| was != is);
            assert!(after == before, "{format} from {copy}: {differs:?}");
        }
        assert_eq!(world.server.complaints(), Vec::<String>::new(), "{format}");
    }
}

#[test]
fn messages_that_an_mbox_lost_come_back_from_other_formats_with_their_flags() {
    if !kit::can("an mbox from other formats", true, &["dovecot", "doveadm"]) {
        return;
    }
    let mut world = World::build("mbox");
    let (before, file) = (world.server.shown(), world.bench.store.join("ann/mail/inbox"));
    world.bench.tool.verify(&world.bench.store).expect(0);
    for copy in chosen("mbox", 0) {
        for noticed in [false, true] {
            world.server.stop();
            let bytes = fs::read(&file).expect("a mailbox");
            let begins: Vec<usize> = memchr::memmem::find_iter(&bytes, b"Return-Path: <bob").collect();
            let start = |nth: usize| memchr::memmem::rfind(&bytes[..begins[nth]], b"From ").expect("a line");
            let cut = [&bytes[..start(3)], &bytes[start(4)..]].concat();
            fs::write(&file, cut).expect("a loss");
            if noticed {
                world.server.go();
                assert_eq!(world.server.shown().matches("Subject: number").count(), LETTERS - 1);
                world.server.stop();
            }
            let answer = world.repair(copy, &["--undecided", "restore"]);
            assert_eq!((answer.status, answer.count("repaired")), (1, 1), "{copy}, {noticed}: {answer}");
            world.server.go();
            let after = world.server.shown();
            let differs = before.lines().zip(after.lines()).find(|(was, is)| was != is);
            assert!(after == before, "{copy}, noticed {noticed}: {differs:?}");
        }
    }
}
