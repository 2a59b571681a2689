//! The command line: every command and option, and the texts of `--help` and of the man pages.
//!
//! Only describes and parses. May not read files, open stores or decide defaults that depend on the
//! machine: that is `config`.

use super::values::{Most, Owner, Size, Span, Spec, StoreArg, Undecided};
use crate::model::Stamp;
use crate::plan::budget::Budget;
use crate::report::sanitise;
use crate::source::layout::Layout;
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser};
use clap::{Args, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// The status of a usage or configuration error: nothing was done.
pub const USAGE: u8 = 16;

const EXIT_STATUS: &str = "\
Exit status (or-ed):
  0   all whole
  1   damage found and all of it repaired
  4   damage, loss or undecided messages remain (in a dry run: found)
  8   something that should have been checked could not be, or mailmend itself failed
  16  usage or configuration error, nothing done
  32  interrupted

Examples:
  mailmend audit /var/vmail
  mailmend audit /var/vmail --from '/backup/daily.*' --save-plan plan.jsonl
  mailmend repair /var/vmail --from '/backup/daily.*'
  mailmend repair /var/vmail --from '/backup/daily.*' --apply";

const AUDIT_EXAMPLES: &str = "\
Examples:
  mailmend audit /var/vmail
  mailmend audit /var/vmail --accounts '*@example.org' --json
  mailmend audit /var/vmail --from replica=/mnt/replica --from '/backup/daily.*'
  mailmend audit /var/vmail --from '/backup/daily.*' --save-plan plan.jsonl";

const REPAIR_EXAMPLES: &str = "\
Examples:
  mailmend repair /var/vmail --from '/backup/daily.*'
  mailmend repair /var/vmail --from '/backup/daily.*' --apply
  mailmend repair /var/vmail --plan plan.jsonl --apply
  mailmend repair /var/vmail --from old@2026-03-01=/mnt/restore --into /srv/review --apply";

const VERIFY_EXAMPLES: &str = "\
Examples:
  mailmend verify /var/vmail
  mailmend verify /var/vmail --quiet --budget 20%
  mailmend verify /var/vmail --quiet --metrics /var/lib/prometheus/node-exporter/mailmend.prom";

const TRIAGE_EXAMPLES: &str = "\
Examples:
  mailmend triage /var/vmail
  mailmend triage /var/vmail --save-accounts hit.txt
  mailmend audit /var/vmail --accounts-file hit.txt
  mailmend triage /srv/mail1 /srv/mail2 --within 60 --json";

const UNDO_EXAMPLES: &str = "\
Examples:
  mailmend undo RUN
  mailmend undo RUN --apply";

const QUARANTINE_EXAMPLES: &str = "\
Examples:
  mailmend quarantine list
  mailmend quarantine show RUN
  mailmend quarantine export RUN --into /srv/review
  mailmend quarantine purge --older-than 90
  mailmend quarantine purge RUN --apply";

const ACCEPT_EXAMPLES: &str = "\
Examples:
  mailmend accept RUN --reason 'no backup from before 1 March'
  mailmend accept --account ann@example.org --reason 'account closed'";

const DRILL_EXAMPLES: &str = "\
Examples:
  mailmend drill
  mailmend drill --size 50x400 --seed 7 --dir /srv/drill --keep";

const CHECK_HELP: &str = "\
Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
A threshold is the highest value that is still well; 'off' switches it off.

Examples:
  mailmend check /var/vmail
  mailmend check /var/vmail --warn-age 8d --crit-age 15d --crit-undecided 100";

const CATALOG_EXAMPLES: &str = "\
Examples:
  mailmend catalog check
  mailmend catalog check --repair
  mailmend catalog backup
  mailmend catalog export > catalog.jsonl
  mailmend catalog export --b3sum /var/vmail > sums; cd /var/vmail && b3sum --check --quiet sums
  mailmend catalog import catalog.jsonl";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mailmend completions bash > /etc/bash_completion.d/mailmend";

/// Check, scrub and surgically restore mail stores
///
/// mailmend reads a mail store, says for every message whether it is whole, damaged, unreadable, lost or
/// merely deleted by its owner, and puts back exactly what is missing or corrupt from replicas and
/// backups. Nothing changes mail without --apply, and what a repair replaces can be put back.
#[derive(Debug, Parser)]
#[command(name = "mailmend", version, max_term_width = 100, color = clap::ColorChoice::Never)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "General options")]
pub struct Global {
    /// Print one JSON object a line on standard output
    #[arg(long, global = true, env = "MAILMEND_JSON", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Print nothing when all is well, and no progress
    #[arg(long, short, global = true, env = "MAILMEND_QUIET", hide_env_values = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// Print more: byte ranges, paths, accounts that are whole
    #[arg(long, short, global = true, env = "MAILMEND_VERBOSE", hide_env_values = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Use at most N threads (default: what the devices and processors like)
    #[arg(long, value_name = "N", global = true, env = "MAILMEND_THREADS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Read settings from FILE (default: /etc/mailmend.toml, if there is one)
    #[arg(long, value_name = "FILE", global = true, env = "MAILMEND_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Use FILE as catalog (default: catalog.db in the state folder)
    #[arg(long, value_name = "FILE", global = true, env = "MAILMEND_CATALOG", hide_env_values = true)]
    pub catalog: Option<PathBuf>,
    /// Keep runs, journals and the catalog in DIR
    #[arg(long, value_name = "DIR", global = true, env = "MAILMEND_STATE", hide_env_values = true)]
    pub state: Option<PathBuf>,
}

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
    #[arg(value_parser = super::values::parse_time)]
    pub since: Option<Stamp>,
}

