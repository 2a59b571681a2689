//! Settings: what the command line, the environment and the configuration file say together, in that order,
//! and the defaults that depend on who runs on which machine.
//!
//! [`Settings::resolve`] is pure; [`Settings::load`] reads the environment and the two files. May not write.

use super::args::{CatalogCommand, Cli, Command, Exit, Reading};
use super::config_file::{File, StoreKeys};
use super::values::{Disk, IoClass, Owner, Rate, ReadFrom, Span, Spec, Undecided};
use crate::engine::selection::Selection;
use crate::model::limits::SETTINGS_MAX;
use crate::plan::budget::Budget;
use crate::source::layout::Layout;
use crate::sys::links::read_named;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read if it exists.
pub const DEFAULT_CONFIG: &str = "/etc/mailmend.toml";

/// What the process was started in, as far as defaults depend on it. (`MAILMEND_*` belongs to the options.)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    pub root: bool,
    pub state_directory: Option<OsString>,
    pub xdg_state_home: Option<OsString>,
    pub home: Option<OsString>,
}

impl Environment {
    /// This process's.
    pub fn current() -> Environment {
        Environment {
            root: rustix::process::geteuid().is_root(),
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// Where runs, journals and the catalog are kept by default.
    fn state(&self) -> Option<PathBuf> {
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        // systemd separates several folders by colons; the first is ours.
        let given = self.state_directory.as_ref().and_then(|value| std::env::split_paths(value).next());
        if let Some(path) = given.and_then(absolute) {
            return Some(path);
        }
        if self.root {
            return Some("/var/lib/mailmend".into());
        }
        let xdg = self.xdg_state_home.as_ref().map(PathBuf::from).and_then(absolute);
        let home = || self.home.as_ref().map(|home| Path::new(home).join(".local/state")).and_then(absolute);
        xdg.or_else(home).map(|state| state.join("mailmend"))
    }
}

/// What holds for one store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreSettings {
    /// In the order of trust.
    pub from: Vec<Spec>,
    pub undecided: Undecided,
    /// `None`: the reader's own default.
    pub read_timeout: Option<Duration>,
    pub owner: Option<Owner>,
    /// `None`: beside the store.
    pub quarantine: Option<PathBuf>,
    pub deep: bool,
    /// Where the server keeps lists and indexes, if not with the mail.
    pub layout: Option<Layout>,
    /// Where it keeps attachments, if not with the mail.
    pub attachments: Option<PathBuf>,
    /// How much a verify reads.
    pub budget: Option<Budget>,
    /// Seconds; `None`: off.
    pub max_age: Option<u64>,
    /// Bytes a second that are read of each device.
    pub bwlimit: Option<u64>,
    /// `None`: as the command likes it.
    pub io_class: Option<IoClass>,
    pub disk: Disk,
    /// `None`: as the command likes it.
    pub read_from: Option<ReadFrom>,
}

/// Everything settled.
#[derive(Debug, Clone)]
pub struct Settings {
    pub json: bool,
    pub quiet: bool,
    pub verbose: u8,
    /// `None`: what devices and processors like.
    pub threads: Option<usize>,
    pub state: PathBuf,
    pub catalog: PathBuf,
    pub selection: Selection,
    /// Copies of the catalog that are kept; 0: a verify makes none.
    pub backups: usize,
    /// The file for metrics.
    pub metrics: Option<PathBuf>,
    /// The configuration file that was read.
    pub config: Option<PathBuf>,
    /// Of the command line.
    given: StoreKeys,
    file: File,
}

impl Settings {
    /// Reads environment, configuration file and account list, and settles.
    pub fn load(cli: &Cli) -> Result<Settings, Exit> {
        let (config, file) = read_config(cli.global.config.as_deref())?;
        let listed = match accounts_file(cli, &file) {
            Some(path) => Some(read_accounts(&path)?),
            None => None,
        };
        let settings = Settings::resolve(cli, &Environment::current(), file, listed)?;
        Ok(Settings { config, ..settings })
    }

    /// The pure part: command line (with `MAILMEND_*`) over file over defaults.
    pub fn resolve(
        cli: &Cli,
        env: &Environment,
        file: File,
        listed: Option<BTreeSet<String>>,
    ) -> Result<Settings, Exit> {
        let global = &cli.global;
        let select = cli.command.select().cloned().unwrap_or_default();
        let state = global.state.clone().or_else(|| file.state.clone()).or_else(|| env.state());
        let state = state.ok_or_else(|| Exit::usage("no state folder: HOME is not set; give --state DIR"))?;
        let or_file = |given: Vec<String>, file: &Option<Vec<String>>, narrower: bool| {
            if given.is_empty() && !narrower { file.clone().unwrap_or_default() } else { given }
        };
        let accounts = or_file(select.accounts, &file.accounts, select.accounts_file.is_some());
        let mailboxes = or_file(select.mailbox, &file.mailbox, false);
        let settings = Settings {
            json: global.json || file.json.unwrap_or(false),
            quiet: global.quiet || file.quiet.unwrap_or(false),
            verbose: if global.verbose > 0 { global.verbose } else { file.verbose.unwrap_or(0) },
            threads: global.threads.or(file.threads).map(usize::from),
            catalog: global
                .catalog
                .clone()
                .or_else(|| file.catalog.clone())
                .unwrap_or_else(|| state.join("catalog.db")),
            state,
            selection: Selection::new(accounts, listed, mailboxes, select.since).map_err(Exit::usage)?,
            backups: backups(&cli.command).or(file.backups).map_or(BACKUPS, usize::from),
            metrics: metrics(&cli.command).or_else(|| file.metrics.clone()),
            config: None,
            given: given(&cli.command),
            file,
        };
        if let Command::Repair(repair) = &cli.command
            && repair.plan.is_none()
            && settings.store(&repair.store.path).from.is_empty()
        {
            return Err(Exit::usage("repair needs copies to restore from: --from SPEC, or --plan FILE"));
        }
        Ok(settings)
    }

