//! Where a run's events become visible: text and bars for people, JSON lines for programs.
//!
//! Only shows. A reader that went away neither stops nor fails a run: the first write error is kept, and
//! nothing more is written there.

use super::args::{Cli, Command, Reading, Select};
use super::config::Settings;
use super::values::{Spec, StoreArg, Undecided};

use crate::model::Verdict;
use crate::model::event::{Event, Observer, Phase};
use crate::model::tally::Tally;
use crate::report::summary::{Origin, summary};
use crate::report::text::{self, Style};
use crate::report::{json, sides, words};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two progress lines where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Between two progress events in JSON.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// A rate is shown once it has been measured for this long.
const RATE_AFTER: Duration = Duration::from_secs(2);

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Standard output takes colours.
    pub colour: bool,
    /// Standard error is a terminal: bars and colours.
    pub bars: bool,
    pub quiet: bool,
    pub verbose: u8,
}

impl Look {
    /// What this process's terminal and the settings allow.
    pub fn detect(settings: &Settings) -> Look {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Look {
            colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
            bars: io::stderr().is_terminal() && !dumb && !settings.quiet,
            quiet: settings.quiet,
            verbose: settings.verbose,
        }
    }

    fn style(self) -> Style {
        Style { colour: self.colour, verbose: self.verbose }
    }
}

/// What the final block needs to name the next commands. `run` is empty for commands that make none.
pub fn origin(cli: &Cli, settings: &Settings, run: &str) -> Origin {
    let mut origin = Origin { run: run.to_owned(), general: general(cli), ..Origin::default() };
    match &cli.command {
        Command::Audit(audit) => {
            origin.store = only(&audit.stores);
            origin.from = typed(&audit.from);
            let found = audit.stores.iter().any(|store| !settings.store(&store.path).from.is_empty());
            origin.configured = audit.from.is_empty() && found;
            origin.options = reading(&audit.reading, audit.deep, audit.undecided);
        }
        Command::Repair(repair) => {
            origin.store = Some(lossy(&repair.store.given));
            origin.from = typed(&repair.from);
            origin.plan = repair.plan.as_ref().map(lossy);
            origin.configured = repair.from.is_empty() && repair.plan.is_none();
            origin.applied = repair.apply;
            origin.options = reading(&repair.reading, repair.deep, repair.undecided);
            origin.options.extend(option("--owner", repair.owner.as_ref().map(ToString::to_string)));
            origin.options.extend(option("--peer", repair.peer.as_ref().map(|peer| lossy(&peer.given))));
            origin.options.extend(option("--into", repair.into.as_ref().map(lossy)));
            origin.options.extend(option("--quarantine", repair.quarantine.as_ref().map(lossy)));
        }
        Command::Verify(verify) => {
            origin.store = only(&verify.stores);
            origin.options = reading(&verify.reading, verify.deep, None);
            // What a repair of either side can be taken from.
            origin.from = typed(verify.against.as_slice());
        }
        Command::Undo(undo) => {
            origin.applied = undo.apply;
            origin.undoes = Some(undo.run.clone());
        }
        _ => {}
    }
    if let Some(select) = cli.command.select() {
        origin.options.extend(selection(select));
    }
    origin
}

fn lossy(text: impl AsRef<OsStr>) -> String {
    text.as_ref().to_string_lossy().into_owned()
}

/// `NAME VALUE` if there is a value.
fn option(name: &str, value: Option<String>) -> Vec<String> {
    value.map(|value| vec![name.to_owned(), value]).unwrap_or_default()
}

fn typed(from: &[Spec]) -> Vec<String> {
    from.iter().map(|spec| lossy(&spec.given)).collect()
}

/// The store, if there is just one that a repair could be told.
fn only(stores: &[StoreArg]) -> Option<String> {
    match stores {
        [store] => Some(lossy(&store.given)),
        _ => None,
    }
}

fn general(cli: &Cli) -> Vec<String> {
    let global = &cli.global;
    let paths = [("--config", &global.config), ("--state", &global.state), ("--catalog", &global.catalog)];
    paths.into_iter().flat_map(|(name, path)| option(name, path.as_ref().map(lossy))).collect()
}

fn reading(reading: &Reading, deep: bool, undecided: Option<Undecided>) -> Vec<String> {
    let mut options = Vec::new();
    options.extend(deep.then(|| "--deep".to_owned()));
    options.extend(option("--read-timeout", reading.read_timeout.map(|seconds| seconds.to_string())));
    options.extend(option("--layout", reading.layout.as_ref().map(ToString::to_string)));
    options.extend(option("--attachments", reading.attachments.as_ref().map(|path| path.display().to_string())));
    options.extend(option("--mbox-timezone", reading.mbox_timezone.as_ref().map(ToString::to_string)));
    options.extend(option("--undecided", undecided.map(|undecided| undecided.to_string())));
    options
}

