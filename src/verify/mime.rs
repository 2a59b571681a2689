//! The structure of a message as it streams by: header lines, multipart boundaries, the encoding of each part.
//!
//! Keeps one line, the fields of the part in hand and the boundaries that are open; never a body. Hands the
//! lines of the top header to `header` and `envelope`, the bodies of parts to `encoding`, and tells which
//! stretches are binary by declaration, for `pattern`.

use super::encoding::{Base64, Quoted};
use super::envelope::Fields;
use super::header::{Header, name};
use super::line_ends::LineEnds;
use super::part::{Kind, Part};
use super::yenc::Yenc;
use crate::model::{Check, Envelope, Evidence, Fault, FaultKind, Outcome, Span};
use memchr::{memchr, memmem::Finder};
use std::sync::LazyLock;

/// Bytes of a header line that are looked at.
const LINE_KEPT: usize = 16 << 10;
/// A longer line that begins with `--` is no boundary.
const BOUNDARY_LINE: usize = 1200;
/// Multiparts within multiparts that are followed.
const DEPTH: usize = 64;

/// Disks lose whole sectors. Bytes.
const SECTOR: u64 = 512;
/// File systems allot blocks: what was not written when a machine stopped begins at a block's edge. Bytes.
const BLOCK: u64 = 4096;

/// What comes before every boundary line but one at the very start.
static DASHES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n--"));

/// One multipart that is open.
#[derive(Debug)]
struct Level {
    boundary: Vec<u8>,
    /// Where its body begins, and where its last boundary line does.
    start: u64,
    last: u64,
    /// Boundary lines so far.
    parts: u32,
    /// Bytes within it could not be read: its end may have been among them.
    holed: bool,
    /// Within a report the returned original may break off wherever the reporting server liked.
    quoted: bool,
    report: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In the message's own header.
    Top,
    /// In the header of a part or of a nested message.
    Nested,
    Body,
    /// The structure is not known any more.
    Lost,
}

#[derive(Debug)]
enum Leaf {
    /// Nothing to decode: preambles, epilogues, binary.
    Plain,
    /// Nothing to decode, but for what declares itself.
    Text(Yenc),
    Base64(Base64),
    Quoted(Quoted),
}

/// The state between windows.
#[derive(Debug)]
pub(super) struct Mime {
    ends: LineEnds,
    mode: Mode,
    /// A line that is not complete yet; its first byte stands at `offset`.
    carry: Vec<u8>,
    /// Bytes of that line beyond what is kept.
    dropped: u64,
    /// Of the next byte that was not judged.
    offset: u64,
    /// Behind the last hole.
    known_from: u64,
    line_start: bool,
    header: Header,
    fields: Fields,
    part: Part,
    levels: Vec<Level>,
    leaf: Leaf,
    binary: bool,
    /// Offsets from which on bytes are binary (or are no longer), since last asked.
    turns: Vec<(u64, bool)>,
    multiparts: bool,
    encodings: bool,
    structure_unknown: bool,
    encoding_unknown: bool,
    header_unknown: bool,
}

impl Mime {
    pub(super) fn new() -> Mime {
        Mime {
            ends: LineEnds::default(),
            mode: Mode::Top,
            carry: Vec::new(),
            dropped: 0,
            offset: 0,
            known_from: 0,
            line_start: true,
            header: Header::default(),
            fields: Fields::default(),
            part: Part::default(),
            levels: Vec::new(),
            leaf: Leaf::Plain,
            binary: false,
            turns: Vec::new(),
            multiparts: false,
            encodings: false,
            structure_unknown: false,
            encoding_unknown: false,
            header_unknown: false,
        }
    }

    /// Takes the next bytes of the message.
    pub(super) fn feed(&mut self, window: &[u8], evidence: &mut Evidence) {
        let mut ends = std::mem::take(&mut self.ends);
        ends.feed(window, |piece| self.take(piece, evidence));
        self.ends = ends;
    }

