//! The damage table in mailmend-formats(7), made by what real Dovecot shows after each repair.
//!
//! `MAILMEND_UPDATE_MAN=1 cargo test --test dovecot damage_table` writes it anew. `MAILMEND_TABLE_REPORT=FILE` takes
//! down what went wrong in each cell, `MAILMEND_TABLE_ROWS=Lost,Zeroed` and `MAILMEND_TABLE_COLUMNS=mdbox` make only these.

use crate::account::{ANN, Account, Make, PARTNER, Replica, Time};
use crate::common::{Answer, spec, words};
use crate::judge::{self, Expected, Mark, Verdict, View};
use crate::kit;
use crate::rows::{FRESH, PHASES, Phase, ROWS, Row, VICTIMS};
use mailmend::drill::{Repair, Undecided};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// One damage, one way of storing mail, one state of the server.
type Cell = (Row, usize, Phase);

const MAKES: [(Make, &str); 5] = [
    (Make::Plain, "Maildir"),
    (Make::Zstd, "zstd"),
    (Make::Sdbox, "sdbox"),
    (Make::Mdbox, "mdbox"),
    (Make::Mbox, "mbox"),
];

/// Phases in which something is not as it was, by column: what the page says. Whoever heals one takes it out here.
const NOT_YET: &[(Row, [&str; 5])] = &[
    // sdbox and mdbox: the server begins its index anew where it meets these, without a history: what it found gone and
    // what its owner had deleted look the same then.
    (Row::Lost, ["", "", "bc", "bc", ""]),
    (Row::LostSynced, ["", "", "bc", "", ""]),
    (Row::Truncated, ["", "", "", "bc", ""]),
    (Row::Emptied, ["", "", "", "bc", ""]),
    // Only the server makes a map, and what users deleted comes back with it.
    (Row::NoMap, ["", "", "", "bc", ""]),
    // mbox: the server begins its index anew under the harmed number, and forgets what its user deleted before.
    (Row::BaseDigit, ["", "", "", "", "bc"]),
    // The index alone knows flags: those that were set since the copy was made are gone with it.
    (Row::NoIndexes, ["", "", "abc", "", ""]),
];

/// The same where all is as it was, but what its owner had deleted since the evening is left undecided.
const ASKED: &[(Row, [&str; 5])] = &[
    (Row::Truncated, ["", "", "bc", "", ""]),
    (Row::MessageHeaderBit, ["", "", "bc", "", ""]),
    (Row::SizeDigit, ["", "", "bc", "", ""]),
];

/// What a cell of the page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Yes,
    Ask,
    No,
}

impl Says {
    /// What is listed for a cell.
    fn listed((row, column, phase): Cell) -> Says {
        let letter = PHASES.iter().zip("abc".chars()).find(|(known, _)| **known == phase).map(|(_, letter)| letter);
        let has = |list: &[(Row, [&str; 5])]| {
            let listed = list.iter().find(|(known, _)| *known == row);
            listed.zip(letter).is_some_and(|((_, phases), letter)| phases[column].contains(letter))
        };
        if has(NOT_YET) {
            Says::No
        } else if has(ASKED) {
            Says::Ask
        } else {
            Says::Yes
        }
    }

    /// What came of it.
    fn of(verdict: &Verdict) -> Says {
        match verdict.missed() {
            none if none.is_empty() => Says::Yes,
            marks if marks == [Mark::Asked].into() => Says::Ask,
            _ => Says::No,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Says::Yes => "yes",
            Says::Ask => "ask",
            Says::No => "no",
        }
    }
}

/// An account with what it must be after every repair.
struct Place {
    account: Account,
    evening: Expected,
    day: Expected,
}

impl Place {
    fn build(make: Make) -> Place {
        let account = Account::build(make);
        let mut seen = |time| {
            account.restore(time, Replica::Backup);
            let view = View::of(&account, ANN);
            assert!(view.faults.is_empty() && (view.has_uidls() || !make.has_uidls()), "{:?}", view.faults);
            view
        };
        let [evening, day] = [Time::Evening, Time::NextDay].map(&mut seen);
        let all: BTreeSet<String> = crate::account::MAILBOXES
            .iter()
            .flat_map(|(_, first, count)| (*first..first + count).map(|number| format!("<{number}@example.org>")))
            .collect();
        let expected = |view: View| {
            let there: BTreeSet<String> = view.message_ids().cloned().collect();
            Expected { deleted: all.difference(&there).cloned().collect(), view, ..Expected::default() }
        };
        Place { evening: expected(evening), day: expected(day), account }
    }

