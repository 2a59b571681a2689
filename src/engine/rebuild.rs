//! Files that hold many messages, put together anew: what stays is kept to the byte, what is harmed or lost comes from
//! copies, with the lines and fields around it that the server put there.
//!
//! Plans one step a file. Reads through lanes; writes nothing.

use super::account::{Account, EngineError, Mailbox};
use super::compose::{Parts, Places, compose, measured};
use super::folders::Folders;
use super::harm::Harm;
use super::job::Job;
use super::mbox_index::Indexes;
use super::mending::{Menders, Scene};
use super::server::{self, Beside};
use super::{frames, heal, mbox, mbox_flags, mdbox, storage_anew};
use crate::model::container::{self, Own, OwnField};
use crate::model::event::{ActionSummary, Finding, Subject};
use crate::model::plan::{Action, Details, Fingerprint, Heal, Location, Slice, Step};
use crate::model::server::{Recalled, Whole};
use crate::model::wire::EntryKind;
use crate::model::{Assurance, Attrs, Digest, Format, Key, Missing, RelPath, Stat, Verdict};
use crate::plan::Undecided;
use crate::store::mbox::Named;
use crate::store::mbox::scan::digest_of;
use crate::store::mbox::unframe::Unframe;
use crate::verify::Hashing;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes by which a message may be longer in its place than its copy with the fields around it: anything more there is
/// something else.
const SLACK: u64 = 1024;

/// A message that a copy heals.
pub struct Ward {
    pub harm: Harm,
    pub finding: Finding,
    pub from: Location,
    /// Of the message in the copy.
    pub content: Digest,
    pub length: u64,
    pub assurance: Assurance,
    pub why: String,
    pub source: String,
}

/// Plans for the messages of one account that lie in files with others.
pub fn rebuild(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    (folders, menders): (&mut Folders, &mut Menders),
    wards: Vec<Ward>,
) -> Result<(), EngineError> {
    let mut files: BTreeMap<RelPath, Vec<Ward>> = BTreeMap::new();
    let mut shown_no_more: BTreeMap<RelPath, Vec<Ward>> = BTreeMap::new();
    for ward in wards {
        match storage_anew::storage_of(mailboxes, &ward.harm) {
            Some(storage) => shown_no_more.entry(storage).or_default().push(ward),
            None => files.entry(file_of(mailboxes, &ward.harm)).or_default().push(ward),
        }
    }
    for (storage, same) in shown_no_more {
        let scene = Scene { account, mailboxes };
        let planned = storage_anew::bring_back(job, &scene, (folders, menders), &storage, &same)?;
        tell(job, same, planned);
    }
    for (target, same) in files {
        if job.stopped() {
            same.into_iter().for_each(|ward| heal::count_and_report(job, ward.finding));
            continue;
        }
        let planned = one_file(job, account, mailboxes, folders, target, &same)?;
        if planned.is_ok() {
            for m in mdbox::resized(mailboxes, &same) {
                menders.renew(job, &Scene { account, mailboxes }, folders, m)?;
            }
        }
        tell(job, same, planned);
    }
    Ok(())
}

/// Counts and reports what was planned, or why nothing was.
fn tell(job: &mut Job<'_>, wards: Vec<Ward>, planned: Result<(), String>) {
    for mut ward in wards {
        match &planned {
            Ok(()) => {
                ward.finding.action = Some(summary("rebuild", &ward, ward.why.clone()));
                job.tally.count(ward.harm.verdict);
                job.tally.repairable += 1;
                match job.options.hold_findings {
                    true => job.remember(&ward.finding),
                    false => job.finding(ward.finding),
                }
            }
            Err(why) => {
                job.tally.held += 1;
                ward.finding.action = Some(summary("report", &ward, format!("held: {why}")));
                heal::count_and_report(job, ward.finding);
            }
        }
    }
}

/// The file that a message lies in with others, or should; the root where that is the store, or is not known.
fn file_of(mailboxes: &[Mailbox], harm: &Harm) -> RelPath {
    let mailbox = &mailboxes[harm.mailbox];
    match mailbox.format {
        Format::Mdbox => frames::file_of(mailbox, harm).unwrap_or_default(),
        _ => container::file_of_mailbox(&mailbox.dir).unwrap_or_default(),
    }
}

