//! The files in `packaging/` do what they say on the machines that they are for: the units are sound, mailmend works
//! inside the walls that they draw, and what it tells monitoring systems is what these understand.

mod common;

#[path = "packaging/metrics.rs"]
mod metrics;
#[path = "packaging/plugin.rs"]
mod plugin;

use common::{Answer, Mailmend, absent, is_root, must, skip, words};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// Whether the test can run here.
fn possible(test: &str, programs: &[&str], root: bool) -> bool {
    if let [missing, ..] = &absent(programs)[..] {
        skip(test, &format!("{missing} is not installed"));
        return false;
    }
    if root && !is_root() {
        skip(test, "it needs root");
        return false;
    }
    true
}

/// The value of a key of the service.
fn setting(key: &str) -> String {
    let text = packaging("mailmend-verify.service");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

/// The units with the binary of this build, for systemd looks whether it is there.
fn units() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let service = packaging("mailmend-verify.service").replace("/usr/bin/mailmend", env!("CARGO_BIN_EXE_mailmend"));
    fs::write(dir.path().join("mailmend-verify.service"), service).expect("the service");
    fs::write(dir.path().join("mailmend-verify.timer"), packaging("mailmend-verify.timer")).expect("the timer");
    dir
}

#[test]
fn systemd_has_no_complaints_about_the_units() {
    if !possible("systemd_has_no_complaints_about_the_units", &["systemd-analyze"], false) {
        return;
    }
    let units = units();
    let files = ["mailmend-verify.service", "mailmend-verify.timer"].map(|name| units.path().join(name));
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output().expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    let threshold = ["security", "--offline=yes", "--threshold=25", "--no-pager"];
    let output = Command::new("systemd-analyze").args(threshold).arg(&files[0]).output().expect("systemd-analyze");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A store with three messages, and a state folder.
fn place() -> (tempfile::TempDir, PathBuf, Mailmend) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (store, state) = (dir.path().join("store"), dir.path().join("state"));
    for sub in ["ann/cur", "ann/new", "ann/tmp"] {
        fs::create_dir_all(store.join(sub)).expect("a mailbox");
    }
    fs::create_dir(&state).expect("a state folder");
    for n in 0..3 {
        let text = format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@example.org>\n\nbody {n}\n");
        let path = store.join(format!("ann/cur/170000000{n}.M{n}P1.mx:2,S"));
        fs::write(&path, text).expect("a message");
        if is_root() {
            std::os::unix::fs::chown(&path, Some(common::NOBODY), None).expect("a mail user's");
        }
    }
    (dir, store, Mailmend::with_state(state))
}

fn verify(tool: &Mailmend, store: &Path) -> Answer {
    tool.run(words(&["verify"]).chain([store.into()]))
}

/// All is read-only but the state folder, root has the service's two powers and can get no others.
#[test]
fn a_verify_works_inside_the_walls_of_the_service() {
    let test = "a_verify_works_inside_the_walls_of_the_service";
    if !possible(test, &["unshare", "setpriv", "mount", "findmnt", "strace"], true) {
        return;
    }
    let (_dir, store, mut tool) = place();
    let state = tool.state.to_str().expect("UTF-8").to_owned();
    let powers: Vec<String> = setting("CapabilityBoundingSet")
        .split_whitespace()
        .map(|power| format!("+{}", power.strip_prefix("CAP_").expect("a power").to_lowercase()))
        .collect();
    assert_eq!(setting("ProtectSystem"), "strict");
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$(findmnt -no TARGET -T \"$1\")\" &&
        shift && ! touch \"$0/../wall\" 2>/dev/null && exec \"$@\"";
    let mut wrapper: Vec<OsString> =
        words(&["unshare", "-m", "--propagation", "private", "sh", "-c", script]).collect();
    wrapper.extend([state.into(), store.clone().into()]);
    wrapper.extend(words(&["setpriv", &format!("--bounding-set=-all,{}", powers.join(",")), "--inh-caps=-all"]));
    let trace = tool.state.join("trace");
    wrapper.extend(words(&["--no-new-privs", "--", "strace", "-f", "-qq", "-e", "trace=mount_setattr", "-o"]));
    wrapper.push(trace.clone().into());
    tool.wrapper = wrapper;
    let first = verify(&tool, &store).expect(0);
    assert_eq!(first.count("messages"), 3, "{first}");
    let trace = fs::read_to_string(trace).expect("the trace");
    let walls = trace.lines().any(|line| line.contains("mount_setattr(") && line.trim_end().ends_with("= 0"));
    assert!(walls && !first.mentions("confined"), "the readers have their own walls all the same: {trace}\n{first}");
    let second = verify(&tool, &store).expect(0);
    assert_eq!(second.count("intact.identical"), 3, "what was recorded is there: {second}");
    assert!(!store.join("../wall").exists(), "the wall was one");
}

/// Every name in a set of system calls, and in the sets that it names.
fn calls(set: &str, into: &mut BTreeSet<String>) {
    if !set.starts_with('@') {
        into.insert(set.to_owned());
        return;
    }
    for line in must("systemd-analyze", &["syscall-filter", set]).lines().skip(1) {
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            calls(name, into);
        }
    }
}

#[test]
fn a_verify_uses_no_call_that_the_service_forbids() {
    let test = "a_verify_uses_no_call_that_the_service_forbids";
    if !possible(test, &["systemd-analyze", "strace"], true) {
        return;
    }
    let mut allowed = BTreeSet::new();
    setting("SystemCallFilter").split_whitespace().for_each(|set| calls(set, &mut allowed));
    let (dir, store, mut tool) = place();
    let trace = dir.path().join("trace");
    tool.wrapper = words(&["strace", "-f", "-qq", "-o"]).chain([trace.clone().into()]).collect();
    verify(&tool, &store).expect(0);
    let used: BTreeSet<String> = fs::read_to_string(&trace)
        .expect("the trace")
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('(').map(|(name, _)| name.to_owned()))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .collect();
    assert!(used.contains("openat2") && used.contains("mount_setattr"), "{used:?}");
    let forbidden: Vec<_> = used.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn the_cron_line_is_one_and_runs_what_there_is() {
    let text = packaging("mailmend.cron");
    let line = text.lines().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).expect("a line");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[5], "root", "the fields of a time, then the user: {line}");
    let at = fields.iter().position(|word| *word == "mailmend").expect("the program");
    let (dir, store, tool) = place();
    let mut command = tool.command();
    command.arg("--state").arg(dir.path().join("state"));
    let output = command.args(&fields[at + 1..fields.len() - 1]).arg(&store).output().expect("the binary");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert!(!line.contains('%'), "cron takes it for a line end");
}

#[test]
fn logrotate_understands_its_file() {
    if !possible("logrotate_understands_its_file", &["logrotate"], false) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let log = dir.path().join("verify.jsonl");
    fs::write(&log, "{}\n").expect("a log");
    let (file, status) = (dir.path().join("mailmend"), dir.path().join("status"));
    let text = packaging("mailmend.logrotate").replace("/var/log/mailmend", dir.path().to_str().expect("UTF-8"));
    fs::write(&file, text.replace("root root", "")).expect("its file");
    let output = Command::new("/usr/sbin/logrotate").args(["--force", "--state"]).arg(&status).arg(&file).output();
    let output = output.expect("logrotate");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.path().join("verify.jsonl.1").exists() && fs::read(&log).expect("a new log").is_empty());
}
