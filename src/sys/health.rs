//! What the kernel has on record about the file system that a path lies on.
//!
//! Reads /sys only; the path itself is looked up in the table of mounts and not touched.

use super::mounts::mount_of;
use std::fs;
use std::path::{Path, PathBuf};

/// Errors that the file system has on record since it was last checked or made; `None` where it keeps no record
/// that can be read here. ext4: `errors_count` of its superblock. btrfs: the counters of its devices.
pub fn recorded_errors(path: &Path) -> Option<u64> {
    let mount = mount_of(path).ok()?;
    match mount.fs_type.as_str() {
        "ext4" | "ext3" | "ext2" => {
            let block = fs::canonicalize(format!("/sys/dev/block/{}:{}", mount.dev.0, mount.dev.1)).ok()?;
            let name = block.file_name()?.to_owned();
            number(&PathBuf::from("/sys/fs/ext4").join(name).join("errors_count"))
        }
        "btrfs" => btrfs(Path::new(&mount.source).file_name()?.to_str()?),
        _ => None,
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The devices of the btrfs that `device` is one of.
fn btrfs(device: &str) -> Option<u64> {
    let own = fs::read_dir("/sys/fs/btrfs").ok()?.flatten().map(|entry| entry.path());
    let own = own.filter(|path| path.join("devices").join(device).exists()).last()?;
    let stats = fs::read_dir(own.join("devinfo")).ok()?.flatten().map(|entry| entry.path().join("error_stats"));
    let texts: Vec<String> = stats.filter_map(|file| fs::read_to_string(file).ok()).collect();
    (!texts.is_empty()).then(|| texts.iter().map(|text| counters(text)).sum())
}

/// Adds up `name count` lines.
fn counters(text: &str) -> u64 {
    text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_no_record_is_unknown() {
        assert_eq!(recorded_errors(Path::new("/proc")), None);
        assert_eq!(recorded_errors(Path::new("relative")), None);
    }

    #[test]
    fn counters_of_btrfs_add_up() {
        assert_eq!(counters("write_errs 1\nread_errs 2\nflush_errs 0\ncorruption_errs 4\ngeneration_errs 0\n"), 7);
        assert_eq!(counters("nonsense\n\nx y\n"), 0);
    }
}
