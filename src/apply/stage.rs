//! Writes new bytes into a slot of the quarantine, which nobody else can reach, and proves them there.
//!
//! May not touch the store. A step leaves here only if the source's digest and the digest of what the
//! medium gives back both equal the plan's.

use super::batch::Entry;
use super::fault::{Reach, reach, unsupported, words};
use super::supply::{Prover, Supplied, Supply};
use crate::model::journal::{Change, Intent, Outcome};
use crate::model::limits::FREE_RESERVE;
use crate::model::message::Xattr;
use crate::model::plan::{Action, Step};
use crate::model::{Attrs, Digest, Encoding, RelPath, Stat};
use crate::sys::fs::{Dress, Fs, Tree};
use std::io;

/// Names tried for one slot: an earlier attempt of the same step may have left its file.
const SLOT_TRIES: u32 = 64;

/// A step that could not be staged.
#[derive(Debug)]
pub(super) struct Unstaged {
    pub text: String,
    pub reach: Reach,
}

impl Unstaged {
    fn step(text: impl Into<String>) -> Unstaged {
        Unstaged { text: text.into(), reach: Reach::Step }
    }

    fn system(fs: &dyn Fs, doing: &str, error: &io::Error, need: u64) -> Unstaged {
        let free = fs.free().ok().map(|(bytes, _)| bytes);
        Unstaged { text: words(doing, error, need, free), reach: reach(error) }
    }
}

/// What a step writes, taken out of its action.
struct Wanted<'a> {
    attrs: &'a Attrs,
    content: Digest,
    length: u64,
}

fn wanted(step: &Step) -> Option<Wanted<'_>> {
    match &step.action {
        Action::Restore { attrs, .. }
        | Action::Write { attrs, .. }
        | Action::Rebuild { attrs, .. }
        | Action::Splice { attrs, .. } => {
            step.action.content().map(|(content, length)| Wanted { attrs, content, length })
        }
        _ => None,
    }
}

/// Refuses to fill the file system of a live mail server to the brim. `need` in bytes.
pub(super) fn room(fs: &dyn Fs, need: u64) -> Result<(), Unstaged> {
    match fs.free() {
        Ok((bytes, inodes)) if bytes < need.saturating_add(FREE_RESERVE) || inodes == 0 => {
            let full = io::Error::from(rustix::io::Errno::NOSPC);
            Err(Unstaged { text: words("before writing", &full, need, Some(bytes)), reach: Reach::Run })
        }
        // Not every file system tells; then writing will.
        _ => Ok(()),
    }
}

/// Fetches, writes and dresses the bytes of a restore. `old` is the file that they will replace, if any.
/// The words that come with the entry say what could not be carried over.
pub(super) fn stage(
    fs: &dyn Fs,
    supply: &mut dyn Supply,
    step: Step,
    at: RelPath,
    old: Option<Stat>,
) -> Result<Entry, (Box<Step>, Unstaged)> {
    let staged = match wanted(&step) {
        Some(wanted) => write(fs, supply, &step, &wanted, old.map(|_| &at)),
        None => Err(Unstaged::step("the step writes no bytes")),
    };
    match staged {
        Ok((slot, stat, note)) => {
            let change = if old.is_some() { Change::Exchange } else { Change::Put };
            let intent = Intent { step, change, at, slot: Some(slot), staged: Some(stat), replaced: old };
            Ok(Entry::Ready { intent: Box::new(intent), note })
        }
        Err(unstaged) => Err((Box::new(step), unstaged)),
    }
}

fn write(
    fs: &dyn Fs,
    supply: &mut dyn Supply,
    step: &Step,
    wanted: &Wanted<'_>,
    old: Option<&RelPath>,
) -> Result<(String, Stat, String), Unstaged> {
    belongs(fs, step, wanted)?;
    let (slot, path, supplied) = fill_slot(fs, supply, step, wanted)?;
    let dressed = check(&supplied, wanted).and_then(|()| dress(fs, &path, wanted, old, &supplied));
    match dressed {
        Ok((stat, note)) => Ok((slot, stat, note)),
        Err(unstaged) => {
            forget(fs, &path);
            Err(unstaged)
        }
    }
}

/// A plan can be edited: nothing of root's is put into a user's folder.
fn belongs(fs: &dyn Fs, step: &Step, wanted: &Wanted<'_>) -> Result<(), Unstaged> {
    let folder = step.target.parent().unwrap_or_default();
    match fs.stat(Tree::Base, &folder) {
        Ok(Some((_, stat))) if wanted.attrs.uid == 0 && stat.uid != 0 => Err(Unstaged::step(format!(
            "it would belong to root in a folder of user {}: the plan names the wrong owner",
            stat.uid
        ))),
        // What cannot be looked at cannot be written to either, and that is said when it is tried.
        _ => Ok(()),
    }
}

