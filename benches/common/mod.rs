//! What the benchmarks that run the binary share: their command line, and a machine that remembers no file.

use std::process::Command;

/// What was asked for.
pub struct Options {
    pub messages: usize,
    pub cold: bool,
}

impl Options {
    /// From the command line; so many messages where it does not say.
    pub fn of_command_line(messages: usize) -> Options {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let number = words.iter().position(|word| word == "--messages").and_then(|at| words.get(at + 1)?.parse().ok());
        Options { messages: number.unwrap_or(messages), cold: words.iter().any(|word| word == "--cold") }
    }
}

/// Drops what the kernel remembers of all file systems.
pub fn forget() {
    assert!(Command::new("sync").status().is_ok_and(|status| status.success()));
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("--cold needs root");
}
