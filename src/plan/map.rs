//! The map of a storage that mailboxes share (mdbox), told from what they show and what lies there.
//!
//! Pure. The indexes of mailboxes know messages by numbers that only the map turns into places; but each message says in its
//! place what its GUID is, and so do the indexes. What no mailbox shows was deleted by its owner, and stays so.

use crate::model::container::Mapped;
use crate::model::server::Shown;
use std::collections::{BTreeMap, BTreeSet};

/// A message in the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lying {
    pub file: u32,
    pub offset: u32,
    pub size: u32,
    /// All that stands around it is as it should be.
    pub sound: bool,
    pub guid: Option<[u8; 16]>,
}

/// The map, by ascending number. `shown` is of all mailboxes together.
///
/// # Errors
/// Words for people, where it cannot be told without a doubt.
pub fn map(shown: &[Shown], lying: &[Lying]) -> Result<Vec<Mapped>, String> {
    // How many mailboxes show each number, and as which message.
    let mut numbers: BTreeMap<u32, (u16, [u8; 16])> = BTreeMap::new();
    for one in shown {
        if one.number == 0 || one.guid == [0; 16] {
            return Err("an index does not tell which messages of the storage it shows".to_owned());
        }
        let (count, guid) = numbers.entry(one.number).or_insert((0, one.guid));
        if *guid != one.guid {
            return Err("indexes have two messages under one number".to_owned());
        }
        *count = count.saturating_add(1);
    }
    let mut by_guid: BTreeMap<[u8; 16], (Vec<u32>, Vec<&Lying>)> = BTreeMap::new();
    for (number, (_, guid)) in &numbers {
        by_guid.entry(*guid).or_default().0.push(*number);
    }
    for one in lying {
        if let Some((_, places)) = one.guid.and_then(|guid| by_guid.get_mut(&guid)) {
            places.push(one);
        }
    }
    let mut taken: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut map = Vec::new();
    for (numbers_of_it, mut places) in by_guid.into_values() {
        // Sound ones first; of several the older has the lower number.
        places.sort_by_key(|one| (!one.sound, one.file, one.offset));
        if places.len() < numbers_of_it.len() {
            return Err("messages that mailboxes show do not lie in the storage".to_owned());
        }
        for (number, one) in numbers_of_it.into_iter().zip(places) {
            taken.insert((one.file, one.offset));
            let (file, offset, size) = (one.file, one.offset, one.size);
            map.push(Mapped { number, file, offset, size, shown: numbers[&number].0 });
        }
    }
    // What nobody shows keeps its place, for a purge to walk over. Its numbers were never seen by anybody.
    let free = numbers.keys().next_back().map_or(1, |last| last.saturating_add(1));
    let mut left: Vec<&Lying> = lying.iter().filter(|one| !taken.contains(&(one.file, one.offset))).collect();
    left.sort();
    for (number, one) in (free..).zip(left) {
        let (file, offset, size) = (one.file, one.offset, one.size);
        map.push(Mapped { number, file, offset, size, shown: 0 });
    }
    map.sort();
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: u32, guid: u8) -> Shown {
        Shown { uid: number + 100, number, saved: 1, guid: [guid; 16] }
    }

    fn lying(file: u32, offset: u32, guid: u8) -> Lying {
        Lying { file, offset, size: 600, sound: true, guid: Some([guid; 16]) }
    }

    fn places(map: &[Mapped]) -> Vec<(u32, u32, u32, u16)> {
        map.iter().map(|one| (one.number, one.file, one.offset, one.shown)).collect()
    }

    #[test]
    fn numbers_find_their_places_again_and_what_was_deleted_stays_so() {
        let storage = [lying(1, 16, 1), lying(1, 616, 2), lying(1, 1216, 3), lying(2, 16, 4)];
        // Two mailboxes show the third one; nobody shows the second.
        let made = map(&[shown(1, 1), shown(3, 3), shown(4, 4), shown(3, 3)], &storage).unwrap();
        assert_eq!(places(&made), [(1, 1, 16, 1), (3, 1, 1216, 2), (4, 2, 16, 1), (5, 1, 616, 0)]);
        assert_eq!(places(&map(&[], &storage[..1]).unwrap()), [(1, 1, 16, 0)]);
    }

    #[test]
    fn two_copies_of_a_message_are_told_apart_by_their_order() {
        let broken = Lying { sound: false, ..lying(1, 16, 7) };
        let made = map(&[shown(9, 7), shown(2, 7)], &[lying(3, 16, 7), broken, lying(2, 16, 7)]).unwrap();
        assert_eq!(places(&made), [(2, 2, 16, 1), (9, 3, 16, 1), (10, 1, 16, 0)]);
    }

    #[test]
    fn what_is_not_sure_is_not_made() {
        assert!(map(&[shown(1, 1)], &[lying(1, 16, 2)]).is_err(), "it lies nowhere");
        assert!(
            map(&[shown(1, 1), shown(1, 2)], &[lying(1, 16, 1), lying(1, 616, 2)]).is_err(),
            "two under one number"
        );
        assert!(map(&[shown(0, 1)], &[lying(1, 16, 1)]).is_err(), "no number");
        assert!(map(&[shown(1, 0)], &[lying(1, 16, 0)]).is_err(), "no GUID");
    }
}
