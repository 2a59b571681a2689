//! Everything that is no file or folder, planted where one belongs, on every level; and names that hurt.

use crate::common::bench::assert_none;
use crate::kit;
use crate::trap::{Plant, Trap, give_away};
use mailmend::drill::truth::Strictness;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where something is planted, and whether a folder belongs there.
const LEVELS: [(&str, bool); 17] = [
    ("", true),
    ("Maildir", true),
    ("Maildir/cur", true),
    ("Maildir/new", true),
    ("Maildir/tmp", true),
    ("Maildir/.Sent", true),
    ("Maildir/.Sent/cur", true),
    ("Maildir/cur/MESSAGE", false),
    ("Maildir/.Sent/cur/MESSAGE", false),
    ("Maildir/dovecot-uidlist", false),
    ("Maildir/subscriptions", false),
    ("Maildir/.Sent/dovecot-uidlist", false),
    (".dovecot.sieve", false),
    ("sieve", true),
    ("mh", true),
    ("mh/inbox", true),
    ("mh/inbox/MESSAGE", false),
];

fn user(level: usize, plant: Plant) -> String {
    format!("example.org/u{level:02}-{plant:?}")
}

/// One user's mail: each of these stores holds one user for each thing that is planted.
fn populate(home: &Path, number: u64) {
    let account = kit::mailbox(&home.join("Maildir"));
    let sent = kit::mailbox(&account.join(".Sent"));
    kit::deliver(&account, number, 3000);
    kit::deliver(&account, number + 1, 3000);
    kit::deliver(&sent, number + 2, 3000);
    fs::create_dir(home.join("sieve")).expect("a folder");
    fs::create_dir_all(home.join("mh/inbox")).expect("a folder of MH");
    for name in 1..=2 {
        let mail = fs::read(spot(home, "Maildir/cur/MESSAGE")).expect("a message");
        fs::write(home.join(format!("mh/inbox/{name}")), mail).expect("a message of MH");
    }
    let files = ["Maildir/dovecot-uidlist", "Maildir/subscriptions", "Maildir/.Sent/dovecot-uidlist", ".dovecot.sieve"];
    for name in files.iter().chain(&["sieve/x.sieve"]) {
        fs::write(home.join(name), format!("3 V1700000000 N5 {name}\n")).expect("a companion");
    }
}

/// The path of what is to be replaced.
fn spot(home: &Path, level: &str) -> std::path::PathBuf {
    match level.strip_suffix("/MESSAGE") {
        None if level.is_empty() => home.to_owned(),
        None => home.join(level),
        Some(folder) => {
            let mut names: Vec<_> = fs::read_dir(home.join(folder)).expect("a folder").flatten().collect();
            names.sort_by_key(|e| e.file_name());
            names.first().expect("a message").path()
        }
    }
}

fn own_all(top: &Path, user: u32) {
    for entry in walkdir::WalkDir::new(top) {
        let path = entry.expect("a readable tree").into_path();
        std::os::unix::fs::lchown(&path, Some(user), Some(user)).expect("chown");
    }
}

fn combinations() -> impl Iterator<Item = (usize, Plant)> {
    let sensible = |&(level, plant): &(usize, Plant)| match LEVELS[level].1 {
        true => !matches!(plant, Plant::HardLink | Plant::Folder),
        false => plant != Plant::File,
    };
    (0..LEVELS.len()).flat_map(|level| Plant::ALL.map(|plant| (level, plant))).filter(sensible)
}

#[test]
fn whatever_is_planted_on_whatever_level_is_said_and_leads_nowhere() {
    if !kit::can("plants", true, &["mkfifo", "mknod"]) {
        return;
    }
    everything_everywhere(Trap::new());
}

#[test]
fn the_same_holds_for_the_mail_user() {
    if !kit::can("plants, as the mail user", true, &["mkfifo", "mknod", "setpriv"]) {
        return;
    }
    everything_everywhere(Trap::new().unprivileged());
}

