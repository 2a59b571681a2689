//! A full disk and a read-only one, for real: needs root and tmpfs.

use super::*;
use std::process::Command;

/// A small file system that goes away with the test.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// `None`, loudly, where it cannot be made; under CI that is a failure.
    fn new() -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Disk { dir });
        }
        eprintln!("SKIPPED: cannot mount a tmpfs (needs root); full and read-only disks were not tested");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to mount a tmpfs");
        None
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.dir.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").args(["-l"]).arg(self.dir.path()).status().ok();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_recorded() {
    let Some(disk) = Disk::new() else { return };
    let mut catalog = Catalog::open(&disk.path()).unwrap();
    let store = catalog.store(b"/s", at(1)).unwrap();
    let mailbox = catalog.look(store, &update(at(1)), vec![seen("a", "a", at(1))]).unwrap();
    let before = catalog.all(mailbox, Which::All);
    let many = (0..40_000).map(|n| format!("m{n:06}")).map(|name| seen(&name, &name, at(2)));
    let error = catalog.record_mailbox(store, &update(at(2)), &mut many.into_iter()).unwrap_err();
    assert_eq!(error.kind, Kind::Full, "{error}");
    assert_eq!(catalog.all(mailbox, Which::All), before);
    drop(catalog);
    let mut catalog = Catalog::open(&disk.path()).unwrap();
    assert_eq!(catalog.all(mailbox, Which::All), before);
    catalog.quick_check().unwrap();
    disk.remount("size=16m");
    catalog.look(store, &update(at(3)), vec![seen("b", "b", at(3))]).unwrap();
    assert_eq!(catalog.all(mailbox, Which::All).len(), 2);
}

#[test]
fn there_is_no_half_made_catalog_on_a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    std::fs::write(disk.dir.path().join("filler"), vec![1; 2 << 20]).ok();
    assert_eq!(Catalog::open(&disk.path()).unwrap_err().kind, Kind::Full);
    let left: Vec<_> = std::fs::read_dir(disk.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["filler"]);
}

#[test]
fn a_read_only_disk_can_be_read() {
    let Some(disk) = Disk::new() else { return };
    let mut catalog = Catalog::open(&disk.path()).unwrap();
    let store = catalog.store(b"/s", at(1)).unwrap();
    let mailbox = catalog.look(store, &update(at(1)), vec![seen("a", "a", at(1))]).unwrap();
    drop(catalog);
    disk.remount("ro");
    let reader = Catalog::open_existing_read_only(&disk.path()).unwrap().unwrap();
    assert_eq!(reader.all(mailbox, Which::All).len(), 1);
    assert_eq!(Catalog::open(&disk.path()).unwrap_err().kind, Kind::ReadOnly);
    drop(reader);

    // A log that nobody merged would be passed over: that is said, not done.
    disk.remount("rw");
    std::fs::write(open::wal_path(&disk.path()), b"left behind").unwrap();
    disk.remount("ro");
    let error = Catalog::open_existing_read_only(&disk.path());
    assert_eq!(error.unwrap_err().kind, Kind::ReadOnly);
}
