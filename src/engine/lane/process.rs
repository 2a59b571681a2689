//! The lane process itself: started, asked where it stands, and left behind.
//!
//! May not wait for a process that hangs.

use super::{Settings, frame, serve};
use crate::model::limits::READS_IN_FLIGHT;
use crate::model::wire::Answer;
use crate::sys::slots::Slots;
use crossbeam_channel::{Receiver, bounded};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::{io, thread};

/// The process (or thread), its socket and its slots.
pub(super) struct Running {
    pub child: Option<Child>,
    pub socket: UnixStream,
    pub answers: Receiver<io::Result<Answer>>,
    pub slots: Slots,
}

impl Running {
    pub fn start(settings: &Settings) -> io::Result<Running> {
        let (socket, theirs) = UnixStream::pair()?;
        let slots = Slots::create(settings.readers.max(1))?;
        let child = if settings.in_process {
            let slots = Slots::from_fd(slots.as_fd().try_clone_to_owned()?)?;
            thread::Builder::new().name("lane".to_owned()).spawn(move || serve::serve(theirs, slots))?;
            None
        } else {
            Some(spawn(theirs.into(), slots.as_fd().try_clone_to_owned()?)?)
        };
        // Bounded: a lane that produces faster than the parent records waits in its own socket.
        let (sender, answers) = bounded(2 * READS_IN_FLIGHT);
        let mut reading = socket.try_clone()?;
        thread::Builder::new().name("lane-answers".to_owned()).spawn(move || {
            let mut buffer = Vec::new();
            loop {
                match frame::read::<Answer>(&mut reading, &mut buffer) {
                    Ok(None) => return,
                    Ok(Some(answer)) => {
                        if sender.send(Ok(answer)).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        drop(sender.send(Err(error)));
                        return;
                    }
                }
            }
        })?;
        Ok(Running { child, socket, answers, slots })
    }

    /// What each reader has in hand, and how far it is.
    pub fn seats(&self) -> Vec<(u64, u64)> {
        (0..self.slots.workers()).map(|w| self.slots.get(w).unwrap_or_default()).collect()
    }

    /// Kills the process and does not wait for it: one that hangs in the kernel cannot end.
    pub fn leave(mut self) {
        self.socket.shutdown(std::net::Shutdown::Both).ok();
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            // Reaped by a thread of its own, which dies with us if the kernel never lets the child go.
            thread::spawn(move || child.wait().ok());
        }
    }

    /// Why a process that hung up did so.
    pub fn farewell(mut self) -> String {
        match self.child.take().map(|mut child| child.wait()) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "its thread ended".to_owned(),
        }
    }
}

/// Starts this program again as a lane: its socket as standard input, its slots as standard output, no
/// terminal, no environment, a process group of its own so that Ctrl-C reaches the parent alone.
fn spawn(socket: OwnedFd, slots: OwnedFd) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    // Ours are closed on execution; what a careless shell or service left open is not. Before Linux 5.11 it stays.
    crate::sys::sandbox::inherit_nothing().ok();
    Command::new("/proc/self/exe")
        .arg("lane")
        .env_clear()
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(slots))
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The whole life of a lane process.
///
/// # Errors
/// The socket's.
pub fn lane_main() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let slots = Slots::from_fd(io::stdout().as_fd().try_clone_to_owned()?)?;
    serve::serve(socket, slots)
}
