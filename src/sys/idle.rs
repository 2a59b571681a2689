//! The idle I/O class: the disk is had when nobody else wants it.
//!
//! A wish that the disk's scheduler may ignore: bfq heeds it, mq-deadline since Linux 5.14, `none` never.

use super::raw;
use std::io;

/// Puts this thread, and those that it starts from now on, into the idle class.
///
/// # Errors
/// Where the kernel, or this program for its architecture, does not know the call.
pub fn idle_io() -> io::Result<()> {
    raw::ioprio_set_idle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_taken_over_by_new_threads() {
        // In a thread of its own: there is no need to leave the test's threads in that class.
        let class = std::thread::spawn(|| {
            idle_io().map(|()| std::thread::spawn(raw::ioprio_get_class).join().unwrap().unwrap())
        });
        match class.join().unwrap() {
            Ok(class) => assert_eq!(class, 3),
            Err(error) => eprintln!("NOT TESTED: no I/O classes here: {error}"),
        }
    }
}
