//! What each worker of a lane has in hand, where the parent can see it when the lane hangs in the kernel.
//!
//! A few bytes of shared memory behind a descriptor: a worker writes without a system call, wakes nobody and
//! cannot block. May not be used for anything that must be consistent: a reader may meet a record half new.

use super::raw::{self, Shared};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

/// Numbers of one worker's record.
const RECORD: usize = 2;
/// More workers than any device is given.
const WORKERS_MAX: usize = 4096;

/// One record for each worker: the item in hand and how far it came.
#[derive(Debug)]
pub struct Slots {
    file: File,
    numbers: Shared,
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
        rustix::fs::ftruncate(&fd, (workers * RECORD * size_of::<u64>()) as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
        let numbers = raw::share(fd.as_fd(), workers * RECORD)?;
        Ok(Slots { file: File::from(fd), numbers })
    }

    /// The same records, from an inherited descriptor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Slots> {
        let file = File::from(fd);
        let metadata = file.metadata()?;
        let workers = usize::try_from(metadata.len()).unwrap_or(usize::MAX) / (RECORD * size_of::<u64>());
        if !metadata.is_file() || workers == 0 || workers > WORKERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the shared memory that was expected"));
        }
        let numbers = raw::share(file.as_fd(), workers * RECORD)?;
        Ok(Slots { file, numbers })
    }

    pub fn workers(&self) -> usize {
        self.numbers.len() / RECORD
    }

    /// Records that `worker` has `item` in hand and came as far as `progress`.
    pub fn set(&self, worker: usize, item: u64, progress: u64) -> io::Result<()> {
        let at = self.place(worker)?;
        self.numbers[at].store(item, Relaxed);
        self.numbers[at + 1].store(progress, Relaxed);
        Ok(())
    }

    /// What `worker` recorded last.
    pub fn get(&self, worker: usize) -> io::Result<(u64, u64)> {
        let at = self.place(worker)?;
        Ok((self.numbers[at].load(Relaxed), self.numbers[at + 1].load(Relaxed)))
    }

    fn place(&self, worker: usize) -> io::Result<usize> {
        match worker < self.workers() {
            true => Ok(worker * RECORD),
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
        // One that may be cut under our hands.
        let unsealed = rustix::fs::memfd_create("of-the-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&unsealed, 64).unwrap();
        assert!(Slots::from_fd(unsealed).is_err());
    }
}
