//! A store with its replica and snapshots in a folder of its own, and the judgement on what the binary did to it.

use super::{Answer, Mailmend, NOBODY, spec};
use mailmend::drill::corpus::Mails;
use mailmend::drill::damage::{self, Damage, DamageOptions, Touched};
use mailmend::drill::day::{self, Change, DayOptions};
use mailmend::drill::score::{self, Case, Score};
use mailmend::drill::truth::{Difference, Snapshot, Strictness};
use mailmend::drill::world::{self, WorldOptions};
use mailmend::drill::{Found, Repair, Undecided, copy, scene};
use mailmend::model::RelPath;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A store, and room for its copies.
pub struct Bench {
    /// Removed at the end.
    pub dir: tempfile::TempDir,
    pub store: PathBuf,
    pub replica: PathBuf,
    /// Holds snapshots named by date.
    pub backup: PathBuf,
    pub tool: Mailmend,
    pub mails: Mails,
}

impl Bench {
    /// A store of generated mail.
    pub fn small() -> Bench {
        Bench::with(Mails::generated(7), 6, 50)
    }

    pub fn with(mut mails: Mails, accounts: usize, messages: usize) -> Bench {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let [store, replica, backup, state] = ["store", "replica", "backup", "state"].map(|n| dir.path().join(n));
        world::build(&store, &mut mails, &WorldOptions { seed: 7, accounts, messages }).expect("a store");
        Bench { dir, store, replica, backup, tool: Mailmend::with_state(state), mails }
    }

    /// Gives everything to an unprivileged user, and runs the binary as that user from now on. Without
    /// root we are one already.
    pub fn unprivileged(mut self) -> Bench {
        if !super::is_root() {
            return self;
        }
        let binary = self.dir.path().join("mailmend");
        std::fs::copy(&self.tool.binary, &binary).expect("a copy of the binary");
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        std::fs::create_dir_all(&self.tool.state).expect("a state folder");
        for entry in walkdir::WalkDir::new(self.dir.path()) {
            let path = entry.expect("a readable test folder").into_path();
            std::os::unix::fs::lchown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        self.tool.binary = binary;
        self.tool.user = Some(NOBODY);
        self
    }

    pub fn tree(&self) -> Snapshot {
        Snapshot::take(&self.store).expect("the store is readable")
    }

    /// The state that the binary has to itself, begun anew: there is no catalog.
    pub fn forget(&mut self) {
        self.tool.state = self.dir.path().join("another state");
    }

    /// A plain copy of the store as it is now.
    pub fn replicate(&self) {
        copy::plain(&self.store, &self.replica).expect("a replica");
    }

    /// The same as a snapshot of that day.
    pub fn snapshot(&self, date: &str) -> PathBuf {
        let to = self.backup.join(date);
        copy::plain(&self.store, &to).expect("a snapshot");
        to
    }

    /// All snapshots, as one source.
    pub fn snapshots(&self) -> String {
        spec(&self.backup.join("20*"))
    }

    pub fn replica_repair(&self, undecided: Undecided, apply: bool) -> Repair {
        Repair { sources: vec![spec(&self.replica)], apply, undecided }
    }

    pub fn day(&mut self, options: &DayOptions) -> Vec<Change> {
        let before = self.tree();
        day::live(&self.store, &before, &mut self.mails, options).expect("a day")
    }

    /// Breaks the store and remembers how it was.
    pub fn inflict(&self, changes: &[Change], options: &DamageOptions) -> Broken {
        let truth = self.tree();
        let damages = damage::inflict(&self.store, &truth, &Touched::by(changes), options).expect("damage");
        Broken { truth, broken: self.tree(), damages, given_up: scene::lost_to_users(changes) }
    }

    /// Takes the disk away.
    pub fn blank(&self, given_up: &[Change]) -> Broken {
        let truth = self.tree();
        let damages = damage::blank(&self.store, &truth).expect("an empty store");
        Broken { truth, broken: self.tree(), damages, given_up: scene::lost_to_users(given_up) }
    }
}

/// A damaged store and its truth.
pub struct Broken {
    pub truth: Snapshot,
    pub broken: Snapshot,
    pub damages: Vec<Damage>,
    pub given_up: Vec<RelPath>,
}

impl Broken {
    pub fn score(&self, bench: &Bench, found: &[Found], undecided: Undecided) -> Score {
        let after = bench.tree();
        score::score(&Case {
            truth: &self.truth,
            broken: &self.broken,
            after: &after,
            damages: &self.damages,
            given_up: &self.given_up,
            found,
            undecided,
        })
    }

    /// Insists on a perfect recovery.
    #[track_caller]
    pub fn assert_perfect(&self, bench: &Bench, answer: &Answer, found: &[Found], undecided: Undecided) {
        let score = self.score(bench, found, undecided);
        let all = score.complaints(10).join("\n");
        assert!(score.perfect(), "{}{all}\nafter {answer}", score.table());
    }

    /// Insists that the store is as it was after the damage: byte for byte, name for name, time for time.
    #[track_caller]
    pub fn assert_still_broken(&self, bench: &Bench, why: &str) {
        assert_same(&self.broken, &bench.tree(), why);
    }
}

#[track_caller]
pub fn assert_same(was: &Snapshot, is: &Snapshot, why: &str) {
    assert_none(&was.differences(is, Strictness::Healed), why);
}

#[track_caller]
pub fn assert_none(differences: &[Difference], why: &str) {
    let first: Vec<String> = differences.iter().take(10).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{why}: {} differences\n{}", differences.len(), first.join("\n"));
}
