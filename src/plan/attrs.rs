//! Owner, mode and received date of a repaired message: each attribute has its own order of witnesses.

use crate::model::message::Xattr;
use crate::model::{Attrs, Stamp, Stat};

/// What each witness says; `None` where there is no such witness.
#[derive(Debug, Clone, Default)]
pub struct Witnesses<'a> {
    /// The damaged file that is to be replaced.
    pub present: Option<&'a Stat>,
    /// The mailbox's folder in the store.
    pub folder: Option<Owner>,
    pub catalog: Option<&'a Attrs>,
    /// `--owner`.
    pub given: Option<(u32, u32)>,
    /// The copy that heals, and the received date that its mtime shows (`None`: a careless copy's mtime).
    pub source: Option<(&'a Stat, Option<Stamp>)>,
    /// The time in the message's name.
    pub named: Option<Stamp>,
    /// Attributes of the file to be replaced, else of the source.
    pub xattrs: &'a [Xattr],
}

/// Owner and permissions of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl From<&Stat> for Owner {
    fn from(stat: &Stat) -> Owner {
        Owner { uid: stat.uid, gid: stat.gid, mode: stat.mode }
    }
}

/// Whose a mailbox's folder is, as far as that can be believed. Root's name on it says little where others in the
/// account are somebody else's, and where the account holds no mail that could be root's: a repair that was cut off has
/// made the folder and not given it away. `kin` is another folder of the account, `blank` an account without messages.
pub fn believed(standing: Owner, recorded: Option<Owner>, kin: Option<Owner>, blank: bool) -> Option<Owner> {
    let somebodys = |owner: &Owner| owner.uid != 0;
    let doubted = || recorded.filter(somebodys).or(kin.filter(somebodys)).or((!blank).then_some(standing));
    if somebodys(&standing) { Some(standing) } else { doubted() }
}

/// Settles the attributes.
///
/// Owner: the file itself, the mailbox folder, the catalog, `--owner`, the source. Mode: the file itself, the
/// catalog, what the folder's mode implies, the source. Received date: the catalog, a source that kept
/// dates, the file itself, the name.
pub fn settle(w: &Witnesses<'_>) -> Attrs {
    let source = w.source.map(|(stat, _)| stat);
    // A file of root's in a user's folder is one that its owner cannot read, or an outside file's hard link.
    let strange = |s: &&Stat| s.uid == 0 && w.folder.is_some_and(|f| f.uid != 0);
    let (uid, gid) = w
        .present
        .filter(|s| !strange(s))
        .map(|s| (s.uid, s.gid))
        .or(w.folder.map(|f| (f.uid, f.gid)))
        .or(w.catalog.map(|a| (a.uid, a.gid)))
        .or(w.given)
        .or(source.map(|s| (s.uid, s.gid)))
        .unwrap_or_default();
    let mode = w
        .present
        .map(|s| s.mode)
        .or(w.catalog.map(|a| a.mode))
        .or(w.folder.map(|f| f.mode & 0o666))
        .or(source.map(|s| s.mode))
        .unwrap_or(0o600);
    let kept = w.source.and_then(|(_, received)| received);
    let mtime = w
        .catalog
        .map(|a| a.mtime)
        .or(kept)
        .or(w.present.map(|s| s.mtime).filter(|m| w.named.is_none_or(|n| m.sec <= n.sec + 86_400)))
        .or(w.named)
        .or(w.present.map(|s| s.mtime))
        .or(source.map(|s| s.mtime))
        .unwrap_or_default();
    // A message never needs set-id or execute bits, whatever a witness says.
    Attrs { uid, gid, mode: mode & 0o666, mtime, xattrs: w.xattrs.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(uid: u32, mode: u32, sec: i64) -> Stat {
        Stat { uid, gid: uid, mode, mtime: Stamp { sec, nsec: 0 }, ..Stat::default() }
    }

    #[test]
    fn each_attribute_follows_its_own_order() {
        let present = stat(1, 0o640, 900);
        let source = stat(3, 0o604, 100);
        let catalog = Attrs { uid: 2, gid: 2, mode: 0o600, mtime: Stamp { sec: 50, nsec: 7 }, xattrs: vec![] };
        let mut w = Witnesses { source: Some((&source, Some(source.mtime))), ..Witnesses::default() };
        assert_eq!((settle(&w).uid, settle(&w).mode, settle(&w).mtime.sec), (3, 0o604, 100));
        w.given = Some((9, 9));
        assert_eq!(settle(&w).uid, 9);
        w.catalog = Some(&catalog);
        assert_eq!((settle(&w).uid, settle(&w).mode, settle(&w).mtime), (2, 0o600, catalog.mtime));
        w.folder = Some(Owner { uid: 4, gid: 4, mode: 0o770 });
        assert_eq!((settle(&w).uid, settle(&w).mode), (4, 0o600));
        w.catalog = None;
        assert_eq!((settle(&w).uid, settle(&w).mode), (4, 0o660));
        w.present = Some(&present);
        assert_eq!((settle(&w).uid, settle(&w).mode, settle(&w).mtime.sec), (1, 0o640, 100));
        w.source = Some((&source, None));
        assert_eq!(settle(&w).mtime.sec, 900);
        w.named = Some(Stamp { sec: 80, nsec: 0 });
        assert_eq!(settle(&w).mtime.sec, 900, "within a day of the name");
        let rotten = stat(1, 0o640, 900_000);
        w.present = Some(&rotten);
        assert_eq!(settle(&w).mtime.sec, 80, "written long after its delivery: the damage's own time");
    }

    #[test]
    fn what_comes_into_a_users_folder_is_never_roots() {
        let (roots, catalog) = (stat(0, 0o640, 1), Attrs::default());
        let folder = Some(Owner { uid: 7, gid: 8, mode: 0o700 });
        let mut w = Witnesses { present: Some(&roots), folder, catalog: Some(&catalog), ..Witnesses::default() };
        w.source = Some((&roots, None));
        assert_eq!((settle(&w).uid, settle(&w).gid), (7, 8));
        w.folder = Some(Owner { uid: 0, gid: 0, mode: 0o700 });
        assert_eq!(settle(&w).uid, 0, "root has mail too");
    }

    #[test]
    fn a_half_made_folder_of_roots_is_not_believed() {
        let owner = |uid, mode| Owner { uid, gid: uid, mode };
        let (root, ann, bob) = (owner(0, 0o700), owner(7, 0o750), owner(8, 0o700));
        assert_eq!(believed(ann, Some(bob), Some(bob), false), Some(ann));
        assert_eq!(believed(root, Some(ann), Some(bob), false), Some(ann));
        assert_eq!(believed(root, Some(root), Some(ann), false), Some(ann), "recorded while it was half made");
        assert_eq!(believed(root, None, Some(ann), true), Some(ann));
        assert_eq!(believed(root, None, None, true), None, "the source may know");
        assert_eq!(believed(root, Some(root), Some(root), false), Some(root), "root has mail too");
    }

    #[test]
    fn no_witness_makes_a_message_executable() {
        let hostile = stat(0, 0o6777, 1);
        let attrs = settle(&Witnesses { present: Some(&hostile), ..Witnesses::default() });
        assert_eq!(attrs.mode, 0o666);
    }
}
