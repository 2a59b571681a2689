//! The folders that a plan has to make, each once, outermost first.

use super::account::{Account, EngineError, Mailbox};
use super::job::Job;
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::wire::Stated;
use crate::model::{Attrs, Format, Missing, RelPath, Verdict};
use crate::plan::attrs::{Owner, believed};
use crate::store::{self, maildir};
use std::collections::HashSet;

/// Folders that are known to be there or that the plan makes already.
pub struct Folders {
    settled: HashSet<RelPath>,
    /// The result goes to another, empty place: every folder has to be made.
    elsewhere: bool,
}

/// Owner and mode of a mailbox's folder as it stands, where that can be believed.
pub fn standing(mailboxes: &[Mailbox], mailbox: &Mailbox) -> Option<Owner> {
    let there = mailbox.folder.as_ref().map(Owner::from)?;
    believed(there, recorded(mailbox), kin(mailboxes), blank(mailboxes))
}

/// The same for a folder of the account that is no mailbox.
pub fn standing_plain(mailboxes: &[Mailbox], there: Owner) -> Option<Owner> {
    believed(there, None, kin(mailboxes), blank(mailboxes))
}

fn recorded(mailbox: &Mailbox) -> Option<Owner> {
    let known = mailbox.row.as_ref()?.folder?;
    Some(Owner { uid: known.uid, gid: known.gid, mode: known.mode })
}

/// A folder of the account that is not root's.
fn kin(mailboxes: &[Mailbox]) -> Option<Owner> {
    mailboxes.iter().filter_map(|m| m.folder.as_ref().map(Owner::from)).find(|owner| owner.uid != 0)
}

fn blank(mailboxes: &[Mailbox]) -> bool {
    mailboxes.iter().all(|m| m.messages().next().is_none())
}

impl Folders {
    /// `elsewhere`: the result goes to another, empty place, where every folder has to be made.
    pub fn new(elsewhere: bool) -> Folders {
        Folders { settled: HashSet::new(), elsewhere }
    }

    /// Plans a mailbox's folder with its subfolders, and all that lies above them, as far as they are missing.
    pub fn need(
        &mut self,
        job: &mut Job<'_>,
        account: &Account,
        mailboxes: &[Mailbox],
        (format, mailbox): (Format, &RelPath),
    ) -> Result<(), EngineError> {
        if self.settled.contains(mailbox) || format.is_packed() {
            return Ok(());
        }
        self.settled.insert(mailbox.clone());
        let there = !self.elsewhere && self.exists(job, mailbox)?;
        let owner = self.owner(job, account, mailboxes, mailbox)?;
        if !there {
            self.above(job, account, mailboxes, mailbox, owner)?;
            self.make(job, account, mailbox, mailbox, owner)?;
        }
        for &sub in store::of(format).subfolders() {
            let Ok(path) = mailbox.join(sub) else { continue };
            if !there || !self.exists(job, &path)? {
                self.make(job, account, mailbox, &path, owner)?;
            }
        }
        Ok(())
    }

    /// Plans one folder (of a mailbox or above it), and all that lies above it, as far as they are missing.
    pub fn need_plain(
        &mut self,
        job: &mut Job<'_>,
        account: &Account,
        mailboxes: &[Mailbox],
        dir: &RelPath,
    ) -> Result<(), EngineError> {
        if dir.is_root() || self.settled.contains(dir) || (!self.elsewhere && self.exists(job, dir)?) {
            return Ok(());
        }
        let owner = self.owner(job, account, mailboxes, dir)?;
        self.above(job, account, mailboxes, dir, owner)?;
        if self.settled.insert(dir.clone()) {
            self.make(job, account, &account.dir, dir, owner)?;
        }
        Ok(())
    }

    fn above(
        &mut self,
        job: &mut Job<'_>,
        account: &Account,
        mailboxes: &[Mailbox],
        dir: &RelPath,
        below: Owner,
    ) -> Result<(), EngineError> {
        let mut missing = Vec::new();
        let mut at = dir.parent();
        while let Some(path) = at.filter(|p| !p.is_root()) {
            if self.settled.contains(&path) || (!self.elsewhere && self.exists(job, &path)?) {
                break;
            }
            at = path.parent();
            missing.push(path);
        }
        for path in missing.into_iter().rev() {
            let owner = self.known_owner(job, account, mailboxes, &path)?.unwrap_or(below);
            self.make(job, account, &account.dir, &path, owner)?;
            self.settled.insert(path);
        }
        Ok(())
    }

