//! Real mbox archives: split exactly at their messages. Reads the corpus where it is, prints counts and never content.

use crate::common;
use mailmend::model::limits::WINDOW;
use mailmend::store::mbox::scan::Scanner;
use mailmend::store::mbox::window::Window;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The archives of the corpus: folders `mbox` right below that of each repository.
fn archives() -> Option<Vec<PathBuf>> {
    let folder = common::corpus::folder()?;
    let is_mbox = |path: &Path| {
        let mut parts = path.strip_prefix(&folder).expect("below it").components();
        parts.nth(1).is_some_and(|part| part.as_os_str() == "mbox")
    };
    let files = walkdir::WalkDir::new(&folder).sort_by_file_name().into_iter().map(|entry| entry.expect("readable"));
    let files = files.filter(|entry| entry.file_type().is_file() && is_mbox(entry.path()));
    Some(files.map(walkdir::DirEntry::into_path).collect())
}

/// Where lines stand that begin with "From " and have a time in them, or nothing but a dash. In these archives, unlike in
/// others, all of them begin a message; sentences do not look like that.
fn beginnings(bytes: &[u8]) -> Vec<u64> {
    let mut at = 0;
    let mut found = Vec::new();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let timed = text.split_whitespace().any(|word| word.len() >= 5 && word.as_bytes()[2] == b':');
        if text.starts_with("From ") && (timed || text.trim_end() == "From -") {
            found.push(at);
        }
        at += line.len() as u64;
    }
    found
}

#[test]
fn real_archives_are_split_exactly_at_their_messages() {
    let Some(archives) = archives() else {
        return common::skip("boundaries of real mboxes", "no corpus of real mail here");
    };
    let (mut messages, mut sentences, mut wrong) = (0, 0, Vec::new());
    for path in &archives {
        let bytes = std::fs::read(path).expect("readable");
        let expected = beginnings(&bytes);
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"From ")).count();
        for width in [4096, WINDOW] {
            let file = File::open(path).expect("readable");
            let found: Vec<u64> =
                Scanner::new(Window::new(&file, bytes.len() as u64, width, &|| ())).map(|part| part.from).collect();
            if found != expected {
                wrong.push(format!("{} with a window of {width}: {found:?} for {expected:?}", path.display()));
            }
        }
        messages += expected.len();
        sentences += lines - expected.len();
    }
    println!("{} archives, {messages} messages; {sentences} lines begin like one and are none", archives.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(messages > 2000 && sentences > 0);
}
