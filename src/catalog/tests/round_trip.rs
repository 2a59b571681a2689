use super::*;
use crate::model::event::Subject;
use crate::model::tally::Tally;
use crate::model::{Assurance, Missing, Verdict};

#[test]
fn stores_accounts_and_mailboxes() {
    let (_home, mut catalog, store, mailbox) = three();
    assert_eq!(catalog.store(b"/var/vmail", at(9)).unwrap(), store);
    assert_eq!(catalog.find_store(b"/other").unwrap(), None);
    assert_eq!(catalog.store(b"relative", at(9)).unwrap_err().kind, Kind::Misuse);
    catalog.set_store_mount(store, true, "ext4").unwrap();
    let row = StoreRow {
        id: store,
        path: b"/var/vmail".to_vec(),
        added: at(1),
        mount_point: Some(true),
        fs_type: Some("ext4".into()),
    };
    assert_eq!(catalog.stores().unwrap(), [row]);
    let account = AccountRow {
        dir: dir("example.org/ann"),
        name: "ann@example.org".into(),
        mailboxes: 1,
        messages: 3,
        last_verified: Some(at(100)),
        last_listed: Some(at(100)),
    };
    assert_eq!(catalog.accounts(store).unwrap(), [account]);
    let given = update(at(100));
    let row = MailboxRow {
        id: mailbox,
        account: given.account.clone(),
        dir: given.dir.clone(),
        folder: given.folder,
        dir_times: given.dir_times,
        listed: Some(at(100)),
        verified: Some(at(100)),
        messages: 3,
        gone: false,
        marker: true,
    };
    assert_eq!(catalog.find_mailbox(store, &given.dir).unwrap().as_ref(), Some(&row));
    assert_eq!(catalog.mailboxes(store, &given.account).unwrap(), [row]);
    assert_eq!(catalog.mailboxes(store, &dir("nobody")).unwrap(), []);
}

#[test]
fn messages_come_back_as_they_went_in() {
    let (_home, mut catalog, store, mailbox) = three();
    let expected: Vec<_> = ["a", "b", "c"].map(|name| message(name, name, at(100))).into();
    assert_eq!(catalog.all(mailbox, Which::Open), expected);
    let mut bare = message("", "x", at(50));
    bare.name = b",x".to_vec();
    (bare.digest, bare.stored, bare.canonical, bare.envelope, bare.verified) = (None, None, None, None, None);
    bare.attrs.xattrs.clear();
    bare.place = Place::New;
    bare.suspect = true;
    bare.state = State::Unreadable;
    for encoding in [
        Encoding::Plain,
        Encoding::Gzip,
        Encoding::Bzip2,
        Encoding::Xz,
        Encoding::Lz4,
        Encoding::Crypted,
        Encoding::Sdbox,
    ] {
        bare.encoding = encoding;
        let mut other = update(at(60));
        other.dir = dir(&format!("m-{encoding:?}"));
        let id = catalog.look(store, &other, vec![MessageChange::Seen(bare.clone())]).unwrap();
        assert_eq!(catalog.all(id, Which::All), [bare.clone()]);
    }
    assert_eq!(
        catalog.by_digest(store, &dir("example.org/ann"), &Digest::of(b"b")).unwrap(),
        [(mailbox, key("b"))],
        "by content, present ones only"
    );
    assert_eq!(catalog.by_digest(store, &dir("example.org/bob"), &Digest::of(b"b")).unwrap(), []);
}

#[test]
fn companions() {
    let (_home, mut catalog, store, _) = three();
    let account = dir("example.org/ann");
    let mut row = CompanionRow {
        path: dir("example.org/ann/Maildir/subscriptions"),
        digest: Digest::of(b"s"),
        size: 9,
        attrs: message("a", "a", at(1)).attrs,
        seen: at(7),
        gone: false,
    };
    catalog.record_companions(store, &account, "ann", &mut [row.clone()].into_iter()).unwrap();
    assert_eq!(catalog.companions(store, &account).unwrap(), [row.clone()]);
    (row.digest, row.gone) = (Digest::of(b"t"), true);
    catalog.record_companions(store, &account, "ann", &mut [row.clone()].into_iter()).unwrap();
    assert_eq!(catalog.companions(store, &account).unwrap(), [row]);
}

fn finding(name: Option<&str>, verdict: Verdict) -> FindingRow {
    FindingRow {
        subject: if name.is_some() { Subject::Message } else { Subject::Folder },
        account: "ann@example.org".into(),
        mailbox: "Sent".into(),
        mailbox_dir: update(at(0)).dir,
        key: name.map(key),
        verdict,
        digest: name.map(|name| Digest::of(name.as_bytes())),
        open: true,
        json: "{\"verdict\":1}".into(),
    }
}

fn found(catalog: &Catalog, run: RunId) -> Vec<FindingRow> {
    let mut rows = Vec::new();
    catalog.findings(run, &mut |row| rows.push(row.unwrap())).unwrap();
    rows
}

