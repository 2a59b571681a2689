//! Replicas and backups: somewhere copies can be fetched from. Nothing in here writes, and nothing opens a
//! file: listing and fetching happen in lanes.

pub mod layout;
pub mod time;

use crate::model::{RelPath, Stamp};
use std::path::PathBuf;

/// What follows `--from`: `[NAME[@TIME]=]LOCATION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: Option<String>,
    pub time: Option<Stamp>,
    /// May hold `*` and `?` (a pattern of snapshot folders), and one `{account}`.
    pub location: PathBuf,
    pub pattern: bool,
    /// The other side of a sync that is repaired: it tells and gives, but what it alone holds is not missed here.
    pub partner: bool,
}

/// The part of a location in front of `{account}`, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub base: PathBuf,
    /// `Some` where the location names the account: the rest below the account's folder.
    pub below_account: Option<RelPath>,
}

impl Spec {
    /// What people call the source where no name is given.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| crate::model::path::escape(self.location.as_os_str().as_encoded_bytes()))
    }

    /// Splits the location at `{account}`.
    ///
    /// # Errors
    /// Words for the user: twice, inside a component, or behind it something that is no plain path.
    pub fn template(&self) -> Result<Template, String> {
        let mut base = PathBuf::new();
        let mut below = None::<RelPath>;
        for component in self.location.components() {
            let bytes = component.as_os_str().as_encoded_bytes();
            match &mut below {
                None if bytes == b"{account}" => below = Some(RelPath::root()),
                None if bytes.windows(9).any(|w| w == b"{account}") => {
                    return Err("{account} must be a whole component of the path".to_owned());
                }
                None => base.push(component),
                Some(_) if bytes.windows(9).any(|w| w == b"{account}") => {
                    return Err("{account} stands twice".to_owned());
                }
                Some(_) if bytes.iter().any(|b| b"*?[".contains(b)) => {
                    return Err("a pattern may not follow {account}".to_owned());
                }
                Some(path) => *path = path.join(bytes).map_err(|e| e.to_string())?,
            }
        }
        Ok(Template { base, below_account: below })
    }
}

/// A source's state at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Place in the order of trust: order of `--from`, newer before older within one.
    pub rank: u32,
    /// Source name, with the folder's name where the source has several generations.
    pub label: String,
    pub path: PathBuf,
    pub time: Stamp,
    /// The time was given or stands in the name; else it is the folder's own mtime, which says little.
    pub dated: bool,
    /// See [`Spec::partner`].
    pub partner: bool,
    pub below_account: Option<RelPath>,
    /// Which root of which lane.
    pub lane: usize,
    pub root: u32,
    pub dev: u64,
}

impl Generation {
    /// Where this generation keeps the account whose folder is `dir` in the store and that people call `name`.
    pub fn account_dir(&self, dir: &RelPath, name: &str) -> Option<RelPath> {
        match &self.below_account {
            None => Some(dir.clone()),
            Some(below) => Some(RelPath::new(crate::model::path::unescape(name)?).ok()?.join_path(below)),
        }
    }
}

/// Puts generations into the order of trust and numbers them: by source, then newest first, then by name.
pub fn rank(generations: &mut [(u32, Generation)]) {
    generations.sort_by(|(a, x), (b, y)| {
        (a, std::cmp::Reverse(x.time), &x.label).cmp(&(b, std::cmp::Reverse(y.time), &y.label))
    });
    for (rank, (_, generation)) in (0u32..).zip(generations) {
        generation.rank = rank;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(location: &str) -> Spec {
        Spec { name: None, time: None, location: location.into(), pattern: false, partner: false }
    }

    #[test]
    fn templates_split_at_the_account() {
        let plain = spec("/mnt/replica").template().unwrap();
        assert_eq!((plain.base, plain.below_account), (PathBuf::from("/mnt/replica"), None));
        let named = spec("/backup/{account}/daily.0/Maildir").template().unwrap();
        assert_eq!(named.base, PathBuf::from("/backup"));
        assert_eq!(named.below_account, Some(RelPath::new(&b"daily.0/Maildir"[..]).unwrap()));
        assert!(spec("/b/x{account}").template().is_err());
        assert!(spec("/b/{account}/{account}").template().is_err());
        assert!(spec("/b/{account}/daily.*").template().is_err());
        assert!(spec("/b/{account}/../x").template().is_err());
    }

    #[test]
    fn newer_generations_rank_before_older_ones_of_the_same_source_only() {
        let generation = |label: &str, sec| Generation {
            rank: 0,
            label: label.into(),
            path: PathBuf::new(),
            time: Stamp { sec, nsec: 0 },
            dated: true,
            partner: false,
            below_account: None,
            lane: 0,
            root: 0,
            dev: 0,
        };
        let mut list = vec![(1, generation("c", 900)), (0, generation("a", 10)), (0, generation("b", 20))];
        rank(&mut list);
        let order: Vec<_> = list.iter().map(|(_, g)| (g.label.as_str(), g.rank)).collect();
        assert_eq!(order, [("b", 0), ("a", 1), ("c", 2)]);
    }
}
