//! What the mail server itself knows of messages that are gone. May not decide what comes back.

use super::account::{Account, EngineError, Mailbox};
use super::find::{Shelf, Sources};
use super::job::Job;
use super::lane::{LaneError, NOT_A_FILE, serve};
use super::mdbox;
use crate::model::server::{Ledger, Question, Says, Whole, Witness, Witnessed};
use crate::model::wire::Trouble;
use crate::model::{Format, Key, RelPath, Stamp, container};
use crate::plan::Fate;
use crate::source::layout::{self, Apart};
use crate::store::dovecot::mailbox_name_guid;
use crate::store::maildir::companion;
use crate::store::maildir::name::key;
use crate::store::mbox::Named;
use crate::store::sdbox;
use crate::store::{self, format_of, mailbox_name};
use std::collections::HashMap;

/// What an account's server noted of deleted mailboxes.
#[derive(Default)]
pub struct Deeds {
    /// Nothing is missing in it.
    whole: bool,
    /// There is none, as where a server began anew and has deleted nothing yet.
    absent: bool,
    /// GUIDs of mailboxes, or hashes of their names, and when they were deleted. Unix seconds.
    deleted: Vec<([u8; 16], u32)>,
}

impl Deeds {
    /// Asks for it, where a mailbox is gone and the account's own folder is not.
    pub fn of(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox]) -> Result<Deeds, EngineError> {
        // In Maildir the account's own folder is its inbox; in sdbox it lies above all of them.
        let dbox = mailboxes.iter().any(|mailbox| mailbox.format.is_dbox() && mailbox.folder.is_some());
        let inbox = mailboxes.iter().find(|mailbox| mailbox.rel.is_root() && mailbox.folder.is_some());
        let files = mailboxes.iter().any(|mailbox| mailbox.format == Format::Mbox && mailbox.folder.is_some());
        if !dbox && !files && !inbox.is_some_and(Mailbox::complete) {
            return Ok(Deeds::default());
        }
        // Only where a folder is gone, or may turn out to be.
        if job.generations.is_empty() && mailboxes.iter().all(|mailbox| mailbox.folder.is_some()) {
            return Ok(Deeds::default());
        }
        // Beside mbox files all that is the server's own lies in a folder of its own.
        let beside = account.dir.join(b".imap").ok().filter(|_| files);
        let (dir, quiet) = (beside.as_ref().unwrap_or(&account.dir), files);
        let Some(ledger) = read_ledger(job, (job.store.lane, job.store.root), dir, quiet)? else {
            return Ok(Deeds::default());
        };
        let (whole, absent) = (ledger.mailbox_log == Whole::Sound, ledger.mailbox_log == Whole::Absent);
        Ok(Deeds { whole, absent, deleted: ledger.deleted })
    }

    /// What the server of a source noted in an account's folder there.
    pub fn of_source(job: &mut Job<'_>, generation: usize, account: &RelPath) -> Result<Deeds, EngineError> {
        let at = (job.generations[generation].lane, job.generations[generation].root);
        let Some(ledger) = read_ledger(job, at, account, true)? else { return Ok(Deeds::default()) };
        Ok(Deeds { whole: ledger.mailbox_log == Whole::Sound, absent: false, deleted: ledger.deleted })
    }

    /// What became of a folder that was there at a time. `restarted`: the server began the account anew since, as messages
    /// of its other folders show.
    pub fn fate(&self, mailbox: &Mailbox, seen: Option<Stamp>, restarted: bool) -> Fate {
        self.fate_of(&mailbox.rel, mailbox.folder.is_none(), seen, self.absent && restarted)
    }

    /// The same of a folder by its name, and whether it is gone. `restarted`: the server began anew, with an empty log.
    pub fn fate_of(&self, rel: &RelPath, gone: bool, seen: Option<Stamp>, restarted: bool) -> Fate {
        let since = seen.map_or(0, |stamp| stamp.sec);
        let names: Vec<[u8; 16]> = names_of(rel).iter().map(|name| mailbox_name_guid(name)).collect();
        let is_its = |(guid, time): &([u8; 16], u32)| names.contains(guid) && i64::from(*time) >= since;
        match self.deleted.iter().any(is_its) {
            true => Fate::Deleted,
            false if gone && (self.whole || restarted) => Fate::Kept,
            false => Fate::Unknown,
        }
    }
}

