//! Dovecot's own files, read by us and told by Dovecot: both must say the same.

use crate::imap::{Golden, Imap};
use crate::kit;
use crate::server::{Dovecot, OWNER, give};
use mailmend::store::dovecot::index::Index;
use mailmend::store::dovecot::log::Log;
use mailmend::store::dovecot::mailbox_log::{self, Deed};
use mailmend::store::dovecot::state::{State, replay};
use mailmend::store::dovecot::{
    Fate, fate, flag, index, keywords, log, mailbox_name_guid, message_guid, subscriptions, uidlist,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

const FLAGS: [(u8, &str); 5] = [
    (flag::ANSWERED, "\\Answered"),
    (flag::FLAGGED, "\\Flagged"),
    (flag::DELETED, "\\Deleted"),
    (flag::SEEN, "\\Seen"),
    (flag::DRAFT, "\\Draft"),
];

/// Everything that Dovecot keeps beside the mail of a folder.
struct Files {
    uidlist: uidlist::Parsed,
    keywords: keywords::Keywords,
    index: Option<Index>,
    logs: Vec<Log>,
}

impl Files {
    fn read(folder: &Path) -> Files {
        let bytes = |name: &str| fs::read(folder.join(name)).ok();
        let text = bytes("dovecot-uidlist").expect("a list of UIDs");
        let uidlist = uidlist::parse(&text);
        assert!(uidlist.sound() && uidlist.complete(), "{uidlist:?}");
        assert_eq!(uidlist::write(&uidlist.list).expect("it can be written"), text);
        let text = bytes("dovecot-keywords").unwrap_or_default();
        let keywords = keywords::parse(&text);
        assert!(keywords.faults.is_empty(), "{keywords:?}");
        assert_eq!(keywords::write(&keywords.keywords).expect("it can be written"), text);
        let logs = ["dovecot.index.log.2", "dovecot.index.log"].into_iter().filter_map(bytes);
        let logs: Vec<Log> = logs.map(|data| log::parse(&data)).collect();
        assert!(!logs.is_empty() && logs.iter().all(|log| log.faults.is_empty()), "{logs:?}");
        let index = bytes("dovecot.index").map(|data| index::parse(&data));
        assert!(index.iter().all(|index| index.faults.is_empty()), "{index:?}");
        Files { uidlist, keywords: keywords.keywords, index, logs }
    }

    fn state(&self) -> State {
        let logs: Vec<&Log> = self.logs.iter().collect();
        replay(self.index.as_ref(), &logs)
    }

    fn fate(&self, uid: u32, name: &str) -> Option<Fate> {
        let logs: Vec<&Log> = self.logs.iter().collect();
        fate(&logs, uid, Some(message_guid(base(name).as_bytes())), None)
    }
}

/// A file name without its flags, which is the GUID.
fn base(name: &str) -> &str {
    name.split(":2,").next().unwrap_or(name)
}

fn letters(name: &str) -> &str {
    name.split(":2,").nth(1).unwrap_or_default()
}

/// What a client is told beyond the messages themselves: the next UID, and the counter of each message.
fn counters(imap: &mut Imap, mailbox: &str) -> (u64, BTreeMap<u64, u64>) {
    let after = |text: &str, word: &str| {
        let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {text}"));
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().expect("a number")
    };
    imap.must(&format!("EXAMINE {mailbox} (CONDSTORE)"));
    let lines = imap.must("UID FETCH 1:* (UID MODSEQ)");
    let fetched = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    let fetched = fetched.filter(|line| line.contains("MODSEQ ("));
    let modseqs = fetched.map(|line| (after(&line, "UID "), after(&line, "MODSEQ ("))).collect();
    let status = imap.must(&format!("STATUS {mailbox} (UIDNEXT)"));
    (after(&String::from_utf8_lossy(&status.concat()), "UIDNEXT "), modseqs)
}

/// The files of a folder tell what clients are told.
#[track_caller]
fn assert_same(server: &Dovecot, mailbox: &str, folder: &Path) -> Golden {
    let mut imap = server.imap("ann");
    let golden = imap.golden(mailbox);
    let (next_uid, modseqs) = counters(&mut imap, mailbox);
    drop(imap);
    let files = Files::read(folder);
    let state = files.state();
    assert!(state.complete, "{mailbox}: something is missing");
    assert_eq!(u64::from(state.uid_validity), golden.uidvalidity, "{mailbox}: UIDVALIDITY");
    assert_eq!(u64::from(state.next_uid), next_uid, "{mailbox}: next UID");
    assert_eq!(state.highest_modseq, golden.modseq, "{mailbox}: HIGHESTMODSEQ");
    let list = &files.uidlist.list;
    assert_eq!((u64::from(list.uidvalidity), u64::from(list.next_uid())), (golden.uidvalidity, next_uid));
    let names = files_of(folder);
    let told: BTreeMap<u64, BTreeSet<String>> =
        golden.messages.iter().map(|(uid, seen)| (*uid, seen.flags.clone())).collect();
    let mut read = BTreeMap::new();
    let mut read_modseqs = BTreeMap::new();
    for (uid, message) in &state.messages {
        let keyword_names = state.keywords_of(message).map(|name| String::from_utf8_lossy(name).into_owned());
        let flags = FLAGS.iter().filter(|(bit, _)| message.flags & bit != 0).map(|(_, name)| (*name).to_owned());
        let of_index: BTreeSet<String> = flags.chain(keyword_names).collect();
        let record = list.get(*uid).unwrap_or_else(|| panic!("{mailbox}: UID {uid} is not in the list"));
        let name = &names[std::str::from_utf8(&record.name).expect("a name")];
        let own = letters(name).bytes().filter(u8::is_ascii_lowercase);
        let own: BTreeSet<String> =
            own.map(|l| String::from_utf8_lossy(files.keywords.name(l).expect("a keyword")).into_owned()).collect();
        let of_name: BTreeSet<String> = of_index.iter().filter(|flag| !flag.starts_with('\\')).cloned().collect();
        assert_eq!(own, of_name, "{mailbox}: keywords in the name of UID {uid}");
        read.insert(u64::from(*uid), of_index);
        read_modseqs.insert(u64::from(*uid), state.modseq_of(message));
    }
    assert_eq!(read, told, "{mailbox}: UIDs and flags");
    assert_eq!(read_modseqs, modseqs, "{mailbox}: MODSEQ");
    golden
}

/// Names with flags by those without.
fn files_of(folder: &Path) -> BTreeMap<String, String> {
    let dirs = ["cur", "new"].map(|sub| fs::read_dir(folder.join(sub)).expect("a folder"));
    let names = dirs.into_iter().flatten().map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| name.into_string().ok()).map(|name| (base(&name).to_owned(), name)).collect()
}

