//! A file system in memory that keeps two truths, what processes see and what the medium holds, and can
//! lose power, fail any operation, or let somebody else act in between.
//!
//! Tests only. The crash model is the one that `fs.rs` states, taken at its most hostile: every change of
//! names that is not synced in all of its directories may be lost by itself, unless a later one that is on
//! the medium builds on it; contents and attributes that are not synced may be lost or torn.

mod medium;

use super::fs::{Dress, Fill, Fs, Hold, Kind, Tree};
use crate::model::message::Xattr;
use crate::model::{RelPath, Stamp, Stat};
use medium::{Body, Inode, NameOp, TEAR, survivors, tear};
pub use medium::{Overlay, Place, Standing};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Operation number `at` fails; `forever`: and all later ones; `after`: it was done nevertheless.
    Fail { at: u64, errno: Errno, forever: bool, after: bool },
    /// The power goes at operation `at`; `after`: when it was done already.
    Die { at: u64, after: bool },
    /// The first write from operation `at` on takes half of what it is given.
    Short { at: u64, then: Rest },
}

/// What becomes of the rest after a short write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The next write takes it.
    Taken,
    /// The next write fails.
    Refused(Errno),
    /// It is gone, and nobody says so.
    Lost,
}

/// Somebody else's act, done just before an operation.
pub type Act = Rc<dyn Fn(&mut State)>;

/// The file system, as its users see it and as the medium holds it.
#[derive(Default, Clone)]
pub struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<Place, u64>,
    medium: BTreeMap<Place, u64>,
    pending: Vec<NameOp>,
    clock: i64,
    next: u64,
    operations: u64,
    fault: Option<Fault>,
    dead: bool,
    act: Option<(u64, Act)>,
    /// Files that others deleted or replaced.
    removed: BTreeSet<u64>,
    rot: Option<u64>,
    created: u64,
    free: Option<u64>,
}

/// The simulated file system.
#[derive(Default)]
pub struct SimFs {
    state: RefCell<State>,
    /// Whether `exchange` works; without it `rename_new` is link and unlink, as on NFS.
    pub plain: bool,
    /// Trees in which somebody opens every file that is held.
    pub intruders: RefCell<Vec<Tree>>,
}

fn refuse<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

/// What is to happen to an operation.
enum Fate {
    Go,
    Fail(Errno),
    GoThenFail(Errno),
}

impl State {
    fn now(&mut self) -> Stamp {
        self.clock += 1;
        Stamp { sec: 1_000_000 + self.clock, nsec: 0 }
    }

    fn fate(&mut self) -> Fate {
        let number = self.operations;
        self.operations += 1;
        if self.act.as_ref().is_some_and(|(at, _)| *at == number)
            && let Some((_, act)) = self.act.take()
        {
            act(self);
        }
        if self.dead {
            return Fate::Fail(Errno::IO);
        }
        match self.fault {
            Some(Fault::Fail { at, errno, forever, after }) if number == at || (forever && number > at) => {
                if after {
                    Fate::GoThenFail(errno)
                } else {
                    Fate::Fail(errno)
                }
            }
            Some(Fault::Die { at, after }) if number == at => {
                self.dead = true;
                if after { Fate::GoThenFail(Errno::IO) } else { Fate::Fail(Errno::IO) }
            }
            _ => Fate::Go,
        }
    }

    fn get(&self, place: &Place) -> io::Result<u64> {
        self.names.get(place).copied().ok_or_else(|| Errno::NOENT.into())
    }

    fn inode(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("a name points to an inode")
    }

    fn free(&self, place: &Place) -> io::Result<()> {
        let parent = (place.0, place.1.parent().unwrap_or_default());
        let dir = self.get(&parent)?;
        if self.inodes[&dir].kind != Kind::Directory {
            return refuse(Errno::NOTDIR);
        }
        if self.names.contains_key(place) { refuse(Errno::EXIST) } else { Ok(()) }
    }

