//! What every command starts with: settings, screen, signals, state folder, catalog, the name of the run.

use super::args::{Cli, Command, Exit, USAGE};
use super::config::{Settings, StoreSettings};
use super::screen::{self, Screen};
use super::values::{Disk, Id, IoClass, Owner, ReadFrom, Spec, StoreArg, Undecided};
use crate::catalog::{self, Catalog};
use crate::engine::account::EngineError;
use crate::engine::job::{Mode, Options};
use crate::engine::lane;
use crate::engine::run::{self, Invocation, Scanned};
use crate::engine::runs::RunFolder;
use crate::model::event::{Event, Finding, Observer};
use crate::model::tally::Tally;
use crate::model::wire;
use crate::report::losses::Losses;
use crate::report::{json, sanitise};
use crate::sys::clock;
use crate::sys::signals::Signals;
use crate::sys::users::Users;
use crate::{plan, source};
use anyhow::Context;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a read may take before its file is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One command from its start to its exit status.
pub struct Session {
    pub settings: Settings,
    pub screen: Screen,
    pub signals: Signals,
    pub run: String,
    /// What becomes of messages, where a report of that is asked for.
    pub losses: Option<Losses>,
    /// Options that every command takes, as typed: for commands that are named to the user.
    pub general: Vec<String>,
    pub began: Instant,
}

impl Session {
    /// # Errors
    /// Usage and configuration errors.
    pub fn open(cli: &Cli) -> Result<Session, Exit> {
        let settings = Settings::load(cli)?;
        let fail = |error: std::io::Error| Exit { status: 8, text: format!("error: {error}\n") };
        let run = new_run(&settings).map_err(fail)?;
        let origin = screen::origin(cli, &settings, &run);
        let general = origin.general.clone();
        let screen = Screen::standard(&settings, origin);
        let signals = Signals::install().map_err(fail)?;
        let losses = loss_report(cli).map(|_| Losses::default());
        Ok(Session { settings, screen, signals, run, losses, general, began: Instant::now() })
    }

    /// Begins another run of the same command, on that store.
    ///
    /// # Errors
    /// Where no name for it can be had.
    pub fn another_run(&mut self, store: &StoreArg) -> std::io::Result<()> {
        self.run = new_run(&self.settings)?;
        self.screen.another_run(&self.run, store.given.to_string_lossy().into_owned());
        Ok(())
    }

    /// How lanes are run for a store.
    pub fn lane(&self, store: &StoreSettings) -> lane::Settings {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        lane::Settings {
            readers: self.settings.threads.unwrap_or(cores.clamp(2, 16)),
            read_timeout: store.read_timeout.unwrap_or(READ_TIMEOUT),
            in_process: false,
            without_openat2: false,
            bwlimit: store.bwlimit,
            io_class: wire::IoClass::Normal,
            disk: match store.disk {
                Disk::Auto => wire::Disk::Auto,
                Disk::Flash => wire::Disk::Flash,
                Disk::Spindle => wire::Disk::Spindle,
            },
            attachments: store.attachments.clone(),
            zone: 0,
        }
    }

    /// The engine's options for a store.
    pub fn options(&self, mode: Mode, store: &StoreSettings) -> anyhow::Result<Options> {
        Ok(Options {
            mode,
            deep: store.deep,
            undecided: match store.undecided {
                Undecided::Report => plan::Undecided::Report,
                Undecided::Restore => plan::Undecided::Restore,
                Undecided::Folder => plan::Undecided::Folder,
            },
            owner: store.owner.as_ref().map(owner).transpose()?,
            select: self.settings.selection.clone(),
            layout: store.layout.clone(),
            both_sides: false,
            hold_findings: false,
            budget: store.budget.filter(|_| mode == Mode::Verify),
            max_age: store.max_age,
            medium: reads_disk(mode, store.read_from),
            against: false,
        })
    }

