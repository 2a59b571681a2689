use super::*;
use crate::model::Missing;
use std::fs;

fn changed(name: &str, content: &str) -> MessageChange {
    MessageChange::Changed { key: key(name), digest: Digest::of(content.as_bytes()), length: 1 }
}

#[test]
fn a_digest_is_never_overwritten() {
    let (_home, mut catalog, store, mailbox) = three();
    let before = catalog.all(mailbox, Which::All);
    // The first change alone would be fine: nothing of a refused update may remain.
    let changes = vec![seen("a", "a", at(200)), seen("b", "rotten", at(200))];
    let error = catalog.look(store, &update(at(200)), changes).unwrap_err();
    let Kind::DigestConflict(conflict) = &error.kind else { panic!("{error}") };
    assert_eq!((conflict.recorded, conflict.found), (Digest::of(b"b"), Digest::of(b"rotten")));
    assert_eq!(catalog.all(mailbox, Which::All), before);

    let replaced = MessageChange::Replaced { row: message("b", "rotten", at(200)), why: "?".into() };
    let error = catalog.look(store, &update(at(200)), vec![replaced]).unwrap_err();
    assert!(matches!(error.kind, Kind::DigestConflict(_)), "{error}");

    catalog.look(store, &update(at(300)), vec![changed("b", "rotten")]).unwrap();
    let row = catalog.one(mailbox, "b");
    assert_eq!((row.digest, row.state, row.length), (Some(Digest::of(b"b")), State::Damaged, 1));
    let history = catalog.history(mailbox, &key("b")).unwrap();
    assert_eq!((history[0].digest, history[0].replaced), (Digest::of(b"rotten"), false));
    assert_eq!(catalog.by_digest(store, &dir("example.org/ann"), &Digest::of(b"rotten")).unwrap(), []);
}

#[test]
fn no_state_and_no_order_of_changes_loses_a_digest() {
    let (_home, mut catalog, store, mailbox) = three();
    let mut unread = message("b", "b", at(2));
    unread.digest = None;
    let mut broken = message("b", "broken", at(2));
    (broken.state, broken.digest) = (State::Damaged, None);
    let changes = [
        MessageChange::Harmed { key: key("b"), state: State::Unreadable },
        MessageChange::Seen(unread),
        MessageChange::Gone { key: key("b"), missing: Missing::Deleted },
        changed("b", "x"),
        MessageChange::Seen(broken),
        MessageChange::Gone { key: key("b"), missing: Missing::Lost },
        changed("b", "y"),
    ];
    for (step, change) in changes.into_iter().enumerate() {
        catalog.look(store, &update(at(200 + step as i64)), vec![change]).unwrap();
        let row = catalog.one(mailbox, "b");
        assert_eq!((row.digest, row.length, row.size), (Some(Digest::of(b"b")), 1, 12), "step {step}");
        assert_eq!(row.attrs, message("b", "b", at(1)).attrs);
        assert!(catalog.look(store, &update(at(300)), vec![seen("b", "z", at(300))]).is_err());
    }
    assert_eq!(catalog.history(mailbox, &key("b")).unwrap().len(), 2);
    catalog.forget_deleted(store, at(i64::MAX)).unwrap();
    assert_eq!(catalog.all(mailbox, Which::All).len(), 3, "what is harmed is not forgotten");
}

#[test]
fn a_suspect_digest_can_be_replaced_and_stays_in_the_history() {
    let (_home, mut catalog, store, mailbox) = three();
    let mut row = message("d", "doubtful", at(200));
    row.suspect = true;
    catalog.look(store, &update(at(200)), vec![MessageChange::Seen(row)]).unwrap();
    let replaced = MessageChange::Replaced { row: message("d", "whole", at(300)), why: "restored".into() };
    catalog.look(store, &update(at(300)), vec![replaced]).unwrap();
    let row = catalog.one(mailbox, "d");
    assert_eq!((row.digest, row.suspect, row.first_seen), (Some(Digest::of(b"whole")), false, at(200)));
    let history = catalog.history(mailbox, &key("d")).unwrap();
    assert_eq!((history[0].digest, history[0].why.as_str()), (Digest::of(b"doubtful"), "restored"));
    assert!(history[0].replaced);
}