    fn add(&mut self, kind: Kind, mode: u32) -> u64 {
        let stamp = self.now();
        self.next += 1;
        let body = Body { content: Vec::new(), uid: 0, gid: 0, mode, mtime: stamp, xattrs: Vec::new() };
        let inode = Inode { kind, medium: body.clone(), now: body, ctime: stamp, lost: false, told: false };
        self.inodes.insert(self.next, inode);
        self.next
    }

    /// Changes names, all or none of it on the medium.
    fn apply(&mut self, sets: Vec<(Place, Option<u64>)>) {
        let unsynced = sets.iter().map(|((tree, path), _)| (*tree, path.parent().unwrap_or_default())).collect();
        for (place, ino) in &sets {
            set(&mut self.names, place, *ino);
            if let Some(ino) = *ino {
                let stamp = self.now();
                self.inode(ino).ctime = stamp;
            }
        }
        self.pending.push(NameOp { sets, unsynced });
    }

    fn stat(&self, ino: u64) -> (Kind, Stat) {
        let inode = &self.inodes[&ino];
        let nlink = self.names.values().filter(|&&other| other == ino).count() as u64;
        let Body { uid, gid, mode, mtime, ref content, .. } = inode.now;
        let size = content.len() as u64;
        (inode.kind, Stat { dev: 1, ino, nlink, size, mtime, ctime: inode.ctime, uid, gid, mode })
    }

    /// How much of `length` bytes a write takes, and how much it says to have taken.
    fn taken(&mut self, length: usize) -> (usize, usize) {
        match self.fault {
            Some(Fault::Short { at, then }) if self.operations > at => {
                let next = self.operations;
                self.fault = match then {
                    Rest::Refused(errno) => Some(Fault::Fail { at: next, errno, forever: false, after: false }),
                    Rest::Taken | Rest::Lost => None,
                };
                (length / 2, if then == Rest::Lost { length } else { length / 2 })
            }
            _ => (length, length),
        }
    }

    /// Everything of a file is on the medium, unless that failed before: the cache calls such a file clean.
    fn write_back(&mut self, ino: u64) -> io::Result<()> {
        let inode = self.inode(ino);
        if !inode.lost {
            inode.medium = inode.now.clone();
        } else if !std::mem::replace(&mut inode.told, true) {
            return refuse(Errno::IO);
        }
        Ok(())
    }

    /// Writing back failed: what was dirty is not on the medium, and no later sync brings it there.
    fn lose(&mut self, only: Option<u64>) {
        let dirty = |(ino, inode): &(&u64, &mut Inode)| {
            only.is_none_or(|only| only == **ino) && !inode.lost && inode.now.content != inode.medium.content
        };
        for (_, inode) in self.inodes.iter_mut().filter(dirty) {
            inode.medium.content = inode.now.content.clone();
            inode.medium.content.iter_mut().take(TEAR).for_each(|byte| *byte = 0);
            (inode.lost, inode.told) = (true, false);
        }
    }

    fn note_removed(&mut self, path: &RelPath) {
        if let Ok(ino) = self.get(&(Tree::Base, path.clone())) {
            self.removed.insert(ino);
        }
    }

    /// Somebody renames a file, over another one if need be.
    pub fn act_rename(&mut self, from: &RelPath, to: &RelPath) {
        if let Ok(ino) = self.get(&(Tree::Base, from.clone())) {
            self.apply(vec![((Tree::Base, from.clone()), None), ((Tree::Base, to.clone()), Some(ino))]);
        }
    }

    /// Somebody deletes a file.
    pub fn act_delete(&mut self, path: &RelPath) {
        if self.names.contains_key(&(Tree::Base, path.clone())) {
            self.note_removed(path);
            self.apply(vec![((Tree::Base, path.clone()), None)]);
        }
    }

