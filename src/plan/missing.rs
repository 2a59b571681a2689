//! Lost or deleted: what the traces around an absent message say.

use super::rate::{self, Gone, Rate};
use crate::model::Missing;
use crate::model::server::Says;

/// What a server's log of mailboxes says of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fate {
    #[default]
    Unknown,
    /// A client deleted it, after it was last seen.
    Deleted,
    /// The log is whole and has no such thing.
    Kept,
}

/// Everything known about one message that was expected and is not there. The listing that did not show it
/// was complete; without that there is no absence to judge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absence {
    /// Where else in the account the same message stands, for people.
    pub elsewhere: Option<String>,
    /// What the server's own list and logs say.
    pub server: Says,
    /// All that is gone is older than all that is left, as a script leaves a mailbox that clears old mail away.
    pub expired: bool,
    /// A file without a name of its own that holds exactly this message.
    pub orphan: Option<String>,
    /// As what the last repair had planned to put it back, and did not come to it or failed.
    pub resumed: Option<Missing>,
    /// No message and no server file is left in the whole account.
    pub account_blank: bool,
    /// The catalog knows other accounts of this store, but never saw this one.
    pub account_unknown: bool,
    /// The mailbox's folder is not there.
    pub mailbox_gone: bool,
    /// What the server's log of mailboxes says of the folder.
    pub folder: Fate,
    /// The mailbox's folder is there, but all its messages and the server's own list of them are gone.
    pub mailbox_blank: bool,
    /// The server's logs begin after the listing that showed the message, where they alone would tell of its deletion.
    pub forgotten: bool,
    /// It was listed, and was gone before it could be read: somebody took or renamed it a moment ago.
    pub vanished: bool,
    /// The mailbox is there, but its subfolder that held the message is not: no mail program removes that.
    pub subfolder_gone: bool,
    /// The folder's modification time is still the one of the listing that showed the message.
    pub folder_unmoved: bool,
    /// This run found damage or read errors in the same account.
    pub account_harmed: bool,
    /// A newer complete listing (a source's newer generation) does not hold the message any more.
    pub newer_lacks_it: bool,
    /// A newer generation could not be listed whole there: it may hold the message, or lack it.
    pub newer_unsure: bool,
    /// What an earlier run made of the same absence. The folder's time tells nothing any more then: it is that of
    /// a listing without the message.
    pub before: Option<Missing>,
    /// Messages gone from this mailbox since it was last seen, this one included, that nothing explains.
    pub gone: u64,
    /// Messages that the mailbox was known to hold.
    pub known: u64,
    /// The same of the whole account, and how many usually go from it.
    pub account_gone: u64,
    pub rate: Rate,
}

