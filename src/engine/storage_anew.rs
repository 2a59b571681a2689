//! Messages that the server knows no more, put back into an mdbox: into new files of the storage, or such as have nothing
//! left in them. The map learns where they are, and the indexes of their mailboxes show them again, under the UIDs that they had.
//!
//! Plans the steps: map, indexes, files, each only after those before it. What is cut off in between the server finds lost
//! once more, or the next run puts into its place. Reads through lanes; writes nothing.

use super::account::{EngineError, Mailbox};
use super::compose::Parts;
use super::folders::Folders;
use super::frames;
use super::harm::Harm;
use super::job::Job;
use super::mending::{Menders, Scene};
use super::rebuild::{self, Ward};
use crate::model::container::{self, Chart, Mapped, Storage};
use crate::model::limits::LIST_MAX;
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::server::Shown;
use crate::model::{Attrs, Format, Missing, RelPath, Stat, Verdict};
use crate::store::dovecot::Guid;
use crate::store::maildir::companion::MAP_LOG;
use crate::store::mdbox::Named;
use crate::store::mdbox::fresh::{self, Head};
use crate::sys::clock;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one new file, unless one message has more.
const FILE_MAX: u64 = 32 << 20;
/// Bytes of the line with which it begins.
const FIRST_LINE: u64 = 16;

const NO_MAP: &str = "the map of the storage cannot be read whole";
const NO_INDEX: &str = "nothing tells what the index of its mailbox has to be: take it out of the source with doveadm import, \
                        which keeps flags, keywords and date and gives it a new UID";
const WHY: &str = "made anew, so that it tells of all messages, and the server believes it";

/// The storage that a message comes back to which the server shows no more.
pub fn storage_of(mailboxes: &[Mailbox], harm: &Harm) -> Option<RelPath> {
    let mailbox = mailboxes.get(harm.mailbox).filter(|mailbox| mailbox.format == Format::Mdbox)?;
    let noticed = frames::named(mailbox, harm).is_none() && frames::known(harm).is_some();
    container::shared(&mailbox.dir).filter(|_| noticed).map(|shared| shared.storage)
}

/// Plans the map of the mailbox's storage as it is, but without the server's doubts of it: whatever changed next, a server
/// would make all indexes anew, and forget once more who set which flag.
pub fn believe(job: &mut Job<'_>, scene: &Scene<'_>, mailbox: &Mailbox) -> Result<(), EngineError> {
    let (Some(shared), root) = (container::shared(&mailbox.dir), job.store.root) else { return Ok(()) };
    let Ok(there) = job.store_lane().storage(root, &shared.storage)? else { return Ok(()) };
    if there.complete && there.map.doubted && there.map.indexid != 0 {
        let nothing = Back { files: Vec::new(), places: Vec::new(), shown: BTreeMap::new() };
        let step = map_step(job, scene, &shared.storage, (&there.map, there.map.last_file), &nothing)?;
        step.map_or(Ok(()), |mut step| job.push_step(&mut step))?;
    }
    Ok(())
}

/// A file to be made.
struct New<'w> {
    number: u32,
    parts: Parts,
    length: u64,
    wards: Vec<&'w Ward>,
}

/// Everything that comes back to one storage.
struct Back<'w> {
    files: Vec<New<'w>>,
    places: Vec<Mapped>,
    /// By mailbox.
    shown: BTreeMap<usize, Vec<Shown>>,
}

