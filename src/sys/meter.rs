//! What disks move, and how much of that this process asked for.
//!
//! Opens the kernel's counters once, so that they can still be read in a sandbox, and never a device. What the kernel
//! does not count is an error, for the caller to do without.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: u64 = 512;
/// Bytes of one file of counters.
const COUNTERS: usize = 1024;

/// Bytes since some time in the past; compare two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Read from and written to the disks, whoever asked.
    pub disks: u64,
    /// Read by this process from whatever disk.
    pub own: u64,
}

/// The counters of some disks and of this process.
#[derive(Debug)]
pub struct Meter {
    disks: Vec<File>,
    own: File,
}

impl Meter {
    /// The counters of the disks of these names.
    ///
    /// # Errors
    /// Where one of them has none, or there is no disk.
    pub fn open(sys: &Path, disks: &[String]) -> io::Result<Meter> {
        if disks.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the kernel knows no disk of it"));
        }
        let files = disks.iter().map(|name| File::open(sys.join("block").join(name).join("stat")));
        let meter = Meter { disks: files.collect::<io::Result<_>>()?, own: File::open("/proc/self/io")? };
        meter.read().map(|_| meter)
    }

    /// # Errors
    /// Where a counter can no longer be read, as of a disk that was pulled.
    pub fn read(&self) -> io::Result<Moved> {
        let mut moved = Moved { own: own(&text(&self.own)?).ok_or(io::ErrorKind::InvalidData)?, disks: 0 };
        for disk in &self.disks {
            let bytes = of_disk(&text(disk)?).ok_or(io::ErrorKind::InvalidData)?;
            moved.disks = moved.disks.saturating_add(bytes);
        }
        Ok(moved)
    }
}

/// Bytes that this process gave to disks to write, counted when it wrote them into the cache; `None` where the kernel
/// does not count.
pub fn written() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/io").ok()?, "write_bytes")
}

fn text(file: &File) -> io::Result<String> {
    let mut bytes = [0; COUNTERS];
    let got = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..got]).into_owned())
}

fn own(text: &str) -> Option<u64> {
    field(text, "read_bytes")
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged, sectors, ...
fn of_disk(stat: &str) -> Option<u64> {
    let numbers: Vec<u64> = stat.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    Some(numbers.get(2)?.saturating_add(*numbers.get(6)?).saturating_mul(SECTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_bytes() {
        assert_eq!(of_disk("  10 1 80 5 7 0 56 3 2 8 8 0 0 0 0\n"), Some((80 + 56) * 512));
        assert_eq!(of_disk("10 1 80 5"), None);
        assert_eq!(of_disk(""), None);
        assert_eq!(of_disk("1 1 18446744073709551615 1 1 1 9"), Some(u64::MAX));
        let io = "rchar: 5\nwchar: 6\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n";
        assert_eq!((own(io), field(io, "write_bytes"), field(io, "read")), (Some(4096), Some(8192), None));
    }

    #[test]
    fn disks_that_are_not_there_have_no_meter() {
        let sys = tempfile::tempdir().unwrap();
        assert!(Meter::open(sys.path(), &[]).is_err());
        assert!(Meter::open(sys.path(), &["sda".to_owned()]).is_err());
        std::fs::create_dir_all(sys.path().join("block/sda")).unwrap();
        std::fs::write(sys.path().join("block/sda/stat"), "rubbish").unwrap();
        assert!(Meter::open(sys.path(), &["sda".to_owned()]).is_err());
        std::fs::write(sys.path().join("block/sda/stat"), "1 0 8 0 1 0 16 0").unwrap();
        let Ok(meter) = Meter::open(sys.path(), &["sda".to_owned()]) else {
            return eprintln!("NOT TESTED: this kernel does not count what processes read");
        };
        assert_eq!(meter.read().unwrap().disks, 24 * 512);
        std::fs::write(sys.path().join("block/sda/stat"), "1 0 10 0 1 0 16 0").unwrap();
        assert_eq!(meter.read().unwrap().disks, 26 * 512, "read anew each time");
    }
}
