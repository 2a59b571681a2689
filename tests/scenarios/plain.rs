//! MH and plain folders of `.eml` files, through the same laws: damage is found and healed from a copy, what its owner
//! did is no damage, and names that other messages come to bear prove nothing.

use crate::common::{Answer, Mailmend, must, spec, words};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Plain {
    Mh,
    Eml,
}

const BOTH: [Plain; 2] = [Plain::Mh, Plain::Eml];

impl Plain {
    fn name(self, number: u32) -> String {
        match self {
            Plain::Mh => number.to_string(),
            Plain::Eml => format!("letter {number}.eml"),
        }
    }
}

struct House {
    dir: tempfile::TempDir,
    store: PathBuf,
    plain: Plain,
    tool: Mailmend,
}

fn letter(folder: &str, number: u32) -> String {
    let head = format!(
        "From: ann@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <{number}.{folder}@example.org>\n\
         Subject: {number} in {folder}\n\n"
    );
    head + &format!("line {number} of a letter\n").repeat(300)
}

fn date(path: &Path, seconds: u64) {
    let when = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).and_then(|file| file.set_modified(when)).expect("a date");
}

/// `inbox` and `work` of one account, ten messages each under the same names.
fn house(plain: Plain) -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = dir.path().join("store");
    let tool = Mailmend::with_state(dir.path().join("state"));
    let house = House { dir, store, plain, tool };
    for folder in ["inbox", "work"] {
        fs::create_dir_all(house.store.join("ann").join(folder)).expect("a folder");
        for number in 1..=10 {
            house.write(folder, number, letter(folder, number).as_bytes());
            let path = house.path(folder, number);
            fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("a mode");
            date(&path, 1_700_000_000 + u64::from(number));
        }
    }
    if plain == Plain::Mh {
        fs::write(house.store.join("ann/inbox/.mh_sequences"), "unseen: 3-5\ncur: 2\n").expect("sequences");
    }
    house
}

impl House {
    fn path(&self, folder: &str, number: u32) -> PathBuf {
        self.store.join("ann").join(folder).join(self.plain.name(number))
    }

    fn write(&self, folder: &str, number: u32, bytes: &[u8]) {
        fs::write(self.path(folder, number), bytes).expect("a message");
    }

    fn backup(&self) -> PathBuf {
        let backup = self.dir.path().join("backup");
        must("cp", &["-a", &spec(&self.store), &spec(&backup)]);
        backup
    }

    fn run(&self, verb: &str) -> Answer {
        self.tool.run(words(&[verb]).chain([self.store.clone().into()]))
    }

    fn repair(&self, backup: &Path) -> Answer {
        let line = words(&["repair"]).chain([self.store.clone().into(), "--from".into(), backup.into()]);
        self.tool.run(line.chain(words(&["--apply"])))
    }

    /// Content, mode and time of every file below the account.
    fn tree(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64)> {
        let files = walkdir::WalkDir::new(self.store.join("ann")).into_iter().map(|entry| entry.expect("a tree"));
        let files = files.filter(|entry| entry.file_type().is_file());
        let facts = |path: &Path| {
            let stat = fs::metadata(path).expect("a file");
            (fs::read(path).expect("a file"), stat.mode(), stat.mtime())
        };
        files.map(|entry| (entry.path().to_owned(), facts(entry.path()))).collect()
    }
}

/// The message, damaged in the nth way of four.
fn harm(sound: &[u8], way: u32) -> Vec<u8> {
    let mut flipped = sound.to_vec();
    flipped[3000] ^= 1;
    let zeroed = [&sound[..1024], &[0; 1024], &sound[2048..]].concat();
    match way {
        1 => flipped,
        2 => zeroed,
        3 => sound[..sound.len() / 2].to_vec(),
        _ => Vec::new(),
    }
}

#[test]
fn damage_is_healed_in_place_and_undone_again() {
    for plain in BOTH {
        let house = house(plain);
        let backup = house.backup();
        let first = house.run("verify").expect(0);
        assert_eq!((first.count("messages"), first.count("mailboxes")), (20, 2), "{first}");
        let truth = house.tree();
        for number in 1..=4 {
            house.write("inbox", number, &harm(letter("inbox", number).as_bytes(), number));
        }
        let harmed = house.tree();
        assert_eq!(house.run("audit").expect(4).count("damaged"), 4, "{plain:?}");
        let repaired = house.repair(&backup).expect(1);
        assert_eq!(repaired.count("repaired"), 4, "{plain:?}: {repaired}");
        assert!(house.tree() == truth, "{plain:?}: content, mode or date of a message differs");
        assert_eq!(house.run("verify").expect(0).count("intact.identical"), 20);
        house.tool.undo(&repaired.run_name()).expect(0);
        let undone = house.tree();
        let bytes = |tree: &BTreeMap<PathBuf, (Vec<u8>, u32, i64)>| -> Vec<Vec<u8>> {
            tree.values().map(|(bytes, _, _)| bytes.clone()).collect()
        };
        assert!(bytes(&undone) == bytes(&harmed), "{plain:?}: an undo gives back what was there");
    }
}

#[test]
fn without_a_catalog_a_copy_must_call_itself_the_same() {
    for plain in BOTH {
        let house = house(plain);
        let backup = house.backup();
        let sound = letter("inbox", 5);
        let zeroed = [&sound.as_bytes()[..1024], &[0; 1024], &sound.as_bytes()[2048..]].concat();
        house.write("inbox", 5, &zeroed);
        house.write("inbox", 6, &zeroed);
        // In the copy, another message has that name.
        let other = backup.join("ann/inbox").join(plain.name(6));
        fs::write(other, letter("inbox", 60)).expect("another message");
        let answer = house.repair(&backup).expect_bits(4);
        assert_eq!(answer.count("repaired"), 1, "{plain:?}: {answer}");
        assert_eq!(fs::read_to_string(house.path("inbox", 5)).expect("the message"), sound);
        assert_eq!(fs::read(house.path("inbox", 6)).expect("the message"), zeroed);
    }
}