    /// Somebody writes a new file, renames it to its name, as deliveries and other repairs do, and syncs both.
    pub fn act_write(&mut self, path: &RelPath, content: &[u8]) {
        self.note_removed(path);
        let ino = self.add(Kind::File, 0o600);
        self.inode(ino).now.content = content.to_vec();
        self.inode(ino).medium = self.inodes[&ino].now.clone();
        self.apply(vec![((Tree::Base, path.clone()), Some(ino))]);
        if let Some(op) = self.pending.last_mut() {
            op.unsynced.clear();
        }
    }

    /// Somebody gives a file another owner, mode, date and attributes.
    pub fn act_dress(&mut self, path: &RelPath, dress: &Dress<'_>) {
        if let Ok(ino) = self.get(&(Tree::Base, path.clone())) {
            let inode = self.inode(ino);
            inode.now = Body::dressed(std::mem::take(&mut inode.now.content), dress);
            inode.medium = inode.now.clone();
        }
    }

    /// Somebody makes a symbolic link, to wherever.
    pub fn act_symlink(&mut self, path: &RelPath) {
        let ino = self.add(Kind::Symlink, 0o777);
        self.apply(vec![((Tree::Base, path.clone()), Some(ino))]);
    }
}

fn set(names: &mut BTreeMap<Place, u64>, place: &Place, ino: Option<u64>) {
    match ino {
        Some(ino) => names.insert(place.clone(), ino),
        None => names.remove(place),
    };
}

impl SimFs {
    /// Two empty trees.
    pub fn new(plain: bool) -> SimFs {
        let fs = SimFs { plain, ..SimFs::default() };
        let mut state = fs.state.borrow_mut();
        for tree in [Tree::Base, Tree::Quarantine] {
            let ino = state.add(Kind::Directory, 0o700);
            state.names.insert((tree, RelPath::root()), ino);
        }
        state.medium = state.names.clone();
        drop(state);
        fs
    }

    /// A second machine in the same state.
    pub fn fork(&self) -> SimFs {
        SimFs { state: self.state.clone(), plain: self.plain, intruders: self.intruders.clone() }
    }

    /// Lets something go wrong. Operations count from the next one, 0.
    pub fn arm(&self, fault: Option<Fault>) {
        let mut state = self.state.borrow_mut();
        state.fault = fault;
        state.operations = 0;
    }

    /// Lets somebody act before operation `at`.
    pub fn arm_act(&self, at: u64, act: Act) {
        let mut state = self.state.borrow_mut();
        state.act = Some((at, act));
        state.operations = 0;
    }

    /// Nothing goes wrong from now on, and nobody acts.
    pub fn disarm(&self) {
        let mut state = self.state.borrow_mut();
        (state.fault, state.act, state.rot, state.operations) = (None, None, None, 0);
    }

    /// Whether nobody is about to act any more.
    pub fn acted(&self) -> bool {
        self.state.borrow().act.is_none()
    }

    /// Forgets what others did until now.
    pub fn forgive(&self) {
        self.state.borrow_mut().removed.clear();
    }

    /// Files that others deleted or replaced: that they are gone is not our doing.
    pub fn removed_by_others(&self) -> BTreeSet<u64> {
        self.state.borrow().removed.clone()
    }

    /// The content of the `nth` file created from now on comes out of the medium with a flipped bit.
    pub fn arm_rot(&self, nth: u64) {
        let mut state = self.state.borrow_mut();
        state.rot = Some(nth);
        state.created = 0;
    }

    /// So many bytes are free from now on.
    pub fn set_free(&self, bytes: u64) {
        self.state.borrow_mut().free = Some(bytes);
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state.borrow().dead
    }

