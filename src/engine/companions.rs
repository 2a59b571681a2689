//! Files that a server keeps beside the mail: known for what they are, put back where they are lost, never
//! overwritten (their owners rewrite them at any time, so a difference means nothing).

use super::account::{Account, EngineError, Mailbox};
use super::find::Sources;
use super::folders::{self, Folders};
use super::job::{Job, Mode};
use super::lane::HomeFiles;
use super::mending::Menders;
use super::{map_index, sdbox};
use crate::catalog::CompanionRow;
use crate::model::event::{ActionSummary, Finding, Subject};
use crate::model::form::Form;
use crate::model::message::{CopyFacts, Encoding};
use crate::model::plan::{Action, Details, Fingerprint, Location, Step};
use crate::model::wire::{Effort, EntryKind, Place, ReadItem, ReadMode};
use crate::model::{Assurance, Attrs, Digest, Format, Missing, RelPath, Verdict};
use crate::plan::Undecided;
use crate::plan::attrs::{Owner, Witnesses, settle};
use crate::store::maildir::{companion, is_mail_folder_name};
use std::collections::BTreeMap;

/// A companion that should be there and is not.
struct Lost {
    path: RelPath,
    row: Option<CompanionRow>,
    reason: String,
}

/// What the rest of the account shows.
pub struct Around<'a> {
    /// Mailbox folders that come back with this plan.
    pub returning: &'a [RelPath],
    /// Nothing is left of the account.
    pub blank: bool,
    /// This run found damage in the account.
    pub harmed: bool,
    /// What writes the server's lists again.
    pub menders: &'a Menders,
}

impl Around<'_> {
    /// What it means that a companion is not there. A filter or an access list may be gone because its owner
    /// deleted it, and then it must not come back to life.
    fn verdict(&self, job: &Job<'_>, path: &RelPath) -> Verdict {
        let kind = companion::in_mailbox(path.name()).or(companion::in_home(path.name()));
        let deletable = kind.is_some_and(companion::Companion::owner_may_delete);
        let comes_back = self.blank
            || job.resumed.owes(path)
            || path.parent().is_some_and(|folder| self.returning.contains(&folder));
        Verdict::Missing(match (deletable && !comes_back, self.harmed) {
            (false, _) => Missing::Lost,
            (true, true) => Missing::Undecided,
            (true, false) => Missing::PresumedDeleted,
        })
    }
}

/// Reports lost companions of an account and plans their return; in a verify, records those that are there.
pub fn companions(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    folders: &mut Folders,
    around: &Around<'_>,
) -> Result<(), EngineError> {
    let Some(present) = present(job, account, mailboxes)? else { return Ok(()) };
    let known = known(job, account)?;
    let mut lost: BTreeMap<RelPath, Lost> = BTreeMap::new();
    for row in known.values().filter(|r| !r.gone && !present.contains_key(&r.path)) {
        if belongs(mailboxes, around.returning, account, &row.path) {
            let reason = "it was there when the store was last verified".to_owned();
            lost.insert(row.path.clone(), Lost { path: row.path.clone(), row: Some(row.clone()), reason });
        }
    }
    // The catalog knows what was here: a source tells only of accounts that it never saw.
    if known.is_empty() && mailboxes.iter().all(|m| m.row.is_none()) {
        by_sources(job, account, mailboxes, sources, around.returning, &present, &mut lost)?;
    }
    sdbox::unlisted(job, account, mailboxes, around.menders)?;
    map_index::without_map(job, account, mailboxes)?;
    for lost in lost.into_values().filter(|lost| !around.menders.writes(&lost.path)) {
        let verdict = around.verdict(job, &lost.path);
        one(job, account, mailboxes, sources, folders, (lost, verdict))?;
    }
    if job.options.mode == Mode::Verify {
        record(job, account, &known, present)?;
    }
    Ok(())
}

/// The account's home, where users keep their filters: the folder above `Maildir`.
fn home(account: &Account) -> Option<RelPath> {
    if is_mail_folder_name(account.dir.name()) { account.dir.parent().filter(|p| !p.is_root()) } else { None }
}

/// All companions that are there; `None` where a listing did not finish, so that nothing can be missing.
fn present(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
) -> Result<Option<BTreeMap<RelPath, ()>>, EngineError> {
    let mut present = BTreeMap::new();
    for mailbox in mailboxes.iter().filter(|m| m.selected) {
        if !mailbox.complete() {
            return Ok(None);
        }
        for name in mailbox.companions() {
            if companion::in_mailbox(name).is_some_and(companion::Companion::restored)
                && let Ok(path) = mailbox.dir.join(name)
            {
                present.insert(path, ());
            }
        }
    }
    if let Some(home) = home(account) {
        let root = job.store.root;
        let HomeFiles { files, troubles } = job.store_lane().home(root, &home)?;
        if !troubles.is_empty() {
            for trouble in &troubles {
                job.not_checked(trouble);
            }
            return Ok(None);
        }
        present.extend(files.into_iter().map(|(path, _)| (path, ())));
    }
    if is_dbox(mailboxes) {
        let root = job.store.root;
        let HomeFiles { files, troubles } = job.store_lane().home(root, &account.dir)?;
        if !troubles.is_empty() {
            for trouble in &troubles {
                job.not_checked(trouble);
            }
            return Ok(None);
        }
        present.extend(files.into_iter().map(|(path, _)| (path, ())));
    }
    Ok(Some(present))
}

