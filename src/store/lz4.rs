//! lz4, in its own frames and in Dovecot's container, which is no frame: the magic, the largest chunk (four
//! bytes, big-endian), then chunks, each the length of its compressed form (likewise) and one lz4 block.
//!
//! The container has no end mark: one that was cut exactly between two chunks cannot be told from a whole
//! one here; the size in the file's name can.

use super::codec::at_end;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};
use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;

/// First bytes of Dovecot's container.
pub(super) const MAGIC: &[u8] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";
/// What Dovecot writes at a time, and the most that it reads at a time. Bytes.
const CHUNK: usize = 64 << 10;
const CHUNK_MAX: usize = 1 << 20;

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// One or more lz4 frames.
pub(super) struct Frames<R: BufRead> {
    decoder: FrameDecoder<Watched<R>>,
    hungry: Rc<Cell<bool>>,
}

/// Tells whether the decoder below asked for bytes that were not there: it takes a missing end mark for the
/// end and says nothing.
struct Watched<R> {
    reader: R,
    hungry: Rc<Cell<bool>>,
}

impl<R: BufRead> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.hungry.set(true);
        }
        Ok(count)
    }
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(reader: R) -> Frames<R> {
        let hungry = Rc::new(Cell::new(false));
        Frames { decoder: FrameDecoder::new(Watched { reader, hungry: Rc::clone(&hungry) }), hungry }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(buffer)?;
            if self.hungry.get() {
                return Err(broken("the lz4 frame breaks off"));
            }
            // A frame ended. Another may follow; anything else is refused as a wrong magic.
            if count > 0 || buffer.is_empty() || at_end(&mut self.decoder.get_mut().reader)? {
                return Ok(count);
            }
        }
    }
}

/// Dovecot's container.
pub(super) struct Container<R: BufRead> {
    reader: R,
    limit: Option<usize>,
    compressed: Vec<u8>,
    chunk: Vec<u8>,
    at: usize,
    length: usize,
}

impl<R: BufRead> Container<R> {
    pub(super) fn new(reader: R) -> Container<R> {
        Container { reader, limit: None, compressed: Vec::new(), chunk: Vec::new(), at: 0, length: 0 }
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| broken("an impossible length"))
    }

    fn open(&mut self) -> io::Result<usize> {
        let mut magic = [0; MAGIC.len()];
        self.reader.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(broken("no Dovecot-LZ4 container"));
        }
        let limit = self.number()?;
        if limit == 0 || limit > CHUNK_MAX {
            return Err(broken("an impossible chunk size"));
        }
        self.chunk = vec![0; limit];
        self.limit = Some(limit);
        Ok(limit)
    }

    /// Decodes the next chunk; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let limit = self.limit.map_or_else(|| self.open(), Ok)?;
        if at_end(&mut self.reader)? {
            return Ok(false);
        }
        let length = self.number()?;
        if length == 0 || length > get_maximum_output_size(limit) {
            return Err(broken("an impossible chunk length"));
        }
        self.compressed.resize(length, 0);
        self.reader.read_exact(&mut self.compressed)?;
        self.length = decompress_into(&self.compressed, &mut self.chunk).map_err(|e| broken(&e.to_string()))?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: BufRead> Read for Container<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.length {
            if !self.next()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.length - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

pub(super) fn encode_frame(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<()> {
    let info = FrameInfo::new().content_checksum(true).block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(info, writer);
    io::copy(reader, &mut encoder)?;
    encoder.finish().map(drop).map_err(io::Error::from)
}

pub(super) fn encode_container(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<()> {
    writer.write_all(MAGIC)?;
    writer.write_all(&(CHUNK as u32).to_be_bytes())?;
    let mut compressed = vec![0; get_maximum_output_size(CHUNK)];
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        reader.take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let length = compress_into(&chunk, &mut compressed).map_err(io::Error::other)?;
        writer.write_all(&(length as u32).to_be_bytes())?;
        writer.write_all(&compressed[..length])?;
    }
}
