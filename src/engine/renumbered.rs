//! Names that other messages come to bear: sorting and packing an MH folder gives its messages other numbers, and the
//! number of a deleted one is given again. Tells that from damage; plans nothing.

use super::account::Mailbox;
use crate::catalog::MessageRow;
use crate::model::message::CopyFacts;
use crate::plan::compare::is_clean;

/// Whether the file that bears the name of the message `row` holds another one, whole: it is on record under another
/// name, or it calls itself otherwise and was written since. Rot changes no time, and makes no whole message.
pub fn is_another(mailbox: &Mailbox, row: &MessageRow, facts: &CopyFacts) -> bool {
    if mailbox.store().keys_last() || row.digest.is_none() || row.digest == facts.digest || !is_clean(facts) {
        return false;
    }
    let id = |envelope: &Option<crate::model::Envelope>| envelope.as_ref().and_then(|e| e.message_id.clone());
    let renamed = id(&row.envelope).zip(id(&facts.envelope)).is_some_and(|(then, now)| then != now);
    let known = || mailbox.rows.values().any(|other| other.key != row.key && other.digest == facts.digest);
    (renamed && facts.stat.mtime != row.attrs.mtime) || known()
}