/// Removes a slot that will not be used. If that fails, the next recovery does it.
pub(super) fn forget(fs: &dyn Fs, path: &RelPath) {
    fs.unlink_quarantine(path).unwrap_or_default();
}

fn fill_slot(
    fs: &dyn Fs,
    supply: &mut dyn Supply,
    step: &Step,
    wanted: &Wanted<'_>,
) -> Result<(String, RelPath, Supplied), Unstaged> {
    for attempt in 0..SLOT_TRIES {
        let slot = if attempt == 0 { step.number.to_string() } else { format!("{}.{attempt}", step.number) };
        let path = RelPath::new(slot.as_bytes()).map_err(|e| Unstaged::step(e.to_string()))?;
        let mut delivered = None;
        let created = fs.create(Tree::Quarantine, &path, &mut |sink| {
            let mut refused = Ok(());
            let mut room = stored_max(step, wanted);
            delivered = Some(supply.fetch(step, &mut |bytes| {
                let left = room.checked_sub(bytes.len() as u64);
                room = left.unwrap_or_default();
                let written =
                    if left.is_some() { sink(bytes) } else { Err(io::Error::other("it grew since the plan")) };
                if let Err(error) = &written {
                    refused = Err(copy(error));
                }
                written
            }));
            // What the sink said counts, whatever the source made of it.
            refused
        });
        match (created, delivered) {
            (Err(error), None) if error.kind() == io::ErrorKind::AlreadyExists => {}
            (Ok(_), Some(Ok(supplied))) => return Ok((slot, path, supplied)),
            (Ok(_), delivered) => {
                forget(fs, &path);
                let reason = delivered.and_then(Result::err).map_or("nothing was delivered".to_owned(), |e| e.0);
                return Err(Unstaged::step(format!("fetching from the source: {reason}")));
            }
            (Err(error), _) => {
                forget(fs, &path);
                return Err(Unstaged::system(fs, "writing into the quarantine", &error, wanted.length));
            }
        }
    }
    Err(Unstaged::step(format!("the quarantine holds {SLOT_TRIES} files of this step already")))
}

