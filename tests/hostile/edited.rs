//! Plans, journals, run notes and catalogs that somebody edited: checked like mail. What points outside by its path
//! alone is among the scenarios (`refusals`); bad rows are the catalog's own tests.

use crate::common::spec;
use crate::kit;
use crate::trap::{CANARY, Trap, tree};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// A store with one damaged and one lost message, and the plan that heals them. Returns the plan's path and lines.
fn planned(trap: &mut Trap) -> (PathBuf, Vec<Value>) {
    let account = kit::mailbox(&trap.bench.store.join("ann/Maildir"));
    let paths: Vec<_> = (1..6).map(|number| kit::deliver(&account, number, 3000)).collect();
    let sent = kit::mailbox(&account.join(".Sent"));
    kit::deliver(&sent, 9, 3000);
    trap.bench.tool.verify(&trap.bench.store).expect(0);
    trap.bench.replicate();
    kit::damage(&paths[0], 50);
    kit::damage(&paths[1], 50);
    fs::remove_dir_all(&sent).expect("a loss");
    let plan = trap.bench.dir.path().join("attic");
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let args = ["audit", &store, "--from", &replica, "--undecided", "restore", "--save-plan", &spec(&plan)];
    let heard = trap.run(&args);
    assert_eq!(heard.status, 4, "{heard}");
    let text = fs::read_to_string(&plan).expect("the plan");
    trap.arm();
    (plan, text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

fn write(path: &Path, lines: &[Value]) {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(path, text.join("\n") + "\n").expect("an edited file");
}

fn step<'a>(lines: &'a mut [Value], kind: &str) -> &'a mut Value {
    lines.iter_mut().find(|line| line["action"]["kind"] == kind).expect("such a step")
}

