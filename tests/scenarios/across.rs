//! Any format heals any other: the same letters in two formats, one of them damaged, the other the only copy. What comes
//! out is, to the byte, what stood there before.

use crate::common::{Answer, Mailmend, spec, words};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Maildir,
    Sdbox,
    Mh,
    Eml,
    Mbox,
}

const KINDS: [Kind; 4] = [Kind::Maildir, Kind::Sdbox, Kind::Mh, Kind::Eml];
const RECEIVED: u64 = 1_700_000_000;

fn letter(number: u32) -> String {
    let head = format!(
        "From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <{number}@example.org>\n\
         Subject: number {number}\n\n"
    );
    // The last is larger than what is read whole.
    head + &format!("line {number} of a letter\n").repeat(if number == 6 { 70_000 } else { 300 })
}

fn frame(text: &str, number: u32) -> Vec<u8> {
    let (received, crlf) = (RECEIVED + u64::from(number), text.len() + text.matches('\n').count());
    let head = format!("2 M1e C{received:x}\n\x01\x02N          {:016X}\n", text.len());
    let tail = format!("\n\x01\x03\nR{received:x}\nV{crlf:x}\nG{number:032x}\n\n");
    [head, text.to_owned(), tail].concat().into_bytes()
}

/// As an mbox keeps it: behind its line, with what the server keeps in the header.
fn archived(number: u32) -> String {
    let (head, body) = letter(number).split_once("\n\n").map(|(h, b)| (h.to_owned(), b.to_owned())).expect("a header");
    let base = if number == 1 { "X-IMAPbase: 1700000000 0000000006\n" } else { "" };
    format!(
        "From ann@example.org  Tue Nov 14 22:13:{:02} 2023\n{head}\n{base}X-UID: {number}\nStatus: RO\n\
         Content-Length: {}\n\n{body}\n",
        20 + number,
        body.len()
    )
}

impl Kind {
    fn path(self, store: &Path, number: u32) -> PathBuf {
        let size = letter(number).len();
        store.join("ann").join(match self {
            Kind::Maildir => format!("Maildir/cur/{}.M{number}P1.mx,S={size}:2,S", RECEIVED + u64::from(number)),
            Kind::Sdbox => format!("sdbox/mailboxes/INBOX/dbox-Mails/u.{number}"),
            Kind::Mh => format!("Mail/inbox/{number}"),
            Kind::Eml => format!("mail/INBOX/letter {number}.eml"),
            Kind::Mbox => "archive".to_owned(),
        })
    }

    /// Programs that export mail end lines with CRLF, and mark what was read.
    fn bytes(self, number: u32) -> Vec<u8> {
        match self {
            Kind::Sdbox => frame(&letter(number), number),
            Kind::Eml => letter(number).replace('\n', "\r\n").into_bytes(),
            Kind::Maildir | Kind::Mh => letter(number).into_bytes(),
            Kind::Mbox => archived(number).into_bytes(),
        }
    }

    fn build(self, store: &Path) {
        if self == Kind::Mbox {
            fs::create_dir_all(store.join("ann")).expect("a folder");
            let all: String = (1..=6).map(archived).collect();
            return fs::write(self.path(store, 1), all).expect("an archive");
        }
        for number in 1..=6 {
            let path = self.path(store, number);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            self.write(store, number, &self.bytes(number));
        }
        if self == Kind::Maildir {
            ["new", "tmp"]
                .iter()
                .for_each(|sub| fs::create_dir_all(store.join("ann/Maildir").join(sub)).expect("a folder"));
        }
    }

    fn write(self, store: &Path, number: u32, bytes: &[u8]) {
        let path = self.path(store, number);
        fs::write(&path, bytes).expect("a message");
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED + u64::from(number));
        File::options().write(true).open(&path).and_then(|file| file.set_modified(when)).expect("a date");
    }
}

struct House {
    dir: tempfile::TempDir,
    kind: Kind,
    tool: Mailmend,
}

