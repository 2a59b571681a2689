//! Judges a recovery against the truth. Pure: trees and findings in, a score and its table out.

use super::damage::{Damage, Kind};
use super::names::{self, Identity};
use super::tool::{Found, Undecided};
use super::truth::{Snapshot, Strictness};
use crate::model::{Missing, RelPath, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Everything that a judgement needs.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The store just before it was damaged.
    pub truth: &'a Snapshot,
    /// The store just after it was damaged.
    pub broken: &'a Snapshot,
    /// The store after the repair.
    pub after: &'a Snapshot,
    pub damages: &'a [Damage],
    /// Where messages stood that their owners deleted or moved away.
    pub given_up: &'a [RelPath],
    pub found: &'a [Found],
    pub undecided: Undecided,
}

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub broken: usize,
    /// Named by a finding.
    pub found: usize,
    /// Those that this repair had to heal: without `--undecided restore` not what looks like a deletion.
    pub due: usize,
    /// Bytes, name with flags, date, owner and mode are those of the truth.
    pub healed: usize,
}

/// How good a recovery was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Score {
    pub rows: Vec<Row>,
    /// Whole messages that were called damaged or lost.
    pub accused: Vec<String>,
    /// Messages that should not be there: deleted ones that came back, second names.
    pub wrongly_restored: Vec<String>,
    /// Files that were whole, or not the repair's business, and are not as they were.
    pub touched: Vec<String>,
    /// Why `found` or `healed` fall short.
    pub shortfalls: Vec<String>,
}

impl Score {
    /// All that was recoverable was recovered, and nothing else happened.
    pub fn perfect(&self) -> bool {
        let whole = |r: &Row| r.found == r.broken && r.healed >= r.due;
        self.rows.iter().all(whole)
            && [&self.accused, &self.wrongly_restored, &self.touched, &self.shortfalls].iter().all(|l| l.is_empty())
    }

    /// A sum over all kinds of damage.
    pub fn total(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.rows.iter().map(of).sum()
    }

    /// The table that people see.
    pub fn table(&self) -> String {
        let mut out = format!("  {:<20} {:>7} {:>7} {:>7} {:>7}\n", "damage", "broken", "found", "due", "healed");
        for row in &self.rows {
            let line = (row.kind.words(), row.broken, row.found, row.due, row.healed);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {:<20} {:>7} {:>7} {:>7} {:>7}", line.0, line.1, line.2, line.3, line.4);
        }
        let wrong = [
            ("wrongly accused", &self.accused),
            ("wrongly restored", &self.wrongly_restored),
            ("good files touched", &self.touched),
        ];
        for (what, list) in wrong {
            let _ = writeln!(out, "  {what:<20} {:>7}", list.len());
        }
        for line in self.complaints(5) {
            let _ = writeln!(out, "    {line}");
        }
        out
    }

    /// What went wrong, `most` of each sort.
    pub fn complaints(&self, most: usize) -> Vec<String> {
        let sorts = [
            ("", &self.shortfalls),
            ("wrongly accused: ", &self.accused),
            ("wrongly restored: ", &self.wrongly_restored),
            ("touched: ", &self.touched),
        ];
        let mut all = Vec::new();
        for (prefix, list) in sorts {
            all.extend(list.iter().take(most).map(|line| format!("{prefix}{line}")));
            if list.len() > most {
                all.push(format!("{prefix}... and {} more", list.len() - most));
            }
        }
        all
    }
}

/// Judges one repair.
pub fn score(case: &Case<'_>) -> Score {
    let findings = Findings::of(case.found);
    let mut score = Score::default();
    for kind in Kind::ALL {
        let of_kind: Vec<&Damage> = case.damages.iter().filter(|d| d.kind == kind).collect();
        if !of_kind.is_empty() {
            let row = judge_kind(case, &findings, kind, &of_kind, &mut score.shortfalls);
            score.rows.push(row);
        }
    }
    score.accused = accused(case);
    score.wrongly_restored = wrongly_restored(case, &findings);
    score.touched = touched(case);
    score
}

/// Findings by what they are about.
struct Findings<'a> {
    messages: BTreeMap<Identity, &'a Found>,
    paths: BTreeMap<&'a RelPath, &'a Found>,
}