    fn expected(&self, row: Row) -> Expected {
        let mut expected = if row.time() == Time::Evening { self.evening.clone() } else { self.day.clone() };
        if self.has_no_copy(row) {
            let evening: BTreeSet<&String> = self.evening.view.message_ids().collect();
            for (name, first) in VICTIMS {
                let golden = expected.view.mailboxes.get_mut(name).expect("a mailbox");
                golden.messages.retain(|uid, seen| *uid < u64::from(first) || evening.contains(&seen.message_id));
            }
        }
        if row == Row::BlankDiskStarted {
            expected.fresh = FRESH.map(|number| format!("<{number}@example.org>")).into();
            expected.new.push("Junk");
        }
        if !row.is_harm() {
            // What the user did is what must stay.
            let there = View::of(&self.account, ANN);
            let ids: BTreeSet<&String> = there.message_ids().collect();
            let gone = expected.view.message_ids().filter(|id| !ids.contains(id)).cloned();
            expected.deleted.extend(gone.collect::<Vec<_>>());
            expected.view = there;
        }
        expected
    }

    /// Whether the damage meets messages that came since all copies were made: those behind the place where a file that holds
    /// many was cut off. They are told as lost.
    fn has_no_copy(&self, row: Row) -> bool {
        row == Row::Truncated && self.account.make == Make::Mbox
    }

    /// Where whole copies are: a partner that has deleted a message has none.
    fn sources(&self, row: Row) -> Vec<String> {
        let snapshot = (row == Row::LostSynced).then(|| spec(&self.account.snapshot()));
        snapshot.into_iter().chain([spec(&self.account.replica)]).collect()
    }

    /// `audit STORE --from REPLICA`.
    fn audit(&self, row: Row) -> Answer {
        let args = words(&["audit"]).chain([OsString::from(&self.account.store)]);
        let sources = self.sources(row).into_iter().flat_map(|source| [OsString::from("--from"), source.into()]);
        self.account.tool().run(args.chain(sources))
    }

    /// `repair STORE --from REPLICA --apply`, and with `--peer` where both sides of a sync have to be repaired.
    fn repair(&self, row: Row) -> Answer {
        let (account, tool) = (&self.account, self.account.tool());
        if row != Row::LostSynced {
            let repair = Repair { sources: self.sources(row), apply: true, undecided: Undecided::Report };
            return tool.repair(&account.store, &repair);
        }
        let args: [OsString; 4] =
            ["repair".into(), (&account.store).into(), "--from".into(), spec(&account.snapshot()).into()];
        let both: [OsString; 3] = ["--peer".into(), (&account.replica).into(), "--apply".into()];
        tool.run(args.into_iter().chain(both))
    }

    /// Breaks the account, lets the server look or not, repairs, and judges.
    fn cell(&self, row: Row, make: Make, phase: Phase, replica: Replica) -> Verdict {
        let account = &self.account;
        let mut verdict = Verdict::default();
        account.restore(row.time(), replica);
        let stay = (phase == Phase::Running && row != Row::BlankDiskStarted).then(|| idle(account, row));
        row.inflict(account, make);
        let stay = if phase == Phase::Running && stay.is_none() { Some(idle(account, row)) } else { stay };
        let mut expected = self.expected(row);
        if phase != Phase::Before {
            drop(account.server.doveadm(&["index", "-u", ANN, "*"]));
            drop(account.server.doveadm(&["fetch", "-u", ANN, "uid text", "ALL"]));
            judge::read_all(account, ANN);
            self.raise(row, &mut expected);
        }
        if row == Row::LostSynced {
            account.succeed(&["sync", "-u", ANN, &account.partner()]);
        }
        account.quiet();
        let audit = self.audit(row);
        if (audit.status & 4 != 0) != row.is_harm() || audit.status & !(1 | 4) != 0 {
            verdict.miss(Mark::Detected, format!("audit: status {}", audit.status));
        }
        let answer = self.repair(row);
        let status = if self.has_no_copy(row) { 4 } else { i32::from(row.is_harm()) };
        if answer.status != status {
            verdict.miss(self.unhealed(&answer), format!("repair: status {}: {}", answer.status, held(&answer)));
        }
        let seen = account.server.log().len();
        let again = self.audit(row);
        if again.status != 0 {
            verdict.miss(self.unhealed(&again), format!("audit afterwards: status {}: {}", again.status, held(&again)));
        }
        let after = View::of(account, ANN);
        judge::compare(&expected, &after, &mut verdict);
        account.quiet();
        self.sync(&after, &mut verdict);
        self.resync(&after, seen, &mut verdict);
        drop(stay);
        verdict
    }

