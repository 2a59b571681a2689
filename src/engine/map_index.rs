//! The map of a storage that mailboxes share (mdbox), made anew where it is gone: gathers what the indexes of mailboxes show
//! and what lies in the storage. May not decide which message is which: `plan::map` does.
//!
//! One file does it. A log that follows none is the whole map to the server, as one is that it begins by itself.

use super::account::{Account, EngineError, Mailbox};
use super::job::{Job, Mode};
use super::server;
use crate::model::event::{ActionSummary, Finding, Subject};
use crate::model::limits::LIST_MAX;
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::server::{Shown, Whole};
use crate::model::wire::{Place, Stated};
use crate::model::{Attrs, Format, Missing, RelPath, Stat, Verdict, container};
use crate::plan::map::{Lying, map};
use crate::store::maildir::companion::{INDEX_LOG, MAP, MAP_LOG};
use crate::store::mdbox::fresh::{self, Head};
use crate::sys::clock;

/// Reports an account's storage that has lost its map, and plans a new one.
pub fn without_map(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox]) -> Result<(), EngineError> {
    let bare = |mailbox: &&Mailbox| {
        let top = mailbox.listing.entries.iter().filter(|entry| entry.place == Place::Top);
        let map = top.filter(|entry| MAP.contains(&&entry.name[..])).count();
        mailbox.format == Format::Mdbox && mailbox.selected && map == 0 && mailbox.messages().next().is_some()
    };
    let Some(mailbox) = mailboxes.iter().find(bare) else { return Ok(()) };
    let Some(shared) = container::shared(&mailbox.dir) else { return Ok(()) };
    let target = shared.storage.join(MAP_LOG).unwrap_or_default();
    let made = match job.options.mode {
        Mode::Verify => None,
        _ => Some(made(job, mailboxes, &shared.storage)?),
    };
    let reason =
        "the map of the storage is gone: the server would make it from the storage, and bring back what users deleted";
    let (verdict, mut action) = (Verdict::Damaged, None);
    let mut finding = Finding {
        account: account.name.clone(),
        mailbox: mailbox.name.clone(),
        ..Finding::of_file(Subject::Companion, &job.store.text, target, verdict, reason.to_owned())
    };
    job.tally.companions_lost += 1;
    match made {
        Some(Ok(made)) => {
            made.plan(job, account, mailbox, &finding)?;
            job.tally.repairable += 1;
            action = Some(("write", WHY.to_owned()));
        }
        Some(Err(why)) => {
            action = Some(("report", format!("{why}: {NOT_MADE}")));
        }
        None => {}
    }
    let planned = matches!(action, Some(("write", _)));
    finding.action =
        action.map(|(kind, why)| ActionSummary { kind: kind.to_owned(), source: None, assurance: None, why });
    match planned && job.options.hold_findings {
        true => job.remember(&finding),
        false => job.finding(finding),
    }
    Ok(())
}

const WHY: &str = "made again from what the indexes of all mailboxes show and what lies in the storage; what users deleted \
                   stays deleted";
const NOT_MADE: &str = "keep the server stopped and bring dovecot.map.index* back from a copy of the same time";

