//! Which UID each message of an mbox has, though a field may be harmed: UIDs ascend in the file.
//!
//! Pure. Knows one message before the one in hand and one behind it, however many there are.

use super::scan::Part;

/// Tells the UIDs of the messages that pass.
#[derive(Debug, Default)]
pub struct Keys {
    /// The last UID that was believed.
    last: u32,
    held: Option<Part>,
}

impl Keys {
    /// Takes the next message and gives back the one before it.
    pub fn push(&mut self, part: Part) -> Option<(Part, Option<u32>)> {
        let before = self.held.replace(part)?;
        Some((before, self.uid(before.uid, part.uid)))
    }

    /// The last message.
    pub fn finish(&mut self) -> Option<(Part, Option<u32>)> {
        let last = self.held.take()?;
        Some((last, self.uid(last.uid, None)))
    }

    /// The UID of a message that says `own`, before one that says `next`.
    fn uid(&mut self, own: Option<u32>, next: Option<u32>) -> Option<u32> {
        let next = next.filter(|&next| next > self.last);
        let fits = |uid: &u32| *uid > self.last && next.is_none_or(|next| *uid < next);
        let between = next.filter(|&next| self.last > 0 && next == self.last + 2).map(|next| next - 1);
        let uid = own.filter(fits).or(between);
        self.last = uid.unwrap_or(self.last);
        uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uids: &[u32]) -> Vec<Option<u32>> {
        let mut keys = Keys::default();
        let part = |&uid: &u32| Part {
            from: 0,
            head: 0,
            length: 0,
            received: None,
            uid: Some(uid).filter(|&uid| uid > 0),
            validity: None,
            check: None,
            internal: false,
        };
        let mut all: Vec<_> = uids.iter().filter_map(|uid| keys.push(part(uid))).collect();
        all.extend(keys.finish());
        all.into_iter().map(|(_, uid)| uid).collect()
    }

    #[test]
    fn ascending_numbers_are_believed_and_others_are_not() {
        assert_eq!(told(&[3, 4, 9]), [Some(3), Some(4), Some(9)]);
        assert_eq!(told(&[0, 0]), [None, None], "an archive has none");
        assert_eq!(told(&[7, 7]), [None, Some(7)], "two cannot have one");
        assert_eq!(told(&[1, 2, 2, 6]), [Some(1), None, Some(2), Some(6)]);
    }

    #[test]
    fn where_only_one_number_fits_it_is_that() {
        for harmed in [0, 1, 5, 700] {
            assert_eq!(told(&[1, 2, harmed, 4, 5]), [1, 2, 3, 4, 5].map(Some), "{harmed}");
        }
        assert_eq!(told(&[1, 2, 900, 5, 6]), [Some(1), Some(2), None, Some(5), Some(6)], "3 or 4");
    }
}
