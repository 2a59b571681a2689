//! mdbox without a server: a storage that a real one wrote the like of, with its map and indexes made by hand.

use crate::common::{Answer, Mailmend, words};
use std::fs;
use std::path::{Path, PathBuf};

pub struct House {
    dir: tempfile::TempDir,
    pub store: PathBuf,
    pub tool: Mailmend,
}

/// A message in the storage.
struct Laid {
    uid: u32,
    file: u32,
    offset: usize,
    size: usize,
    guid: [u8; 16],
    refs: u16,
}

const FILES: u32 = 3;
const EACH: u32 = 6;

fn letter(uid: u32) -> String {
    let head = format!("From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: {uid}\n\n");
    head + &format!("line {uid}\n").repeat(300)
}

pub fn framed(uid: u32, guid: &[u8; 16]) -> Vec<u8> {
    let text = letter(uid);
    let crlf = text.len() + text.matches('\n').count();
    let guid: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!("\x01\x02N          {:016X}\n", text.len());
    format!("{head}{text}\n\x01\x03\nR6560a1b1\nV{crlf:x}\nG{guid}\nBINBOX\n\n").into_bytes()
}

/// One record of a log.
pub fn record(kind: u32, payload: &[u8]) -> Vec<u8> {
    let size = (8 + payload.len()) as u32 >> 2;
    let packed = [21, 14, 7, 0].map(|shift| 0x80 | (size >> shift) as u8 & 0x7f);
    [&packed[..], &kind.to_le_bytes(), payload].concat()
}