    fn take(&mut self, mut window: &[u8], evidence: &mut Evidence) {
        while !window.is_empty() {
            let used = if !self.carry.is_empty() || self.mode_has_lines() || self.at_dashes(window) {
                self.line_of(window, evidence)
            } else {
                self.body(window, evidence)
            };
            window = &window[used..];
        }
    }

    /// Whether every line counts here.
    fn mode_has_lines(&self) -> bool {
        matches!(self.mode, Mode::Top | Mode::Nested)
    }

    /// Whether a boundary line may begin here.
    fn at_dashes(&self, window: &[u8]) -> bool {
        self.line_start
            && self.mode == Mode::Body
            && !self.levels.is_empty()
            && window[0] == b'-'
            && window.get(1).is_none_or(|&byte| byte == b'-')
    }

    /// Completes a line, or carries it to the next window. Returns how much of the window it took.
    fn line_of(&mut self, window: &[u8], evidence: &mut Evidence) -> usize {
        let limit = if self.mode_has_lines() { LINE_KEPT + 2 } else { BOUNDARY_LINE };
        let end = memchr(b'\n', window).map(|lf| lf + 1);
        let piece = &window[..end.unwrap_or(window.len())];
        if end.is_some() && self.carry.is_empty() {
            self.line(piece, piece.len() as u64, true, evidence);
        } else {
            let room = (limit - self.carry.len().min(limit)).min(piece.len());
            self.carry.extend_from_slice(&piece[..room]);
            self.dropped += (piece.len() - room) as u64;
            if self.mode == Mode::Body && (self.dropped > 0 || !is_dashes(&self.carry)) {
                return self.give_back(piece.len(), evidence);
            }
            if end.is_some() {
                let carry = std::mem::take(&mut self.carry);
                let length = carry.len() as u64 + std::mem::take(&mut self.dropped);
                self.line(&carry, length, true, evidence);
            }
        }
        piece.len()
    }

    /// What was carried is no boundary after all: it belongs to the part, as does the rest of the line.
    fn give_back(&mut self, piece: usize, evidence: &mut Evidence) -> usize {
        let carry = std::mem::take(&mut self.carry);
        let used = piece - std::mem::take(&mut self.dropped) as usize;
        self.leaf_bytes(&carry, evidence);
        used
    }

    /// One whole line of `length` bytes, of which `kept` are here.
    fn line(&mut self, kept: &[u8], length: u64, ended: bool, evidence: &mut Evidence) {
        let offset = self.offset;
        if self.mode_has_lines() {
            self.offset += length;
            let text = kept.strip_suffix(b"\n").unwrap_or(kept);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            self.header_line(offset, &text[..text.len().min(LINE_KEPT)], ended, evidence);
            return;
        }
        match self.find_boundary(kept).filter(|_| kept.len() <= BOUNDARY_LINE) {
            Some(boundary) => {
                self.offset += length;
                self.cross(boundary, offset, evidence);
            }
            None => self.leaf_bytes(kept, evidence),
        }
    }

    fn header_line(&mut self, offset: u64, text: &[u8], ended: bool, evidence: &mut Evidence) {
        if let Some(boundary) = self.find_boundary(text) {
            self.cross(boundary, offset, evidence);
            return;
        }
        if text.is_empty() && ended {
            if self.mode == Mode::Top {
                self.header.finish(offset, true, evidence);
            }
            self.begin_body();
            return;
        }
        let field = name(text);
        if self.mode == Mode::Top {
            self.header.line(offset, text);
            self.fields.line(offset, text, field);
        }
        self.part.line(text, field);
    }

