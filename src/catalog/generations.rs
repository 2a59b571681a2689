//! Copies of the catalog that are kept beside it, and what they prove: that no digest was lost or changed since.
//!
//! May not touch the catalog itself, but for putting a damaged one aside and a sound copy in its place; nothing
//! that was a catalog is ever removed but the oldest copies.

use super::error::{Fail, Inner, Result};
use super::health::{self, Regress};
use super::{Catalog, Kind, open};
use crate::model::Stamp;
use crate::sys::clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Seconds after which a copy of the day is due. Less than a day: nights do not begin at the very same second.
const DUE: i64 = 20 * 3600;
/// What stands between the catalog's name and the time of a copy.
const MARK: &str = ".backup-";

/// A copy beside the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub path: PathBuf,
    /// When it was made.
    pub at: Stamp,
}

/// What became of a request for a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    Made {
        copy: PathBuf,
        removed: Vec<PathBuf>,
    },
    /// There is one of today.
    NotDue {
        newest: PathBuf,
    },
    /// The catalog has lost digests since the newest copy: a further copy would push out those that have them.
    Refused {
        newest: PathBuf,
        regress: Regress,
    },
}

/// How a damaged catalog was rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    pub from: Generation,
    /// Where the damaged file is now.
    pub aside: PathBuf,
    /// Copies that are newer than the one taken, and damaged too.
    pub passed_over: Vec<PathBuf>,
    /// Runs that the damaged file still names and the copy does not know, newest first.
    pub runs_lost: Vec<String>,
}

/// The copies beside the catalog at `path`, newest first.
pub fn generations(path: &Path) -> Result<Vec<Generation>> {
    list(path).map_err(|fail| fail.at(path))
}

fn list(path: &Path) -> Inner<Vec<Generation>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Fail::os("cannot list its folder"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Fail::os("cannot list its folder"))?;
        let file = entry.file_name();
        let stamp = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix(MARK)).and_then(parse);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if let Some(at) = stamp.filter(|_| is_file) {
            found.push(Generation { path: entry.path(), at });
        }
    }
    found.sort_by_key(|generation| std::cmp::Reverse(generation.at));
    Ok(found)
}

/// A time as it stands in a name: digits, `T` and `Z`, so that names sort by it.
fn stamp_text(at: Stamp) -> String {
    clock::rfc3339(Stamp { nsec: 0, ..at }).replace(['-', ':'], "")
}

fn parse(text: &str) -> Option<Stamp> {
    let plain = text.len() == 16 && text.is_ascii();
    let part = |range: std::ops::Range<usize>| text.get(range);
    let text = plain.then(|| {
        let (date, time) = (part(0..8)?, part(9..15)?);
        Some(format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]))
    });
    let stamp = clock::parse_rfc3339(&text??)?;
    Some(stamp)
}

impl Catalog {
    /// Makes a copy beside the catalog and removes the oldest, so that `keep` remain (at least one). `daily`: only if
    /// none was made today. The copy is read in full before any other is let go.
    pub fn keep_generation(&self, keep: usize, daily: bool, now: Stamp) -> Result<Kept> {
        let before = generations(&self.path)?;
        if let Some(newest) = before.first() {
            // One of the future was dated by a clock that was wrong.
            let age = now.sec.saturating_sub(newest.at.sec);
            if daily && (0..DUE).contains(&age) {
                return Ok(Kept::NotDue { newest: newest.path.clone() });
            }
        }
        if let Some((newest, regress)) = self.regress(&before, now)? {
            return Ok(Kept::Refused { newest, regress });
        }
        let copy = self.free_name(now)?;
        self.backup(&copy)?;
        let sound = Catalog::open_existing_read_only(&copy).and_then(|opened| match opened {
            Some(opened) => opened.quick_check(),
            None => Err(Fail::corrupt("the copy is gone").at(&copy)),
        });
        if let Err(error) = sound {
            fs::remove_file(&copy).ok();
            return Err(error);
        }
        let mut removed = Vec::new();
        for old in generations(&self.path)?.into_iter().filter(|old| old.path != copy).skip(keep.max(1) - 1) {
            // Another run may have been faster.
            open::remove(&old.path).map_err(|fail| fail.at(&old.path))?;
            removed.push(old.path);
        }
        Ok(Kept::Made { copy, removed })
    }