/// Judges one absence. Total and pure; the reason is for people.
pub fn classify(absence: &Absence) -> (Missing, String) {
    if let Some(place) = &absence.elsewhere {
        return (Missing::Moved, format!("now in {place}"));
    }
    if let Some(orphan) = &absence.orphan {
        return (Missing::Lost, format!("only its name was lost: the file stands as {orphan}"));
    }
    match absence.server {
        Says::DeletedByUser => return (Missing::Deleted, "its owner deleted it, says the server's log".to_owned()),
        Says::LossNoticed | Says::Listed if absence.expired && !absence.vanished => {
            let reason = "the server did not delete it, but just the oldest mail is gone, as a script clears it away";
            return (Missing::Undecided, reason.to_owned());
        }
        Says::LossNoticed => {
            return (Missing::Lost, "the server found its file gone, and nobody had deleted it".to_owned());
        }
        Says::Listed if !absence.vanished => {
            return (Missing::Lost, "the server still lists it, so nobody deleted it".to_owned());
        }
        Says::DeletedBySync => {
            let reason = "a partner of the server's sync deleted it: whether its owner did so there, its log knows";
            return (Missing::Undecided, reason.to_owned());
        }
        Says::Restarted if !absence.newer_lacks_it && !absence.newer_unsure && absence.folder != Fate::Deleted => {
            let reason = "the server began anew here, and never knew it: its UIDVALIDITY is another";
            return (Missing::Lost, reason.to_owned());
        }
        Says::Apart => return (Missing::Undecided, "kept in the alternative storage (ALT=)".to_owned()),
        Says::Listed | Says::Restarted | Says::Nothing => {}
    }
    if absence.folder == Fate::Deleted {
        return (Missing::Deleted, "its owner deleted the folder, says the server's log".to_owned());
    }
    if absence.vanished {
        return (Missing::PresumedDeleted, "taken away while this run was looking".to_owned());
    }
    if let Some(before) = absence.resumed {
        let reason = match before {
            Missing::Lost => "an earlier repair had found it lost, and did not put it back",
            _ => "an earlier repair was to put it back, and did not",
        };
        return (before, reason.to_owned());
    }
    if absence.newer_unsure {
        return (Missing::Undecided, "a newer generation, which could not be listed whole, may lack it".to_owned());
    }
    let blank = absence.account_blank || absence.mailbox_blank;
    if absence.newer_lacks_it {
        return if blank {
            (Missing::Undecided, "only an older generation holds it".to_owned())
        } else {
            (Missing::Deleted, "a newer generation no longer holds it".to_owned())
        };
    }
    if absence.account_unknown && absence.account_blank {
        return (Missing::Undecided, "the catalog knows no such account in this store".to_owned());
    }
    if absence.account_blank {
        return (Missing::Lost, "the account's mail and its server files are all gone".to_owned());
    }
    if absence.mailbox_blank {
        return (Missing::Lost, "all messages are gone, and the server's list of them too".to_owned());
    }
    match absence.before {
        Some(Missing::Lost) => return (Missing::Lost, "an earlier run found it lost".to_owned()),
        Some(Missing::Undecided) => {
            let reason = "gone already at an earlier run, when nothing told loss from deletion";
            return (Missing::Undecided, reason.to_owned());
        }
        _ => {}
    }
    if absence.mailbox_gone && absence.folder == Fate::Kept {
        let reason = "the whole folder is gone, and the server's log knows of no deletion";
        return (Missing::Lost, reason.to_owned());
    }
    if absence.mailbox_gone {
        let reason = "the whole folder is gone: loss and deletion by its owner look the same here";
        return (Missing::Undecided, reason.to_owned());
    }
    if absence.subfolder_gone {
        return (Missing::Lost, "the folder that held it is gone from the mailbox".to_owned());
    }
    if absence.folder_unmoved {
        return (Missing::Lost, "the file is gone though its folder was not changed".to_owned());
    }
    if absence.account_harmed {
        let reason = "gone, and the account has other damage: nothing tells loss from deletion";
        return (Missing::Undecided, reason.to_owned());
    }
    if absence.forgotten {
        let reason = "the server has begun its indexes anew since: nothing tells loss from deletion";
        return (Missing::Undecided, reason.to_owned());
    }
    let gone = Gone { mailbox: absence.gone, known: absence.known, account: absence.account_gone };
    if let Some(reason) = rate::alarm(gone, absence.rate) {
        return (Missing::Undecided, reason);
    }
    (Missing::PresumedDeleted, "gone from a mailbox that otherwise changed normally".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of(known: u64) -> Absence {
        Absence { gone: 1, known, ..Absence::default() }
    }

    #[test]
    fn each_trace_has_its_meaning() {
        let verdict = |absence: &Absence| classify(absence).0;
        assert_eq!(verdict(&one_of(100)), Missing::PresumedDeleted);
        assert_eq!(verdict(&Absence { gone: 30, ..one_of(100) }), Missing::Undecided);
        assert_eq!(verdict(&Absence { account_harmed: true, ..one_of(100) }), Missing::Undecided);
        assert_eq!(verdict(&Absence { forgotten: true, ..one_of(100) }), Missing::Undecided);
        let told = Absence { forgotten: true, server: Says::DeletedByUser, ..one_of(100) };
        assert_eq!(verdict(&told), Missing::Deleted);
        assert_eq!(verdict(&Absence { folder_unmoved: true, ..one_of(100) }), Missing::Lost);
        assert_eq!(verdict(&Absence { resumed: Some(Missing::Lost), gone: 50, ..one_of(100) }), Missing::Lost);
        assert_eq!(verdict(&Absence { subfolder_gone: true, ..one_of(100) }), Missing::Lost);
        assert_eq!(verdict(&Absence { mailbox_gone: true, ..one_of(100) }), Missing::Undecided);
        assert_eq!(verdict(&Absence { mailbox_blank: true, ..one_of(100) }), Missing::Lost);
        assert_eq!(verdict(&Absence { account_blank: true, ..one_of(100) }), Missing::Lost);
        let stranger = Absence { account_blank: true, account_unknown: true, ..one_of(100) };
        assert_eq!(verdict(&stranger), Missing::Undecided);
        let older_only = Absence { newer_lacks_it: true, ..one_of(100) };
        assert_eq!(verdict(&older_only), Missing::Deleted);
        assert_eq!(verdict(&Absence { account_blank: true, ..older_only.clone() }), Missing::Undecided);
        let unsure = Absence { account_blank: true, newer_unsure: true, ..one_of(100) };
        assert_eq!(verdict(&unsure), Missing::Undecided, "an incomplete listing proves nothing");
        let taken = Absence { vanished: true, folder_unmoved: true, ..one_of(100) };
        assert_eq!(verdict(&taken), Missing::PresumedDeleted, "the folder's time is that of before");
        assert_eq!(verdict(&Absence { orphan: Some("#7".into()), ..one_of(100) }), Missing::Lost);
        assert_eq!(verdict(&Absence { elsewhere: Some("Trash".into()), ..older_only }), Missing::Moved);
    }

    #[test]
    fn a_second_look_is_no_new_evidence() {
        for before in [Missing::Undecided, Missing::Lost] {
            for (folder_unmoved, account_harmed) in [(true, false), (false, true), (false, false)] {
                let absence = Absence { before: Some(before), folder_unmoved, account_harmed, ..one_of(100) };
                assert_eq!(classify(&absence).0, before, "{absence:?}");
            }
        }
        let found = Absence { before: Some(Missing::Undecided), elsewhere: Some("Trash".into()), ..one_of(100) };
        assert_eq!(classify(&found).0, Missing::Moved);
    }

    #[test]
    fn the_servers_own_word_counts_more_than_numbers_and_places() {
        let circumstances = [
            one_of(100),
            Absence { gone: 90, ..one_of(100) },
            Absence { mailbox_blank: true, ..one_of(100) },
            Absence { account_harmed: true, folder_unmoved: true, ..one_of(100) },
            Absence { newer_lacks_it: true, ..one_of(100) },
            Absence { before: Some(Missing::Undecided), resumed: Some(Missing::Lost), ..one_of(100) },
        ];
        for around in circumstances {
            let said = |server| classify(&Absence { server, ..around.clone() }).0;
            assert_eq!(said(Says::DeletedByUser), Missing::Deleted);
            assert_eq!(said(Says::LossNoticed), Missing::Lost);
            assert_eq!(said(Says::Listed), Missing::Lost);
            assert_eq!(said(Says::DeletedBySync), Missing::Undecided);
        }
        for server in [Says::LossNoticed, Says::Listed] {
            assert_eq!(classify(&Absence { server, expired: true, ..one_of(100) }).0, Missing::Undecided);
        }
        let restarted = Absence { server: Says::Restarted, gone: 90, ..one_of(100) };
        assert_eq!(classify(&restarted).0, Missing::Lost);
        assert_eq!(classify(&Absence { folder: Fate::Deleted, ..restarted.clone() }).0, Missing::Deleted);
        assert_eq!(classify(&Absence { newer_lacks_it: true, ..restarted }).0, Missing::Deleted);
        let gone = Absence { mailbox_gone: true, gone: 90, ..one_of(100) };
        assert_eq!(classify(&Absence { folder: Fate::Kept, ..gone.clone() }).0, Missing::Lost);
        assert_eq!(classify(&Absence { folder: Fate::Deleted, ..gone }).0, Missing::Deleted);
        // A moment ago it was there: the server does not know yet.
        let vanished = Absence { vanished: true, server: Says::Listed, ..one_of(100) };
        assert_eq!(classify(&vanished).0, Missing::PresumedDeleted);
    }

    #[test]
    fn what_stands_elsewhere_is_never_lost() {
        for bits in 0..64u32 {
            let on = |bit: u32| bits & (1 << bit) != 0;
            let absence = Absence {
                elsewhere: Some("Archive".into()),
                expired: on(0),
                server: [Says::Nothing, Says::LossNoticed, Says::Listed, Says::DeletedByUser][bits as usize % 4],
                orphan: None,
                resumed: on(1).then_some(Missing::Lost),
                account_blank: on(0),
                account_unknown: on(0) && on(3),
                mailbox_gone: on(1),
                folder: if on(1) { Fate::Kept } else { Fate::Unknown },
                subfolder_gone: on(1),
                mailbox_blank: on(2),
                forgotten: on(5),
                vanished: on(2),
                folder_unmoved: on(3),
                account_harmed: on(4),
                newer_lacks_it: on(5),
                newer_unsure: on(4),
                before: None,
                gone: 1,
                known: 1,
                account_gone: 0,
                rate: Rate::default(),
            };
            assert_eq!(classify(&absence).0, Missing::Moved);
        }
    }
}
