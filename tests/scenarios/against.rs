//! A store held against its replica: what differs, which side is right, and whether a sync may run.

use crate::common::{Answer, Mailmend, must, spec, words};
use std::fs;
use std::path::{Path, PathBuf};

/// A store, its replica, and a state of its own.
struct Pair {
    dir: tempfile::TempDir,
    store: PathBuf,
    replica: PathBuf,
    tool: Mailmend,
}

/// When both sides' folders were last changed, as far as they tell; messages that are fill come before. Unix seconds.
const SYNCED: &str = "@1700000500";

impl Pair {
    /// 40 messages of ann, on both sides alike as rsync leaves them.
    fn new() -> Pair {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, replica) = (dir.path().join("store"), dir.path().join("replica"));
        let pair = Pair { tool: Mailmend::with_state(dir.path().join("state")), dir, store, replica };
        fill(&mailbox(&pair.store, "ann"), 0, 40);
        pair.sync();
        pair
    }

    /// Mirrors the store, and lets the folders' times be those of long ago.
    fn sync(&self) {
        if self.replica.exists() {
            fs::remove_dir_all(&self.replica).expect("the old replica");
        }
        must("cp", &["-a", &spec(&self.store), &spec(&self.replica)]);
        for side in [&self.store, &self.replica] {
            must("find", &[&spec(side), "-type", "d", "-exec", "touch", "-d", SYNCED, "{}", "+"]);
        }
    }

    fn verify(&self, store: &Path) -> Answer {
        self.tool.run(words(&["verify"]).chain([store.into()]))
    }

    fn against(&self) -> Answer {
        self.with(&[])
    }

    fn with(&self, more: &[&str]) -> Answer {
        let against = spec(&self.replica);
        self.tool.run(
            words(&["verify"])
                .chain([self.store.clone().into()])
                .chain(words(&["--against", &against]))
                .chain(words(more)),
        )
    }

    /// The same as people see it.
    fn text(&self) -> String {
        let mut command = self.tool.command();
        command.arg("--state").arg(&self.tool.state).arg("verify").arg(&self.store).arg("--against").arg(&self.replica);
        let output = command.output().expect("the binary");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn here(&self, n: u32) -> PathBuf {
        message(&self.store.join("ann"), n)
    }

    fn there(&self, n: u32) -> PathBuf {
        message(&self.replica.join("ann"), n)
    }
}

/// A mailbox folder.
fn mailbox(base: &Path, name: &str) -> PathBuf {
    let folder = base.join(name);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(sub)).expect("a mailbox");
    }
    folder
}

fn text_of(n: u32) -> String {
    format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\nbody {n}\n")
}

fn fill(mailbox: &Path, from: u32, to: u32) {
    (from..to).for_each(|n| fs::write(message(mailbox, n), text_of(n)).expect("a message"));
}

fn message(mailbox: &Path, n: u32) -> PathBuf {
    mailbox.join(format!("cur/1700000{n:03}.M{n}P1.mx:2,S"))
}

/// Dovecot's list of the messages `0..to` of a mailbox.
fn list(mailbox: &Path, to: u32) {
    let lines: String = (0..to).map(|n| format!("{} :1700000{n:03}.M{n}P1.mx\n", n + 1)).collect();
    let text = format!("3 V1700000000 N{} G00112233445566778899aabbccddeeff\n{lines}", to + 1);
    fs::write(mailbox.join("dovecot-uidlist"), text).expect("a list");
}

fn differences(answer: &Answer, kind: &str) -> usize {
    answer.lines.iter().filter(|line| line["type"] == "difference" && line["difference"] == kind).count()
}

/// `(gap, right)` of all differences, sorted and without doubles.
fn rights(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    let lines = answer.lines.iter().filter(|line| line["type"] == "difference");
    let mut all: Vec<_> = lines.map(|line| (text(&line["gap"]), text(&line["right"]))).collect();
    all.sort();
    all.dedup();
    all
}

fn pair_of(gap: &str, right: &str) -> Vec<(String, String)> {
    vec![(gap.to_owned(), right.to_owned())]
}