fn succeed(server: &Dovecot, args: &[&str]) {
    let output = server.doveadm(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
}

#[test]
fn dovecots_files_tell_what_its_clients_see_and_what_became_of_the_rest() {
    if !kit::can("Dovecot's own files", true, &["dovecot", "doveadm"]) {
        return;
    }
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    let paths: Vec<_> = (1..=12).map(|number| kit::deliver(&inbox, number, 900)).collect();
    give(&bench.store);
    let server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    let mut imap = server.imap("ann");
    imap.must("CREATE Work");
    imap.must("CREATE Old");
    imap.must("SUBSCRIBE Work");
    imap.must("SUBSCRIBE Old");
    imap.must("SELECT INBOX");
    let by_uid = |uid: u32| {
        let list = Files::read(&inbox).uidlist.list;
        let record = list.get(uid).unwrap_or_else(|| panic!("no UID {uid}")).clone();
        String::from_utf8(record.name).expect("a name")
    };
    let names: BTreeMap<u32, String> = (1..=12).map(|uid| (uid, by_uid(uid))).collect();
    assert_eq!(names.len(), paths.len());
    imap.must("UID STORE 1:6 +FLAGS (\\Flagged $Label1 Junk)");
    imap.must("UID STORE 2 -FLAGS (Junk \\Seen)");
    imap.must("UID STORE 3 FLAGS (\\Answered \\Draft Other)");
    imap.must("UID STORE 4 +FLAGS (\\Deleted)");
    imap.must("UID EXPUNGE 4");
    imap.must("UID MOVE 5 Work");
    imap.must("UID COPY 6 Work");
    imap.append("Old", "\\Seen", &kit::letter(99, 900));
    imap.must("DELETE Old");
    imap.must("UNSUBSCRIBE Old");
    drop(imap);
    assert_same(&server, "INBOX", &inbox);
    assert_same(&server, "Work", &inbox.join(".Work"));
    let replica = bench.store.join("ann/Replica");
    let partner = format!("maildir:{}", replica.display());
    succeed(&server, &["sync", "-u", "ann", &partner]);
    succeed(&server, &["expunge", "-u", "ann", "mailbox", "INBOX", "uid", "7"]);
    succeed(&server, &["sync", "-u", "ann", &partner]);
    let there = files_of(&inbox);
    kit::lose(&inbox.join("cur").join(&there[&names[&8]]));
    fs::remove_file(inbox.join("cur").join(&there[&names[&9]])).expect("a loss");
    assert!(!fs::read(inbox.join("dovecot.index.log")).expect("a log").is_empty());
    let golden = assert_same(&server, "INBOX", &inbox);
    assert_eq!(golden.messages.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 6, 10, 11, 12]);
    fates(&inbox, &replica, &names);
    deeds(&inbox);
    rotated(&server, &inbox, &names);
    rewritten(server, &inbox);
}

