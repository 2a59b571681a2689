//! Where the drill's messages come from: the generator, or real mail below a folder that is only read.

use super::disk::{self, DrillError, Result};
use super::mail::Generator;
use crate::model::Digest;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Larger files are no single messages.
const MESSAGE_MAX: usize = 4 << 20;

/// Delivers messages, no two of them equal.
#[derive(Debug)]
pub struct Mails {
    files: Vec<PathBuf>,
    seen: BTreeSet<Digest>,
    generator: Generator,
}

impl Mails {
    /// Messages from the generator alone.
    pub fn generated(seed: u64) -> Mails {
        Mails { files: Vec::new(), seen: BTreeSet::new(), generator: Generator::new(seed) }
    }

    /// The mail below `dir` in an order that the seed decides; when it is used up, the generator goes on.
    pub fn below(dir: &Path, seed: u64) -> Result<Mails> {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
            let entry = entry.map_err(|e| DrillError::Setup(format!("corpus: {e}")))?;
            if entry.file_type().is_file() {
                files.push(entry.into_path());
            }
        }
        if files.is_empty() {
            return Err(DrillError::Setup(format!("no files below {}", dir.display())));
        }
        Rng::with_seed(seed).shuffle(&mut files);
        Ok(Mails { files, seen: BTreeSet::new(), generator: Generator::new(seed) })
    }

    /// The next message.
    pub fn message(&mut self) -> Result<Vec<u8>> {
        while let Some(path) = self.files.pop() {
            if disk::stat(&path)?.len() > MESSAGE_MAX as u64 {
                continue;
            }
            if let Some(bytes) = delivered(&disk::read(&path)?)
                && self.seen.insert(Digest::of(&bytes))
            {
                return Ok(bytes);
            }
        }
        Ok(self.generator.message())
    }
}

/// The message as a delivery agent would write it: without a leading `From ` line. `None` for what is no
/// mail, an mbox of several messages, or holds bytes that mail does not contain.
fn delivered(file: &[u8]) -> Option<Vec<u8>> {
    let bytes = match file.strip_prefix(b"From ") {
        Some(rest) => {
            if memchr::memmem::find(file, b"\n\nFrom ").is_some() {
                return None;
            }
            &rest[memchr::memchr(b'\n', rest)? + 1..]
        }
        None => file,
    };
    let control = bytes.iter().filter(|&&b| b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t' | 0x0c | 0x1b)).count();
    (begins_with_a_header(bytes) && control < 8 && !bytes.contains(&0)).then(|| bytes.to_vec())
}

/// A field name and a colon to begin with, and a blank line that ends the header.
fn begins_with_a_header(bytes: &[u8]) -> bool {
    let name = bytes.iter().position(|&b| !(b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let named = name.is_some_and(|at| at > 0 && bytes[at] == b':');
    let ends = [&b"\n\n"[..], b"\n\r\n"].iter().any(|end| memchr::memmem::find(bytes, end).is_some());
    named && ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_mail_and_nothing_else() {
        assert_eq!(delivered(b"From a@b Mon\nSubject: x\n\nhi\n").as_deref(), Some(&b"Subject: x\n\nhi\n"[..]));
        assert_eq!(delivered(b"From a\nSubject: x\n\nhi\n\nFrom b\nSubject: y\n\nho\n"), None);
        assert_eq!(delivered(b"#!/bin/sh\n\necho\n"), None);
        assert_eq!(delivered(b"Subject: x\n\n\0\n"), None);
        assert_eq!(delivered(b""), None);
    }

    #[test]
    fn a_folder_is_used_up_once_then_generated_mail_follows() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "Subject: a\n\n1\n").unwrap();
        std::fs::write(dir.path().join("b"), "Subject: a\n\n1\n").unwrap();
        std::fs::write(dir.path().join("c.txt"), "nothing").unwrap();
        let mut mails = Mails::below(dir.path(), 1).unwrap();
        assert_eq!(mails.message().unwrap(), b"Subject: a\n\n1\n");
        assert!(mails.message().unwrap().len() > 20, "the equal second one is skipped");
        assert!(Mails::below(&dir.path().join("none"), 1).is_err());
    }
}
