//! Wrong arguments and hostile files: a clear error, its exit status, and nothing changed.

use crate::common::bench::{Bench, assert_same};
use crate::common::device::SmallDisk;
use crate::common::{absent, is_root, skip, spec};
use mailmend::drill::damage::DamageOptions;
use mailmend::drill::{Repair, Undecided};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn wrong_arguments_are_usage_errors() {
    let bench = Bench::small();
    let store = spec(&bench.store);
    let before = bench.tree();
    bench.tool.run(["frobnicate"]).expect_refusal("frobnicate");
    bench.tool.run(["audit"]).expect_refusal("store");
    bench.tool.run(["audit", &store, "--no-such-flag"]).expect_refusal("--no-such-flag");
    bench.tool.run(["repair", &store, "--from", &store, "--undecided", "maybe"]).expect_refusal("maybe");
    bench.tool.run(["repair", &store]).expect_refusal("--from");
    bench.tool.run(["undo", "no-such-run", "--apply"]).expect_refusal("no-such-run");
    assert_same(&before, &bench.tree(), "a refused command changes nothing");
}

#[test]
fn missing_paths_are_named() {
    let bench = Bench::small();
    bench.tool.run(["audit", "/no/such/store"]).expect_refusal("/no/such/store");
    bench.tool.run(["verify", "/no/such/store"]).expect_refusal("/no/such/store");
    let store = spec(&bench.store);
    bench.tool.run(["repair", &store, "--from", "/no/such/replica"]).expect_refusal("/no/such/replica");
    bench.tool.run(["repair", &store, "--plan", "/no/such/plan"]).expect_refusal("/no/such/plan");
}

/// No mail, no catalog, no source: that is no clean store.
#[test]
fn an_empty_folder_is_not_called_clean() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = dir.path().join("store");
    fs::create_dir(&store).expect("a folder");
    let tool = crate::common::Mailmend::with_state(dir.path().join("state"));
    for verb in ["audit", "verify"] {
        let answer = tool.run([verb, &spec(&store)]);
        assert!([8, 16].contains(&answer.status), "{answer}");
        assert!(answer.mentions("no mail"), "{answer}");
    }
}

#[test]
fn an_unreadable_folder_is_not_checked_and_not_missing() {
    if is_root() && !absent(&["setpriv"]).is_empty() {
        return skip("unreadable folder", "setpriv is not installed");
    }
    let bench = Bench::small().unprivileged();
    bench.tool.verify(&bench.store).expect(0);
    let tree = bench.tree();
    let first = tree.messages().next().expect("a message").0.parent().expect("its folder");
    let folder = bench.store.join(first.as_path());
    set_mode(&folder, 0);
    let answer = bench.tool.verify(&bench.store);
    set_mode(&folder, 0o700);
    let answer = answer.expect_bits(8);
    assert!(answer.count("not_checked") > 0, "{answer}");
    assert_eq!(answer.count("missing.lost") + answer.count("missing.undecided"), 0, "unread is not absent: {answer}");
    let error = answer.lines.iter().find(|l| l["type"] == "error").unwrap_or_else(|| panic!("no error line: {answer}"));
    assert!(error.to_string().contains(&first.to_string()), "the folder is named: {error}");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A shell that expanded the pattern must not turn backups into stores.
#[test]
fn an_unquoted_pattern_is_a_usage_error_with_a_hint() {
    let bench = Bench::small();
    let [one, two] = ["2025-02-22", "2025-02-24"].map(|date| spec(&bench.snapshot(date)));
    let store = spec(&bench.store);
    bench.tool.run(["repair", &store, "--from", &one, &two]).expect_refusal("quote");
}

#[test]
fn a_store_and_a_source_may_not_contain_each_other() {
    let bench = Bench::small();
    bench.replicate();
    let store = spec(&bench.store);
    let account = spec(&bench.store.join("example.org"));
    let above = spec(bench.dir.path());
    bench.tool.run(["repair", &store, "--from", &store]).expect_refusal("source");
    bench.tool.run(["repair", &store, "--from", &account]).expect_refusal("source");
    bench.tool.run(["repair", &store, "--from", &above]).expect_refusal("source");
    // Nor under another name.
    let alias = bench.dir.path().join("alias");
    std::os::unix::fs::symlink(&bench.store, &alias).expect("a symlink");
    bench.tool.run(["repair", &store, "--from", &spec(&alias)]).expect_refusal("source");
}

/// A disk that is not mounted is no loss, and nothing is restored into the folder below it.
#[test]
fn a_store_whose_disk_is_not_mounted_is_refused() {
    if !is_root() {
        return skip("unmounted store", "needs root to mount a small file system");
    }
    let mut bench = Bench::small();
    let disk = SmallDisk::mount(bench.dir.path().join("disk"), 64 << 10);
    let copied = disk.path.join("store");
    mailmend::drill::copy::plain(&bench.store, &copied).expect("a store on the disk");
    for entry in fs::read_dir(&copied).expect("the store") {
        let entry = entry.expect("an entry");
        fs::rename(entry.path(), disk.path.join(entry.file_name())).expect("moving");
    }
    fs::remove_dir(&copied).expect("removing");
    bench.replicate();
    bench.store.clone_from(&disk.path);
    bench.tool.verify(&bench.store).expect(0);
    drop(disk);
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, true)).expect_bits(8);
    assert!(answer.mentions("mount"), "{answer}");
    assert_eq!(fs::read_dir(&bench.store).expect("the folder").count(), 0, "nothing was written: {answer}");
}

