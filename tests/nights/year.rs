//! The year: what disks do to the town, what the nightly verify says of it, and an oracle that knows the truth.
//!
//! Every alarm must be about something that the disk did, and everything that the disk did must raise one: rot within the
//! nights that the budget promises, a loss that leaves evidence the same night. An owner's deletion is never called lost.

use crate::common::{Answer, Mailmend, long, spec, words};
use crate::records::{self, ask, longest_wait};
use crate::town::{Town, find};
use mailmend::drill::damage::{Kind, spoilt};
use mailmend::drill::disk;
use mailmend::drill::names::{self, Identity};
use mailmend::drill::truth::Snapshot;
use mailmend::drill::{Repair, Undecided, copy};
use mailmend::model::{Missing, RelPath, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

/// A fifth a night: everything is read again within five nights, whether the store grew or shrank meanwhile.
const BUDGET: &str = "20%";
const COVERED: u32 = 5;

/// What happened to a message that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Rot(Kind),
    /// A loss with evidence.
    Lost,
    /// Gone by a sync that went wrong: nothing tells that from a deletion but the number.
    Synced,
    /// Its owner deleted it, in a way or at a time that must be asked about.
    Deleted,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    harm: Harm,
    since: u32,
    found: Option<u32>,
}

#[derive(Debug, Default)]
struct Figures {
    silent: u32,
    rots: BTreeMap<&'static str, (u32, u32)>,
    lost: u32,
    synced: u32,
    deleted: u32,
    asked: u32,
    repairs: u32,
    compressed: usize,
    memory: Vec<u64>,
    weights: Vec<u64>,
}

struct Year {
    dir: tempfile::TempDir,
    tool: Mailmend,
    town: Town,
    night: u32,
    open: BTreeMap<Identity, Open>,
    /// What owners deleted, ever.
    gone: BTreeSet<Identity>,
    /// The same, today.
    today: Vec<Identity>,
    /// Folders that the disk lost, with what belongs to them.
    lost_folders: BTreeSet<RelPath>,
    figures: Figures,
    load: usize,
    full: usize,
}

impl Year {
    fn new(seed: u64, accounts: usize, messages: usize) -> Year {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let town = Town::new(dir.path(), seed, accounts, messages);
        let tool = Mailmend::with_state(dir.path().join("state"));
        tool.run(words(&["verify"]).chain([town.store.clone().into()])).expect(0);
        let full = town.truth.len();
        let year = Year {
            dir,
            tool,
            town,
            night: 0,
            open: BTreeMap::new(),
            gone: BTreeSet::new(),
            today: Vec::new(),
            lost_folders: BTreeSet::new(),
            figures: Figures::default(),
            load: accounts,
            full,
        };
        year.back_up();
        year
    }

    fn play(&mut self, nights: u32) {
        for night in 1..=nights {
            self.night = night;
            records::pass(&self.tool, 1);
            let busy_with = self.open.clone();
            let deleted = self.town.day(self.load, self.full, &|identity| busy_with.contains_key(identity));
            self.today = deleted.clone();
            self.gone.extend(deleted.iter().cloned());
            self.events(night % 7, night / 7);
            for identity in deleted {
                self.deleted(identity, false);
            }
            self.verify();
            self.town.returned.clear();
            let told = self.open.values().all(|open| open.found.is_some() || open.harm == Harm::Deleted);
            if !self.open.is_empty() && (told || night % 7 == 6) {
                self.put_right();
            }
            if night % 7 == 6 {
                self.back_up();
            }
            self.weigh();
        }
    }

    /// Monday the disk rots, and so on.
    fn events(&mut self, day: u32, week: u32) {
        match day {
            0 if week % 4 != 3 => self.rot(),
            1 if week % 2 == 1 => self.lose_file(),
            2 if week.is_multiple_of(2) => self.clean_up(),
            3 if week % 4 == 2 => self.give_folder_up(),
            3 if week % 5 == 4 => self.bad_sync(),
            4 if week.is_multiple_of(2) => {
                let open = self.open.clone();
                self.town.make_folder(week, &|identity| open.contains_key(identity));
            }
            4 if week % 6 == 3 => self.lose_folder(),
            4 if week % 6 == 5 => self.empty_mailbox(),
            5 if week % 3 == 1 => self.figures.compressed += self.town.compress(self.full / 10),
            _ => {}
        }
    }