/// Whether the account's own folder is no mailbox, but lies above all of them with what concerns them all.
fn is_dbox(mailboxes: &[Mailbox]) -> bool {
    mailboxes.iter().any(|mailbox| mailbox.format.is_dbox())
}

fn known(job: &Job<'_>, account: &Account) -> Result<BTreeMap<RelPath, CompanionRow>, EngineError> {
    let (Some(catalog), Some(store)) = (&job.catalog, job.store.id) else { return Ok(BTreeMap::new()) };
    let rows = catalog.companions(store, &account.dir)?;
    Ok(rows.into_iter().map(|row| (row.path.clone(), row)).collect())
}

/// Whether the place of a companion is there, or comes back with this plan: a folder that its owner deleted
/// takes its files with it.
fn belongs(mailboxes: &[Mailbox], returning: &[RelPath], account: &Account, path: &RelPath) -> bool {
    let Some(folder) = path.parent() else { return false };
    if returning.contains(&folder) {
        return true;
    }
    match mailboxes.iter().find(|m| m.dir == folder) {
        Some(mailbox) => mailbox.selected && mailbox.folder.is_some(),
        None => {
            if folder == account.dir && is_dbox(mailboxes) {
                return mailboxes.iter().any(|m| m.folder.is_some());
            }
            // A folder that its owner gave up takes the server's files in it along.
            if path.strip_prefix(&account.dir).is_some() {
                return false;
            }
            // The home of an account that is not there, and does not come back, is not there either.
            let lives = !returning.is_empty() || mailboxes.iter().any(|m| m.folder.is_some());
            lives && home(account).is_some_and(|home| path.strip_prefix(&home).is_some())
        }
    }
}

/// Without a catalog: what the newest generation that knows the account has.
fn by_sources(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    returning: &[RelPath],
    present: &BTreeMap<RelPath, ()>,
    lost: &mut BTreeMap<RelPath, Lost>,
) -> Result<(), EngineError> {
    let mut order: Vec<usize> = (0..job.generations.len()).collect();
    order.sort_by_key(|&g| (std::cmp::Reverse(job.generations[g].time), job.generations[g].rank));
    for generation in order {
        let (boxes, complete) = sources.boxes(job, generation)?;
        if boxes.is_empty() || !complete {
            continue;
        }
        let label = job.generations[generation].label.clone();
        let mut held = Vec::new();
        for rel in boxes {
            let dir = account.dir.join_path(&rel);
            let top = sources.shelf(job, generation, &rel)?.top().filter(|e| e.kind == EntryKind::File);
            // dsync marks its whole copy as a subfolder; the account's own folder is none.
            let fits = |kind: companion::Companion| {
                kind.restored() && !(rel.is_root() && kind == companion::Companion::Marker)
            };
            let restored = top.filter(|e| companion::in_mailbox(&e.name).is_some_and(fits));
            held.extend(restored.filter_map(|e| dir.join(&e.name).ok()));
        }
        held.extend(in_source_home(job, account, sources, generation)?);
        if is_dbox(mailboxes) {
            held.extend(in_source_account(job, account, sources, generation)?);
        }
        for path in held {
            if !present.contains_key(&path)
                && !stands_under_another_name(present, &path)
                && belongs(mailboxes, returning, account, &path)
            {
                let reason = format!("{label} has it");
                lost.insert(path.clone(), Lost { path, row: None, reason });
            }
        }
        return Ok(());
    }
    Ok(())
}

/// The record of UIDVALIDITY is in the name of its file: any one there is the account's own.
fn stands_under_another_name(present: &BTreeMap<RelPath, ()>, path: &RelPath) -> bool {
    const RECORD: &[u8] = b"dovecot-uidvalidity.";
    let is_record = |path: &RelPath| path.name().starts_with(RECORD);
    is_record(path) && present.keys().any(|other| is_record(other) && other.parent() == path.parent())
}

