//! A log with which a server begins the map of a storage anew, where the map is gone or has to tell of more than it did.
//!
//! The server takes a log that follows none for the whole map, whatever lies beside it. Pure.

use super::map::{PLACES, REFS};
use crate::model::container::Mapped;
use crate::store::dovecot::fresh::{Extension, Start, append, begin, extension_head, header, intro, values};
use crate::store::dovecot::index::{FLAGS_AT, NEXT_UID_AT, TAIL_AT, UID_VALIDITY_AT};

/// Bytes of a record that says one number of the header.
const HEADER_RECORD: u32 = 16;

/// What stands at the head of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub indexid: u32,
    pub file_seq: u32,
    /// Indexes of mailboxes name it: under another, the server makes all of them anew.
    pub uid_validity: u32,
    /// The highest number of a storage file that was ever there.
    pub last_file: u32,
    /// How often it had changed.
    pub modseq: u64,
}

/// The log. `places` ascend by number; `created` is in seconds since 1970.
pub fn map(head: &Head, created: u32, places: &[Mapped]) -> Vec<u8> {
    let Head { indexid, file_seq, uid_validity, last_file, modseq } = *head;
    let mut log = begin(Start { indexid, file_seq, created, modseq });
    // The server keeps the flags of the map before, and one of them says that it is not to be believed.
    header(&mut log, FLAGS_AT, 0);
    header(&mut log, UID_VALIDITY_AT, uid_validity);
    let (at, shown) = (
        Extension { name: PLACES, head: 8, width: 12, align: 4 },
        Extension { name: REFS, head: 0, width: 2, align: 2 },
    );
    intro(&mut log, &at);
    // And how often the server has made it from the storage.
    extension_head(&mut log, &[last_file.to_le_bytes(), [0; 4]].concat());
    append(&mut log, places.iter().map(|place| (place.number, 0)));
    let place = |place: &Mapped| (place.number, [place.file, place.offset, place.size].map(u32::to_le_bytes).concat());
    values(&mut log, &at, &places.iter().map(place).collect::<Vec<_>>());
    let count = |place: &Mapped| (place.number, place.shown.to_le_bytes().to_vec());
    values(&mut log, &shown, &places.iter().map(count).collect::<Vec<_>>());
    header(&mut log, NEXT_UID_AT, places.last().map_or(1, |last| last.number.saturating_add(1)));
    // Nothing is left to be worked off, this record included: else the server's next rebuild warns of it.
    let end = u32::try_from(log.len()).unwrap_or_default().saturating_add(HEADER_RECORD);
    header(&mut log, TAIL_AT, end);
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::extras::Files;
    use crate::store::mdbox::map::{Map, Place};

    #[test]
    fn what_is_written_is_read_again() {
        let mapped = |number: u32| Mapped {
            number,
            file: 1 + number / 5,
            offset: number * 700,
            size: 657,
            shown: (number % 3) as u16,
        };
        let places: Vec<Mapped> = (1..=9000).step_by(2).map(mapped).collect();
        let head = Head { indexid: 7, file_seq: 3, uid_validity: 9, last_file: 1801, modseq: 5 };
        let log = map(&head, 1_700_000_000, &places);
        let read = Map::read(&Files { index: None, logs: vec![log.clone()] });
        assert!(read.complete && read.places.len() == places.len());
        for place in places {
            let Mapped { number, file, offset, size, shown } = place;
            assert_eq!(read.places[&number], (Place { file, offset, size }, shown));
        }
        let state = crate::store::dovecot::state::replay(None, &[&crate::store::dovecot::log::parse(&log)]);
        assert_eq!((state.uid_validity, state.next_uid), (9, 9000));
    }
}
