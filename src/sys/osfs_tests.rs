//! The real file system's promises, one by one.

use super::*;
use crate::model::Stamp;
use Tree::{Base, Quarantine};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

struct World {
    dir: tempfile::TempDir,
    fs: OsFs,
}

fn world() -> World {
    world_with(false)
}

fn world_with(without_openat2: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["base/cur", "base/new", "quarantine"] {
        std::fs::create_dir_all(dir.path().join(sub)).unwrap();
    }
    let root = |name| Root::open_with(&dir.path().join(name), without_openat2).unwrap();
    let fs = OsFs::new(root("base"), root("quarantine")).unwrap();
    World { dir, fs }
}

impl World {
    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("base").join(name)
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn write(fs: &OsFs, tree: Tree, name: &str, bytes: &[u8]) -> io::Result<Stat> {
    fs.create(tree, &path(name), &mut |sink| bytes.chunks(3).try_for_each(&mut *sink))
}

fn read(fs: &OsFs, tree: Tree, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs.read(tree, &path(name), &mut |window| bytes.extend_from_slice(window)).unwrap();
    bytes
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn dress(uid: u32, gid: u32) -> Dress<'static> {
    Dress { uid, gid, mode: 0o640, mtime: Stamp { sec: 1_000_000_000, nsec: 7 }, xattrs: &[] }
}

#[test]
fn creates_writes_reads_and_refuses_what_exists() {
    for without_openat2 in [false, true] {
        let world = world_with(without_openat2);
        let stat = write(&world.fs, Base, "cur/a", b"From: x\n\nbody").unwrap();
        assert_eq!((stat.size, stat.mode), (13, 0o600));
        assert_eq!(read(&world.fs, Base, "cur/a"), b"From: x\n\nbody");
        assert_eq!(write(&world.fs, Base, "cur/a", b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        symlink("nowhere", world.at("cur/link")).unwrap();
        assert_eq!(write(&world.fs, Base, "cur/link", b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(world.fs.list(Base, &path("cur")).unwrap().len(), 2);
        world.fs.sync_file(Base, &path("cur/a")).unwrap();
        world.fs.sync_dir(Base, &path("cur")).unwrap();
        world.fs.sync_all().unwrap();
        assert!(world.fs.free().unwrap().0 > 0);
    }
}

#[test]
fn a_failed_fill_is_an_error() {
    let world = world();
    let result = world.fs.create(Base, &path("cur/a"), &mut |sink| {
        sink(b"half")?;
        Err(io::Error::other("source gone"))
    });
    assert_eq!(result.unwrap_err().to_string(), "source gone");
}

#[test]
fn dresses_what_it_created() {
    let world = world();
    write(&world.fs, Base, "cur/a", b"x").unwrap();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = if uid == 0 { (4242, 4243) } else { (uid, gid) };
    let stat = world.fs.dress(Base, &path("cur/a"), &dress(owner.0, owner.1)).unwrap();
    assert_eq!((stat.uid, stat.gid, stat.mode), (owner.0, owner.1, 0o640));
    assert_eq!(stat.mtime, Stamp { sec: 1_000_000_000, nsec: 7 });
    world.fs.make_dir(Base, &path("cur/d"), 0o700).unwrap();
    world.fs.dress_dir(Base, &path("cur/d"), owner.0, owner.1, 0o2770).unwrap();
    assert_eq!((mode(&world.at("cur/d")), world.at("cur/d").metadata().unwrap().uid()), (0o2770, owner.0));
    world.fs.remove_dir(Base, &path("cur/d")).unwrap();
    assert!(world.fs.dress(Base, &path("cur/a"), &dress(u32::MAX, gid)).is_err());
}

#[test]
fn keeps_xattrs_and_acls() {
    let world = world();
    write(&world.fs, Base, "cur/a", b"x").unwrap();
    // rw for the owner, r for user 1000, mask r: version 2, then (tag, permissions, id) each.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 1000), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend([&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let xattrs = [
        Xattr { name: b"system.posix_acl_access".to_vec(), value: acl },
        Xattr { name: b"user.mailmend".to_vec(), value: b"1".to_vec() },
    ];
    let now = world.at("cur/a").metadata().unwrap();
    match world.fs.dress(Base, &path("cur/a"), &Dress { xattrs: &xattrs, ..dress(now.uid(), now.gid()) }) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {
            eprintln!("NOT TESTED: no xattrs on this file system");
        }
        result => {
            assert_eq!(result.unwrap().mode, 0o640);
            assert_eq!(world.fs.xattrs(Base, &path("cur/a")).unwrap(), xattrs);
            assert_eq!(world.fs.xattrs(Base, &path("cur")).unwrap(), []);
        }
    }
}

#[test]
fn what_a_user_put_in_the_place_is_not_given_away() {
    let world = world();
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    std::fs::write(world.at("root_only"), b"secret").unwrap();
    write(&world.fs, Base, "cur/a", b"x").unwrap();
    std::fs::remove_file(world.at("cur/a")).unwrap();
    std::fs::hard_link(world.at("root_only"), world.at("cur/a")).unwrap();
    let refused = |world: &World| world.fs.dress(Base, &path("cur/a"), &dress(me.0, me.1)).unwrap_err().kind();
    assert_eq!(refused(&world), io::ErrorKind::PermissionDenied, "further names");
    std::fs::remove_file(world.at("root_only")).unwrap();
    assert_eq!(refused(&world), io::ErrorKind::PermissionDenied, "another inode");
    std::fs::remove_file(world.at("cur/a")).unwrap();
    symlink("../new", world.at("cur/a")).unwrap();
    assert!(world.fs.dress(Base, &path("cur/a"), &dress(me.0, me.1)).is_err());
    world.fs.make_dir(Base, &path("cur/d"), 0o700).unwrap();
    std::fs::rename(world.at("cur/d"), world.at("cur/e")).unwrap();
    std::fs::create_dir(world.at("cur/d")).unwrap();
    assert!(world.fs.dress_dir(Base, &path("cur/d"), me.0, me.1, 0o777).is_err());
}

#[test]
fn rename_new_refuses_an_existing_name() {
    let world = world();
    write(&world.fs, Base, "new/a", b"a").unwrap();
    write(&world.fs, Base, "cur/b", b"b").unwrap();
    let refused = world.fs.rename_new((Base, &path("new/a")), (Base, &path("cur/b")));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    world.fs.rename_new((Base, &path("new/a")), (Quarantine, &path("a"))).unwrap();
    assert_eq!(read(&world.fs, Quarantine, "a"), b"a");
    assert_eq!(world.fs.stat(Base, &path("new/a")).unwrap(), None);
    world.fs.unlink_quarantine(&path("a")).unwrap();
}

#[test]
fn the_fall_back_of_rename_new_does_the_same() {
    let world = world();
    write(&world.fs, Base, "new/a", b"a").unwrap();
    write(&world.fs, Base, "cur/b", b"b").unwrap();
    let (new, cur) = (world.fs.base.top().open_dir(b"new").unwrap(), world.fs.base.top().open_dir(b"cur").unwrap());
    assert_eq!(rename_by_link(&new, b"a", &cur, b"b").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    rename_by_link(&new, b"a", &cur, b"a").unwrap();
    assert_eq!(world.fs.stat(Base, &path("new/a")).unwrap(), None);
    assert_eq!(read(&world.fs, Base, "cur/a"), b"a");
    assert_eq!(world.fs.stat(Base, &path("cur/a")).unwrap().unwrap().1.nlink, 1);
}

#[test]
fn exchanges_or_says_that_it_cannot() {
    let world = world();
    write(&world.fs, Base, "cur/a", b"whole").unwrap();
    write(&world.fs, Quarantine, "b", b"damaged").unwrap();
    match world.fs.exchange((Base, &path("cur/a")), (Quarantine, &path("b"))) {
        Ok(()) => assert_eq!(
            (read(&world.fs, Base, "cur/a"), read(&world.fs, Quarantine, "b")),
            (b"damaged".to_vec(), b"whole".to_vec())
        ),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
    }
    assert!(world.fs.exchange((Base, &path("cur/a")), (Base, &path("cur/none"))).is_err());
}

#[test]
fn links_files_only_and_renames_over() {
    let world = world();
    write(&world.fs, Base, "cur/a", b"a").unwrap();
    world.fs.link((Base, &path("cur/a")), (Quarantine, &path("a"))).unwrap();
    assert_eq!(world.fs.stat(Base, &path("cur/a")).unwrap().unwrap().1.nlink, 2);
    let again = world.fs.link((Base, &path("cur/a")), (Quarantine, &path("a")));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    symlink("a", world.at("cur/link")).unwrap();
    assert!(world.fs.link((Base, &path("cur/link")), (Quarantine, &path("l"))).is_err());
    write(&world.fs, Base, "cur/b", b"b").unwrap();
    world.fs.rename_over((Base, &path("cur/b")), (Base, &path("cur/a"))).unwrap();
    assert_eq!(read(&world.fs, Base, "cur/a"), b"b");
    assert_eq!(read(&world.fs, Quarantine, "a"), b"a");
}

#[test]
fn no_link_above_is_followed_by_any_operation() {
    let world = world();
    symlink("cur", world.at("link")).unwrap();
    write(&world.fs, Base, "cur/a", b"a").unwrap();
    let (there, here) = (path("link/a"), path("new/a"));
    assert!(write(&world.fs, Base, "link/b", b"").is_err());
    assert!(world.fs.rename_new((Base, &there), (Base, &here)).is_err());
    assert!(world.fs.rename_over((Base, &there), (Base, &here)).is_err());
    assert!(world.fs.exchange((Base, &there), (Base, &there)).is_err());
    assert!(world.fs.link((Base, &there), (Base, &here)).is_err());
    assert!(world.fs.make_dir(Base, &path("link/d"), 0o700).is_err());
    assert!(world.fs.list(Base, &path("link")).is_err());
    assert!(world.fs.sync_file(Base, &there).is_err());
    assert!(world.fs.stat(Base, &there).is_err());
    assert!(world.fs.remove_dir(Base, &RelPath::root()).is_err());
}

#[test]
fn a_file_that_somebody_has_open_is_not_idle() {
    let world = world();
    std::fs::write(world.at("log"), b"x").unwrap();
    assert!(world.fs.is_idle(Base, &path("log")).unwrap());
    let reader = std::fs::File::open(world.at("log")).unwrap();
    assert!(!world.fs.is_idle(Base, &path("log")).unwrap());
    drop(reader);
    assert!(world.fs.is_idle(Base, &path("log")).unwrap());
    assert!(world.fs.is_idle(Base, &path("gone")).unwrap());
}

#[test]
fn a_folder_of_ours_moved_to_the_name_is_not_given_away() {
    let world = world();
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = if me.0 == 0 { (4242, 4243) } else { me };
    std::fs::create_dir(world.at("private")).unwrap();
    std::fs::write(world.at("private/secret"), b"secret").unwrap();
    std::fs::set_permissions(world.at("private"), PermissionsExt::from_mode(0o700)).unwrap();
    world.fs.make_dir(Base, &path("cur/d"), 0o700).unwrap();
    std::fs::rename(world.at("cur/d"), world.at("cur/e")).unwrap();
    std::fs::rename(world.at("private"), world.at("cur/d")).unwrap();
    let kept = |fs: &OsFs| {
        let error = fs.dress_dir(Base, &path("cur/d"), owner.0, owner.1, 0o777).unwrap_err();
        assert_eq!((mode(&world.at("cur/d")), world.at("cur/d").metadata().unwrap().uid()), (0o700, me.0), "{error}");
        error.kind()
    };
    assert_eq!(kept(&world.fs), io::ErrorKind::PermissionDenied, "another inode");
    // A later run remembers nothing: what holds something is not what was made.
    let root = |name| Root::open(&world.dir.path().join(name)).unwrap();
    let later = OsFs::new(root("base"), root("quarantine")).unwrap();
    assert_eq!(kept(&later), io::ErrorKind::DirectoryNotEmpty);
    std::fs::remove_file(world.at("cur/d/secret")).unwrap();
    later.dress_dir(Base, &path("cur/d"), owner.0, owner.1, 0o777).unwrap();
    assert_eq!(mode(&world.at("cur/d")), 0o777, "it was the content that kept it");
}

/// The kernel signals whoever is in the way of an open; a signal that nobody handles would be the end.
#[test]
fn a_file_is_held_against_readers_and_locks_and_whoever_comes_is_seen() {
    let world = world();
    std::fs::write(world.at("inbox"), b"x").unwrap();
    let reader = std::fs::File::open(world.at("inbox")).unwrap();
    assert!(world.fs.hold(Base, &path("inbox")).unwrap().is_none());
    drop(reader);
    let gone = world.fs.hold(Base, &path("gone")).err().unwrap();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    let held = world.fs.hold(Base, &path("inbox")).unwrap().unwrap();
    assert!(held.undisturbed() && held.stat().size == 1);
    let hasty = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let came = rustix::fs::open(world.at("inbox"), hasty, rustix::fs::Mode::empty());
    assert_eq!(came.err(), Some(rustix::io::Errno::WOULDBLOCK));
    assert!(!held.undisturbed());
    drop(held);
    assert!(world.fs.hold(Base, &path("inbox")).unwrap().unwrap().undisturbed());
}
