//! Options and arguments of the commands that read stores: audit, repair, verify.
//!
//! Only describes. May not read files or decide defaults that depend on the machine: that is `config`.

use super::records::Backups;
use crate::cli::values::{Disk, IoClass, Owner, Rate, ReadFrom, Span, Spec, StoreArg, Undecided};
use crate::model::Stamp;
use crate::plan::budget::Budget;
use crate::source::layout::Layout;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::path::PathBuf;

/// Which part of a store is looked at.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct Select {
    /// Only accounts whose name matches GLOB
    #[arg(long, value_name = "GLOB", env = "MAILMEND_ACCOUNTS", hide_env_values = true)]
    pub accounts: Vec<String>,
    /// Only the accounts that FILE lists, one a line, '#' for comments
    #[arg(long, value_name = "FILE", env = "MAILMEND_ACCOUNTS_FILE", hide_env_values = true)]
    pub accounts_file: Option<PathBuf>,
    /// Only mailboxes whose name matches GLOB
    #[arg(long, value_name = "GLOB", env = "MAILMEND_MAILBOX", hide_env_values = true)]
    pub mailbox: Vec<String>,
    /// Only messages received since DATE (2026-03-01, or an RFC 3339 time; UTC unless it says otherwise)
    #[arg(long, value_name = "DATE", env = "MAILMEND_SINCE", hide_env_values = true)]
    #[arg(value_parser = crate::cli::values::parse_time)]
    pub since: Option<Stamp>,
}

/// How a store is read.
#[derive(Debug, Clone, Default, Args)]
pub struct Reading {
    /// Give a file up when the disk has not answered for SECONDS
    #[arg(long, value_name = "SECONDS", env = "MAILMEND_READ_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub read_timeout: Option<u32>,
    /// Read at most RATE bytes a second of files, of each device: 20M; units are k, M, G (powers of 1000)
    #[arg(long, value_name = "RATE", env = "MAILMEND_BWLIMIT", hide_env_values = true)]
    pub bwlimit: Option<Rate>,
    /// Take the disks as anybody does, or when nobody else needs them (default: idle for verify, else normal)
    #[arg(long, value_enum, value_name = "CLASS", env = "MAILMEND_IO_CLASS", hide_env_values = true)]
    pub io_class: Option<IoClass>,
    /// Read as suits the disk: flash has several readers, a spindle one that follows the order on it (default: auto, measured)
    #[arg(long, value_enum, value_name = "KIND", env = "MAILMEND_DISK", hide_env_values = true)]
    pub disk: Option<Disk>,
    /// Read messages from the disk past the cache, or through the cache (default: disk for verify, else cache)
    #[arg(long, value_enum, value_name = "WHERE", env = "MAILMEND_READ_FROM", hide_env_values = true)]
    pub read_from: Option<ReadFrom>,
    /// Look for the server's lists and indexes where its mail_location says: maildir:PATH:CONTROL=DIR:INDEX=DIR
    #[arg(long, value_name = "LOCATION", env = "MAILMEND_LAYOUT", hide_env_values = true)]
    #[arg(value_parser = layout_parser)]
    pub layout: Option<Layout>,
    /// Look for attachments that the server keeps apart in DIR, its mail_attachment_dir
    #[arg(long, value_name = "DIR", env = "MAILMEND_ATTACHMENTS", hide_env_values = true)]
    pub attachments: Option<PathBuf>,
}

fn layout_parser(text: &str) -> Result<Layout, String> {
    Layout::parse(text)
}

/// Scan stores, verify every message and report
///
/// Never writes to a store. With sources it also says what can be repaired, from where and how surely.
#[derive(Debug, Clone, Args)]
pub struct Audit {
    /// Mail root, account, or mailbox; FORMAT:PATH forces the format
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// Look for whole copies in [NAME[@TIME]=]LOCATION; repeat it in the order of trust
    #[arg(long, value_name = "SPEC", value_parser = spec_parser())]
    pub from: Vec<Spec>,
    /// Write the plan to FILE, which must not exist
    #[arg(long, value_name = "FILE")]
    pub save_plan: Option<PathBuf>,
    /// Write to FILE, which must not exist, what became of which message: for the letter to the users
    #[arg(long, value_name = "FILE")]
    pub loss_report: Option<PathBuf>,
    /// Say what to plan for messages of which nothing tells whether they were lost or deleted (default: report)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub undecided: Option<Undecided>,
    /// Also judge messages that seem whole, and that the catalog does not know: by the body hashes in their DKIM
    /// and ARC signatures, and by comparing them with the copies in the sources
    #[arg(long)]
    pub deep: bool,
    /// Write metrics for node_exporter's textfile collector to FILE (*.prom), replacing it at once
    #[arg(long, value_name = "FILE", env = "MAILMEND_METRICS", hide_env_values = true)]
    pub metrics: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub select: Select,
}