fn summary(kind: &str, ward: &Ward, why: String) -> ActionSummary {
    let (source, assurance) = (Some(ward.source.clone()), Some(ward.assurance));
    ActionSummary { kind: kind.to_owned(), source, assurance, why }
}

/// Plans the step for one file; the reason where it cannot be done.
fn one_file(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    folders: &mut Folders,
    target: RelPath,
    wards: &[Ward],
) -> Result<Result<(), String>, EngineError> {
    let Some(first) = wards.first() else { return Ok(Ok(())) };
    let mailbox = &mailboxes[first.harm.mailbox];
    if target.is_root() {
        return Ok(Err("the store is this one file: name the folder that it lies in as STORE".to_owned()));
    }
    let standing = match mailbox.format {
        Format::Mdbox => standing(job, &target)?,
        _ => mailbox.folder,
    };
    let Some(attrs) = attrs(job, mailbox, standing.as_ref(), &wards.iter().collect::<Vec<_>>()) else {
        return Ok(Err("nothing tells whose file it was: name the owner with --owner".to_owned()));
    };
    let beside = server::beside(job, mailbox)?;
    let nothing = Recalled::default();
    let recalled = beside.as_ref().and_then(|beside| recalled(beside, wards)).unwrap_or(&nothing);
    let (indexes, parts) = match mailbox.format {
        Format::Mdbox => (None, frames::parts(job, mailboxes, (&target, standing), wards)?),
        _ => match noticed(job, mailbox, beside.as_ref(), wards) {
            Ok(indexes) => (indexes, parts(job, mailbox, wards, recalled)?),
            Err(why) => return Ok(Err(why)),
        },
    };
    let parts = match parts {
        Ok(parts) => parts,
        Err(why) => return Ok(Err(why)),
    };
    let store = (job.store.lane, job.store.root);
    let standing_mbox = mailbox.format == Format::Mbox && standing.is_some_and(|stat| stat.size > 0);
    if standing_mbox
        && job.plan.is_some()
        && let Err(why) = mbox::holds_messages(job.lanes, store, &target)
    {
        return Ok(Err(why));
    }
    let measured = match measure(job, &parts, &target) {
        Ok(measured) => measured,
        Err(why) => return Ok(Err(why)),
    };
    if let (None, Some(above)) = (standing, target.parent()) {
        folders.need_plain(job, account, mailboxes, &above)?;
    }
    let needs = match indexes {
        Some(indexes) => indexes.begin(job, account, mailbox)?,
        None => Vec::new(),
    };
    let before = standing.map_or(Fingerprint::Nothing, Fingerprint::Inode);
    let made = Made { target, before, parts, attrs, measured };
    let mut step = made.step(account, mailboxes, &wards.iter().collect::<Vec<_>>(), needs);
    job.push_step(&mut step)?;
    lost_for_good(job, account, mailbox, wards, recalled);
    Ok(Ok(()))
}

/// A file that is put together.
pub(super) struct Made {
    pub target: RelPath,
    pub before: Fingerprint,
    pub parts: Vec<Slice>,
    pub attrs: Attrs,
    /// What comes of it: its digest and its length.
    pub measured: (Digest, u64),
}

impl Made {
    /// The step that does it, and heals these messages.
    pub fn step(self, account: &Account, mailboxes: &[Mailbox], wards: &[&Ward], needs: Vec<u64>) -> Step {
        let Made { target, before, parts, attrs, measured: (content, length) } = self;
        let heals = wards.iter().map(|ward| heal_of(ward, mailboxes)).collect();
        let mailbox = wards.first().map(|ward| mailboxes[ward.harm.mailbox].name.clone()).unwrap_or_default();
        Step {
            number: 0,
            account: account.name.clone(),
            mailbox,
            key: None,
            verdict: Verdict::Damaged,
            target,
            before,
            action: Action::Rebuild { parts, attrs, content, length, heals },
            assurance: wards.iter().map(|ward| ward.assurance).min(),
            why: "its messages are put right in one go".to_owned(),
            needs,
            details: Details::default(),
        }
    }
}

