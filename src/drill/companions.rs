//! The files that a Dovecot server and its users keep beside the mail.
//!
//! Writes only into the mailbox and account folders that it is given.

use super::disk::{self, Dress, Result};
use super::names;
use crate::model::Stamp;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// When the companions were last written (21 February 2025).
const WRITTEN: Stamp = Stamp { sec: 1_740_096_000, nsec: 250_000_000 };

/// Writes the companions of one account.
pub struct Companions {
    dress: Dress,
    rng: Rng,
    bytes: u64,
    messages: u64,
}

impl Companions {
    pub fn new(dress: Dress, rng: Rng) -> Companions {
        Companions { dress, rng, bytes: 0, messages: 0 }
    }

    /// Adds messages of these sizes to the quota.
    pub fn count(&mut self, sizes: impl Iterator<Item = u64>) {
        for size in sizes {
            self.bytes += size;
            self.messages += 1;
        }
    }

    /// `dovecot-uidlist` version 3 for the files in `cur`, `dovecot-keywords`, and what marks a subfolder.
    pub fn mailbox(&mut self, dir: &Path, in_cur: &[Vec<u8>], subfolder: bool) -> Result<()> {
        let guid = format!("{:016x}{:016x}", self.rng.u64(..), self.rng.u64(..));
        let mut uidlist = format!("3 V{} N{} G{guid}\n", self.rng.u32(1..u32::MAX), in_cur.len() + 1).into_bytes();
        for (uid, name) in (1..).zip(in_cur) {
            uidlist.extend_from_slice(&uidlist_line(uid, name));
        }
        self.write(&dir.join("dovecot-uidlist"), &uidlist)?;
        self.write(&dir.join("dovecot-keywords"), b"0 $Forwarded\n1 NonJunk\n")?;
        if subfolder {
            self.write(&dir.join("maildirfolder"), b"")?;
        }
        Ok(())
    }

    /// `subscriptions`, `dovecot-uidvalidity` and `maildirsize` in the mail folder, a sieve script at home.
    pub fn account(&mut self, home: &Path, maildir: &Path, mailboxes: &[&str], folder: Dress) -> Result<()> {
        let mut subscriptions = String::from("V\t2\n\n");
        for name in mailboxes.iter().filter(|n| !n.is_empty()) {
            let name = name.trim_start_matches('.').replace(['.', '/'], "\t");
            subscriptions.push_str(&format!("{name}\n"));
        }
        self.write(&maildir.join("subscriptions"), subscriptions.as_bytes())?;
        let validity = format!("{:08x}", self.rng.u32(1..));
        self.write(&maildir.join("dovecot-uidvalidity"), validity.as_bytes())?;
        self.write(&maildir.join(format!("dovecot-uidvalidity.{validity}")), b"")?;
        let size = format!("524288000S,100000C\n{} {}\n", self.bytes, self.messages);
        self.write(&maildir.join("maildirsize"), size.as_bytes())?;
        let script = format!(
            "require [\"fileinto\"];\nif header :contains \"list-id\" \"list{}.example.net\" {{\n  fileinto \"Archive.2026\";\n}}\n",
            self.rng.u32(..)
        );
        disk::make_dirs(&home.join("sieve"), folder)?;
        self.write(&home.join("sieve").join("filters.sieve"), script.as_bytes())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        disk::create(path, bytes, self.dress, WRITTEN)
    }
}

/// What a list of UIDs tells clients: they are told the same by lists of other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uids {
    validity: u32,
    next: u32,
    /// By name of the file, without flags.
    by_name: BTreeMap<Vec<u8>, u32>,
}

impl Uids {
    /// Reads a list of version 3; `None` for one that is broken.
    pub fn read(text: &[u8]) -> Option<Uids> {
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        let head = lines.next()?.strip_prefix("3 ")?;
        let number = |letter| head.split(' ').find_map(|word| word.strip_prefix(letter))?.parse::<u32>().ok();
        let line = |line: &str| {
            let (uid, name) = (line.split(' ').next()?, line.split_once(':')?.1);
            Some((name.as_bytes().to_vec(), uid.parse().ok()?))
        };
        let by_name: BTreeMap<_, u32> = lines.map(line).collect::<Option<_>>()?;
        let next = number('N')?.max(by_name.values().max().map_or(1, |uid| uid + 1));
        Some(Uids { validity: number('V')?, next, by_name })
    }

    /// Whether clients of a mailbox with this list find their messages under `now` as well: those whose files are
    /// `there`.
    pub fn kept_by(&self, now: &Uids, there: &dyn Fn(&[u8]) -> bool) -> bool {
        let same = |(name, uid): (&Vec<u8>, &u32)| match now.by_name.get(name) {
            Some(now) => now == uid,
            None => !there(name),
        };
        now.validity == self.validity && now.next >= self.next && self.by_name.iter().all(same)
    }
}

/// Gives a file that the server has just seen for the first time the next UID.
pub fn number_in_uidlist(mailbox: &Path, name: &[u8]) -> Result<()> {
    let path = mailbox.join("dovecot-uidlist");
    let bytes = disk::read(&path)?;
    let lines = bytes.split(|&b| b == b'\n').skip(1).filter(|l| !l.is_empty());
    let uid = |line: &[u8]| std::str::from_utf8(line).ok()?.split(' ').next()?.parse::<u32>().ok();
    let next = lines.filter_map(uid).max().unwrap_or(0) + 1;
    disk::append(&path, &uidlist_line(next, name))
}

fn uidlist_line(uid: u32, name: &[u8]) -> Vec<u8> {
    [format!("{uid} :").as_bytes(), names::base(name), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_other_bytes_may_tell_the_same() {
        let read = |text: &str| Uids::read(text.as_bytes()).unwrap();
        let old = read("3 V5 N9 Gaa\n1 :a\n2 S7 :b\n");
        let same = read("3 V5 N1009 Gaa\n1 G0 :a\n2 :b\n1008 :c\n");
        assert!(old.kept_by(&same, &|_| true) && !same.kept_by(&old, &|_| true));
        let shorter = read("3 V5 N9\n2 :b\n");
        assert!(old.kept_by(&shorter, &|name| name == b"b") && !old.kept_by(&shorter, &|_| true));
        for other in ["3 V6 N9\n1 :a\n2 :b\n", "3 V5 N9\n1 :a\n3 :b\n", "3 V5 N8\n1 :a\n2 :b\n"] {
            assert!(!old.kept_by(&read(other), &|_| true), "{other}");
        }
        assert_eq!(Uids::read(b"3 V5 N9\n1 :a\n2 \0\n"), None);
    }
}