    /// The catalog, made where there is none. A command that can do without records goes on read-only or
    /// without a catalog where the state folder cannot be written, and says so.
    ///
    /// # Errors
    /// A catalog that is there and cannot be trusted.
    pub fn catalog(&mut self, must_record: bool) -> anyhow::Result<(Option<Catalog>, bool)> {
        let path = self.settings.catalog.clone();
        let error = match Catalog::open(&path) {
            Ok(catalog) => return Ok((Some(catalog), true)),
            Err(error) => error,
        };
        let unwritable = matches!(error.kind, catalog::Kind::Full | catalog::Kind::ReadOnly | catalog::Kind::Io);
        if must_record || !unwritable {
            return Err(error.into());
        }
        let what = format!("cannot record this run: {error}");
        self.screen.event(Event::Error { path: String::new(), what, hint: Some(error.hint().to_owned()) });
        match Catalog::open_existing_read_only(&path) {
            Ok(catalog) => Ok((catalog, false)),
            Err(error) if matches!(error.kind, catalog::Kind::Full | catalog::Kind::ReadOnly | catalog::Kind::Io) => {
                Ok((None, false))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs `work` with everything that a run borrows from the session.
    pub fn with<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Observer, &dyn Fn() -> bool, &dyn Fn(&Finding) -> String) -> T,
    ) -> T {
        let run = self.run.clone();
        let describe = move |finding: &Finding| json::line(&run, &Event::Finding(Box::new(finding.clone())));
        let signals = self.signals.clone();
        let stop = move || signals.stopped();
        let (screen, losses) = (&mut self.screen, self.losses.as_mut());
        let mut poked = Poked { screen, losses, signals: self.signals.clone() };
        work(&mut poked, &stop, &describe)
    }

    /// Scans one store.
    ///
    /// # Errors
    /// The engine's.
    pub fn scan(&mut self, scan: Scan, catalog: Option<&mut Catalog>, record: bool) -> anyhow::Result<Scanned> {
        let Scan { store, options, sources, plan, elsewhere, lock } = scan;
        let settings = self.settings.store(&store);
        let lane = lane::Settings { io_class: io_class(options.mode, settings.io_class), ..self.lane(&settings) };
        let (run, state) = (self.run.clone(), Some(self.settings.state.clone()));
        let scanned = self.with(|observer, stop, describe| {
            run::scan_store(Invocation {
                run,
                store,
                sources,
                options,
                lane,
                catalog,
                record,
                observer,
                stop,
                describe,
                lock,
                state,
                plan,
                elsewhere,
            })
        })?;
        Ok(scanned)
    }

    /// A selection that fits nothing is a slip of the pen: what it meant was not checked, and the run says so.
    pub fn nothing_selected(&mut self, tally: &mut Tally) {
        let select = &self.settings.selection;
        let (option, hint) = match tally {
            _ if select.is_all() || tally.exit() != 0 => return,
            _ if tally.accounts == 0 => (
                "account fits --accounts or --accounts-file",
                "accounts are named as reports name them (-v names all), or user@domain for domain/user",
            ),
            _ if tally.mailboxes == 0 && !select.mailboxes.is_empty() => {
                ("mailbox fits --mailbox", "names are those of reports, such as INBOX or 'Archive*'; upper case counts")
            }
            _ => return,
        };
        tally.not_checked += 1;
        let what = format!("no {option}: nothing was checked");
        self.screen.event(Event::Error { path: String::new(), what, hint: Some(hint.to_owned()) });
    }

    /// Ends the JSON of a command that scans nothing: its last line is a summary too.
    pub fn end(&mut self, command: &str, exit: u8) {
        self.screen.emit(&serde_json::json!({
            "schema": json::SCHEMA, "run": self.run, "type": "summary", "command": command, "exit": exit,
            "elapsed_s": self.elapsed(),
        }));
    }

    /// Writes what became of messages, if that is asked for: before the summary, which says so.
    pub fn tell_losses(&mut self, file: Option<&Path>, tally: &mut Tally) {
        let (Some(file), Some(losses)) = (file, &mut self.losses) else { return };
        let text = losses.text(&self.run, tally);
        let written = write_new(file, text.as_bytes());
        match written {
            Ok(()) => {
                let text = format!("what became of which message stands in {}", file.display());
                self.screen.event(Event::Note { text });
            }
            Err(error) => {
                tally.own_errors += 1;
                let (path, what) = (file.display().to_string(), format!("cannot write the report of losses: {error}"));
                self.screen.event(Event::Error { path, what, hint: None });
            }
        }
    }

    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// A verify comes every night and can wait; who audits or repairs has users waiting.
fn io_class(mode: Mode, given: Option<IoClass>) -> wire::IoClass {
    match given {
        Some(IoClass::Normal) => wire::IoClass::Normal,
        Some(IoClass::Idle) => wire::IoClass::Idle,
        None if mode == Mode::Verify => wire::IoClass::Idle,
        None => wire::IoClass::Normal,
    }
}

/// A verify proves what lies on the disk; an audit may come to mail that was written a moment ago.
fn reads_disk(mode: Mode, given: Option<ReadFrom>) -> bool {
    given.map_or(mode == Mode::Verify, |given| given == ReadFrom::Disk)
}

/// A name that no run has.
fn new_run(settings: &Settings) -> std::io::Result<String> {
    let taken = |run: &str| RunFolder::named(&settings.state, run).is_ok_and(|folder| folder.path.exists());
    clock::run_id(clock::now(), taken)
}

/// Makes a file for its owner alone: it names users and their messages.
fn write_new(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    to.write_all(bytes)?;
    to.sync_all()
}

/// `--loss-report`.
pub fn loss_report(cli: &Cli) -> Option<&Path> {
    match &cli.command {
        Command::Audit(audit) => audit.loss_report.as_deref(),
        Command::Repair(repair) => repair.loss_report.as_deref(),
        _ => None,
    }
}

/// What a command wants scanned, and what for.
pub struct Scan {
    pub store: PathBuf,
    pub options: Options,
    pub sources: Vec<source::Spec>,
    /// Write the plan to this file.
    pub plan: Option<PathBuf>,
    /// The plan is for another, empty place.
    pub elsewhere: bool,
    /// The plan will be executed on the store.
    pub lock: bool,
}

/// The screen, and SIGUSR1's wish for progress.
struct Poked<'a> {
    screen: &'a mut Screen,
    losses: Option<&'a mut Losses>,
    signals: Signals,
}

impl Observer for Poked<'_> {
    fn event(&mut self, event: Event) {
        if let (Some(losses), Event::Finding(finding)) = (&mut self.losses, &event) {
            losses.note(finding);
        }
        self.screen.event(event);
        if self.signals.take_progress() {
            self.screen.poke();
        }
    }
}