#[test]
fn a_first_digest_and_a_re_encoding_are_taken_over() {
    let (_home, mut catalog, store, mailbox) = three();
    let mut broken = message("d", "", at(200));
    (broken.digest, broken.state) = (None, State::Unreadable);
    catalog.look(store, &update(at(200)), vec![MessageChange::Seen(broken)]).unwrap();
    let mut again = message("a", "a", at(300));
    (again.stored, again.encoding, again.size) = (None, Encoding::Plain, 1);
    let changes = vec![MessageChange::Seen(again.clone()), seen("d", "whole", at(300))];
    catalog.look(store, &update(at(300)), changes).unwrap();
    assert_eq!(catalog.one(mailbox, "d").digest, Some(Digest::of(b"whole")));
    assert_eq!(catalog.one(mailbox, "a"), MessageRow { first_seen: at(100), ..again });
}

#[test]
fn only_a_complete_listing_makes_missing() {
    let (_home, mut catalog, store, mailbox) = three();
    let gone = MessageChange::Gone { key: key("a"), missing: Missing::Lost };
    let partial = MailboxUpdate { complete: false, dir_times: None, ..update(at(200)) };
    assert_eq!(catalog.look(store, &partial, vec![gone.clone()]).unwrap_err().kind, Kind::Misuse);
    catalog.look(store, &update(at(200)), vec![gone]).unwrap();
    let row = catalog.one(mailbox, "a");
    assert_eq!((row.state, row.last_seen), (State::Missing(Missing::Lost), at(100)));
    let gone = MessageChange::Gone { key: key("b"), missing: Missing::Deleted };
    catalog.look(store, &update(at(300)), vec![gone]).unwrap();
    assert_eq!(catalog.all(mailbox, Which::Open).len(), 2);
    assert_eq!(catalog.all(mailbox, Which::All).len(), 3);
    assert_eq!(catalog.find_mailbox(store, &partial.dir).unwrap().unwrap().messages, 1);
    assert_eq!(catalog.one(mailbox, "a").last_seen, at(100), "later listings do not see what is missing");
    assert_eq!(catalog.one(mailbox, "c").last_seen, at(300));
    assert_eq!(catalog.forget_deleted(store, at(200)).unwrap(), 0, "seen at 200");
    assert_eq!(catalog.forget_deleted(store, at(201)).unwrap(), 1);
}

#[test]
fn an_epoch_holds_only_for_messages_that_were_named() {
    let (_home, mut catalog, store, mailbox) = three();
    let mut unread = message("c", "c", at(200));
    (unread.digest, unread.verified) = (None, None);
    let changes = vec![seen("b", "b", at(200)), MessageChange::Seen(unread)];
    catalog.look(store, &update(at(200)), changes).unwrap();
    let verified = |catalog: &Catalog| catalog.all(mailbox, Which::All).iter().map(|m| m.verified).collect::<Vec<_>>();
    assert_eq!(verified(&catalog), [Some(at(100)), Some(at(200)), Some(at(100))]);
    let coverage = catalog.coverage(store).unwrap().pop().unwrap();
    assert_eq!((coverage.messages, coverage.never), (3, 0));
    assert_eq!((coverage.oldest, coverage.newest), (Some(at(100)), Some(at(200))));

    let quiet = MailboxUpdate { verified: None, ..update(at(300)) };
    let mut new = message("d", "d", at(300));
    new.verified = None;
    catalog.look(store, &quiet, vec![MessageChange::Seen(new)]).unwrap();
    assert_eq!(verified(&catalog), [Some(at(100)), Some(at(200)), Some(at(100)), None]);
    assert_eq!(catalog.coverage(store).unwrap()[0].never, 1);

    let all = ["a", "b", "c", "d"].map(|name| seen(name, name, at(400)));
    catalog.look(store, &update(at(400)), all.into()).unwrap();
    let own: i64 =
        catalog.conn.query_row("SELECT count(*) FROM message WHERE verified IS NOT NULL", [], |r| r.get(0)).unwrap();
    assert_eq!(own, 0, "rows for exceptions only");
    assert_eq!(verified(&catalog), [Some(at(400)); 4]);
}