    /// Its owner deleted it. `many` at once, and anything in an account with harm, may be asked about.
    fn deleted(&mut self, identity: Identity, many: bool) {
        self.figures.deleted += 1;
        let account = Town::account(&identity.mailbox);
        let harmed = self.open.keys().any(|other| Town::account(&other.mailbox) == account);
        if many || harmed {
            self.open.insert(identity.clone(), Open { harm: Harm::Deleted, since: self.night, found: None });
        }
        self.gone.insert(identity);
    }

    fn harmless(&mut self) -> Vec<Identity> {
        let open = self.open.clone();
        self.town.any(&|identity| open.contains_key(identity))
    }

    fn hit(&mut self, identity: &Identity, harm: Harm) {
        self.open.insert(identity.clone(), Open { harm, since: self.night, found: None });
    }

    /// Every kind in turn, and one message of the replica.
    fn rot(&mut self) {
        const KINDS: [Kind; 8] = [
            Kind::Bit,
            Kind::Sector,
            Kind::Region,
            Kind::Zeroed,
            Kind::Region,
            Kind::Truncated,
            Kind::Sector,
            Kind::Emptied,
        ];
        let victims = self.harmless();
        let store = self.town.store.clone();
        for (nth, identity) in victims.iter().take(3).enumerate() {
            let kind = KINDS[(self.night as usize / 7 * 3 + nth) % KINDS.len()];
            self.spoil(&store, identity, kind);
            self.hit(identity, Harm::Rot(kind));
            self.figures.rots.entry(kind.words()).or_default().0 += 1;
        }
        if let Some(other) = victims.get(3) {
            let replica = self.town.replica.clone();
            self.spoil(&replica, other, Kind::Sector);
            let (from, to) = (find(&store, other), find(&replica, other));
            // The replica's own administrator sees to it.
            if let (Some(from), Some(to), true) = (from, to, self.night.is_multiple_of(14)) {
                fs::copy(from, to).expect("a copy");
            }
        }
    }

    fn spoil(&mut self, root: &std::path::Path, identity: &Identity, kind: Kind) {
        let path = find(root, identity).expect("a message");
        let was = disk::mtime_of(&disk::stat(&path).expect("a message"));
        let bytes = disk::read(&path).expect("a message");
        disk::overwrite(&path, &spoilt(&bytes, kind, &mut self.town.rng)).expect("rot");
        disk::set_mtime(&path, was).expect("a time");
    }

    /// The file system loses a file; no program touched the folder.
    fn lose_file(&mut self) {
        let quiet = |identity: &&Identity| !self.town.busy.contains_key(&identity.mailbox);
        let all = self.town.truth.keys().filter(|i| !self.open.contains_key(*i)).filter(quiet).cloned();
        let Some(identity) = all.max() else { return };
        let path = find(&self.town.store, &identity).expect("a message");
        let folder = path.parent().expect("a folder").to_path_buf();
        let was = disk::mtime_of(&disk::stat(&folder).expect("a folder"));
        fs::remove_file(path).expect("a loss");
        disk::set_mtime(&folder, was).expect("a time");
        self.hit(&identity, Harm::Lost);
    }

    /// Somebody tidies up: a quarter of a folder.
    fn clean_up(&mut self) {
        let victims = self.harmless();
        let Some(folder) = victims.first().map(|identity| identity.mailbox.clone()) else { return };
        let within: Vec<_> = victims.into_iter().filter(|identity| identity.mailbox == folder).collect();
        let share = within.len() / 4;
        // The answer for those that went the same day is the same.
        let today: Vec<_> = self.gone.iter().filter(|i| i.mailbox == folder).cloned().collect();
        for identity in today {
            self.open.entry(identity).or_insert(Open { harm: Harm::Deleted, since: self.night, found: None });
        }
        for identity in within.into_iter().take(share) {
            self.town.delete(&identity);
            self.deleted(identity, true);
        }
    }