    /// What a run that did not end well has left: only questions about what owners deleted that day, or more.
    fn unhealed(&self, answer: &Answer) -> Mark {
        let deleted = |path: &str| {
            self.evening.view.mailboxes.iter().any(|(name, golden)| {
                let day = self.day.view.mailboxes.get(name);
                let gone = golden.messages.keys().filter(|uid| day.is_none_or(|day| !day.messages.contains_key(uid)));
                let folder = self.account.folder(name);
                gone.into_iter().any(|uid| spec(&folder.join(format!("u.{uid}"))).ends_with(&format!("/{path}")))
            })
        };
        let settled = |finding: &serde_json::Value| {
            let asked = finding["missing"] == "undecided" && finding["path"].as_str().is_some_and(deleted);
            asked || finding["outcome"]["kind"] == "done"
        };
        let only = answer.status & !(1 | 4) == 0 && answer.findings().all(settled);
        if only { Mark::Asked } else { Mark::Healed }
    }

    /// What the server has told since must not fall either; but the UIDs of an index of garbage are none.
    fn raise(&self, row: Row, expected: &mut Expected) {
        for (name, golden) in &mut expected.view.mailboxes {
            let Ok(told) = self.account.server.imap(ANN).try_status(name) else { continue };
            if told.uidvalidity == golden.uidvalidity {
                golden.modseq = golden.modseq.max(told.modseq);
            }
            if told.uidvalidity == golden.uidvalidity && row != Row::RandomIndex {
                golden.next_uid = golden.next_uid.max(told.next_uid);
            }
        }
    }

    fn sync(&self, before: &View, verdict: &mut Verdict) {
        for nth in ["first sync", "second sync"] {
            let output = self.account.server.doveadm(&["sync", "-u", ANN, &self.account.partner()]);
            if !output.status.success() || !output.stderr.is_empty() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                verdict.miss(Mark::Sync, format!("{nth}: {:?} {said}", output.status.code()));
            }
            self.account.quiet();
        }
        let now = View::of(&self.account, ANN);
        judge::unchanged(Mark::Sync, "after two syncs", before, &now, verdict);
        if self.account.partner_is_seen() {
            judge::same_at_partner(&now, &View::of(&self.account, PARTNER), verdict);
        }
    }

    fn resync(&self, before: &View, seen: usize, verdict: &mut Verdict) {
        let server = &self.account.server;
        let purge = (self.account.make == Make::Mdbox).then_some(&["purge", "-u", ANN][..]);
        let usual = [&["force-resync", "-u", ANN, "*"][..], &["fetch", "-u", ANN, "uid text", "ALL"]];
        for args in usual.into_iter().chain(purge) {
            let output = server.doveadm(args);
            // dbox tells of every mailbox that it does what it was told to do, and of files that it set aside itself.
            let said = String::from_utf8_lossy(&output.stderr);
            let usual = |line: &str| {
                let aside = line.contains(": Ignoring invalid filename ") && line.ends_with(".broken");
                aside || crate::server::is_resync(line)
            };
            let said: String = said.lines().filter(|line| !usual(line)).collect();
            if !output.status.success() || !said.is_empty() {
                verdict.miss(Mark::Resync, format!("{}: {:?} {said}", args[0], output.status.code()));
            }
        }
        judge::unchanged(
            Mark::Resync,
            "after all that its administrator can do",
            before,
            &View::of(&self.account, ANN),
            verdict,
        );
        let said: Vec<String> = server.log().get(seen..).unwrap_or_default().lines().map(str::to_owned).collect();
        for line in said.iter().filter(|line| crate::server::complains(line)) {
            verdict.miss(Mark::Resync, format!("the server's log: {line}"));
        }
    }
}

/// A client that stays in another mailbox.
fn idle(account: &Account, row: Row) -> crate::imap::Imap {
    let mut imap = account.server.imap(ANN);
    imap.must(&format!("SELECT {}", row.elsewhere()));
    imap.begin("IDLE");
    imap
}

/// Why steps were not done, for messages.
fn held(answer: &Answer) -> String {
    let mut all: BTreeMap<String, u32> = BTreeMap::new();
    for finding in answer.findings() {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        if finding["outcome"].is_null() {
            *all.entry(format!("{}: {}", text("path"), text("reason"))).or_default() += 1;
            continue;
        }
        *all.entry(format!("{} {} {}", text("verdict"), text("missing"), finding["outcome"])).or_default() += 1;
    }
    let stderr: String = answer.stderr.chars().take(300).collect();
    let all = all.iter().take(5).map(|(what, count)| format!("{count} x {what}; "));
    all.collect::<String>() + &stderr
}

