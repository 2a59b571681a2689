//! Where the messages of an mbox begin and end.
//!
//! A message ends where its Content-Length says, if that proves true: a line that begins a message, or the end of the
//! file, stands exactly behind it. Else it ends at the next such line with evidence: an empty line before it, a date that
//! is one, header fields behind it. (As good as an empty line is one that
//! ends a message of several parts, or behind the line a Return-Path to the sender whom it names.) A line that merely begins with "From " is no boundary: servers quote none.
//!
//! Pure but for the window that it looks through, whose width changes nothing.

use super::from_line::{self, LINE_MAX, Received};
use super::window::Window;
use crate::verify::field_name;
use memchr::{memchr, memmem, memrchr};

/// Bytes that are looked at together behind a candidate: its line, and one more.
const LOOK: usize = 2 * LINE_MAX + 8;
/// A line that ends a message of several parts has at most 74 bytes and its end.
const BOUNDARY_MAX: u64 = 80;
/// What ends each message in files of MMDF, which some software writes into mboxes.
const MMDF: &[u8] = b"\x01\x01\x01\x01";

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins: its "From " line, or what is left of that.
    pub from: u64,
    /// Bytes of that line with its end; none where no line is left.
    pub head: u64,
    /// Bytes of the message behind it, without the empty line that separates it from the next.
    pub length: u64,
    /// `None` where the line is no such line any more.
    pub received: Option<Received>,
    /// As its X-UID says.
    pub uid: Option<u32>,
    /// UIDVALIDITY, as its X-IMAPbase says.
    pub validity: Option<u32>,
    /// The beginning of the digest of its line, where that is one.
    pub check: Option<u32>,
    /// No message, but what some servers put first to keep UIDVALIDITY and keywords in (`X-IMAP`).
    pub internal: bool,
}

impl Part {
    /// Where the message itself begins.
    pub fn start(&self) -> u64 {
        self.from + self.head
    }
}

/// Goes through a file, message by message.
pub struct Scanner<'a> {
    window: Window<'a>,
    /// Where the next message begins.
    at: u64,
    finder: memmem::Finder<'static>,
    line: Vec<u8>,
}

/// What the header of a message says of the file.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    length: Option<u64>,
    uid: Option<u32>,
    validity: Option<u32>,
    /// It has the field that is only in what is no message.
    internal: bool,
    /// Where the body begins.
    body: u64,
}

/// Where a message ends, and where the next begins.
#[derive(Debug, Clone, Copy)]
struct End {
    end: u64,
    next: u64,
}

impl<'a> Scanner<'a> {
    pub fn new(window: Window<'a>) -> Scanner<'a> {
        Scanner { window, at: 0, finder: memmem::Finder::new(b"\nFrom "), line: Vec::new() }
    }

    /// What was looked through, with its holes.
    pub fn window(&self) -> &Window<'a> {
        &self.window
    }

    /// Reads the line at `at` into `self.line`, without its end and no more than is ever asked for. Returns where the next
    /// one begins.
    fn read_line(&mut self, at: u64) -> u64 {
        let view = self.window.view(at, LINE_MAX + 2);
        let (text, mut next) = match memchr(b'\n', view) {
            Some(lf) => (&view[..lf], Some(at + lf as u64 + 1)),
            None => (view, None),
        };
        self.line.clear();
        self.line.extend_from_slice(&text[..text.len().min(LINE_MAX)]);
        if text.len() <= LINE_MAX && self.line.ends_with(b"\r") {
            self.line.pop();
        }
        let mut seen = at + view.len() as u64;
        while next.is_none() && seen < self.window.size() {
            let view = self.window.view(seen, 1);
            next = memchr(b'\n', view).map(|lf| seen + lf as u64 + 1);
            seen += view.len() as u64;
        }
        next.unwrap_or(self.window.size())
    }

    /// Reads the header that begins at `at`.
    fn fields(&mut self, mut at: u64) -> Fields {
        let mut fields = Fields::default();
        while at < self.window.size() {
            let next = self.read_line(at);
            let line = &self.line[..];
            if line.is_empty() {
                return Fields { body: next, ..fields };
            }
            // Ordinary fields are passed by their first letter.
            if matches!(line[0], b'c' | b'C' | b'x' | b'X') {
                let value = |name: &str| value_of(line, name.as_bytes());
                fields.length = fields.length.or_else(|| number(value("content-length")?));
                fields.uid = fields.uid.or_else(|| small(value("x-uid")?));
                fields.internal |= value("x-imap").is_some();
                let base = value("x-imapbase").or_else(|| value("x-imap"));
                fields.validity = fields.validity.or_else(|| small(base?.split(|&byte| byte == b' ').next()?));
            }
            at = next;
        }
        Fields { body: self.window.size(), ..fields }
    }

    /// Whether a message begins at `at`: its line is one, whatever follows.
    fn begins(&mut self, at: u64) -> bool {
        self.window.view(at, 5).starts_with(b"From ") && {
            self.read_line(at);
            from_line::parse(&self.line).is_some()
        }
    }

    /// Whether header fields stand at `at`.
    fn is_header(&mut self, at: u64) -> bool {
        self.read_line(at);
        let quoted = self.line.starts_with(b">From ");
        quoted || field_name(&self.line).is_some()
    }

    /// Whether what was a message's first line, or all of its beginning, stands at `at`: only asked where another
    /// message's length has proven that something begins there.
    fn began(&mut self, at: u64) -> bool {
        let next = self.read_line(at);
        let zeroed = self.line.len() > 16 && self.line[..16].iter().all(|&byte| byte == 0);
        zeroed || (from_line::resembles(&self.line) && self.is_header(next))
    }