    /// Operations since the last `arm`.
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations
    }

    /// Counts one operation of something else that lives in the same machine (the journal). With an error
    /// comes whether the operation was done nevertheless.
    pub fn tick(&self) -> Result<(), (io::Error, bool)> {
        match self.state.borrow_mut().fate() {
            Fate::Go => Ok(()),
            Fate::Fail(errno) => Err((errno.into(), false)),
            Fate::GoThenFail(errno) => Err((errno.into(), true)),
        }
    }

    /// Does something outside the count, as another process would.
    pub fn as_other(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.borrow_mut());
    }

    /// Everything so far is on the medium.
    pub fn settle(&self) {
        let mut state = self.state.borrow_mut();
        state.medium = state.names.clone();
        state.pending.clear();
        for inode in state.inodes.values_mut() {
            inode.medium = inode.now.clone();
        }
    }

    /// The power goes and comes back.
    pub fn crash(&self, overlay: Overlay) {
        let mut state = self.state.borrow_mut();
        let mut dice = fastrand::Rng::with_seed(if let Overlay::Torn(seed) = overlay { seed } else { 0 });
        let kept = survivors(&state.pending, overlay, &mut dice);
        for (op, kept) in std::mem::take(&mut state.pending).into_iter().zip(kept) {
            for (place, ino) in op.sets.iter().filter(|_| kept) {
                set(&mut state.medium, place, *ino);
            }
        }
        state.names = state.medium.clone();
        for inode in state.inodes.values_mut().filter(|inode| inode.now != inode.medium) {
            if !inode.lost {
                inode.medium = tear(inode, overlay, &mut dice);
            }
            inode.now = inode.medium.clone();
            (inode.lost, inode.told) = (false, false);
        }
        let linked: BTreeSet<u64> = state.names.values().copied().collect();
        state.inodes.retain(|ino, _| linked.contains(ino));
        (state.fault, state.dead, state.act, state.rot) = (None, false, None, None);
    }

    /// Every file of a tree with its content and attributes, uncounted.
    pub fn files(&self, tree: Tree) -> BTreeMap<RelPath, (Vec<u8>, Stat)> {
        let state = self.state.borrow();
        let files = state.names.iter().filter(|((t, _), ino)| *t == tree && state.inodes[ino].kind == Kind::File);
        files
            .map(|((_, path), ino)| (path.clone(), (state.inodes[ino].now.content.clone(), state.stat(*ino).1)))
            .collect()
    }

    /// Every name of the base with what can be restored of it.
    pub fn tree(&self) -> BTreeMap<RelPath, Standing> {
        let state = self.state.borrow();
        let base = state.names.iter().filter(|((tree, _), _)| *tree == Tree::Base);
        base.map(|((_, path), ino)| (path.clone(), state.inodes[ino].standing(*ino))).collect()
    }

    /// Everything that has a name in a tree.
    pub fn inodes(&self, tree: Tree) -> BTreeSet<u64> {
        self.state.borrow().names.iter().filter(|((t, _), _)| *t == tree).map(|(_, ino)| *ino).collect()
    }

    /// An exchange by somebody who knows no better: the new file over the old one, then the old one's new name.
    pub fn exchange_in_two(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()> {
        let (a, b) = ((a.0, a.1.clone()), (b.0, b.1.clone()));
        let old = self.act(|state| {
            let (new, old) = (state.get(&a)?, state.get(&b)?);
            state.apply(vec![(a.clone(), None), (b.clone(), Some(new))]);
            Ok(old)
        })?;
        self.act(|state| {
            state.apply(vec![(a.clone(), Some(old))]);
            Ok(())
        })
    }

    /// Writes to the end of a file, as `write_all` does: until everything was taken.
    fn write(&self, ino: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let said = self.act(|state| {
                let (taken, said) = state.taken(rest.len());
                state.inode(ino).now.content.extend_from_slice(&rest[..taken]);
                Ok(said)
            })?;
            rest = &rest[said..];
        }
        Ok(())
    }

    fn act<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        match state.fate() {
            Fate::Go => operation(&mut state),
            Fate::Fail(errno) => refuse(errno),
            Fate::GoThenFail(errno) => operation(&mut state).and_then(|_| refuse(errno)),
        }
    }
}

impl Fs for SimFs {
    fn stat(&self, tree: Tree, path: &RelPath) -> io::Result<Option<(Kind, Stat)>> {
        self.act(|state| Ok(state.get(&(tree, path.clone())).ok().map(|ino| state.stat(ino))))
    }

