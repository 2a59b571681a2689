//! Copies in another format than the mailbox that they may heal: read, judged and sent as the target's server would have
//! stored them.
//!
//! Runs in the lane only, on files that are open already.

use super::examine::{Pass, Subject};
use crate::model::evidence::{Check, Fault, FaultKind};
use crate::model::form::{Form, Marks};
use crate::model::limits::WINDOW;
use crate::model::{CopyFacts, Encoding, Span};
use crate::read::Sequential;
use crate::store::{codec, sdbox};
use crate::verify::BodyProof;
use crate::verify::checks::{Checks, Claims};
use crate::verify::convert::Converting;
use crate::verify::hashing::Hashing;
use std::io::{self, Read, Write};

/// Reads a copy that is stored as `encoding` and judges what it becomes. Sizes that its own format claims are those of
/// other bytes, and say nothing here.
pub fn copy(subject: &Subject<'_>, encoding: Encoding, buffer: &mut [u8]) -> io::Result<CopyFacts> {
    let (mut raw, medium) = (|_: &[u8]| (), subject.medium());
    let decoder = codec::decoder(encoding, Box::new(Sequential::new(&*medium, subject.stat.size, &mut raw)))?;
    let mut reader = Converting::new(&subject.item.form, decoder);
    let (mut hashing, mut checks, mut proof) = (Hashing::new(), Checks::new(Claims::default()), BodyProof::new());
    let mut progress = 0;
    let broken = loop {
        progress += 1;
        (subject.reader.tick)(progress);
        match reader.read(&mut buffer[..WINDOW]) {
            Ok(0) => break None,
            Ok(got) => {
                hashing.feed(&buffer[..got]);
                checks.feed(&buffer[..got]);
                proof.feed(&buffer[..got]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    let (mut evidence, envelope) = checks.finish();
    proof.finish().into_iter().for_each(|signed| evidence.sign(signed));
    let whole = broken.is_none();
    if let Some(error) = broken {
        // Whatever it was: only a whole copy can be turned into another form.
        let span = Span::new(0, subject.stat.size);
        evidence.blame(Fault { check: Check::Read, kind: FaultKind::ReadError, span, errno: error.raw_os_error() });
    }
    let hashes = hashing.finish();
    let pass = Pass {
        length: hashes.length,
        holes: !whole,
        digest: whole.then_some(hashes.digest),
        canonical: hashes.canonical.filter(|_| whole),
        stored: None,
        groups: Vec::new(),
        evidence: Some(evidence),
        envelope,
    };
    Ok(subject.judged(pass, encoding))
}

/// Sizes of a message: as it is, and with every line end as CRLF.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    length: u64,
    crlf: u64,
}

/// Measures what a reader gives.
fn measure(reader: &mut dyn Read) -> io::Result<Sizes> {
    let (mut sizes, mut buffer, mut last) = (Sizes::default(), vec![0; WINDOW], 0);
    loop {
        let got = match reader.read(&mut buffer) {
            Ok(0) => return Ok(sizes),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sizes.length += got as u64;
        for &byte in &buffer[..got] {
            sizes.crlf += 1 + u64::from(byte == b'\n' && last != b'\r');
            last = byte;
        }
    }
}

/// Hashes the message that `make` gives, and sends it as it is to be stored.
pub fn deliver<'a>(
    make: &dyn Fn() -> io::Result<Box<dyn Read + 'a>>,
    (form, wanted): (&Form, Encoding),
    hashing: &mut Hashing,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let sizes = form.frame.as_ref().map(|_| measure(&mut make()?)).transpose()?;
    let mut hashed = Hashed { inner: make()?, hashing };
    match form.frame.as_ref().zip(sizes) {
        Some((marks, sizes)) => framed(marks, sizes, &mut hashed, &mut Sending(sink)),
        None => codec::encode(wanted, &mut hashed, &mut Sending(sink)),
    }
}

/// Hashes what passes.
struct Hashed<'a, 'h> {
    inner: Box<dyn Read + 'a>,
    hashing: &'h mut Hashing,
}

impl Read for Hashed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hashing.feed(&buffer[..got]);
        Ok(got)
    }
}

/// A writer whose bytes go to the parent.
struct Sending<'a>(&'a mut dyn FnMut(&[u8]) -> io::Result<()>);

impl Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.chunks(WINDOW) {
            (self.0)(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a frame of sdbox around what a reader gives, which must be of these sizes.
fn framed(marks: &Marks, sizes: Sizes, reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<()> {
    let (head, tail) = sdbox::frame::around(marks, sizes.length, sizes.crlf)?;
    writer.write_all(&head)?;
    if io::copy(reader, writer)? != sizes.length {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "changed while it was read"));
    }
    writer.write_all(&tail)
}

/// Whether a copy in this form is sent as it is stored.
pub fn is_stored_so(form: &Form, stored_as: Encoding, wanted: Encoding) -> bool {
    wanted == stored_as && form.is_kept()
}
