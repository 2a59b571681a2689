use super::*;

const ALL: [Encoding; 6] =
    [Encoding::Gzip, Encoding::Zstd, Encoding::Bzip2, Encoding::Xz, Encoding::Lz4, Encoding::Lz4Dovecot];

fn text(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| b"abcdefghij \n"[rng.usize(..12)]).collect()
}

fn encoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(encoding, &mut &bytes[..], &mut out).unwrap();
    out
}

fn decoded(encoding: Encoding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decoder(encoding, Box::new(bytes))?.read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn every_encoding_round_trips_and_is_recognised() {
    for encoding in ALL {
        for length in [1, 100, 65_536, 300_000] {
            let bytes = text(length);
            let stored = encoded(encoding, &bytes);
            assert_eq!(detect(&stored[..stored.len().min(DETECT)]), encoding);
            assert_eq!(decoded(encoding, &stored).unwrap(), bytes, "{encoding:?} {length}");
        }
    }
    assert_eq!(detect(b"BZh: a header field"), Encoding::Plain);
    assert_eq!(detect(b"CRYPTED\x03\x07..."), Encoding::Crypted);
    assert_eq!(detect(b""), Encoding::Plain);
}

#[test]
fn an_empty_message_round_trips() {
    for encoding in ALL {
        assert_eq!(decoded(encoding, &encoded(encoding, b"")).unwrap(), b"", "{encoding:?}");
    }
}

#[test]
fn cut_anywhere_it_is_corrupt() {
    for encoding in ALL {
        let stored = encoded(encoding, &text(1500));
        // A cut right behind the container's head leaves a container of nothing.
        let empty_container = |cut| encoding == Encoding::Lz4Dovecot && cut == lz4::MAGIC.len() + 4;
        for cut in (1..stored.len()).filter(|&cut| !empty_container(cut)) {
            let error = decoded(encoding, &stored[..cut]).unwrap_err();
            assert_eq!(failure(&error), Failure::Corrupt, "{encoding:?} cut at {cut}: {error}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_corrupt() {
    for encoding in ALL {
        for tail in [&b"x"[..], b"garbage behind the end", b"\0\0\0\0\0"] {
            let stored = [&encoded(encoding, &text(700)), tail].concat();
            let error = decoded(encoding, &stored).unwrap_err();
            assert_eq!(failure(&error), Failure::Corrupt, "{encoding:?} {tail:?}");
        }
    }
}

#[test]
fn concatenated_streams_decode_to_all_of_them() {
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Bzip2, Encoding::Xz, Encoding::Lz4] {
        let stored = [encoded(encoding, b"one "), encoded(encoding, b"two")].concat();
        assert_eq!(decoded(encoding, &stored).unwrap(), b"one two", "{encoding:?}");
    }
}

#[test]
fn a_flipped_bit_never_decodes_to_other_text() {
    // Dovecot's container has no checksum at all.
    for encoding in ALL.into_iter().filter(|&encoding| encoding != Encoding::Lz4Dovecot) {
        let bytes = text(900);
        let stored = encoded(encoding, &bytes);
        for at in 0..stored.len() {
            let mut broken = stored.clone();
            broken[at] ^= 0x10;
            if let Ok(out) = decoded(encoding, &broken) {
                assert!(out == bytes, "{encoding:?}: byte {at}");
            }
        }
    }
}

#[test]
fn a_bomb_is_too_large_and_not_corrupt() {
    let zeros = vec![0; 8 << 20];
    for encoding in [Encoding::Zstd, Encoding::Bzip2, Encoding::Xz] {
        let error = decoded(encoding, &encoded(encoding, &zeros)).unwrap_err();
        assert_eq!(failure(&error), Failure::TooLarge, "{encoding:?}: {error}");
    }
}

/// Gives its bytes, then an error of the disk.
struct SickDisk<'a>(&'a [u8]);

impl Read for SickDisk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::from_raw_os_error(5)) } else { self.0.read(buffer) }
    }
}

#[test]
fn an_error_of_the_medium_passes_through() {
    for encoding in ALL {
        let stored = encoded(encoding, &text(5000));
        for cut in [0, 2, 10, stored.len() / 2, stored.len() - 1] {
            let mut reader = decoder(encoding, Box::new(SickDisk(&stored[..cut]))).unwrap();
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{encoding:?} {cut}: {error}");
            assert_eq!(failure(&error), Failure::Medium);
        }
    }
}

#[test]
fn an_error_stays_an_error_when_asked_again() {
    let stored = encoded(Encoding::Gzip, &text(900));
    let mut reader = decoder(Encoding::Gzip, Box::new(&stored[..stored.len() - 3])).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
    assert!(reader.read(&mut [0; 8]).is_err());
}