/// A map to be written.
struct Made {
    storage: RelPath,
    bytes: Vec<u8>,
    attrs: Attrs,
    /// What is left of the old one.
    old: Vec<(&'static [u8], Stat)>,
}

/// Makes the map; in words why that cannot be.
fn made(job: &mut Job<'_>, mailboxes: &[Mailbox], storage: &RelPath) -> Result<Result<Made, String>, EngineError> {
    if job.store.desk.is_some() {
        return Ok(Err("the server keeps its indexes elsewhere (--layout)".to_owned()));
    }
    let (mut shown, mut validity, mut like): (Vec<Shown>, Option<u32>, Option<Stat>) = (Vec::new(), None, None);
    let in_it = |mailbox: &&Mailbox| container::shared(&mailbox.dir).is_some_and(|shared| shared.storage == *storage);
    for mailbox in mailboxes.iter().filter(in_it) {
        let unsure = |why: &str| Ok(Err(format!("{}: {why}", mailbox.name)));
        if mailbox.folder.is_none() || !mailbox.lost.is_empty() {
            return unsure("not all that it shows is there, and what is taken for deleted is purged");
        }
        if !mailbox.selected || !mailbox.complete() {
            return unsure("it was not looked at, and what is taken for deleted is purged");
        }
        let Some(ledger) = server::ledger(job, mailbox)?.filter(|ledger| ledger.index == Whole::Sound) else {
            return unsure("its index cannot be read whole");
        };
        if validity.is_some_and(|validity| validity != ledger.map_validity) || ledger.map_validity == 0 {
            return unsure("its index tells of another map");
        }
        validity = Some(ledger.map_validity);
        like = like.or(ledger.files.iter().find(|(name, _)| name == INDEX_LOG).map(|(_, stat)| *stat));
        shown.extend(ledger.shown);
    }
    let (Some(validity), Some(like)) = (validity, like) else { return Ok(Err("no index is there".to_owned())) };
    let (lying, last_file) = match lying(job, storage)? {
        Ok(lying) => lying,
        Err(why) => return Ok(Err(why)),
    };
    let places = match map(&shown, &lying) {
        Ok(places) => places,
        Err(why) => return Ok(Err(why)),
    };
    let now = clock::now();
    let created = u32::try_from(now.sec).unwrap_or(u32::MAX);
    let head = Head { indexid: created, file_seq: 1, uid_validity: validity, last_file, modseq: 1 };
    let bytes = fresh::map(&head, created, &places);
    if bytes.len() as u64 > LIST_MAX {
        return Ok(Err("it is too long for a plan".to_owned()));
    }
    let mut old = Vec::new();
    for file in MAP {
        let (root, Ok(path)) = (job.store.root, storage.join(file)) else { continue };
        old.extend(job.store_lane().stat(root, &path)?.ok().map(|Stated { stat, .. }| (file, stat)));
    }
    let attrs = Attrs { uid: like.uid, gid: like.gid, mode: like.mode & 0o777, mtime: now, xattrs: Vec::new() };
    Ok(Ok(Made { storage: storage.clone(), bytes, attrs, old }))
}

/// All messages in the storage, and the highest number of its files.
fn lying(job: &mut Job<'_>, storage: &RelPath) -> Result<Result<(Vec<Lying>, u32), String>, EngineError> {
    let root = job.store.root;
    let unread = |path: &RelPath, detail: &str| Ok(Err(format!("{path} cannot be read: {detail}")));
    let files = match job.store_lane().storage(root, storage)? {
        Ok(listed) => listed.files,
        Err(trouble) => return unread(storage, &trouble.detail),
    };
    let mut all = Vec::new();
    for &file in &files {
        let Ok(path) = storage.join(format!("m.{file}").as_bytes()) else { continue };
        let frames = match job.store_lane().storage(root, &path)? {
            Ok(there) => there.frames,
            Err(trouble) => return unread(&path, &trouble.detail),
        };
        for frame in frames {
            let (Ok(offset), Ok(size)) = (u32::try_from(frame.offset), u32::try_from(frame.size)) else {
                return unread(&path, "it is longer than a server makes one");
            };
            all.push(Lying { file, offset, size, sound: frame.sound, guid: frame.guid });
        }
    }
    Ok(Ok((all, files.last().copied().unwrap_or(0))))
}

impl Made {
    /// Plans the steps, each after the one before it: the old map goes aside, and its new log comes last.
    fn plan(
        &self,
        job: &mut Job<'_>,
        account: &Account,
        mailbox: &Mailbox,
        finding: &Finding,
    ) -> Result<(), EngineError> {
        let mut needs = Vec::new();
        for file in MAP {
            let old = self.old.iter().find(|(name, _)| *name == file).map(|(_, stat)| *stat);
            let last = file == MAP_LOG;
            let action = match (last, old) {
                (true, _) => Action::Write { bytes: self.bytes.clone(), attrs: self.attrs.clone() },
                (false, Some(_)) => Action::Quarantine,
                (false, None) => continue,
            };
            let Ok(target) = self.storage.join(file) else { continue };
            let mut step = Step {
                number: 0,
                account: account.name.clone(),
                mailbox: mailbox.name.clone(),
                key: None,
                verdict: if last { finding.verdict } else { Verdict::Missing(Missing::Lost) },
                target,
                before: old.map_or(Fingerprint::Nothing, Fingerprint::Inode),
                action,
                assurance: None,
                why: WHY.to_owned(),
                needs: needs.clone(),
                details: Details { reason: finding.reason.clone(), ..Details::default() },
            };
            job.push_step(&mut step)?;
            needs.push(step.number);
        }
        Ok(())
    }
}
