//! `dovecot.mailbox.log` and its `.2`: which mailboxes were deleted, renamed and (un)subscribed, and when.

use super::hash::Guid;
use super::raw::{Faults, bytes};

/// Bytes of a record.
const RECORD: usize = 24;

/// What was done with a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// With its mail; the GUID is the mailbox's own.
    DeletedMailbox,
    /// Its name, by the hash of the name: it follows the former, or stands alone for a folder without mail.
    DeletedFolder,
    Renamed,
    Subscribed,
    Unsubscribed,
    CreatedFolder,
}

impl Deed {
    fn of(number: u8) -> Option<Deed> {
        Some(match number {
            1 => Deed::DeletedMailbox,
            2 => Deed::DeletedFolder,
            3 => Deed::Renamed,
            4 => Deed::Subscribed,
            5 => Deed::Unsubscribed,
            6 => Deed::CreatedFolder,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub deed: Deed,
    /// The mailbox's own for [`Deed::DeletedMailbox`], else [`super::mailbox_name_guid`] of its name.
    pub guid: Guid,
    /// Seconds since 1970.
    pub time: u32,
}

/// The records in their order, and what was wrong, by offset.
pub fn parse(data: &[u8]) -> (Vec<Record>, Faults) {
    let (mut records, mut faults) = (Vec::new(), Faults::default());
    for (chunk, at) in data.chunks(RECORD).zip((0..).step_by(RECORD)) {
        let parts = (chunk.first().copied().and_then(Deed::of), bytes(chunk, 4), bytes(chunk, 20));
        match parts {
            (Some(deed), Some(guid), Some(time)) if chunk[1..4] == [0; 3] => {
                records.push(Record { deed, guid, time: u32::from_be_bytes(time) });
            }
            (_, _, None) => faults.add(at, "the last record is cut"),
            _ => faults.add(at, "the record is none that Dovecot writes"),
        }
    }
    (records, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dovecot::mailbox_name_guid;

    const REAL: &[u8] = include_bytes!("../../../testdata/dovecot/mailbox.log");

    #[test]
    fn a_real_log_tells_who_subscribed_and_deleted() {
        let (records, faults) = parse(REAL);
        assert!(faults.is_empty());
        let deeds: Vec<Deed> = records.iter().map(|record| record.deed).collect();
        use Deed::*;
        assert_eq!(deeds, [Subscribed, Subscribed, DeletedMailbox, DeletedFolder, Unsubscribed]);
        assert_eq!(records[0].guid, mailbox_name_guid(b"Work"));
        assert_eq!(records[3].guid, mailbox_name_guid(b"Old"));
        assert!(records.iter().all(|record| record.time > 1_700_000_000));
    }

    #[test]
    fn a_garbled_record_costs_itself() {
        let mut data = REAL.to_vec();
        data[24..48].fill(0);
        data.truncate(data.len() - 1);
        let (records, faults) = parse(&data);
        assert_eq!((records.len(), faults.count), (3, 2));
        assert_eq!(faults.first.iter().map(|fault| fault.at).collect::<Vec<_>>(), [24, 96]);
    }
}