impl<'a> Findings<'a> {
    fn of(found: &'a [Found]) -> Findings<'a> {
        Findings {
            messages: found.iter().filter_map(|f| Some((names::identity(&f.path)?, f))).collect(),
            paths: found.iter().map(|f| (&f.path, f)).collect(),
        }
    }

    /// The finding about a path as it stands, a message under any of its names, or its stray file.
    fn about(&self, damage: &Damage) -> Option<&'a Found> {
        let by_identity = || self.messages.get(&names::identity(&damage.path)?).copied();
        let by_stray = || self.paths.get(damage.stray.as_ref()?).copied();
        self.paths.get(&damage.path).copied().or_else(by_identity).or_else(by_stray)
    }
}

fn judge_kind(
    case: &Case<'_>,
    findings: &Findings<'_>,
    kind: Kind,
    damages: &[&Damage],
    short: &mut Vec<String>,
) -> Row {
    let mut row = Row { kind, broken: damages.len(), found: 0, due: 0, healed: 0 };
    for damage in damages {
        let found = findings.about(damage);
        row.found += usize::from(found.is_some());
        if found.is_none() {
            short.push(format!("{kind}: not found: {}", damage.path));
        }
        let due = is_due(case.undecided, kind, found);
        row.due += usize::from(due);
        match unhealed(case, damage) {
            None => row.healed += 1,
            Some(why) if due => short.push(format!("{kind}: not healed: {}: {why}", damage.path)),
            Some(_) => {}
        }
    }
    row
}

/// What looks like a deletion must come back only where the tool called it lost, or called it undecided
/// and was told to restore such.
fn is_due(undecided: Undecided, kind: Kind, found: Option<&Found>) -> bool {
    if !kind.looks_like_deletion() {
        return true;
    }
    match found.and_then(Found::missing) {
        Some(Missing::Lost) => true,
        Some(Missing::Undecided) => undecided == Undecided::Restore,
        _ => false,
    }
}

/// Why a message is not as it was; `None` where it is.
fn unhealed(case: &Case<'_>, damage: &Damage) -> Option<String> {
    let Some(is) = case.after.get(&damage.path) else { return Some("not there".into()) };
    if damage.stray.as_ref().is_some_and(|s| case.after.contains(s)) {
        return Some("stands under two names".into());
    }
    damage.was.difference(is, Strictness::Served)
}

fn accused(case: &Case<'_>) -> Vec<String> {
    let broken: BTreeSet<Identity> = case.damages.iter().filter_map(|d| names::identity(&d.path)).collect();
    let given_up: BTreeSet<Identity> = case.given_up.iter().filter_map(names::identity).collect();
    let whole: BTreeSet<Identity> =
        case.truth.messages().filter_map(|(p, _)| names::identity(p)).filter(|i| !broken.contains(i)).collect();
    let wrong = |found: &&Found| {
        let Some(identity) = names::identity(&found.path) else { return false };
        match found.verdict {
            Verdict::Missing(Missing::Lost) => whole.contains(&identity) || given_up.contains(&identity),
            Verdict::Damaged | Verdict::Unreadable => whole.contains(&identity) || given_up.contains(&identity),
            Verdict::Missing(Missing::Undecided) => whole.contains(&identity),
            _ => false,
        }
    };
    case.found.iter().filter(wrong).map(|f| format!("{}: {:?}", f.path, f.verdict)).collect()
}

/// Messages that the repair put where the truth has none. Only who asked to have the undecided back gets
/// deleted ones among them.
fn wrongly_restored(case: &Case<'_>, findings: &Findings<'_>) -> Vec<String> {
    let asked_for = |path: &RelPath| {
        let undecided = |f: &&Found| f.missing() == Some(Missing::Undecided);
        case.undecided == Undecided::Restore
            && names::identity(path).is_some_and(|i| findings.messages.get(&i).is_some_and(undecided))
            && case.given_up.iter().any(|g| names::identity(g) == names::identity(path))
    };
    let new = case.after.messages().map(|(p, _)| p).filter(|p| !case.broken.contains(p) && !case.truth.contains(p));
    new.filter(|p| !asked_for(p)).map(RelPath::to_string).collect()
}

