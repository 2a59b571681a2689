//! What mail servers keep beside messages: names, lists, indexes, logs.

use mailmend::model::Stamp;
use mailmend::model::limits::FAULTS_KEPT;
use mailmend::store::dovecot::extras::Files;
use mailmend::store::dovecot::{Faults, index as dindex, keywords as dkeywords, log as dlog};
use mailmend::store::dovecot::{
    mailbox_log as dmailbox_log, state, subscriptions as dsubscriptions, uidlist as duidlist,
};
use mailmend::store::maildir::{companion, mutf7 as names_of_folders, name};
use mailmend::store::mdbox::map::{Index, Map};

fn bounded(faults: &Faults, data: &[u8]) {
    assert!(faults.first.len() <= FAULTS_KEPT && faults.count <= data.len() as u64 + 2);
    assert_eq!(faults.is_empty(), faults.first.is_empty());
}

pub fn uidlist(data: &[u8]) {
    let parsed = duidlist::parse(data);
    bounded(&parsed.faults, data);
    assert!(parsed.list.records.len() <= data.len() / 4);
    assert!(parsed.list.records.is_sorted_by(|a, b| a.uid < b.uid));
    if let Ok(text) = duidlist::write(&parsed.list) {
        let again = duidlist::parse(&text);
        assert!(again.sound() && again.complete());
        assert_eq!(again.list, parsed.list);
    }
}

pub fn keywords(data: &[u8]) {
    let parsed = dkeywords::parse(data);
    bounded(&parsed.faults, data);
    if let Some(text) = dkeywords::write(&parsed.keywords) {
        assert_eq!(dkeywords::parse(&text).keywords, parsed.keywords);
    }
}

pub fn subscriptions(data: &[u8]) {
    let parsed = dsubscriptions::parse(data);
    bounded(&parsed.faults, data);
    if let Some(text) = dsubscriptions::write(&parsed.subscriptions) {
        assert_eq!(dsubscriptions::parse(&text).subscriptions, parsed.subscriptions);
    }
}

pub fn mailbox_log(data: &[u8]) {
    let (records, faults) = dmailbox_log::parse(data);
    bounded(&faults, data);
    assert!(records.len() <= data.len() / 24);
}

pub fn index(data: &[u8]) {
    let parsed = dindex::parse(data);
    assert!(parsed.messages.len() <= data.len() / 5 && parsed.extensions.len() <= data.len() / 16);
    assert!(parsed.messages.is_sorted_by(|a, b| a.uid < b.uid));
    state::replay(Some(&parsed), &[]);
}

/// The bytes as the index and as the log of a map and of a mailbox of mdbox.
pub fn map(data: &[u8]) {
    let log = Files { index: None, logs: vec![data.to_vec()] };
    let index = Files { index: Some(data.to_vec()), logs: vec![data.to_vec()] };
    for files in [log, index] {
        assert!(Map::read(&files).places.len() <= data.len());
        assert!(Index::read(&files).shown.len() <= data.len());
    }
}

/// The bytes as one log, and as an index with the log behind it.
pub fn log(data: &[u8]) {
    let parsed = dlog::parse(data);
    assert!(parsed.events.len() <= data.len() / 8);
    assert!(parsed.end <= data.len() as u64 && parsed.committed <= parsed.end);
    state::replay(None, &[&parsed]);
    let (head, tail) = data.split_at(data.len() / 2);
    state::replay(Some(&dindex::parse(head)), &[&parsed, &dlog::parse(tail)]);
}

pub fn names(data: &[u8]) {
    name::parse(data);
    assert!(data.starts_with(name::base(data)));
    assert_eq!(name::key(data), name::key(name::base(data)), "flags do not change the key");
    let turned = name::with_letters(data, &|letter| letter);
    assert_eq!(name::key(&turned), name::key(data));
    name::delivered(data);
    name::received(data, Stamp::default());
    assert!(!name::is_orphan(data) || data.starts_with(b"#"), "an orphan is what fsck names");
    name::is_odd(data);
    name::goes_by(data);
    companion::in_mailbox(data);
    companion::in_home(data);
    let shown = mailmend::model::path::escape(data);
    if let Some(back) = mailmend::model::path::unescape(&shown) {
        assert_eq!(back, data, "{shown}");
    }
}

pub fn mutf7(data: &[u8]) {
    let decoded = names_of_folders::decode(data);
    let shown = names_of_folders::display(data);
    assert!(decoded.is_none_or(|text| text.len() <= 4 * data.len()), "{shown}");
}
