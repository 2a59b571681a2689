//! What a person meets: the binary driven as a newcomer, an administrator under stress and a hostile user drive it.

use crate::common::{Mailmend, words};
use mailmend::report::sanitise::is_dangerous;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const WHOLE: &str = "From: ann@example.org\r\nSubject: Hello\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nhello\r\n";

struct House {
    _folder: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

/// A store with the account `ann`, its messages as given, and a state folder.
fn house(messages: &[(&[u8], String)]) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("mail");
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(store.join("ann").join(sub)).unwrap();
    }
    for (name, text) in messages {
        fs::write(store.join("ann/cur").join(OsStr::from_bytes(name)), text).unwrap();
    }
    let tool = Mailmend::with_state(folder.path().join("state"));
    House { store, tool, _folder: folder }
}

fn zeroed() -> String {
    format!("{WHOLE}{}", "\0".repeat(3000))
}

fn args(words_: &[&str], path: &Path) -> Vec<OsString> {
    words(words_).chain([path.into()]).collect()
}

/// Runs the binary as people do, without `--json`.
fn typed(house: &House, args: &[OsString], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(&house.tool.binary);
    command.env_clear().env("NO_COLOR", "1").envs(variables.iter().copied());
    let output = command.arg("--state").arg(&house.tool.state).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_selection_that_fits_nothing_is_no_success() {
    let house = house(&[(b"1.a:2,S", WHOLE.into())]);
    for option in ["--accounts", "--mailbox"] {
        let mut line = args(&["audit", option, "nobody"], &house.store);
        house.tool.run(line.clone()).expect(8);
        line[2] = if option == "--accounts" { "ann".into() } else { "INBOX".into() };
        house.tool.run(line).expect(0);
    }
}

#[test]
fn hostile_names_and_headers_reach_no_terminal() {
    let evil = WHOLE.replace("Hello", "\u{1b}]0;pwn\u{7}\u{1b}[2J\u{202e}\u{9b}31m") + &"\0".repeat(3000);
    let long = [b"5.", &[b'x'; 249][..], b":2,S"].concat();
    let names: [&[u8]; 5] = [b"1.a\nb:2,", b"2.\x1b[2J:2,", b"3.\xff\xfe:2,", "4.a\u{202e}b:2,".as_bytes(), &long];
    let messages: Vec<(&[u8], String)> = names.iter().map(|name| (*name, evil.clone())).collect();
    let house = house(&messages);
    let harmless = |text: &str| !text.chars().any(|c| c != '\n' && is_dangerous(c));
    let answer = house.tool.run(args(&["audit"], &house.store)).expect(4);
    assert!(harmless(&answer.stdout) && harmless(&answer.stderr), "{answer}");
    assert_eq!(answer.count("damaged"), 5, "{answer}");
    let (_, out, err) = typed(&house, &args(&["audit", "-vv"], &house.store), &[]);
    assert!(harmless(&out) && harmless(&err), "{out}{err}");
}

#[test]
fn every_fault_is_named_once() {
    let house = house(&[(b"1.a:2,", zeroed())]);
    let (_, out, _) = typed(&house, &args(&["audit"], &house.store), &[]);
    assert_eq!(out.matches("a run of zero bytes").count(), 1, "{out}");
}

#[test]
fn an_acceptance_changes_the_exit_status_and_says_so() {
    let house = house(&[(b"1.a:2,", zeroed())]);
    let run = house.tool.run(args(&["audit"], &house.store)).expect(4).run_name();
    let (status, out, _) = typed(&house, &words(&["accept", &run, "--reason", "too old"]).collect::<Vec<_>>(), &[]);
    assert!(
        status == 0 && out.contains("1 loss recorded") && out.contains("Nothing in the store was changed"),
        "{out}"
    );
    house.tool.run(args(&["audit"], &house.store)).expect(0);
    let (_, out, _) = typed(&house, &words(&["status"]).collect::<Vec<_>>(), &[]);
    assert!(out.contains("1.a: damaged; by") && out.contains("too old"), "{out}");
}

#[test]
fn a_refused_into_leaves_nothing_in_the_store() {
    let house = house(&[(b"1.a:2,", zeroed())]);
    let backup = house.store.with_file_name("backup");
    fs::create_dir_all(backup.join("ann/cur")).unwrap();
    fs::write(backup.join("ann/cur/1.a:2,"), WHOLE).unwrap();
    let inside = house.store.join("ann/sub/new");
    let mut line = args(&["repair", "--apply", "--from"], &backup);
    line.extend(args(&["--into"], &inside).into_iter().chain([house.store.clone().into()]));
    house.tool.run(line).expect(16);
    assert!(!house.store.join("ann/sub").exists());
}

#[test]
fn a_deletion_does_not_become_a_loss_by_waiting() {
    let messages: Vec<(Vec<u8>, String)> =
        (0..9).map(|n| (format!("{n}.a:2,").into_bytes(), WHOLE.replace("Hello", &n.to_string()))).collect();
    let house = house(&messages.iter().map(|(name, text)| (&name[..], text.clone())).collect::<Vec<_>>());
    house.tool.run(args(&["verify"], &house.store)).expect(0);
    fs::write(house.store.join("ann/cur/1.a:2,"), zeroed()).unwrap();
    fs::remove_file(house.store.join("ann/cur/2.a:2,")).unwrap();
    for _ in 0..3 {
        let answer = house.tool.run(args(&["verify"], &house.store)).expect(4);
        assert_eq!((answer.count("missing.undecided"), answer.count("missing.lost")), (1, 0), "{answer}");
    }
}

#[test]
fn a_bare_command_gets_its_help_whatever_is_set() {
    let house = house(&[]);
    for (line, word) in [(&[][..], "repair"), (&["quarantine"][..], "purge")] {
        let line: Vec<OsString> = words(line).collect();
        let (status, _, err) = typed(&house, &line, &[("MAILMEND_STATE", "/nowhere")]);
        assert!(status == 16 && err.contains("Usage:") && err.contains(word) && !err.contains("lane"), "{err}");
    }
}

#[test]
fn every_command_ends_its_json_with_a_summary() {
    let house = house(&[(b"1.a:2,", zeroed())]);
    let run = house.tool.run(args(&["audit"], &house.store)).run_name();
    for line in [&["status"][..], &["quarantine", "list"], &["accept", &run, "--reason", "x"]] {
        house.tool.run(words(line)).expect(0).summary();
    }
}
