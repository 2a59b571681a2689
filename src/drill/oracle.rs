//! The drill drilled: a tool that recovers by brute force scores perfect, and each of its vices is seen.
//!
//! Only in tests. It reads every byte of every source and copies whole trees; nothing here is a model
//! for the engine.

use super::tool::{Found, Heard, Repair, Tool, Undecided};
use super::truth::{Entry, Snapshot};
use super::{DrillOptions, Result, copy, disk, names};
use crate::model::{Missing, RelPath, Verdict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a bad tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    None,
    /// Brings back what users deleted.
    Resurrects,
    /// Puts healed messages under the name that the replica has for them.
    OldNames,
    /// Leaves the time of the repair on healed messages.
    LosesDates,
    /// Writes whole messages anew.
    TouchesGood,
    /// Calls whole messages damaged.
    Accuses,
    /// Overlooks emptied messages.
    Overlooks,
    /// Forgets how to undo.
    CannotUndo,
}

struct Oracle {
    vice: Vice,
    /// Holds the trees as they were before each run.
    undo: PathBuf,
    known: BTreeMap<PathBuf, Snapshot>,
    runs: Vec<PathBuf>,
}

/// A step: what is wrong at `path`, and the entry that belongs there.
struct Wrong<'a> {
    path: RelPath,
    verdict: Verdict,
    due: bool,
    entry: &'a Entry,
    known_as: &'a RelPath,
}

impl Oracle {
    fn wrongs<'a>(&self, known: &'a Snapshot, now: &Snapshot, undecided: Undecided) -> Vec<Wrong<'a>> {
        let blank = now.messages().count() == 0;
        let mut wrongs = Vec::new();
        for (path, entry) in known.files() {
            let identity = names::identity(path);
            let standing = identity.as_ref().map(|i| now.standing(i)).unwrap_or_default();
            let mut wrong = |path: &RelPath, verdict, due| {
                wrongs.push(Wrong { path: path.clone(), verdict, due, entry, known_as: path_of(known, entry) });
            };
            match (identity, standing.first()) {
                (Some(_), Some(at)) => {
                    let is = now.get(at).map(|e| (e.digest, e.size));
                    let overlooked = self.vice == Vice::Overlooks && is.is_some_and(|(_, size)| size == 0);
                    if is.is_some_and(|(digest, _)| digest != entry.digest) && !overlooked {
                        let at = if self.vice == Vice::OldNames { path } else { *at };
                        wrong(at, Verdict::Damaged, true);
                    }
                }
                (Some(_), None) if blank => wrong(path, Verdict::Missing(Missing::Lost), true),
                (Some(_), None) if now.digests_below(&names::account(path)).contains(&entry.digest) => {}
                (Some(_), None) => {
                    let due =
                        undecided == Undecided::Restore || self.vice == Vice::Resurrects || stray(now, entry).is_some();
                    wrong(path, Verdict::Missing(Missing::Undecided), due);
                }
                (None, _) if !now.contains(path) && path.name() != b"maildirsize" => {
                    wrong(path, Verdict::Missing(Missing::Lost), blank || parent_lives(now, path));
                }
                (None, _) => {}
            }
        }
        wrongs
    }

    fn heal(&self, store: &Path, now: &Snapshot, wrong: &Wrong<'_>, sources: &[(PathBuf, Snapshot)]) -> Result<()> {
        let target = store.join(wrong.path.as_path());
        if let Some(stray) = stray(now, wrong.entry) {
            return disk::rename(&store.join(stray.as_path()), &target);
        }
        let whole = sources.iter().find_map(|(root, tree)| {
            let same = |(_, e): &(&RelPath, &Entry)| e.digest == wrong.entry.digest;
            tree.files().find(same).map(|(path, _)| root.join(path.as_path()))
        });
        let Some(from) = whole else { return Ok(()) };
        let entry = wrong.entry;
        let folder = disk::Dress { owner: Some((entry.uid, entry.gid)), mode: 0o700 };
        disk::make_dirs(target.parent().unwrap_or(store), folder)?;
        if self.vice == Vice::OldNames || target.exists() {
            drop(std::fs::remove_file(&target));
        }
        let mtime = if self.vice == Vice::LosesDates { Default::default() } else { entry.mtime };
        disk::create(&target, &disk::read(&from)?, disk::Dress { mode: entry.mode, ..folder }, mtime)
    }
}