/// How a store is read.
#[derive(Debug, Clone, Default, Args)]
pub struct Reading {
    /// Give a file up when the disk has not answered for SECONDS
    #[arg(long, value_name = "SECONDS", env = "MAILMEND_READ_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub read_timeout: Option<u32>,
    /// Look for the server's lists and indexes where its mail_location says: maildir:PATH:CONTROL=DIR:INDEX=DIR
    #[arg(long, value_name = "LOCATION", env = "MAILMEND_LAYOUT", hide_env_values = true)]
    #[arg(value_parser = layout_parser)]
    pub layout: Option<Layout>,
}

fn layout_parser(text: &str) -> Result<Layout, String> {
    Layout::parse(text)
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(Audit),
    #[command(after_help = REPAIR_EXAMPLES)]
    Repair(Box<Repair>),
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),
    #[command(after_help = TRIAGE_EXAMPLES)]
    Triage(Triage),
    #[command(after_help = UNDO_EXAMPLES)]
    Undo(Undo),
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    Status(Status),
    /// Look at what repairs and undos moved aside
    ///
    /// The bytes that a repair replaced, and the copies that an undo took out, lie in a quarantine folder on the
    /// store's own file system (.mailmend/RUN beside the store, else in it) until they are purged.
    #[command(after_help = QUARANTINE_EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
    #[command(subcommand)]
    Quarantine(Quarantine),
    #[command(after_help = ACCEPT_EXAMPLES)]
    Accept(Accept),
    /// Check, copy, rebuild and exchange what mailmend remembers
    ///
    /// The catalog holds the digests of all messages; see mailmend-catalog(5). Copies of it are kept beside it; the
    /// first verify of a day makes one. Nothing here looks at mail.
    #[command(after_help = CATALOG_EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
    #[command(subcommand)]
    Catalog(CatalogCommand),
    #[command(after_help = DRILL_EXAMPLES)]
    Drill(Drill),
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Read for a parent process (internal)
    #[command(hide = true)]
    Lane,
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
/// and re-flagged ones are recognised without reading. 'mailmend status' shows the ages.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Mail root, account, or mailbox; FORMAT:PATH forces the format
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// Also judge messages that seem whole, and that the catalog does not know, by the body hashes in their DKIM and
    /// ARC signatures
    #[arg(long)]
    pub deep: bool,
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

/// Say within seconds whether it is the disk, which one, and who is hit
///
/// Looks at every device below the stores at once: reads messages drawn by lot from the medium, and asks the kernel
/// and the disks themselves. The verdict on each device is healthy, degrading, failing, gone, or not the disk, with
/// the reasons and the accounts on it. Changes nothing.
#[derive(Debug, Clone, Args)]
pub struct Triage {
    /// Mail root, account, or mailbox; FORMAT:PATH forces the format
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// End after SECONDS with what is known by then (default: 25)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub within: Option<u32>,
    /// Write the names of the accounts on devices that fail to FILE, which must not exist
    #[arg(long, value_name = "FILE")]
    pub save_accounts: Option<PathBuf>,
    /// Call a device silent when it has not answered for SECONDS (default: 5)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub read_timeout: Option<u32>,
}

