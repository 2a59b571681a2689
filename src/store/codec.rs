//! Compressed messages: recognised by magic, decoded by pulling, encoded again as they were.
//!
//! May not deliver less than was stored without an error, and may not deliver without end: a truncated
//! stream, bytes behind its end and a bomb are all errors, and [`failure`] tells them from an error of the
//! medium below, which passes through as it came.

use crate::model::Encoding;
use crate::model::limits::{DECODED_MAX, DECODED_RATIO, WINDOW};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use super::{lz4, sdbox};

/// Memory that a crafted xz stream may ask for; `xz -9` asks for 65 MiB. Bytes.
const XZ_MEMORY: u64 = 128 << 20;
/// The same for zstd, as a power of two; `zstd --ultra -22` asks for 27.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The magic of every encoding that Dovecot reads.
const MAGIC: [(&[u8], Encoding); 8] = [
    (b"\x1f\x8b", Encoding::Gzip),
    (b"\x28\xb5\x2f\xfd", Encoding::Zstd),
    (b"BZh", Encoding::Bzip2),
    (b"\xfd7zXZ\x00", Encoding::Xz),
    (b"\x04\x22\x4d\x18", Encoding::Lz4),
    (lz4::MAGIC, Encoding::Lz4Dovecot),
    (b"CRYPTED\x03", Encoding::Crypted),
    (b"2 M1e C", Encoding::Sdbox),
];

/// Bytes that [`detect`] needs to see.
pub const DETECT: usize = 16;

/// How a message is stored, from its first bytes. No header field begins like any of these.
pub fn detect(first_bytes: &[u8]) -> Encoding {
    let known = MAGIC.iter().find(|(magic, _)| first_bytes.starts_with(magic));
    match known {
        // bzip2's magic is text: the level and the block's (or the empty stream's) magic must follow.
        Some((_, Encoding::Bzip2)) if !is_bzip2(first_bytes) => Encoding::Plain,
        Some((_, encoding)) => *encoding,
        None => Encoding::Plain,
    }
}

fn is_bzip2(first_bytes: &[u8]) -> bool {
    let level = first_bytes.get(3).is_some_and(|level| (b'1'..=b'9').contains(level));
    let rest = first_bytes.get(4..10).unwrap_or_default();
    level && (rest == b"\x31\x41\x59\x26\x53\x59" || rest == b"\x17\x72\x45\x38\x50\x90")
}

/// Why decoding ended before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The compressed form is broken: damage.
    Corrupt,
    /// It decodes to more, or needs more memory, than we allow: not checked.
    TooLarge,
    /// The reader below failed: whatever its error says.
    Medium,
}

/// What an error from a [`decoder`] means.
pub fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<DecodeError>()) {
        Some(DecodeError::Corrupt(_)) => Failure::Corrupt,
        Some(DecodeError::TooLarge) => Failure::TooLarge,
        None => Failure::Medium,
    }
}

/// The error that a decoder itself makes.
#[derive(Debug)]
pub enum DecodeError {
    Corrupt(String),
    TooLarge,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Corrupt(why) => write!(f, "the compressed data is broken: {why}"),
            DecodeError::TooLarge => f.write_str("the compressed data grows beyond every measure"),
        }
    }
}

impl Error for DecodeError {}

/// Decodes what `reader` gives. [`Encoding::Plain`] and [`Encoding::Crypted`] pass through as they are.
pub fn decoder<'a>(encoding: Encoding, reader: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    if matches!(encoding, Encoding::Plain | Encoding::Crypted) {
        return Ok(reader);
    }
    let progress = Rc::new(Progress::default());
    let source = BufReader::new(Source { reader, progress: Rc::clone(&progress) });
    let decoder: Box<dyn Read + 'a> = match encoding {
        Encoding::Plain | Encoding::Crypted => Box::new(source),
        Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Encoding::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Encoding::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Encoding::Lz4 => Box::new(lz4::Frames::new(source)),
        Encoding::Lz4Dovecot => Box::new(lz4::Container::new(source)),
        Encoding::Sdbox => Box::new(sdbox::frame::Content::new(source)),
    };
    Ok(Box::new(Limited { decoder, progress, delivered: 0, ended: None }))
}

/// Encodes what `reader` gives, as the server would have.
pub fn encode(encoding: Encoding, reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<()> {
    match encoding {
        Encoding::Plain | Encoding::Crypted => io::copy(reader, writer).map(drop),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(writer, flate2::Compression::default());
            io::copy(reader, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Encoding::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(writer, bzip2::Compression::default());
            io::copy(reader, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Encoding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            // Without it a flipped bit in a literal would decode to other text in silence.
            encoder.include_checksum(true)?;
            io::copy(reader, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Encoding::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(writer, 6);
            io::copy(reader, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Encoding::Lz4 => lz4::encode_frame(reader, writer),
        Encoding::Lz4Dovecot => lz4::encode_container(reader, writer),
        // Date and GUID in the frame are not ours to make up.
        Encoding::Sdbox => Err(io::Error::new(io::ErrorKind::Unsupported, "no frame can be made around a message")),
    }
}

/// What the reader below did, shared with the guard above the decoder.
#[derive(Debug, Default)]
struct Progress {
    consumed: Cell<u64>,
    failed: Cell<bool>,
}

/// The reader below the decoder, watched.
struct Source<'a> {
    reader: Box<dyn Read + 'a>,
    progress: Rc<Progress>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        match &result {
            Ok(count) => self.progress.consumed.set(self.progress.consumed.get() + *count as u64),
            Err(_) => self.progress.failed.set(true),
        }
        result
    }
}

/// Refuses output beyond all measure, and names whose fault an error is.
struct Limited<'a> {
    decoder: Box<dyn Read + 'a>,
    progress: Rc<Progress>,
    delivered: u64,
    /// How the stream ended, once it did: with its end, or with an error that is repeated.
    ended: Option<Ending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Corrupt,
    TooLarge,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ended {
            _ if buffer.is_empty() => return Ok(0),
            Some(Ending::Whole) => return Ok(0),
            Some(Ending::Corrupt) => return Err(corrupt("it broke off before")),
            Some(Ending::TooLarge) => return Err(too_large()),
            None => {}
        }
        match self.decoder.read(buffer) {
            Ok(0) => {
                self.ended = Some(Ending::Whole);
                Ok(0)
            }
            Ok(count) => {
                self.delivered += count as u64;
                let grown = self.progress.consumed.get().saturating_mul(DECODED_RATIO).saturating_add(WINDOW as u64);
                if self.delivered > DECODED_MAX.min(grown) {
                    self.ended = Some(Ending::TooLarge);
                    return Err(too_large());
                }
                Ok(count)
            }
            Err(error) if self.progress.failed.replace(false) => Err(error),
            Err(error) => {
                let large = wants_memory(&error);
                self.ended = Some(if large { Ending::TooLarge } else { Ending::Corrupt });
                Err(if large { too_large() } else { corrupt(&error.to_string()) })
            }
        }
    }
}

/// Whether a decoder refused for want of the memory that we allow.
fn wants_memory(error: &io::Error) -> bool {
    let xz = error.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
    matches!(xz, Some(liblzma::stream::Error::MemLimit | liblzma::stream::Error::Mem))
        || error.kind() == io::ErrorKind::OutOfMemory
        || error.to_string().contains("too much memory")
}

fn corrupt(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, DecodeError::Corrupt(why.to_owned()))
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, DecodeError::TooLarge)
}

/// Whether nothing is left to read.
pub(super) fn at_end(reader: &mut impl BufRead) -> io::Result<bool> {
    Ok(reader.fill_buf()?.is_empty())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