fn fates(inbox: &Path, replica: &Path, names: &BTreeMap<u32, String>) {
    let (here, there) = (Files::read(inbox), Files::read(replica));
    let told = |files: &Files| -> Vec<(u32, Fate)> {
        names.iter().filter_map(|(uid, name)| Some((*uid, files.fate(*uid, name)?))).collect()
    };
    use Fate::*;
    assert_eq!(told(&here), [(4, ByUser), (5, ByUser), (7, ByUser), (8, NoticedLoss), (9, NoticedLoss)]);
    assert_eq!(told(&there), [(7, BySync)]);
    // The request names the message by its GUID.
    let logs: Vec<&Log> = here.logs.iter().collect();
    assert_eq!(fate(&logs, 4, Some(message_guid(names[&7].as_bytes())), None), None);
}

fn deeds(account: &Path) {
    let (records, faults) = mailbox_log::parse(&fs::read(account.join("dovecot.mailbox.log")).expect("a log"));
    assert!(faults.is_empty(), "{faults:?}");
    let [old, work] = [&b"Old"[..], b"Work"].map(mailbox_name_guid);
    let told: Vec<Deed> = records.iter().filter(|record| record.guid == old).map(|record| record.deed).collect();
    assert_eq!(told, [Deed::Subscribed, Deed::DeletedFolder, Deed::Unsubscribed]);
    assert!(records.iter().any(|record| record.deed == Deed::Subscribed && record.guid == work));
    assert_eq!(records.iter().filter(|record| record.deed == Deed::DeletedMailbox).count(), 1);
    let text = fs::read(account.join("subscriptions")).expect("subscriptions");
    let list = subscriptions::parse(&text).subscriptions;
    assert_eq!(list.names, [[b"Work".to_vec()]]);
    assert_eq!(subscriptions::write(&list).expect("it can be written"), text);
}

/// An index that is written and logs that have been rotated tell what one log did.
fn rotated(server: &Dovecot, inbox: &Path, names: &BTreeMap<u32, String>) {
    let eager =
        ["mail_index_rewrite_min_log_bytes=1", "mail_index_log_rotate_min_size=1", "mail_index_log_rotate_min_age=1s"];
    let options: Vec<&str> = eager.iter().flat_map(|option| ["-o", option]).collect();
    let mut signs = ["add", "remove"].into_iter().cycle();
    // Only a log of some age ends, so that what was in it before stays in the older one.
    kit::wait_for("a new log", Duration::from_secs(10), || {
        let change = ["flags", signs.next()?, "-u", "ann", "\\Answered", "mailbox", "INBOX", "uid", "10"];
        succeed(server, &[&options[..], &change].concat());
        inbox.join("dovecot.index.log.2").exists().then_some(())
    });
    succeed(server, &["flags", "add", "-u", "ann", "\\Draft Last", "mailbox", "INBOX", "uid", "11:12"]);
    let files = Files::read(inbox);
    assert!(files.index.is_some() && files.logs.len() == 2, "{} logs", files.logs.len());
    assert!(files.logs[0].precedes(&files.logs[1]));
    assert_same(server, "INBOX", inbox);
    assert_eq!(
        [4, 8, 10].map(|uid| files.fate(uid, &names[&uid])),
        [Some(Fate::ByUser), Some(Fate::NoticedLoss), None]
    );
    // Without the older log nothing is known of what it told.
    let newer = [&files.logs[1]];
    assert_eq!([4, 8].map(|uid| fate(&newer, uid, None, None)), [None, None]);
}

/// Dovecot goes on with a list that we wrote.
fn rewritten(mut server: Dovecot, inbox: &Path) {
    let golden = server.imap("ann").golden("INBOX");
    server.stop();
    let path = inbox.join("dovecot-uidlist");
    let mut list = uidlist::parse(&fs::read(&path).expect("a list")).list;
    list.head_next_uid += 100;
    for record in &mut list.records {
        record.fields.retain(|(letter, _)| *letter != b'P');
        record.fields.push((b'P', format!("pop{}", record.uid).into_bytes()));
    }
    let text = uidlist::write(&list).expect("it can be written");
    fs::write(&path, &text).expect("a list");
    server.go();
    let again = server.imap("ann").golden("INBOX");
    assert_eq!(again.messages, golden.messages);
    assert_eq!(again.uidvalidity, golden.uidvalidity);
    let mut imap = server.imap("ann");
    imap.append("INBOX", "", &kit::letter(77, 900));
    assert_eq!(counters(&mut imap, "INBOX").1.keys().last(), Some(&u64::from(list.head_next_uid)));
    let now = uidlist::parse(&fs::read(&path).expect("a list")).list;
    assert_eq!(now.records[..list.records.len()], list.records[..]);
    assert_eq!(server.complaints(), Vec::<String>::new());
}

