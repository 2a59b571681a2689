//! Export and import: everything survives the way, and no recorded digest is overwritten on it.

use super::*;

fn exported(catalog: &Catalog) -> Vec<String> {
    let mut lines = Vec::new();
    let keep = &mut |line: &str| {
        lines.push(line.to_owned());
        true
    };
    catalog.export(keep).unwrap();
    lines
}

fn import(catalog: &mut Catalog, lines: &[String]) -> Result<(Imported, Vec<String>)> {
    let mut refused = Vec::new();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let done = catalog.import(&mut text.as_bytes(), &mut |words| refused.push(words))?;
    Ok((done, refused))
}

fn full() -> (Home, Catalog, StoreId, MailboxId) {
    let (home, mut catalog, store, mailbox) = three();
    catalog.set_store_mount(store, true, "ext4").unwrap();
    super::edited::fill(&mut catalog, store);
    let changed = MessageChange::Changed { key: key("a"), digest: Digest::of(b"rot"), length: 3 };
    let gone = MessageChange::Gone { key: key("c"), missing: crate::model::Missing::Lost };
    let odd = MessageChange::Seen(MessageRow { verified: None, ..message("d%\u{fffd}", "d", at(200)) });
    catalog.look(store, &update(at(200)), vec![changed, gone, odd]).unwrap();
    (home, catalog, store, mailbox)
}

#[test]
fn an_empty_catalog_becomes_the_same() {
    let (_one, catalog, _, mailbox) = full();
    let lines = exported(&catalog);
    assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let two = home();
    let mut other = Catalog::open(&two.path).unwrap();
    let (done, refused) = import(&mut other, &lines).unwrap();
    assert!(refused.is_empty() && done.known == 0 && done.refused == 0, "{done:?}");
    assert_eq!(done.added["message"], 4);
    assert_eq!(exported(&other), lines);
    assert_eq!(other.all(mailbox, Which::All), catalog.all(mailbox, Which::All));
    assert_eq!(other.examine(&mut |text| panic!("{text}")).unwrap(), 0);
    let (again, _) = import(&mut other, &lines).unwrap();
    assert!(again.added.is_empty(), "{again:?}");
    assert_eq!(exported(&other), lines, "the same once more changes nothing");
}

#[test]
fn a_recorded_digest_stays_whatever_the_lines_say() {
    let (_one, catalog, ..) = three();
    let lines = exported(&catalog);
    let two = home();
    let mut other = Catalog::open(&two.path).unwrap();
    other.store(b"/elsewhere", at(1)).unwrap();
    let store = other.store(b"/var/vmail", at(1)).unwrap();
    let mine = MessageRow { digest: None, stored: None, canonical: None, ..message("a", "", at(50)) };
    let changes = vec![MessageChange::Seen(mine), seen("b", "mine", at(50))];
    let mailbox = other.look(store, &update(at(50)), changes).unwrap();
    let (done, refused) = import(&mut other, &lines).unwrap();
    assert_eq!((done.refused, done.completed, done.added["message"]), (1, 1, 1), "{done:?}");
    assert!(refused[0].contains("message b is recorded as"), "{refused:?}");
    assert_eq!(other.one(mailbox, "b").digest, Some(Digest::of(b"mine")));
    assert_eq!(other.one(mailbox, "a").digest, Some(Digest::of(b"a")), "where there was none");
    let taken = other.one(mailbox, "c");
    assert_eq!((taken.verified, taken.last_seen), (Some(at(100)), at(100)), "dated by its own mailbox's epochs");
    assert_eq!(other.find_mailbox(store, &dir("example.org/ann/Maildir/.Sent")).unwrap().unwrap().messages, 3);
}

#[test]
fn lines_that_are_cut_or_edited_are_refused_and_nothing_of_them_stays() {
    let (_one, catalog, ..) = full();
    let lines = exported(&catalog);
    let two = home();
    let mut other = Catalog::open(&two.path).unwrap();
    let empty = exported(&other);
    let refuse = |other: &mut Catalog, lines: &[String], expected: &str| {
        let error = import(other, lines).unwrap_err();
        assert!(error.detail.contains(expected), "{expected}: {error}");
        assert_eq!(exported(other), empty, "{expected}");
    };
    refuse(&mut other, &lines[..lines.len() - 1], "cut short");
    refuse(&mut other, &[&lines[..3], &lines[4..]].concat(), "");
    refuse(&mut other, &lines[1..], "no export");
    refuse(&mut other, &[], "cut short");
    let swap = |from: &str, to: &str| -> Vec<String> { lines.iter().map(|line| line.replacen(from, to, 1)).collect() };
    refuse(&mut other, &swap(r#""version":1"#, r#""version":99"#), "newer mailmend");
    refuse(&mut other, &swap(r#""key":"b""#, r#""key":"../../b""#), "key is no key");
    refuse(&mut other, &swap(r#""path":"/var/vmail""#, r#""path":"vmail""#), "not absolute");
    refuse(&mut other, &swap(r#""dir":"example.org/ann""#, r#""dir":"../ann""#), "no path below");
    refuse(&mut other, &swap(r#""key":"b""#, r#""key":"b","colour":"red""#), "has no column 'colour'");
    refuse(&mut other, &swap(r#""state":0"#, r#""state":77"#), "line ");
    refuse(&mut other, &swap(r#""state":0"#, r#""state":"0""#), "state is no value");
    refuse(&mut other, &swap(r#""type":"message","mailbox":1"#, r#""type":"message","mailbox":2"#), "unknown mailbox");
    refuse(&mut other, &swap(r#""type":"history""#, r#""type":"sqlite_schema""#), "unknown type");
    refuse(&mut other, &[&lines[..], &lines[1..2]].concat(), "more after the end");
}

#[test]
fn the_check_file_has_stored_digests_of_what_should_be_there() {
    let (_home, catalog, store, _) = full();
    let mut found = Vec::new();
    catalog.stored_digests(store, &mut |path, digest| found.push((path.to_string(), digest))).unwrap();
    let names: Vec<&str> = found.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names.len(), 4, "damaged and lost ones too: {names:?}");
    assert!(found.iter().all(|(_, digest)| *digest == Digest::of(b"stored")), "{found:?}");
}