#[test]
fn runs_and_findings() {
    let (_home, mut catalog, store, _) = three();
    let run = catalog.begin_run("R1", "verify", Some(store), at(10)).unwrap();
    assert_eq!(catalog.begin_run("R1", "verify", Some(store), at(11)).unwrap(), run, "resumed");
    assert_eq!(catalog.latest_run(store).unwrap(), None, "not ended");
    let rows = [
        finding(Some("a"), Verdict::Damaged),
        finding(Some("b"), Verdict::Missing(Missing::PresumedDeleted)),
        finding(None, Verdict::Missing(Missing::Lost)),
        finding(Some("c"), Verdict::Intact(Assurance::Authenticated)),
    ];
    catalog.record_findings(run, &rows[..1]).unwrap();
    catalog.record_findings(run, &rows[1..]).unwrap();
    assert_eq!(found(&catalog, run), rows);
    let tally = Tally { damaged: 1, ..Tally::default() };
    catalog.end_run(run, &tally, 4, at(20)).unwrap();
    let row = RunRow {
        id: run,
        run: "R1".into(),
        store: Some(store),
        command: "verify".into(),
        began: at(10),
        ended: Some(at(20)),
        exit: Some(4),
        tally: Some(tally),
    };
    let other = catalog.begin_run("R2", "drill", None, at(30)).unwrap();
    assert_eq!(catalog.find_run("R1").unwrap(), std::slice::from_ref(&row));
    assert_eq!(catalog.latest_run(store).unwrap(), Some(row.clone()));
    assert_eq!(catalog.runs(Some(store), 5).unwrap(), [row]);
    assert_eq!(catalog.runs(None, 1).unwrap()[0].id, other);
    assert_eq!(catalog.record_findings(RunId(99), &rows).unwrap_err().kind, Kind::Misuse);
    catalog.prune_findings(store, 1).unwrap();
    assert_eq!(found(&catalog, run).len(), 4);
    catalog.prune_findings(store, 0).unwrap();
    assert_eq!(found(&catalog, run), []);
}

#[test]
fn acceptance_holds_until_the_message_is_whole_or_worse() {
    let (_home, mut catalog, store, mailbox) = three();
    let sent = update(at(0)).dir;
    let run = catalog.begin_run("R1", "verify", Some(store), at(10)).unwrap();
    let harm = ["a", "b"].map(|name| MessageChange::Harmed { key: key(name), state: State::Damaged });
    catalog.look(store, &update(at(200)), harm.to_vec()).unwrap();
    let findings = [
        finding(Some("a"), Verdict::Damaged),
        finding(Some("b"), Verdict::Damaged),
        finding(Some("c"), Verdict::Damaged),
        finding(None, Verdict::Missing(Missing::Lost)),
        finding(Some("x"), Verdict::Missing(Missing::Deleted)),
    ];
    catalog.record_findings(run, &findings).unwrap();
    assert_eq!(catalog.accept_run("nope", by(300)).unwrap(), 0);
    assert_eq!(catalog.accept_key(store, &key("a"), by(300)).unwrap(), 1);
    assert_eq!(catalog.accept_account(store, "ann@example.org", by(301)).unwrap(), 2, "b and the folder; c is whole");
    assert_eq!(catalog.accept_run("R1", by(302)).unwrap(), 0, "all of it was accepted before");
    let counts = catalog.harm_counts(store).unwrap();
    assert_eq!(counts, HarmCounts { accepted: 2, ..HarmCounts::default() });
    let folder = catalog.is_accepted(store, Subject::Folder, &sent, None).unwrap().unwrap();
    assert_eq!((folder.key, folder.who.as_str(), folder.at), (None, "root", at(301)));

    let gone = MessageChange::Gone { key: key("b"), missing: Missing::Lost };
    let changes = vec![seen("a", "a", at(400)), gone];
    catalog.look(store, &update(at(400)), changes).unwrap();
    assert!(!catalog.one(mailbox, "a").accepted && !catalog.one(mailbox, "b").accepted);
    assert_eq!(catalog.is_accepted(store, Subject::Message, &sent, Some(&key("a"))).unwrap(), None);
    assert_eq!(catalog.harm_counts(store).unwrap(), HarmCounts { lost: 1, ..HarmCounts::default() });
    let mut all = Vec::new();
    catalog.accepted(store, &mut |row| all.push(row.unwrap())).unwrap();
    assert_eq!(all.iter().filter(|row| row.ended == Some(at(400))).count(), 2, "ended, but still on record");
    let mut harmed = Vec::new();
    catalog.harmed(store, &mut |row| harmed.push(row.unwrap())).unwrap();
    assert_eq!(harmed.iter().map(|row| &row.key).collect::<Vec<_>>(), [&key("b")]);
}