/// Put back what a repair changed
///
/// Prints what it would do and changes nothing, unless --apply is given. Messages that changed since the
/// repair are left alone and named.
#[derive(Debug, Clone, Args)]
pub struct Undo {
    /// The run to take back, as printed at its end and by 'mailmend status'
    #[arg(value_name = "RUN", value_parser = super::values::run_id)]
    pub run: String,
    /// Change the store; without it nothing changes
    #[arg(long)]
    pub apply: bool,
}

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
/// alarm by that age. A store that was never verified is UNKNOWN, and CRITICAL once the first try is older than
/// --crit-age.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The stores, by their paths
    #[arg(required = true, value_name = "STORE", value_parser = store_parser())]
    pub stores: Vec<StoreArg>,
    /// WARNING if the last whole verification is longer ago (90m, 36h, 8d)
    #[arg(long, value_name = "TIME", default_value = "36h")]
    pub warn_age: Span,
    /// CRITICAL if the last whole verification is longer ago
    #[arg(long, value_name = "TIME", default_value = "3d")]
    pub crit_age: Span,
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
        #[arg(value_name = "RUN", value_parser = super::values::run_id)]
        run: String,
    },
    /// Copy what one run moved aside to a folder
    Export {
        /// The run
        #[arg(value_name = "RUN", value_parser = super::values::run_id)]
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
    #[arg(value_name = "RUN", value_parser = super::values::run_id)]
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
    #[arg(value_name = "RUN", value_parser = super::values::run_id, conflicts_with_all = ["account", "key"])]
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

/// Build a store, break it, recover it and score the recovery
///
/// Works on a store of its own and touches no other. Ends with 0 if all that was recoverable was recovered.
#[derive(Debug, Clone, Args)]
pub struct Drill {
    /// Build the store from the messages in DIR (default: made-up mail)
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Work in DIR, which must not exist or be empty (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the stores when done
    #[arg(long)]
    pub keep: bool,
    /// Repeat the drill that was given this number
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Number of accounts, and of messages in each
    #[arg(long, value_name = "ACCOUNTSxMESSAGES")]
    pub size: Option<Size>,
}

/// Print a completion script for a shell
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

impl Command {
    /// The name that the user typed.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Audit(_) => "audit",
            Command::Repair(_) => "repair",
            Command::Verify(_) => "verify",
            Command::Triage(_) => "triage",
            Command::Undo(_) => "undo",
            Command::Check(_) => "check",
            Command::Status(_) => "status",
            Command::Catalog(_) => "catalog",
            Command::Quarantine(_) => "quarantine",
            Command::Accept(_) => "accept",
            Command::Drill(_) => "drill",
            Command::Completions(_) => "completions",
            Command::Lane => "lane",
        }
    }

    /// The selection, of commands that take one.
    pub fn select(&self) -> Option<&Select> {
        match self {
            Command::Audit(audit) => Some(&audit.select),
            Command::Repair(repair) => Some(&repair.select),
            Command::Verify(verify) => Some(&verify.select),
            Command::Status(status) => Some(&status.select),
            _ => None,
        }
    }
}

fn spec_parser() -> impl TypedValueParser<Value = Spec> {
    OsStringValueParser::new().try_map(|text| Spec::parse(&text))
}

fn store_parser() -> impl TypedValueParser<Value = StoreArg> {
    OsStringValueParser::new().try_map(|text| StoreArg::parse(&text))
}

/// Why the program ends before a run began, or what it prints instead of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub status: u8,
    /// For standard output if the status is 0, else for standard error. Ends with a newline.
    pub text: String,
}

impl Exit {
    /// A usage or configuration error: nothing was done.
    pub fn usage(text: impl AsRef<str>) -> Exit {
        Exit { status: USAGE, text: format!("error: {}\n", sanitise::block(text.as_ref()).trim_end()) }
    }

    /// Prints the text where it belongs and returns the status. A closed pipe is no error here.
    pub fn print(&self) -> u8 {
        let bytes = self.text.as_bytes();
        if self.status == 0 {
            std::io::stdout().write_all(bytes).ok();
        } else {
            std::io::stderr().write_all(bytes).ok();
        }
        self.status
    }
}

impl From<clap::Error> for Exit {
    fn from(error: clap::Error) -> Exit {
        let status = if error.use_stderr() { USAGE } else { 0 };
        Exit { status, text: sanitise::block(&error.render().to_string()) }
    }
}

/// Parses a whole command line, the program's name first.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Exit> {
    let matches = command().try_get_matches_from(args).map_err(helpful)?;
    let cli = Cli::from_arg_matches(&matches)?;
    if let Command::Repair(repair) = &cli.command {
        one_store(repair)?;
    }
    Ok(cli)
}

/// A bare command gets its help. clap gives an error instead, with hidden commands in it, where a variable is set.
fn helpful(error: clap::Error) -> Exit {
    if error.kind() != clap::error::ErrorKind::MissingSubcommand {
        return error.into();
    }
    let text = error.to_string();
    let mut command = command();
    command.build();
    let bare = command.get_subcommands().find(|sub| text.contains(&format!(" {}' requires", sub.get_name())));
    let help = match bare.map(|sub| sub.get_name().to_owned()) {
        Some(name) => command.find_subcommand_mut(&name).map(clap::Command::render_help),
        None => Some(command.render_help()),
    }
    .unwrap_or_default();
    Exit { status: USAGE, text: sanitise::block(&help.to_string()) }
}

/// The definition that help, completions and man pages are made from.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Refuses more than one STORE: an unquoted pattern must not turn backups into stores.
fn one_store(repair: &Repair) -> Result<(), Exit> {
    let Some(first) = repair.extra.first() else { return Ok(()) };
    let more = match repair.extra.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    Err(Exit::usage(format!(
        "repair takes one STORE, and there is also '{}'{more}\n\n  \
         Did an unquoted pattern after --from expand? Quote it: --from '/backup/daily.*'",
        first.to_string_lossy()
    )))
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