#[test]
fn two_sides_that_agree_may_be_synced() {
    let pair = Pair::new();
    let answer = pair.against().expect(0);
    assert_eq!((answer.count("against.equal"), answer.count("against.messages")), (40, 40), "{answer}");
    assert_eq!(answer.summary()["against"]["veto"], false);
    let text = pair.text();
    assert!(text.contains("40 the same on both sides") && text.contains("loses nothing"), "{text}");
}

#[test]
fn new_mail_deletions_moves_and_flags_may_be_synced() {
    let pair = Pair::new();
    pair.verify(&pair.store).expect(0);
    let inbox = pair.store.join("ann");
    fill(&inbox, 900, 930);
    fs::remove_file(pair.here(3)).expect("a deletion");
    fs::rename(pair.here(5), message(&mailbox(&inbox, ".Archive"), 905)).expect("a move");
    fs::rename(pair.here(6), pair.here(6).with_file_name("1700000006.M6P1.mx:2,RS")).expect("a flag");
    let answer = pair.against().expect(0);
    let count = |name: &str| answer.count(&format!("against.{name}"));
    assert_eq!((count("only_here.new"), count("only_there.deleted"), count("moved")), (30, 1, 1), "{answer}");
    assert_eq!((count("equal"), count("pull.deletes"), count("push.deletes")), (38, 30, 0), "{answer}");
    assert!(pair.text().contains("rsync --delete from the replica to the store would delete 30"), "it is said");
    let folder = mailbox(&inbox, ".New");
    fill(&folder, 940, 960);
    assert_eq!(pair.against().expect(0).count("against.only_here.new"), 50, "a new folder with its mail");
}

#[test]
fn a_damaged_copy_on_the_good_side_is_found_and_named_there() {
    let pair = Pair::new();
    pair.verify(&pair.store).expect(0);
    fs::write(pair.there(7), text_of(7).replace("body", "bodx")).expect("a flipped letter");
    fs::write(pair.there(8), vec![0; 3000]).expect("zeros");
    let answer = pair.against().expect(4);
    assert_eq!((answer.count("damaged"), answer.count("against.damaged_there")), (0, 2), "{answer}");
    assert_eq!((differences(&answer, "damaged_there"), rights(&answer)), (2, pair_of("none", "here")), "{answer}");
    let store = fs::canonicalize(&pair.replica).expect("a path");
    let found: Vec<_> = answer.findings().map(|f| (f["store"].as_str(), f["path"].as_str(), &f["verdict"])).collect();
    assert_eq!(found.len(), 2, "{answer}");
    assert!(found.iter().all(|(at, _, verdict)| *at == store.to_str() && **verdict == "damaged"), "{found:?}");
    assert!(found[0].1.is_some_and(|path| path.starts_with("ann/cur/1700000007")), "{found:?}");
    assert_eq!(answer.count("against.pull.overwrites"), 2, "a mirror of it would spread it");
    assert!(pair.text().contains("on the replica"), "people see where");
    pair.verify(&pair.store).expect(0);
}

#[test]
fn rot_here_is_known_by_the_record_and_the_replica_is_right() {
    let pair = Pair::new();
    pair.verify(&pair.store).expect(0);
    fs::write(pair.here(7), text_of(7).replace("body", "bodx")).expect("rot");
    let answer = pair.against().expect(4);
    assert_eq!((answer.count("damaged"), answer.count("against.damaged_here")), (1, 1), "{answer}");
    assert_eq!(rights(&answer), pair_of("none", "there"));
    assert_eq!(answer.findings().next().expect("a finding")["action"]["source"], spec(&pair.replica), "{answer}");
    // The same rot on both sides: a sync has carried it over.
    fs::copy(pair.here(7), pair.there(7)).expect("a sync");
    let answer = pair.against().expect(4);
    assert_eq!((answer.count("against.damaged_both"), rights(&answer)), (1, pair_of("none", "none")), "{answer}");
}