    fn list(&self, tree: Tree, dir: &RelPath) -> io::Result<Vec<Vec<u8>>> {
        self.act(|state| {
            state.get(&(tree, dir.clone()))?;
            let below =
                |(t, path): &Place| (*t == tree && path.parent().as_ref() == Some(dir)).then(|| path.name().to_vec());
            Ok(state.names.keys().filter_map(below).collect())
        })
    }

    fn create(&self, tree: Tree, path: &RelPath, fill: &mut Fill<'_>) -> io::Result<Stat> {
        let ino = self.act(|state| {
            let place = (tree, path.clone());
            state.free(&place)?;
            let ino = state.add(Kind::File, 0o600);
            state.apply(vec![(place, Some(ino))]);
            Ok(ino)
        })?;
        fill(&mut |bytes| self.write(ino, bytes))?;
        let mut state = self.state.borrow_mut();
        state.created += 1;
        if state.rot == Some(state.created)
            && let Some(byte) = state.inode(ino).now.content.first_mut()
        {
            *byte ^= 0x20;
        }
        Ok(state.stat(ino).1)
    }

    fn dress(&self, tree: Tree, path: &RelPath, dress: &Dress<'_>) -> io::Result<Stat> {
        self.act(|state| {
            let (ino, stamp) = (state.get(&(tree, path.clone()))?, state.now());
            let inode = state.inode(ino);
            inode.now = Body::dressed(std::mem::take(&mut inode.now.content), dress);
            inode.ctime = stamp;
            Ok(state.stat(ino).1)
        })
    }

    fn xattrs(&self, tree: Tree, path: &RelPath) -> io::Result<Vec<Xattr>> {
        self.act(|state| {
            let ino = state.get(&(tree, path.clone()))?;
            Ok(state.inode(ino).now.xattrs.clone())
        })
    }

    fn read(&self, tree: Tree, path: &RelPath, window: &mut dyn FnMut(&[u8])) -> io::Result<Stat> {
        self.act(|state| {
            let ino = state.get(&(tree, path.clone()))?;
            let inode = state.inode(ino);
            // A file that could not be written back counts as clean, so reading the medium shows the medium.
            let body = if inode.lost { &inode.medium } else { &inode.now };
            body.content.chunks(TEAR).for_each(window);
            Ok(state.stat(ino).1)
        })
    }

    fn make_dir(&self, tree: Tree, path: &RelPath, mode: u32) -> io::Result<()> {
        self.act(|state| {
            let place = (tree, path.clone());
            state.free(&place)?;
            let ino = state.add(Kind::Directory, mode);
            state.apply(vec![(place, Some(ino))]);
            Ok(())
        })
    }

    fn dress_dir(&self, tree: Tree, path: &RelPath, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        self.act(|state| {
            let ino = state.get(&(tree, path.clone()))?;
            let body = &mut state.inode(ino).now;
            (body.uid, body.gid, body.mode) = (uid, gid, mode);
            Ok(())
        })
    }

    fn remove_dir(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        self.act(|state| {
            let place = (tree, path.clone());
            state.get(&place)?;
            if state.names.keys().any(|(t, p)| *t == tree && p.parent().as_ref() == Some(path)) {
                return refuse(Errno::NOTEMPTY);
            }
            state.apply(vec![(place, None)]);
            Ok(())
        })
    }

    fn rename_new(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        let (from, to) = ((from.0, from.1.clone()), (to.0, to.1.clone()));
        if !self.plain {
            return self.act(|state| {
                let ino = state.get(&from)?;
                state.free(&to)?;
                state.apply(vec![(from, None), (to, Some(ino))]);
                Ok(())
            });
        }
        self.link((from.0, &from.1), (to.0, &to.1))?;
        self.act(|state| {
            let ino = state.get(&from)?;
            // The unlink names the file's other place too: no medium keeps it and forgets the link before it.
            let other = |(place, named): (&Place, &u64)| (*named == ino && *place != from).then(|| place.clone());
            let now = if state.names.get(&to) == Some(&ino) { Some(to) } else { state.names.iter().find_map(other) };
            let mut sets = vec![(from, None)];
            sets.extend(now.map(|place| (place, Some(ino))));
            state.apply(sets);
            Ok(())
        })
    }