/// What such a file comes to, where this run makes a plan; else it is not looked at.
pub(super) fn measure(job: &mut Job<'_>, parts: &[Slice], target: &RelPath) -> Result<(Digest, u64), String> {
    if job.plan.is_none() {
        return Ok((Digest([0; 32]), 0));
    }
    let sources = job.generations.iter().map(|g| (g.lane, g.root)).collect();
    let store = (job.store.lane, job.store.root);
    let mut places = Places { lanes: &mut *job.lanes, store, sources, target: target.clone() };
    measured(&mut |_| Ok(()), |sink| compose(parts, &mut places, sink))
}

/// The file as it stands.
pub(super) fn standing(job: &mut Job<'_>, target: &RelPath) -> Result<Option<Stat>, EngineError> {
    let root = job.store.root;
    let stated = job.store_lane().stat(root, target)?.ok();
    Ok(stated.filter(|stated| stated.kind == EntryKind::File).map(|stated| stated.stat))
}

/// Tells of messages that the server knows behind the last whole one of the file, and that stand nowhere any more: they
/// came since every copy was made.
fn lost_for_good(job: &mut Job<'_>, account: &Account, mailbox: &Mailbox, wards: &[Ward], recalled: &Recalled) {
    let uid = |name: &[u8]| Named::parse(name).and_then(|named| named.uid);
    let is_ward = |uid: u32| wards.iter().any(|ward| uid_of(ward) == Some(uid));
    let there: BTreeSet<u32> = mailbox.messages().filter_map(|(_, entry)| uid(&entry.name)).collect();
    let last = there.iter().rev().find(|uid| !is_ward(**uid)).copied().unwrap_or(0);
    let known: BTreeSet<u32> = mailbox.rows.values().filter_map(|row| uid(&row.name)).collect();
    let gone = |uid: &&u32| **uid > last && !there.contains(*uid) && !known.contains(*uid) && !is_ward(**uid);
    for uid in recalled.uids.iter().filter(gone) {
        let Ok(path) = mailbox.dir.join(format!("u.{uid}").as_bytes()) else { continue };
        let reason = "its server knows it, and it stands neither in the file nor in any copy".to_owned();
        let verdict = Verdict::Missing(Missing::Lost);
        let finding = Finding {
            account: account.name.clone(),
            mailbox: mailbox.name.clone(),
            key: Some(Key(format!("u.{uid}").into_bytes())),
            uid: Some(*uid),
            ..Finding::of_file(Subject::Message, &job.store.text, path, verdict, reason)
        };
        heal::count_and_report(job, finding);
    }
}

/// The server's indexes, if they already count one of the messages as gone, or all under another UIDVALIDITY.
fn noticed<'b>(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    beside: Option<&'b Beside>,
    wards: &[Ward],
) -> Result<Option<Indexes<'b>>, String> {
    let names: Vec<Vec<u8>> = wards.iter().map(|ward| ward.harm.name.clone()).collect();
    let Some(beside) = beside else { return Ok(None) };
    let asked = server::beside_a_file(job, &beside.dir, &names);
    let validity = wards.iter().find_map(|ward| Named::parse(&ward.harm.row.as_ref()?.name)?.validity);
    // The first message carries the UIDVALIDITY for all, and comes back with the one that is on record.
    let first = |ward: &Ward| Named::parse(&ward.harm.name).is_some_and(|named| named.line.offset == 0);
    let renumbered = validity.is_some() && wards.iter().any(first) && {
        let theirs = beside.ledger.as_ref().and_then(|ledger| ledger.uid_validity);
        theirs.is_some() && theirs != validity
    };
    if !renumbered && !(0..wards.len()).any(|nth| asked.of(nth).expunged) {
        return Ok(None);
    }
    match Indexes::of(mailbox, beside, validity) {
        Err(_) if job.options.undecided != Undecided::Report => Ok(None),
        indexes => indexes.map(Some),
    }
}

fn heal_of(ward: &Ward, mailboxes: &[Mailbox]) -> Heal {
    Heal {
        key: ward.harm.key.clone(),
        place: ward.harm.path(mailboxes),
        verdict: ward.harm.verdict,
        assurance: ward.assurance,
        why: ward.why.clone(),
        details: heal::details(&ward.finding, ward.harm.facts.as_ref(), ward.source.clone()),
    }
}