/// Plans for messages of one storage; the reason where it cannot be done.
pub fn bring_back(
    job: &mut Job<'_>,
    scene: &Scene<'_>,
    (folders, menders): (&mut Folders, &mut Menders),
    storage: &RelPath,
    wards: &[Ward],
) -> Result<Result<(), String>, EngineError> {
    let root = job.store.root;
    let there = match job.store_lane().storage(root, storage)? {
        Ok(there) if there.complete && there.map.indexid != 0 => there,
        _ => return Ok(Err(NO_MAP.to_owned())),
    };
    let last = there.files.last().copied().unwrap_or(0).max(there.map.last_file);
    let empty = empty(job, storage, &there)?;
    let back = match gather(job, scene, menders, wards, (&there.map, last, &empty))? {
        Ok(back) => back,
        Err(why) => return Ok(Err(why)),
    };
    let Some(mut map) = map_step(job, scene, storage, (&there.map, last), &back)? else {
        return Ok(Err(NO_MAP.to_owned()));
    };
    // All is known before anything is planned: an index must show nothing that does not come back.
    for (&m, shown) in &back.shown {
        if !menders.show(job, &scene.mailboxes[m], m, shown, &[]) {
            return Ok(Err(NO_INDEX.to_owned()));
        }
    }
    let files = match made(job, scene, storage, back.files, &empty) {
        Ok(files) => files,
        Err(why) => return Ok(Err(why)),
    };
    job.push_step(&mut map)?;
    let mut needs = vec![map.number];
    for (&m, shown) in &back.shown {
        menders.show(job, &scene.mailboxes[m], m, shown, &[map.number]);
        needs.extend(menders.needs(job, scene, folders, m)?);
    }
    needs.sort_unstable();
    needs.dedup();
    for (file, wards) in files {
        let mut step = file.step(scene.account, scene.mailboxes, &wards, needs.clone());
        job.push_step(&mut step)?;
    }
    Ok(Ok(()))
}

/// The files as they will be, with the messages in each.
fn made<'w>(
    job: &mut Job<'_>,
    scene: &Scene<'_>,
    storage: &RelPath,
    files: Vec<New<'w>>,
    empty: &BTreeMap<u32, Stat>,
) -> Result<Vec<(rebuild::Made, Vec<&'w Ward>)>, String> {
    let mut all = Vec::new();
    for New { number, parts, wards, .. } in files {
        let mailbox = wards.first().map(|ward| &scene.mailboxes[ward.harm.mailbox]).ok_or(NO_MAP)?;
        let target = storage.join(format!("m.{number}").as_bytes()).map_err(|_| NO_MAP)?;
        let attrs = rebuild::attrs(job, mailbox, None, &wards).ok_or("nothing tells whose file it was: use --owner")?;
        let measured = rebuild::measure(job, &parts.0, &target)?;
        let before = empty.get(&number).map_or(Fingerprint::Nothing, |stat| Fingerprint::Inode(*stat));
        all.push((rebuild::Made { target, before, parts: parts.0, attrs, measured }, wards));
    }
    Ok(all)
}

/// Files without a byte in them, of which the map tells nothing: the server complains of each whenever it looks at all.
fn empty(job: &mut Job<'_>, storage: &RelPath, there: &Storage) -> Result<BTreeMap<u32, Stat>, EngineError> {
    let told: BTreeSet<u32> = there.map.places.iter().map(|place| place.file).collect();
    let mut empty = BTreeMap::new();
    for &file in there.files.iter().filter(|file| !told.contains(file)) {
        let Ok(path) = storage.join(format!("m.{file}").as_bytes()) else { continue };
        empty.extend(rebuild::standing(job, &path)?.filter(|stat| stat.size == 0).map(|stat| (file, stat)));
    }
    Ok(empty)
}

