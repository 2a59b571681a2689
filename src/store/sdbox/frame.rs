//! The frame around a message of Dovecot's dbox formats (FORMATS.md, dbox file): a line for the file, a header of fixed
//! size, the message, and a trailer of metadata lines.
//!
//! Pure: from the ends of a file to the range of the message and what is wrong around it.

use super::parts::Part;
use crate::model::Span;
use crate::model::form::Marks;
use std::io::{self, BufRead, Read};

/// Bytes at the start of a file that tell all of its head.
pub const HEAD: usize = 512;
/// Bytes at the end in which a trailer fits; Dovecot writes about a hundred.
pub const TAIL: usize = 4096;

const MAGIC_PRE: &[u8] = b"\x01\x02";
/// What every header begins with.
pub const MAGIC: &[u8] = b"\x01\x02N          ";
pub const MAGIC_POST: &[u8] = b"\n\x01\x03\n";
/// `01 02`, the type, a space, eight spaces, a space, sixteen digits, a line feed.
pub const HEADER: usize = 30;

/// What stands around the message of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the message lies: by its header, else by its trailer, else as far as either lets it be.
    pub message: Span,
    /// `V`: bytes of the message with every line end as CRLF.
    pub crlf: Option<u64>,
    /// `G`: 32 digits.
    pub guid: Option<Vec<u8>>,
    /// `R`: seconds since 1970.
    pub received: Option<i64>,
    /// `Z`: what lies there is compressed to `message.length` bytes; or `X`: parts of it lie elsewhere.
    pub partial: bool,
    /// `X`: those parts.
    pub parts: Option<Vec<Part>>,
    /// Ranges of the frame that are not as the server writes them.
    pub broken: Vec<Span>,
    /// The header says so many bytes, and the file ends before.
    pub short_of: Option<u64>,
}

impl Frame {
    /// What it says of the message, where its trailer is sound.
    pub fn marks(&self) -> Option<Marks> {
        let guid = String::from_utf8(self.guid.clone()?).ok()?;
        Some(Marks { guid, received: self.received? })
    }

    fn around(message: Span) -> Frame {
        Frame {
            message,
            crlf: None,
            guid: None,
            received: None,
            partial: false,
            parts: None,
            broken: Vec::new(),
            short_of: None,
        }
    }
}

/// Takes a file of `size` bytes apart, given its first [`HEAD`] and last [`TAIL`] bytes (all of it if it has fewer).
pub fn read(head: &[u8], tail: &[u8], size: u64) -> Frame {
    let mut frame = Frame::around(Span::new(0, 0));
    let (begins, claimed) = head_of(head, &mut frame.broken);
    rest(frame, (begins, claimed), tail, size)
}

/// The same of one message among others, which begins with its own header.
pub fn read_one(head: &[u8], tail: &[u8], size: u64) -> Frame {
    let mut frame = Frame::around(Span::new(0, 0));
    let claimed = header_of(head, 0, &mut frame.broken);
    rest(frame, (HEADER as u64, claimed), tail, size)
}

/// What stands behind the header.
fn rest(mut frame: Frame, (begins, claimed): (u64, Option<u64>), tail: &[u8], size: u64) -> Frame {
    // A file may end inside its head.
    let begins = begins.min(size);
    let from_tail = size - tail.len() as u64;
    let trailer = memchr::memmem::rfind(tail, MAGIC_POST).map(|at| from_tail + at as u64).filter(|&at| at >= begins);
    let end = match (claimed.map(|length| (length, begins.saturating_add(length))), trailer) {
        (Some((_, end)), Some(at)) if end == at => end,
        (Some((_, end)), None) if end <= size => {
            // Behind a trailer that was overwritten stands nothing of the message.
            frame.broken.push(Span::new(end, size - end));
            end
        }
        (Some((length, _)), None) => {
            frame.short_of = Some(length);
            size
        }
        (Some(_), Some(at)) => {
            // The trailer is where it is: the size in the header is wrong, or bytes are gone or came in between.
            frame.broken.push(Span::new(begins.saturating_sub(HEADER as u64), HEADER as u64));
            at
        }
        (None, Some(at)) => at,
        (None, None) => size,
    };
    frame.message = Span::new(begins.min(end), end.saturating_sub(begins));
    match trailer.filter(|&at| at == end) {
        Some(at) => trailer_of(&tail[(at - from_tail) as usize + MAGIC_POST.len()..], at, size, &mut frame),
        None if frame.broken.is_empty() && frame.short_of.is_none() => frame.broken.push(Span::new(size, 0)),
        None => {}
    }
    frame
}