#[test]
fn never_verified_stays_never_when_the_epoch_moves_on() {
    let home = home();
    let mut catalog = Catalog::open(&home.path).unwrap();
    let store = catalog.store(b"/s", at(1)).unwrap();
    let mut row = message("a", "a", at(5));
    row.verified = None;
    let quiet = MailboxUpdate { verified: None, ..update(at(5)) };
    let mailbox = catalog.look(store, &quiet, vec![MessageChange::Seen(row)]).unwrap();
    assert_eq!(catalog.accounts(store).unwrap()[0].last_verified, None);
    catalog.look(store, &update(at(6)), vec![seen("b", "b", at(6))]).unwrap();
    assert_eq!(catalog.one(mailbox, "a").verified, None);
    let coverage = catalog.coverage(store).unwrap().pop().unwrap();
    assert_eq!((coverage.never, coverage.oldest, coverage.newest), (1, Some(at(6)), Some(at(6))));
}

#[test]
fn misuse_is_refused_and_leaves_nothing() {
    let (_home, mut catalog, store, mailbox) = three();
    let before = catalog.all(mailbox, Which::All);
    let mut place = message("d", "d", at(2));
    place.place = Place::Tmp;
    let mut name = message("d", "d", at(2));
    name.name = b"../../etc/passwd".to_vec();
    let mut slash = message("d", "d", at(2));
    slash.key = key("a/b");
    let mut huge = message("d", "d", at(2));
    huge.size = u64::MAX;
    for bad in [place, name, slash, huge] {
        let changes = vec![seen("b", "b", at(200)), MessageChange::Seen(bad)];
        assert_eq!(catalog.look(store, &update(at(200)), changes).unwrap_err().kind, Kind::Misuse);
    }
    let unordered = vec![seen("b", "b", at(200)), seen("b", "b", at(200))];
    assert_eq!(catalog.look(store, &update(at(200)), unordered).unwrap_err().kind, Kind::Misuse);
    let harm = MessageChange::Harmed { key: key("a"), state: State::Missing(Missing::Lost) };
    assert_eq!(catalog.look(store, &update(at(200)), vec![harm]).unwrap_err().kind, Kind::Misuse);
    assert_eq!(catalog.look(StoreId(77), &update(at(200)), vec![]).unwrap_err().kind, Kind::Misuse);
    assert_eq!(catalog.look(store, &update(at(200)), vec![changed("zz", "x")]).unwrap_err().kind, Kind::Misuse);
    assert_eq!(catalog.all(mailbox, Which::All), before);
}

#[test]
fn one_writes_while_another_reads() {
    let (home, mut writer, store, mailbox) = three();
    let reader = Catalog::open_existing_read_only(&home.path).unwrap().unwrap();
    let mut rows = 0;
    reader
        .messages(mailbox, Which::All, &mut |row| {
            rows += 1;
            // Seen by nobody who already began to read.
            let name = format!("m{rows}");
            writer.look(store, &update(at(200)), vec![seen(&name, &name, at(200))]).unwrap();
            assert_eq!(row.unwrap().verified, Some(at(100)));
        })
        .unwrap();
    assert_eq!(rows, 3);
    assert_eq!(reader.all(mailbox, Which::All).len(), 6);
    let mut reader = reader;
    assert_eq!(reader.store(b"/other", at(1)).unwrap_err().kind, Kind::ReadOnly);

    let mut second = Catalog::open(&home.path).unwrap();
    second.conn.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
    writer.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(second.store(b"/other", at(1)).unwrap_err().kind, Kind::Busy);
    writer.conn.execute_batch("ROLLBACK").unwrap();
    second.store(b"/other", at(1)).unwrap();
    drop(reader);
    second.sync().unwrap();
    assert_eq!(fs::symlink_metadata(open::wal_path(&home.path)).unwrap().len(), 0, "the log is merged");
    drop((writer, second));
    assert!(fs::symlink_metadata(open::wal_path(&home.path)).is_err(), "and removed by the last writer");
}
