//! What each worker of a lane has in hand, where the parent can see it when the lane hangs in the kernel.
//!
//! A few bytes of shared memory behind a descriptor: a worker writes by one system call, wakes nobody and
//! cannot block. May not be used for anything that must be consistent: a reader may meet a record half new.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Bytes of one worker's record: two little-endian u64.
const RECORD: usize = 16;
/// More workers than any device is given.
const WORKERS_MAX: usize = 4096;

/// One record for each worker: the item in hand and how far it came.
#[derive(Debug)]
pub struct Slots {
    file: File,
    workers: usize,
}

impl Slots {
    /// New records, all zero.
    pub fn create(workers: usize) -> io::Result<Slots> {
        if workers == 0 || workers > WORKERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "number of workers out of range"));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create("mailmend-slots", flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3.
            Err(Errno::INVAL) => rustix::fs::memfd_create("mailmend-slots", flags)?,
            result => result?,
        };
        rustix::fs::ftruncate(&fd, (workers * RECORD) as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(Slots { file: File::from(fd), workers })
    }

    /// The same records, from an inherited descriptor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Slots> {
        let file = File::from(fd);
        let metadata = file.metadata()?;
        let workers = usize::try_from(metadata.len()).unwrap_or(usize::MAX) / RECORD;
        if !metadata.is_file() || workers == 0 || workers > WORKERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the shared memory that was expected"));
        }
        Ok(Slots { file, workers })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Records that `worker` has `item` in hand and came as far as `progress`.
    pub fn set(&self, worker: usize, item: u64, progress: u64) -> io::Result<()> {
        let record: Vec<u8> = [item.to_le_bytes(), progress.to_le_bytes()].concat();
        self.file.write_all_at(&record, self.offset(worker)?)
    }

    /// What `worker` recorded last.
    pub fn get(&self, worker: usize) -> io::Result<(u64, u64)> {
        let (mut item, mut progress) = ([0; 8], [0; 8]);
        let mut record = [0; RECORD];
        self.file.read_exact_at(&mut record, self.offset(worker)?)?;
        item.copy_from_slice(&record[..8]);
        progress.copy_from_slice(&record[8..]);
        Ok((u64::from_le_bytes(item), u64::from_le_bytes(progress)))
    }

    fn offset(&self, worker: usize) -> io::Result<u64> {
        match worker < self.workers {
            true => Ok((worker * RECORD) as u64),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "no such worker")),
        }
    }
}

impl AsFd for Slots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use std::os::fd::AsFd;

    #[test]
    fn both_ends_see_the_same_records() {
        let parent = Slots::create(3).unwrap();
        let lane = Slots::from_fd(parent.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((lane.workers(), parent.get(2).unwrap()), (3, (0, 0)));
        lane.set(2, u64::MAX, 7).unwrap();
        lane.set(0, 1, 2).unwrap();
        assert_eq!((parent.get(2).unwrap(), parent.get(0).unwrap()), ((u64::MAX, 7), (1, 2)));
        assert!(lane.set(3, 1, 1).is_err() && parent.get(3).is_err());
        assert!(Slots::create(0).is_err());
    }

    #[test]
    fn a_foreign_descriptor_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(Slots::from_fd(file.into()).is_err());
    }
}
