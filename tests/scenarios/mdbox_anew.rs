//! The map of an mdbox that is gone, made anew; and maps, indexes and storage files that somebody made up.

use crate::common::{Answer, words};
use crate::mdbox::{House, backup, extension, files, framed, log, number, record, repair};
use mailmend::store::dovecot::extras::Files;
use mailmend::store::mdbox::map::{Map, Place};
use std::fs;
use std::time::{Duration, Instant};

/// An account whose index says which map it goes by.
fn headed() -> House {
    let house = House::build();
    let mut intro = [number(u32::MAX), number(0), number(24)].concat();
    intro.extend([0, 0, 0, 9].map(u16::to_le_bytes).concat());
    intro.extend(b"mdbox-hdr\0\0\0");
    let head = [&[0, 0, 24, 0][..], &number(1_700_000_000), &[7; 16], &[0; 4]].concat();
    append(&house, &[record(0x40, &intro), record(0x100, &head)].concat());
    house
}

fn append(house: &House, bytes: &[u8]) {
    let index = house.folder().join("dovecot.index.log");
    fs::write(&index, [&fs::read(&index).expect("an index")[..], bytes].concat()).expect("an index");
}

fn map_of(house: &House) -> Map {
    let log = fs::read(house.storage("dovecot.map.index.log")).expect("a map");
    Map::read(&Files { index: None, logs: vec![log] })
}

#[test]
fn a_lost_map_is_made_again_with_what_was_deleted_deleted_and_undone() {
    for garbled in [false, true] {
        let house = headed();
        let (backup, before) = (backup(&house), map_of(&house));
        house.run("verify").expect(0);
        let map = house.storage("dovecot.map.index.log");
        match garbled {
            true => fs::write(&map, [0; 4096]).expect("damage"),
            false => fs::remove_file(&map).expect("a loss"),
        }
        assert_eq!(house.run("audit").expect(4).count("companions_lost"), 1, "garbled {garbled}");
        let answer = repair(&house, &backup).expect(1);
        assert_eq!((answer.count("companions_repaired"), answer.count("held")), (1, 0), "{answer}");
        let after = map_of(&house);
        let shown = |map: &Map| -> Vec<(u32, (Place, u16))> {
            map.places.iter().filter(|(_, (_, refs))| *refs > 0).map(|(number, place)| (*number, *place)).collect()
        };
        assert!(after.complete && shown(&after) == shown(&before), "{:?}", after.places);
        // UID 4 lies where it lay, and no mailbox shows it; its number was never anybody's.
        let unshown: Vec<(u32, (Place, u16))> =
            after.places.iter().filter(|(_, (_, refs))| *refs == 0).map(|(number, place)| (*number, *place)).collect();
        assert_eq!(unshown, [(19, (before.places[&4].0, 0))]);
        assert_eq!(house.run("audit").expect(0).count("intact.identical"), 17);
        let run = answer.summary()["run"].as_str().expect("a run").to_owned();
        house.tool.run(words(&["undo", &run, "--apply"])).expect(0);
        assert_eq!(map.exists(), garbled);
        assert!(!garbled || fs::read(&map).expect("a map") == [0; 4096]);
    }
}

#[test]
fn a_map_is_not_made_where_something_is_not_sure() {
    type Doubt = fn(&House);
    let doubts: [(&str, Doubt); 4] = [
        ("not all that it shows is there", |house| house.harm(2, |bytes| bytes.truncate(900))),
        ("another map", |house| {
            let other = [&[0, 0, 4, 0][..], &number(1)].concat();
            append(house, &record(0x100, &other));
            let folder = house.store.join("ann/mdbox/mailboxes/Old/dbox-Mails");
            fs::create_dir_all(&folder).expect("a mailbox");
            fs::copy(house.folder().join("dovecot.index.log"), folder.join("dovecot.index.log")).expect("an index");
            let mut bytes = fs::read(folder.join("dovecot.index.log")).expect("an index");
            bytes.extend(record(0x100, &[&[0, 0, 4, 0][..], &number(2)].concat()));
            fs::write(folder.join("dovecot.index.log"), bytes).expect("an index");
        }),
        ("cannot be read whole", |house| append(house, &[0x80, 0x80, 0x80, 0x90, 1, 2])),
        ("was not looked at", |house| {
            let folder = house.store.join("ann/mdbox/mailboxes/Old/dbox-Mails");
            fs::create_dir_all(&folder).expect("a mailbox");
            fs::write(folder.join("dovecot.index.log"), [1; 100]).expect("an index");
        }),
    ];
    for (words, doubt) in doubts {
        let house = headed();
        let backup = backup(&house);
        fs::remove_file(house.storage("dovecot.map.index.log")).expect("a loss");
        doubt(&house);
        let answer = repair(&house, &backup);
        assert!(answer.status & 12 != 0 && answer.count("companions_repaired") == 0, "{words}: {answer}");
        assert!(!house.storage("dovecot.map.index.log").exists(), "{words}");
        let told =
            answer.findings().any(|finding| finding["action"]["why"].as_str().is_some_and(|w| w.contains(words)));
        // Where a listing did not finish, nothing is said of files beside the mail.
        assert!(told || answer.status & 8 != 0, "{words}: {answer}");
    }
}