    fn exchange(&self, a: (Tree, &RelPath), b: (Tree, &RelPath)) -> io::Result<()> {
        let plain = self.plain;
        self.act(|state| {
            let (a, b) = ((a.0, a.1.clone()), (b.0, b.1.clone()));
            if plain {
                return refuse(Errno::INVAL);
            }
            let (in_a, in_b) = (state.get(&a)?, state.get(&b)?);
            state.apply(vec![(a, Some(in_b)), (b, Some(in_a))]);
            Ok(())
        })
    }

    fn link(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.act(|state| {
            let to = (to.0, to.1.clone());
            let ino = state.get(&(from.0, from.1.clone()))?;
            state.free(&to)?;
            state.apply(vec![(to, Some(ino))]);
            Ok(())
        })
    }

    fn rename_over(&self, from: (Tree, &RelPath), to: (Tree, &RelPath)) -> io::Result<()> {
        self.act(|state| {
            let (from, to) = ((from.0, from.1.clone()), (to.0, to.1.clone()));
            let ino = state.get(&from)?;
            if state.names.get(&to) != Some(&ino) {
                state.apply(vec![(from, None), (to, Some(ino))]);
            }
            Ok(())
        })
    }

    fn unlink_quarantine(&self, path: &RelPath) -> io::Result<()> {
        self.act(|state| {
            let place = (Tree::Quarantine, path.clone());
            state.get(&place)?;
            state.apply(vec![(place, None)]);
            Ok(())
        })
    }

    fn sync_file(&self, tree: Tree, path: &RelPath) -> io::Result<()> {
        let synced = self.act(|state| {
            let ino = state.get(&(tree, path.clone()))?;
            state.write_back(ino)
        });
        let mut state = self.state.borrow_mut();
        if synced.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::IO.raw_os_error())) && !state.dead {
            let ino = state.get(&(tree, path.clone())).ok();
            state.lose(Some(ino.unwrap_or_default()));
        }
        synced
    }

    fn sync_dir(&self, tree: Tree, dir: &RelPath) -> io::Result<()> {
        self.act(|state| {
            let place = (tree, dir.clone());
            let ino = state.get(&place)?;
            let inode = state.inode(ino);
            inode.medium = inode.now.clone();
            for op in &mut state.pending {
                op.unsynced.remove(&place);
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        let synced = self.act(|state| {
            state.medium = state.names.clone();
            state.pending.clear();
            for inode in state.inodes.values_mut().filter(|inode| !inode.lost) {
                inode.medium = inode.now.clone();
            }
            Ok(())
        });
        let mut state = self.state.borrow_mut();
        if synced.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::IO.raw_os_error())) && !state.dead {
            state.lose(None);
        }
        synced
    }

    fn is_idle(&self, _: Tree, _: &RelPath) -> io::Result<bool> {
        self.act(|_| Ok(true))
    }

    fn hold<'f>(&'f self, tree: Tree, path: &RelPath) -> io::Result<Option<Box<dyn Hold + 'f>>> {
        let (_, stat) = self.stat(tree, path)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Some(Box::new(Held { fs: self, tree, stat })))
    }

    fn free(&self) -> io::Result<(u64, u64)> {
        self.act(|state| Ok((state.free.unwrap_or(1 << 40), 1 << 20)))
    }
}

/// A file that is held; [`SimFs::intruders`] may come in all the same.
struct Held<'f> {
    fs: &'f SimFs,
    tree: Tree,
    stat: Stat,
}

impl Hold for Held<'_> {
    fn stat(&self) -> Stat {
        self.stat
    }

    fn undisturbed(&self) -> bool {
        !self.fs.intruders.borrow().contains(&self.tree)
    }
}