/// Owner, mode and times of the file: as it stands, else as it was.
pub(super) fn attrs(job: &Job<'_>, mailbox: &Mailbox, standing: Option<&Stat>, wards: &[&Ward]) -> Option<Attrs> {
    if let Some(stat) = standing {
        let (uid, gid, mode, mtime) = (stat.uid, stat.gid, stat.mode & 0o777, stat.mtime);
        return Some(Attrs { uid, gid, mode, mtime, xattrs: Vec::new() });
    }
    let row = wards.iter().find_map(|ward| ward.harm.row.as_ref()).or(mailbox.rows.values().next());
    // A file that mailboxes share is whose their folders are.
    let folder = mailbox.folder.filter(|_| mailbox.format == Format::Mdbox);
    let owner = folder.map(|stat| (stat.uid, stat.gid));
    let (uid, gid) = owner.or(row.map(|row| (row.attrs.uid, row.attrs.gid))).or(job.options.owner)?;
    let mode = row.map(|row| row.attrs.mode & 0o777).or(folder.map(|stat| stat.mode & 0o666)).unwrap_or(0o600);
    Some(Attrs { uid, gid, mode, mtime: job.started, xattrs: Vec::new() })
}

/// A message as the file lists it now.
struct Listed {
    named: Named,
    /// Where it was when it was recorded.
    recorded: u64,
    /// The ward that it is.
    ward: Option<usize>,
}

/// The parts of the new file, in order.
fn parts(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    wards: &[Ward],
    recalled: &Recalled,
) -> Result<Result<Vec<Slice>, String>, EngineError> {
    let size = mailbox.folder.map_or(0, |stat| stat.size);
    let listed = match listed(mailbox, wards) {
        Ok(listed) => listed,
        Err(why) => return Ok(Err(why)),
    };
    if let Some(why) = swallowed(&listed, wards) {
        return Ok(Err(why));
    }
    // Those that are missing, each before the first message that came after it.
    let mut missing: Vec<(usize, usize)> = Vec::new();
    for (w, ward) in wards.iter().enumerate().filter(|(_, ward)| !ward.harm.present) {
        let Some(named) = Named::parse(&ward.harm.name) else { return Ok(Err("a name says of no place".to_owned())) };
        let later = |other: &Listed| match (named.uid, other.named.uid) {
            (Some(uid), Some(other)) => other > uid,
            _ => other.recorded > named.line.offset,
        };
        missing.push((listed.iter().position(later).unwrap_or(listed.len()), w));
    }
    missing.sort_by_key(|&(before, w)| {
        let named = Named::parse(&wards[w].harm.name);
        (before, named.and_then(|n| n.uid), named.map(|n| n.line.offset))
    });
    let highest = listed.iter().filter_map(|l| l.named.uid).chain(wards.iter().filter_map(uid_of)).max().unwrap_or(0);
    let mut out = Parts::default();
    // What stands before the first message is none, and stays.
    out.keep(0, listed.first().map_or(size, |first| first.named.line.offset));
    for at in 0..=listed.len() {
        for &(_, w) in missing.iter().filter(|(before, _)| *before == at) {
            if let Err(why) = add(job, mailbox, &mut out, &wards[w], (highest, true, recalled))? {
                return Ok(Err(why));
            }
            out.made(b"\n".to_vec());
        }
        let Some(one) = listed.get(at) else { break };
        let next = listed.get(at + 1).map_or(size, |next| next.named.line.offset);
        match one.ward {
            None => out.keep(one.named.line.offset, next),
            Some(w) => {
                let shared = hidden(one, wards).next().is_some();
                if let Err(why) = add(job, mailbox, &mut out, &wards[w], (highest, shared, recalled))? {
                    return Ok(Err(why));
                }
                match one.named.message.end() {
                    end if end < next => out.keep(end, next),
                    _ => out.made(b"\n".to_vec()),
                }
            }
        }
        // What follows needs an empty line before it, whatever the end of the file was like.
        let appended = at + 1 == listed.len() && missing.iter().any(|(before, _)| *before == listed.len());
        if appended && one.ward.is_none() && one.named.message.end() == size {
            out.made(b"\n\n".to_vec());
        }
    }
    Ok(Ok(out.0))
}

