//! Completion scripts, from the same definitions as the help.
//!
//! Only renders; the script is returned, not written.

use super::args;
use clap_complete::Shell;

/// The script for `shell`.
pub fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "mailmend", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_gets_a_script_with_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for name in ["audit", "repair", "undo", "quarantine", "purge", "--save-plan"] {
                // Fish and others write long options without their dashes.
                assert!(script.contains(name.trim_start_matches('-')), "{shell}: {name}");
            }
        }
    }
}