/// What a server may call the mailbox in a folder: with either separator, in either alphabet.
fn names_of(rel: &RelPath) -> Vec<Vec<u8>> {
    if format_of(rel, []) == Format::Mbox {
        let file = container::file_of_mailbox(rel).unwrap_or_default();
        return vec![file.as_bytes().to_vec(), mailbox_name(rel).into_bytes()];
    }
    if format_of(rel, []).is_dbox() {
        let raw = sdbox::raw_name(&container::folder(rel));
        return vec![raw.clone(), mailbox_name(rel).into_bytes()];
    }
    let raw = rel.as_bytes().strip_prefix(b".").unwrap_or(rel.as_bytes()).to_vec();
    let shown = mailbox_name(rel).into_bytes();
    let slashed = |name: &[u8]| name.iter().map(|&b| if b == b'.' { b'/' } else { b }).collect::<Vec<u8>>();
    vec![slashed(&raw), slashed(&shown), raw, shown]
}

/// Names in one question, so that it fits a frame.
pub(super) const ASKED_AT_ONCE: usize = 8192;

/// What is known of each message that was asked for.
#[derive(Default)]
pub struct Asked(Vec<Witnessed>);

impl Asked {
    pub fn of(&self, nth: usize) -> Witnessed {
        self.0.get(nth).copied().unwrap_or_default()
    }
}

/// Asks the server's files in a mailbox about messages whose files had these names. Where its list has forgotten one,
/// the sources' lists of the same UIDVALIDITY know under which UID it was.
pub fn ask(job: &mut Job<'_>, sources: &Sources, mailbox: &Mailbox, names: &[Vec<u8>]) -> Result<Asked, EngineError> {
    let kept = mailbox.companions().any(|name| companion::is_list(name) || companion::is_index(name));
    if names.is_empty() {
        return Ok(Asked::default());
    }
    if mailbox.format == Format::Mbox {
        let dir = folder_beside(job, mailbox);
        return Ok(dir.map_or_else(Asked::default, |dir| beside_a_file(job, &dir, names)));
    }
    if job.store.desk.is_some() {
        return at_its_desk(job, mailbox, names);
    }
    if mailbox.folder.is_none() || !kept {
        return Ok(Asked::default());
    }
    let question = |name: &Vec<u8>| Question { name: name.clone(), uid: store::uid(name), era: None };
    let mut asked: Vec<Question> = names.iter().map(question).collect();
    let at = (job.store.lane, job.store.root);
    let Some(mut own) = put(job, at, &mailbox.dir, &asked)? else { return Ok(Asked::default()) };
    let forgotten = |own: &Witness| own.messages.iter().any(|message| message.uid.is_none());
    for generation in 0..job.generations.len() {
        let Some(dir) = sources.account_dir(generation).map(|dir| dir.join_path(&mailbox.rel)) else { continue };
        if !forgotten(&own) {
            break;
        }
        let at = (job.generations[generation].lane, job.generations[generation].root);
        // A source without such a list is no trouble.
        let Ok(Some(theirs)) = put_quietly(job, at, &dir, &asked) else { continue };
        if theirs.uid_validity != own.uid_validity || own.uid_validity.is_none() {
            note_restart(&mut own, &theirs);
            continue;
        }
        for ((mine, given), their) in own.messages.iter().zip(&mut asked).zip(&theirs.messages) {
            if mine.uid.is_none() && !their.unlisted {
                given.uid = given.uid.or(their.uid);
            }
        }
        if let Some(again) = put(job, (job.store.lane, job.store.root), &mailbox.dir, &asked)? {
            own = again;
        }
    }
    partners(job, sources, mailbox, &asked, &mut own);
    if mailbox.format == Format::Mdbox {
        mdbox::deleted(job, mailbox, names, &mut own.messages)?;
    }
    Ok(Asked(own.messages))
}

/// Where the indexes of a mailbox in one file lie, if not apart from all mail: in `.imap/NAME` beside it.
fn folder_beside(job: &Job<'_>, mailbox: &Mailbox) -> Option<RelPath> {
    let file = container::file_of_mailbox(&mailbox.dir)?;
    let name = if file.name().eq_ignore_ascii_case(b"inbox") { b"INBOX" } else { file.name() };
    let beside = file.parent().and_then(|dir| dir.join(b".imap").and_then(|dir| dir.join(name)).ok());
    beside.filter(|_| mailbox.folder.is_some() && job.store.desk.is_none())
}

/// What lies beside a mailbox in one file.
pub struct Beside {
    pub dir: RelPath,
    /// All that the indexes there say; `None` where there are none or they could not be read, as beside most files.
    pub ledger: Option<Ledger>,
}

