//! The command line: every command and option, and the texts of `--help` and of the man pages.
//!
//! Only describes and parses. May not read files, open stores or decide defaults that depend on the
//! machine: that is `config`.

mod records;
mod scan;
#[cfg(test)]
mod tests;

pub use records::{Accept, Backups, CatalogCommand, Check, Purge, Quarantine, Status};
pub use scan::{Audit, Reading, Repair, Select, Verify};

use crate::cli::values::{Size, StoreArg};
use crate::report::sanitise;
use clap::builder::FalseyValueParser;
use clap::{Args, FromArgMatches, Parser, Subcommand};
use scan::store_parser;
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
    #[arg(value_name = "RUN", value_parser = crate::cli::values::run_id)]
    pub run: String,
    /// Change the store; without it nothing changes
    #[arg(long)]
    pub apply: bool,
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
