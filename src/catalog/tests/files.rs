use super::*;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn kind_of(path: &Path) -> Kind {
    let error = Catalog::open(path).unwrap_err();
    let read_only = Catalog::open_existing_read_only(path).unwrap_err();
    assert_eq!(error.kind, read_only.kind);
    assert!(!error.hint().is_empty() && error.to_string().contains(&path.display().to_string()));
    error.kind
}

#[test]
fn a_new_catalog_is_private_and_complete() {
    let (home, catalog, _, _) = three();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&home.path), 0o600);
    assert_eq!(mode(home.path.parent().unwrap()), 0o700);
    assert_eq!(mode(&open::wal_path(&home.path)), 0o600);
    catalog.quick_check().unwrap();
    assert!(catalog.size_bytes().unwrap() > 16384);
    let page: i64 = catalog.conn.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let journal: String = catalog.conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!((page, journal.as_str()), (16384, "wal"));
    let names: Vec<_> = fs::read_dir(home.path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(".new-")), "{names:?}");
}

#[test]
fn no_file_is_no_catalog() {
    let home = home();
    assert!(Catalog::open_existing_read_only(&home.path).unwrap().is_none());
    assert!(!home.path.parent().unwrap().exists(), "looking makes nothing");
}

#[test]
fn what_is_no_catalog_is_refused_and_left_alone() {
    let home = home();
    drop(Catalog::open(&home.path).unwrap());
    let folder = home.path.parent().unwrap();
    let text = folder.join("text");
    fs::write(&text, "From: a\n\nnot a database, but long enough to look at\n").unwrap();
    assert_eq!(kind_of(&text), Kind::NotOurs);
    assert!(fs::read(&text).unwrap().starts_with(b"From: a"));
    let foreign = folder.join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(kind_of(&foreign), Kind::NotOurs);
    assert_eq!(kind_of(folder), Kind::NotOurs);
    let link = folder.join("link");
    symlink(&home.path, &link).unwrap();
    assert_eq!(kind_of(&link), Kind::Io);
    let fifo = folder.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert_eq!(kind_of(&fifo), Kind::NotOurs, "and nothing hangs");
}

#[test]
fn a_newer_schema_is_refused() {
    let (home, catalog, _, _) = three();
    drop(catalog);
    Connection::open(&home.path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_eq!(kind_of(&home.path), Kind::TooNew { found: 7 });
}

#[test]
fn damage_is_told_apart_and_never_a_panic() {
    let (home, catalog, _, _) = three();
    drop(catalog);
    let whole = fs::read(&home.path).unwrap();
    fs::write(&home.path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(kind_of(&home.path), Kind::Corrupt);
    fs::write(&home.path, b"").unwrap();
    assert_eq!(kind_of(&home.path), Kind::Corrupt);
    let mut zeroed = whole.clone();
    zeroed[..4096].fill(0);
    fs::write(&home.path, &zeroed).unwrap();
    assert_eq!(kind_of(&home.path), Kind::Corrupt);
    for page in 0..whole.len() / 16384 {
        let mut rotten = whole.clone();
        rotten[page * 16384 + 100..(page + 1) * 16384].fill(0xa5);
        fs::write(&home.path, &rotten).unwrap();
        survives(&home.path);
    }
    fastrand::seed(1);
    for _ in 0..60 {
        let mut rotten = whole.clone();
        for _ in 0..8 {
            rotten[fastrand::usize(16..whole.len())] = fastrand::u8(..);
        }
        fs::write(&home.path, &rotten).unwrap();
        survives(&home.path);
    }
}

/// Whatever the file holds: an answer or an error.
fn survives(path: &Path) {
    let Ok(mut catalog) = Catalog::open(path) else { return };
    if let Ok(stores) = catalog.stores() {
        for store in stores {
            catalog.accounts(store.id).ok();
            catalog.coverage(store.id).ok();
            catalog.harm_counts(store.id).ok();
            catalog.messages(MailboxId(1), Which::All, &mut |_| {}).ok();
            catalog.look(store.id, &update(at(500)), vec![seen("b", "b", at(500))]).ok();
        }
    }
    catalog.quick_check().ok();
}

#[test]
fn a_changed_table_is_refused() {
    let (home, catalog, _, _) = three();
    drop(catalog);
    let conn = Connection::open(&home.path).unwrap();
    conn.execute_batch("CREATE TABLE notes (x); CREATE INDEX mine ON message (size)").unwrap();
    drop(Catalog::open(&home.path).unwrap());
    conn.execute_batch("ALTER TABLE message ADD COLUMN x TEXT").unwrap();
    assert_eq!(kind_of(&home.path), Kind::Corrupt);
}

#[test]
fn triggers_in_the_file_do_not_run() {
    let (home, catalog, store, mailbox) = three();
    drop(catalog);
    let conn = Connection::open(&home.path).unwrap();
    conn.execute_batch("CREATE TRIGGER t AFTER INSERT ON message BEGIN UPDATE message SET digest = NULL; END").unwrap();
    drop(conn);
    let mut catalog = Catalog::open(&home.path).unwrap();
    catalog.look(store, &update(at(200)), vec![seen("d", "d", at(200))]).unwrap();
    assert!(catalog.all(mailbox, Which::All).iter().all(|row| row.digest.is_some()));
}

#[test]
fn a_backup_is_a_catalog_and_replaces_nothing() {
    let (home, catalog, _, mailbox) = three();
    let target = home.path.with_file_name("copy.db");
    catalog.backup(&target).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let copy = Catalog::open_existing_read_only(&target).unwrap().unwrap();
    assert_eq!(copy.all(mailbox, Which::All), catalog.all(mailbox, Which::All));
    copy.quick_check().unwrap();
    assert_eq!(catalog.backup(&target).unwrap_err().kind, Kind::Io);
    let again = copy.backup(&home.path.with_file_name("copy2.db"));
    assert!(again.is_ok(), "{again:?}");
}
