//! A body in one of the canonical forms of RFC 6376 section 3.4, hashed as it streams by.
//!
//! Keeps no line: white space and line ends that count only if something follows are numbers until it does. A bare
//! LF is read as CRLF, for that is how stores with LF write what was signed; a bare CR is a byte like any other.

use super::dkim_tags::{Algorithm, Form, Wanted};
use memchr::{memchr, memchr2};
use sha2::Digest as _;

/// Canonical bytes that are hashed in one go.
const BATCH: usize = 16 << 10;
/// Line ends that are written in one go.
const BREAKS: &[u8; 256] = &{
    let mut breaks = [b'\n'; 256];
    let mut at = 0;
    while at < breaks.len() {
        breaks[at] = b'\r';
        at += 2;
    }
    breaks
};

#[derive(Debug)]
enum Hasher {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// One hash of the canonical form, or of its beginning.
#[derive(Debug)]
struct Sum {
    wanted: Wanted,
    hasher: Hasher,
    taken: u64,
    /// Where in the message its limit was reached.
    reached: Option<u64>,
}

/// One canonical form of a body, with the hashes that are wanted of it.
#[derive(Debug)]
pub(super) struct Body {
    form: Form,
    sums: Vec<Sum>,
    /// Of the next byte, in the message.
    offset: u64,
    /// Canonical bytes so far.
    written: u64,
    /// The nearest limit that was not reached yet.
    limit: u64,
    /// Line ends, and white space behind them, that count only if something follows; where they begin.
    breaks: u64,
    gap: bool,
    held_from: u64,
    /// A CR at the end of the last window.
    cr: bool,
    batch: Vec<u8>,
}

/// What became of one hash.
pub(super) struct Done {
    pub(super) wanted: Wanted,
    pub(super) hash: Vec<u8>,
    /// The end of the bytes that it covers; `None`: all there are.
    pub(super) end: Option<u64>,
}

impl Body {
    /// The body begins at `offset`.
    pub(super) fn new(form: Form, wanted: impl Iterator<Item = Wanted>, offset: u64) -> Body {
        let sums: Vec<Sum> = wanted.filter(|wanted| wanted.form == form).map(Sum::new).collect();
        let limit = nearest(&sums);
        let batch = Vec::with_capacity(BATCH);
        Body { form, sums, offset, written: 0, limit, breaks: 0, gap: false, held_from: 0, cr: false, batch }
    }

    /// Takes the next bytes, in whatever pieces they come.
    pub(super) fn feed(&mut self, window: &[u8]) {
        if window.is_empty() || self.sums.iter().all(|sum| sum.reached.is_some()) {
            return;
        }
        if std::mem::take(&mut self.cr) {
            match window[0] {
                b'\n' => self.hold(self.offset - 1),
                _ => self.text(b"\r", self.offset - 1),
            }
        }
        let (mut at, start) = (0, self.offset);
        while let Some(lf) = memchr(b'\n', &window[at..]) {
            let line = &window[at..at + lf];
            self.text(line.strip_suffix(b"\r").unwrap_or(line), start + at as u64);
            self.hold(start + (at + line.len()) as u64);
            (self.breaks, self.gap) = (self.breaks + 1, false);
            at += lf + 1;
        }
        let rest = &window[at..];
        self.cr = rest.ends_with(b"\r");
        self.text(rest.strip_suffix(b"\r").unwrap_or(rest), start + at as u64);
        self.offset += window.len() as u64;
    }

    /// What is held begins here, unless it began before.
    fn hold(&mut self, at: u64) {
        if self.breaks == 0 && !self.gap {
            self.held_from = at;
        }
    }

