//! Frames between parent and lane: a little-endian u32 length, then a postcard record.

use crate::model::limits::FRAME_MAX;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Writes one record.
pub fn write(stream: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    let mut frame = postcard::to_extend(record, vec![0; 4]).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "record too large for a frame"));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    stream.write_all(&frame)
}

/// Reads one record; `None` at the end of the stream. A lane is not trusted: a length beyond the limit is an error.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame longer than the limit"));
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer)?;
    postcard::from_bytes(buffer).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_end_and_crafted_length() {
        let mut bytes = Vec::new();
        write(&mut bytes, &(7u32, "x".to_owned())).unwrap();
        let (mut stream, mut buffer) = (&bytes[..], Vec::new());
        assert_eq!(read::<(u32, String)>(&mut stream, &mut buffer).unwrap(), Some((7, "x".to_owned())));
        assert_eq!(read::<(u32, String)>(&mut stream, &mut buffer).unwrap(), None);
        let mut crafted = &u32::MAX.to_le_bytes()[..];
        assert!(read::<u32>(&mut crafted, &mut buffer).is_err());
        let mut rubbish = &[3, 0, 0, 0, 0xff, 0xff, 0xff][..];
        assert!(read::<(u32, String)>(&mut rubbish, &mut buffer).is_err());
    }
}