impl House {
    fn of(kind: Kind, copy: Kind) -> House {
        let dir = tempfile::tempdir().expect("a temporary folder");
        kind.build(&dir.path().join("store"));
        copy.build(&dir.path().join("copy"));
        let tool = Mailmend::with_state(dir.path().join("state"));
        House { dir, kind, tool }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn verify(&self) {
        let answer = self.tool.run(words(&["verify", &spec(&self.store()), "--mbox-timezone", "+00:00"]));
        assert_eq!((answer.count("messages"), answer.count("damaged")), (6, 0), "{answer}");
    }

    /// Silent damage: no time changes.
    fn harm(&self, number: u32, harm: impl Fn(&mut Vec<u8>)) {
        let mut bytes = self.kind.bytes(number);
        harm(&mut bytes);
        self.kind.write(&self.store(), number, &bytes);
    }

    fn repair(&self) -> Answer {
        self.repair_by("+00:00")
    }

    /// The same, with the dates of an mbox read by that clock.
    fn repair_by(&self, zone: &str) -> Answer {
        self.repair_with(&["--mbox-timezone", zone])
    }

    fn repair_with(&self, more: &[&str]) -> Answer {
        let (store, copy) = (spec(&self.store()), spec(&self.dir.path().join("copy")));
        self.tool.run(words(&["repair", &store, "--from", &copy, "--apply"]).chain(words(more)))
    }

    fn assert_whole(&self, number: u32, answer: &Answer) {
        let found = fs::read(self.kind.path(&self.store(), number)).unwrap_or_default();
        let same = found == self.kind.bytes(number);
        let (found, kind) = (String::from_utf8_lossy(&found).into_owned(), self.kind);
        assert!(same, "{kind:?} {number}: {:?}\n{answer}", &found[..found.len().min(400)]);
        let time = fs::metadata(kind.path(&self.store(), number)).expect("a message").modified().expect("its time");
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED + u64::from(number));
        assert_eq!(time, expected, "{kind:?} {number}");
    }
}

fn pairs() -> impl Iterator<Item = (Kind, Kind)> {
    let copies = || KINDS.into_iter().chain([Kind::Mbox]);
    KINDS.into_iter().flat_map(move |kind| copies().filter(move |&copy| copy != kind).map(move |copy| (kind, copy)))
}

#[test]
fn with_a_catalog_every_format_gives_back_the_recorded_bytes() {
    for (kind, copy) in pairs() {
        let house = House::of(kind, copy);
        house.verify();
        house.harm(1, |bytes| bytes[3000] ^= 1);
        house.harm(2, |bytes| bytes[1024..2048].fill(0));
        // Of a message in sdbox, only its own frame knows GUID and date: these end with it.
        let framed = kind == Kind::Sdbox;
        if !framed {
            house.harm(3, |bytes| bytes.truncate(1000));
            house.harm(4, Vec::clear);
        }
        house.harm(6, |bytes| bytes[1_200_000] ^= 1);
        let answer = house.repair();
        assert_eq!(answer.count("repaired"), if framed { 3 } else { 5 }, "{kind:?} from {copy:?}: {answer}");
        (1..=6).for_each(|number| house.assert_whole(number, &answer));
    }
}

#[test]
fn a_lost_message_comes_back_from_another_format() {
    for (kind, copy) in pairs().filter(|(kind, _)| *kind != Kind::Sdbox) {
        let house = House::of(kind, copy);
        house.verify();
        let path = kind.path(&house.store(), 5);
        let folder = path.parent().expect("a folder");
        let before = fs::metadata(folder).expect("the folder").modified().expect("its time");
        fs::remove_file(&path).expect("a loss");
        File::open(folder).and_then(|dir| dir.set_modified(before)).expect("a folder that nobody changed");
        let answer = house.repair();
        assert_eq!(answer.count("repaired"), 1, "{kind:?} from {copy:?}: {answer}");
        house.assert_whole(5, &answer);
    }
}

#[test]
fn a_blank_disk_gets_everything_on_record_back_from_another_format() {
    for (kind, copy) in pairs().filter(|(kind, _)| *kind != Kind::Sdbox) {
        let house = House::of(kind, copy);
        house.verify();
        fs::remove_dir_all(house.store().join("ann")).expect("a loss");
        let answer = house.repair();
        assert_eq!(answer.count("repaired"), 6, "{kind:?} from {copy:?}: {answer}");
        (1..=6).for_each(|number| house.assert_whole(number, &answer));
        house.verify();
    }
}

