//! Which accounts, mailboxes and messages a run is about.

use crate::model::{RelPath, Stamp};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeSet;

/// `--accounts`, `--accounts-file`, `--mailbox`, `--since`. The default is everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Patterns as given; empty without any.
    pub accounts: Vec<String>,
    /// Names of `--accounts-file`.
    pub listed: Option<BTreeSet<String>>,
    /// Patterns as given; empty without any.
    pub mailboxes: Vec<String>,
    pub since: Option<Stamp>,
    account_globs: GlobSet,
    mailbox_globs: GlobSet,
}

impl Selection {
    /// # Errors
    /// Words for the user when a pattern is none.
    pub fn new(
        accounts: Vec<String>,
        listed: Option<BTreeSet<String>>,
        mailboxes: Vec<String>,
        since: Option<Stamp>,
    ) -> Result<Selection, String> {
        let (account_globs, mailbox_globs) = (globs(&accounts)?, globs(&mailboxes)?);
        Ok(Selection { accounts, listed, mailboxes, since, account_globs, mailbox_globs })
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.accounts.is_empty() && self.listed.is_none() && self.whole_accounts()
    }

    /// Whether nothing is left out of the accounts that are looked at: only then can one count as blank.
    pub fn whole_accounts(&self) -> bool {
        self.mailboxes.is_empty() && self.since.is_none()
    }

    /// Whether the account of this name is looked at: `domain/user` also answers to `user@domain`.
    pub fn account(&self, name: &str) -> bool {
        let all = self.accounts.is_empty() && self.listed.is_none();
        let address = name.rsplit_once('/').map(|(domain, user)| format!("{user}@{domain}"));
        let named = |name: &str| {
            self.account_globs.is_match(name) || self.listed.as_ref().is_some_and(|listed| listed.contains(name))
        };
        all || named(name) || address.is_some_and(|address| named(&address))
    }

    /// Whether the account in this folder is looked at.
    pub fn account_at(&self, name: &str, dir: &RelPath) -> bool {
        self.account(name) || self.account_globs.is_match(dir.as_path())
    }

    /// Whether the mailbox of this name is looked at.
    pub fn mailbox(&self, name: &str) -> bool {
        self.mailboxes.is_empty() || self.mailbox_globs.is_match(name)
    }

    /// Whether a message of this date is meant; one whose date is unknown always is.
    pub fn date(&self, received: Option<Stamp>) -> bool {
        match (self.since, received) {
            (Some(since), Some(received)) => received >= since,
            _ => true,
        }
    }
}

/// A `*` crosses `/`: `Archive*` means the mailboxes below, too.
fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).build();
        set.add(glob.map_err(|error| format!("'{pattern}' is no pattern: {}", error.kind()))?);
    }
    set.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(patterns: &[&str]) -> Selection {
        Selection::new(patterns.iter().map(|p| p.to_string()).collect(), None, vec![], None).unwrap()
    }

    #[test]
    fn accounts_match_by_path_and_by_address() {
        let dir = RelPath::new(&b"example.org/ann/Maildir"[..]).unwrap();
        let selects = |pattern: &str| accounts(&[pattern]).account_at("example.org/ann", &dir);
        assert!(selects("example.org/*") && selects("ann@example.org") && selects("*@example.org"));
        assert!(!selects("bob*") && !selects("example.net/*"));
        let listed = Selection::new(vec![], Some(["ann@example.org".to_owned()].into()), vec![], None).unwrap();
        assert!(listed.account("example.org/ann") && !listed.account("example.org/bob"));
        assert!(Selection::new(vec!["[".to_owned()], None, vec![], None).is_err());
    }

    #[test]
    fn unknown_dates_are_never_left_out() {
        let selection = Selection::new(vec![], None, vec![], Some(Stamp { sec: 100, nsec: 0 })).unwrap();
        assert!(selection.date(None) && selection.date(Some(Stamp { sec: 100, nsec: 0 })));
        assert!(!selection.date(Some(Stamp { sec: 99, nsec: 0 })));
        assert!(!selection.whole_accounts() && Selection::default().is_all());
    }
}