/// What a generation holds in the account's home, as paths below the store.
fn in_source_home(
    job: &mut Job<'_>,
    account: &Account,
    sources: &Sources,
    generation: usize,
) -> Result<Vec<RelPath>, EngineError> {
    let theirs = sources.account_dir(generation).and_then(RelPath::parent);
    let (Some(ours), Some(theirs)) = (home(account), theirs) else { return Ok(Vec::new()) };
    let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
    let HomeFiles { files, troubles } = job.lanes.lanes[lane].home(root, &theirs)?;
    for trouble in &troubles {
        job.not_checked(trouble);
    }
    Ok(files.iter().filter_map(|(path, _)| Some(ours.join_path(&path.strip_prefix(&theirs)?))).collect())
}

/// What a generation holds in the folder above an account's mailboxes, as paths below the store.
fn in_source_account(
    job: &mut Job<'_>,
    account: &Account,
    sources: &Sources,
    generation: usize,
) -> Result<Vec<RelPath>, EngineError> {
    let Some(theirs) = sources.account_dir(generation).cloned() else { return Ok(Vec::new()) };
    let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
    let HomeFiles { files, troubles } = job.lanes.lanes[lane].home(root, &theirs)?;
    for trouble in &troubles {
        job.not_checked(trouble);
    }
    Ok(files.iter().filter_map(|(path, _)| Some(account.dir.join_path(&path.strip_prefix(&theirs)?))).collect())
}

/// Reports one lost companion and plans its return from the first generation, newest first, that has it.
fn one(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    folders: &mut Folders,
    (lost, verdict): (Lost, Verdict),
) -> Result<(), EngineError> {
    let folder = lost.path.parent().unwrap_or_default();
    let mailbox = mailboxes.iter().find(|m| m.dir == folder);
    let kind = companion::in_mailbox(lost.path.name()).or(companion::in_home(lost.path.name()));
    let words = kind.map_or("server's file", companion::Companion::words);
    let mut finding = Finding {
        subject: Subject::Companion,
        store: job.store.text.clone(),
        account: account.name.clone(),
        mailbox: mailbox.map(|m| m.name.clone()).unwrap_or_default(),
        key: None,
        uid: None,
        guid: None,
        path: lost.path.clone(),
        size: lost.row.as_ref().map(|r| r.size),
        device: None,
        internal_date: None,
        verdict,
        checks: Vec::new(),
        faults: Vec::new(),
        signed: None,
        reason: format!("the {words} is gone: {}", lost.reason),
        envelope: None,
        action: None,
        outcome: None,
        accepted: false,
    };
    // The server makes one anew, of another name: where nobody has it, nothing that clients see is lost.
    if kind == Some(companion::Companion::UidValidity) && copy(job, account, sources, &lost)?.is_none() {
        return Ok(());
    }
    if verdict == Verdict::Missing(Missing::PresumedDeleted) {
        job.tally.count(verdict);
        job.finding(finding);
        return Ok(());
    }
    job.tally.companions_lost += 1;
    if verdict == Verdict::Missing(Missing::Undecided) && job.options.undecided != Undecided::Restore {
        job.finding(finding);
        return Ok(());
    }
    if let Some((generation, path, facts, digest)) = copy(job, account, sources, &lost)? {
        folders.need_plain(job, account, mailboxes, &folder)?;
        let (assurance, proof) = match lost.row.as_ref().map(|r| r.digest == digest) {
            Some(true) => (Assurance::Identical, "holds the recorded content"),
            Some(false) => (Assurance::Plausible, "holds an older or newer state of it"),
            None => (Assurance::Plausible, "holds it"),
        };
        let label = job.generations[generation].label.clone();
        let attrs: Attrs = settle(&Witnesses {
            folder: around_it(job, mailboxes, mailbox, &folder)?,
            catalog: lost.row.as_ref().map(|r| &r.attrs),
            given: job.options.owner,
            source: Some((&facts.stat, Some(facts.stat.mtime))),
            ..Witnesses::default()
        });
        let why = format!("{label} {proof}");
        finding.action = Some(ActionSummary {
            kind: "restore".to_owned(),
            source: Some(label.clone()),
            assurance: Some(assurance),
            why: why.clone(),
        });
        let mut step = Step {
            number: 0,
            account: account.name.clone(),
            mailbox: finding.mailbox.clone(),
            key: None,
            verdict,
            target: lost.path,
            before: Fingerprint::Nothing,
            action: Action::Restore {
                from: Location { source: Some(generation as u32), path, form: Form::default() },
                stored_as: Encoding::Plain,
                attrs,
                content: digest,
                length: facts.length,
            },
            assurance: Some(assurance),
            why,
            needs: Vec::new(),
            details: Details { reason: finding.reason.clone(), source: Some(label), ..Details::default() },
        };
        job.push_step(&mut step)?;
        job.tally.repairable += 1;
        if job.options.hold_findings {
            job.remember(&finding);
            return Ok(());
        }
    }
    job.finding(finding);
    Ok(())
}