/// What the server's indexes know of flags, where they are whole and count UIDs as the file does.
fn recalled<'b>(beside: &'b Beside, wards: &[Ward]) -> Option<&'b Recalled> {
    let validity = wards.iter().find_map(|ward| Named::parse(&ward.harm.row.as_ref()?.name)?.validity);
    let ledger = beside.ledger.as_ref()?;
    let same = validity.is_some() && ledger.uid_validity == validity && ledger.index == Whole::Sound;
    same.then_some(&*ledger.recalled)
}

fn uid_of(ward: &Ward) -> Option<u32> {
    Named::parse(&ward.harm.name)?.uid
}

fn listed(mailbox: &Mailbox, wards: &[Ward]) -> Result<Vec<Listed>, String> {
    let mut listed: Vec<Listed> = Vec::new();
    for (_, entry) in mailbox.messages() {
        let Some(named) = Named::parse(&entry.name) else { continue };
        if listed.last().is_some_and(|last| last.named.message.end() > named.line.offset) {
            return Err("the file changed while it was read; run again".to_owned());
        }
        let key = mailbox.key(&entry.name);
        let row = mailbox.rows.get(&key).and_then(|row| Named::parse(&row.name));
        let ward = wards.iter().position(|ward| ward.harm.present && ward.harm.key == key);
        listed.push(Listed { named, recorded: row.map_or(named.line.offset, |row| row.line.offset), ward });
    }
    Ok(listed)
}

/// Why a message is not replaced in whose place more stands than itself: the line that began the next one is lost, and
/// only together with that one it may be.
fn swallowed(listed: &[Listed], wards: &[Ward]) -> Option<String> {
    for one in listed {
        let Some(ward) = one.ward.map(|w| &wards[w]) else { continue };
        let others: u64 = hidden(one, wards).map(|other| other.length).sum();
        if one.named.message.length > ward.length + others + SLACK {
            return Some(MORE_LIES_THERE.to_owned());
        }
    }
    None
}

/// Messages that come back out of the place of another.
fn hidden<'w>(one: &Listed, wards: &'w [Ward]) -> impl Iterator<Item = &'w Ward> {
    let (from, to) = (one.recorded, one.named.message.end() + SLACK);
    let there = |ward: &Ward| Named::parse(&ward.harm.name).map(|named| named.line.offset);
    wards.iter().filter(move |other| !other.harm.present && there(other).is_some_and(|at| at > from && at < to))
}

const MORE_LIES_THERE: &str = "more than this message lies in its place, for the line that began the next one is lost; that \
                               one has to come back with it (--undecided restore)";

/// Whether behind a message something else lies in its place that no copy accounts for: a short message, of which only the
/// line is lost. All that harm can add to the message itself are fields of the server's own that are none any more.
fn hides_another(ours: &Own, theirs: &Own, line: usize) -> bool {
    let own: usize = theirs.fields.iter().map(|field| field.text.len()).sum();
    let spare = (own + line + EMPTY_LINES) as u64;
    let body = |own: &Own| own.length - own.head.unwrap_or(0).min(own.length);
    let headed = ours.head.is_some_and(|head| theirs.head.is_some_and(|their| head.abs_diff(their) <= spare));
    ours.length > theirs.length + spare || (headed && body(ours) > body(theirs) + EMPTY_LINES as u64)
}

/// Bytes that may stand between two messages.
const EMPTY_LINES: usize = 4;