/// Whether a cell is made: all where there is time or somebody asks, else a third of the rows of each column, in one state
/// of the server.
fn wanted((row, column, phase): Cell) -> bool {
    let asked = ["MAILMEND_UPDATE_MAN", "MAILMEND_TABLE_REPORT"].iter().any(|name| std::env::var_os(name).is_some());
    let only = std::env::var("MAILMEND_TABLE_COLUMNS");
    if only.is_ok_and(|columns| !columns.split(',').any(|name| name == MAKES[column].1)) {
        return false;
    }
    if let Ok(rows) = std::env::var("MAILMEND_TABLE_ROWS") {
        return rows.split(',').any(|name| name == format!("{row:?}"));
    }
    let nth = ROWS.iter().position(|(known, _)| *known == row).unwrap_or(0);
    let phases = row.phases(MAKES[column].0);
    let turn = (nth + column).is_multiple_of(3) && phases.get((nth / 3 + column) % phases.len().max(1)) == Some(&phase);
    crate::common::long() || asked || turn
}

fn all_cells() -> BTreeMap<Cell, Verdict> {
    std::thread::scope(|scope| {
        let columns = [0, 1, 2, 3, 4].map(|column| {
            scope.spawn(move || {
                let make = MAKES[column].0;
                let cells =
                    ROWS.iter().flat_map(|(row, _)| row.phases(make).iter().map(|phase| (*row, column, *phase)));
                let cells: Vec<Cell> = cells.filter(|cell| wanted(*cell)).collect();
                let place = (!cells.is_empty()).then(|| Place::build(make));
                let judge = |place: &Place, cell: Cell| (cell, place.cell(cell.0, make, cell.2, Replica::Backup));
                place.iter().flat_map(|place| cells.iter().map(|cell| judge(place, *cell))).collect::<Vec<_>>()
            })
        });
        columns.into_iter().flat_map(|column| column.join().expect("a column")).collect()
    })
}

/// What the page says.
fn table() -> String {
    let names: String = MAKES.iter().map(|(_, name)| format!("{name:<12}")).collect();
    let letters = "a   b   c   ".repeat(MAKES.len());
    let mut text = format!(".nf\n{:<34}{}\n{:<34}{}\n", "", names.trim_end(), "", letters.trim_end());
    for (row, name) in ROWS {
        let mut line = format!("{name:<34}");
        for (column, (make, _)) in MAKES.into_iter().enumerate() {
            for phase in PHASES {
                let cell = Says::listed((row, column, phase)).word();
                let said = if row.phases(make).contains(&phase) { cell } else { "-" };
                let _ = write!(line, "{said:<4}");
            }
        }
        let _ = writeln!(text, "{}", line.trim_end().replace('-', "\\-"));
    }
    text + ".fi\n"
}

const BEGIN: &str = ".\\\" begin: damage table\n";
const END: &str = ".\\\" end\n";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man/mailmend-formats.7")
}

fn report(cells: &BTreeMap<Cell, Verdict>) -> String {
    let mut text = String::new();
    for ((row, column, phase), verdict) in cells.iter().filter(|(_, verdict)| !verdict.0.is_empty()) {
        let missed: Vec<String> = verdict.missed().iter().map(|mark| mark.name()).collect();
        let _ = writeln!(text, "{row:?} {} {phase:?}: {}", MAKES[*column].1, missed.join(" "));
        for mark in verdict.missed() {
            let all: Vec<&String> = verdict.0.iter().filter(|(m, _)| *m == mark).map(|(_, why)| why).collect();
            for why in all.iter().take(3) {
                let why: String = why.chars().take(300).collect();
                let _ = writeln!(text, "    {} ({}): {}", mark.name(), all.len(), why.replace('\n', " | "));
            }
        }
    }
    text
}

/// Cells where the replica is a plain copy of the files, and whether something is not as it was.
const FROM_A_COPY: [(Row, Phase, bool); 3] =
    [(Row::Lost, Phase::Before, false), (Row::Lost, Phase::Noticed, false), (Row::BlankDisk, Phase::Before, false)];

#[test]
fn a_plain_copy_heals_as_a_replica_of_dsync_does() {
    if !kit::can("the damage table from a copy", true, &["dovecot", "doveadm"]) {
        return;
    }
    let place = Place::build(Make::Plain);
    for (row, phase, fails) in FROM_A_COPY {
        let verdict = place.cell(row, Make::Plain, phase, Replica::Copy);
        let text = report(&[((row, 0, phase), verdict)].into());
        assert_eq!(!text.is_empty(), fails, "{row:?} {phase:?}: {text}");
        if let Some(path) = std::env::var_os("MAILMEND_TABLE_REPORT") {
            let file = fs::File::options().append(true).create(true).open(path);
            std::io::Write::write_all(&mut file.expect("a report"), text.as_bytes()).expect("a report");
        }
    }
}