    /// The header in hand ended: what does it say of the body?
    fn begin_body(&mut self) {
        let part = std::mem::take(&mut self.part);
        let start = self.offset;
        (self.mode, self.line_start, self.leaf) = (Mode::Body, true, Leaf::Plain);
        let mut binary = false;
        match part.kind() {
            Kind::Multipart { boundary, report } => {
                self.multiparts = true;
                if self.levels.len() < DEPTH {
                    let quoted = self.levels.iter().any(|level| level.report);
                    let level = Level { boundary, start, last: start, parts: 0, holed: false, quoted, report };
                    self.levels.push(level);
                } else {
                    self.structure_unknown = true;
                }
            }
            Kind::Message => self.mode = Mode::Nested,
            Kind::Base64 => self.leaf = Leaf::Base64(Base64::new(start)),
            Kind::Quoted => self.leaf = Leaf::Quoted(Quoted::default()),
            Kind::Binary => binary = true,
            Kind::Text => self.leaf = Leaf::Text(Yenc::new()),
        }
        self.encodings |= matches!(self.leaf, Leaf::Base64(_) | Leaf::Quoted(_));
        self.turn(binary);
    }

    /// From the present offset on, bytes are binary by declaration, or are not.
    fn turn(&mut self, binary: bool) {
        if self.binary != binary {
            self.binary = binary;
            self.turns.push((self.offset, binary));
        }
    }