/// Adds a message from its copy.
fn add(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    out: &mut Parts,
    ward: &Ward,
    (highest, shared, recalled): (u32, bool, &Recalled),
) -> Result<Result<(), String>, EngineError> {
    let generation = &job.generations[ward.from.source.unwrap_or(0) as usize];
    let (lane, root) = (generation.lane, generation.root);
    let theirs = match job.lanes.lanes[lane].own(root, &ward.from.path)? {
        Ok(own) if own.head.is_some() => own,
        Ok(_) => return Ok(Err("the copy has no end of its header".to_owned())),
        Err(trouble) => return Ok(Err(format!("the copy cannot be read: {}", trouble.detail))),
    };
    let mut ours = Own::default();
    if ward.harm.present
        && let Some(path) = mailbox.dir.join(&ward.harm.name).ok()
    {
        let root = job.store.root;
        // What the medium does not give, the copy has.
        ours = job.store_lane().own(root, &path)?.unwrap_or_default();
    }
    // With others that come back out of the same place, that is looked at for all of them together.
    if !shared && hides_another(&ours, &theirs, theirs.line.len()) {
        return Ok(Err(MORE_LIES_THERE.to_owned()));
    }
    let recorded = ward.harm.row.as_ref().and_then(|row| Named::parse(&row.name));
    let Some(line) = line(&ours, &theirs, recorded.as_ref()) else {
        return Ok(Err("neither the file nor the copy has the line that begins the message".to_owned()));
    };
    let first = out.0.is_empty();
    let mut whole = Parts::default();
    let skipped = line.len() as u64;
    let marks = uid_of(ward).and_then(|uid| mbox_flags::of(recalled, uid));
    let fields = fields(&ours, &theirs, &Facts { uid: uid_of(ward), recorded, first, highest, marks });
    whole.made(line);
    let mut at = 0;
    for field in fields {
        whole.copy(&ward.from, at, field.at);
        at = at.max(field.at);
        whole.made(field.text);
    }
    whole.copy(&ward.from, at, theirs.length);
    if job.plan.is_some()
        && let Err(why) = proven(job, &whole.0, skipped, ward)
    {
        return Ok(Err(why));
    }
    out.extend(whole);
    Ok(Ok(()))
}

/// Whether what is put together holds the very message that was chosen, as whoever reads the file takes it apart.
fn proven(job: &mut Job<'_>, parts: &[Slice], skipped: u64, ward: &Ward) -> Result<(), String> {
    let sources = job.generations.iter().map(|g| (g.lane, g.root)).collect();
    let store = (job.store.lane, job.store.root);
    let mut places = Places { lanes: &mut *job.lanes, store, sources, target: RelPath::root() };
    let (mut unframe, mut hashing, mut skip) = (Unframe::new(), Hashing::new(), skipped);
    compose(parts, &mut places, &mut |bytes| {
        let line = skip.min(bytes.len() as u64);
        skip -= line;
        unframe.feed(&bytes[line as usize..], &mut |bytes| hashing.feed(bytes));
        Ok(())
    })?;
    unframe.finish(&mut |bytes| hashing.feed(bytes));
    let hashes = hashing.finish();
    match (hashes.digest, hashes.length) == (ward.content, ward.length) && unframe.harmed.is_none() {
        true => Ok(()),
        false => Err("the message could not be put together as it was".to_owned()),
    }
}

/// The line that begins a message: the one that is on record, else the file's own, else the copy's.
fn line(ours: &Own, theirs: &Own, recorded: Option<&Named>) -> Option<Vec<u8>> {
    let check = |own: &Own| {
        let text = own.line.strip_suffix(b"\n").unwrap_or(&own.line);
        Some(digest_of(text.strip_suffix(b"\r").unwrap_or(text)))
    };
    let known = recorded.and_then(|named| named.check);
    let mut both = [ours, theirs].into_iter().filter(|own| own.begins);
    let of_record = both.clone().find(|own| known.is_none() || check(own) == known);
    // The copy's, where none is the one on record: what was harmed here may still look like a line.
    of_record.or_else(|| both.next_back()).map(|own| own.line.clone())
}

/// What is known of a message and its file.
struct Facts<'a> {
    uid: Option<u32>,
    recorded: Option<Named>,
    /// It is the first in the file.
    first: bool,
    /// The highest UID in the file.
    highest: u32,
    /// What the server's indexes know of its flags.
    marks: Option<mbox_flags::Marks<'a>>,
}

/// Fields of the server's own that are no flags.
const NUMBERS: [&[u8]; 3] = [b"x-uid", b"x-imapbase", b"content-length"];

