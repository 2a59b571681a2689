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
        std::thread::sleep(Duration::from_millis(50));
    }
}