/// A number of the map, with file, offset and size, and how many mailboxes show it.
type Row = (u32, [u32; 3], u16);

/// A map that says so.
fn map(rows: &[Row]) -> Vec<u8> {
    let numbers: Vec<u32> = rows.iter().map(|(number, ..)| *number).collect();
    let places = rows.iter().map(|(n, place, _)| (*n, place.map(number).concat())).collect();
    let refs = rows.iter().map(|(n, _, refs)| (*n, refs.to_le_bytes().to_vec())).collect();
    log(&numbers, &[("map", places), ("ref", refs)], &[])
}

/// What every answer to something made up has to be: soon there, no failure of ours, and nothing that undo does not give back.
fn survives(what: &str, house: &House, backup: &std::path::Path) {
    let (began, before) = (Instant::now(), files(house));
    let sound = |answer: &Answer| {
        assert!(answer.status & !(1 | 4 | 8) == 0 && answer.count("own_errors") == 0, "{what}: {answer}");
    };
    sound(&house.run("audit"));
    let answer = repair(house, backup);
    sound(&answer);
    let run = answer.summary()["run"].as_str().expect("a run").to_owned();
    let undone = house.tool.run(words(&["undo", &run, "--apply"]));
    assert!(undone.status == 0 || undone.mentions("nothing"), "{what}: {undone}");
    assert!(files(house) == before, "{what}: the storage is not as it was");
    assert!(began.elapsed() < Duration::from_secs(60), "{what} took {:?}", began.elapsed());
}

#[test]
fn a_map_that_somebody_made_up_neither_stops_nor_misleads() {
    let size = u32::try_from(framed(1, &[1; 16]).len()).expect("a size");
    let all = |place: &dyn Fn(u32) -> [u32; 3], refs: u16| -> Vec<Row> {
        (1..=18).map(|number| (number, place(number), refs)).collect()
    };
    let huge: Vec<Row> = (1..=200_000).map(|number| (number, [1, number, size], 1)).collect();
    let maps: [(&str, Vec<Row>); 9] = [
        ("all on one place", all(&|_| [1, 16, size], 1)),
        ("one over the other", all(&|number| [1, 16 + number * 7, size], 1)),
        ("beyond the file", all(&|number| [1 + number % 3, u32::MAX - 5, u32::MAX], 1)),
        ("a size of all that there is", all(&|number| [1 + number % 3, 16, u32::MAX], 1)),
        ("no size", all(&|_| [2, 16, 0], 1)),
        ("no file, and the last one", all(&|number| [if number % 2 == 0 { 0 } else { u32::MAX }, 16, size], 1)),
        ("shown by nobody", all(&|number| [1, 16 + number * size, size], 0)),
        ("shown by all that can be", all(&|number| [1, 16 + number * size, size], u16::MAX)),
        ("more than there are", huge),
    ];
    for (what, rows) in maps {
        let house = headed();
        let backup = backup(&house);
        house.run("verify").expect(0);
        fs::write(house.storage("dovecot.map.index.log"), map(&rows)).expect("a map");
        survives(what, &house, &backup);
    }
}

#[test]
fn indexes_and_storage_files_that_somebody_made_up_neither_stop_nor_mislead() {
    type Trick = fn(&House);
    let tricks: [(&str, Trick); 7] = [
        ("a record without a length", |house| append(house, &[0x80, 0x80, 0x80, 0x80, 2, 0, 0, 0x10])),
        ("a range of all UIDs", |house| {
            let all = [number(1), number(u32::MAX), number(0)].concat();
            append(house, &record(0x1000_0004, &all));
        }),
        ("extensions without end", |house| {
            let one: Vec<u8> = (0..4000).flat_map(|nth| extension(&format!("x{nth}"), &[(1, vec![1; 8])])).collect();
            append(house, &one);
        }),
        ("numbers that are none", |house| {
            let values: Vec<(u32, Vec<u8>)> = (1..=18).map(|uid| (uid, vec![0xff; 8])).collect();
            append(house, &extension("mdbox", &values));
        }),
        ("one GUID for all", |house| {
            let values: Vec<(u32, Vec<u8>)> = (1..=18).map(|uid| (uid, vec![5; 16])).collect();
            append(house, &extension("guid", &values));
            fs::remove_file(house.storage("dovecot.map.index.log")).expect("no map");
        }),
        ("nothing but headers", |house| {
            house.harm(3, |bytes| {
                let header = format!("\x01\x02N          {:016X}\n", u64::MAX);
                *bytes = [&b"2 M1e C6560a1b2\n"[..], &header.as_bytes().repeat(20_000)].concat();
            });
            fs::remove_file(house.storage("dovecot.map.index.log")).expect("no map");
        }),
        ("a message within a message", |house| {
            house.harm(2, |bytes| {
                let inner = framed(99, &[8; 16]);
                let outer = format!("\x01\x02N          {:016X}\n", inner.len() + 40);
                *bytes = [&b"2 M1e C6560a1b2\n"[..], outer.as_bytes(), &inner, &inner, &inner].concat();
            });
            fs::remove_file(house.storage("dovecot.map.index.log")).expect("no map");
        }),
    ];
    for (what, trick) in tricks {
        let house = headed();
        let backup = backup(&house);
        house.run("verify").expect(0);
        trick(&house);
        survives(what, &house, &backup);
    }
}