pub fn number(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// Introduces an extension with records of so many bytes; those of each message follow.
pub fn extension(name: &str, values: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let length = values[0].1.len() as u16;
    let mut intro = [number(u32::MAX), number(0), number(0)].concat();
    intro.extend([length, 1, 1, name.len() as u16].map(u16::to_le_bytes).concat());
    intro.extend(name.as_bytes());
    intro.resize(intro.len().next_multiple_of(4), 0);
    let mut rows = Vec::new();
    for (uid, value) in values {
        rows.extend([&number(*uid)[..], value].concat());
        rows.resize(rows.len().next_multiple_of(4), 0);
    }
    [record(0x40, &intro), record(0x200, &rows)].concat()
}

/// What an extension has for each UID.
pub type Values = Vec<(u32, Vec<u8>)>;

/// A log that gives away UIDs, with what extensions have for each.
pub fn log(uids: &[u32], extensions: &[(&str, Values)], more: &[u8]) -> Vec<u8> {
    let mut log = vec![1, 3, 40, 0];
    for word in [77, 2, 0, 0, 1_700_000_000, 1, 0] {
        log.extend(number(word));
    }
    log.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    let validity = [&[24, 0, 4, 0][..], &number(1_700_000_000)].concat();
    log.extend(record(0x1000_0020, &validity));
    let appended: Vec<u8> = uids.iter().flat_map(|uid| [number(*uid), number(0)].concat()).collect();
    log.extend(record(0x1000_0002, &appended));
    extensions.iter().for_each(|(name, values)| log.extend(extension(name, values)));
    log.extend(more);
    log
}

/// A client's request to expunge a message, and that it was met.
fn expunged(uid: u32, guid: &[u8; 16]) -> Vec<u8> {
    let entry = [&number(uid)[..], guid].concat();
    [record(0xed90, &entry), record(0x1000_ed90, &entry)].concat()
}

impl House {
    /// Eighteen messages in three files; UID 4 was expunged by its owner and still lies there.
    pub fn build() -> House {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let house =
            House { store: dir.path().join("store"), tool: Mailmend::with_state(dir.path().join("state")), dir };
        fs::create_dir_all(house.folder()).expect("a mailbox");
        fs::create_dir_all(house.storage("")).expect("a storage");
        let laid = house.lay();
        house.write_indexes(&laid, &[]);
        house
    }

    fn lay(&self) -> Vec<Laid> {
        let mut laid = Vec::new();
        for file in 1..=FILES {
            let mut bytes = b"2 M1e C6560a1b2\n".to_vec();
            for nth in 0..EACH {
                let uid = (file - 1) * EACH + nth + 1;
                let guid = [uid as u8; 16];
                let message = framed(uid, &guid);
                let (offset, size, refs) = (bytes.len(), message.len(), u16::from(uid != 4));
                laid.push(Laid { uid, file, offset, size, guid, refs });
                bytes.extend(message);
            }
            fs::write(self.storage(&format!("m.{file}")), bytes).expect("a storage file");
        }
        laid
    }

    /// The map and INBOX's index; `gone` are expunged beside UID 4.
    fn write_indexes(&self, laid: &[Laid], gone: &[u32]) {
        let uids: Vec<u32> = laid.iter().map(|one| one.uid).collect();
        let of = |value: &dyn Fn(&Laid) -> Vec<u8>| laid.iter().map(|one| (one.uid, value(one))).collect();
        let place = |one: &Laid| [number(one.file), number(one.offset as u32), number(one.size as u32)].concat();
        let map = [("map", of(&place)), ("ref", of(&|one| one.refs.to_le_bytes().to_vec()))];
        fs::write(self.storage("dovecot.map.index.log"), log(&uids, &map, &[])).expect("a map");
        let own = [
            ("mdbox", of(&|one| [number(one.uid), number(1_700_000_000)].concat())),
            ("guid", of(&|one| one.guid.to_vec())),
        ];
        let all = [&[4], gone].concat();
        let more: Vec<u8> = all.iter().flat_map(|uid| expunged(*uid, &[*uid as u8; 16])).collect();
        fs::write(self.folder().join("dovecot.index.log"), log(&uids, &own, &more)).expect("an index");
    }

    pub fn folder(&self) -> PathBuf {
        self.store.join("ann/mdbox/mailboxes/INBOX/dbox-Mails")
    }

    pub fn storage(&self, name: &str) -> PathBuf {
        self.store.join("ann/mdbox/storage").join(name)
    }

    pub fn run(&self, verb: &str) -> Answer {
        self.on(verb, &self.store)
    }

    fn on(&self, verb: &str, store: &Path) -> Answer {
        self.tool.run(words(&[verb]).chain([store.to_owned().into()]))
    }

    /// Changes a storage file.
    pub fn harm(&self, file: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.storage(&format!("m.{file}"));
        let mut bytes = fs::read(&path).expect("a storage file");
        change(&mut bytes);
        fs::write(path, bytes).expect("damage");
    }
}

/// Where the second message of a file begins.
fn second(bytes: &[u8]) -> usize {
    let mut headers = memchr::memmem::find_iter(bytes, b"\x01\x02N ");
    headers.nth(1).expect("a second message")
}

#[test]
fn a_whole_storage_is_whole_and_a_second_night_knows_it() {
    let house = House::build();
    let answer = house.run("audit").expect(0);
    assert_eq!((answer.count("accounts"), answer.count("mailboxes"), answer.count("messages")), (1, 1, 17), "{answer}");
    assert!(!answer.mentions("none of the server's lists"), "mdbox has none: {answer}");
    house.run("verify").expect(0);
    let answer = house.run("verify").expect(0);
    assert_eq!(answer.count("intact.identical"), 17, "{answer}");
    house.run("status").expect(0);
    let answer = house.tool.run(words(&["verify", "--budget", "1%"]).chain([house.store.clone().into()])).expect(0);
    assert!(answer.count("deferred") > 0, "{answer}");
    // The account itself is a store too.
    let answer = house.on("audit", &house.store.join("ann/mdbox")).expect(0);
    assert_eq!(answer.count("messages"), 17, "{answer}");
}

/// What is done to one storage file.
type Change = fn(&mut Vec<u8>);

/// Harm to one message.
const HARMS: [(&str, Change); 8] = [
    ("a bit in the body", |bytes| *byte(bytes, b"line 8\n", 200) ^= 0x80),
    ("a bit in the message's header", |bytes| *byte(bytes, b"Subject: 8", 0) ^= 0x80),
    ("a bit in the frame's header", |bytes| {
        let at = second(bytes);
        bytes[at] ^= 1;
    }),
    ("a digit of the size", |bytes| {
        let at = second(bytes) + 28;
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
    }),
    ("the magic of the trailer", |bytes| {
        let at = memchr::memmem::find_iter(&*bytes, b"\n\x01\x03\n").nth(1).expect("a trailer");
        bytes[at + 1] ^= 4;
    }),
    ("a digit of the GUID", |bytes| *byte(bytes, b"G0808", 3) = b'9'),
    ("a letter of the trailer", |bytes| *byte(bytes, b"G0808", 0) = b'\x07'),
    ("zeros in the body", |bytes| {
        let at = second(bytes) + 600;
        bytes[at..at + 512].fill(0);
    }),
];

/// To none.
const LINE: (&str, Change) = ("the line of the file alone", |bytes| bytes[0] ^= 1);

/// To several.
const WIDER: [(&str, Change); 5] = [
    ("zeros over two messages", |bytes| {
        let at = second(bytes) + 600;
        bytes[at..at + 2512].fill(0);
    }),
    ("cut to half", |bytes| bytes.truncate(bytes.len() / 2)),
    ("cut within what comes first", |bytes| bytes.truncate(100)),
    ("emptied", Vec::clear),
    ("zeroed", |bytes| bytes.fill(0)),
];

#[test]
fn each_harm_is_found_where_it_is_and_nowhere_else() {
    for (what, change) in HARMS.into_iter().chain([LINE]) {
        for known in [false, true] {
            let house = House::build();
            if known {
                house.run("verify").expect(0);
            }
            house.harm(2, change);
            let answer = house.run("audit");
            let [damaged, suspect, lost, unchecked] =
                ["damaged", "suspect", "missing.lost", "not_checked"].map(|name| answer.count(name));
            let harmless = what.starts_with("the line");
            // A letter that became another is nothing that bytes alone have to show.
            let blind = ["a bit in the body", "a bit in the message's header"].contains(&what) && !known;
            let least = u64::from(!harmless && !blind);
            let most = u64::from(!harmless);
            assert!((least..=most).contains(&(damaged + suspect)), "{what}, known {known}: {answer}");
            assert_eq!((lost, unchecked), (0, 0), "{what}, known {known}: {answer}");
            if known {
                assert_eq!((damaged, answer.status), (most, 4 * most as i32), "{what}: {answer}");
            }
        }
    }
}

/// A byte so far behind the first place of a text.
fn byte<'b>(bytes: &'b mut [u8], text: &[u8], behind: usize) -> &'b mut u8 {
    let at = memchr::memmem::find(bytes, text).expect("what is to be harmed");
    &mut bytes[at + behind]
}

