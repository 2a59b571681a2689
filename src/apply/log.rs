//! The journal of a run: records that are on the disk when `append` returns, read forwards or backwards.
//!
//! May only ever append; a torn last line, which nobody was told of as written, is cut off first.

use crate::model::journal::{Intent, Record};
use crate::model::limits::LINE_MAX;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A record holds a step, which a plan keeps below [`LINE_MAX`], and a few file attributes. Bytes.
const RECORD_MAX: usize = 2 * LINE_MAX;
/// What is read at once when reading backwards. Bytes.
const CHUNK: usize = 64 << 10;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Record(Box<Record>),
    /// A line that is no record and is not the torn last one: somebody or something damaged the journal.
    Damaged,
}

/// Lines as they are read.
pub type Lines<'a> = Box<dyn Iterator<Item = io::Result<Line>> + 'a>;

/// A journal. Implementations: a file, and the simulation's that can lose power.
pub trait Log {
    /// Appends the records; they are durable when this returns, and may be there partly when it fails.
    fn append(&mut self, records: &[Record]) -> io::Result<()>;
    /// From the first line on.
    fn forward(&self) -> io::Result<Lines<'_>>;
    /// From the last line back.
    fn backward(&self) -> io::Result<Lines<'_>>;
}

/// `journal.jsonl` in a run's folder.
#[derive(Debug)]
pub struct FileLog {
    file: File,
    path: PathBuf,
    /// Bytes that are known to be whole records.
    length: u64,
    /// An append failed: what the file holds now is not known, so nothing may follow it.
    broken: bool,
    lawful: Lawful,
}

/// Says whether a change that a journal tells of is one that a run may have made.
pub type Lawful = fn(&Intent) -> bool;

impl FileLog {
    /// Opens the journal, or makes an empty one, readable by its owner only.
    pub fn open(path: &Path) -> io::Result<FileLog> {
        let options = OpenOptions::new().read(true).append(true).clone();
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = options.clone().create_new(true).mode(0o600).open(path)?;
                file.sync_all()?;
                sync_parent(path)?;
                file
            }
            opened => opened?,
        };
        let end = file.metadata()?.len();
        let length = whole_lines(&file, end)?;
        if length < end {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(FileLog { file, path: path.to_path_buf(), length, broken: false, lawful: |_| true })
    }

    /// Opens a journal for reading; nothing is made and nothing is cut off.
    pub fn open_existing(path: &Path) -> io::Result<FileLog> {
        let file = File::open(path)?;
        let length = whole_lines(&file, file.metadata()?.len())?;
        Ok(FileLog { file, path: path.to_path_buf(), length, broken: true, lawful: |_| true })
    }

    /// The file can be edited: what it tells of and `lawful` does not allow counts as damaged.
    pub fn checked(mut self, lawful: Lawful) -> FileLog {
        self.lawful = lawful;
        self
    }

    fn judge(&self, line: Line) -> Line {
        match line {
            Line::Record(record) => match &*record {
                Record::Begin(intent) if !(self.lawful)(intent) => Line::Damaged,
                _ => Line::Record(record),
            },
            Line::Damaged => Line::Damaged,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

impl Log for FileLog {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the journal is not open for writing, or an earlier write to it failed"));
        }
        let mut bytes = Vec::new();
        for record in records {
            let start = bytes.len();
            serde_json::to_writer(&mut bytes, record)?;
            bytes.push(b'\n');
            if bytes.len() - start > RECORD_MAX {
                return Err(io::Error::other("a record would be too long to be read again"));
            }
        }
        let written = self.write(&bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.broken = true,
        }
        written
    }

    fn forward(&self) -> io::Result<Lines<'_>> {
        let reader = BufReader::new(File::open(&self.path)?.take(self.length));
        Ok(Box::new(Forward { reader }.map(|line| line.map(|line| self.judge(line)))))
    }

    fn backward(&self) -> io::Result<Lines<'_>> {
        let file = File::open(&self.path)?;
        let lines = Backward { file, before: self.length, held: Vec::new(), failed: false };
        Ok(Box::new(lines.map(|line| line.map(|line| self.judge(line)))))
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// The length of the file up to its last line end.
fn whole_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut before = end;
    while before > 0 {
        let start = before.saturating_sub(CHUNK as u64);
        let part = &mut chunk[..(before - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|&b| b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        before = start;
    }
    Ok(0)
}

fn parse(line: &[u8]) -> Line {
    serde_json::from_slice(line).map_or(Line::Damaged, Line::Record)
}

struct Forward {
    reader: BufReader<io::Take<File>>,
}

impl Iterator for Forward {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        let mut line = Vec::new();
        let limit = RECORD_MAX as u64;
        match (&mut self.reader).take(limit).read_until(b'\n', &mut line) {
            Err(error) => Some(Err(error)),
            Ok(0) => None,
            // A line over the limit comes out as several damaged ones, which is what it is.
            Ok(_) => Some(Ok(parse(&line))),
        }
    }
}