#[test]
fn other_names_for_the_same_messages_are_no_damage() {
    for plain in BOTH {
        let house = house(plain);
        house.run("verify").expect(0);
        // As `folder -pack` after 2 was deleted: every later message moves down.
        for number in 3..=10 {
            fs::rename(house.path("inbox", number), house.path("inbox", number - 1)).expect("a move");
        }
        let answer = house.run("verify").expect(0);
        assert_eq!((answer.count("damaged"), answer.count("messages")), (0, 19), "{plain:?}: {answer}");
        assert_eq!((answer.count("moved"), answer.count("presumed_deleted")), (8, 1), "{plain:?}: {answer}");
        assert_eq!(house.run("verify").expect(0).count("intact.identical"), 19, "{plain:?}");
        // What was there keeps its digest under its new name.
        let mut rotten = letter("inbox", 7).into_bytes();
        rotten[3000] ^= 1;
        house.write("inbox", 6, &rotten);
        assert_eq!(house.run("verify").expect(4).count("damaged"), 1, "{plain:?}");
    }
}

#[test]
fn a_name_that_is_given_again_is_no_damage_and_no_cover_for_it() {
    for plain in BOTH {
        let house = house(plain);
        house.run("verify").expect(0);
        fs::remove_file(house.path("inbox", 10)).expect("a deletion");
        house.write("inbox", 10, letter("inbox", 11).as_bytes());
        let answer = house.run("verify").expect(0);
        assert_eq!((answer.count("damaged"), answer.count("presumed_deleted")), (0, 1), "{plain:?}: {answer}");
        assert_eq!(house.run("verify").expect(0).count("intact.identical"), 20, "{plain:?}");
        // The same time, or the same Message-ID: that is no new message.
        let path = house.path("work", 4);
        house.write("work", 4, letter("work", 44).as_bytes());
        date(&path, 1_700_000_004);
        house.write("work", 5, letter("work", 5).replace("a letter", "o letter").as_bytes());
        assert_eq!(house.run("verify").expect(4).count("damaged"), 2, "{plain:?}");
        // Nobody gave a name again in a folder that nobody changed: one message took another's place on the disk.
        house.write("inbox", 3, letter("inbox", 33).as_bytes());
        for night in 1..=2 {
            assert_eq!(house.run("verify").expect(4).count("missing.lost"), 1, "{plain:?}, night {night}");
        }
    }
}

#[test]
fn a_lost_message_comes_back_under_its_name_unless_another_has_it() {
    for plain in BOTH {
        let house = house(plain);
        let backup = house.backup();
        house.run("verify").expect(0);
        let truth = house.tree();
        let folder = house.store.join("ann/inbox");
        let before = fs::metadata(&folder).expect("the folder").modified().expect("its time");
        fs::remove_file(house.path("inbox", 4)).expect("a loss");
        File::open(&folder).and_then(|dir| dir.set_modified(before)).expect("a folder that nobody changed");
        let repaired = house.repair(&backup).expect(1);
        assert_eq!(repaired.count("repaired"), 1, "{plain:?}: {repaired}");
        assert!(house.tree() == truth, "{plain:?}");
        // Its owner takes one away, and nothing brings it back.
        fs::remove_file(house.path("work", 9)).expect("a deletion");
        let answer = house.repair(&backup).expect(0);
        assert_eq!((answer.count("presumed_deleted"), answer.count("repaired")), (1, 0), "{plain:?}: {answer}");
    }
}

#[test]
fn a_blank_disk_gets_everything_back() {
    for plain in BOTH {
        let house = house(plain);
        let backup = house.backup();
        house.run("verify").expect(0);
        let truth = house.tree();
        fs::remove_dir_all(house.store.join("ann")).expect("a loss");
        let repaired = house.repair(&backup).expect_bits(1);
        assert!(house.tree() == truth, "{plain:?}: {repaired}");
    }
}

#[test]
fn what_is_no_message_is_left_alone() {
    let house = house(Plain::Mh);
    let inbox = house.store.join("ann/inbox");
    for name in [",3", "#7", "3~", "003", "README", ".xmhcache"] {
        fs::write(inbox.join(name), "not to be looked at\n").expect("a file");
    }
    fs::create_dir(inbox.join("2024")).expect("a folder");
    fs::write(inbox.join("2024/1"), letter("2024", 1)).expect("a message");
    let answer = house.run("audit").expect(0);
    assert_eq!((answer.count("messages"), answer.count("mailboxes")), (21, 3), "{answer}");
    std::os::unix::fs::symlink("1", inbox.join("99")).expect("a link");
    assert!(house.run("audit").expect(8).mentions("a symbolic link is not followed"));
}

#[test]
fn documents_beside_the_mail_of_a_server_are_not_taken_for_mail() {
    let house = house(Plain::Eml);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(house.store.join("bob/Maildir").join(sub)).expect("a Maildir");
    }
    fs::write(house.store.join("bob/Maildir/cur/1700000000.M1P1.x:2,S"), letter("bob", 1)).expect("a message");
    let answer = house.run("audit").expect(0);
    assert_eq!(answer.count("messages"), 1, "{answer}");
    assert!(answer.mentions("folders of .eml files"), "{answer}");
    let line = words(&["audit"]).chain([house.store.join("ann").into()]);
    assert_eq!(house.tool.run(line).expect(0).count("messages"), 20);
}