#[test]
fn steps_that_grant_or_confuse_are_refused_before_anything_is_done() {
    let mut trap = Trap::new();
    let (plan, lines) = planned(&mut trap);
    let broken = tree(&trap.bench.store);
    let restore = |key: &'static str, value: Value| {
        move |lines: &mut [Value]| step(lines, "restore")["action"]["attrs"][key] = value.clone()
    };
    let capability = json!([{ "name": "security.capability", "value": [1, 0, 0, 2] }]);
    let bytes = b"security.capability".to_vec();
    type Edit = Box<dyn Fn(&mut [Value])>;
    let edits: Vec<(&str, Edit)> = vec![
        ("a key that opens the door", Box::new(|l| step(l, "restore")["target"] = "ann/.ssh/authorized_keys".into())),
        ("a job of root's", Box::new(|l| step(l, "restore")["target"] = "cron.d/job".into())),
        ("our own quarantine", Box::new(|l| step(l, "restore")["target"] = ".mailmend/run/1".into())),
        ("set-id", Box::new(restore("mode", json!(0o4755)))),
        ("a mode of many bits", Box::new(restore("mode", json!(u32::MAX)))),
        ("a negative mode", Box::new(restore("mode", json!(-1)))),
        ("no user", Box::new(restore("uid", json!(1u64 << 32)))),
        ("a capability", Box::new(restore("xattrs", capability))),
        ("a capability in bytes", Box::new(restore("xattrs", json!([{ "name": bytes, "value": [1] }])))),
        ("a folder for everybody", Box::new(|l| step(l, "make_folder")["action"]["attrs"]["mode"] = json!(0o6777))),
        ("the store itself", Box::new(|l| step(l, "make_folder")["target"] = "".into())),
        ("one number twice", Box::new(|l| l[2]["number"] = l[1]["number"].clone())),
        ("numbers that fall", Box::new(|l| l[1]["number"] = json!(u64::MAX))),
        ("number nought", Box::new(|l| l[1]["number"] = json!(0))),
        ("a negative number", Box::new(|l| l[1]["number"] = json!(-7))),
        ("no such source", Box::new(|l| step(l, "restore")["action"]["from"]["source"] = json!(99))),
        ("a length beyond all", Box::new(|l| step(l, "restore")["action"]["length"] = json!(1e300))),
        ("NUL in a path", Box::new(|l| step(l, "restore")["target"] = "ann/cur/1%00".into())),
        ("a long line", Box::new(|l| l[1]["why"] = "x".repeat(mailmend::model::limits::LINE_MAX + 1).into())),
        ("depth", Box::new(|l| l[1]["details"] = nested(200))),
    ];
    for (what, edit) in edits {
        let mut edited = lines.clone();
        edit(&mut edited);
        write(&plan, &edited);
        let args = ["repair", &spec(&trap.bench.store), "--plan", &spec(&plan), "--apply"];
        for heard in [trap.run(&args), trap.people(&args)] {
            assert_eq!(heard.status, 16, "{what}: {heard}");
            trap.assert_untouched(what);
            assert_eq!(tree(&trap.bench.store), broken, "{what}: {heard}");
        }
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// Steps that may be meant, and do not fit what is there: left alone, each for itself, and the rest is done.
#[test]
fn steps_that_do_not_fit_are_left_alone() {
    if !kit::can("steps of a wrong owner", true, &[]) {
        return;
    }
    let mut trap = Trap::new();
    let (plan, lines) = planned(&mut trap);
    crate::trap::give_away(&trap.bench.store);
    let store = spec(&trap.bench.store);
    // The plan was made when all was root's: its owner is the wrong one now. And words that act on a terminal.
    let mut edited = lines.clone();
    for line in edited.iter_mut().skip(1) {
        line["why"] = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\n\r".into();
        line["account"] = "\u{1b}[31mann\n{\"schema\":1}".into();
        line["mailbox"] = "\u{7f}\u{8}".into();
        line["details"]["reason"] = "\u{1b}c".into();
        line["details"]["source"] = "\u{1b}c\u{200b}".into();
    }
    write(&plan, &edited);
    trap.people(&["repair", &store, "--plan", &spec(&plan)]);
    let before = tree(&trap.bench.store);
    let heard = trap.run(&["repair", &store, "--plan", &spec(&plan), "--apply"]);
    trap.assert_untouched(&heard.to_string());
    assert!(heard.mentions("would belong to root"), "{heard}");
    let after = tree(&trap.bench.store);
    assert!(before.iter().all(|(path, is)| after.get(path) == Some(is)), "{heard}");
    // Content that is not what the plan says, from wherever it is fetched.
    let mut edited = lines.clone();
    for line in edited.iter_mut().filter(|l| l["action"]["kind"] == "restore") {
        line["action"]["attrs"]["uid"] = json!(crate::trap::USER);
        line["action"]["attrs"]["gid"] = json!(crate::trap::GROUP);
        line["action"]["from"]["path"] = "eve/Maildir/cur/1700000000.M0P9.mx:2,S".into();
    }
    edited[0]["sources"][0]["path"] = spec(&trap.bench.dir.path().join("state")).into();
    write(&plan, &edited);
    let heard = trap.run(&["repair", &store, "--plan", &spec(&plan), "--apply"]);
    trap.assert_untouched(&heard.to_string());
    assert_ne!(heard.status & 28, 0, "{heard}");
    assert!(!heard.mentions(CANARY), "{heard}");
}

/// All accounts are one user's to the system: a plan gives no user another one's mail for all that.
#[test]
fn a_step_gives_nobody_the_mail_of_another() {
    let mut trap = Trap::new();
    let bob = kit::mailbox(&trap.bench.store.join("bob/Maildir"));
    let (lost, mail) = (bob.join("cur/#7"), kit::letter(7, 2000));
    let whole = kit::deliver(&bob, 8, 2000);
    let (plan, lines) = planned(&mut trap);
    kit::put(&lost, &mail);
    let broken = tree(&trap.bench.store);
    let rename = |file: &Path, folder: bool| {
        let (found, bytes) = (fs::metadata(file).expect("a file"), fs::read(file).expect("a file"));
        let mtime = mailmend::drill::disk::mtime_of(&mailmend::drill::disk::stat(file).expect("a file"));
        let inode = mailmend::model::Stat { ino: found.ino(), size: found.len(), mtime, ..Default::default() };
        let content = mailmend::model::Digest::of(&bytes);
        let from = file.strip_prefix(&trap.bench.store).expect("below the store").display().to_string();
        let mut edited = lines.clone();
        let made = json!({ "uid": 0, "gid": 0, "mode": 0o700, "mtime": inode.mtime });
        let united = edited.iter_mut().find(|line| line["action"]["kind"] == "make_folder").expect("such a step");
        if folder {
            united["action"]["attrs"] = made;
            united["target"] = "cur".into();
        }
        let last = edited.iter_mut().rfind(|line| line["action"]["kind"] == "restore").expect("such a step");
        last["target"] = "ann/Maildir/cur/1700000000.M77P1.mx:2,".into();
        last["before"] = "Nothing".into();
        last["action"] =
            json!({ "kind": "rename", "from": from, "inode": inode, "content": content, "length": bytes.len() });
        edited
    };
    for (what, edited) in [
        ("a file without a name", rename(&lost, false)),
        ("in accounts that a step unites", rename(&lost, true)),
        ("a message", rename(&whole, false)),
    ] {
        write(&plan, &edited);
        let heard = trap.run(&["repair", &spec(&trap.bench.store), "--plan", &spec(&plan), "--apply"]);
        trap.assert_untouched(what);
        assert_eq!(tree(&trap.bench.store), broken, "{what}: {heard}");
        assert_eq!(heard.status, 16, "{what}: {heard}");
    }
}

/// A repair whose journal and note are then edited: an undo, a purge and an export stay where mail is.
#[test]
fn an_edited_journal_takes_nothing_out_of_the_mail() {
    let mut trap = Trap::new();
    let (_, _) = planned(&mut trap);
    let store = trap.bench.store.clone();
    fs::create_dir_all(store.join("ann/.ssh")).expect("a folder");
    fs::write(store.join("ann/.ssh/authorized_keys"), "a key").expect("a file");
    let (text, replica) = (spec(&store), spec(&trap.bench.replica));
    let heard = trap.run(&["repair", &text, "--from", &replica, "--undecided", "restore", "--apply"]);
    assert_eq!(heard.status & 1, 1, "{heard}");
    let run = heard.run_name().expect("a run");
    let folder = trap.bench.tool.state.join("runs").join(&run);
    let journal = fs::read_to_string(folder.join("journal.jsonl")).expect("the journal");
    let lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let begins = |edit: &dyn Fn(&mut Value)| {
        let mut lines = lines.clone();
        lines.iter_mut().filter(|l| l["record"] == "begin").for_each(edit);
        lines
    };
    let healed = tree(&store);
    let key = |line: &mut Value| line["at"] = "ann/.ssh/authorized_keys".into();
    let edits: Vec<(&str, Vec<Value>)> = vec![
        ("at", begins(&key)),
        ("at, climbing", begins(&|l| l["at"] = "../outside/secret".into())),
        ("change", begins(&|l| l["change"] = json!({ "carry": { "from": "ann/.ssh/authorized_keys" } }))),
        ("slot", begins(&|l| l["slot"] = "../../outside/secret".into())),
        ("slot, absolute", begins(&|l| l["slot"] = "/etc/passwd".into())),
        ("target", begins(&|l| l["step"]["target"] = "ann/.ssh/authorized_keys".into())),
        ("mode", begins(&|l| l["step"]["action"]["attrs"]["mode"] = json!(0o6777))),
        ("no records", vec![json!({ "record": "close", "complete": true })]),
        ("open for ever", lines.iter().filter(|l| l["record"] != "done").cloned().collect()),
    ];
    for (what, edited) in edits {
        write(&folder.join("journal.jsonl"), &edited);
        let export = spec(&trap.bench.dir.path().join("export"));
        for args in [&["undo", &run][..], &["quarantine", "show", &run], &["quarantine", "list"]] {
            trap.people(args);
        }
        trap.run(&["quarantine", "export", &run, "--into", &export]);
        fs::remove_dir_all(&export).ok();
        let heard = trap.run(&["undo", &run, "--apply"]);
        trap.assert_untouched(what);
        let key = fs::read(store.join("ann/.ssh/authorized_keys")).unwrap_or_default();
        assert_eq!(key, b"a key", "{what}: {heard}");
        assert_eq!(fs::read_dir(store.join("ann/.ssh")).expect("a folder").count(), 1, "{what}: {heard}");
        if ["at", "at, climbing", "change", "target", "mode"].contains(&what) {
            assert_eq!(heard.status & 8, 8, "what was not taken back is said: {what}: {heard}");
            let now = tree(&store);
            let file = |(path, is): &(&PathBuf, &String)| is.starts_with("100") && now.get(*path) != Some(is);
            assert_eq!(healed.iter().filter(file).count(), 0, "{what}: {heard}");
        }
    }
}

/// The note says where the store and the quarantine are: not just anywhere.
#[test]
fn an_edited_run_note_leads_nowhere() {
    let mut trap = Trap::new();
    let (_, _) = planned(&mut trap);
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let heard = trap.run(&["repair", &store, "--from", &replica, "--undecided", "restore", "--apply"]);
    let run = heard.run_name().expect("a run");
    let path = trap.bench.tool.state.join("runs").join(&run).join("run.json");
    let note: Value = serde_json::from_slice(&fs::read(&path).expect("the note")).expect("JSON");
    let healed = tree(&trap.bench.store);
    let outside = spec(&trap.outside);
    let edits: [(&str, Value); 6] = [
        ("quarantine", json!(outside)),
        ("quarantine", json!("/proc/self/root")),
        ("base", json!(spec(&trap.outside.join("eve")))),
        ("run", json!("\u{1b}[2J../../..")),
        ("undoes", json!("../../outside")),
        ("quarantine", json!(format!("{store}/../outside\u{1b}[31m"))),
    ];
    for (field, value) in edits {
        let mut edited = note.clone();
        edited[field] = value.clone();
        fs::write(&path, edited.to_string()).expect("an edited note");
        let export = spec(&trap.bench.dir.path().join("export"));
        for args in [
            &["undo", &run, "--apply"][..],
            &["quarantine", "export", &run, "--into", &export],
            &["quarantine", "purge", &run, "--apply"],
            &["quarantine", "list"],
            &["status"],
        ] {
            // Whether a run took another one back does not matter to taking it back itself.
            if field == "undoes" && args[0] == "undo" {
                continue;
            }
            for heard in [trap.run(args), trap.people(args)] {
                let why = format!("{field} {value}: {heard}");
                // The folder itself is opened before the journal says that it is another.
                if field == "base" {
                    trap.assert_unchanged(&why)
                } else {
                    trap.assert_untouched(&why)
                }
                assert_eq!(tree(&trap.bench.store), healed, "{field} {value}: {heard}");
            }
        }
        let exported = fs::read_dir(&export).map(Iterator::count).unwrap_or(0);
        assert!(exported == 0 || field == "base", "{field} {value}");
        fs::remove_dir_all(&export).ok();
    }
}

/// A catalog with a schema of its own, and one that lies elsewhere.
#[test]
fn a_catalog_that_was_tampered_with_neither_runs_nor_hangs() {
    let mut trap = Trap::new();
    let (_, _) = planned(&mut trap);
    let (store, replica) = (spec(&trap.bench.store), spec(&trap.bench.replica));
    let catalog = trap.bench.tool.state.join("catalog.db");
    trap.run(&["status", &store]);
    let good = fs::read(&catalog).expect("the catalog");
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
    let attacks = [
        "CREATE TRIGGER t AFTER INSERT ON message BEGIN DELETE FROM message; END".to_owned(),
        "CREATE TRIGGER t BEFORE UPDATE ON mailbox BEGIN DELETE FROM message; END".to_owned(),
        format!("ALTER TABLE message RENAME TO other; CREATE VIEW message AS {endless}"),
        "ALTER TABLE message ADD COLUMN more TEXT AS (hex(zeroblob(400000000)))".to_owned(),
        "UPDATE message SET xattrs = hex(zeroblob(150000000)) WHERE key = (SELECT min(key) FROM message)".to_owned(),
        "PRAGMA ignore_check_constraints = 1; UPDATE message SET name = CAST('../../../etc/passwd' AS BLOB)".to_owned(),
        "PRAGMA ignore_check_constraints = 1; UPDATE message SET length = -1, uid = 0, mode = 2541".to_owned(),
        "UPDATE mailbox SET dir = CAST('../outside/eve/Maildir' AS BLOB) WHERE id = 1".to_owned(),
        "UPDATE account SET dir = CAST('/etc' AS BLOB)".to_owned(),
        "UPDATE mailbox SET uid = 0, gid = 0, mode = 4095".to_owned(),
        "ANALYZE; UPDATE sqlite_stat1 SET stat = '1 1 1 1 unordered sz=0'; PRAGMA user_version = 99999".to_owned(),
    ];
    for sql in &attacks {
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(trap.bench.tool.state.join(format!("catalog.db{suffix}"))).ok();
        }
        fs::write(&catalog, &good).expect("the catalog");
        let conn = rusqlite::Connection::open(&catalog).expect("the catalog");
        // One that does not fit this version's tables would test nothing.
        conn.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        conn.close().expect("the edited catalog");
        assert!(fs::read(&catalog).expect("the catalog") != good, "{sql} edits nothing");
        for args in [
            &["verify", &store][..],
            &["audit", &store, "--from", &replica],
            &["repair", &store, "--from", &replica],
            &["status", &store],
        ] {
            let heard = trap.run(args);
            trap.assert_untouched(&format!("{sql}: {heard}"));
            assert!(heard.peak < crate::trap::PEAK_MAX, "{} KiB: {sql}: {heard}", heard.peak);
        }
    }
    // A link, a pipe and a folder in its place.
    let elsewhere = trap.bench.dir.path().join("attic");
    fs::write(&elsewhere, &good).expect("a catalog elsewhere");
    for attack in 0..3 {
        fs::remove_file(&catalog).ok();
        match attack {
            0 => symlink(&elsewhere, &catalog).expect("a link"),
            1 => drop(crate::common::must("mkfifo", &[&spec(&catalog)])),
            _ => fs::create_dir(&catalog).expect("a folder"),
        }
        for args in [["verify", &store], ["status", &store]] {
            let heard = trap.run(&args);
            assert_ne!(heard.status & 24, 0, "{heard}");
            trap.assert_untouched(&heard.to_string());
        }
        assert_eq!(fs::read(&elsewhere).expect("the catalog elsewhere"), good);
    }
}