#[test]
fn what_a_lost_or_cut_file_held_is_lost_and_nothing_that_was_deleted() {
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    for known in [false, true] {
        let house = House::build();
        if known {
            house.run("verify").expect(0);
        }
        // In the first file lies the message that its owner expunged.
        fs::remove_file(house.storage("m.1")).expect("a loss");
        let answer = house.run("audit").expect(4);
        assert_eq!((answer.count("missing.lost"), answer.count("messages")), (5, 12), "known {known}: {answer}");
        house.harm(2, cut);
        let answer = house.run("audit").expect(4);
        let [lost, damaged] = ["missing.lost", "damaged"].map(|name| answer.count(name));
        assert!(lost == 7 && damaged == 1 || lost == 8 && damaged == 0, "known {known}: {answer}");
        house.harm(3, Vec::clear);
        let answer = house.run("verify").expect(4);
        assert_eq!(answer.count("missing.lost"), lost + 6, "known {known}: {answer}");
        let answer = house.run("verify").expect(4);
        assert_eq!(answer.count("missing.lost"), lost + 6, "a second night, known {known}: {answer}");
        assert!(!answer.mentions("u.4\""), "{answer}");
    }
}

#[test]
fn a_zeroed_file_is_damage_of_all_its_messages() {
    let house = House::build();
    house.harm(3, |bytes| bytes.fill(0));
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("damaged"), answer.count("missing.lost")), (6, 0), "{answer}");
}

#[test]
fn what_users_expunge_is_no_loss() {
    let house = House::build();
    house.run("verify").expect(0);
    let laid = house.lay();
    house.write_indexes(&laid, &[7, 8]);
    let answer = house.run("verify").expect(0);
    assert_eq!((answer.count("deleted"), answer.count("messages")), (2, 15), "{answer}");
    // And a server that purges takes the file with it.
    fs::remove_file(house.storage("m.1")).expect("a loss");
    assert_eq!(house.run("verify").expect(4).count("missing.lost"), 5);
}