/// No journal, no repair.
#[test]
fn a_full_state_folder_stops_a_repair_before_its_first_write() {
    if !is_root() {
        return skip("full state folder", "needs root to mount a small file system");
    }
    let mut bench = Bench::small();
    let disk = SmallDisk::mount(bench.dir.path().join("small"), 16 << 10);
    bench.tool.state = disk.path.join("state");
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 1, each: 3, ..DamageOptions::default() });
    disk.fill();
    let answer = bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Report, true)).expect_bits(8);
    assert!(answer.mentions("space"), "{answer}");
    broken.assert_still_broken(&bench, "nothing is repaired that could not be undone");
}

#[test]
fn a_corrupt_catalog_is_said_and_left_alone() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    let before = bench.tree();
    let catalog = bench.tool.state.join("catalog.db");
    let bytes = fs::read(&catalog).expect("the catalog");
    let garbage = b"this is not a database ".repeat(400);
    let mut torn = bytes.clone();
    let page = bytes.len() / 2;
    torn[page..].fill(0xa5);
    for (what, broken) in [("garbage", &garbage), ("torn pages", &torn)] {
        drop(fs::remove_file(bench.tool.state.join("catalog.db-wal")));
        drop(fs::remove_file(bench.tool.state.join("catalog.db-shm")));
        fs::write(&catalog, broken).expect("a broken catalog");
        let answer = bench.tool.verify(&bench.store);
        assert!([8, 16].contains(&(answer.status & 24)), "{what}: {answer}");
        assert!(answer.mentions("catalog"), "{what}: {answer}");
        let kept = fs::read(&catalog).expect("the catalog");
        assert!(kept.starts_with(&broken[..64]), "{what}: a broken catalog is evidence, not to be replaced");
    }
    assert_same(&before, &bench.tree(), "the store is left alone");
}

/// A plan with real steps, as lines of JSON.
fn a_plan(bench: &Bench) -> (PathBuf, Vec<Value>) {
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    bench.inflict(&[], &DamageOptions { seed: 2, each: 3, ..DamageOptions::default() });
    let plan = bench.dir.path().join("plan.jsonl");
    let args = ["audit", &spec(&bench.store), "--from", &spec(&bench.replica), "--save-plan", &spec(&plan)];
    bench.tool.run(args).expect(4);
    let text = fs::read_to_string(&plan).expect("the plan");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(lines.len() > 3, "the plan has steps:\n{text}");
    (plan, lines)
}

/// The first step that puts bytes into the store.
fn restoring(lines: &mut [Value]) -> &mut Value {
    let step = lines.iter_mut().find(|l| l["action"]["kind"] == "restore");
    step.expect("the plan restores something")
}

