//! Every parser on what disks and enemies make of real files.

use super::*;
use crate::model::limits::FAULTS_KEPT;
use proptest::collection::vec;
use proptest::prelude::*;

const UIDLIST: &[u8] = include_bytes!("../../../testdata/dovecot/uidlist");
const KEYWORDS: &[u8] = include_bytes!("../../../testdata/dovecot/keywords");
const INDEX: &[u8] = include_bytes!("../../../testdata/dovecot/index");
const LOG: &[u8] = include_bytes!("../../../testdata/dovecot/index.log");
const REPLICA: &[u8] = include_bytes!("../../../testdata/dovecot/replica.index.log");
const MAILBOX_LOG: &[u8] = include_bytes!("../../../testdata/dovecot/mailbox.log");
const SUBSCRIPTIONS: &[u8] = include_bytes!("../../../testdata/dovecot/subscriptions");

/// All parsers on the same bytes; nothing that they give is larger than the bytes allow.
fn look(data: &[u8]) {
    let bounded = |faults: &Faults| {
        assert!(faults.first.len() <= FAULTS_KEPT && faults.count <= data.len() as u64 + 2);
        assert_eq!(faults.is_empty(), faults.first.is_empty());
    };
    let uidlist = uidlist::parse(data);
    bounded(&uidlist.faults);
    assert!(uidlist.list.records.len() <= data.len() / 4);
    let names: usize = uidlist.list.records.iter().map(|record| record.name.len()).sum();
    assert!(names <= data.len());
    assert!(uidlist.list.records.is_sorted_by(|a, b| a.uid < b.uid));
    if let Ok(text) = uidlist::write(&uidlist.list) {
        let again = uidlist::parse(&text);
        assert!(again.sound() && again.complete(), "{again:?}");
        assert_eq!(again.list, uidlist.list);
    }
    let keywords = keywords::parse(data);
    bounded(&keywords.faults);
    if let Some(text) = keywords::write(&keywords.keywords) {
        assert_eq!(keywords::parse(&text).keywords, keywords.keywords);
    }
    let subscriptions = subscriptions::parse(data);
    bounded(&subscriptions.faults);
    if let Some(text) = subscriptions::write(&subscriptions.subscriptions) {
        assert_eq!(subscriptions::parse(&text).subscriptions, subscriptions.subscriptions);
    }
    let (records, faults) = mailbox_log::parse(data);
    bounded(&faults);
    assert!(records.len() <= data.len() / 24);
    binary(data);
}

fn binary(data: &[u8]) {
    let index = index::parse(data);
    let log = log::parse(data);
    assert!(index.messages.len() <= data.len() / 5 && index.extensions.len() <= data.len() / 16);
    assert!(index.messages.is_sorted_by(|a, b| a.uid < b.uid));
    assert!(index.keywords.iter().map(Vec::len).sum::<usize>() <= data.len());
    let parts: usize = index.extensions.iter().map(|extension| extension.data.len()).sum();
    assert!(parts <= data.len());
    assert!(log.events.len() <= data.len() / 8 && log.end <= data.len() as u64 && log.committed <= log.end);
    let (good_index, good_log) = (index::parse(INDEX), log::parse(LOG));
    for state in [
        state::replay(Some(&index), &[&log]),
        state::replay(Some(&good_index), &[&log]),
        state::replay(Some(&index), &[&good_log]),
        state::replay(None, &[&log]),
    ] {
        assert!(state.messages.len() <= data.len() / 5 + LOG.len() + INDEX.len());
        assert!(state.messages.values().all(|message| message.keywords.len() <= 128 + data.len()));
    }
    for uid in 0..12 {
        fate(&[&log], uid, None, None);
        fate(&[&log, &good_log], uid, Some([7; 16]), None);
    }
}

/// What is done to a file: flipped bits, a zeroed range, a range of garbage, an end that is missing.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Garble(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (place(), 1usize..4096).prop_map(|(at, length)| Damage::Zero(at, length)),
        (place(), vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Damage::Garble(at, bytes)),
        place().prop_map(Damage::Cut),
    ]
}

fn damaged(real: &[u8], all: &[Damage]) -> Vec<u8> {
    let mut data = real.to_vec();
    for damage in all.iter().filter(|_| !real.is_empty()) {
        if data.is_empty() {
            break;
        }
        match damage {
            Damage::Flip(at, bit) => {
                let at = at.index(data.len());
                data[at] ^= 1 << bit;
            }
            Damage::Zero(at, length) => data.iter_mut().skip(at.index(real.len())).take(*length).for_each(|b| *b = 0),
            Damage::Garble(at, bytes) => {
                let from = at.index(data.len());
                data.iter_mut().skip(from).zip(bytes).for_each(|(old, new)| *old = *new);
            }
            Damage::Cut(at) => data.truncate(at.index(data.len())),
        }
    }
    data
}