/// A source as the engine takes it.
pub fn spec(spec: &Spec) -> source::Spec {
    source::Spec {
        name: spec.name.clone(),
        time: spec.time,
        location: spec.location.clone().into(),
        pattern: spec.pattern,
        partner: false,
    }
}

/// The other side of a sync as a source. `only_tells`: what it alone holds is not missed here.
pub fn partner(store: &StoreArg, only_tells: bool) -> source::Spec {
    source::Spec { name: None, time: None, location: store.path.clone(), pattern: false, partner: only_tells }
}

/// The owner's numbers; names are looked up in the passwd and group files.
fn owner(owner: &Owner) -> anyhow::Result<(u32, u32)> {
    let users = Users::read().context("cannot read the passwd and group files")?;
    let uid = match &owner.user {
        Id::Number(number) => Some(*number),
        Id::Name(name) => users.uid(name),
    };
    let gid = match &owner.group {
        Id::Number(number) => Some(*number),
        Id::Name(name) => users.gid(name),
    };
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => {
            Err(EngineError::Usage(format!("--owner {owner}: no such user or group in /etc/passwd and /etc/group"))
                .into())
        }
    }
}

/// Refuses a path that names nothing.
pub fn check_store(store: &StoreArg) -> anyhow::Result<()> {
    if store.path.as_os_str().is_empty() {
        return Err(EngineError::Usage("the path of the store is empty".to_owned()).into());
    }
    Ok(())
}

/// An error and its causes. Many errors name their cause themselves: nothing is said twice.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The exit status and the words of an error that ended a command.
pub fn exit_of(error: anyhow::Error) -> Exit {
    let mut hint = None;
    let mut status = 8;
    for cause in error.chain() {
        match cause.downcast_ref::<EngineError>() {
            Some(EngineError::Usage(_) | EngineError::Plan(_)) => status = USAGE,
            Some(EngineError::Catalog(error)) => hint = Some(error.hint()),
            _ => {}
        }
        if let Some(error) = cause.downcast_ref::<catalog::CatalogError>() {
            hint = Some(error.hint());
        }
    }
    let mut text = format!("error: {}\n", sanitise::block(&told(&error)).trim_end());
    if let Some(hint) = hint {
        text.push_str(&format!("  {}\n", sanitise::block(hint).trim_end()));
    }
    Exit { status, text }
}