#[test]
fn without_a_record_the_side_that_breaks_alone_is_wrong_and_two_whole_ones_are_undecided() {
    let pair = Pair::new();
    fs::write(pair.here(1), vec![0; 3000]).expect("zeros");
    fs::write(pair.there(2), text_of(2).replace("body", "bodx")).expect("another letter");
    let answer = pair.against().expect(4);
    assert_eq!((answer.count("against.damaged_here"), answer.count("against.contents")), (1, 1), "{answer}");
    assert_eq!(rights(&answer), [("none", "none"), ("none", "there")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn what_a_sync_would_delete_on_the_good_side_is_counted() {
    let pair = Pair::new();
    list(&pair.store.join("ann"), 40);
    pair.sync();
    (10..40).for_each(|n| fs::remove_file(pair.here(n)).expect("a loss"));
    let answer = pair.against().expect(4);
    let count = |name: &str| answer.count(&format!("against.{name}"));
    let deletes = (count("sync_deletes_there"), count("push.deletes"), count("sync_deletes_here"));
    assert_eq!((count("only_there.undecided"), deletes), (30, (30, 30, 0)), "{answer}");
    assert_eq!((answer.count("missing.undecided"), rights(&answer)), (30, pair_of("undecided", "none")), "{answer}");
    let text = pair.text();
    assert!(text.contains("would delete 30 messages on the good side") && text.contains("must not run now"), "{text}");
}

#[test]
fn what_the_replica_lost_would_be_deleted_here() {
    let pair = Pair::new();
    list(&pair.store.join("ann"), 40);
    pair.sync();
    (10..40).for_each(|n| fs::remove_file(pair.there(n)).expect("a loss"));
    let answer = pair.against().expect(4);
    let count = |name: &str| answer.count(&format!("against.{name}"));
    let deletes = (count("sync_deletes_here"), count("pull.deletes"), count("sync_deletes_there"));
    assert_eq!((count("only_here.undecided"), deletes), (30, (30, 30, 0)), "{answer}");
    assert_eq!(
        (answer.count("missing.undecided"), rights(&answer)),
        (0, pair_of("undecided", "none")),
        "not here: {answer}"
    );
    assert!(answer.findings().all(|f| f["missing"] == "undecided" && f["uid"].is_u64()), "{answer}");
}

#[test]
fn mail_that_the_other_server_never_numbered_is_new_on_whichever_side() {
    let pair = Pair::new();
    for side in [&pair.store, &pair.replica] {
        list(&side.join("ann"), 40);
    }
    for (side, first) in [(&pair.store, 40), (&pair.replica, 60)] {
        let inbox = side.join("ann");
        fill(&inbox, first, first + 10);
        let mut text = fs::read_to_string(inbox.join("dovecot-uidlist")).expect("a list").replacen("N41", "N51", 1);
        (0..10).for_each(|n| text += &format!("{} :1700000{:03}.M{}P1.mx\n", 41 + n, first + n, first + n));
        fs::write(inbox.join("dovecot-uidlist"), text).expect("a list");
    }
    let answer = pair.against().expect(0);
    let count = |name: &str| answer.count(&format!("against.{name}"));
    assert_eq!((count("only_here.new"), count("only_there.new")), (10, 10), "{answer}");
}

/// As `doveadm backup` fills it: other file names, the same GUIDs.
#[test]
fn a_replica_with_other_file_names_is_compared_by_guid() {
    let pair = Pair::new();
    let theirs = pair.replica.join("ann");
    let mut lines = String::new();
    for n in 0..40 {
        let name = format!("1700000600.M{n}P9.other");
        fs::rename(message(&theirs, n), theirs.join(format!("cur/{name}:2,S"))).expect("a name");
        lines += &format!("{} G1700000{n:03}.M{n}P1.mx :{name}\n", n + 1);
    }
    let list = format!("3 V1700000000 N41 G00112233445566778899aabbccddeeff\n{lines}");
    fs::write(theirs.join("dovecot-uidlist"), list).expect("a list");
    pair.verify(&pair.store).expect(0);
    assert_eq!(pair.against().expect(0).count("against.equal"), 40);
    fs::write(theirs.join("cur/1700000600.M4P9.other:2,S"), "").expect("damage");
    let answer = pair.against().expect(4);
    assert_eq!((answer.count("against.equal"), answer.count("against.damaged_there")), (39, 1), "{answer}");
}

#[test]
fn a_replica_that_cannot_be_read_whole_permits_no_sync_and_accuses_nobody() {
    let pair = Pair::new();
    pair.verify(&pair.store).expect(0);
    let cur = pair.replica.join("ann/cur");
    fs::remove_dir_all(&cur).expect("cur goes");
    fs::write(&cur, "").expect("a file where cur was");
    let answer = pair.against();
    assert_eq!(answer.status & 8, 8, "{answer}");
    assert_eq!((answer.count("against.only_here.lost"), differences(&answer, "only_here")), (0, 0), "{answer}");
}

#[test]
fn an_account_that_only_one_side_has_is_no_silent_difference() {
    let pair = Pair::new();
    fill(&mailbox(&pair.replica, "bob"), 100, 105);
    pair.verify(&pair.store).expect(0);
    let answer = pair.against().expect(4);
    assert_eq!(answer.count("against.only_there.undecided"), 5, "{answer}");
    fs::remove_dir_all(pair.replica.join("ann")).expect("a loss");
    let answer = pair.against().expect(4);
    assert_eq!(answer.count("against.only_here.lost"), 40, "{answer}");
}

/// Each is on record by itself, and neither learns from the other.
#[test]
fn a_replica_is_a_store_of_its_own_in_the_same_catalog() {
    let pair = Pair::new();
    for (store, seen) in [(&pair.store, 0), (&pair.replica, 0), (&pair.store, 40), (&pair.replica, 40)] {
        assert_eq!(pair.verify(store).expect(0).count("intact.identical"), seen);
    }
    fs::write(pair.there(7), text_of(7).replace("body", "bodx")).expect("rot there");
    pair.against().expect(4);
    assert_eq!(pair.verify(&pair.store).expect(0).count("intact.identical"), 40);
    let theirs = pair.verify(&pair.replica).expect(4);
    assert_eq!((theirs.count("damaged"), theirs.count("intact.identical")), (1, 39), "its own record proves it");
    fs::write(pair.there(7), text_of(7)).expect("a repair");
    (20..40).for_each(|n| fs::remove_file(pair.there(n)).expect("a loss"));
    let answer = pair.against().expect(4);
    assert_eq!(answer.count("against.only_here.undecided"), 20, "its records say that they were there: {answer}");
    pair.verify(&pair.store).expect(0);
    let status = pair.tool.run(["status"]).expect(0);
    let stores: Vec<_> = status.lines.iter().filter(|l| l["type"] == "store").map(|l| l["messages"].as_u64()).collect();
    assert_eq!(stores, [Some(40), Some(40)], "{status}");
}

#[test]
fn what_is_no_pair_is_refused() {
    let pair = Pair::new();
    let (store, replica) = (spec(&pair.store), spec(&pair.replica));
    let run = |args: &[&str]| pair.tool.run(words(&["verify"]).chain(words(args)));
    run(&[&store, &replica, "--against", &replica]).expect_refusal("one store");
    run(&[&store, "--against", &store]).expect_refusal("both the store");
    run(&[&store, "--against", &format!("{replica}/*")]).expect_refusal("pattern");
    run(&[&store, "--against", &replica, "--since", "2020-01-01"]).expect_refusal("--since");
    run(&[&store, "--against", &spec(&pair.dir.path().join("none"))]).expect_refusal("none");
}

#[test]
fn a_budget_is_not_used_where_both_sides_are_read() {
    let pair = Pair::new();
    pair.verify(&pair.store).expect(0);
    let answer = pair.with(&["--budget", "1B"]).expect(0);
    assert_eq!((answer.count("deferred"), answer.count("against.equal")), (0, 40), "{answer}");
    assert!(answer.mentions("without a budget"), "{answer}");
}