fn touched(case: &Case<'_>) -> Vec<String> {
    let mut business: BTreeSet<&RelPath> = case.damages.iter().map(|d| &d.path).collect();
    business.extend(case.damages.iter().filter_map(|d| d.stray.as_ref()));
    let was_there = |path: &RelPath| case.broken.contains(path) && !business.contains(path);
    let all = case.broken.differences(case.after, Strictness::Untouched);
    all.iter().filter(|d| was_there(&d.path)).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Mails;
    use super::super::damage::{DamageOptions, Touched, folder_to_lose, inflict};
    use super::super::world::{WorldOptions, build};
    use super::super::{copy, disk};
    use super::*;
    use std::path::Path;

    struct Bench {
        _dir: tempfile::TempDir,
        store: std::path::PathBuf,
        truth: Snapshot,
        broken: Snapshot,
        damages: Vec<Damage>,
    }

    impl Bench {
        fn new() -> Bench {
            let dir = tempfile::tempdir().unwrap();
            let store = dir.path().join("store");
            build(&store, &mut Mails::generated(2), &WorldOptions { seed: 2, accounts: 3, messages: 60 }).unwrap();
            copy::plain(&store, &dir.path().join("replica")).unwrap();
            let truth = Snapshot::take(&store).unwrap();
            let folder = folder_to_lose(&truth);
            let options =
                DamageOptions { seed: 2, mix: 5, each: 2, strays: 2, companions: 1, folder, ..Default::default() };
            let damages = inflict(&store, &truth, &Touched::default(), &options).unwrap();
            let broken = Snapshot::take(&store).unwrap();
            Bench { _dir: dir, store, truth, broken, damages }
        }

        /// Findings of a tool that names everything.
        fn found(&self) -> Vec<Found> {
            let verdict = |d: &Damage| match d.kind {
                Kind::Deleted | Kind::LostFolder => Verdict::Missing(Missing::Undecided),
                _ => Verdict::Damaged,
            };
            let found = |d: &Damage| Found { path: d.path.clone(), verdict: verdict(d), action: None, outcome: None };
            self.damages.iter().map(found).collect()
        }

        fn score(&self, found: &[Found], undecided: Undecided) -> Score {
            let after = Snapshot::take(&self.store).unwrap();
            let (truth, broken, damages) = (&self.truth, &self.broken, &self.damages[..]);
            score(&Case { truth, broken, after: &after, damages, given_up: &[], found, undecided })
        }

        /// Puts single files back as a perfect repair would.
        fn heal(&self) {
            let replica = self.store.with_file_name("replica");
            for damage in &self.damages {
                let (from, to) = (replica.join(damage.path.as_path()), self.store.join(damage.path.as_path()));
                if let Some(stray) = &damage.stray {
                    disk::remove_file(&self.store.join(stray.as_path())).unwrap();
                }
                put(&from, &to);
            }
        }
    }

    fn put(from: &Path, to: &Path) {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        drop(std::fs::remove_file(to));
        copy::plain(from.parent().unwrap(), &to.with_extension("whole")).unwrap();
        std::fs::rename(to.with_extension("whole").join(from.file_name().unwrap()), to).unwrap();
        std::fs::remove_dir_all(to.with_extension("whole")).unwrap();
    }

    #[test]
    fn a_perfect_recovery_scores_perfect_and_doing_nothing_does_not() {
        let bench = Bench::new();
        let idle = bench.score(&[], Undecided::Report);
        assert!(!idle.perfect() && idle.total(|r| r.found) == 0 && idle.touched.is_empty());
        bench.heal();
        let healed = bench.score(&bench.found(), Undecided::Restore);
        assert!(healed.perfect(), "{}", healed.table());
        assert_eq!(healed.total(|r| r.healed), bench.damages.len());
    }

    #[test]
    fn every_kind_of_harm_is_seen() {
        let bench = Bench::new();
        bench.heal();
        let whole = bench.truth.messages().find(|(p, _)| bench.damages.iter().all(|d| d.path != **p)).unwrap().0;
        let file = bench.store.join(whole.as_path());
        std::fs::write(file.with_file_name("99.extra:2,"), "Subject: back\n\n").unwrap();
        let time = disk::mtime_of(&disk::stat(&file).unwrap());
        disk::set_mtime(&file, crate::model::Stamp { sec: time.sec + 1, ..time }).unwrap();
        let mut found = bench.found();
        found.push(Found { path: whole.clone(), verdict: Verdict::Damaged, action: None, outcome: None });
        let score = bench.score(&found, Undecided::Restore);
        assert_eq!(
            (score.accused.len(), score.wrongly_restored.len(), score.touched.len()),
            (1, 1, 1),
            "{}",
            score.table()
        );
        assert!(!score.perfect() && score.table().contains("99.extra"));
    }
}
