//! What the monitoring plugin says of nights that build on each other.

use crate::common::{Mailmend, words};
use crate::records::pass;
use std::fs;
use std::path::{Path, PathBuf};

struct Place {
    _dir: tempfile::TempDir,
    store: PathBuf,
    tool: Mailmend,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (store, tool) = (dir.path().join("store"), Mailmend::with_state(dir.path().join("state")));
        for user in ["ann", "bob"] {
            for sub in ["cur", "new", "tmp"] {
                fs::create_dir_all(store.join(user).join(sub)).expect("a mailbox");
            }
            (0..20).for_each(|n| deliver(&store.join(user), n));
        }
        Place { _dir: dir, store, tool }
    }

    fn verify(&self, more: &[&str]) {
        self.tool.run(words(&["verify"]).chain([self.store.clone().into()]).chain(words(more))).expect(0);
    }

    /// The plugin's status and line.
    fn check(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = self.tool.command();
        command.arg("--state").arg(&self.tool.state).arg("check").arg(&self.store).args(more);
        let output = command.output().expect("the binary");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[track_caller]
    fn says(&self, more: &[&str], status: i32) {
        let (code, line) = self.check(more);
        assert_eq!(code, Some(status), "{line}");
    }
}

fn deliver(mailbox: &Path, n: u32) {
    let text = format!("From: a@example.org\nSubject: {n}\nMessage-ID: <{n}@{}>\n\nbody {n:03}\n", mailbox.display());
    fs::write(mailbox.join(format!("cur/1700000{n:03}.M{n}P1.mx:2,S")), text).expect("a message");
}

/// A tenth a night: the oldest proof is ten days old, every night, and that is what was promised.
#[test]
fn a_budget_that_keeps_its_promise_is_well_and_one_that_is_not_kept_is_not() {
    let place = Place::new();
    place.verify(&[]);
    for _ in 0..14 {
        pass(&place.tool, 1);
        place.verify(&["--budget", "10%"]);
        place.says(&[], 0);
    }
    place.says(&["--crit-age", "3d"], 2);
    pass(&place.tool, 2);
    place.says(&[], 1);
    pass(&place.tool, 2);
    let (code, line) = place.check(&[]);
    assert!(code == Some(2) && line.contains("the last verify ended 4"), "a job that died shows at once: {line}");
    place.verify(&["--budget", "10%"]);
    pass(&place.tool, 1);
    place.verify(&[]);
    pass(&place.tool, 2);
    place.says(&[], 1);
}

/// What one account's verify leaves out was not verified.
#[test]
fn a_verify_of_one_account_is_none_of_the_store() {
    let place = Place::new();
    place.verify(&["--accounts", "ann"]);
    place.says(&[], 3);
    place.verify(&[]);
    place.says(&[], 0);
    pass(&place.tool, 4);
    for part in [&["--accounts", "ann"][..], &["--mailbox", "INBOX"], &["--since", "2000-01-01"]] {
        place.verify(part);
        let (code, line) = place.check(&[]);
        assert_eq!(code, Some(2), "{part:?}: {line}");
    }
    place.verify(&[]);
    place.says(&[], 0);
}