/// The selection as options again.
fn selection(select: &Select) -> Vec<String> {
    let each = |name: &str, globs: &[String]| -> Vec<String> {
        globs.iter().flat_map(|glob| option(name, Some(glob.clone()))).collect()
    };
    [
        each("--accounts", &select.accounts),
        option("--accounts-file", select.accounts_file.as_ref().map(lossy)),
        each("--mailbox", &select.mailbox),
        option("--since", select.since.and_then(words::rfc3339)),
    ]
    .concat()
}

/// A stream and the first error that it gave.
struct Output {
    to: Box<dyn Write + Send>,
    error: Option<io::Error>,
}

impl Output {
    fn new(to: impl Write + Send + 'static) -> Output {
        Output { to: Box::new(to), error: None }
    }

    fn put(&mut self, text: &str) {
        if self.error.is_none() {
            let result = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
            self.error = result.err();
        }
    }

    fn broken_pipe(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    }

    fn failure(&self) -> Option<&io::Error> {
        self.error.as_ref().filter(|error| error.kind() != ErrorKind::BrokenPipe)
    }
}

/// How far a phase is, and since when.
struct Course {
    phase: Phase,
    began: Instant,
    shown: Instant,
    first: u64,
    done: u64,
    total: u64,
    bytes: u64,
}

impl Course {
    fn new(phase: Phase, done: u64, now: Instant) -> Course {
        Course { phase, began: now, shown: now, first: done, done, total: 0, bytes: 0 }
    }

    /// Rate and time left, once they mean something.
    fn line(&self, now: Instant) -> String {
        let spent = now.duration_since(self.began);
        let advanced = self.done.saturating_sub(self.first);
        let rate = (spent >= RATE_AFTER && advanced > 0).then(|| advanced as f64 / spent.as_secs_f64());
        let left = rate.filter(|_| self.total > self.done).map(|rate| (self.total - self.done) as f64 / rate);
        text::progress(self.phase, self.done, self.total, rate, left)
    }
}

/// Text and bars.
pub struct TextScreen {
    out: Output,
    err: Output,
    look: Look,
    origin: Origin,
    course: Option<Course>,
    bar: Option<ProgressBar>,
}

impl TextScreen {
    /// Findings and summary go to `out`; progress, notes and errors to `err`.
    pub fn new(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        look: Look,
        origin: Origin,
    ) -> TextScreen {
        TextScreen { out: Output::new(out), err: Output::new(err), look, origin, course: None, bar: None }
    }

    /// Text of a command (a plan, a list) that belongs between the findings.
    pub fn print(&mut self, text: &str) {
        let out = &mut self.out;
        match &self.bar {
            Some(bar) => bar.suspend(|| out.put(text)),
            None => out.put(text),
        }
    }

    fn tell(&mut self, text: &str) {
        let err = &mut self.err;
        match &self.bar {
            Some(bar) => bar.suspend(|| err.put(text)),
            None => err.put(text),
        }
    }

    /// Shows now how far the run is (SIGUSR1).
    pub fn poke(&mut self) {
        let line = match &self.course {
            Some(course) => course.line(Instant::now()),
            None => "starting\n".to_owned(),
        };
        self.tell(&line);
    }

    fn advance(&mut self, phase: Phase, done: u64, total: u64, bytes: u64, now: Instant) {
        if self.course.as_ref().is_none_or(|course| course.phase != phase) {
            self.close_bar();
            self.course = Some(Course::new(phase, done, now));
            self.bar = self.look.bars.then(|| new_bar(phase));
        }
        let Some(course) = &mut self.course else { return };
        (course.done, course.total, course.bytes) = (done, total, bytes);
        if let Some(bar) = &self.bar {
            draw(bar, done, total, bytes);
        } else if !self.look.quiet && now.duration_since(course.shown) >= LINE_EVERY {
            course.shown = now;
            let line = course.line(now);
            self.tell(&line);
        }
    }

    fn close_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn finish(&mut self, command: &str, tally: &Tally, elapsed_s: f64, plan: Option<&str>) {
        self.close_bar();
        if !self.look.quiet || tally.exit() != 0 {
            let text = summary(command, tally, elapsed_s, plan, &self.origin, self.look.style());
            self.print(&text);
        }
    }
}

impl Observer for TextScreen {
    fn event(&mut self, event: Event) {
        let style = self.look.style();
        match event {
            Event::Start { command, store, sources } if !self.look.quiet => {
                self.print(&text::start(&command, &store, &sources));
            }
            Event::Note { text } if !self.look.quiet => self.tell(&text::note(&text)),
            Event::Detail { text } if !self.look.quiet && self.look.verbose > 0 => self.tell(&text::note(&text)),
            Event::Start { .. } | Event::Note { .. } | Event::Detail { .. } => {}
            Event::Finding(finding) => {
                let alarming =
                    !finding.accepted && !matches!(finding.verdict, Verdict::Suspect | Verdict::Undetermined);
                if text::is_shown(&finding, style) && (alarming || !self.look.quiet) {
                    self.print(&text::finding(&finding, style));
                }
            }
            Event::Difference { there, difference } => {
                if sides::is_shown(&difference, style) {
                    self.print(&sides::difference(&there, &difference, style));
                }
            }
            Event::Account { account, tally } => {
                if self.look.verbose > 0 {
                    self.print(&text::account(&account, &tally, style));
                }
            }
            Event::Progress { phase, done, total, bytes } => self.advance(phase, done, total, bytes, Instant::now()),
            Event::Error { path, what, hint } => {
                let style = Style { colour: self.look.colour && self.look.bars, ..style };
                self.tell(&text::error(&path, &what, hint.as_deref(), style));
            }
            Event::Summary { command, tally, elapsed_s, plan } => {
                self.finish(&command, &tally, elapsed_s, plan.as_deref());
            }
        }
    }
}