struct Backward {
    file: File,
    /// Everything from here on was read.
    before: u64,
    /// What was read and not yet handed out.
    held: Vec<u8>,
    failed: bool,
}

impl Backward {
    /// Prepends one more chunk to what is held.
    fn read_more(&mut self) -> io::Result<()> {
        let start = self.before.saturating_sub(CHUNK as u64);
        let mut chunk = vec![0; (self.before - start) as usize];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut chunk)?;
        chunk.append(&mut self.held);
        self.held = chunk;
        self.before = start;
        Ok(())
    }
}

impl Iterator for Backward {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        if self.failed {
            return None;
        }
        loop {
            // The last byte held is the end of the line that is wanted; look for the end of the one before it.
            let body = self.held.len().saturating_sub(1);
            if let Some(at) = self.held[..body].iter().rposition(|&b| b == b'\n') {
                let line = self.held.split_off(at + 1);
                return Some(Ok(parse(&line)));
            }
            if self.before == 0 {
                let line = std::mem::take(&mut self.held);
                return if line.is_empty() { None } else { Some(Ok(parse(&line))) };
            }
            if self.held.len() > RECORD_MAX {
                self.held.truncate(1);
                self.held[0] = b'\n';
                return Some(Ok(Line::Damaged));
            }
            if let Err(error) = self.read_more() {
                self.failed = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::journal::Outcome;

    fn done(number: u64, detail: &str) -> Record {
        let detail = detail.to_owned();
        Record::Done { number, outcome: Outcome::Done, detail, at: None, placed: None, saved: None }
    }

    fn records(lines: Lines<'_>) -> Vec<Record> {
        lines
            .map(|line| match line.unwrap() {
                Line::Record(record) => *record,
                Line::Damaged => Record::Close { complete: false },
            })
            .collect()
    }

    #[test]
    fn reads_both_ways_across_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::open(&dir.path().join("journal.jsonl")).unwrap();
        assert!(records(log.forward().unwrap()).is_empty() && records(log.backward().unwrap()).is_empty());
        let wanted: Vec<Record> = (0..300).map(|n| done(n, &"x".repeat(n as usize * 7 % 1500))).collect();
        for part in wanted.chunks(7) {
            log.append(part).unwrap();
        }
        let mut backward = records(log.backward().unwrap());
        backward.reverse();
        assert_eq!(records(log.forward().unwrap()), wanted);
        assert_eq!(backward, wanted);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        FileLog::open(&path).unwrap().append(&[done(1, "a")]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"\0\0\0\n{\"record\":\"close\",\"complete\":true}\n{\"record\":\"do");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FileLog::open_existing(&path).unwrap().forward().unwrap().count(), 3);
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "reading changes nothing");
        let mut log = FileLog::open(&path).unwrap();
        log.append(&[done(2, "b")]).unwrap();
        let lines: Vec<Line> = log.forward().unwrap().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], Line::Damaged);
        assert_eq!(lines[3], Line::Record(Box::new(done(2, "b"))));
        assert!(FileLog::open_existing(&path).unwrap().append(&[]).is_err(), "opened for reading");
    }

    #[test]
    fn a_full_disk_breaks_the_journal_for_good() {
        // /dev/full takes every open and refuses every write, as a full disk does.
        let file = OpenOptions::new().read(true).append(true).open("/dev/full").unwrap();
        let mut log = FileLog { file, path: PathBuf::from("/dev/full"), length: 0, broken: false, lawful: |_| true };
        assert_eq!(log.append(&[done(1, "")]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(log.append(&[done(1, "")]).unwrap_err().kind(), io::ErrorKind::Other);
    }
}