/// A message that the server mended so that it is longer comes back where nothing else of the mailbox changes.
#[test]
fn a_mended_message_of_mdbox_comes_back_from_a_plain_copy() {
    if !kit::can("a mended message of mdbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let verdict = Place::build(Make::Mdbox).cell(Row::MessageHeaderBit, Make::Mdbox, Phase::Noticed, Replica::Copy);
    let text = report(&[((Row::MessageHeaderBit, 3, Phase::Noticed), verdict)].into());
    assert!(text.is_empty(), "{text}");
}

/// The server forgets that it found a file gone: nothing but its administrator's word brings the message back.
#[test]
fn a_noticed_loss_in_sdbox_comes_back_as_it_was_when_asked_for() {
    if !kit::can("a noticed loss in sdbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let place = Place::build(Make::Sdbox);
    let verdict = place.asked_for(Row::Lost, Make::Sdbox, 2);
    assert!(verdict.0.is_empty(), "{:?}", verdict.0);
}

/// So it is with a storage file, and what lay in it: map and indexes are made anew around what comes back.
#[test]
fn a_noticed_loss_in_mdbox_comes_back_as_it_was_when_asked_for() {
    if !kit::can("a noticed loss in mdbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let place = Place::build(Make::Mdbox);
    for (row, lost) in [(Row::Lost, 80), (Row::Truncated, 40), (Row::Emptied, 80)] {
        let verdict = place.asked_for(row, Make::Mdbox, lost);
        assert!(verdict.0.is_empty(), "{row:?}: {:?}", verdict.0);
    }
}

impl Place {
    /// What comes of a loss of at least so many messages that the server noticed, where its administrator says that all has
    /// to come back.
    fn asked_for(&self, row: Row, make: Make, least: u64) -> Verdict {
        let account = &self.account;
        account.restore(Time::Evening, Replica::Backup);
        row.inflict(account, make);
        self.noticed_and_restored(least)
    }

    fn noticed_and_restored(&self, least: u64) -> Verdict {
        let (place, account) = (self, &self.account);
        drop(account.server.doveadm(&["fetch", "-u", ANN, "uid text", "ALL"]));
        judge::read_all(account, ANN);
        account.quiet();
        let held = place.repair(Row::Lost);
        let lost = held.count("missing.undecided");
        assert!((held.status, held.count("repaired")) == (4, 0) && lost >= least, "{held}");
        let line =
            words(&["repair"]).chain([account.store.clone().into(), "--from".into(), account.replica.clone().into()]);
        let answer = account.tool().run(line.chain(words(&["--undecided", "restore", "--apply"]))).expect(1);
        assert_eq!(answer.count("repaired"), lost, "{answer}");
        let mut verdict = Verdict::default();
        let seen = account.server.log().len();
        let after = View::of(account, ANN);
        judge::compare(&place.evening, &after, &mut verdict);
        account.quiet();
        place.sync(&after, &mut verdict);
        place.resync(&after, seen, &mut verdict);
        verdict
    }
}

#[test]
fn the_damage_table_is_what_the_page_says() {
    if !kit::can("the damage table", true, &["dovecot", "doveadm"]) {
        return;
    }
    let cells = all_cells();
    let text = report(&cells);
    if let Some(path) = std::env::var_os("MAILMEND_TABLE_REPORT") {
        fs::write(path, &text).expect("a report");
    }
    let odd: Vec<String> = cells
        .iter()
        .filter(|(cell, verdict)| Says::of(verdict) != Says::listed(**cell))
        .map(|((row, column, phase), verdict)| {
            format!("{row:?}, {}, {phase:?}: {}", MAKES[*column].1, Says::of(verdict).word())
        })
        .collect();
    assert!(odd.is_empty(), "not as listed:\n{}\n{text}", odd.join("\n"));
    let found = fs::read_to_string(page()).expect("the page");
    let (before, rest) = found.split_once(BEGIN).expect("the beginning of the table");
    let (there, after) = rest.split_once(END).expect("the end of the table");
    let made = table();
    if std::env::var_os("MAILMEND_UPDATE_MAN").is_some() {
        fs::write(page(), format!("{before}{BEGIN}{made}{END}{after}")).expect("the page");
    } else {
        assert!(there == made, "the page is out of date; the table is\n{made}");
    }
}
