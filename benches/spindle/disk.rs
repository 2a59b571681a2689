//! A disk with an arm: an NBD server over an image that takes as long as a spinning disk would.
//!
//! One arm. A request elsewhere than where the arm stands costs 1.5 ms + 8 ms times the root of the way (as a share of the
//! disk) + 4.15 ms for half a turn; 180 MB/s pass below it. Of requests that wait, the nearest is served first, as disks do.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const OPTION_REPLY: u64 = 0x0003_E889_0455_65A9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const GO: u32 = 7;

/// Serves `image` on a socket at `path` for as long as the process lives.
pub fn serve(image: &Path, path: &Path) -> io::Result<()> {
    let (image, listener) = (File::open(image)?, UnixListener::bind(path)?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(image) = image.try_clone() else { return };
            thread::spawn(move || one(stream, image));
        }
    });
    Ok(())
}

/// Times that the arm moved, and microseconds for which the disk was busy.
pub static MOVES: AtomicU64 = AtomicU64::new(0);
pub static BUSY: AtomicU64 = AtomicU64::new(0);

struct Asked {
    cookie: u64,
    offset: u64,
    length: u32,
}

fn one(mut stream: UnixStream, image: File) -> io::Result<()> {
    let size = image.metadata()?.len();
    if !handshake(&mut stream, size)? {
        return Ok(());
    }
    let (sender, asked) = channel();
    let out = stream.try_clone()?;
    let arm = thread::spawn(move || arm(&asked, image, size, out));
    loop {
        let mut head = [0; 28];
        stream.read_exact(&mut head)?;
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let length = u32::from_be_bytes(head[24..28].try_into().unwrap_or_default());
        let magic = u32::from_be_bytes(head[..4].try_into().unwrap_or_default());
        match (magic, head[7]) {
            (REQUEST, 0) => drop(sender.send(Asked { cookie: number(8), offset: number(16), length })),
            _ => break,
        }
    }
    drop(sender);
    arm.join().unwrap_or(Ok(()))
}

/// Moves, reads and answers until nobody asks any more.
fn arm(asked: &Receiver<Asked>, image: File, size: u64, mut out: UnixStream) -> io::Result<()> {
    let (mut waiting, mut head, mut free_at) = (Vec::<Asked>::new(), 0u64, Instant::now());
    loop {
        if waiting.is_empty() {
            let Ok(first) = asked.recv() else { return Ok(()) };
            waiting.push(first);
        }
        while let Ok(more) = asked.try_recv() {
            waiting.push(more);
        }
        let nearest = (0..waiting.len()).min_by_key(|&n| waiting[n].offset.abs_diff(head)).unwrap_or(0);
        let Asked { cookie, offset, length } = waiting.swap_remove(nearest);
        let mut took = f64::from(length) / 180e6;
        if offset != head {
            took += 1.5e-3 + 8e-3 * (offset.abs_diff(head) as f64 / size as f64).sqrt() + 4.15e-3;
        }
        MOVES.fetch_add(u64::from(offset != head), Relaxed);
        BUSY.fetch_add((took * 1e6) as u64, Relaxed);
        head = offset + u64::from(length);
        let mut reply = vec![0; 16 + length as usize];
        reply[..4].copy_from_slice(&REPLY.to_be_bytes());
        reply[8..16].copy_from_slice(&cookie.to_be_bytes());
        if image.read_exact_at(&mut reply[16..], offset).is_err() {
            reply.truncate(16);
            reply[7] = 5;
        }
        free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(took);
        thread::sleep(free_at.saturating_duration_since(Instant::now()));
        out.write_all(&reply)?;
    }
}

/// Fixed newstyle negotiation; false where the client only wanted to look.
fn handshake(stream: &mut UnixStream, size: u64) -> io::Result<bool> {
    stream.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
    stream.read_exact(&mut [0; 4])?;
    // Read-only.
    let about = [&size.to_be_bytes()[..], &[0, 3]].concat();
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap_or_default());
        if head[..8] != OPTION_MAGIC.to_be_bytes() {
            return Ok(false);
        }
        let (option, length) = (number(8), number(12));
        stream.read_exact(&mut vec![0; length as usize])?;
        let mut reply = |kind: u32, data: &[u8]| {
            let head = [&OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()].concat();
            stream.write_all(&[&head[..], &(data.len() as u32).to_be_bytes(), data].concat())
        };
        match option {
            EXPORT_NAME => {
                stream.write_all(&about)?;
                return Ok(true);
            }
            INFO | GO => {
                reply(3, &[&[0, 0][..], &about].concat())?;
                reply(1, &[])?;
                if option == GO {
                    return Ok(true);
                }
            }
            ABORT => {
                reply(1, &[])?;
                return Ok(false);
            }
            _ => reply(0x8000_0001, &[])?,
        }
    }
}