#[test]
fn without_a_catalog_a_copy_must_equal_what_is_left() {
    for (kind, copy) in pairs() {
        let house = House::of(kind, copy);
        house.harm(2, |bytes| bytes[1024..2048].fill(0));
        // One byte outside of the damage differs from the only copy: that is another message.
        house.harm(3, |bytes| {
            bytes[1024..2048].fill(0);
            bytes[4000] ^= 1;
        });
        let answer = house.repair();
        assert_eq!(answer.count("repaired"), 1, "{kind:?} from {copy:?}: {answer}");
        house.assert_whole(2, &answer);
        let left = fs::read(kind.path(&house.store(), 3)).expect("the message");
        assert!(left[1024..2048].iter().all(|&byte| byte == 0), "{kind:?} from {copy:?}");
    }
}

#[test]
fn an_mbox_is_healed_from_every_format() {
    for copy in KINDS {
        for known in [true, false] {
            let house = House::of(Kind::Mbox, copy);
            let path = Kind::Mbox.path(&house.store(), 1);
            let whole = fs::read_to_string(&path).expect("an archive");
            if known {
                house.verify();
            }
            let at = |text: &str| whole.find(text).expect("a message");
            let mut harmed = whole.clone().into_bytes();
            harmed[at("line 2 of") + 1024..][..512].fill(0);
            let mut expected = whole.clone();
            if known {
                harmed[at("X-IMAPbase: 17") + 12] = b'q';
                harmed[at("line 1 of")] ^= 1;
                harmed[at("From ann@example.org  Tue Nov 14 22:13:23")] ^= 1;
                harmed[at("X-UID: 2") + 7] = b'w';
                let lost =
                    at("From ann@example.org  Tue Nov 14 22:13:25")..at("From ann@example.org  Tue Nov 14 22:13:26");
                // Whether it was read only the name of a copy tells.
                if copy != Kind::Maildir {
                    let read = lost.start + whole[lost.clone()].find("Status: RO").expect("a flag");
                    expected.replace_range(read..read + 10, "Status: O");
                }
                harmed.drain(lost);
            }
            fs::write(&path, harmed).expect("damage");
            let answer = house.repair_with(&["--mbox-timezone", "+00:00", "--undecided", "restore"]);
            let repaired = if known { 4 } else { 1 };
            assert_eq!((answer.status, answer.count("repaired")), (1, repaired), "{copy:?}, {known}: {answer}");
            let found = fs::read_to_string(&path).expect("text again");
            let differs = found.bytes().zip(expected.bytes()).position(|(a, b)| a != b).unwrap_or(found.len());
            let near =
                |text: &str| text[differs.saturating_sub(200).min(text.len())..].chars().take(400).collect::<String>();
            assert!(found == expected, "{copy:?}, {known}, at {differs}:\n{}\n---\n{}", near(&found), near(&expected));
            house.verify();
        }
    }
}

#[test]
fn an_mbox_that_is_lost_comes_back_from_every_format() {
    for copy in KINDS {
        let house = House::of(Kind::Mbox, copy);
        let path = Kind::Mbox.path(&house.store(), 1);
        let whole = fs::read_to_string(&path).expect("an archive");
        house.verify();
        fs::remove_file(&path).expect("a loss");
        let answer = house.repair();
        assert_eq!((answer.status, answer.count("repaired")), (1, 6), "{copy:?}: {answer}");
        let read = if copy == Kind::Maildir { "RO" } else { "O" };
        let found = fs::read_to_string(&path).expect("text again");
        assert!(found == whole.replace("Status: RO", &format!("Status: {read}")), "{copy:?}: {}", &found[..600]);
        house.verify();
    }
}

