//! Rows that somebody edited: an error that names the row, the others as they were.

use super::*;

/// Runs `sql` as somebody would who switched every check off.
fn edit(catalog: &Catalog, sql: &str) {
    catalog.conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
    catalog.conn.execute_batch(sql).unwrap();
    catalog.conn.pragma_update(None, "ignore_check_constraints", false).unwrap();
}

#[test]
fn a_bad_message_is_named_and_the_others_follow() {
    let edits = [
        ("digest = x'00'", "digest has 1 bytes"),
        ("canonical = zeroblob(33)", "canonical has 33 bytes"),
        ("place = 2", "place is 2"),
        ("state = 8", "state is 8"),
        ("state = -1", "state is -1"),
        ("accepted = 2", "accepted is 2"),
        ("encoding = 9", "encoding is 9"),
        ("length = -1", "length is -1"),
        ("uid = -1", "uid is -1"),
        ("gid = 4294967296", "gid is 4294967296"),
        ("mode = 65535", "mode is 177777"),
        ("mtime_ns = 1000000000", "mtime has 1000000000"),
        ("last_seen = 1, last_seen_ns = NULL", "last_seen is half a time"),
        ("verified_ns = 1", "verified is half a time"),
        ("name = x''", "name is no file name"),
        ("name = CAST('../../etc/shadow' AS BLOB)", "name is no file name"),
        ("name = x'2e2e'", "name is no file name"),
        ("xattrs = '{'", "xattrs cannot be read"),
        ("subject = CAST(x'ff' AS TEXT)", "subject is not UTF-8"),
    ];
    for (set, expected) in edits {
        let (_home, mut catalog, store, mailbox) = three();
        edit(&catalog, &format!("UPDATE message SET {set} WHERE key = x'62'"));
        let (mut good, mut bad) = (0, Vec::new());
        catalog.messages(mailbox, Which::All, &mut |row| row.map_or_else(|e| bad.push(e), |_| good += 1)).unwrap();
        assert_eq!((good, bad.len()), (2, 1), "{set}");
        assert_eq!(bad[0].kind, Kind::BadRow);
        assert!(bad[0].detail.contains("message b of mailbox 1") && bad[0].detail.contains(expected), "{}", bad[0]);
        let error = catalog.look(store, &update(at(200)), vec![seen("b", "b", at(200))]).unwrap_err();
        assert_eq!(error.kind, Kind::BadRow);
        catalog.coverage(store).ok();
        catalog.harm_counts(store).ok();
    }
}

#[test]
fn a_bad_key_is_named() {
    let (_home, catalog, _, mailbox) = three();
    edit(&catalog, "UPDATE message SET key = x'2f' WHERE key = x'62'");
    let mut bad = Vec::new();
    catalog.messages(mailbox, Which::All, &mut |row| bad.extend(row.err())).unwrap();
    assert!(bad[0].detail.contains("a message of mailbox 1: key is no key"), "{}", bad[0]);
}

/// SQLite's own limit is a gigabyte a row.
#[test]
fn a_huge_value_is_an_error_and_not_read() {
    let (home, catalog, _, _) = three();
    let path = catalog.path.clone();
    drop(catalog);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("UPDATE message SET xattrs = hex(zeroblob(9 << 20)) WHERE key = x'62'").unwrap();
    drop(other);
    let catalog = Catalog::open(&path).unwrap();
    let mailbox = catalog.mailboxes(StoreId(1), &dir("example.org/ann")).unwrap()[0].id;
    let read = catalog.messages(mailbox, Which::All, &mut |_| ());
    assert_eq!(read.unwrap_err().kind, Kind::BadRow);
    drop(home);
}

#[test]
fn a_catalog_runs_nothing_that_an_edit_put_into_it() {
    let (_home, catalog, ..) = three();
    let setting = |config| catalog.conn.db_config(config).unwrap();
    use rusqlite::config::DbConfig;
    assert!(setting(DbConfig::SQLITE_DBCONFIG_DEFENSIVE));
    assert!(!setting(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA));
    assert!(!setting(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER) && !setting(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW));
    let checked: bool = catalog.conn.pragma_query_value(None, "cell_size_check", |row| row.get(0)).unwrap();
    assert!(checked);
    let defined = catalog.conn.execute_batch("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = ''");
    assert!(defined.is_err(), "defensive");
}