    fn give_folder_up(&mut self) {
        let folders = self.town.made_folders();
        let touched: Vec<_> = self.open.keys().chain(&self.town.returned).chain(self.town.moved.keys()).collect();
        let sound = |folder: &&RelPath| !touched.iter().any(|identity| identity.mailbox == **folder);
        let Some(folder) = folders.iter().find(sound).cloned() else { return };
        for identity in self.town.delete_folder(&folder) {
            self.figures.deleted += 1;
            self.gone.insert(identity);
        }
    }

    /// The replica loses mail, and the sync takes that for deletions.
    fn bad_sync(&mut self) {
        let backed_up = Snapshot::take(&self.backup()).expect("the backup");
        let kept = |i: &Identity| !backed_up.standing(i).is_empty() && !self.open.contains_key(i);
        let folders = self.town.mailboxes();
        let most = folders.iter().max_by_key(|folder| self.town.within(folder).len()).expect("a folder");
        let all: Vec<_> = self.town.within(most).into_iter().filter(kept).collect();
        for identity in all.iter().take(all.len() / 2) {
            for root in [&self.town.store, &self.town.replica] {
                fs::remove_file(find(root, identity).expect("a message")).expect("a sync");
            }
            self.hit(identity, Harm::Synced);
        }
    }

    fn lose_folder(&mut self) {
        let Some(folder) = self.quiet_folder(&|m| m.name() != b"Maildir") else { return };
        fs::remove_dir_all(self.town.store.join(folder.as_path())).expect("a loss");
        self.lost_mailbox(&folder);
    }

    /// The mail of a folder goes, and the server's list of it.
    fn empty_mailbox(&mut self) {
        let store = self.town.store.clone();
        let listed = |m: &RelPath| m.name() != b"Maildir" && store.join(m.as_path()).join("dovecot-uidlist").exists();
        let Some(folder) = self.quiet_folder(&listed) else { return };
        let path = self.town.store.join(folder.as_path());
        fs::remove_file(path.join("dovecot-uidlist")).expect("a loss");
        for sub in ["cur", "new"] {
            disk::clear(&path.join(sub)).expect("a loss");
        }
        self.lost_mailbox(&folder);
    }

    fn quiet_folder(&mut self, fit: &dyn Fn(&RelPath) -> bool) -> Option<RelPath> {
        let mailboxes = self.town.mailboxes();
        let inner = |m: &RelPath| mailboxes.iter().any(|other| other != m && other.strip_prefix(m).is_some());
        // Whatever was deleted there today cannot be told apart.
        let touched: Vec<_> = self.open.keys().chain(self.town.moved.keys()).chain(&self.today).collect();
        let open = |m: &RelPath| touched.iter().any(|identity| identity.mailbox == *m);
        let fit: Vec<_> = mailboxes.iter().filter(|m| fit(m) && !inner(m) && !open(m)).cloned().collect();
        self.town.rng.choice(&fit).cloned()
    }

    fn lost_mailbox(&mut self, folder: &RelPath) {
        for identity in self.town.within(folder) {
            self.hit(&identity, Harm::Lost);
        }
        self.lost_folders.insert(folder.clone());
    }

    fn backup(&self) -> std::path::PathBuf {
        self.dir.path().join("backup")
    }

    fn back_up(&self) {
        fs::remove_dir_all(self.backup()).ok();
        copy::plain(&self.town.store, &self.backup()).expect("a backup");
    }