/// Which damaged lists Dovecot goes on with, and which it throws away.
#[test]
fn dovecot_throws_away_the_lists_that_we_say_it_does() {
    if !kit::can("damaged lists of UIDs", true, &["dovecot", "doveadm"]) {
        return;
    }
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    give(&bench.store);
    let server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    let names: Vec<String> = (1..=3).map(|n| base(&kit::name(n, kit::letter(n, 600).len())).to_owned()).collect();
    let [one, two, three] = [&names[0], &names[1], &names[2]];
    let guid = "G00d9fe226ee8026b0b35000083ecc375";
    let head = format!("3 V1700000001 N110 {guid}");
    let cases = [
        format!("{head}\n101 :{one}\n102 :{two}\n103 :{three}\n"),
        format!("{head} P9\r\n101 S600 :{one}\r\n102 GA :{two}\n103 :{three}\n"),
        format!("{head}\n101 :{one}\n102 :a/b\n103 :{three}\n"),
        format!("{head}\n101 :{one}\n103 :{two}\n102 :{three}\n"),
        format!("{head}\n101 :{one}\n\n103 :{three}\n"),
        format!("{head}\n101 :{one}\n102 :{}\0\0\0\0{three}\n", &two[..4]),
        format!("{head}\n101 :{one}\n102 \0\0\0\0\0{three}\n"),
        format!("{head}\n101 :{one}\n102 :{two}\n10"),
        format!("{head}\n101 :{one}\n102 x9 :{two}\n103 :{three}\n"),
        format!("{head}\n101 :{one}\n102 {two}\n103 :{three}\n"),
        format!("3 V0 N110 {guid}\n101 :{one}\n"),
        format!("3 V1700000001 N11x {guid}\n101 :{one}\n"),
        format!("3 V1700000001 N110 G00\n101 :{one}\n"),
        format!("7 V1700000001 N110 {guid}\n101 :{one}\n"),
        format!("1 1700000001 110\n101 {one}\n102 {two}\n"),
        format!("1 1700000001 101\n101 {one}\n102 {two}\n"),
        String::new(),
    ];
    let (mut seen, mut renumbered) = (0, 0);
    for text in &cases {
        fs::remove_dir_all(&inbox).expect("away with it");
        kit::mailbox(&inbox);
        (1..=3).for_each(|number| drop(kit::deliver(&inbox, number, 600)));
        fs::write(inbox.join("dovecot-uidlist"), text).expect("a list");
        give(&inbox);
        let output = server.doveadm(&["fetch", "-u", "ann", "uid", "mailbox", "INBOX", "ALL"]);
        let uids: Vec<u32> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix("uid: ")?.trim().parse().ok())
            .collect();
        assert_eq!(uids.len(), 3, "{text:?}: {output:?}");
        let parsed = uidlist::parse(text.as_bytes());
        let log = server.log();
        let told = log[seen..].to_owned() + &String::from_utf8_lossy(&output.stderr);
        seen = log.len();
        let broken = |line: &&str| line.contains("Broken ") && !line.contains("extension record, removing");
        let gone_on = !text.is_empty() && told.lines().find(broken).is_none();
        assert_eq!(parsed.sound(), gone_on, "{text:?}: {uids:?}, {parsed:?}, {told}");
        // What stands before the line where Dovecot gives up keeps its UIDs.
        let end = parsed.refused.map_or(usize::MAX, |fault| usize::try_from(fault.at).expect("a line") - 1);
        let before: String = text.split_inclusive('\n').take(end).collect();
        let kept = uidlist::parse(before.as_bytes()).list.records;
        assert!(kept.iter().all(|record| uids.contains(&record.uid)), "{text:?}: {uids:?}");
        renumbered += u32::from(parsed.list.records.iter().any(|record| !uids.contains(&record.uid)));
    }
    // Whole lines that Dovecot gives up and we keep.
    assert!(renumbered >= 6, "{renumbered}");
    // The account's folder was made again by us.
    chown(&inbox, Some(OWNER), Some(OWNER)).expect("chown");
}