#[test]
fn without_its_map_the_storage_is_searched_and_the_loss_told() {
    let house = House::build();
    house.run("verify").expect(0);
    fs::remove_file(house.storage("dovecot.map.index.log")).expect("a loss");
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("messages"), answer.count("intact.identical")), (17, 17), "{answer}");
    assert_eq!((answer.count("companions_lost"), answer.count("missing.lost")), (1, 0), "{answer}");
    assert!(answer.mentions("the map of the storage is gone"), "{answer}");
    house.harm(2, |bytes| {
        let at = second(bytes) + 600;
        bytes[at..at + 512].fill(0);
    });
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("damaged"), answer.count("intact.identical")), (1, 16), "{answer}");
}

#[test]
fn a_garbled_map_is_told_and_the_storage_searched() {
    let house = House::build();
    let backup = backup(&house);
    house.run("verify").expect(0);
    let map = house.storage("dovecot.map.index.log");
    let mut bytes = fs::read(&map).expect("a map");
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    fs::write(&map, bytes).expect("damage");
    let answer = house.run("audit").expect(4);
    assert_eq!((answer.count("intact.identical"), answer.count("missing.lost")), (17, 0), "{answer}");
    assert_eq!((answer.count("companions_lost"), answer.count("not_checked")), (1, 0), "{answer}");
    // Without it nothing is put back, for nobody knows where each byte belongs.
    house.harm(2, |bytes| *byte(bytes, b"line 8\n", 200) ^= 0x80);
    let answer = repair(&house, &backup).expect(4);
    assert_eq!((answer.count("damaged"), answer.count("repaired"), answer.count("held")), (1, 0, 1), "{answer}");
}

#[test]
fn a_storage_that_is_gone_is_loss_of_all_that_was_in_it() {
    let house = House::build();
    let index = house.folder().join("dovecot.index.log");
    let mut bytes = fs::read(&index).expect("an index");
    // What Dovecot says there of itself.
    bytes.extend(extension("mdbox-hdr", &[(1, vec![0; 4])]));
    fs::write(&index, bytes).expect("an index");
    fs::remove_dir_all(house.storage("")).expect("a loss");
    for known in [false, true] {
        let answer = house.run(if known { "verify" } else { "audit" }).expect(4);
        assert_eq!((answer.count("missing.lost"), answer.count("messages")), (17, 0), "known {known}: {answer}");
    }
}

#[test]
fn what_the_indexes_do_not_tell_is_not_checked_and_never_called_lost() {
    for harm in [true, false] {
        let house = House::build();
        house.run("verify").expect(0);
        let index = house.folder().join("dovecot.index.log");
        if harm {
            let mut bytes = fs::read(&index).expect("an index");
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0);
            fs::write(&index, bytes).expect("damage");
        } else {
            fs::remove_file(&index).expect("a loss");
        }
        let answer = house.run("verify");
        assert_eq!(answer.status & 8, 8, "{answer}");
        assert_eq!((answer.count("missing.lost"), answer.count("deleted")), (0, 0), "{answer}");
    }
    let house = House::build();
    std::os::unix::fs::symlink("/nowhere", house.store.join("ann/mdbox/dbox-alt-root")).expect("a link");
    fs::remove_file(house.storage("m.1")).expect("a file that was moved");
    let answer = house.run("audit");
    assert_eq!((answer.status & 8, answer.count("missing.lost")), (8, 0), "{answer}");
    assert!(answer.mentions("alternative storage (ALT=) is not looked for"), "{answer}");
}

/// A copy of a whole account, file by file.
pub fn backup(house: &House) -> PathBuf {
    let backup = house.dir.path().join("backup");
    let copied = std::process::Command::new("cp").arg("-a").args([&house.store, &backup]).status();
    assert!(copied.expect("cp").success());
    backup
}

pub fn repair(house: &House, backup: &Path) -> Answer {
    let line = words(&["repair"]).chain([house.store.clone().into(), "--from".into(), backup.into(), "--apply".into()]);
    house.tool.run(line)
}