/// Put back what is damaged or lost, from replicas and backups
///
/// Prints the plan and changes nothing, unless --apply is given. No whole message is ever overwritten; what
/// is replaced goes to quarantine, and 'mailmend undo' puts it back.
#[derive(Debug, Clone, Args)]
pub struct Repair {
    /// Mail root, account, or mailbox; FORMAT:PATH forces the format
    #[arg(value_name = "STORE", value_parser = store_parser())]
    pub store: StoreArg,
    /// Whatever else stands there: kept only to say what is wrong with it.
    #[arg(hide = true, value_name = "EXTRA")]
    pub extra: Vec<OsString>,
    /// Take copies from [NAME[@TIME]=]LOCATION; repeat it in the order of trust; quote patterns
    #[arg(long, value_name = "SPEC", value_parser = spec_parser(), conflicts_with = "plan")]
    pub from: Vec<Spec>,
    /// The other side of the server's sync: what it deleted because STORE had lost it is put back there, too
    #[arg(long, value_name = "STORE", value_parser = store_parser(), conflicts_with_all = ["plan", "save_plan", "into"])]
    pub peer: Option<StoreArg>,
    /// Execute the plan that an audit or a dry run saved in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save_plan", "undecided", "deep"])]
    pub plan: Option<PathBuf>,
    /// Change the store; without it the plan is printed and nothing changes
    #[arg(long)]
    pub apply: bool,
    /// Write the plan to FILE, which must not exist
    #[arg(long, value_name = "FILE")]
    pub save_plan: Option<PathBuf>,
    /// Write to FILE, which must not exist, what became of which message: for the letter to the users
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub loss_report: Option<PathBuf>,
    /// Write only the repaired messages below DIR, under their paths in STORE, and leave STORE alone
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Say what to do with messages of which nothing tells whether they were lost or deleted (default: report)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub undecided: Option<Undecided>,
    /// Give restored messages this owner where neither mailbox nor catalog tells it
    #[arg(long, value_name = "USER:GROUP")]
    pub owner: Option<Owner>,
    /// Move replaced bytes to DIR, on the store's file system (default: .mailmend beside the store, else in it)
    #[arg(long, value_name = "DIR", env = "MAILMEND_QUARANTINE", hide_env_values = true)]
    pub quarantine: Option<PathBuf>,
    /// Write to a device that returned read errors in this run
    #[arg(long, requires = "apply")]
    pub write_to_sick_device: bool,
    /// Also judge messages that seem whole, and that the catalog does not know: by the body hashes in their DKIM
    /// and ARC signatures, and by comparing them with the copies in the sources
    #[arg(long)]
    pub deep: bool,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub select: Select,
}

/// Verify stores against the catalog and bring it up to date
///
/// For every night: what was recorded before must still be there and be the same. Never writes to a store.
///
/// With --budget, what was proven longest ago is read first, and the rest is left for a later night ('deferred', no
/// failure). Messages that are new, look changed or were harmed before are read whatever the budget; moved, deleted
/// and re-flagged ones are recognised without reading. 'mailmend status' shows the ages. A share is a promise: 20% of
/// what is on record reads everything again within five nights. To keep it where the store shrinks, a night reads up to
/// twice the share; where it shrinks to less than half within these nights, more of them are needed.
///
/// With --against, a replica is read as a whole, too, and compared message by message: what differs, which side is right
/// and why, and what a sync would do now. Nothing of it is recorded but what is said of STORE. Its exit status is a veto
/// for a sync: run one only after 0.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Mail root, account, or mailbox; FORMAT:PATH forces the format
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// Also judge messages that seem whole, and that the catalog does not know, by the body hashes in their DKIM and
    /// ARC signatures
    #[arg(long)]
    pub deep: bool,
    /// Compare STORE with a replica in [NAME=]LOCATION: an rsync copy, or the other side of a server's sync
    #[arg(long, value_name = "REPLICA", value_parser = spec_parser(), conflicts_with = "since")]
    pub against: Option<Spec>,
    /// Read no more than BUDGET of what is on record: a time (2h), a share of its bytes (20%), or bytes (50GB)
    #[arg(long, value_name = "BUDGET", env = "MAILMEND_BUDGET", hide_env_values = true)]
    pub budget: Option<Budget>,
    /// Count what a budget left unread for longer than TIME as not checked, or 'off' (default: 30d)
    #[arg(long, value_name = "TIME", env = "MAILMEND_MAX_AGE", hide_env_values = true)]
    pub max_age: Option<Span>,
    /// Write metrics for node_exporter's textfile collector to FILE (*.prom), replacing it at once
    #[arg(long, value_name = "FILE", env = "MAILMEND_METRICS", hide_env_values = true)]
    pub metrics: Option<PathBuf>,
    #[command(flatten)]
    pub backups: Backups,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub select: Select,
}

pub(super) fn spec_parser() -> impl TypedValueParser<Value = Spec> {
    OsStringValueParser::new().try_map(|text| Spec::parse(&text))
}

pub(super) fn store_parser() -> impl TypedValueParser<Value = StoreArg> {
    OsStringValueParser::new().try_map(|text| StoreArg::parse(&text))
}