    /// The name of a copy made now; two of one second have two seconds.
    fn free_name(&self, now: Stamp) -> Result<PathBuf> {
        let names = (0..60).map(|more| {
            let at = Stamp { sec: now.sec.saturating_add(more), nsec: 0 };
            open::beside(&self.path, &format!("{MARK}{}", stamp_text(at)))
        });
        let mut free = names.filter(|name| fs::symlink_metadata(name).is_err());
        free.next().ok_or_else(|| Fail::Other(Kind::Io, "too many copies of this minute".into()).at(&self.path))
    }

    /// What the catalog has lost since the newest copy that can be read.
    pub fn regress(&self, generations: &[Generation], now: Stamp) -> Result<Option<(PathBuf, Regress)>> {
        for generation in generations {
            let Ok(Some(older)) = Catalog::open_existing_read_only(&generation.path) else { continue };
            let regress = match health::regress(&self.conn, &older.conn, now.sec.saturating_sub(generation.at.sec)) {
                Ok(regress) => regress,
                // A copy that is damaged proves nothing; the one before it may.
                Err(_) if older.quick_check().is_err() => continue,
                Err(fail) => return Err(fail.at(&self.path)),
            };
            return Ok(Some((generation.path.clone(), regress)).filter(|(_, regress)| regress.any()));
        }
        Ok(None)
    }
}

/// Puts the damaged catalog at `path` aside and the newest sound copy in its place. `None`: there is none, and nothing
/// was changed.
pub fn rebuild(path: &Path, now: Stamp) -> Result<Option<Rebuilt>> {
    let mut passed_over = Vec::new();
    for generation in generations(path)? {
        let sound = match Catalog::open_existing_read_only(&generation.path) {
            Ok(Some(copy)) if copy.examine(&mut |_| ()).is_ok_and(|troubles| troubles == 0) => copy,
            _ => {
                passed_over.push(generation.path);
                continue;
            }
        };
        let runs_lost = runs_lost(path, &sound);
        let aside = replace(path, &sound.conn, now).map_err(|fail| fail.at(path))?;
        return Ok(Some(Rebuilt { from: generation, aside, passed_over, runs_lost }));
    }
    Ok(None)
}

fn replace(path: &Path, sound: &Connection, now: Stamp) -> Inner<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).map_err(Fail::os("cannot open its folder"))?;
    let path = folder.join(path.file_name().unwrap_or_default());
    not_in_use(&path)?;
    let text = stamp_text(now);
    let free = |number: u32| {
        let name = if number == 0 { format!(".damaged-{text}") } else { format!(".damaged-{text}-{number}") };
        Some(open::beside(&path, &name)).filter(|aside| fs::symlink_metadata(aside).is_err())
    };
    let aside = (0..1000).find_map(free).ok_or_else(|| Fail::corrupt("too many damaged catalogs beside it"))?;
    // Made in full before anything is moved. The log goes first: beside another file SQLite would play it back.
    let ready = open::beside(&path, ".rebuilt");
    open::remove(&ready)?;
    open::backup(sound, &ready)?;
    for suffix in ["-wal", "-journal", "-shm", ""] {
        let (from, to) = (open::beside(&path, suffix), open::beside(&aside, suffix));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Fail::Os { what: "cannot move the damaged file aside", error });
            }
            _ => {}
        }
    }
    open::publish(&ready, &path)?;
    Ok(aside)
}

/// A process that writes to the damaged file would go on in the one that was put aside.
fn not_in_use(path: &Path) -> Inner<()> {
    if !open::is_there(path)? {
        return Ok(());
    }
    // A journal would be played back: nothing of the evidence is touched.
    if fs::symlink_metadata(open::beside(path, "-journal")).is_ok() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let Ok(conn) = Connection::open_with_flags(path, flags) else { return Ok(()) };
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    match conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(Fail::from) {
        Err(fail) if fail.kind() == Kind::Busy => Err(fail),
        _ => Ok(()),
    }
}

/// As much as the damaged file still tells.
fn runs_lost(path: &Path, sound: &Catalog) -> Vec<String> {
    let Ok(Some(damaged)) = Catalog::open_existing_read_only(path) else { return Vec::new() };
    let runs = damaged.runs(None, 100).unwrap_or_default();
    let unknown = |run: &String| sound.find_run(run).is_ok_and(|found| found.is_empty());
    let mut lost: Vec<String> = runs.into_iter().map(|row| row.run).filter(unknown).collect();
    lost.dedup();
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_time() {
        let at = Stamp { sec: 1_780_000_000, nsec: 0 };
        assert_eq!(parse(&stamp_text(at)), Some(at));
        assert_eq!(stamp_text(at).len(), 16);
        for bad in ["", "x", "20261122", "2026112xT010203Z", "99999999T999999Z", "20261122T010203Z-wal", "äääääääää"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