/// Bytes that the step may come to when stored: more is not what the plan saw, however long a source goes on.
fn stored_max(step: &Step, wanted: &Wanted<'_>) -> u64 {
    match &step.action {
        Action::Restore { stored_as: Encoding::Plain | Encoding::Crypted, .. }
        | Action::Write { .. }
        | Action::Rebuild { .. }
        | Action::Splice { .. } => wanted.length,
        // What does not compress grows a little, and every frame has its ends.
        _ => wanted.length.saturating_add(wanted.length / 16).saturating_add(1 << 20),
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

fn check(supplied: &Supplied, wanted: &Wanted<'_>) -> Result<(), Unstaged> {
    if supplied.digest == wanted.content && supplied.length == wanted.length {
        return Ok(());
    }
    Err(Unstaged::step("the source's copy is not what the plan saw"))
}

fn dress(
    fs: &dyn Fs,
    path: &RelPath,
    wanted: &Wanted<'_>,
    old: Option<&RelPath>,
    supplied: &Supplied,
) -> Result<(Stat, String), Unstaged> {
    let mut note = String::new();
    let kept = match old {
        Some(old) => kept(fs, old)?,
        None => Vec::new(),
    };
    let xattrs = merge(&wanted.attrs.xattrs, kept, &supplied.xattrs, old.is_some());
    let Attrs { uid, gid, mode, mtime, .. } = *wanted.attrs;
    let put = |xattrs: &[Xattr]| fs.dress(Tree::Quarantine, path, &Dress { uid, gid, mode, mtime, xattrs });
    let dressed = match put(&xattrs) {
        Err(error) if unsupported(&error) && !xattrs.is_empty() => {
            note = format!("its extended attributes could not be kept ({error})");
            put(&[])
        }
        dressed => dressed,
    };
    match dressed {
        Ok(stat) => Ok((stat, note)),
        Err(error) => Err(Unstaged::system(fs, "setting owner, mode and date", &error, 0)),
    }
}

/// The attributes of the file that is to be replaced. Where they cannot be read, it stays: nobody would notice that its
/// access list went, and the next run tries again.
fn kept(fs: &dyn Fs, old: &RelPath) -> Result<Vec<Xattr>, Unstaged> {
    match fs.xattrs(Tree::Base, old) {
        Ok(xattrs) => Ok(xattrs),
        // Gone meanwhile: what cannot be exchanged any more is a conflict, and that is found out there.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::NotFound) => Ok(Vec::new()),
        Err(error) => {
            let text = words("reading the damaged file's extended attributes", &error, 0, None);
            Err(Unstaged { text: format!("{text}; run again, or move that file away"), reach: reach(&error) })
        }
    }
}

/// What the plan names wins, then what the replaced file has, then what the source has: `user.*`, and where no
/// file is replaced, which would know better, the access list. Sorted by name.
fn merge(planned: &[Xattr], kept: Vec<Xattr>, supplied: &[Xattr], replaces: bool) -> Vec<Xattr> {
    let mut merged = planned.to_vec();
    let taken =
        |xattr: &&Xattr| xattr.name.starts_with(b"user.") || (!replaces && xattr.name == b"system.posix_acl_access");
    let from_source = supplied.iter().filter(taken).cloned();
    for xattr in kept.into_iter().chain(from_source) {
        if merged.iter().all(|have| have.name != xattr.name) {
            merged.push(xattr);
        }
    }
    merged.sort();
    merged
}

/// Brings everything staged onto the medium. Entries that do not get there are over; answers whether the
/// file system itself is the trouble.
pub(super) fn sync(fs: &dyn Fs, batch: &mut [Entry]) -> Option<String> {
    if !batch.iter().any(|entry| staged_slot(entry).is_some()) {
        return None;
    }
    let Err(error) = fs.sync_all() else { return None };
    // The error may be about somebody else's file: ask for each of ours.
    let folder = fs.sync_dir(Tree::Quarantine, &RelPath::root());
    for entry in batch {
        let Some(path) = staged_slot(entry) else { continue };
        let synced = match &folder {
            Ok(()) => fs.sync_file(Tree::Quarantine, &path),
            Err(error) => Err(copy(error)),
        };
        if let Err(error) = synced {
            fail(fs, entry, &path, words("syncing what was written", &error, 0, None));
        }
    }
    let global = folder.is_err() || reach(&error) == Reach::Run;
    global.then(|| words("syncing what was written", &error, 0, fs.free().ok().map(|(bytes, _)| bytes)))
}

/// Reads everything staged back; what does not equal the plan's digest is over.
pub(super) fn prove(fs: &dyn Fs, prover: &mut dyn Prover, batch: &mut [Entry]) {
    for entry in batch {
        let Some(path) = staged_slot(entry) else { continue };
        let Entry::Ready { intent, .. } = &*entry else { continue };
        let Some(wanted) = wanted(&intent.step) else { continue };
        match prover.digest(Tree::Quarantine, &path) {
            Ok(proof) if proof == (wanted.content, wanted.length) => {}
            Ok(_) => {
                fail(fs, entry, &path, "what was written reads back differently: does the disk err?".to_owned());
            }
            Err(text) => fail(fs, entry, &path, format!("reading back what was written: {text}")),
        }
    }
}

/// The slot that an entry's new bytes are in.
fn staged_slot(entry: &Entry) -> Option<RelPath> {
    match entry {
        Entry::Ready { intent, .. } if matches!(intent.change, Change::Exchange | Change::Put) => {
            RelPath::new(intent.slot.as_ref()?.as_bytes()).ok()
        }
        _ => None,
    }
}

fn fail(fs: &dyn Fs, entry: &mut Entry, path: &RelPath, text: String) {
    if let Entry::Ready { intent, .. } = entry {
        forget(fs, path);
        *entry = Entry::over(intent.step.clone(), Outcome::Failed, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_an_order_of_witnesses() {
        let xattr = |name: &str, value: &str| Xattr { name: name.into(), value: value.into() };
        let merged = merge(
            &[xattr("user.b", "plan")],
            vec![xattr("user.b", "old"), xattr("system.posix_acl_access", "old")],
            &[xattr("user.a", "source"), xattr("user.b", "source"), xattr("system.posix_acl_default", "source")],
            true,
        );
        let wanted = [xattr("system.posix_acl_access", "old"), xattr("user.a", "source"), xattr("user.b", "plan")];
        assert_eq!(merged, wanted);
        let list = [xattr("system.posix_acl_access", "source")];
        assert_eq!(merge(&[], Vec::new(), &list, false), list, "nothing is replaced that would know better");
        assert_eq!(merge(&[], Vec::new(), &list, true), [], "the replaced file had none");
    }
}