/// The folder of the indexes of a mailbox in one file, and what they say; `None` for any other mailbox.
pub fn beside(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<Option<Beside>, EngineError> {
    let Some(dir) = folder_beside(job, mailbox) else { return Ok(None) };
    let (lane, root) = (job.store.lane, job.store.root);
    let ledger = job.lanes.lanes[lane].ledger(root, &dir)?.ok();
    Ok(Some(Beside { dir, ledger }))
}

/// The same of a mailbox in one file: its indexes, in the folder `dir`, know messages by their UIDs.
pub fn beside_a_file(job: &mut Job<'_>, dir: &RelPath, names: &[Vec<u8>]) -> Asked {
    let question = |name: &Vec<u8>| {
        let named = Named::parse(name);
        let uid = named.and_then(|named| named.uid);
        let name = uid.map_or_else(Vec::new, |uid| format!("u.{uid}").into_bytes());
        Question { name, uid, era: named.and_then(|named| named.validity) }
    };
    let asked: Vec<Question> = names.iter().map(question).collect();
    let at = (job.store.lane, job.store.root);
    // Most files have no such indexes beside them.
    let Ok(Some(own)) = put_quietly(job, at, dir, &asked) else { return Asked::default() };
    let told = own.messages.into_iter().zip(&asked);
    Asked(told.map(|(said, asked)| if asked.uid.is_some() { said } else { Witnessed::default() }).collect())
}

/// The same, where the server keeps its lists or its indexes apart from the mail.
fn at_its_desk(job: &mut Job<'_>, mailbox: &Mailbox, names: &[Vec<u8>]) -> Result<Asked, EngineError> {
    let Some(own) = ledger(job, mailbox)? else { return Ok(Asked::default()) };
    let uids: HashMap<&Key, u32> = own.lines.iter().map(|line| (&line.key, line.uid)).collect();
    let question = |name: &Vec<u8>| Question { name: name.clone(), uid: uids.get(&key(name)).copied(), era: None };
    let asked: Vec<Question> = names.iter().map(question).collect();
    let place = desk_of(job, mailbox, Apart::Index)
        .or_else(|| mailbox.folder.map(|_| ((job.store.lane, job.store.root), mailbox.dir.clone())));
    let Some((at, dir)) = place else { return Ok(Asked::default()) };
    let Some(mut witness) = put(job, at, &dir, &asked)? else { return Ok(Asked::default()) };
    for (mine, asked) in witness.messages.iter_mut().zip(&asked) {
        mine.unlisted = asked.uid.is_none();
        if asked.uid.is_some() && mine.says == Says::Nothing && !mine.expunged {
            mine.says = Says::Listed;
        }
    }
    Ok(Asked(witness.messages))
}

/// Where the server keeps such files of a mailbox, if that is not with the mail.
fn desk_of(job: &Job<'_>, mailbox: &Mailbox, apart: Apart) -> Option<((usize, u32), RelPath)> {
    let desk = job.store.desk.as_ref()?;
    let at = match apart {
        Apart::Control => desk.control,
        Apart::Index => desk.index,
    }?;
    let mut account = mailbox.dir.clone();
    for _ in mailbox.rel.components() {
        account = account.parent().unwrap_or_default();
    }
    let below = desk.layout.below(apart, &job.store.path.join(account.as_path()))?;
    Some((at, layout::folder(&below, &mailbox.rel)?))
}

/// All that the server's files of a mailbox say, wherever it keeps them; of a mailbox that is not there, nothing. `None`
/// where one of them could not be read: what was not read is not absent.
pub fn ledger(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<Option<Ledger>, EngineError> {
    let home = mailbox.folder.map(|_| ((job.store.lane, job.store.root), mailbox.dir.clone()));
    let places = [home, desk_of(job, mailbox, Apart::Control), desk_of(job, mailbox, Apart::Index)];
    let mut found = [const { None::<Ledger> }; 3];
    for (nth, place) in places.into_iter().enumerate() {
        if let Some((at, dir)) = place {
            // A mailbox that the server never opened has no folder there.
            let Some(ledger) = read_ledger(job, at, &dir, nth > 0)? else { return Ok(None) };
            found[nth] = Some(ledger);
        }
    }
    let [own, control, index] = found;
    let mut own = own.unwrap_or_default();
    if let Some(control) = control {
        own.take_lists(control);
    }
    if let Some(index) = index {
        own.take_indexes(index);
    }
    Ok(Some(own))
}

/// What the servers of those sources say of one mailbox whose listing of it is `wanted`, the newest first, each with what
/// the source is called.
pub(super) fn ledgers_of_sources(
    job: &mut Job<'_>,
    sources: &mut Sources,
    rel: &RelPath,
    wanted: &dyn Fn(&Shelf, Format) -> bool,
) -> Result<Vec<(Ledger, String)>, EngineError> {
    let mut order = Vec::new();
    for generation in 0..job.generations.len() {
        let format = sources.format(generation, rel);
        if wanted(sources.shelf(job, generation, rel)?, format) {
            order.push((sources.content_time(job, generation)?, job.generations[generation].rank, generation));
        }
    }
    order.sort_by_key(|&(time, rank, _)| (std::cmp::Reverse(time), rank));
    let mut ledgers = Vec::new();
    for (_, _, generation) in order {
        let Some(dir) = sources.account_dir(generation).map(|dir| dir.join_path(rel)) else { continue };
        let (lane, root) = (job.generations[generation].lane, job.generations[generation].root);
        // A source that cannot say is no trouble: the others may.
        if let Ok(ledger) = job.lanes.lanes[lane].ledger(root, &dir)? {
            ledgers.push((ledger, job.generations[generation].label.clone()));
        }
    }
    Ok(ledgers)
}

/// What the files in one folder say; `None` where one could not be read, which is told.
pub(super) fn read_ledger(
    job: &mut Job<'_>,
    (lane, root): (usize, u32),
    dir: &RelPath,
    may_lack: bool,
) -> Result<Option<Ledger>, EngineError> {
    match job.lanes.lanes[lane].ledger(root, dir)? {
        Ok(ledger) => Ok(Some(ledger)),
        Err(trouble) if may_lack && matches!(trouble.errno, Some(2)) => Ok(Some(Ledger::default())),
        // What is no file is counted where it was listed.
        Err(trouble) if trouble.detail == NOT_A_FILE => Ok(None),
        Err(trouble) => {
            job.not_checked_once(&trouble);
            Ok(None)
        }
    }
}

/// Notes messages that a server never knew because it began anew: a source lists them under an older UIDVALIDITY.
fn note_restart(own: &mut Witness, theirs: &Witness) {
    if !matches!((own.uid_validity, theirs.uid_validity), (Some(own), Some(theirs)) if theirs < own) {
        return;
    }
    for (mine, their) in own.messages.iter_mut().zip(&theirs.messages) {
        if mine.says == Says::Nothing && mine.uid.is_none() && their.uid.is_some() && !their.unlisted {
            mine.says = Says::Restarted;
        }
    }
}

/// Notes which messages that the server noticed as lost a partner of its sync has deleted since: a source that is such
/// a partner says so in its own log.
fn partners(job: &mut Job<'_>, sources: &Sources, mailbox: &Mailbox, asked: &[Question], own: &mut Witness) {
    for generation in 0..job.generations.len() {
        if !own.messages.iter().any(|message| matches!(message.says, Says::LossNoticed | Says::DeletedBySync)) {
            return;
        }
        let Some(dir) = sources.account_dir(generation).map(|dir| dir.join_path(&mailbox.rel)) else { continue };
        let at = (job.generations[generation].lane, job.generations[generation].root);
        let Ok(Some(theirs)) = put_quietly(job, at, &dir, asked) else { continue };
        for (mine, their) in own.messages.iter_mut().zip(&theirs.messages) {
            mine.deleted_at_partner |= mine.says == Says::LossNoticed && their.says == Says::DeletedBySync;
            // The partner's word on why it did that.
            if mine.says == Says::DeletedBySync && matches!(their.says, Says::LossNoticed | Says::DeletedByUser) {
                mine.says = their.says;
            }
        }
    }
}

/// Puts a question to one root, in parts that fit a frame.
fn put_quietly(
    job: &mut Job<'_>,
    (lane, root): (usize, u32),
    dir: &RelPath,
    asked: &[Question],
) -> Result<Option<Witness>, Trouble> {
    let mut whole: Option<Witness> = None;
    for part in asked.chunks(ASKED_AT_ONCE) {
        let lost =
            |error: LaneError| serve::trouble(root, dir.as_bytes(), "read", &std::io::Error::other(error.to_string()));
        let mut witness = job.lanes.lanes[lane].witness(root, dir, part.to_vec()).map_err(lost)??;
        let mut messages = whole.take().map(|whole| whole.messages).unwrap_or_default();
        messages.append(&mut witness.messages);
        whole = Some(Witness { messages, ..witness });
    }
    Ok(whole)
}

/// The same, where no answer means that something was not checked.
pub(super) fn put(
    job: &mut Job<'_>,
    at: (usize, u32),
    dir: &RelPath,
    asked: &[Question],
) -> Result<Option<Witness>, EngineError> {
    match put_quietly(job, at, dir, asked) {
        Ok(witness) => Ok(witness),
        Err(trouble) => {
            job.not_checked_once(&trouble);
            Ok(None)
        }
    }
}
