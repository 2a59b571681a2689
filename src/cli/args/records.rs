//! Options and arguments of the commands that look at what is recorded: status, check, catalog, quarantine, accept.
//!
//! Only describes. May not read files or decide defaults that depend on the machine: that is `config`.

use super::scan::{Select, store_parser};
use crate::cli::values::{Most, Span, StoreArg};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Show what is known: coverage, age, findings, runs, quarantine
///
/// Reads the catalog and the state folder; no store is scanned.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Show these stores only
    #[arg(value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// Write metrics for node_exporter's textfile collector to FILE (*.prom), replacing it at once
    #[arg(long, value_name = "FILE", env = "MAILMEND_METRICS", hide_env_values = true)]
    pub metrics: Option<PathBuf>,
    #[command(flatten)]
    pub select: Select,
}

/// Answer a monitoring system from the records
///
/// Looks at no mail and ends at once. What counts is the time since everything on record was last proven whole and
/// since the last complete verify ended, whichever is longer: a job that hangs or fails every night raises the
/// alarm by that age. A verify of some accounts or mailboxes only is no complete one. Where a verify with --budget leaves
/// something for later nights, the default limits of that age grow by the nights after which the budget has read
/// everything once, at most --max-age of the verify; the last complete verify must still have ended within 36 hours and
/// 3 days. A store that was never verified is UNKNOWN, and CRITICAL once the first try is older than --crit-age.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The stores, by their paths
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// WARNING if the last whole verification is longer ago, such as 90m, 36h, 8d, or 'off' (default: 36h, and where
    /// the verify has a budget, longer by the nights that it takes)
    #[arg(long, value_name = "TIME")]
    pub warn_age: Option<Span>,
    /// CRITICAL if the last whole verification is longer ago (default: 3d, and likewise)
    #[arg(long, value_name = "TIME")]
    pub crit_age: Option<Span>,
    /// WARNING above N damaged or unreadable messages and server files
    #[arg(long, value_name = "N", default_value = "off")]
    pub warn_damaged: Most,
    /// CRITICAL above N damaged or unreadable messages and server files
    #[arg(long, value_name = "N", default_value = "0")]
    pub crit_damaged: Most,
    /// WARNING above N lost messages
    #[arg(long, value_name = "N", default_value = "off")]
    pub warn_lost: Most,
    /// CRITICAL above N lost messages
    #[arg(long, value_name = "N", default_value = "0")]
    pub crit_lost: Most,
    /// WARNING above N messages that are lost or deleted
    #[arg(long, value_name = "N", default_value = "0")]
    pub warn_undecided: Most,
    /// CRITICAL above N messages that are lost or deleted
    #[arg(long, value_name = "N", default_value = "off")]
    pub crit_undecided: Most,
    /// WARNING above N messages, folders and files that the last verify could not check
    #[arg(long, value_name = "N", default_value = "0")]
    pub warn_not_checked: Most,
    /// CRITICAL above N messages, folders and files that the last verify could not check
    #[arg(long, value_name = "N", default_value = "off")]
    pub crit_not_checked: Most,
    /// WARNING above N read errors of the last verify and errors on record for the file system
    #[arg(long, value_name = "N", default_value = "off")]
    pub warn_device_errors: Most,
    /// CRITICAL above N read errors of the last verify and errors on record for the file system
    #[arg(long, value_name = "N", default_value = "0")]
    pub crit_device_errors: Most,
}

/// How many copies of the catalog are kept.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Backups {
    /// Keep N copies of the catalog beside it (default: 3; 0: a verify makes none)
    #[arg(long, value_name = "N", env = "MAILMEND_BACKUPS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub backups: Option<u16>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum CatalogCommand {
    /// Print the whole catalog as JSON lines, or as a check file for b3sum
    Export {
        /// With --b3sum: the store (default: the only one on record)
        #[arg(value_name = "STORE", value_parser = store_parser(), requires = "b3sum")]
        store: Option<StoreArg>,
        /// Print the digests of the files as they are stored, under their paths below STORE
        #[arg(long)]
        b3sum: bool,
    },
    /// Take in the lines of an export
    ///
    /// Adds what is not on record. A recorded digest is never replaced by another: such messages are named, and the
    /// exit status is 8. Lines that are damaged or cut short are refused as a whole.
    Import {
        /// The file; '-' is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Copy the catalog beside itself, and let the oldest copy go
    ///
    /// A catalog that has lost digests since the newest copy is not copied: it would push out those that have them.
    Backup(Backups),
    /// Check the catalog: its structure, every row, and that no digest was lost since the newest copy
    ///
    /// Exit status 0: sound; 1: it was damaged and has been rebuilt; 4: it is damaged; 8: it could not be checked.
    Check {
        /// Put the newest sound copy in the place of a damaged catalog, which is kept under another name
        #[arg(long)]
        repair: bool,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum Quarantine {
    /// List the runs that moved something aside, with size and age
    List,
    /// Show what one run moved aside
    Show {
        /// The run
        #[arg(value_name = "RUN", value_parser = crate::cli::values::run_id)]
        run: String,
    },
    /// Copy what one run moved aside to a folder
    Export {
        /// The run
        #[arg(value_name = "RUN", value_parser = crate::cli::values::run_id)]
        run: String,
        /// The folder to copy to, which must not exist or be empty
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
    /// Remove for good what runs moved aside
    ///
    /// Prints what it would remove, unless --apply is given. The last known whole copy of a message is never
    /// removed. An undo can no longer bring back what was purged.
    Purge(Purge),
}

#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["run", "older_than"])))]
pub struct Purge {
    /// The run
    #[arg(value_name = "RUN", value_parser = crate::cli::values::run_id)]
    pub run: Option<String>,
    /// Every run that ended more than DAYS days ago
    #[arg(long, value_name = "DAYS")]
    pub older_than: Option<u32>,
    /// Remove; without it nothing changes
    #[arg(long)]
    pub apply: bool,
}

/// Record that a loss is final
///
/// Accepted losses set no exit status any more and stay visible in 'mailmend status', with who, when and why.
/// Nothing in the store changes. Damage that is found anew later counts again.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["run", "account", "key"])))]
pub struct Accept {
    /// Everything that this run found and that was not repaired
    #[arg(value_name = "RUN", value_parser = crate::cli::values::run_id, conflicts_with_all = ["account", "key"])]
    pub run: Option<String>,
    /// Everything that is known to be lost in account A
    #[arg(long, value_name = "A")]
    pub account: Option<String>,
    /// The message with key K
    #[arg(long, value_name = "K")]
    pub key: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}