    fn exists(&self, job: &mut Job<'_>, path: &RelPath) -> Result<bool, EngineError> {
        let root = job.store.root;
        match job.store_lane().stat(root, path)? {
            Ok(_) => Ok(true),
            Err(trouble) if matches!(trouble.errno, Some(2 | 20)) => Ok(false),
            Err(trouble) => {
                // One folder that cannot be looked at holds its own steps, when they are tried, not the run.
                job.not_checked(&trouble);
                Ok(true)
            }
        }
    }

    /// Owner and mode of a folder, also of one that has to be made.
    pub fn owner(
        &self,
        job: &mut Job<'_>,
        account: &Account,
        mailboxes: &[Mailbox],
        dir: &RelPath,
    ) -> Result<Owner, EngineError> {
        if let Some(owner) = self.known_owner(job, account, mailboxes, dir)? {
            return Ok(owner);
        }
        // In a strange place it looks like what lies above it.
        let root = job.store.root;
        let mut above = dir.parent();
        while let Some(path) = above {
            if let Ok(Stated { stat, .. }) = job.store_lane().stat(root, &path)? {
                return Ok(Owner::from(&stat));
            }
            above = path.parent();
        }
        Ok(Owner { uid: 0, gid: 0, mode: 0o700 })
    }

    /// Owner and mode of a folder: as it stands where that can be believed, as the catalog knows it, like its account's others, as given, as a
    /// source has it. Where a source kept no owners, its folders are root's, and the account's others know better.
    fn known_owner(
        &self,
        job: &mut Job<'_>,
        account: &Account,
        mailboxes: &[Mailbox],
        dir: &RelPath,
    ) -> Result<Option<Owner>, EngineError> {
        let mailbox = mailboxes.iter().find(|m| m.dir == *dir);
        if let Some(owner) = mailbox.and_then(|m| standing(mailboxes, m)) {
            return Ok(Some(owner));
        }
        let others = kin(mailboxes);
        if let Some(known) = mailbox.and_then(recorded).filter(|known| known.uid != 0 || others.is_none()) {
            return Ok(Some(known));
        }
        let home =
            account.dir.parent().filter(|home| !home.is_root() && maildir::is_mail_folder_name(account.dir.name()));
        let inside = dir.strip_prefix(home.as_ref().unwrap_or(&account.dir)).is_some_and(|rel| !rel.is_root());
        // All of the account's folders are root's: it is root's mail, if there is any.
        let roots = mailboxes.iter().find_map(|m| m.folder.as_ref().map(Owner::from)).filter(|_| !blank(mailboxes));
        let kin = others.or(roots).filter(|_| inside);
        let source = self.source_owner(job, dir)?;
        Ok(match (kin, source) {
            // No more rights than the others have, whatever the source says.
            (Some(kin), Some(source)) => Some(Owner { mode: source.mode & (kin.mode | 0o2000), ..kin }),
            (Some(kin), None) => Some(kin),
            (None, source) => source,
        })
    }

    /// Owner and mode that the first source which has the folder gives it; none where it is root's and anybody may
    /// write in it, which nobody meant.
    fn source_owner(&self, job: &mut Job<'_>, dir: &RelPath) -> Result<Option<Owner>, EngineError> {
        for n in 0..job.generations.len() {
            let generation = job.generations[n].clone();
            if generation.below_account.is_some() {
                continue;
            }
            if let Ok(Stated { stat, .. }) = job.lanes.lanes[generation.lane].stat(generation.root, dir)? {
                let (uid, gid) = job.options.owner.unwrap_or((stat.uid, stat.gid));
                let nonsense = uid == 0 && stat.mode & 0o022 != 0;
                return Ok((!nonsense).then_some(Owner { uid, gid, mode: stat.mode }));
            }
        }
        Ok(None)
    }

    fn make(
        &mut self,
        job: &mut Job<'_>,
        account: &Account,
        mailbox: &RelPath,
        path: &RelPath,
        owner: Owner,
    ) -> Result<(), EngineError> {
        let rel = mailbox.strip_prefix(&account.dir).unwrap_or_default();
        let mut step = Step {
            number: 0,
            account: account.name.clone(),
            mailbox: store::mailbox_name(&rel),
            key: None,
            verdict: Verdict::Missing(Missing::Lost),
            target: path.clone(),
            before: Fingerprint::Nothing,
            // A folder needs no set-id bits but the group's, which servers use to share mailboxes.
            action: Action::MakeFolder {
                attrs: Attrs { uid: owner.uid, gid: owner.gid, mode: owner.mode & 0o2777, ..Attrs::default() },
            },
            assurance: None,
            why: "needed by what goes into it".to_owned(),
            needs: Vec::new(),
            details: Details::default(),
        };
        job.push_step(&mut step)
    }
}
