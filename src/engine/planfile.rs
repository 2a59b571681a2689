//! Plan files: JSON lines, a header and then one step a line. Written once, never over an existing file,
//! read step by step, and not trusted.

use super::splice::is_own;
use crate::model::RelPath;
use crate::model::limits::LINE_MAX;
use crate::model::plan::{Action, Header, Location, SCHEMA, Slice, Step};
use crate::store::discover::begins_account;
use crate::store::target::{permitted, stays_home};
use crate::sys::dir::{Root, nothing_there};
use crate::sys::links::open_named;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a plan.
pub struct PlanWriter {
    file: BufWriter<File>,
    path: PathBuf,
    steps: u64,
    /// Bytes and files that the steps will need on the target.
    pub need_bytes: u64,
    pub need_files: u64,
    /// Steps that change the store.
    pub writing: u64,
}

impl PlanWriter {
    /// Creates the file, mode 0600: a plan names users and their messages.
    ///
    /// # Errors
    /// `AlreadyExists` where something is there already.
    pub fn create(path: &Path, header: &Header) -> io::Result<PlanWriter> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut writer = PlanWriter {
            file: BufWriter::new(file),
            path: path.to_owned(),
            steps: 0,
            need_bytes: 0,
            need_files: 0,
            writing: 0,
        };
        writer.line(header)?;
        Ok(writer)
    }

    /// Appends a step and gives it its number.
    pub fn push(&mut self, step: &mut Step) -> io::Result<()> {
        self.steps += 1;
        step.number = self.steps;
        self.writing += u64::from(step.action.writes());
        if step.action.content().is_some() {
            self.need_bytes += step.action.length().next_multiple_of(4096);
            self.need_files += 1;
        }
        self.line(step)
    }

    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }

    /// Everything is on the disk.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.path)
    }
}

/// Reads a plan, one step at a time.
pub struct PlanReader {
    lines: BufReader<File>,
    pub header: Header,
    line: u64,
    /// Number of the step that was read last.
    last: u64,
    path: PathBuf,
}

/// Why a plan file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("cannot read the plan {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path} line {line}: {detail}")]
    Line { path: String, line: u64, detail: String },
}

impl PlanReader {
    /// # Errors
    /// Where the file cannot be read or its first line is no plan header.
    pub fn open(path: &Path) -> Result<PlanReader, PlanError> {
        let text = path.display().to_string();
        let file = open_named(path).map_err(|source| PlanError::Io { path: text.clone(), source })?;
        let header = Header { schema: String::new(), run: String::new(), store: String::new(), sources: Vec::new() };
        let mut reader = PlanReader { lines: BufReader::new(file), header, line: 0, last: 0, path: path.to_owned() };
        let header: Header = reader.parse()?.ok_or_else(|| reader.bad("the file is empty"))?;
        if header.schema != SCHEMA {
            return Err(reader.bad(format!("not a plan of this version ({SCHEMA})")));
        }
        reader.header = header;
        Ok(reader)
    }

    fn bad(&self, detail: impl Into<String>) -> PlanError {
        PlanError::Line { path: self.path.display().to_string(), line: self.line, detail: detail.into() }
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, PlanError> {
        loop {
            let mut line = Vec::new();
            let source = |source| PlanError::Io { path: self.path.display().to_string(), source };
            let got = (&mut self.lines).take(LINE_MAX as u64).read_until(b'\n', &mut line).map_err(source)?;
            if got == 0 {
                return Ok(None);
            }
            self.line += 1;
            if line.last() != Some(&b'\n') && got == LINE_MAX {
                return Err(self.bad("the line is too long"));
            }
            if line.iter().all(u8::is_ascii_whitespace) || line.starts_with(b"#") {
                continue;
            }
            return serde_json::from_slice(&line).map(Some).map_err(|e| self.bad(e.to_string()));
        }
    }
}

impl Iterator for PlanReader {
    type Item = Result<Step, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.parse::<Step>().transpose()?;
        Some(step.and_then(|step| {
            // Journal and quarantine tell steps apart by their numbers; an undo of two of one would go wrong.
            if step.number <= self.last {
                return Err(self.bad(format!("step {} does not come after step {}", step.number, self.last)));
            }
            self.last = step.number;
            Ok(step)
        }))
    }
}

/// Whether every step of the plan names places that a plan for `store` may name. What lies there is checked again
/// when the step is executed.
///
/// # Errors
/// The first step that does not, with its line.
pub fn check(path: &Path, store: &Path) -> Result<(), PlanError> {
    let mut reader = PlanReader::open(path)?;
    let store = Root::open(store).map_err(|source| PlanError::Io { path: store.display().to_string(), source })?;
    while let Some(step) = reader.next() {
        let step = step?;
        permitted(&step).map_err(|detail| reader.bad(detail))?;
        let mut begins = |dir: &RelPath| match store.open_dir(dir) {
            Err(error) if nothing_there(&error) => Ok(false),
            dir => begins_account(&dir?),
        };
        // Before anything is done: a step could make the folder that unites two accounts.
        stays_home(&step, &mut begins).map_err(|detail| reader.bad(detail))?;
        let known = |from: &Location| from.source.is_some_and(|n| (n as usize) < reader.header.sources.len());
        let strange = match &step.action {
            Action::Restore { from, .. } => !known(from),
            Action::Rebuild { parts, .. } => {
                parts.iter().any(|part| matches!(part, Slice::Copy { from, .. } if !known(from)))
            }
            Action::Splice { parts, .. } => {
                parts.iter().any(|part| !known(&part.from) && !is_own(&step.target, &part.from))
            }
            _ => false,
        };
        if strange {
            return Err(reader.bad("names a source that the plan's first line does not list"));
        }
    }
    Ok(())
}