/// The bytes that stand before and behind a message of `length` bytes, `crlf` with every line end as CRLF.
///
/// # Errors
/// Where these are no marks that the server makes.
pub fn around(marks: &Marks, length: u64, crlf: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let digits = marks.guid.len() == 32 && marks.guid.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !digits || !(0..=i64::from(u32::MAX)).contains(&marks.received) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no marks of a message in dbox"));
    }
    let Marks { guid, received } = marks;
    let head = format!("2 M{HEADER:x} C{received:x}\n\x01\x02N          {length:016X}\n");
    let tail = format!("\n\x01\x03\nR{received:x}\nV{crlf:x}\nG{guid}\n\n");
    Ok((head.into_bytes(), tail.into_bytes()))
}

/// The message of a sound file, streamed.
pub struct Content<R> {
    reader: R,
    left: u64,
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Content<R> {
    pub fn new(reader: R) -> Content<R> {
        Content { reader, left: 0, begun: false, ended: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        (&mut self.reader).take(HEAD as u64).read_until(b'\n', &mut head)?;
        let mut header = vec![0; HEADER];
        self.reader.read_exact(&mut header)?;
        head.extend(header);
        let mut broken = Vec::new();
        match (head_of(&head, &mut broken), broken.is_empty()) {
            ((_, Some(length)), true) => self.left = length,
            _ => return Err(not_sound("its head")),
        }
        self.begun = true;
        Ok(())
    }

    /// What stands behind the message has to be a trailer and nothing else.
    fn end(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        (&mut self.reader).take(TAIL as u64 + 1).read_to_end(&mut rest)?;
        let Some(lines) = rest.strip_prefix(MAGIC_POST) else { return Err(not_sound("its trailer")) };
        let mut frame = Frame::around(Span::new(0, 0));
        trailer_of(lines, 0, rest.len() as u64, &mut frame);
        if !frame.broken.is_empty() {
            return Err(not_sound("its trailer"));
        }
        self.ended = true;
        Ok(())
    }
}

fn not_sound(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no frame of dbox: {what}"))
}

impl<R: BufRead> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        if self.left == 0 {
            if !self.ended {
                self.end()?;
            }
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.reader.read(&mut buffer[..most])?;
        if got == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// Where the message begins, and how long its header says that it is.
fn head_of(head: &[u8], broken: &mut Vec<Span>) -> (u64, Option<u64>) {
    let line = head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |at| at + 1);
    let first = &head[..line];
    if !is_file_header(first) {
        // The header of the message has its own magic: where it is whole, the line before it does not matter.
        let found = memchr::memmem::find(head, b"\x01\x02N ").filter(|&at| at <= 64);
        broken.push(Span::new(0, found.unwrap_or(line) as u64));
        return match found {
            Some(at) => (at as u64 + HEADER as u64, header_of(&head[at..], at as u64, broken)),
            None => (0, None),
        };
    }
    (line as u64 + HEADER as u64, header_of(&head[line..], line as u64, broken))
}

/// `2 M1e C65a1b2c3`: the version, the size of message headers, the time of creation.
pub fn is_file_header(line: &[u8]) -> bool {
    let Some(line) = line.strip_suffix(b"\n") else { return false };
    let mut words = line.split(|&byte| byte == b' ');
    let hex = |digits: &[u8]| !digits.is_empty() && digits.len() <= 16 && digits.iter().all(u8::is_ascii_hexdigit);
    let key = |word: Option<&[u8]>, key: u8| word.is_some_and(|w| w.first() == Some(&key) && hex(&w[1..]));
    words.next() == Some(b"2") && words.next() == Some(b"M1e") && key(words.next(), b'C') && words.next().is_none()
}

/// The message's size, by a header that is as the server writes it.
pub fn size_in(header: &[u8]) -> Option<u64> {
    let mut broken = Vec::new();
    header_of(header, 0, &mut broken).filter(|_| broken.is_empty())
}

/// The metadata lines at the end of a message, given its last [`TAIL`] bytes; `None` where they are not sound.
pub fn trailer(tail: &[u8]) -> Option<&[u8]> {
    let lines = &tail[memchr::memmem::rfind(tail, MAGIC_POST)? + MAGIC_POST.len()..];
    let mut frame = Frame::around(Span::new(0, 0));
    trailer_of(lines, 0, 0, &mut frame);
    frame.broken.is_empty().then_some(lines)
}

/// The message's size, by its header.
fn header_of(rest: &[u8], at: u64, broken: &mut Vec<Span>) -> Option<u64> {
    let Some(header) = rest.get(..HEADER) else {
        broken.push(Span::new(at, rest.len() as u64));
        return None;
    };
    let form =
        header.starts_with(MAGIC_PRE) && header[2] == b'N' && header[3..13] == *b"          " && header[29] == b'\n';
    let size = hexadecimal(&header[13..29]);
    if !form || size.is_none() {
        broken.push(Span::new(at, HEADER as u64));
    }
    size
}

/// Sixteen digits, capitals, as Dovecot writes them.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    plain.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

/// Metadata: a letter and its value on each line, and an empty line at the end of the file.
fn trailer_of(lines: &[u8], at: u64, size: u64, frame: &mut Frame) {
    let mut ended = false;
    let mut sound = true;
    let mut seen = Vec::new();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n").filter(|_| !ended) else {
            sound = false;
            break;
        };
        let Some((&key, value)) = text.split_first() else {
            ended = true;
            continue;
        };
        sound &= !seen.contains(&key);
        seen.push(key);
        let number = || hexadecimal_of_any_case(value);
        match key {
            b'R' => frame.received = number().and_then(|seconds| seconds.try_into().ok()),
            b'V' => frame.crlf = number(),
            b'G' => frame.guid = is_guid(value).then(|| value.to_vec()),
            b'Z' => frame.partial = true,
            b'X' => (frame.partial, frame.parts) = (true, super::parts::read(value)),
            _ => sound &= key.is_ascii_uppercase() && !value.iter().any(u8::is_ascii_control),
        }
        sound &= match key {
            b'R' => frame.received.is_some(),
            b'V' => frame.crlf.is_some(),
            b'G' => frame.guid.is_some(),
            b'X' => frame.parts.is_some(),
            _ => true,
        };
    }
    // Every message has these three.
    let whole = ended && sound && frame.received.is_some() && frame.crlf.is_some() && frame.guid.is_some();
    if !whole {
        frame.broken.push(Span::new(at, size - at));
    }
}