pub fn files(house: &House) -> Vec<Vec<u8>> {
    (1..=FILES).map(|file| fs::read(house.storage(&format!("m.{file}"))).unwrap_or_default()).collect()
}

#[test]
fn a_storage_file_is_healed_to_the_byte_and_given_back_by_undo() {
    for (what, change) in HARMS.into_iter().chain(WIDER) {
        let house = House::build();
        let (backup, whole) = (backup(&house), files(&house));
        house.run("verify").expect(0);
        house.harm(2, change);
        let harmed = files(&house);
        let answer = repair(&house, &backup).expect(1);
        assert!(answer.count("repaired") > 0 && answer.count("held") == 0, "{what}: {answer}");
        // When the file was made nobody knows once that is gone.
        let line = if ["emptied", "zeroed"].contains(&what) { 16 } else { 0 };
        let now = files(&house);
        assert!(now[1][line..] == whole[1][line..] && now[1].len() == whole[1].len(), "{what}: not as it was");
        assert!((&now[0], &now[2]) == (&whole[0], &whole[2]), "{what}");
        assert!(!house.storage("dovecot.map.index.log.lock").exists(), "{what}");
        let again = house.run("audit").expect(0);
        assert_eq!(again.count("intact.identical"), 17, "{what}: {again}");
        let run = answer.summary()["run"].as_str().expect("a run").to_owned();
        house.tool.run(words(&["undo", &run, "--apply"])).expect(0);
        assert!(files(&house) == harmed, "{what}: undo");
    }
}

#[test]
fn a_lost_storage_file_comes_back_with_its_gaps_where_the_map_has_them() {
    for known in [false, true] {
        let house = House::build();
        let (backup, whole) = (backup(&house), files(&house));
        if known {
            house.run("verify").expect(0);
        }
        fs::remove_file(house.storage("m.1")).expect("a loss");
        // What came after the copy is not in it, and what its owner deleted need not be.
        let copy = backup.join("ann/mdbox/storage/m.1");
        let mut bytes = fs::read(&copy).expect("a copy");
        *byte(&mut bytes, b"line 4\n", 700) = 0;
        fs::write(&copy, bytes).expect("a copy");
        let answer = repair(&house, &backup).expect(1);
        assert_eq!((answer.count("repaired"), answer.count("held")), (5, 0), "known {known}: {answer}");
        let now = files(&house);
        let (fourth, fifth) = (whole[0].len() / 6 * 3, whole[0].len() / 6 * 4 + 16);
        assert_eq!(now[0].len(), whole[0].len());
        assert!(now[0][16..fourth] == whole[0][16..fourth] && now[0][fifth..] == whole[0][fifth..], "known {known}");
        assert!(memchr::memmem::find(&now[0], b"line 4\n").is_none(), "what was deleted came back");
        assert_eq!(house.run("audit").expect(0).count("messages"), 17);
    }
}

#[test]
fn messages_behind_one_without_a_copy_wait_and_it_is_named() {
    let house = House::build();
    let backup = backup(&house);
    house.run("verify").expect(0);
    let whole = files(&house);
    // Of the third file the last message alone has no copy: what comes before it does not need it.
    let copy = backup.join("ann/mdbox/storage/m.3");
    let bytes = fs::read(&copy).expect("a copy");
    fs::write(&copy, &bytes[..bytes.len() - 900]).expect("a shorter copy");
    fs::remove_file(house.storage("m.3")).expect("a loss");
    let answer = repair(&house, &backup).expect(4);
    assert_eq!((answer.count("repaired"), answer.count("missing.lost")), (5, 6), "{answer}");
    let third = fs::read(house.storage("m.3")).expect("a storage file");
    assert!(third[16..] == whole[2][16..third.len()] && third.len() < whole[2].len());
    // One in the middle is needed.
    let mut bytes = bytes;
    *byte(&mut bytes, b"line 14\n", 700) ^= 0x80;
    fs::write(&copy, bytes).expect("a copy");
    fs::remove_file(house.storage("m.3")).expect("a loss");
    let answer = repair(&house, &backup).expect(4);
    assert!(answer.mentions("has no whole copy, and without it those behind it"), "{answer}");
    assert!(!house.storage("m.3").exists());
}