    /// The turns since the last call, in order.
    pub(super) fn take_turns(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.turns)
    }

    /// Acts on a boundary line that begins at `offset`; what follows it is the next byte.
    fn cross(&mut self, (index, closes): (usize, bool), offset: u64, evidence: &mut Evidence) {
        self.end_leaf(offset, evidence);
        while self.levels.len() > index + 1 {
            self.end_level(offset, evidence);
        }
        if let Some(level) = self.levels.last_mut() {
            (level.parts, level.last) = (level.parts.saturating_add(1), offset);
        }
        if closes {
            self.levels.pop();
        }
        self.part = Part::default();
        self.mode = if closes { Mode::Body } else { Mode::Nested };
        self.line_start = true;
        self.turn(false);
    }

    /// Which open multipart a line separates, innermost first, and whether it closes it. What was closed is
    /// not open: further lines of its boundary are text.
    fn find_boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?;
        self.levels.iter().enumerate().rev().find_map(|(index, level)| {
            let rest = line.strip_prefix(level.boundary.as_slice())?;
            let closes = rest.starts_with(b"--");
            (closes || rest.trim_ascii().is_empty()).then_some((index, closes))
        })
    }

    /// The innermost multipart ends at `end` without having been closed.
    fn end_level(&mut self, end: u64, evidence: &mut Evidence) {
        let Some(level) = self.levels.pop() else { return };
        if level.holed {
            self.structure_unknown = true;
        } else if !level.quoted {
            let (kind, from) = if level.parts > 0 {
                (FaultKind::UnclosedMultipart, level.last)
            } else {
                (FaultKind::NoParts, level.start)
            };
            let span = Span::new(from, end.saturating_sub(from));
            evidence.blame(Fault { check: Check::Mime, kind, span, errno: None });
        }
    }

    /// Whether this is the mail of senders that open one part of base64, end it with a line and never close
    /// anything: 43 of the 51 unclosed multiparts in the corpus. What was cut off ends within a line, or at a
    /// sector's edge. The structure is then no witness for the message, nor against it.
    fn never_closes(&self, end: u64) -> bool {
        let [level] = self.levels.as_slice() else { return false };
        let lone = level.parts == 1 && !level.holed && matches!(self.leaf, Leaf::Base64(_));
        lone && self.line_start && self.mode == Mode::Body && !end.is_multiple_of(SECTOR)
    }

    /// A text that ends within a line does so at a block's edge for one of 4,096 of those that do, of which there
    /// are one in seven; one that was cut off there, always.
    fn edge(&self, end: u64, evidence: &mut Evidence) {
        let ended = match &self.leaf {
            Leaf::Plain => self.binary,
            Leaf::Base64(base64) => base64.is_closed(),
            Leaf::Text(_) | Leaf::Quoted(_) => false,
        };
        let within_line = self.mode == Mode::Body && !self.line_start && end > self.known_from;
        if within_line && !ended && !self.binary && end.is_multiple_of(BLOCK) {
            let span = Span::new(end, 0);
            evidence.blame(Fault { check: Check::Pattern, kind: FaultKind::CutAtBlock, span, errno: None });
        }
    }

    fn end_leaf(&mut self, end: u64, evidence: &mut Evidence) {
        match std::mem::replace(&mut self.leaf, Leaf::Plain) {
            Leaf::Plain | Leaf::Text(_) => {}
            Leaf::Base64(base64) => base64.finish(end, evidence),
            Leaf::Quoted(quoted) => quoted.finish(evidence),
        }
    }

    /// Bytes of a body, up to the next line that may be a boundary. Returns how many it took.
    fn body(&mut self, window: &[u8], evidence: &mut Evidence) -> usize {
        let mut length = window.len();
        if self.mode == Mode::Body && !self.levels.is_empty() {
            if let Some(found) = DASHES.find(window) {
                length = found + 1;
            } else if window.ends_with(b"\n-") {
                length -= 1;
            }
        }
        self.leaf_bytes(&window[..length], evidence);
        length
    }

    fn leaf_bytes(&mut self, bytes: &[u8], evidence: &mut Evidence) {
        match &mut self.leaf {
            Leaf::Plain => {}
            Leaf::Text(yenc) => yenc.feed(self.offset, bytes, |offset, inside| {
                self.binary = inside;
                self.turns.push((offset, inside));
            }),
            Leaf::Base64(base64) => base64.feed(self.offset, bytes, evidence),
            Leaf::Quoted(quoted) => quoted.feed(self.offset, bytes),
        }
        self.offset += bytes.len() as u64;
        self.line_start = bytes.ends_with(b"\n") || (bytes.is_empty() && self.line_start);
    }

    /// Bytes up to `end` could not be read.
    pub(super) fn hole(&mut self, end: u64) {
        self.ends.interrupt(|_| {});
        match self.mode {
            Mode::Top => {
                (self.header_unknown, self.structure_unknown, self.encoding_unknown) = (true, true, true);
                self.mode = Mode::Lost;
            }
            Mode::Nested | Mode::Body => {
                if !self.levels.is_empty() || self.mode == Mode::Nested {
                    (self.structure_unknown, self.encoding_unknown) = (true, true);
                    self.levels.iter_mut().for_each(|level| level.holed = true);
                }
                self.encoding_unknown |= matches!(self.leaf, Leaf::Base64(_) | Leaf::Quoted(_));
                self.mode = Mode::Body;
            }
            Mode::Lost => {}
        }
        self.leaf = Leaf::Plain;
        self.part = Part::default();
        self.carry.clear();
        (self.dropped, self.line_start, self.offset) = (0, false, end);
        self.known_from = end;
    }

    /// No more bytes come.
    pub(super) fn finish(mut self, evidence: &mut Evidence) -> Option<Envelope> {
        let mut ends = std::mem::take(&mut self.ends);
        ends.interrupt(|piece| self.take(piece, evidence));
        if !self.carry.is_empty() {
            let carry = std::mem::take(&mut self.carry);
            let length = carry.len() as u64 + self.dropped;
            self.line(&carry, length, false, evidence);
        }
        let end = self.offset;
        self.edge(end, evidence);
        let never_closes = self.never_closes(end);
        match self.mode {
            Mode::Top if end > 0 => {
                self.header.finish(end, false, evidence);
                self.begin_body();
            }
            // A part whose header is all there is of it has no body to miss anything in.
            _ => self.end_leaf(end, evidence),
        }
        if never_closes {
            self.levels.clear();
            self.multiparts = false;
        }
        while !self.levels.is_empty() {
            self.end_level(end, evidence);
        }
        let outcome = |unknown, present| match (unknown, present) {
            (true, _) => Outcome::Unknown,
            (false, true) => Outcome::Pass,
            (false, false) => Outcome::Absent,
        };
        evidence.set(Check::Header, outcome(self.header_unknown, true));
        evidence.set(Check::Mime, outcome(self.structure_unknown, self.multiparts));
        evidence.set(Check::Encoding, outcome(self.encoding_unknown, self.encodings));
        self.fields.finish()
    }
}

/// Whether a line begins as a boundary line does, as far as it is here.
fn is_dashes(line: &[u8]) -> bool {
    line.starts_with(b"--") || line == b"-"
}