fn everything_everywhere(mut trap: Trap) {
    let store = trap.bench.store.clone();
    let user_id = trap.bench.tool.user;
    let own = |path: &Path| if let Some(user) = user_id { own_all(path, user) } else { give_away(path) };
    for (number, (level, plant)) in (0..).zip(combinations()) {
        populate(&store.join(user(level, plant)), number * 10);
    }
    own(&store);
    let first = trap.run(&["verify", &crate::common::spec(&store)]);
    assert_eq!(first.status, 0, "{first}");
    trap.bench.replicate();
    let truth = trap.bench.tree();
    // What is linked a second time is no secret: its owner shows it to the store.
    let linked = trap.bench.dir.path().join("attic");
    fs::write(&linked, "somebody else's\n").expect("a file");
    let mut spots = Vec::new();
    for (level, plant) in combinations() {
        let at = spot(&store.join(user(level, plant)), LEVELS[level].0);
        match LEVELS[level].1 {
            true => fs::remove_dir_all(&at).expect("room"),
            false => fs::remove_file(&at).expect("room"),
        }
        plant.put(&at, &trap.outside, &linked);
        spots.push(at);
    }
    own(&store);
    own(&trap.bench.replica);
    trap.arm();
    let heard = trap.tour();
    assert_eq!(heard.status & 8, 8, "what could not be looked at is not called checked: {heard}");
    for (level, plant) in combinations() {
        // A companion is its owner's to rewrite: another file of that name is one, whatever else it is called.
        let own = matches!(LEVELS[level].0, "Maildir/dovecot-uidlist" | "Maildir/subscriptions" | ".dovecot.sieve")
            || LEVELS[level].0.ends_with("dovecot-uidlist");
        let silent = plant == Plant::HardLink && own;
        let user = user(level, plant);
        assert!(silent || heard.mentions(&user), "nothing is said of {user} ({}): {heard}", LEVELS[level].0);
    }
    assert_eq!(fs::read(&linked).expect("a file"), b"somebody else's\n");
    // Once the plants are gone, all comes back.
    for at in spots {
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&at).expect("weeding"),
            Ok(_) => fs::remove_file(&at).expect("weeding"),
            Err(_) => {}
        }
    }
    let healed = kit::heal(&trap.bench);
    trap.assert_untouched("the last repair");
    // One message, or a filter, that is gone: its owner may have deleted it. An empty folder the
    // server makes again, and of a list that its owner rewrote the newest state counts.
    let deleted = |path: &str| {
        ["u03", "u04", "u07", "u08", "u12", "u13", "u16", "HardLink"].iter().any(|level| path.contains(level))
    };
    let mut differs = truth.differences(&trap.bench.tree(), Strictness::Served);
    differs.retain(|difference| !deleted(&difference.to_string()));
    assert_none(&differs, &format!("exit {}", healed.status));
}

/// Names that rearrange a terminal, break lines, are no UTF-8, are as long as can be, or look like our own files.
const NAMES: [&[u8]; 22] = [
    b"line\nbreak",
    b"\x1b[2J\x1b[1;1Hclear",
    b"\x1b]0;title\x07",
    b"\xff\xfe\x80 no utf-8",
    b"\xc2\x9b31mc1",
    b"back\x08\x08space\rreturn\ttab\x7f",
    "\u{202e}right to left\u{2066}".as_bytes(),
    "\u{200b}\u{feff}\u{e0041}".as_bytes(),
    b"...",
    b"..hidden",
    b" ",
    b"-rf",
    b"--apply",
    b"$(touch x);`id`",
    b"%2E%2E%2Fescape%00",
    b"\"},{\"schema\":\"mailmend\"",
    b".mailmend",
    b"mailmend.quarantine",
    b"journal.jsonl",
    b"plan.json",
    b"&AC4ALgAvAC4ALg-",
    b"&ABsAWwAyAEo-",
];

#[test]
fn names_that_hurt_are_shown_harmless_and_kept_exactly() {
    let mut trap = Trap::new();
    let store = trap.bench.store.clone();
    let long = [b'x'; 255];
    let names = NAMES.iter().copied().chain([&long[..]]);
    for (number, name) in (0..).zip(names) {
        let name = OsStr::from_bytes(name);
        // As an account, as a mailbox of both layouts, and as a message.
        kit::deliver(&kit::mailbox(&store.join("accounts").join(name)), number * 10, 2000);
        kit::deliver(&kit::mailbox(&store.join("nested/mail").join(name)), number * 10 + 1, 2000);
        let dotted = [b".", &name.as_bytes()[..name.len().min(254)]].concat();
        kit::deliver(
            &kit::mailbox(&store.join("dotted/Maildir").join(OsStr::from_bytes(&dotted))),
            number * 10 + 2,
            2000,
        );
        let box_ = kit::mailbox(&store.join("plain/Maildir"));
        if !name.as_bytes().starts_with(b".") {
            kit::put(&box_.join("cur").join(name), &kit::letter(number * 10 + 3, 2000));
        }
        if name.len() < 230 {
            let message = [b"1700000000.", name.as_bytes(), b":2,S"].concat();
            kit::put(&box_.join("cur").join(OsStr::from_bytes(&message)), &kit::letter(number * 10 + 4, 2000));
        }
    }
    kit::deliver(&kit::mailbox(&store.join("nested/mail")), 9999, 2000);
    kit::deliver(&kit::mailbox(&store.join("dotted/Maildir")), 9998, 2000);
    let answer = trap.bench.tool.verify(&store);
    trap.bench.replicate();
    let truth = trap.bench.tree();
    let all: Vec<_> = truth.messages().map(|(path, _)| store.join(path.as_path())).collect();
    assert!(all.len() > 100, "{} messages are recognised by the judge", all.len());
    assert!(
        answer.count("messages") >= all.len() as u64 - 10,
        "{} of {}: {answer}",
        answer.count("messages"),
        all.len()
    );
    for path in all.iter().step_by(2) {
        kit::damage(path, 40);
    }
    for path in all.iter().skip(1).step_by(4) {
        fs::remove_file(path).expect("a loss");
    }
    trap.arm();
    let heard = trap.tour();
    for (path, _) in truth.messages() {
        let path = path.as_path();
        let was = fs::read(trap.bench.replica.join(path)).expect("the replica");
        let is = fs::read(store.join(path)).unwrap_or_default();
        assert!(was == is, "{} did not come back: {heard}", path.display());
    }
}