#[test]
fn a_copy_with_other_places_heals_by_guid() {
    let house = House::build();
    let backup = backup(&house);
    let whole = files(&house);
    // The partner of a sync has all of it in one file, the last first.
    let storage = backup.join("ann/mdbox/storage");
    (1..=FILES).for_each(|file| fs::remove_file(storage.join(format!("m.{file}"))).expect("a file"));
    let mut laid = house.lay();
    let mut bytes = b"2 M1e C6560a1b2\n".to_vec();
    laid.reverse();
    for one in &mut laid {
        let message = framed(one.uid, &one.guid);
        (one.file, one.offset) = (7, bytes.len());
        bytes.extend(message);
    }
    fs::write(storage.join("m.7"), bytes).expect("a file");
    let there = House {
        store: backup.clone(),
        dir: tempfile::tempdir().expect("a folder"),
        tool: Mailmend::with_state(house.dir.path().join("other")),
    };
    laid.reverse();
    there.write_indexes(&laid, &[]);
    house.run("verify").expect(0);
    house.harm(2, |bytes| bytes.truncate(bytes.len() / 2));
    fs::remove_file(house.storage("m.1")).expect("a loss");
    repair(&house, &backup).expect(1);
    let now = files(&house);
    assert!(now[1] == whole[1] && now[0].len() == whole[0].len());
    house.run("audit").expect(0);
}

#[test]
fn what_the_server_has_open_waits() {
    let house = House::build();
    let backup = backup(&house);
    house.run("verify").expect(0);
    house.harm(2, Vec::clear);
    // Whoever reads any mailbox of the account has the map open.
    let open = fs::File::open(house.storage("dovecot.map.index.log")).expect("a session");
    let answer = repair(&house, &backup).expect(4);
    assert_eq!((answer.count("repaired"), answer.count("held")), (0, 6), "{answer}");
    assert_eq!(fs::read(house.storage("m.2")).expect("a storage file"), b"");
    drop(open);
    repair(&house, &backup).expect(1);
}

#[test]
fn what_the_server_shows_no_more_is_held_with_what_to_do() {
    let house = House::build();
    let backup = backup(&house);
    house.run("verify").expect(0);
    fs::remove_file(house.storage("m.1")).expect("a loss");
    // As after the rebuild of a server: neither the index nor the map knows of them, and no log says why.
    let laid: Vec<Laid> = house.lay().into_iter().filter(|one| one.file != 1).collect();
    fs::remove_file(house.storage("m.1")).expect("a loss");
    house.write_indexes(&laid, &[]);
    let answer = repair(&house, &backup).expect(4);
    assert_eq!(answer.count("repaired"), 0, "{answer}");
    assert!(!house.storage("m.1").exists());
}

/// In whichever format the copy is.
#[test]
fn an_mdbox_heals_other_formats_and_they_heal_it() {
    let house = House::build();
    let store = house.dir.path().join("maildir");
    let inbox = store.join("ann/mdbox");
    ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(inbox.join(sub)).expect("a mailbox"));
    let file = |uid: u32| inbox.join(format!("cur/170000000{uid}.M1P1.mx,S={}:2,S", letter(uid).len()));
    (7..9).for_each(|uid| fs::write(file(uid), letter(uid)).expect("a message"));
    // Its digest is on record, so that a copy is known by it.
    house.tool.run(words(&["verify"]).chain([store.clone().into()])).expect(0);
    house.run("verify").expect(0);
    fs::write(file(7), &letter(7)[..900]).expect("damage");
    let line = |store: &Path, from: &Path| {
        words(&["repair"])
            .chain([store.to_owned().into(), "--from".into(), from.into(), "--apply".into()])
            .collect::<Vec<_>>()
    };
    let answer = house.tool.run(line(&store, &house.store)).expect(1);
    assert_eq!(answer.count("repaired"), 1, "{answer}");
    assert_eq!(fs::read(file(7)).expect("the message"), letter(7).as_bytes());
    let whole = files(&house);
    house.harm(2, |bytes| *byte(bytes, b"line 8\n", 200) ^= 0x80);
    let answer = house.tool.run(line(&house.store, &store)).expect(1);
    assert_eq!(answer.count("repaired"), 1, "{answer}");
    assert!(files(&house) == whole);
}
