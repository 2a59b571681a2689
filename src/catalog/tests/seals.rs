//! A seal lasts as long as the records that it was made over, and no longer.

use super::*;

const LISTING: Digest = Digest([7; 32]);

fn sealed(catalog: &Catalog, store: StoreId, mailbox: MailboxId) -> bool {
    catalog.seals(store, &dir("example.org/ann")).unwrap().get(&mailbox) == Some(&LISTING)
}

fn with_seal() -> (Home, Catalog, StoreId, MailboxId) {
    let (home, mut catalog, store, mailbox) = three();
    let seen = catalog.changes_by_others().unwrap();
    catalog.seal(mailbox, &LISTING, seen).unwrap();
    assert!(sealed(&catalog, store, mailbox));
    (home, catalog, store, mailbox)
}

#[test]
fn a_look_that_changes_nothing_keeps_it() {
    let (_home, mut catalog, store, mailbox) = with_seal();
    catalog.record_unchanged(&[mailbox], at(200)).unwrap();
    assert!(sealed(&catalog, store, mailbox));
    assert_eq!(catalog.one(mailbox, "a").last_seen, at(200));
    assert_eq!(catalog.one(mailbox, "a").verified, Some(at(100)), "nothing was proven");
    let mut troubles = Vec::new();
    catalog.examine(&mut |trouble| troubles.push(trouble)).unwrap();
    assert_eq!(troubles, [""; 0]);
}

#[test]
fn whatever_changes_a_message_breaks_it() {
    let known = |catalog: &Catalog, mailbox| catalog.one(mailbox, "b");
    let changes: [fn(MessageRow) -> MessageChange; 5] = [
        |row| MessageChange::Seen(MessageRow { name: b"b,S=12:2,".to_vec(), last_seen: at(200), ..row }),
        |row| MessageChange::Seen(MessageRow { verified: Some(at(150)), last_seen: at(200), ..row }),
        |row| MessageChange::Gone { key: row.key, missing: crate::model::Missing::PresumedDeleted },
        |row| MessageChange::Harmed { key: row.key, state: State::Damaged },
        |_| MessageChange::Seen(message("d", "d", at(200))),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let (_home, mut catalog, store, mailbox) = with_seal();
        let change = change(known(&catalog, mailbox));
        catalog.look(store, &MailboxUpdate { verified: None, ..update(at(200)) }, vec![change]).unwrap();
        assert!(!sealed(&catalog, store, mailbox), "change {nth}");
    }
}

#[test]
fn neither_harm_nor_what_somebody_else_wrote_meanwhile_is_sealed() {
    let (home, mut catalog, store, mailbox) = three();
    let before = catalog.changes_by_others().unwrap();
    let mut other = Catalog::open(&home.path).unwrap();
    other.look(store, &update(at(300)), vec![seen("e", "e", at(300))]).unwrap();
    catalog.seal(mailbox, &LISTING, before).unwrap();
    assert!(!sealed(&catalog, store, mailbox), "the rows were read before they were changed");
    let harm = MessageChange::Harmed { key: key("a"), state: State::Damaged };
    catalog.look(store, &MailboxUpdate { verified: None, ..update(at(400)) }, vec![harm]).unwrap();
    let now = catalog.changes_by_others().unwrap();
    assert!(catalog.seal(mailbox, &LISTING, now).is_err());
}

#[test]
fn ages_are_the_same_with_and_without() {
    let (_home, mut catalog, store, mailbox) = three();
    let later = MessageRow { verified: Some(at(150)), last_seen: at(200), ..catalog.one(mailbox, "b") };
    let look = MailboxUpdate { verified: None, ..update(at(200)) };
    catalog.look(store, &look, vec![MessageChange::Seen(later)]).unwrap();
    let ages = |catalog: &Catalog| {
        let mut rows = Vec::new();
        catalog.ages(store, &mut |row| rows.push((row.verified, row.messages, row.bytes))).unwrap();
        rows.sort_unstable();
        rows
    };
    let before = ages(&catalog);
    assert_eq!(before, [(Some(100), 2, 24), (Some(150), 1, 12)]);
    let now = catalog.changes_by_others().unwrap();
    catalog.seal(mailbox, &LISTING, now).unwrap();
    assert_eq!(ages(&catalog), before);
    catalog.conn.execute("UPDATE message SET size = 13 WHERE key = CAST('a' AS BLOB)", []).unwrap();
    let mut troubles = Vec::new();
    catalog.examine(&mut |trouble| troubles.push(trouble)).unwrap();
    assert!(troubles.iter().any(|trouble| trouble.contains("sealed")), "{troubles:?}");
}
