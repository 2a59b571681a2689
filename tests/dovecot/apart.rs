//! Lists and indexes that the server keeps apart from the mail (CONTROL=, INDEX=): what they tell is heard, and what
//! would need them changed is held.

use crate::common::{Answer, bench::Bench, spec};
use crate::kit;
use crate::server::{Dovecot, give};
use mailmend::drill::copy;
use std::ffi::OsString;
use std::fs;

const MESSAGES: u64 = 12;

fn run(bench: &Bench, layout: Option<&str>, command: &[&str]) -> Answer {
    let from = [OsString::from("--from"), (&bench.replica).into()];
    let layout = layout.into_iter().flat_map(|layout| [OsString::from("--layout"), layout.into()]);
    let (verb, rest) = command.split_first().expect("a command");
    let args = [OsString::from(verb), (&bench.store).into()].into_iter().chain(rest.iter().map(OsString::from));
    bench.tool.run(args.chain(from).chain(layout))
}

#[test]
fn lists_and_indexes_kept_elsewhere_are_heard() {
    if !kit::can("lists and indexes elsewhere", true, &["dovecot", "doveadm"]) {
        return;
    }
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    (0..MESSAGES).for_each(|number| drop(kit::deliver(&inbox, number, 3000)));
    let apart = bench.dir.path().join("apart");
    for folder in ["control", "index"] {
        fs::create_dir_all(apart.join(folder)).expect("a folder");
    }
    give(&bench.store);
    give(&apart);
    let (store, apart) = (spec(&bench.store), spec(&apart));
    let layout = format!("maildir:{store}/%u/Maildir:CONTROL={apart}/control/%u:INDEX={apart}/index/%u");
    let settings = format!("mail_location = {layout}\n");
    let mut server = Dovecot::with(&bench.dir.path().join("dovecot"), &bench.store, &settings);
    server.go();
    let mut imap = server.imap("ann");
    imap.must("SELECT INBOX (CONDSTORE)");
    imap.must("UID STORE 3:5 +FLAGS (\\Flagged work)");
    drop(imap);
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a replica");
    let files = || {
        let mut files: Vec<_> =
            fs::read_dir(inbox.join("cur")).expect("a mailbox").flatten().map(|entry| entry.path()).collect();
        files.sort();
        files
    };
    assert!(!inbox.join("dovecot-uidlist").exists(), "the list is elsewhere");
    let asked = run(&bench, None, &["audit"]).expect(0);
    assert!(asked.to_string().contains("control directory elsewhere"), "{asked}");
    assert!(!run(&bench, Some(&layout), &["audit"]).expect(0).to_string().contains("control directory elsewhere"));

    // One deleted by its owner, three lost before the server looked: its lists tell which is which.
    let mut imap = server.imap("ann");
    imap.must("SELECT INBOX");
    imap.must("UID STORE 8 +FLAGS (\\Deleted)");
    imap.must("UID EXPUNGE 8");
    drop(imap);
    let golden = server.imap("ann").golden("INBOX");
    server.stop();
    files().iter().take(3).for_each(|file| fs::remove_file(file).expect("a loss"));
    let answer = run(&bench, Some(&layout), &["repair", "--apply"]).expect(1);
    assert_eq!((answer.count("repaired"), answer.count("deleted"), answer.count("held")), (3, 1, 0), "{answer}");
    server.go();
    let seen = server.imap("ann").golden("INBOX");
    assert_eq!((seen.messages, seen.uidvalidity), (golden.messages.clone(), golden.uidvalidity));

    // Noticed: to come back under its UID it needs changes where no step reaches.
    fs::remove_file(&files()[1]).expect("a loss");
    assert_eq!(server.imap("ann").golden("INBOX").messages.len() + 1, golden.messages.len());
    server.stop();
    let answer = run(&bench, Some(&layout), &["repair", "--apply"]).expect(4);
    assert_eq!((answer.count("repaired"), answer.count("held")), (0, 1), "{answer}");
    assert!(answer.to_string().contains("keeps its lists and indexes elsewhere"), "{answer}");
    assert_eq!(server.complaints().iter().filter(|line| !line.contains("Expunged message")).count(), 0);
}