/// Owner and mode of the folder that a companion goes to, if it is there: a mailbox, the home or its `sieve`.
fn around_it(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    mailbox: Option<&Mailbox>,
    folder: &RelPath,
) -> Result<Option<Owner>, EngineError> {
    if let Some(mailbox) = mailbox.filter(|m| m.folder.is_some()) {
        return Ok(folders::standing(mailboxes, mailbox));
    }
    let root = job.store.root;
    let there = job.store_lane().stat(root, folder)?.ok().filter(|s| s.kind == EntryKind::Directory);
    Ok(there.and_then(|s| folders::standing_plain(mailboxes, Owner::from(&s.stat))))
}

/// The newest copy of a companion: generation, path below its root, what reading it gave.
fn copy(
    job: &mut Job<'_>,
    account: &Account,
    sources: &Sources,
    lost: &Lost,
) -> Result<Option<(usize, RelPath, CopyFacts, Digest)>, EngineError> {
    let mut order: Vec<usize> = (0..job.generations.len()).collect();
    order.sort_by_key(|&g| (std::cmp::Reverse(job.generations[g].time), job.generations[g].rank));
    for generation in order {
        let Some(dir) = sources.account_dir(generation).cloned() else { continue };
        let path = match (lost.path.strip_prefix(&account.dir), home(account), dir.parent()) {
            (Some(rel), _, _) => dir.join_path(&rel),
            (None, Some(home), Some(above)) => match lost.path.strip_prefix(&home) {
                Some(rel) => above.join_path(&rel),
                None => continue,
            },
            _ => continue,
        };
        let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
        if let Ok(facts) = job.lanes.lanes[lane].read_one(item(root, path.clone()))
            && let Some(digest) = facts.digest
        {
            return Ok(Some((generation, path, facts, digest)));
        }
    }
    Ok(None)
}

fn item(root: u32, path: RelPath) -> ReadItem {
    ReadItem {
        id: 0,
        root,
        path,
        mode: ReadMode::Companion,
        form: Form::default(),
        format: Format::default(),
        file: None,
        expected: None,
        size_claim: None,
        crlf_claim: None,
        envelope: false,
        medium: false,
        effort: Effort::Pages,
        groups: false,
        deep: false,
    }
}

/// Records what is there. What is gone stays on record until it is back.
fn record(
    job: &mut Job<'_>,
    account: &Account,
    known: &BTreeMap<RelPath, CompanionRow>,
    present: BTreeMap<RelPath, ()>,
) -> Result<(), EngineError> {
    let seen = crate::sys::clock::now();
    let root = job.store.root;
    let mut rows = Vec::new();
    let mut items = present.into_keys().map(|path| item(root, path));
    job.read_store(&mut items, &mut |job, item, result| match result {
        Ok(facts) => {
            let Some(digest) = facts.digest else { return };
            let stat = &facts.stat;
            let attrs = Attrs { uid: stat.uid, gid: stat.gid, mode: stat.mode, mtime: stat.mtime, xattrs: Vec::new() };
            rows.push(CompanionRow { path: item.path, digest, size: stat.size, attrs, seen, gone: false });
        }
        Err(trouble) if trouble.errno == Some(2) => {}
        Err(trouble) => job.not_checked(&trouble),
    });
    rows.retain(|new| known.get(&new.path).is_none_or(|old| (old.digest, old.gone) != (new.digest, false)));
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    if let (Some(catalog), Some(store)) = (&mut job.catalog, job.store.id)
        && !rows.is_empty()
    {
        catalog.record_companions(store, &account.dir, &account.name, &mut rows.into_iter())?;
    }
    Ok(())
}

/// Stale files in `tmp`: a delivery that never finished. Reported, never used.
pub fn stale_tmp(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox]) {
    let limit = crate::sys::clock::now().sec - 36 * 3600;
    for mailbox in mailboxes.iter().filter(|m| m.selected) {
        let entries = mailbox.listing.entries.iter().filter(|e| e.place == Place::Tmp && e.kind == EntryKind::File);
        let stale: Vec<_> = entries.filter(|e| e.stat.is_some_and(|s| s.mtime.sec < limit)).cloned().collect();
        for entry in stale {
            let Some(path) = mailbox.path(&entry) else { continue };
            let finding = Finding {
                subject: Subject::Stray,
                store: job.store.text.clone(),
                account: account.name.clone(),
                mailbox: mailbox.name.clone(),
                key: Some(crate::model::Key(entry.name.clone())),
                uid: None,
                guid: None,
                path,
                size: entry.stat.map(|s| s.size),
                device: None,
                internal_date: entry.stat.map(|s| s.mtime),
                verdict: Verdict::Undetermined,
                checks: Vec::new(),
                faults: Vec::new(),
                signed: None,
                reason: "a delivery that never finished, older than 36 hours; never used".to_owned(),
                envelope: None,
                action: None,
                outcome: None,
                accepted: false,
            };
            job.finding(finding);
        }
    }
}