    /// Bytes of one line, of which more may come.
    fn text(&mut self, line: &[u8], at: u64) {
        if self.form == Form::Simple {
            if !line.is_empty() {
                self.write_held();
                self.write(line, |taken| at + taken);
            }
            return;
        }
        let mut from = self.skip_white(line, 0, at);
        let mut look = from;
        while from < line.len() {
            let Some(found) = memchr2(b' ', b'\t', &line[look..]) else {
                self.write_held();
                return self.write(&line[from..], |taken| at + from as u64 + taken);
            };
            let white = look + found;
            // A single space between words is canonical as it stands.
            if line[white] == b' ' && line.get(white + 1).is_some_and(|next| !is_white(*next)) {
                look = white + 1;
                continue;
            }
            self.write_held();
            self.write(&line[from..white], |taken| at + from as u64 + taken);
            from = self.skip_white(line, white, at);
            look = from;
        }
    }

    /// Holds back the white space at `from`. Returns where it ends.
    fn skip_white(&mut self, line: &[u8], from: usize, at: u64) -> usize {
        let length = line[from..].iter().take_while(|byte| is_white(**byte)).count();
        if length > 0 {
            self.hold(at + from as u64);
            self.gap = true;
        }
        from + length
    }

    /// Something follows: what was held back counts.
    fn write_held(&mut self) {
        let (from, lone) = (self.held_from, self.breaks == 0);
        while self.breaks > 0 {
            let now = self.breaks.min(BREAKS.len() as u64 / 2);
            self.breaks -= now;
            self.write(&BREAKS[..now as usize * 2], |_| from);
        }
        if std::mem::take(&mut self.gap) {
            self.write(b" ", |_| from + u64::from(lone));
        }
    }

    /// Canonical bytes; `source` tells where in the message the first so many of them end.
    fn write(&mut self, bytes: &[u8], source: impl Fn(u64) -> u64) {
        let end = self.written + bytes.len() as u64;
        while self.limit <= end {
            let taken = self.limit - self.written;
            for sum in self.sums.iter_mut().filter(|sum| sum.wanted.limit == Some(self.limit)) {
                sum.reached = Some(source(taken));
            }
            self.limit = nearest(&self.sums);
        }
        self.written = end;
        if bytes.len() >= BATCH {
            self.hash_batch();
            self.sums.iter_mut().for_each(|sum| sum.update(bytes));
        } else {
            self.batch.extend_from_slice(bytes);
            if self.batch.len() >= BATCH {
                self.hash_batch();
            }
        }
    }

    fn hash_batch(&mut self) {
        for sum in &mut self.sums {
            sum.update(&self.batch);
        }
        self.batch.clear();
    }

    /// No more bytes come; `whole` tells whether the body ends here. Hashes that need more are left out.
    pub(super) fn finish(mut self, whole: bool) -> impl Iterator<Item = Done> {
        if whole {
            if std::mem::take(&mut self.cr) {
                self.text(b"\r", self.offset - 1);
            }
            let end = if self.breaks > 0 || self.gap { self.held_from } else { self.offset };
            if self.form == Form::Simple || self.written > 0 {
                self.write(b"\r\n", |_| end);
            }
        }
        self.hash_batch();
        self.sums.into_iter().filter_map(move |sum| sum.finish(whole))
    }
}

impl Sum {
    fn new(wanted: Wanted) -> Sum {
        let hasher = match wanted.algorithm {
            Algorithm::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        };
        Sum { wanted, hasher, taken: 0, reached: None }
    }

    fn update(&mut self, bytes: &[u8]) {
        let room = self.wanted.limit.map_or(u64::MAX, |limit| limit - self.taken);
        let bytes = &bytes[..usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len())];
        self.taken += bytes.len() as u64;
        match &mut self.hasher {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self, whole: bool) -> Option<Done> {
        let complete = self.reached.is_some() || (whole && self.wanted.limit.is_none());
        let hash = match self.hasher {
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
        };
        complete.then_some(Done { wanted: self.wanted, hash, end: self.reached })
    }
}

fn nearest(sums: &[Sum]) -> u64 {
    let open = sums.iter().filter(|sum| sum.reached.is_none());
    open.filter_map(|sum| sum.wanted.limit).min().unwrap_or(u64::MAX)
}

fn is_white(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