fn new_bar(phase: Phase) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_prefix(phase.name());
    bar
}

fn draw(bar: &ProgressBar, done: u64, total: u64, bytes: u64) {
    const KNOWN: &str = "{prefix:>9} [{wide_bar}] {human_pos}/{human_len}  {rate}  {msg}  ETA {eta}";
    const UNKNOWN: &str = "{prefix:>9} {spinner} {human_pos}  {rate}  {msg}";
    if bar.length().unwrap_or(0) != total || bar.position() == 0 {
        let template = if total > 0 { KNOWN } else { UNKNOWN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
                write!(text, "{}/s", words::number(state.per_sec().round() as u64)).ok();
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        if total > 0 {
            bar.set_length(total);
        }
    }
    bar.set_message(words::bytes(bytes));
    bar.set_position(done);
}

/// JSON lines.
pub struct JsonScreen {
    out: Output,
    run: String,
    quiet: bool,
    shown: Option<Instant>,
    last: Option<Event>,
}

impl JsonScreen {
    pub fn new(out: impl Write + Send + 'static, run: &str, quiet: bool) -> JsonScreen {
        JsonScreen { out: Output::new(out), run: run.to_owned(), quiet, shown: None, last: None }
    }

    /// Emits the latest progress now (SIGUSR1).
    pub fn poke(&mut self) {
        if let Some(event) = &self.last {
            self.out.put(&json::line(&self.run, event));
        }
    }

    fn progress(&mut self, event: Event, now: Instant) {
        let due = self.shown.is_none_or(|shown| now.duration_since(shown) >= JSON_EVERY);
        if due && !self.quiet {
            self.shown = Some(now);
            self.out.put(&json::line(&self.run, &event));
        }
        self.last = Some(event);
    }
}

impl Observer for JsonScreen {
    fn event(&mut self, event: Event) {
        match event {
            Event::Progress { .. } => self.progress(event, Instant::now()),
            event => self.out.put(&json::line(&self.run, &event)),
        }
    }
}

/// Whichever the user asked for.
pub enum Screen {
    Text(Box<TextScreen>),
    Json(JsonScreen),
}

impl Screen {
    /// On this process's standard output and standard error.
    pub fn standard(settings: &Settings, origin: Origin) -> Screen {
        if settings.json {
            Screen::Json(JsonScreen::new(io::stdout(), &origin.run, settings.quiet))
        } else {
            let look = Look::detect(settings);
            Screen::Text(Box::new(TextScreen::new(io::stdout(), io::stderr(), look, origin)))
        }
    }

    /// What follows belongs to another run, on that store.
    pub fn another_run(&mut self, run: &str, store: String) {
        match self {
            Screen::Json(screen) => run.clone_into(&mut screen.run),
            Screen::Text(screen) => {
                run.clone_into(&mut screen.origin.run);
                screen.origin.store = Some(store);
            }
        }
    }

    /// Shows now how far the run is (SIGUSR1).
    pub fn poke(&mut self) {
        match self {
            Screen::Text(screen) => screen.poke(),
            Screen::Json(screen) => screen.poke(),
        }
    }

    /// Plain text of a command; JSON mode drops it.
    pub fn print(&mut self, text: &str) {
        if let Screen::Text(screen) = self {
            screen.print(text);
        }
    }

    /// One JSON object of a command; text mode drops it.
    pub fn emit(&mut self, value: &serde_json::Value) {
        if let Screen::Json(screen) = self {
            screen.out.put(&format!("{}\n", crate::report::sanitise::json(value.to_string())));
        }
    }

    /// Whoever read standard output went away: no error.
    pub fn broken_pipe(&self) -> bool {
        self.out().broken_pipe()
    }

    /// Standard output failed otherwise (a full disk): the report is not complete, which the exit status must say.
    pub fn failure(&self) -> Option<&io::Error> {
        self.out().failure()
    }

    fn out(&self) -> &Output {
        match self {
            Screen::Text(screen) => &screen.out,
            Screen::Json(screen) => &screen.out,
        }
    }
}

impl Observer for Screen {
    fn event(&mut self, event: Event) {
        match self {
            Screen::Text(screen) => screen.event(event),
            Screen::Json(screen) => screen.event(event),
        }
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