#[test]
fn an_archive_with_other_line_ends_keeps_them() {
    let house = House::of(Kind::Mbox, Kind::Maildir);
    let path = Kind::Mbox.path(&house.store(), 1);
    let own = |line: &&str| !["X-", "Status", "Content"].iter().any(|name| line.starts_with(name));
    let whole: String = (1..=6).map(archived).collect::<String>().split_inclusive('\n').filter(own).collect();
    let whole = whole.replace('\n', "\r\n");
    fs::write(&path, &whole).expect("an archive");
    house.verify();
    let at = |text: &str| whole.find(text).expect("a message");
    let mut harmed = whole.clone().into_bytes();
    harmed[at("line 2 of") + 1024..][..512].fill(0);
    harmed[at("From ann@example.org  Tue Nov 14 22:13:23")] ^= 1;
    fs::write(&path, harmed).expect("damage");
    let answer = house.repair_with(&["--mbox-timezone", "+00:00", "--undecided", "restore"]);
    assert_eq!((answer.status, answer.count("repaired")), (1, 2), "{answer}");
    let found = fs::read_to_string(&path).expect("text again");
    let differs = found.lines().zip(whole.lines()).find(|(is, was)| is != was);
    assert!(found == whole, "{differs:?}, {} of {}", found.len(), whole.len());
}

#[test]
fn the_clock_of_an_mbox_is_stated_where_it_decides() {
    for known in [false, true] {
        let house = House::of(Kind::Maildir, Kind::Mbox);
        if known {
            house.verify();
        }
        house.harm(2, |bytes| bytes[1024..2048].fill(0));
        let answer = house.repair_by("-01:30");
        assert_eq!(answer.count("repaired"), 1, "known {known}: {answer}");
        assert_eq!(answer.mentions("--mbox-timezone"), !known, "{answer}");
        let when =
            fs::metadata(Kind::Maildir.path(&house.store(), 2)).and_then(|meta| meta.modified()).expect("a date");
        let later = when.duration_since(SystemTime::UNIX_EPOCH).expect("since 1970").as_secs() - RECEIVED - 2;
        assert_eq!(later, if known { 0 } else { 5400 });
    }
}

#[test]
fn marks_of_other_software_do_not_come_along() {
    for kind in [Kind::Maildir, Kind::Sdbox, Kind::Eml] {
        for known in [true, false] {
            let house = House::of(kind, Kind::Mh);
            if known {
                house.verify();
            }
            let marked = letter(2).replacen("Subject:", "Status: RO\nX-UID: 7\nX-Keywords: a\n b\nSubject:", 1);
            Kind::Mh.write(&house.dir.path().join("copy"), 2, marked.as_bytes());
            house.harm(2, |bytes| bytes[1024..2048].fill(0));
            let answer = house.repair();
            assert_eq!(answer.count("repaired"), 1, "{kind:?}, known {known}: {answer}");
            house.assert_whole(2, &answer);
        }
    }
}

#[test]
fn a_copy_whose_parts_lie_elsewhere_is_no_copy() {
    for known in [true, false] {
        let house = House::of(Kind::Maildir, Kind::Sdbox);
        if known {
            house.verify();
        }
        let rest = letter(2).split_off(2000);
        let stripped = letter(2)[..2000].to_owned();
        let (received, crlf) = (RECEIVED + 2, letter(2).len() + letter(2).matches('\n').count());
        let head = format!("2 M1e C{received:x}\n\x01\x02N          {:016X}\n", stripped.len());
        let tail = format!("\n\x01\x03\nR{received:x}\nV{crlf:x}\nG{:032x}\nX2000 {} - ab/cd/x-y\n\n", 2, rest.len());
        Kind::Sdbox.write(&house.dir.path().join("copy"), 2, (head + &stripped + &tail).as_bytes());
        house.harm(2, |bytes| bytes.truncate(1000));
        let answer = house.repair();
        assert_eq!((answer.count("damaged"), answer.count("repaired")), (1, 0), "known {known}: {answer}");
    }
}

#[test]
fn what_only_another_format_holds_is_no_loss() {
    for (kind, copy) in pairs().filter(|(_, copy)| *copy != Kind::Mbox) {
        let house = House::of(kind, copy);
        house.verify();
        let more = copy.path(&house.dir.path().join("copy"), 1).with_file_name(match copy {
            Kind::Maildir => "1800000000.M7P1.mx:2,",
            Kind::Sdbox => "u.7",
            Kind::Mh => "7",
            Kind::Eml | Kind::Mbox => "more.eml",
        });
        let text = letter(7);
        fs::write(more, if copy == Kind::Sdbox { frame(&text, 7) } else { text.into_bytes() }).expect("a message");
        let answer = house.repair();
        assert_eq!(
            (answer.count("repaired"), answer.count("missing.lost")),
            (0, 0),
            "{kind:?} from {copy:?}: {answer}"
        );
    }
}