fn path_of<'a>(known: &'a Snapshot, entry: &Entry) -> &'a RelPath {
    known.files().find(|(_, e)| e.ino == entry.ino).map(|(path, _)| path).expect("known")
}

fn parent_lives(now: &Snapshot, path: &RelPath) -> bool {
    path.parent().is_some_and(|dir| now.contains(&dir))
}

fn stray(now: &Snapshot, entry: &Entry) -> Option<RelPath> {
    let same = |(path, e): &(&RelPath, &Entry)| path.name().starts_with(b"#") && e.digest == entry.digest;
    now.files().find(same).map(|(path, _)| path.clone())
}

/// Every tree that the sources name; a final `20*` stands for all folders that begin so.
fn open(sources: &[String]) -> Vec<(PathBuf, Snapshot)> {
    let mut roots = Vec::new();
    for source in sources {
        match source.strip_suffix("/20*") {
            Some(parent) => roots.extend(std::fs::read_dir(parent).unwrap().map(|e| e.unwrap().path())),
            None => roots.push(PathBuf::from(source)),
        }
    }
    let read = |root: PathBuf| (Snapshot::take(&root).unwrap(), root);
    roots.into_iter().map(read).map(|(tree, root)| (root, tree)).collect()
}

impl Tool for Oracle {
    fn verify(&mut self, store: &Path) -> Result<Heard> {
        self.known.insert(store.to_path_buf(), Snapshot::take(store)?);
        Ok(Heard::default())
    }

    fn repair(&mut self, store: &Path, repair: &Repair) -> Result<Heard> {
        let now = Snapshot::take(store)?;
        let run = self.undo.join(self.runs.len().to_string());
        copy::plain(store, &run)?;
        self.runs.push(store.to_path_buf());
        let wrongs = self.wrongs(&self.known[store], &now, repair.undecided);
        let sources = if repair.apply { open(&repair.sources) } else { Vec::new() };
        let mut found = Vec::new();
        for wrong in &wrongs {
            let action = if wrong.due { "restore" } else { "report" };
            let path = if self.vice == Vice::OldNames { wrong.known_as } else { &wrong.path };
            found.push(Found {
                path: path.clone(),
                verdict: wrong.verdict,
                action: Some(action.into()),
                outcome: None,
            });
            if wrong.due && repair.apply {
                self.heal(store, &now, wrong, &sources)?;
            }
        }
        let good = now.messages().find(|(p, _)| wrongs.iter().all(|w| w.path != **p)).map(|(p, _)| p.clone());
        match (self.vice, good) {
            (Vice::TouchesGood, Some(path)) => disk::set_mtime(&store.join(path.as_path()), Default::default())?,
            (Vice::Accuses, Some(path)) => {
                found.push(Found { path, verdict: Verdict::Damaged, action: None, outcome: None })
            }
            _ => {}
        }
        Ok(Heard { run: run.to_str().unwrap().into(), exit: 0, found })
    }

    fn undo(&mut self, run: &str) -> Result<Heard> {
        let saved = Path::new(run);
        let number: usize = saved.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let store = &self.runs[number];
        if self.vice != Vice::CannotUndo {
            disk::remove_tree(store)?;
            copy::plain(saved, store)?;
        }
        Ok(Heard::default())
    }
}

fn drill(vice: Vice, accounts: usize, messages: usize) -> super::DrillReport {
    let dir = tempfile::tempdir().unwrap();
    let options = DrillOptions { accounts, messages, ..DrillOptions::in_dir(dir.path().join("drill")) };
    let mut oracle = Oracle { vice, undo: dir.path().join("undo"), known: BTreeMap::new(), runs: Vec::new() };
    super::run(&options, &mut oracle).unwrap()
}

#[test]
fn brute_force_recovers_everything() {
    let report = drill(Vice::None, 5, 40);
    assert!(report.perfect(), "{}", report.table());
    assert_eq!(report.scenes.len(), 2);
    let broken = report.scenes[0].score.total(|row| row.broken);
    assert!(broken > 20 && report.table().contains("64 KiB overwritten"), "{}", report.table());
}

#[test]
fn every_vice_is_seen() {
    let all = [
        Vice::Resurrects,
        Vice::OldNames,
        Vice::LosesDates,
        Vice::TouchesGood,
        Vice::Accuses,
        Vice::Overlooks,
        Vice::CannotUndo,
    ];
    for vice in all {
        let report = drill(vice, 3, 30);
        assert!(!report.perfect(), "{vice:?} went unseen\n{}", report.table());
    }
}