    /// The night: silent where all is well, else nothing but the truth.
    fn verify(&mut self) {
        let line = words(&["verify"]).chain([self.town.store.clone().into()]).chain(words(&["--budget", BUDGET]));
        if self.open.is_empty() && self.lost_folders.is_empty() {
            let mut command = self.tool.command();
            command.arg("--state").arg(&self.tool.state).arg("--quiet").args(line);
            let output = command.output().expect("the binary");
            let silent = output.status.success() && output.stdout.is_empty() && output.stderr.is_empty();
            assert!(silent, "night {}: {output:?}", self.night);
            self.figures.silent += 1;
        } else {
            let run = self.tool.start(line);
            let mut most = 0;
            while !run.ended() {
                most = most.max(records::memory(run.pid));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            self.figures.memory.push(most);
            let answer = run.end();
            assert_eq!(answer.status & !4, 0, "night {}: {answer}", self.night);
            self.judge(&answer);
        }
        let wait = longest_wait(&self.tool);
        assert!(wait < i64::from(COVERED), "night {}: {wait} days", self.night);
    }

    fn judge(&mut self, answer: &Answer) {
        let standing = answer.findings().map(|line| line["accepted"] != true);
        for (found, _) in answer.found().into_iter().zip(standing).filter(|(_, stands)| *stands) {
            let alarm = match found.verdict {
                Verdict::Damaged | Verdict::Unreadable => true,
                Verdict::Missing(missing) => matches!(missing, Missing::Lost | Missing::Undecided),
                _ => false,
            };
            if alarm {
                self.judge_one(&found.path, found.verdict, answer);
            }
        }
        for (identity, open) in &self.open {
            let waited = self.night - open.since;
            let late = match open.harm {
                Harm::Rot(Kind::Truncated | Kind::Emptied) | Harm::Lost | Harm::Synced => waited >= 1,
                // The night after the damage is the first of the five.
                Harm::Rot(_) => waited + 1 >= COVERED,
                Harm::Deleted => false,
            };
            let found = open.found.is_some() || (waited == 0 && !matches!(open.harm, Harm::Lost | Harm::Synced));
            assert!(found || !(late || waited == 0), "night {}: {identity:?} {open:?}: {answer}", self.night);
        }
    }

    fn judge_one(&mut self, path: &RelPath, verdict: Verdict, answer: &Answer) {
        let within_lost = self.lost_folders.iter().any(|folder| path.strip_prefix(folder).is_some() || path == folder);
        let Some(identity) = names::identity(path) else {
            assert!(within_lost, "night {}: a false alarm at {path}: {}", self.night, why(path, answer));
            return;
        };
        if self.gone.contains(&identity) {
            let asked = verdict == Verdict::Missing(Missing::Undecided);
            let known = self.open.contains_key(&identity);
            let what = why(path, answer);
            assert!(asked && known, "night {}: {verdict:?} of a deleted {path}: {what}", self.night);
        }
        let night = self.night;
        let Some(open) = self.open.get_mut(&identity) else {
            panic!("night {night}: a false alarm, {verdict:?} {path}: {}", why(path, answer));
        };
        let right = match open.harm {
            Harm::Rot(_) => verdict == Verdict::Damaged,
            Harm::Lost => verdict == Verdict::Missing(Missing::Lost),
            Harm::Synced => matches!(verdict, Verdict::Missing(_)),
            Harm::Deleted => true,
        };
        assert!(right, "night {night}: {verdict:?} of {open:?} {path}: {answer}");
        if open.found.replace(night).is_none() {
            match open.harm {
                Harm::Rot(kind) => self.figures.rots.entry(kind.words()).or_default().1 += 1,
                Harm::Lost => self.figures.lost += 1,
                Harm::Synced => self.figures.synced += 1,
                Harm::Deleted => self.figures.asked += 1,
            }
        }
    }

    /// On Sunday, or when everything was found: the administrator accepts what users say they deleted, and repairs the rest.
    fn put_right(&mut self) {
        let asked = self.open.iter().filter(|(_, open)| open.harm == Harm::Deleted && open.found.is_some());
        for (identity, _) in asked {
            let key = String::from_utf8(identity.key.clone()).expect("UTF-8");
            self.tool.run(["accept", "--key", &key, "--reason", "its owner says so"]).expect(0);
        }
        let synced: Vec<_> = self.open.iter().filter(|(_, o)| o.harm == Harm::Synced).map(|(i, _)| i.clone()).collect();
        let undecided = if synced.is_empty() { Undecided::Report } else { Undecided::Restore };
        let sources = vec![spec(&self.town.replica), spec(&self.backup())];
        let answer = self.tool.repair(&self.town.store, &Repair { sources, apply: true, undecided });
        let left: Vec<_> = answer
            .findings()
            .filter(|f| f["outcome"]["kind"] != "done" && f["outcome"] != "done" && f["accepted"] != true)
            .collect();
        assert!(matches!(answer.status, 0 | 1), "night {}: left {left:?} {answer}", self.night);
        self.figures.repairs += 1;
        for identity in synced {
            let from = find(&self.town.store, &identity).expect("it came back");
            let to = self.town.replica.join(from.strip_prefix(&self.town.store).expect("below"));
            fs::copy(from, to).expect("the replica is seen to");
        }
        self.town.returned = std::mem::take(&mut self.open).into_keys().collect();
        self.lost_folders.clear();
        self.assert_whole(&answer);
    }

    /// Every message that nobody deleted is there, as it was, and no other.
    fn assert_whole(&self, answer: &Answer) {
        let tree = Snapshot::take(&self.town.store).expect("a tree");
        let is: BTreeMap<_, _> =
            tree.messages().map(|(path, e)| (names::identity(path).expect("a message"), e.digest)).collect();
        let differs = |(identity, digest): &(&Identity, &mailmend::model::Digest)| is.get(*identity) != Some(*digest);
        let not_right: Vec<_> = self.town.truth.iter().filter(differs).take(5).collect();
        let risen: Vec<_> = is.keys().filter(|identity| !self.town.truth.contains_key(*identity)).take(5).collect();
        let fine = not_right.is_empty() && risen.is_empty();
        assert!(fine, "night {}: not right {not_right:?}, risen {risen:?}: {answer}", self.night);
    }

    fn weigh(&mut self) {
        self.figures.weights.push(records::size(&self.tool));
    }

    /// The last words: everything was found, and the records and the memory are bounded.
    fn close(&self, nights: u32, began: Instant) {
        let (live, figures) = (self.town.truth.len() as u64, &self.figures);
        let kept = ask(&self.tool, "SELECT count(*) FROM message WHERE state IN (5, 6, 7)");
        let newest = figures.weights.last().copied().unwrap_or(0);
        let most = figures.memory.iter().copied().max().unwrap_or(0);
        eprintln!(
            "{nights} nights in {:.0} s: {} silent, {} repairs; rots (made, found by night) {:?}; losses found {}, of a \
             sync {}; deleted {}, asked about {}; compressed {}\ncatalog {newest} B for {live} live messages ({} B each), \
             {kept} of deleted or moved ones; memory of all processes at most {most} KiB",
            began.elapsed().as_secs_f64(),
            figures.silent,
            figures.repairs,
            figures.rots,
            figures.lost,
            figures.synced,
            figures.deleted,
            figures.asked,
            figures.compressed,
            newest / live.max(1),
        );
        assert!(figures.silent > nights / 4, "nights without an alarm: {figures:?}");
        assert!(figures.rots.len() == 6 && figures.lost > 1 && figures.synced > 2, "too little happened: {figures:?}");
        assert!(figures.rots.values().all(|(made, found)| made == found), "{figures:?}");
        assert!(most < 256 << 10, "{most} KiB");
        if nights > 250 {
            let (half, end) = (figures.weights[nights as usize / 2], newest);
            assert!(end < half + half / 3, "the catalog grows for ever: {half} and {end} bytes");
        }
    }
}

/// What was said of one file.
fn why(path: &RelPath, answer: &Answer) -> String {
    let about = answer.findings().filter(|line| line["path"] == path.to_string().as_str());
    about.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn seed() -> u64 {
    std::env::var("MAILMEND_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[test]
fn some_weeks_of_nights() {
    let began = Instant::now();
    let mut year = Year::new(seed(), 5, 40);
    year.play(41);
    year.close(41, began);
}

#[test]
fn a_year_of_nights() {
    if !long() {
        return;
    }
    let began = Instant::now();
    let mut year = Year::new(seed() + 1, 6, 40);
    year.play(370);
    year.close(370, began);
}
