//! Which accounts, mailboxes and messages a run is about.

use crate::model::{RelPath, Stamp};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// `--accounts`, `--accounts-file`, `--mailbox`, `--since`. Empty means everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    accounts: Option<GlobSet>,
    mailboxes: Option<GlobSet>,
    pub since: Option<Stamp>,
}

impl Selection {
    /// # Errors
    /// Words for the user when a pattern is none.
    pub fn new(accounts: &[String], mailboxes: &[String], since: Option<Stamp>) -> Result<Selection, String> {
        Ok(Selection { accounts: set(accounts)?, mailboxes: set(mailboxes)?, since })
    }

    /// Whether an account is meant, by its name or its folder.
    pub fn account(&self, name: &str, dir: &RelPath) -> bool {
        let local = name.rsplit_once('/').map(|(domain, user)| format!("{user}@{domain}"));
        self.accounts.as_ref().is_none_or(|set| {
            set.is_match(name) || set.is_match(dir.as_path()) || local.is_some_and(|address| set.is_match(address))
        })
    }

    pub fn mailbox(&self, name: &str) -> bool {
        self.mailboxes.as_ref().is_none_or(|set| set.is_match(name))
    }

    /// Whether a message of this date is meant; one whose date is unknown always is.
    pub fn date(&self, received: Option<Stamp>) -> bool {
        match (self.since, received) {
            (Some(since), Some(received)) => received >= since,
            _ => true,
        }
    }

    /// Whether nothing is left out: only then can an account count as blank.
    pub fn is_everything(&self) -> bool {
        self.mailboxes.is_none() && self.since.is_none()
    }
}

fn set(patterns: &[String]) -> Result<Option<GlobSet>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).build().map_err(|e| format!("'{pattern}' is no pattern: {e}"))?;
        builder.add(glob);
    }
    builder.build().map(Some).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_match_by_path_and_by_address() {
        let dir = RelPath::new(&b"example.org/ann/Maildir"[..]).unwrap();
        let selects = |pattern: &str| {
            Selection::new(&[pattern.to_owned()], &[], None).unwrap().account("example.org/ann", &dir)
        };
        assert!(selects("example.org/*") && selects("ann@example.org") && selects("*@example.org"));
        assert!(!selects("bob*") && !selects("example.net/*"));
        assert!(Selection::default().account("x", &dir));
        assert!(Selection::new(&["[".to_owned()], &[], None).is_err());
    }

    #[test]
    fn unknown_dates_are_never_left_out() {
        let selection = Selection::new(&[], &[], Some(Stamp { sec: 100, nsec: 0 })).unwrap();
        assert!(selection.date(None) && selection.date(Some(Stamp { sec: 100, nsec: 0 })));
        assert!(!selection.date(Some(Stamp { sec: 99, nsec: 0 })));
        assert!(!selection.is_everything());
    }
}
