//! What Dovecot's indexes say of an mdbox: the map, of where each message of an account lies, and the index of a mailbox,
//! of which of them it shows.
//!
//! Pure, over any bytes. Nothing here is believed further than a frame in the storage bears it out.

use crate::model::container::{Chart, Mapped};
use crate::store::dovecot::extras::{self, Files, GUIDS, NUMBERS, Value};
use crate::store::dovecot::index::DOUBTED;
use crate::store::dovecot::{Guid, log};
use std::collections::BTreeMap;

/// Bit in the flags of a message that lies in the alternative storage (`ALT=`).
const ELSEWHERE: u8 = 0x40;

/// What the map keeps of each message: its place, and how many mailboxes show it.
pub const PLACES: &[u8] = b"map";
pub const REFS: &[u8] = b"ref";

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The N of `m.N`.
    pub file: u32,
    pub offset: u32,
    /// From its header to the empty line behind its trailer.
    pub size: u32,
}

/// The map.
#[derive(Debug, Default)]
pub struct Map {
    /// By number, with how many mailboxes show the message; none where its owner deleted it.
    pub places: BTreeMap<u32, (Place, u16)>,
    /// Nothing of it is missing or garbled.
    pub complete: bool,
    /// There is one.
    pub exists: bool,
    /// All but its places.
    head: Chart,
}

impl Map {
    /// All that it says.
    pub fn chart(&self) -> Chart {
        let mapped = |(&number, (place, shown)): (&u32, &(Place, u16))| {
            let Place { file, offset, size } = *place;
            Mapped { number, file, offset, size, shown: *shown }
        };
        Chart { places: self.places.iter().map(mapped).collect(), ..self.head.clone() }
    }

    pub fn read(files: &Files) -> Map {
        let exists = files.index.is_some() || !files.logs.is_empty();
        let read = extras::read(files, &[PLACES, REFS]);
        let [map, refs] = &read.values[..] else { return Map::default() };
        let place = |uid: &u32| {
            let value = map.get(uid)?;
            let place = Place { file: word(value, 0), offset: word(value, 4), size: word(value, 8) };
            let refs = refs.get(uid).map_or(0, |value| u16::from_le_bytes([value[0], value[1]]));
            (place.file != 0).then_some((*uid, (place, refs)))
        };
        let places = read.state.messages.keys().filter_map(place).collect();
        let newest = files.logs.last().and_then(|data| log::parse(data).header);
        let head = Chart {
            uid_validity: read.state.uid_validity,
            next: read.state.next_uid,
            last_file: read.heads[0].first_chunk().copied().map_or(0, u32::from_le_bytes),
            indexid: newest.as_ref().map_or(0, |header| header.indexid),
            log_seq: newest.map_or(0, |header| header.file_seq),
            modseq: read.state.highest_modseq,
            doubted: read.flags & DOUBTED != 0,
            places: Vec::new(),
        };
        Map { places, complete: exists && read.state.complete, exists, head }
    }
}

/// A message that a mailbox shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub uid: u32,
    /// Its number in the map.
    pub number: Option<u32>,
    pub guid: Option<Guid>,
    /// It was moved to the alternative storage.
    pub elsewhere: bool,
}

/// The index of a mailbox.
#[derive(Debug, Default)]
pub struct Index {
    pub shown: Vec<Shown>,
    pub validity: u32,
    pub complete: bool,
    pub exists: bool,
}

impl Index {
    pub fn read(files: &Files) -> Index {
        let exists = files.index.is_some() || !files.logs.is_empty();
        let read = extras::read(files, &[NUMBERS, GUIDS]);
        let [numbers, guids] = &read.values[..] else { return Index::default() };
        let shown = read.state.messages.iter().map(|(&uid, message)| Shown {
            uid,
            number: numbers.get(&uid).map(|value| word(value, 0)).filter(|&number| number != 0),
            guid: guids.get(&uid).copied().filter(|guid| *guid != [0; 16]),
            elsewhere: message.flags & ELSEWHERE != 0,
        });
        let complete = exists && read.state.complete;
        Index { shown: shown.collect(), validity: read.state.uid_validity, complete, exists }
    }
}

fn word(value: &Value, at: usize) -> u32 {
    value[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAP: &[u8] = include_bytes!("../../../testdata/mdbox/map.log");
    const INBOX: &[u8] = include_bytes!("../../../testdata/mdbox/inbox.log");
    const COPIED: [&[u8]; 2] =
        [include_bytes!("../../../testdata/mdbox/copied.index"), include_bytes!("../../../testdata/mdbox/copied.log")];

    fn log(data: &[u8]) -> Files {
        Files { index: None, logs: vec![data.to_vec()] }
    }

    /// By `doveadm dump`.
    #[test]
    fn a_real_map_is_read_as_dovecot_dumps_it() {
        let map = Map::read(&log(MAP));
        assert!(map.complete && map.exists);
        let refs: Vec<u16> = map.places.values().map(|(_, refs)| *refs).collect();
        assert_eq!(refs, [1, 2, 0, 1, 1, 1, 1, 1]);
        assert_eq!(map.places[&4].0, Place { file: 1, offset: 1987, size: 657 });
        assert_eq!(map.places[&7].0, Place { file: 2, offset: 16, size: 657 });
    }

    #[test]
    fn an_index_and_the_rest_of_its_log_are_told_once() {
        let [index, rest] = COPIED;
        let map = Map::read(&Files { index: Some(index.to_vec()), logs: vec![rest.to_vec()] });
        let refs: Vec<u16> = map.places.values().map(|(_, refs)| *refs).collect();
        assert_eq!((&refs[..], map.complete), (&[67, 38, 0][..], true));
        assert_eq!(Map::read(&log(rest)).places, map.places);
        let alone = Map::read(&Files { index: Some(index.to_vec()), logs: Vec::new() });
        assert_eq!(alone.places.len(), 3);
        assert_ne!(alone.places, map.places, "the log goes on");
    }

    #[test]
    fn a_real_index_shows_what_was_not_expunged() {
        let index = Index::read(&log(INBOX));
        assert!(index.complete && index.validity != 0);
        let shown: Vec<_> = index.shown.iter().map(|shown| (shown.uid, shown.number)).collect();
        assert_eq!(shown, [1, 2, 5, 6, 7, 8].map(|uid| (uid, Some(uid))));
        assert!(index.shown.iter().all(|shown| shown.guid.is_some() && !shown.elsewhere));
    }

    #[test]
    fn what_is_not_there_is_not_complete() {
        let nothing = Map::read(&Files::default());
        assert!(!nothing.exists && !nothing.complete && nothing.places.is_empty());
        let cut = Map::read(&log(&MAP[..MAP.len() - 3]));
        assert!(!cut.complete && cut.places.len() == 8);
        let garbled = Map::read(&Files { index: Some(vec![0; 500]), logs: vec![MAP.to_vec()] });
        assert!(!garbled.complete, "an index that cannot be read may have known more");
    }

    proptest! {
        #[test]
        fn harm_anywhere_has_an_answer(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            for data in [MAP, INBOX] {
                let mut data = data.to_vec();
                let at = at.index(data.len());
                data[at] = byte;
                if cut {
                    data.truncate(at);
                }
                Map::read(&log(&data));
                let index = Index::read(&log(&data));
                prop_assert!(index.shown.len() <= data.len());
            }
        }
    }
}
