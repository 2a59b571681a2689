//! Disks for tests: a small full one, and one that can be made to hang. Both need root, and clean up after themselves.

use super::must;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A tmpfs of a few kilobytes.
#[must_use = "the disk is unmounted when this is dropped"]
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    pub fn mount(path: PathBuf, kib: u32) -> SmallDisk {
        fs::create_dir_all(&path).expect("a mount point");
        must("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "drill", path.to_str().expect("UTF-8")]);
        SmallDisk { path }
    }

    /// Writes until nothing fits any more.
    pub fn fill(&self) {
        let path = self.path.join("filler");
        let mut size = 1 << 20;
        let mut file = fs::File::create(path).expect("a filler");
        while size > 0 {
            if std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_err() {
                size /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
    }
}

/// A read-only disk that nbdkit serves: it stops answering while that process is stopped.
#[must_use = "the disk is taken down when this is dropped"]
pub struct HangingDisk {
    pub mountpoint: PathBuf,
    fuse: Child,
    server: u32,
    loop_device: Option<String>,
}

/// An image of 256 MiB that holds a copy of `content` in its folder `store`; `look` may see it mounted.
pub fn image(content: &Path, dir: &Path, look: impl FnOnce(&Path)) -> PathBuf {
    let [image, filling] = ["disk.img", "filling"].map(|n| dir.join(n));
    fs::File::create(&image).and_then(|f| f.set_len(256 << 20)).expect("an image");
    must("mkfs.ext4", &["-q", "-F", "-b", "4096", text(&image)]);
    fs::create_dir(&filling).expect("a mount point");
    must("mount", &["-o", "loop", text(&image), text(&filling)]);
    let store = filling.join("store");
    let copied = mailmend::drill::copy::plain(content, &store);
    if copied.is_ok() {
        must("sync", &["-f", text(&store)]);
        look(&store);
    }
    must("umount", &[text(&filling)]);
    copied.expect("a filled disk");
    image
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl HangingDisk {
    /// A disk image that holds a copy of `content`.
    pub fn holding(content: &Path, dir: &Path) -> HangingDisk {
        let image = image(content, dir, |_| ());
        HangingDisk::serving(dir, &[text(&image)])
    }

    /// A disk that nbdkit's file plugin serves with these arguments: the image, filters and their settings.
    pub fn serving(dir: &Path, arguments: &[&str]) -> HangingDisk {
        let [file, mountpoint] = ["disk.nbd", "mnt"].map(|n| dir.join(n));
        fs::write(&file, "").expect("the device file");
        fs::create_dir_all(&mountpoint).expect("a mount point");
        let (filters, rest): (Vec<&&str>, Vec<&&str>) = arguments.iter().partition(|a| a.starts_with("--filter"));
        let mut nbdfuse = Command::new("nbdfuse");
        nbdfuse.arg(&file).args(["--command", "nbdkit", "-s", "--exit-with-parent"]);
        let fuse = nbdfuse.args(filters).arg("file").args(rest).spawn().expect("nbdfuse");
        let mut disk = HangingDisk { mountpoint, server: 0, loop_device: None, fuse };
        disk.server = disk.wait_for_server();
        wait_until("the device", || fs::metadata(&file).is_ok_and(|m| m.len() > 0));
        let device = must("losetup", &["-f", "--show", "-r", "--direct-io=on", text(&file)]);
        disk.loop_device = Some(device.clone());
        must("mount", &["-o", "ro,noload", &device, text(&disk.mountpoint)]);
        disk
    }

    pub fn store(&self) -> PathBuf {
        self.mountpoint.join("store")
    }

    /// From now on every read that the cache cannot answer hangs.
    pub fn hang(&self) {
        fs::write("/proc/sys/vm/drop_caches", "3").expect("dropping caches");
        must("kill", &["-STOP", &self.server.to_string()]);
    }

    pub fn device(&self) -> &str {
        self.loop_device.as_deref().expect("a loop device")
    }

    /// The process that answers for the disk.
    pub fn server(&self) -> u32 {
        self.server
    }

    pub fn go_on(&self) {
        drop(Command::new("kill").args(["-CONT", &self.server.to_string()]).status());
    }

    fn wait_for_server(&self) -> u32 {
        let pid = self.fuse.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let child = || fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok();
        wait_until("nbdkit", || child().is_some());
        child().expect("nbdkit runs")
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        self.go_on();
        drop(Command::new("umount").arg("--lazy").arg(&self.mountpoint).status());
        if let Some(device) = &self.loop_device {
            drop(Command::new("losetup").args(["-d", device]).status());
        }
        drop(Command::new("kill").arg(self.fuse.id().to_string()).status());
        drop(self.fuse.wait());
    }
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A disk in a file, mounted through a loop device; whole states of it can be kept and gone back to.
#[must_use = "the disk is unmounted when this is dropped"]
pub struct LoopDisk {
    pub path: PathBuf,
    dir: PathBuf,
    /// The file that is the disk now. Each state gets its own: a process that is still ending may hold the last.
    image: PathBuf,
    generation: u32,
    options: String,
    mounted: bool,
}

impl LoopDisk {
    /// Makes a file system of `kind` in a file below `dir` and mounts it there as `mnt`.
    pub fn make(dir: &Path, kind: &str, mib: u64, mkfs: &[&str]) -> LoopDisk {
        let [path, image] = ["mnt", "disk.0"].map(|n| dir.join(n));
        fs::create_dir_all(&path).expect("a mount point");
        fs::File::create(&image).and_then(|f| f.set_len(mib << 20)).expect("an image");
        let force = if kind == "xfs" { "-f" } else { "-F" };
        must(&format!("mkfs.{kind}"), &[&["-q", force], mkfs, &[text(&image)]].concat());
        let dir = dir.to_owned();
        // The copies of an XFS are told apart by nothing but this.
        let options = if kind == "xfs" { "loop,nouuid" } else { "loop" };
        let mut disk = LoopDisk { path, dir, image, generation: 0, options: options.into(), mounted: false };
        disk.mount();
        disk
    }

    pub fn mount(&mut self) {
        must("mount", &["-o", &self.options, text(&self.image), text(&self.path)]);
        self.mounted = true;
    }

    fn unmount(&mut self) {
        wait_until("unmounting", || {
            Command::new("umount").arg(&self.path).output().is_ok_and(|output| output.status.success())
        });
        self.mounted = false;
    }

    /// Keeps the disk as it is now under a name.
    pub fn keep(&mut self, name: &str) {
        must("fsfreeze", &["-f", text(&self.path)]);
        let copied =
            Command::new("cp").args(["--sparse=always", text(&self.image), text(&self.dir.join(name))]).status();
        must("fsfreeze", &["-u", text(&self.path)]);
        assert!(copied.is_ok_and(|status| status.success()), "a copy of the image");
    }

    /// Goes back to what was kept.
    pub fn go_back(&mut self, name: &str) {
        self.unmount();
        fs::remove_file(&self.image).expect("the old image");
        let kept = self.dir.join(name);
        self.insert(&kept);
    }

    /// Mounts a copy of an image. Never the image itself: a reader process of anybody's may still have the old mount
    /// in its namespace, and with it the file system that was on it.
    fn insert(&mut self, image: &Path) {
        self.generation += 1;
        self.image = self.dir.join(format!("disk.{}", self.generation));
        must("cp", &["--sparse=always", text(image), text(&self.image)]);
        self.mount();
    }

    /// A power cut: what is not on the medium by now never gets there.
    pub fn cut(&self) {
        must("xfs_io", &["-x", "-c", "shutdown", text(&self.path)]);
    }

    /// The power is back.
    pub fn power_up(&mut self) {
        self.unmount();
        let old = self.image.clone();
        self.insert(&old);
        fs::remove_file(&old).expect("the old image");
    }

    pub fn remount(&self, options: &str) {
        must("mount", &["-o", &format!("remount,{options}"), text(&self.path)]);
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
        }
    }
}

/// A disk that nbdkit serves and whose writes begin to fail when they are told to. Root only.
#[must_use = "the disk is taken down when this is dropped"]
pub struct DyingDisk {
    pub path: PathBuf,
    /// As long as this file is there, writes fail.
    trigger: PathBuf,
    loop_device: Option<String>,
    fuse: Child,
}

impl DyingDisk {
    /// A disk that holds a copy of `content` in its folder `store`.
    pub fn holding(content: &Path, dir: &Path) -> DyingDisk {
        let image = image(content, dir, |_| ());
        let [file, path, trigger] = ["disk.nbd", "mnt", "writes.fail"].map(|n| dir.join(n));
        fs::write(&file, "").expect("the device file");
        fs::create_dir_all(&path).expect("a mount point");
        let mut nbdfuse = Command::new("nbdfuse");
        nbdfuse.arg(&file).args(["--command", "nbdkit", "-s", "--exit-with-parent", "--filter=error", "file"]);
        nbdfuse.arg(&image).args(["error-pwrite=EIO", "error-pwrite-rate=100%"]);
        let fuse = nbdfuse.arg(format!("error-file={}", text(&trigger))).spawn().expect("nbdfuse");
        let mut disk = DyingDisk { path, trigger, loop_device: None, fuse };
        wait_until("the device", || fs::metadata(&file).is_ok_and(|m| m.len() > 0));
        disk.loop_device = Some(must("losetup", &["-f", "--show", "--direct-io=on", text(&file)]));
        disk.mount();
        disk
    }

    fn mount(&self) {
        must("mount", &[self.loop_device.as_deref().unwrap_or_default(), text(&self.path)]);
    }

    pub fn fail_writes(&self) {
        fs::write(&self.trigger, "").expect("the trigger");
    }

    /// The disk writes again, after what was not on it is forgotten.
    pub fn recover(&mut self) {
        // A reader that was just told to end may hold it for a moment more.
        wait_until("the disk to be let go", || {
            Command::new("umount").arg(&self.path).output().is_ok_and(|o| o.status.success())
        });
        fs::remove_file(&self.trigger).expect("the trigger");
        // As an administrator would: what came to the disk while it failed may not be mountable for writing. A reader
        // that is ending has the disk in a mount namespace of its own a moment longer.
        let device = self.loop_device.as_deref().unwrap_or_default();
        wait_until("a check of the disk", || {
            let checked = Command::new("e2fsck").args(["-f", "-y", device]).output().expect("e2fsck");
            checked.status.code().is_some_and(|code| code <= 1)
        });
        self.mount();
    }
}

impl Drop for DyingDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
        if let Some(device) = &self.loop_device {
            drop(Command::new("losetup").args(["-d", device]).status());
        }
        drop(Command::new("kill").arg(self.fuse.id().to_string()).status());
        drop(self.fuse.wait());
    }
}