/// The server's own fields of a message, each at its place in it: as they stand in the file where they are sound, else as in
/// the copy.
fn fields(ours: &Own, theirs: &Own, facts: &Facts<'_>) -> Vec<OwnField> {
    let head = theirs.head.unwrap_or(theirs.length);
    let sound = |name: &[u8]| ours.fields.iter().find(|field| field.sound && field.name() == name);
    let mut out: Vec<OwnField> = Vec::new();
    // Where the rest of the header is as long as it was, a field that is not there was taken out by some software.
    let headed = ours.head.is_some() && ours.head == theirs.head;
    let removed = |name: &[u8]| headed && !NUMBERS.contains(&name) && !ours.fields.iter().any(|own| own.name() == name);
    for field in &theirs.fields {
        let name = field.name();
        if removed(&name) {
            continue;
        }
        let own = sound(&name).filter(|own| fits(&name, own, facts));
        let text = own.map_or(&field.text, |own| &own.text).clone();
        out.push(OwnField { at: field.at, text, sound: true });
    }
    for own in ours.fields.iter().filter(|own| own.sound && fits(&own.name(), own, facts)) {
        if !out.iter().any(|field| field.name() == own.name()) {
            out.push(OwnField { at: head, ..own.clone() });
        }
    }
    let end = if theirs.line.ends_with(b"\r\n") { "\r\n" } else { "\n" };
    let has_base = out.iter().any(|field| field.name() == b"x-imapbase");
    if let (true, false, Some(validity)) = (facts.first, has_base, facts.recorded.and_then(|named| named.validity)) {
        let ours = ours.fields.iter().find(|field| field.name() == b"x-imapbase");
        out.insert(0, OwnField { at: head, text: based(ours, validity, facts.highest, end), sound: true });
    }
    if let Some(marks) = &facts.marks {
        mbox_flags::write(&mut out, marks, &|name| sound(name).is_some() || removed(name), head, end);
    }
    for field in &mut out {
        let text = match &field.name()[..] {
            b"content-length" => {
                let body = theirs.length.saturating_sub(head + theirs.empty);
                Some(format!("Content-Length: {body}{end}"))
            }
            b"x-uid" => facts.uid.map(|uid| format!("X-UID: {uid}{end}")),
            b"x-imapbase" => Some(base(&field.text, facts)),
            _ => None,
        };
        field.text = text.map_or(std::mem::take(&mut field.text), String::into_bytes);
    }
    out.retain(|field| facts.first || field.name() != b"x-imapbase");
    out.sort_by_key(|field| field.at);
    out
}

/// An X-IMAPbase with the UIDVALIDITY that is on record, and the rest as it stands in the file.
fn based(ours: Option<&OwnField>, validity: u32, highest: u32, end: &str) -> Vec<u8> {
    let text = ours.map(|field| String::from_utf8_lossy(&field.text).into_owned()).unwrap_or_default();
    let mut words: Vec<&str> = text.split(' ').collect();
    let number = validity.to_string();
    match words.get_mut(1) {
        Some(word) if ours.is_some_and(|field| field.sound) => *word = &number,
        _ => return format!("X-IMAPbase: {validity} {highest:010}{end}").into_bytes(),
    }
    words.join(" ").into_bytes()
}

/// Whether a field of the file may be believed: what counts for all messages only as it is on record.
fn fits(name: &[u8], field: &OwnField, facts: &Facts<'_>) -> bool {
    let text = String::from_utf8_lossy(&field.text).into_owned();
    let first = text.split_once(':').and_then(|(_, value)| value.split_whitespace().next()).map(str::to_owned);
    let number = first.and_then(|word| word.parse::<u32>().ok());
    match name {
        b"x-imapbase" => match facts.recorded.and_then(|named| named.validity) {
            Some(validity) => number == Some(validity),
            None => true,
        },
        _ => true,
    }
}

/// An X-IMAPbase whose last UID is none that a message has already passed: no UID is ever given twice.
fn base(text: &[u8], facts: &Facts<'_>) -> String {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if let Some(last) = words.get_mut(2) {
        let digits = last.trim_end().len();
        if last.trim_end().parse::<u32>().is_ok_and(|last| last < facts.highest) {
            *last = format!("{:0digits$}{}", facts.highest, &last[digits..]);
        }
    }
    words.join(" ")
}
