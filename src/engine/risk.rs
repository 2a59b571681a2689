//! What would be lost if the mail server or its sync looked at the store as it is now. Counts and tells; changes nothing.

use super::job::{Job, Mode};
use crate::model::server::Says;
use std::collections::BTreeMap;

/// Counts over a whole run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Risk {
    /// Lost messages that the server still lists: it takes them for deleted as soon as it looks.
    pub unnoticed: u64,
    /// Lost messages that it has taken for deleted.
    pub noticed: u64,
    /// Mailboxes whose lists or indexes are damaged: it gives messages new UIDs, or deletes them, when it looks.
    pub books: u64,
    /// Whole copies of lost messages in mailboxes that are a server's, too, by source: a sync deletes them there.
    pub copies: BTreeMap<String, u64>,
    /// Accounts with mail and without any list of UIDs.
    pub unlisted: u64,
    /// Accounts with such a list.
    pub listed: u64,
}

impl Risk {
    /// Counts one lost message.
    pub fn lost(&mut self, says: Says) {
        match says {
            Says::Listed => self.unnoticed += 1,
            Says::LossNoticed | Says::DeletedBySync => self.noticed += 1,
            Says::Nothing | Says::DeletedByUser | Says::Restarted | Says::Apart => {}
        }
    }

    /// What the administrator has to know before anything else runs.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.unnoticed > 0 {
            words.push(format!(
                "{} lost message(s) are still on the server's lists: once it looks, it takes them for deleted, and \
                 repairing them means stopping clients for a moment; repair before it runs, if you can",
                self.unnoticed
            ));
        }
        if self.books > 0 {
            words.push(format!(
                "{} mailbox(es) have damaged lists or indexes: a server that looks at them gives messages new UIDs, \
                 forgets flags or deletes mail; repair before it runs, if you can",
                self.books
            ));
        }
        for (source, copies) in self.copies.iter().filter(|_| self.unnoticed + self.noticed > 0) {
            words.push(format!(
                "a sync of this server (doveadm sync or backup) with {source} would delete {copies} whole message(s) \
                 there, and say nothing: keep it stopped until all is repaired"
            ));
        }
        if self.unlisted > 0 && self.listed == 0 {
            words.push(format!(
                "{} account(s) hold mail and none of the server's lists of UIDs: is the control directory elsewhere \
                 (CONTROL= in mail_location)? Then name it: --layout \"$(doveconf -h mail_location)\"; without it neither \
                 UIDs nor deletions are known",
                self.unlisted
            ));
        }
        words
    }
}

/// Tells it, once for each run.
pub fn tell(job: &mut Job<'_>) {
    if job.options.mode == Mode::Verify {
        // It plans nothing, and a night has to be silent where all is well.
        job.risk.unlisted = 0;
    }
    if job.options.against {
        // The comparison says it of both sides.
        job.risk.copies.clear();
    }
    for text in job.risk.words() {
        job.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_would_be_lost_and_where() {
        assert_eq!(Risk::default().words(), Vec::<String>::new());
        let mut risk = Risk { listed: 1, unlisted: 3, ..Risk::default() };
        risk.copies.insert("replica".into(), 7);
        assert_eq!(risk.words(), Vec::<String>::new(), "nothing is lost");
        for says in [Says::Listed, Says::Listed, Says::LossNoticed, Says::DeletedByUser] {
            risk.lost(says);
        }
        let words = risk.words();
        assert!(words[0].starts_with("2 lost") && words[1].contains("replica would delete 7"), "{words:?}");
        let elsewhere = Risk { unlisted: 3, ..Risk::default() }.words();
        assert!(elsewhere.len() == 1 && elsewhere[0].contains("control directory elsewhere"), "{elsewhere:?}");
    }
}
