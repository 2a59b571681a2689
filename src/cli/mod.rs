//! The command line: arguments, settings, screens, one file per command.
//!
//! The only module that knows a terminal, the environment and the configuration file.

pub mod args;
pub mod complete;
pub mod config;
pub mod config_file;
pub mod man;
pub mod screen;
pub mod values;