/// Lays the messages one behind the other.
fn gather<'w>(
    job: &mut Job<'_>,
    scene: &Scene<'_>,
    menders: &Menders,
    wards: &'w [Ward],
    (map, mut last, empty): (&Chart, u32, &BTreeMap<u32, Stat>),
) -> Result<Result<Back<'w>, String>, EngineError> {
    let made = wards.iter().filter_map(|ward| ward.harm.internal_date()).map(|date| date.sec).max().unwrap_or(0);
    let mut back = Back { files: Vec::new(), places: Vec::new(), shown: BTreeMap::new() };
    let mut numbers: BTreeMap<Guid, usize> = BTreeMap::new();
    for ward in wards {
        let Some((uid, guid)) = frames::known(&ward.harm) else { return Ok(Err(NO_INDEX.to_owned())) };
        let m = ward.harm.mailbox;
        let saved = menders.saved(m, uid).or_else(|| u32::try_from(ward.harm.internal_date()?.sec).ok()).unwrap_or(0);
        // A message that two mailboxes show is one.
        if let Some(place) = numbers.get(&guid).and_then(|&nth| back.places.get_mut(nth)) {
            place.shown = place.shown.saturating_add(1);
            back.shown.entry(m).or_default().push(Shown { uid, number: place.number, saved, guid });
            if let Some(file) = back.files.iter_mut().find(|file| file.number == place.file) {
                file.wards.push(ward);
            }
            continue;
        }
        let (parts, length) = match frames::anew(job, &scene.mailboxes[m], ward, guid)? {
            Ok(made) => made,
            Err(why) => return Ok(Err(why)),
        };
        let lay = Named::parse(&ward.harm.name).and_then(|named| Some(named.place?.file));
        let own = lay.filter(|file| empty.contains_key(file));
        let fits = |file: &New<'_>| match own {
            Some(own) => file.number == own,
            None => !empty.contains_key(&file.number) && file.length + length <= FILE_MAX,
        };
        if !back.files.iter().any(fits) {
            let Some(line) = frames::file_header(FIRST_LINE, made) else { return Ok(Err(NO_MAP.to_owned())) };
            let mut parts = Parts::default();
            parts.made(line);
            last = last.saturating_add(u32::from(own.is_none()));
            back.files.push(New { number: own.unwrap_or(last), parts, length: FIRST_LINE, wards: Vec::new() });
        }
        let Some(file) = back.files.iter_mut().rfind(|file| fits(file)) else { continue };
        let number = map.next.max(1).saturating_add(u32::try_from(back.places.len()).unwrap_or(u32::MAX));
        let (Ok(offset), Ok(size)) = (u32::try_from(file.length), u32::try_from(length)) else {
            return Ok(Err("it is too long for a storage file".to_owned()));
        };
        numbers.insert(guid, back.places.len());
        back.places.push(Mapped { number, file: file.number, offset, size, shown: 1 });
        back.shown.entry(m).or_default().push(Shown { uid, number, saved, guid });
        file.length += length;
        file.parts.extend(parts);
        file.wards.push(ward);
    }
    Ok(Ok(back))
}

/// The map with the new places: one log, which follows none, and which the server takes for all of it.
fn map_step(
    job: &mut Job<'_>,
    scene: &Scene<'_>,
    storage: &RelPath,
    (map, last): (&Chart, u32),
    back: &Back<'_>,
) -> Result<Option<Step>, EngineError> {
    let (Ok(target), root) = (storage.join(MAP_LOG), job.store.root) else { return Ok(None) };
    let Ok(there) = job.store_lane().stat(root, &target)? else { return Ok(None) };
    let now = clock::now();
    let head = Head {
        indexid: map.indexid,
        file_seq: map.log_seq.saturating_add(1),
        uid_validity: map.uid_validity,
        last_file: back.files.iter().map(|file| file.number).fold(last, u32::max),
        modseq: map.modseq.saturating_add(1),
    };
    let places: Vec<Mapped> = map.places.iter().chain(&back.places).copied().collect();
    let bytes = fresh::map(&head, u32::try_from(now.sec).unwrap_or(u32::MAX), &places);
    let name = scene.mailboxes.iter().find(|mailbox| mailbox.format == Format::Mdbox).map(|mailbox| &mailbox.name);
    let stat = there.stat;
    Ok((bytes.len() as u64 <= LIST_MAX).then(|| Step {
        number: 0,
        account: scene.account.name.clone(),
        mailbox: name.cloned().unwrap_or_default(),
        key: None,
        verdict: Verdict::Missing(Missing::Lost),
        target,
        before: Fingerprint::Inode(stat),
        action: Action::Write {
            bytes,
            attrs: Attrs { uid: stat.uid, gid: stat.gid, mode: stat.mode & 0o777, mtime: now, xattrs: Vec::new() },
        },
        assurance: None,
        why: WHY.to_owned(),
        needs: Vec::new(),
        details: Details { reason: WHY.to_owned(), ..Details::default() },
    }))
}