#[test]
fn what_lies_beside_the_catalog_must_be_files() {
    let (home, catalog, ..) = three();
    let path = catalog.path.clone();
    drop(catalog);
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = path.with_file_name(format!("{}{suffix}", path.file_name().unwrap().display()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &beside, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(Catalog::open(&path).unwrap_err().kind, Kind::NotOurs, "{suffix}");
        assert!(Catalog::open_existing_read_only(&path).is_err(), "{suffix}");
        std::fs::remove_file(&beside).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &beside).unwrap();
        assert_eq!(Catalog::open(&path).unwrap_err().kind, Kind::Io, "{suffix}");
        std::fs::remove_file(&beside).unwrap();
    }
    assert!(Catalog::open(&path).is_ok());
    drop(home);
}

#[test]
fn bad_rows_of_the_other_tables_are_named() {
    let edits = [
        ("UPDATE store SET path = x'61'", "store 1: path is not absolute"),
        ("UPDATE store SET mount_point = 3", "store 1: mount_point is 3"),
        ("UPDATE account SET dir = CAST('../x' AS BLOB)", "account 1: dir is no path"),
        ("UPDATE mailbox SET dir = CAST('/etc' AS BLOB)", "mailbox 1: dir is no path"),
        ("UPDATE mailbox SET messages = -3", "mailbox 1: messages is -3"),
        ("UPDATE mailbox SET listed_ns = -1", "mailbox 1: listed has -1"),
        ("UPDATE mailbox SET gone = 2", "mailbox 1: gone is 2"),
        ("UPDATE run SET exit = 256", "run 1: exit is 256"),
        ("UPDATE run SET tally = '[]'", "run 1: tally cannot be read"),
        ("UPDATE finding SET verdict = 'fine'", "finding 1 of run 1: verdict is 'fine'"),
        ("UPDATE finding SET subject = 'x'", "finding 1 of run 1: subject is 'x'"),
        ("UPDATE finding SET mailbox_dir = x'00'", "finding 1 of run 1: mailbox_dir is no path"),
        ("UPDATE accepted SET key = x'2f'", "an acceptance: key is no key"),
        ("UPDATE companion SET digest = x''", "companion c: digest has 0 bytes"),
    ];
    for (sql, expected) in edits {
        let (_home, mut catalog, store, _) = three();
        fill(&mut catalog, store);
        edit(&catalog, sql);
        let errors = everything(&catalog, store);
        assert!(errors.iter().any(|e| e.kind == Kind::BadRow && e.detail.contains(expected)), "{sql}: {errors:?}");
    }
}

pub(super) fn fill(catalog: &mut Catalog, store: StoreId) {
    let run = catalog.begin_run("R", "audit", Some(store), at(1)).unwrap();
    let finding = FindingRow {
        subject: crate::model::event::Subject::Message,
        account: "ann".into(),
        mailbox: "INBOX".into(),
        mailbox_dir: dir("other"),
        key: Some(key("k")),
        verdict: crate::model::Verdict::Damaged,
        digest: None,
        open: true,
        json: "{}".into(),
    };
    catalog.record_findings(run, &[finding]).unwrap();
    catalog.end_run(run, &Default::default(), 4, at(2)).unwrap();
    assert_eq!(catalog.accept_run("R", by(3)).unwrap(), 1);
    let attrs = Default::default();
    let row = CompanionRow { path: dir("c"), digest: Digest::of(b""), size: 0, attrs, seen: at(1), gone: false };
    catalog.record_companions(store, &dir("example.org/ann"), "ann", &mut [row].into_iter()).unwrap();
}

/// Every error that reading everything gives.
fn everything(catalog: &Catalog, store: StoreId) -> Vec<CatalogError> {
    let mut errors = Vec::new();
    errors.extend(catalog.stores().err());
    errors.extend(catalog.accounts(store).err());
    errors.extend(catalog.coverage(store).err());
    errors.extend(catalog.companions(store, &dir("example.org/ann")).err());
    errors.extend(catalog.runs(None, 10).err());
    let mut each = |error: Option<CatalogError>| errors.extend(error);
    let mut run = |id| catalog.findings(id, &mut |row| each(row.err())).unwrap();
    run(RunId(1));
    catalog.accepted(store, &mut |row| errors.extend(row.err())).unwrap();
    errors
}
