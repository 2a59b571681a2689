//! The modelled disk as a block device with a file system on it: nbdfuse, a loop device, a read-only mount. All of it is
//! taken down again, also after a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub struct Stack {
    pub device: String,
    pub mounted: PathBuf,
    fuse: Child,
}

impl Stack {
    /// Puts the disk that is served at `socket` together below `dir`.
    pub fn up(socket: &Path, dir: &Path) -> Stack {
        let [file, mounted] = ["disk.nbd", "mnt"].map(|name| dir.join(name));
        fs::write(&file, "").expect("the device file");
        fs::create_dir_all(&mounted).expect("a mount point");
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        let fuse = Command::new("nbdfuse").arg(&file).arg(uri).spawn().expect("nbdfuse");
        let mut stack = Stack { device: String::new(), mounted, fuse };
        let began = Instant::now();
        while !fs::metadata(&file).is_ok_and(|about| about.len() > 0) {
            assert!(began.elapsed() < Duration::from_secs(20), "the device did not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        stack.device = must("losetup", &["-f", "--show", "-r", "--direct-io=on", text(&file)]);
        must("mount", &["-o", "ro,noload", &stack.device, text(&stack.mounted)]);
        stack
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for (program, words) in
            [("umount", vec!["--lazy", text(&self.mounted)]), ("losetup", vec!["-d", &self.device[..]])]
        {
            drop(Command::new(program).args(words).output());
        }
        drop(Command::new("kill").arg(self.fuse.id().to_string()).status());
        drop(self.fuse.wait());
    }
}

/// Runs a program that has to succeed; what it printed.
pub fn must(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
