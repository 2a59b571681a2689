use super::*;
use crate::sys::dir::Root;
use crate::sys::osfs::OsFs;
use std::cell::RefCell;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command};

struct Bench {
    dir: tempfile::TempDir,
    fs: OsFs,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    for name in ["base/a/cur", "base/b/cur", "quarantine"] {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let open = |name| Root::open(&dir.path().join(name)).unwrap();
    let fs = OsFs::new(open("base"), open("quarantine")).unwrap();
    Bench { dir, fs }
}

impl Bench {
    fn lock(&self, mailbox: &str) -> PathBuf {
        self.dir.path().join("base").join(mailbox).join("dovecot-uidlist.lock")
    }

    /// What lies in the quarantine.
    fn aside(&self) -> usize {
        self.dir.path().join("quarantine").read_dir().unwrap().count()
    }
}

fn wanted(mailbox: &str) -> Option<RelPath> {
    Some(RelPath::new(format!("{mailbox}/dovecot-uidlist.lock")).unwrap())
}

/// Another process, and the text of its lock.
struct Other(Child);

impl Other {
    fn start() -> Other {
        Other(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn text(&self) -> String {
        let own = String::from_utf8(holder::text()).unwrap();
        own.replacen(&std::process::id().to_string(), &self.0.id().to_string(), 1)
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const NEVER: &dyn Fn() -> bool = &|| false;

fn busy(result: Result<bool, Unlocked>) -> String {
    match result {
        Err(Unlocked::Busy(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_is_held_moved_on_and_given_back() {
    let bench = bench();
    let mut locks = Locks::new(Patience { pause: &|_| panic!("nobody waits"), interrupt: NEVER });
    assert!(!locks.hold(&bench.fs, wanted("a")).unwrap());
    assert_eq!(std::fs::read(bench.lock("a")).unwrap(), holder::text());
    let (lock, mailbox) = (bench.lock("a").metadata().unwrap(), bench.lock("a").parent().unwrap().metadata().unwrap());
    assert_eq!((lock.uid(), lock.gid(), lock.mode() & 0o7777), (mailbox.uid(), mailbox.gid(), MODE));
    assert!(!locks.hold(&bench.fs, wanted("a")).unwrap(), "once is enough");
    assert!(!locks.hold(&bench.fs, wanted("b")).unwrap());
    assert!(!bench.lock("a").exists() && bench.lock("b").exists());
    assert!(!locks.hold(&bench.fs, None).unwrap());
    assert!(!bench.lock("b").exists());
    locks.hold(&bench.fs, wanted("b")).unwrap();
    locks.end(&bench.fs);
    assert!(!bench.lock("b").exists());
    assert_eq!(bench.aside(), 0);
}

#[test]
fn a_living_holder_is_waited_for_so_long_and_no_longer() {
    let bench = bench();
    let other = Other::start();
    std::fs::write(bench.lock("a"), other.text()).unwrap();
    std::fs::write(bench.lock("b"), other.text()).unwrap();
    let waited = RefCell::new(Duration::ZERO);
    let pause = |time| *waited.borrow_mut() += time;
    let mut locks = Locks::new(Patience { pause: &pause, interrupt: NEVER });
    for (n, mailbox) in ["a", "b", "a", "b", "a", "b", "a", "b"].into_iter().enumerate() {
        let text = busy(locks.hold(&bench.fs, wanted(mailbox)));
        assert!(text.contains(&format!("held by process {}", other.0.id())), "{text}");
        let limit = (LOCK_WAIT * u32::try_from(n + 1).unwrap()).min(LOCK_WAIT_RUN);
        assert_eq!(*waited.borrow(), limit);
    }
    assert_eq!(std::fs::read_to_string(bench.lock("a")).unwrap(), other.text(), "it is still theirs");
    locks.end(&bench.fs);
    assert_eq!(bench.aside(), 0);
}

#[test]
fn a_lock_is_had_as_soon_as_it_is_given_back_and_the_wait_is_told() {
    let bench = bench();
    let other = Other::start();
    std::fs::write(bench.lock("a"), other.text()).unwrap();
    let looks = RefCell::new(0);
    let pause = |_| {
        *looks.borrow_mut() += 1;
        if *looks.borrow() == 3 {
            std::fs::remove_file(bench.lock("a")).unwrap();
        }
    };
    let mut locks = Locks::new(Patience { pause: &pause, interrupt: NEVER });
    assert!(locks.hold(&bench.fs, wanted("a")).unwrap(), "what was listed before is old");
    assert_eq!(std::fs::read(bench.lock("a")).unwrap(), holder::text());
    locks.end(&bench.fs);
}

#[test]
fn an_interrupted_run_waits_no_more() {
    let bench = bench();
    let other = Other::start();
    std::fs::write(bench.lock("a"), other.text()).unwrap();
    let mut locks = Locks::new(Patience { pause: &|_| panic!("it waits"), interrupt: &|| true });
    busy(locks.hold(&bench.fs, wanted("a")));
}

#[test]
fn what_the_dead_left_is_removed() {
    let bench = bench();
    let mut other = Other::start();
    std::fs::write(bench.lock("a"), other.text()).unwrap();
    other.end();
    std::fs::write(bench.lock("b"), "1:another.example.org").unwrap();
    std::fs::write(bench.dir.path().join("quarantine/lock"), "").unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(1000);
    std::fs::File::options().write(true).open(bench.lock("b")).unwrap().set_modified(old).unwrap();
    let mut locks = Locks::new(Patience { pause: &|_| (), interrupt: NEVER });
    locks.hold(&bench.fs, wanted("a")).unwrap();
    assert_eq!(std::fs::read(bench.lock("a")).unwrap(), holder::text());
    // Its name was made just now, so that is not for certain left over.
    let text = busy(locks.hold(&bench.fs, wanted("b")));
    assert!(text.contains("held by another process"), "{text}");
    assert_eq!(std::fs::read(bench.lock("b")).unwrap(), b"1:another.example.org");
    locks.end(&bench.fs);
    assert_eq!(bench.aside(), 0);
}

#[test]
fn what_is_no_lock_file_is_left_alone() {
    let bench = bench();
    let outside = bench.dir.path().join("outside");
    std::fs::write(&outside, "").unwrap();
    symlink(&outside, bench.lock("a")).unwrap();
    std::fs::create_dir(bench.lock("b")).unwrap();
    let mut locks = Locks::new(Patience { pause: &|_| (), interrupt: NEVER });
    for mailbox in ["a", "b"] {
        assert!(busy(locks.hold(&bench.fs, wanted(mailbox))).contains("remove it"));
    }
    locks.end(&bench.fs);
    assert!(bench.lock("a").is_symlink() && bench.lock("b").is_dir() && outside.exists());
}

#[test]
fn a_lock_that_somebody_took_from_us_is_theirs() {
    let bench = bench();
    let other = Other::start();
    let mut locks = Locks::new(Patience { pause: &|_| (), interrupt: NEVER });
    locks.hold(&bench.fs, wanted("a")).unwrap();
    std::fs::remove_file(bench.lock("a")).unwrap();
    std::fs::write(bench.lock("a"), other.text()).unwrap();
    locks.release(&bench.fs);
    assert_eq!(locks.stuck.len(), 1, "it is told");
    assert_eq!(std::fs::read_to_string(bench.lock("a")).unwrap(), other.text());
}
