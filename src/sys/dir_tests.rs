//! Hostile trees: links at every level, FIFOs, sockets, devices, odd names, with openat2 and without.

use super::*;
use std::io::Read;
use std::os::unix::fs::symlink;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

/// A tree with a message at `a/b/msg` and every trap around it.
fn traps() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::write(top.join("a/b/msg"), b"From: x\n\nhello\n").unwrap();
    std::fs::write(top.join("secret"), b"secret").unwrap();
    symlink("a", top.join("link_a")).unwrap();
    symlink("b", top.join("a/link_b")).unwrap();
    symlink("msg", top.join("a/b/link_msg")).unwrap();
    symlink("/etc/passwd", top.join("a/b/absolute")).unwrap();
    symlink("../../secret", top.join("a/b/upward")).unwrap();
    symlink("nowhere", top.join("a/b/dangling")).unwrap();
    rustix::fs::mkfifoat(CWD, top.join("a/b/fifo"), Mode::from_raw_mode(0o600)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(top.join("a/b/socket")).unwrap();
    drop(socket);
    dir
}

fn both(test: impl Fn(Root, &Path)) {
    for without_openat2 in [false, true] {
        let dir = traps();
        test(Root::open_with(dir.path(), without_openat2).unwrap(), dir.path());
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

#[test]
fn reads_what_is_regular() {
    both(|root, _| {
        let mut text = String::new();
        root.open_file(&path("a/b/msg")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "From: x\n\nhello\n");
        let dir = root.open_dir(&path("a/b")).unwrap();
        text.clear();
        dir.open_file(b"msg").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 15);
        assert_eq!(dir.stat_self().unwrap().ino, root.stat(&path("a/b")).unwrap().unwrap().1.ino);
        assert_eq!(root.open_dir(&RelPath::root()).unwrap().stat_self().unwrap(), root.top().stat_self().unwrap());
    });
}

#[test]
fn refuses_links_at_every_level_with_the_same_error() {
    both(|root, _| {
        for link in ["link_a/b/msg", "a/link_b/msg", "a/b/link_msg", "a/b/absolute", "a/b/upward", "a/b/dangling"] {
            assert_eq!(errno(root.open_file(&path(link))), Some(Errno::LOOP), "{link}");
        }
        for link in ["link_a", "link_a/b", "a/link_b", "a/b/link_msg"] {
            assert_eq!(errno(root.open_dir(&path(link))), Some(Errno::LOOP), "{link}");
        }
        assert_eq!(errno(root.stat(&path("link_a/b"))), Some(Errno::LOOP));
        assert_eq!(root.stat(&path("link_a")).unwrap().unwrap().0, Kind::Symlink);
        let dir = root.open_dir(&path("a/b")).unwrap();
        assert_eq!(errno(dir.open_file(b"upward")), Some(Errno::LOOP));
    });
}

#[test]
fn nothing_but_a_regular_file_is_opened_and_nothing_blocks() {
    both(|root, top| {
        for (name, words) in [("a/b/fifo", "FIFO"), ("a/b/socket", "socket"), ("a/b", "directory"), ("", "directory")] {
            let error = root.open_file(&RelPath::new(name).unwrap()).unwrap_err();
            assert!(error.to_string().contains(words), "{name}: {error}");
        }
        let device = rustix::fs::mknodat(
            CWD,
            top.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(1, 3),
        );
        match device {
            Ok(()) => assert!(root.open_file(&path("null")).is_err()),
            Err(error) => eprintln!("NOT TESTED: device files ({error})"),
        }
        assert_eq!(errno(root.open_dir(&path("a/b/fifo"))), Some(Errno::NOTDIR));
        assert_eq!(errno(root.open_dir(&path("a/b/msg"))), Some(Errno::NOTDIR));
    });
}

#[test]
fn names_cannot_climb() {
    both(|root, _| {
        let dir = root.open_dir(&path("a/b")).unwrap();
        for name in [&b".."[..], b".", b"", b"a/b", b"/etc", b"a\0b"] {
            assert_eq!(dir.open_file(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(dir.open_dir(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(dir.stat(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn absent_is_told_from_unreachable() {
    both(|root, _| {
        assert_eq!(root.stat(&path("a/none")).unwrap(), None);
        assert_eq!(root.stat(&path("none/none")).unwrap(), None);
        assert_eq!(root.stat(&path("a/b/msg/x")).unwrap(), None);
        assert_eq!(errno(root.open_file(&path("a/none"))), Some(Errno::NOENT));
    });
}

#[test]
fn lists_every_entry_with_its_type() {
    both(|root, _| {
        let dir = root.open_dir(&path("a/b")).unwrap();
        for _ in 0..2 {
            let mut seen = Vec::new();
            let listed = dir.entries(&mut |name, kind, ino| {
                assert_eq!(dir.stat(name)?.map(|(kind, stat)| (kind, stat.ino)), Some((kind, ino)));
                seen.push(String::from_utf8_lossy(name).into_owned());
                Ok(())
            });
            listed.unwrap();
            seen.sort();
            assert_eq!(seen, ["absolute", "dangling", "fifo", "link_msg", "msg", "socket", "upward"]);
        }
        let stopped = dir.entries(&mut |_, _, _| Err(io::Error::other("enough")));
        assert_eq!(stopped.unwrap_err().to_string(), "enough");
    });
}

#[test]
fn lists_many_entries() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        std::fs::write(dir.path().join(format!("{number}.{}", "x".repeat(60))), b"").unwrap();
    }
    let mut count = 0;
    let root = Root::open(dir.path()).unwrap();
    let listed = root.top().entries(&mut |_, _, _| {
        count += 1;
        Ok(())
    });
    listed.unwrap();
    assert_eq!(count, 5000);
}

#[test]
fn opens_deeper_than_one_path_can_say() {
    both(|root, _| {
        let name = "d".repeat(200);
        let mut here = rustix::fs::openat(root.top(), ".", STEP, Mode::empty()).unwrap();
        let mut deep = RelPath::root();
        for _ in 0..30 {
            rustix::fs::mkdirat(&here, &name, Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, &name, STEP, Mode::empty()).unwrap();
            deep = deep.join(name.as_bytes()).unwrap();
        }
        assert!(deep.as_bytes().len() > 4096);
        assert!(root.open_dir(&deep).unwrap().stat_self().is_ok());
    });
}

#[test]
fn the_root_itself_may_be_reached_through_links() {
    let dir = traps();
    let root = Root::open(&dir.path().join("link_a")).unwrap();
    assert_eq!(root.path(), dir.path().canonicalize().unwrap().join("a"));
    assert!(root.open_file(&path("b/msg")).is_ok());
    assert!(Root::open(&dir.path().join("secret")).is_err());
}

#[test]
fn direct_is_the_file_or_none() {
    both(|root, _| {
        let whole = root.open_direct(&path("a/b/msg"));
        assert!(whole.is_ok());
        assert!(root.open_direct(&path("a/b/link_msg")).is_err());
        assert!(root.open_direct(&path("a/b/fifo")).is_err() || root.open_direct(&path("a/b/fifo")).unwrap().is_none());
    });
}

#[test]
fn a_root_is_reached_through_our_own_links_alone() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: whose links root follows (needs root)");
    }
    for without_openat2 in [false, true] {
        let dir = traps();
        let top = dir.path();
        for folder in ["mine", "theirs"] {
            std::fs::create_dir(top.join(folder)).unwrap();
            symlink("../a", top.join(folder).join("own")).unwrap();
        }
        symlink("../a", top.join("mine/strange")).unwrap();
        for stranger in ["mine/strange", "theirs"] {
            std::os::unix::fs::lchown(top.join(stranger), Some(4242), Some(4242)).unwrap();
        }
        let open = |name: &str| Root::open_with(&top.join(name), without_openat2);
        let own = open("mine/own/b").unwrap();
        assert_eq!(own.path(), top.canonicalize().unwrap().join("a/b"));
        assert_eq!(own.top().stat_self().unwrap(), open("a/b").unwrap().top().stat_self().unwrap());
        assert!(open("theirs").is_ok(), "a folder is no link");
        for name in ["mine/strange", "mine/strange/b", "theirs/own", "theirs/own/b"] {
            assert_eq!(open(name).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
    }
}

#[test]
fn a_link_that_comes_into_a_resolved_path_is_refused() {
    let dir = traps();
    let top = dir.path().canonicalize().unwrap();
    for open in [open_unlinked, open_unlinked_stepwise] {
        assert!(open(&top.join("a/b")).is_ok());
        for link in ["link_a", "link_a/b", "a/link_b"] {
            assert_eq!(open(&top.join(link)).unwrap_err(), Errno::LOOP, "{link}");
        }
        assert_eq!(open(&top.join("a/b/msg")).unwrap_err(), Errno::NOTDIR);
    }
}

#[test]
fn of_a_folder_around_a_file_only_that_and_what_belongs_to_it_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
    for file in ["ann", "bob", "own/ann/index", "own/bob/index"] {
        std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(file), file).unwrap();
    }
    for without_openat2 in [false, true] {
        let root = Root::open_with(&folder.path().join("ann"), without_openat2).unwrap();
        let root = root.with_beside(Some(path("own/ann")));
        for there in [RelPath::root(), path("ann"), path("own/ann/index")] {
            assert!(root.open_file(&there).is_ok() && root.stat(&there).unwrap().is_some(), "{there}");
        }
        for out in ["bob", "own/bob/index", "own/ann2", "../ann"].map(|out| RelPath::new(out.as_bytes())) {
            let Ok(out) = out else { continue };
            assert!(root.open_file(&out).is_err() && root.stat(&out).unwrap().is_none(), "{out}");
        }
        assert!(root.open_dir(&path("own/ann")).is_ok() && root.stat(&path("own/ann/none")).unwrap().is_none());
        assert!([path("own"), path("own/bob"), RelPath::root()].iter().all(|dir| root.open_dir(dir).is_err()));
    }
}
