//! Opening, making, copying and syncing the catalog's file.
//!
//! May not know what the tables mean.

use super::Catalog;
use super::error::{Fail, Inner, Kind};
use super::schema;
use crate::sys::links::open_named;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nothing of ours is larger than the attributes of one file, of which there are 64 of at most 64 KiB, as text. An
/// edited row or schema could ask for a gigabyte. Attached is what a copy is made into, and that alone.
const LIMITS: [(Limit, i32); 6] = [
    (Limit::SQLITE_LIMIT_LENGTH, 16 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 64 << 10),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 1),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];
/// Of all that SQLite holds at once, for to find a row it reads whole ones, however long an edit made them. Twice the
/// pages held, what a copy sorts by, and a row or two. Bytes.
const HEAP_MAX: i64 = 128 << 20;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that stay compiled; there are fewer.
const STATEMENTS: usize = 64;
/// Kilobytes of pages held in memory.
const CACHE_KIB: i64 = 32 << 10;
/// The write-ahead log is cut back to this when it is empty. Bytes.
const WAL_KEPT: i64 = 64 << 20;

pub(super) fn read_write(path: &Path) -> Inner<Catalog> {
    let path = settle(path, true)?;
    if !is_there(&path)? {
        make(&path)?;
    }
    sniff(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | common_flags();
    let conn = Connection::open_with_flags(&path, flags)?;
    // SQLite opens what it may not write for reading, without saying so.
    if conn.is_readonly("main")? {
        return Err(Fail::Other(Kind::ReadOnly, "the file cannot be written".into()));
    }
    prepare(&conn)?;
    choose_journal(&conn, &path)?;
    Ok(Catalog { conn, path })
}

pub(super) fn read_only(path: &Path) -> Inner<Option<Catalog>> {
    let path = match settle(path, false) {
        Err(Fail::Os { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
        settled => settled?,
    };
    if !is_there(&path)? {
        return Ok(None);
    }
    sniff(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | common_flags();
    let first = Connection::open_with_flags(&path, flags).map_err(Fail::from).and_then(|conn| {
        prepare(&conn)?;
        Ok(conn)
    });
    let conn = match first {
        Ok(conn) => conn,
        Err(fail) if matches!(fail.kind(), Kind::ReadOnly | Kind::Io) => immutable(&path, fail)?,
        Err(fail) => return Err(fail),
    };
    Ok(Some(Catalog { conn, path }))
}

/// In a folder that cannot be written, SQLite cannot share the file with writers; without any it can
/// still read. What a write-ahead log holds would be passed over, so there must be none.
fn immutable(path: &Path, first: Fail) -> Inner<Connection> {
    if size(&wal_path(path)).is_ok_and(|bytes| bytes > 0) {
        let detail = "the folder cannot be written, and the newest records are still in the '-wal' file beside it";
        return Err(Fail::Other(Kind::ReadOnly, detail.into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | common_flags();
    let uri = format!("file:{}?immutable=1", percent(path.as_os_str().as_bytes()));
    let Ok(conn) = Connection::open_with_flags(uri, flags) else { return Err(first) };
    prepare(&conn)?;
    Ok(conn)
}

fn percent(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(byte as char);
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn common_flags() -> OpenFlags {
    // A link in place of the catalog would let whoever can write in its folder choose what is opened.
    OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// The path with every link in its folders resolved.
fn settle(path: &Path, create: bool) -> Inner<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Fail::Other(Kind::Io, "the path names no file".into()));
    };
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if create {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(Fail::os("cannot make its folder"))?;
    }
    let parent = fs::canonicalize(parent).map_err(Fail::os("cannot open its folder"))?;
    Ok(parent.join(name))
}

/// Whether the catalog is there. It and what SQLite keeps beside it must be files: at a FIFO SQLite would wait.
pub(super) fn is_there(path: &Path) -> Inner<bool> {
    for suffix in ["-wal", "-shm", "-journal"] {
        is_file(&beside(path, suffix))?;
    }
    is_file(path)
}

fn is_file(path: &Path) -> Inner<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(true),
        Ok(meta) if meta.is_symlink() => Err(Fail::Other(Kind::Io, format!("{} is a symbolic link", name(path)))),
        Ok(_) => Err(Fail::Other(Kind::NotOurs, format!("{} is no regular file", name(path)))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fail::Os { what: "cannot look at it", error }),
    }
}

/// Tells a file that never was a catalog from one that was and is damaged, as far as its start shows.
fn sniff(path: &Path) -> Inner<()> {
    let mut magic = Vec::new();
    let file = open_named(path).map_err(Fail::os("cannot open it"))?;
    file.take(16).read_to_end(&mut magic).map_err(Fail::os("cannot read it"))?;
    match &magic[..] {
        b"SQLite format 3\0" => Ok(()),
        // A new catalog gets its name only when it is complete: an empty one was emptied.
        [] => Err(Fail::corrupt("the file is empty")),
        start if start.iter().all(|&b| b == 0) => Err(Fail::corrupt("the file begins with zero bytes")),
        _ => Err(Fail::Other(Kind::NotOurs, "this is no catalog (and no SQLite database)".into())),
    }
}

/// Settings of the connection, then the proof that the file is ours.
fn prepare(conn: &Connection) -> Inner<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    for (limit, most) in LIMITS {
        conn.set_limit(limit, most)?;
    }
    conn.pragma_update(None, "hard_heap_limit", HEAP_MAX)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // The schema inside the file is not trusted: no trigger or view of it runs, and no statement of
    // ours can damage the file's structure.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // Mapped pages would turn a bad sector under the catalog into a SIGBUS.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    schema::check(conn).map_err(|fail| diagnose(conn, fail))
}

/// Adds what a check of the file's structure says to a failure that may come from it.
fn diagnose(conn: &Connection, fail: Fail) -> Fail {
    if !matches!(fail, Fail::Sql(_)) || fail.kind() != Kind::Corrupt {
        return fail;
    }
    match quick_check(conn) {
        Ok(Some(detail)) => Fail::corrupt(detail),
        _ => fail,
    }
}

/// `None` if the structure of the file is sound.
pub(super) fn quick_check(conn: &Connection) -> Inner<Option<String>> {
    let mut statement = conn.prepare("PRAGMA quick_check(5)")?;
    let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if lines == ["ok"] { Ok(None) } else { Ok(Some(lines.join("; "))) }
}

/// A write-ahead log needs memory that all processes share, which network file systems do not give.
fn choose_journal(conn: &Connection, path: &Path) -> Inner<()> {
    let wanted = if is_remote(path) { "DELETE" } else { "WAL" };
    let set = |mode: &str| conn.pragma_update_and_check(None, "journal_mode", mode, |row| row.get::<_, String>(0));
    // A refusal to change it leaves the other one in force, which is safe.
    let mode = match set(wanted) {
        Ok(mode) => mode,
        Err(error) => match Fail::from(error) {
            fail if matches!(fail.kind(), Kind::Io | Kind::ReadOnly) => set("DELETE")?,
            fail => return Err(fail),
        },
    };
    let wal = mode.eq_ignore_ascii_case("wal");
    conn.pragma_update(None, "synchronous", if wal { "NORMAL" } else { "FULL" })?;
    conn.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
    Ok(())
}

fn is_remote(path: &Path) -> bool {
    // nfs, smb, cifs, smb2, fuse, 9p, afs, ceph, coda, ocfs2, lustre, gpfs
    const REMOTE: [u64; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x5346_414f,
        0x00c3_6400,
        0x7375_7245,
        0x7461_636f,
        0x0bd0_0bd0,
        0x4750_4653,
    ];
    // The type is 32 bits wide, whatever the sign and width that a machine gives it.
    rustix::fs::statfs(path).is_ok_and(|fs| REMOTE.contains(&(fs.f_type as u64 & 0xffff_ffff)))
}

/// Makes a catalog under another name and gives it its own when it is complete, so that an interruption
/// leaves none rather than half of one.
fn make(path: &Path) -> Inner<()> {
    let temporary = beside(path, &format!(".new-{}", std::process::id()));
    let made = fill(&temporary, schema::create).and_then(|()| publish(&temporary, path));
    match made {
        // Another process was faster; its catalog is as good.
        Err(Fail::Os { error, .. }) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

pub(super) fn backup(conn: &Connection, target: &Path) -> Inner<()> {
    let target = settle(target, false)?;
    let temporary = beside(&target, &format!(".new-{}", std::process::id()));
    let name = temporary.to_str().ok_or_else(|| Fail::Other(Kind::Io, "the path is not UTF-8".into()))?;
    fill(&temporary, |_| {
        conn.execute("VACUUM INTO ?1", [name])?;
        Ok(())
    })?;
    publish(&temporary, &target)
}

/// Makes the file `temporary`, private to its owner, has it filled and syncs it.
fn fill(temporary: &Path, work: impl FnOnce(&mut Connection) -> Inner<()>) -> Inner<()> {
    // A process of the same number may have been interrupted here.
    remove(temporary)?;
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary);
    let file = new.map_err(Fail::os("cannot make it"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | common_flags();
    let filled = Connection::open_with_flags(temporary, flags).map_err(Fail::from).and_then(|mut conn| {
        work(&mut conn)?;
        conn.close().map_err(|(_, error)| Fail::from(error))
    });
    let synced = filled.and_then(|()| file.sync_all().map_err(Fail::os("cannot sync it")));
    if synced.is_err() {
        // The first failure is the one to report.
        remove(temporary).ok();
    }
    synced
}

pub(super) fn remove(path: &Path) -> Inner<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fail::Os { what: "cannot remove a leftover", error }),
        _ => Ok(()),
    }
}

/// Gives `temporary` its name without replacing what may be there, and syncs the folder.
pub(super) fn publish(temporary: &Path, path: &Path) -> Inner<()> {
    // A hard link is refused where the name is taken, on every kernel; not every file system has them.
    let named = fs::hard_link(temporary, path).or_else(|error| match error.kind() {
        ErrorKind::AlreadyExists => Err(error),
        _ => rustix::fs::renameat_with(
            rustix::fs::CWD,
            temporary,
            rustix::fs::CWD,
            path,
            rustix::fs::RenameFlags::NOREPLACE,
        )
        .map_err(std::io::Error::from),
    });
    remove(temporary)?;
    named.map_err(Fail::os("cannot give it its name"))?;
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(Fail::os("cannot open its folder"))?;
    folder.sync_all().map_err(Fail::os("cannot sync its folder"))
}

/// Merges the write-ahead log into the file, syncs both and empties the log, so that the file alone can be
/// read on a disk that went read-only. False where a reader that holds an old state keeps part of it for later.
pub(super) fn checkpoint(conn: &Connection) -> Inner<bool> {
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// Runs `work` so that its commit is on the medium when it returns.
pub(super) fn durably<T>(conn: &mut Connection, work: impl FnOnce(&mut Connection) -> Inner<T>) -> Inner<T> {
    let before: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    let result = work(conn);
    conn.pragma_update(None, "synchronous", before)?;
    result
}

pub(super) fn size(path: &Path) -> Inner<u64> {
    Ok(fs::symlink_metadata(path).map_err(Fail::os("cannot look at it"))?.len())
}

pub(super) fn wal_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