    /// What holds for `store`: command line, then its table of the file, then the top of the file.
    pub fn store(&self, store: &Path) -> StoreSettings {
        let none = StoreKeys::default();
        let path: PathBuf = store.components().collect();
        let layers = [&self.given, self.file.stores.get(&path).unwrap_or(&none), &self.file.every];
        fn first<T: Clone>(layers: &[&StoreKeys; 3], key: impl Fn(&StoreKeys) -> &Option<T>) -> Option<T> {
            layers.iter().find_map(|layer| key(layer).clone())
        }
        StoreSettings {
            from: first(&layers, |keys| &keys.from).unwrap_or_default(),
            undecided: first(&layers, |keys| &keys.undecided).unwrap_or_default(),
            read_timeout: first(&layers, |keys| &keys.read_timeout),
            owner: first(&layers, |keys| &keys.owner),
            quarantine: first(&layers, |keys| &keys.quarantine),
            deep: first(&layers, |keys| &keys.deep).unwrap_or(false),
            layout: first(&layers, |keys| &keys.layout),
            attachments: first(&layers, |keys| &keys.attachments),
            budget: first(&layers, |keys| &keys.budget),
            bwlimit: first(&layers, |keys| &keys.bwlimit).map(|Rate(rate)| rate),
            io_class: first(&layers, |keys| &keys.io_class),
            disk: first(&layers, |keys| &keys.disk).unwrap_or_default(),
            read_from: first(&layers, |keys| &keys.read_from),
            max_age: first(&layers, |keys| &keys.max_age).map_or(Some(MAX_AGE), |Span(seconds)| seconds),
        }
    }
}

/// Seconds after which what a budget leaves unread counts as not checked.
const MAX_AGE: u64 = 30 * 86_400;
/// Copies of the catalog that are kept.
const BACKUPS: usize = 3;

fn backups(command: &Command) -> Option<u16> {
    match command {
        Command::Verify(verify) => verify.backups.backups,
        Command::Catalog(CatalogCommand::Backup(backups)) => backups.backups,
        _ => None,
    }
}

fn metrics(command: &Command) -> Option<PathBuf> {
    match command {
        Command::Audit(audit) => audit.metrics.clone(),
        Command::Verify(verify) => verify.metrics.clone(),
        Command::Status(status) => status.metrics.clone(),
        _ => None,
    }
}

/// What the command line says about stores.
fn given(command: &Command) -> StoreKeys {
    let reading = |reading: &Reading| StoreKeys {
        read_timeout: reading.read_timeout.map(|seconds| Duration::from_secs(seconds.into())),
        layout: reading.layout.clone(),
        attachments: reading.attachments.clone(),
        bwlimit: reading.bwlimit,
        io_class: reading.io_class,
        disk: reading.disk,
        read_from: reading.read_from,
        ..StoreKeys::default()
    };
    let some = |from: &[Spec]| (!from.is_empty()).then(|| from.to_vec());
    match command {
        Command::Audit(audit) => {
            let deep = audit.deep.then_some(true);
            StoreKeys { from: some(&audit.from), undecided: audit.undecided, deep, ..reading(&audit.reading) }
        }
        Command::Repair(repair) => StoreKeys {
            from: some(&repair.from),
            undecided: repair.undecided,
            owner: repair.owner.clone(),
            quarantine: repair.quarantine.clone(),
            deep: repair.deep.then_some(true),
            ..reading(&repair.reading)
        },
        Command::Verify(verify) => StoreKeys {
            deep: verify.deep.then_some(true),
            budget: verify.budget,
            max_age: verify.max_age,
            ..reading(&verify.reading)
        },
        _ => StoreKeys::default(),
    }
}

/// The list that counts. A selection of accounts on the command line replaces the file's, never widens it.
fn accounts_file(cli: &Cli, file: &File) -> Option<PathBuf> {
    let select = cli.command.select()?;
    match (&select.accounts_file, select.accounts.is_empty()) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => file.accounts_file.clone(),
        (None, false) => None,
    }
}

/// Names, one a line; `#` starts a comment. A list without any name is a mistake, not "all".
pub fn parse_accounts(text: &str) -> Result<BTreeSet<String>, String> {
    let names: BTreeSet<String> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() { Err("it names no account".into()) } else { Ok(names) }
}

fn read_accounts(path: &Path) -> Result<BTreeSet<String>, Exit> {
    let text = read_named(path, SETTINGS_MAX).map_err(|error| error.to_string());
    let wrong = |what| Exit::usage(format!("the list of accounts {}: {what}", path.display()));
    text.and_then(|text| parse_accounts(&text)).map_err(wrong)
}

/// A file that was named must exist; the default one may be absent, but if it is there it must be read.
fn read_config(given: Option<&Path>) -> Result<(Option<PathBuf>, File), Exit> {
    let path = given.unwrap_or(Path::new(DEFAULT_CONFIG));
    let wrong = |what: String| Exit::usage(format!("the settings in {}: {what}", path.display()));
    match read_named(path, SETTINGS_MAX) {
        Ok(text) => Ok((Some(path.to_owned()), File::parse(&text).map_err(wrong)?)),
        Err(error) if given.is_none() && error.kind() == ErrorKind::NotFound => Ok((None, File::default())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