    /// The end that a Content-Length claims, if it proves true.
    fn claimed(&mut self, fields: &Fields) -> Option<End> {
        let size = self.window.size();
        let end = fields.body.checked_add(fields.length?).filter(|&end| end <= size)?;
        let behind: Vec<u8> = self.window.view(end, 2).iter().take(2).copied().collect();
        let separator: u64 = match &behind[..] {
            [b'\n', ..] => 1,
            b"\r\n" => 2,
            _ => 0,
        };
        let next = end + separator;
        if next == size {
            return Some(End { end, next });
        }
        // Without a separator the message itself ends its line.
        let ended = separator > 0 || end == fields.body || self.window.view(end - 1, 1).first() == Some(&b'\n');
        if ended && self.begins(next) {
            return Some(End { end, next });
        }
        // A body that ends within its own line end, or a beginning that was harmed.
        (separator > 0 && self.began(next)).then_some(End { end, next })
    }

    /// The next boundary with evidence behind the start of a body.
    fn next_line(&mut self, body: u64) -> End {
        let mut at = body;
        if self.is_boundary(body, body) {
            return End { end: body, next: body };
        }
        loop {
            let view = self.window.view(at, LOOK);
            let (found, length) = (self.finder.find(view), view.len() as u64);
            match found {
                Some(found) => {
                    let line = at + found as u64 + 1;
                    if self.is_boundary(body, line) {
                        return End { end: self.unseparated(body, line), next: line };
                    }
                    at = line;
                }
                None if at + length >= self.window.size() => {
                    let size = self.window.size();
                    return End { end: self.unseparated(body, size), next: size };
                }
                None => at += length - 5,
            }
        }
    }

    /// Whether the line at `at` begins a message by itself.
    fn is_boundary(&mut self, body: u64, at: u64) -> bool {
        if !self.begins(at) {
            return false;
        }
        let sender = from_line::names_sender(&self.line);
        let next = self.read_line(at);
        if at > body && self.empty_line_before(body, at) == 0 && !self.closed_before(body, at) {
            return sender && self.returns_to_sender(at, next);
        }
        // A message without any header is one if its line leaves no doubt.
        next < self.window.size() && (self.is_header(next) || (sender && self.line.is_empty()))
    }

    /// Whether the field behind the line at `at` is a Return-Path to the very sender that the line names.
    fn returns_to_sender(&mut self, at: u64, next: u64) -> bool {
        self.read_line(at);
        let sender = self.line.split(|&byte| byte == b' ').nth(1).unwrap_or_default().to_vec();
        self.read_line(next);
        let path = value_of(&self.line, b"return-path").unwrap_or_default();
        path.strip_prefix(b"<").and_then(|path| path.strip_suffix(b">")) == Some(&sender) && !sender.is_empty()
    }

    /// Whether the line before `at` ends a message of several parts (`--boundary--`) or any message of MMDF: nothing else
    /// belongs behind it.
    fn closed_before(&mut self, body: u64, at: u64) -> bool {
        let from = at.saturating_sub(BOUNDARY_MAX).max(body);
        let before = self.window.view(from, (at - from) as usize).get(..(at - from) as usize).unwrap_or_default();
        let line = before.trim_ascii_end();
        let line = &line[memrchr(b'\n', line).map_or(0, |lf| lf + 1)..];
        let parts = line.len() > 4 && line.len() < BOUNDARY_MAX as usize - 2;
        line == MMDF || (parts && line.starts_with(b"--") && line.ends_with(b"--"))
    }

    /// Bytes of the empty line that ends at `at`, within the body or its beginning.
    fn empty_line_before(&mut self, body: u64, at: u64) -> u64 {
        let from = at.saturating_sub(3).max(body);
        let wanted = (at - from) as usize;
        let before = self.window.view(from, wanted).get(..wanted).unwrap_or_default().to_vec();
        let first = |rest: usize| before.len() == rest && from == body;
        match &before[..] {
            [.., b'\n', b'\r', b'\n'] => 2,
            [.., b'\n', b'\n'] => 1,
            b"\r\n" if first(2) => 2,
            b"\n" if first(1) => 1,
            _ => 0,
        }
    }

    /// Where a message ends whose successor, or the end of the file, is at `at`.
    fn unseparated(&mut self, body: u64, at: u64) -> u64 {
        if at <= body { at } else { at - self.empty_line_before(body, at) }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let from = self.at;
        if from >= self.window.size() {
            return None;
        }
        let behind = self.read_line(from);
        let received = from_line::parse(&self.line);
        let check = received.map(|_| digest_of(&self.line));
        let head = if received.is_some() || from_line::resembles(&self.line) { behind - from } else { 0 };
        let fields = self.fields(from + head);
        let end = match self.claimed(&fields) {
            Some(end) => end,
            None => self.next_line(fields.body),
        };
        // What shrank under the reader ends where it ends now.
        let end = End { end: end.end.max(from + head), next: end.next.max(from + 1) };
        self.at = end.next;
        let (uid, validity) = (fields.uid, fields.validity);
        Some(Part {
            from,
            head,
            length: end.end - from - head,
            received,
            uid,
            validity,
            check,
            internal: fields.internal && from == 0,
        })
    }
}

/// The value of a header line of the field `name`.
pub fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (field, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":").filter(|_| field.eq_ignore_ascii_case(name))?;
    Some(value.trim_ascii())
}

/// The beginning of the digest of a line without its end.
pub fn digest_of(line: &[u8]) -> u32 {
    let digest = blake3::hash(line);
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn small(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|number| u32::try_from(number).ok()).filter(|&number| number > 0)
}
