//! Copies beside the catalog, what is found wrong with a catalog, and rebuilding one.

use super::*;
use std::fs;

const DAY: i64 = 86_400;

fn night(n: i64) -> Stamp {
    Stamp { sec: 1_780_000_000 + n * DAY, nsec: 0 }
}

fn troubles(catalog: &Catalog) -> Vec<String> {
    let mut found = Vec::new();
    let count = catalog.examine(&mut |text| found.push(text)).unwrap();
    assert_eq!(count, found.len() as u64);
    found
}

fn made(kept: Kept) -> PathBuf {
    match kept {
        Kept::Made { copy, .. } => copy,
        other => panic!("{other:?}"),
    }
}

fn edit(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_mailmend_wrote_is_sound() {
    let (_home, mut catalog, store, _) = three();
    assert_eq!(troubles(&catalog), [""; 0]);
    let gone = MessageChange::Gone { key: key("b"), missing: crate::model::Missing::Lost };
    catalog.look(store, &update(at(200)), vec![gone]).unwrap();
    let harmed = MessageChange::Harmed { key: key("a"), state: State::Damaged };
    catalog.look(store, &update(at(300)), vec![harmed]).unwrap();
    assert_eq!(troubles(&catalog), [""; 0]);
}

#[test]
fn every_law_finds_its_offender() {
    let edits = [
        ("UPDATE mailbox SET account = 9", "belongs to no account"),
        ("UPDATE account SET store = 9", "account belongs to no store"),
        ("DELETE FROM mailbox", "messages belong to no mailbox"),
        ("INSERT INTO history VALUES (7, x'61', zeroblob(32), 0, 0, 0, 0, '')", "contents belong to no mailbox"),
        (
            "INSERT INTO companion VALUES (7, x'61', zeroblob(32), 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0)",
            "server files belong",
        ),
        (
            "INSERT INTO finding VALUES (7, 1, 'message', '', '', x'', NULL, 'lost', NULL, NULL, 0, '')",
            "belong to no run",
        ),
        ("UPDATE mailbox SET messages = 7", "the number of messages"),
        ("UPDATE message SET accepted = 1", "no harm is on record"),
        ("UPDATE message SET digest = NULL", "none of the content"),
        ("UPDATE message SET mode = 65535 WHERE key = x'62'", "message b of mailbox 1: mode is 177777"),
        ("DROP INDEX message_harmed; CREATE INDEX message_harmed ON message (mailbox)", ""),
    ];
    for (sql, expected) in edits {
        let (home, catalog, ..) = three();
        edit(&home.path, &format!("PRAGMA foreign_keys = OFF; {sql}"));
        let found = troubles(&catalog);
        assert!(expected.is_empty() || found.iter().any(|text| text.contains(expected)), "{sql}: {found:?}");
    }
}

#[test]
fn copies_are_made_once_a_day_and_the_oldest_goes() {
    let (home, catalog, ..) = three();
    for n in 0..5 {
        made(catalog.keep_generation(3, true, night(n)).unwrap());
        let again = Stamp { sec: night(n).sec + 3600, nsec: 0 };
        assert!(matches!(catalog.keep_generation(3, true, again).unwrap(), Kept::NotDue { .. }));
    }
    let kept: Vec<Stamp> = generations(&home.path).unwrap().into_iter().map(|g| g.at).collect();
    assert_eq!(kept, [night(4), night(3), night(2)]);
    made(catalog.keep_generation(3, false, Stamp { sec: night(4).sec + 1, nsec: 0 }).unwrap());
    assert_eq!(generations(&home.path).unwrap().len(), 3);
    made(catalog.keep_generation(0, false, night(9)).unwrap());
    assert_eq!(generations(&home.path).unwrap().len(), 1, "the one just made is never removed");
    let backwards = catalog.keep_generation(3, true, night(2)).unwrap();
    assert!(matches!(backwards, Kept::Made { .. }), "a copy dated in the future holds none up");
}

#[test]
fn what_is_no_copy_of_ours_is_neither_counted_nor_removed() {
    let (home, catalog, ..) = three();
    let beside = |name: &str| home.path.with_file_name(name);
    for name in ["catalog.db.backup-old", "catalog.db.backup-20200101T000000Z.gz", "other.backup-20200101T000000Z"] {
        fs::write(beside(name), "mine").unwrap();
    }
    fs::create_dir(beside("catalog.db.backup-20200101T000000Z")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", beside("catalog.db.backup-20200102T000000Z")).unwrap();
    made(catalog.keep_generation(1, false, night(0)).unwrap());
    made(catalog.keep_generation(1, false, night(1)).unwrap());
    assert_eq!(generations(&home.path).unwrap().len(), 1);
    assert_eq!(fs::read(beside("catalog.db.backup-old")).unwrap(), b"mine");
    assert!(beside("catalog.db.backup-20200102T000000Z").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_catalog_that_lost_digests_pushes_out_no_copy_that_has_them() {
    for sql in [
        "UPDATE message SET digest = zeroblob(32) WHERE key = x'62'",
        "UPDATE message SET digest = NULL, stored = NULL, canonical = NULL WHERE key = x'62'",
        "DELETE FROM message WHERE key = x'62'",
        "DELETE FROM message; DELETE FROM mailbox",
    ] {
        let (home, catalog, ..) = three();
        made(catalog.keep_generation(1, true, night(0)).unwrap());
        edit(&home.path, sql);
        let Kept::Refused { regress, .. } = catalog.keep_generation(1, true, night(1)).unwrap() else {
            panic!("{sql}: a copy was made");
        };
        assert!(regress.any() && !regress.named.is_empty(), "{sql}");
        assert_eq!(generations(&home.path).unwrap().len(), 1, "{sql}");
        let rebuilt = rebuild(&home.path, night(1)).unwrap().unwrap();
        assert_eq!(rebuilt.from.at, night(0));
        let back = Catalog::open(&home.path).unwrap();
        assert_eq!(back.one(MailboxId(1), "b").digest, Some(Digest::of(b"b")), "{sql}");
    }
}

#[test]
fn a_digest_that_was_replaced_for_a_reason_is_not_lost() {
    let (home, mut catalog, store, mailbox) = three();
    let _kept = &home;
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    edit(&home.path, "UPDATE message SET suspect = 1 WHERE key = x'62'");
    let row = message("b", "whole", at(500));
    let replaced = MessageChange::Replaced { row, why: "suspect".into() };
    catalog.look(store, &update(at(500)), vec![replaced]).unwrap();
    let gone = MessageChange::Gone { key: key("c"), missing: crate::model::Missing::Deleted };
    catalog.look(store, &update(at(600)), vec![gone]).unwrap();
    made(catalog.keep_generation(3, true, night(1)).unwrap());
    catalog.forget_deleted(store, at(i64::MAX)).unwrap();
    made(catalog.keep_generation(3, true, night(2)).unwrap());
    assert_eq!(catalog.all(mailbox, Which::All).len(), 2);
}

/// Content that was first seen as damage, then recorded, then replaced: the history has to tell of the last.
#[test]
fn a_content_that_came_and_went_twice_is_not_lost() {
    let (home, mut catalog, store, _) = three();
    let changed = MessageChange::Changed { key: key("b"), digest: Digest::of(b"edited"), length: 6 };
    catalog.look(store, &update(at(200)), vec![changed]).unwrap();
    let replace = |catalog: &mut Catalog, content: &str, when: i64| {
        edit(&home.path, "UPDATE message SET suspect = 1 WHERE key = x'62'");
        let row = message("b", content, at(when));
        let change = MessageChange::Replaced { row, why: "accepted".into() };
        catalog.look(store, &update(at(when)), vec![change]).unwrap();
    };
    replace(&mut catalog, "edited", 300);
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    replace(&mut catalog, "b", 400);
    made(catalog.keep_generation(3, true, night(1)).unwrap());
}

/// Where names do not last, a digest goes into the history with its name, and no generation takes that for a loss.
#[test]
fn a_name_that_another_message_bears_keeps_the_digest_of_the_first() {
    let (home, mut catalog, store, mailbox) = three();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    let row = message("b", "another", at(500));
    catalog.look(store, &update(at(500)), vec![MessageChange::Renamed { row }]).unwrap();
    let now = catalog.one(mailbox, "b");
    assert_eq!((now.digest, now.accepted), (Some(Digest::of(b"another")), false));
    made(catalog.keep_generation(3, true, night(1)).unwrap());
    let kept: i64 = rusqlite::Connection::open(&home.path)
        .and_then(|conn| {
            let sql = "SELECT count(*) FROM history WHERE key = x'62' AND digest = ?1 AND replaced = 1";
            conn.query_row(sql, [Digest::of(b"b").0], |row| row.get(0))
        })
        .unwrap();
    assert_eq!(kept, 1);
    // What is not on record yet is simply recorded.
    let fresh = MessageChange::Renamed { row: message("z", "new", at(600)) };
    catalog.look(store, &update(at(600)), vec![fresh]).unwrap();
    assert_eq!(catalog.one(mailbox, "z").digest, Some(Digest::of(b"new")));
}

#[test]
fn two_copies_of_one_second_have_two_names() {
    let (home, catalog, ..) = three();
    for _ in 0..3 {
        made(catalog.keep_generation(3, false, night(0)).unwrap());
    }
    assert_eq!(generations(&home.path).unwrap().len(), 3);
}

#[test]
fn what_stands_in_the_catalogs_place_and_is_no_file_is_not_moved() {
    let (home, catalog, ..) = three();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    drop(catalog);
    fs::rename(&home.path, home.path.with_file_name("elsewhere")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &home.path, rustix::fs::Mode::RUSR).unwrap();
    assert!(rebuild(&home.path, night(1)).is_err(), "and it does not hang");
    assert!(!fs::symlink_metadata(&home.path).unwrap().is_file());
}

/// What is put aside is evidence: neither it nor the log beside it is changed by a look.
#[test]
fn the_damaged_file_and_its_log_are_kept_to_the_byte() {
    let (home, mut catalog, store, _) = three();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    catalog.look(store, &update(at(200)), vec![seen("z", "z", at(200))]).unwrap();
    let files = ["", "-wal"].map(|suffix| fs::read(open::beside(&home.path, suffix)).unwrap());
    drop(catalog);
    fs::write(&home.path, &files[0][..files[0].len() - 20_000]).unwrap();
    fs::write(open::beside(&home.path, "-wal"), &files[1]).unwrap();
    let rebuilt = rebuild(&home.path, night(1)).unwrap().unwrap();
    assert!(fs::read(&rebuilt.aside).unwrap() == files[0][..files[0].len() - 20_000], "the file");
    assert!(fs::read(open::beside(&rebuilt.aside, "-wal")).unwrap() == files[1], "the log");
    assert!(!open::beside(&home.path, "-wal").exists());
}

#[test]
fn a_damaged_copy_is_passed_over() {
    let (home, catalog, ..) = three();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    let newest = made(catalog.keep_generation(3, true, night(1)).unwrap());
    let mut bytes = fs::read(&newest).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&newest, bytes).unwrap();
    drop(catalog);
    let whole = fs::read(&home.path).unwrap();
    fs::write(&home.path, &whole[..20_000]).unwrap();
    let rebuilt = rebuild(&home.path, night(2)).unwrap().unwrap();
    assert_eq!((rebuilt.from.at, rebuilt.passed_over), (night(0), vec![newest]));
    assert_eq!(fs::read(&rebuilt.aside).unwrap().len(), 20_000, "the damaged file is kept as it was");
    assert_eq!(troubles(&Catalog::open(&home.path).unwrap()), [""; 0]);
}

#[test]
fn without_a_sound_copy_nothing_is_touched() {
    let (home, catalog, ..) = three();
    drop(catalog);
    fs::write(&home.path, b"").unwrap();
    assert_eq!(rebuild(&home.path, night(0)).unwrap(), None);
    assert_eq!(fs::read(&home.path).unwrap(), b"");
}

#[test]
fn a_catalog_that_is_written_to_is_not_put_aside() {
    let (home, mut catalog, ..) = three();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    let tx = catalog.conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    assert_eq!(rebuild(&home.path, night(1)).unwrap_err().kind, Kind::Busy);
    drop(tx);
}

/// Whatever happens to the file: it is refused, found out, or all digests are those that were recorded.
#[test]
fn no_damage_is_a_panic_or_a_digest_that_nobody_recorded() {
    let (home, mut catalog, store, _) = three();
    let many = (0..400).map(|n| format!("m{n:03}")).map(|name| seen(&name, &name, at(150)));
    catalog.look(store, &update(at(150)), many.collect()).unwrap();
    made(catalog.keep_generation(3, true, night(0)).unwrap());
    catalog.sync().unwrap();
    let whole = fs::read(&home.path).unwrap();
    drop(catalog);
    fastrand::seed(7);
    let (mut found, pages) = (0, whole.len() / 16_384);
    for n in 0..120 {
        let mut bytes = whole.clone();
        let page = fastrand::usize(..pages) * 16_384;
        match n % 4 {
            0 => (0..8).for_each(|_| bytes[fastrand::usize(100..whole.len())] ^= 1 << fastrand::u32(..8)),
            1 => bytes[page..page + 16_384].fill(0),
            2 => bytes.truncate(page + fastrand::usize(..16_384)),
            // One page over another, as a disk does that writes to the wrong place.
            _ => {
                let from = fastrand::usize(..pages) * 16_384;
                bytes.copy_within(from..from + 16_384, page);
            }
        }
        fs::write(&home.path, &bytes).unwrap();
        found += usize::from(is_found_out(&home.path, n));
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(open::beside(&home.path, suffix)).ok();
        }
    }
    assert!(found > 60, "the damage was damage: {found}");
}

fn is_found_out(path: &Path, case: usize) -> bool {
    let Ok(catalog) = Catalog::open(path) else { return true };
    let sound = catalog.examine(&mut |_| ()).is_ok_and(|troubles| troubles == 0);
    let kept = catalog.keep_generation(3, false, night(1));
    if let (true, Ok(Kept::Made { copy, .. })) = (sound, &kept) {
        let copy_of = Catalog::open_existing_read_only(copy).unwrap().unwrap();
        for row in copy_of.all(MailboxId(1), Which::All) {
            assert_eq!(row.digest, Some(Digest::of(&row.key.0)), "case {case}: {}", row.key);
        }
        fs::remove_file(copy).unwrap();
        return false;
    }
    if let Ok(Kept::Made { copy, .. }) = kept {
        fs::remove_file(copy).unwrap();
    }
    true
}

/// What a run has ended with needs no log beside the file.
#[test]
fn a_log_that_is_deleted_takes_nothing_with_it_after_a_run() {
    let (home, mut catalog, store, mailbox) = three();
    let run = catalog.begin_run("R", "verify", Some(store), at(1)).unwrap();
    catalog.look(store, &update(at(200)), vec![seen("d", "d", at(200))]).unwrap();
    catalog.end_run(run, &Default::default(), 0, at(2)).unwrap();
    let copy = home.path.with_file_name("moved.db");
    fs::copy(&home.path, &copy).unwrap();
    let alone = Catalog::open(&copy).unwrap();
    assert_eq!(alone.all(mailbox, Which::All), catalog.all(mailbox, Which::All));
    assert_eq!(troubles(&alone), [""; 0]);
}
