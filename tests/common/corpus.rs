//! Real mail for the tests, where there is some; it is never copied into the project.

use mailmend::drill::corpus::Mails;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Messages of the corpus if there is one, else of the generator.
pub fn mails(seed: u64) -> Mails {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    match FOLDER.get_or_init(folder) {
        Some(dir) => Mails::below(dir, seed).expect("the corpus is readable"),
        None => Mails::generated(seed),
    }
}

/// `MAILMEND_CORPUS`, or the shared corpus beside the project; archives in it are unpacked once.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let given = std::env::var_os("MAILMEND_CORPUS").map(PathBuf::from).unwrap_or(beside);
    let mut archives: Vec<PathBuf> = given.read_dir().ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    archives.retain(|p| p.to_string_lossy().ends_with(".tar.zst"));
    if archives.is_empty() {
        return Some(given);
    }
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    if !unpacked.is_dir() {
        unpack(&archives, &unpacked);
    }
    Some(unpacked)
}

/// Into a folder beside it first: half a corpus is never taken for a whole one.
fn unpack(archives: &[PathBuf], to: &Path) {
    let half = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder below target");
    for archive in archives {
        let done = Command::new("tar").args(["--zstd", "-xf"]).arg(archive).arg("-C").arg(half.path()).status();
        assert!(done.is_ok_and(|s| s.success()), "cannot unpack {}", archive.display());
    }
    if std::fs::rename(half.path(), to).is_ok() {
        // The folder has its final name now; there is nothing left to remove.
        drop(half.keep());
    }
}