#[test]
fn a_plan_that_points_outside_is_refused() {
    let bench = Bench::small();
    let (plan, lines) = a_plan(&bench);
    let broken = bench.tree();
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    let other = bench.dir.path().join("other");
    fs::create_dir(&other).expect("a folder");
    type Edit<'a> = (&'a str, Box<dyn Fn(&mut [Value]) + 'a>);
    let edits: [Edit; 6] = [
        ("climbs", Box::new(|l| restoring(l)["target"] = "../outside/mail".into())),
        ("climbs later", Box::new(|l| restoring(l)["target"] = "example.org/../../outside/mail".into())),
        ("climbs escaped", Box::new(|l| restoring(l)["target"] = "%2E%2E/outside/mail".into())),
        ("absolute", Box::new(|l| restoring(l)["target"] = spec(&outside.join("mail")).into())),
        ("source climbs", Box::new(|l| restoring(l)["action"]["from"]["path"] = "../../etc/passwd".into())),
        ("another store", Box::new(|l| l[0]["store"] = spec(&other).into())),
    ];
    for (what, edit) in edits {
        let mut edited = lines.clone();
        edit(&mut edited);
        let text: Vec<String> = edited.iter().map(Value::to_string).collect();
        fs::write(&plan, text.join("\n") + "\n").expect("an edited plan");
        let answer = bench.tool.run(["repair", &spec(&bench.store), "--plan", &spec(&plan), "--apply"]);
        assert_eq!(answer.status, 16, "{what}: {answer}");
        assert!(answer.mentions("plan"), "{what}: {answer}");
        assert_same(&broken, &bench.tree(), what);
        for dir in [&outside, &other] {
            assert_eq!(fs::read_dir(dir).expect("a folder").count(), 0, "{what}: something was written outside");
        }
    }
}

/// A symlink inside the store is no way out either.
#[test]
fn a_plan_through_a_symlink_writes_nothing_outside() {
    let bench = Bench::small();
    let (plan, mut lines) = a_plan(&bench);
    let outside = bench.dir.path().join("outside");
    fs::create_dir_all(outside.join("cur")).expect("a folder");
    std::os::unix::fs::symlink(&outside, bench.store.join("example.org/evil")).expect("a symlink");
    let step = restoring(&mut lines);
    step["target"] = "example.org/evil/cur/1.mail:2,".into();
    step["before"] = "Nothing".into();
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(&plan, text.join("\n") + "\n").expect("an edited plan");
    let answer = bench.tool.run(["repair", &spec(&bench.store), "--plan", &spec(&plan), "--apply"]);
    assert_ne!(answer.status, 0, "{answer}");
    assert_eq!(fs::read_dir(outside.join("cur")).expect("a folder").count(), 0, "{answer}");
}

#[test]
fn a_saved_plan_is_never_overwritten() {
    let bench = Bench::small();
    let (plan, _) = a_plan(&bench);
    let before = fs::read(&plan).expect("the plan");
    let args = ["audit", &spec(&bench.store), "--from", &spec(&bench.replica), "--save-plan", &spec(&plan)];
    bench.tool.run(args).expect_refusal("exists");
    assert_eq!(fs::read(&plan).expect("the plan"), before);
}

/// A file that never ends, or never begins, is refused at once.
#[test]
fn what_is_no_regular_file_is_no_plan_list_or_settings() {
    let bench = Bench::small();
    let at = |name: &str| bench.dir.path().join(name);
    crate::common::must("mkfifo", &[&spec(&at("fifo"))]);
    fs::create_dir(at("folder")).expect("a folder");
    fs::File::create(at("holes")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    let (store, before) = (spec(&bench.store), bench.tree());
    for path in [at("fifo"), at("folder"), at("holes"), "/dev/zero".into()] {
        let path = spec(&path);
        for args in [
            &["repair", &store, "--plan", &path][..],
            &["repair", &store, "--plan", &path, "--apply"],
            &["audit", &store, "--accounts-file", &path],
            &["audit", &store, "--config", &path],
        ] {
            bench.tool.run(args).expect_refusal(&path);
        }
    }
    assert_same(&before, &bench.tree(), "the store is left alone");
}

/// What is executed is what was saved.
#[test]
fn a_saved_plan_repairs_as_printed() {
    let bench = Bench::small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let broken = bench.inflict(&[], &DamageOptions { seed: 6, mix: 10, ..DamageOptions::default() });
    let plan = bench.dir.path().join("plan.jsonl");
    let repair = Repair { sources: vec![spec(&bench.replica)], ..Repair::default() };
    let dry = bench.tool.repair(&bench.store, &repair).expect(4);
    let args = ["audit", &spec(&bench.store), "--from", &spec(&bench.replica), "--save-plan", &spec(&plan)];
    bench.tool.run(args).expect(4);
    bench.tool.run(["repair", &spec(&bench.store), "--plan", &spec(&plan)]);
    broken.assert_still_broken(&bench, "a plan without --apply is only printed");
    let answer = bench.tool.run(["repair", &spec(&bench.store), "--plan", &spec(&plan), "--apply"]).expect(1);
    broken.assert_perfect(&bench, &answer, &dry.found(), Undecided::Report);
}