/// A list of UIDs as Dovecot could have written it.
fn sound_list() -> impl Strategy<Value = uidlist::Uidlist> {
    let word = || vec(prop_oneof![33u8..47, 48u8..127, 128u8..=255], 0..9);
    let field = (b'A'..=b'Z', word());
    let record = (1u32..50, vec(field, 0..3), word().prop_filter("a name", |name| !name.is_empty()));
    let head = (1u32.., any::<Option<[u8; 16]>>(), vec((prop_oneof![Just(b'P'), Just(b'x')], word()), 0..2));
    (head, vec(record, 0..30)).prop_map(|((uidvalidity, guid, extra), steps)| {
        let mut uid = 0;
        let records = steps.into_iter().map(|(step, fields, name)| {
            uid += step;
            uidlist::Record { uid, fields, name }
        });
        let records: Vec<_> = records.collect();
        let mailbox_guid = guid.filter(|guid| *guid != NO_GUID);
        uidlist::Uidlist { version: 3, uidvalidity, head_next_uid: uid + 1, mailbox_guid, extra, records }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_are_too_bad(data in vec(any::<u8>(), 0..600)) {
        look(&data);
    }

    #[test]
    fn no_damage_is_too_bad(which in 0usize..7, all in vec(damage(), 1..5)) {
        let real = [UIDLIST, KEYWORDS, INDEX, LOG, REPLICA, MAILBOX_LOG, SUBSCRIPTIONS][which];
        look(&damaged(real, &all));
    }

    #[test]
    fn lists_come_back(list in sound_list()) {
        let text = uidlist::write(&list).unwrap();
        let read = uidlist::parse(&text);
        prop_assert!(read.sound() && read.complete(), "{read:?}");
        prop_assert_eq!(read.list, list);
    }

    /// One damage never costs a list more than the lines that it touches, and makes up no message.
    #[test]
    fn a_damaged_list_keeps_its_other_lines(list in sound_list(), at in any::<prop::sample::Index>(), length in 1usize..60) {
        let text = uidlist::write(&list).unwrap();
        let from = at.index(text.len());
        let end = text.len().min(from + length);
        let mut bad = text.clone();
        bad[from..end].fill(0);
        let touched = text[from..end].iter().filter(|byte| **byte == b'\n').count() + 1;
        let read = uidlist::parse(&bad).list;
        prop_assert!(read.records.iter().all(|record| list.records.contains(record)));
        prop_assert!(read.records.len() + touched >= list.records.len(), "{} of {}", read.records.len(), list.records.len());
    }

    /// A damaged log never turns what a user deleted into a loss.
    #[test]
    fn no_hole_turns_a_deletion_into_a_loss(at in 40usize..3376, length in 1usize..4096) {
        let mut data = LOG.to_vec();
        data.iter_mut().skip(at).take(length).for_each(|byte| *byte = 0);
        let log = log::parse(&data);
        for uid in [4, 5, 8] {
            prop_assert_ne!(fate(&[&log], uid, None, None), Some(Fate::NoticedLoss), "UID {}", uid);
        }
    }
}

#[test]
fn an_enemy_cannot_keep_the_replay_busy() {
    // As many messages as fit, and as many changes of all of them.
    let mut data = LOG[..40].to_vec();
    let record = |kind: u32, payload: &[u8]| {
        let words = (payload.len() + 8) / 4;
        let size: Vec<u8> = (0..4).rev().map(|part| 0x80 | (words >> (7 * part) & 0x7f) as u8).collect();
        [&size[..], &kind.to_le_bytes(), payload].concat()
    };
    let appended: Vec<u8> = (1..=60_000u32).flat_map(|uid| u64::from(uid).to_le_bytes()).collect();
    data.extend(record(2, &appended));
    let all: Vec<u8> = [1, u32::MAX, 0x0000_0108].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    for _ in 0..20_000 {
        data.extend(record(4, &all));
    }
    let log = log::parse(&data);
    assert!(log.faults.is_empty() && log.events.len() == 20_001);
    let state = state::replay(None, &[&log]);
    assert!(!state.complete && state.messages.len() == 60_000);
}