/// What a server may have written as a message's GUID: 32 digits of its own, or, where the mail came from a Maildir by dsync,
/// the name of a file. What is all but 32 digits is neither.
fn is_guid(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    match value.len() {
        0 | 256.. => false,
        32 if digits >= 28 => digits == 32,
        _ => value.iter().all(u8::is_ascii_graphic),
    }
}

fn hexadecimal_of_any_case(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mail_that_came_from_a_maildir_has_the_name_of_a_file_for_a_guid() {
        for (guid, sound) in [
            ("1700000000.M0P1.mx,S=2039", true),
            ("0123456789abcdef0123456789abcdef", true),
            ("0123456789abcdef0123456789abcd%f", false),
            ("", false),
            ("a blank", false),
        ] {
            let tail = format!("text\n\x01\x03\nR6560a1b1\nV6\nG{guid}\n\n");
            assert_eq!(trailer(tail.as_bytes()).is_some(), sound, "{guid}");
        }
    }

    fn file(message: &[u8]) -> Vec<u8> {
        let crlf = message.len() + message.iter().filter(|&&byte| byte == b'\n').count();
        let head = format!("2 M1e C6560a1b2\n\x01\x02N          {:016X}\n", message.len());
        let tail = format!("\n\x01\x03\nR6560a1b1\nV{crlf:x}\nG0123456789abcdef0123456789abcdef\n\n");
        [head.as_bytes(), message, tail.as_bytes()].concat()
    }

    fn whole(file: &[u8]) -> Frame {
        read(&file[..file.len().min(HEAD)], &file[file.len().saturating_sub(TAIL)..], file.len() as u64)
    }

    const MESSAGE: &[u8] = b"From: a@example.org\nSubject: x\n\nbody\n";

    #[test]
    fn a_sound_file_is_taken_apart() {
        for message in [MESSAGE, b"", &vec![b'x'; 20_000]] {
            let file = file(message);
            let frame = whole(&file);
            assert!(frame.broken.is_empty() && frame.short_of.is_none() && !frame.partial, "{frame:?}");
            assert_eq!(&file[frame.message.offset as usize..frame.message.end() as usize], message);
            assert_eq!(frame.received, Some(0x6560_a1b1));
            assert_eq!(frame.guid.as_deref(), Some(&b"0123456789abcdef0123456789abcdef"[..]));
            let lines = message.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(frame.crlf, Some((message.len() + lines) as u64));
        }
    }

    #[test]
    fn a_cut_file_says_what_is_missing() {
        let file = file(MESSAGE);
        let frame = whole(&file[..60]);
        assert_eq!((frame.short_of, frame.message), (Some(MESSAGE.len() as u64), Span::new(46, 14)));
        assert_eq!((whole(b"").broken.is_empty(), whole(b"").message.length), (false, 0));
        for end in 0..file.len() {
            let frame = whole(&file[..end]);
            assert!(frame.message.end() <= end as u64, "cut at {end}: {frame:?}");
            assert!(!frame.broken.is_empty() || frame.short_of.is_some(), "cut at {end}: {frame:?}");
        }
        let no_trailer = whole(&file[..46 + MESSAGE.len()]);
        assert_eq!((no_trailer.broken.len(), no_trailer.message.length), (1, MESSAGE.len() as u64), "{no_trailer:?}");
    }

    #[test]
    fn compressed_messages_and_those_with_parts_elsewhere_are_known() {
        let text = String::from_utf8(file(MESSAGE)).unwrap();
        for key in ["Z20", "X0 20 B76 2a/3b/2a3b-7"] {
            let frame = whole(text.replace("\nR656", &format!("\n{key}\nR656")).as_bytes());
            assert!(frame.partial && frame.broken.is_empty(), "{frame:?}");
            assert_eq!(frame.parts.is_some(), key.starts_with('X'));
        }
        let nonsense = whole(text.replace("\nR656", "\nX0 20 base64 2a\nR656").as_bytes());
        assert!(nonsense.partial && !nonsense.broken.is_empty(), "{nonsense:?}");
    }

    #[test]
    fn the_content_streams_out_of_sound_files_only() {
        let sound = file(MESSAGE);
        let content = |file: &[u8]| io::read_to_string(Content::new(file));
        assert_eq!(content(&sound).unwrap().as_bytes(), MESSAGE);
        for end in 0..sound.len() {
            assert!(content(&sound[..end]).is_err(), "cut at {end}");
        }
        assert!(content(&[&sound[..], b"x"].concat()).is_err(), "bytes behind the end");
        let other = String::from_utf8(sound).unwrap().replace("2 M1e", "3 M1e");
        assert!(content(other.as_bytes()).is_err(), "another version");
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer_within_the_file(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let frame = whole(&bytes);
            prop_assert!(frame.message.end() <= bytes.len() as u64);
            prop_assert!(!frame.broken.is_empty() || frame.short_of.is_some());
        }

        /// A flipped bit outside the message is seen, unless it makes another value that is as good.
        #[test]
        fn a_flipped_bit_in_the_frame_is_seen_or_harmless(place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let sound = file(MESSAGE);
            let before = whole(&sound);
            let outside: Vec<usize> = (0..sound.len()).filter(|&at| {
                (at as u64) < before.message.offset || at as u64 >= before.message.end()
            }).collect();
            let at = outside[place.index(outside.len())];
            let mut harmed = sound.clone();
            harmed[at] ^= 1 << bit;
            let after = whole(&harmed);
            let seen = !after.broken.is_empty() || after.short_of.is_some();
            let value = harmed[at].is_ascii_hexdigit() && sound[at].is_ascii_hexdigit();
            prop_assert!(seen || value, "at {at}: {:?}", harmed[at] as char);
            prop_assert!(seen || after.message == before.message, "at {at}");
        }
    }
}
