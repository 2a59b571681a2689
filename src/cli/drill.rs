//! `drill`: builds a store, breaks it, has this very program recover it, and scores the recovery.

use super::args::Drill;
use super::session::Session;
use crate::catalog::Catalog;
use crate::drill::{self, DrillError, DrillOptions, Found, Heard, Tool};
use crate::engine::execute::{self, Execution, Undoing};
use crate::engine::job::{Mode, Options};
use crate::engine::lane;
use crate::engine::run::{Invocation, scan_store};
use crate::engine::runs::RunFolder;
use crate::engine::selection::Selection;
use crate::model::event::{Event, Finding};
use crate::model::tally::Tally;
use crate::plan;
use crate::sys::clock;
use anyhow::Context;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, args: &Drill) -> anyhow::Result<u8> {
    let dir = folder(args)?;
    let mut options = DrillOptions::in_dir(dir.clone());
    options.corpus = args.corpus.clone();
    options.seed = args.seed.unwrap_or(options.seed);
    if let Some(size) = args.size {
        options.accounts = size.accounts as usize;
        options.messages = size.messages as usize;
    }
    let mut tool = Engine { state: dir.join("state"), lane: session.lane(&Default::default()) };
    let played = drill::run(&options, &mut tool);
    if !args.keep {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let report = played?;
    let status = if report.perfect() { 0 } else { 4 };
    if session.settings.json {
        session.screen.emit(&serde_json::json!({
            "schema": crate::report::json::SCHEMA, "run": session.run, "type": "summary", "command": "drill",
            "perfect": report.perfect(), "messages": report.world.messages, "accounts": report.world.accounts,
            "elapsed_s": report.elapsed.as_secs_f64(), "exit": status,
        }));
    }
    session.screen.print(&report.table());
    if args.keep {
        session.screen.print(&format!("kept in {}\n", dir.display()));
    }
    Ok(status)
}

/// The drill's own folder: new, or empty.
fn folder(args: &Drill) -> anyhow::Result<PathBuf> {
    use crate::engine::account::EngineError;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        // Others can guess its name: it is new, or it is not ours.
        None => {
            let run = clock::run_id(clock::now(), |_| false)?;
            let dir = std::env::temp_dir().join(format!("mailmend-drill-{run}"));
            fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            dir
        }
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = fs::canonicalize(&dir)?;
    if fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?.next().is_some() {
        return Err(EngineError::Usage(format!(
            "{} is not empty: the drill works in a folder of its own",
            dir.display()
        ))
        .into());
    }
    Ok(dir)
}

/// This program as the drill's tool: the same engine, with a state folder of the drill's own.
struct Engine {
    state: PathBuf,
    lane: lane::Settings,
}

impl Engine {
    fn run_id(&self) -> std::io::Result<String> {
        let taken = |run: &str| RunFolder::named(&self.state, run).is_ok_and(|folder| folder.path.exists());
        clock::run_id(clock::now(), taken)
    }

    fn scan(
        &self,
        mode: Mode,
        store: &Path,
        repair: Option<&drill::Repair>,
    ) -> anyhow::Result<(String, Tally, Vec<Event>, Option<RunFolder>)> {
        let run = self.run_id()?;
        let mut catalog = Catalog::open(&self.state.join("catalog.db"))?;
        let mut events: Vec<Event> = Vec::new();
        let sources = match repair {
            Some(repair) => repair.sources.iter().map(|s| source(s)).collect::<anyhow::Result<Vec<_>>>()?,
            None => Vec::new(),
        };
        let folder = repair.map(|_| RunFolder::create(&self.state, &run)).transpose()?;
        let scanned = scan_store(Invocation {
            run: run.clone(),
            store: store.to_owned(),
            sources,
            options: Options {
                mode,
                deep: false,
                undecided: match repair.map(|r| r.undecided).unwrap_or_default() {
                    drill::Undecided::Report => plan::Undecided::Report,
                    drill::Undecided::Restore => plan::Undecided::Restore,
                    drill::Undecided::Folder => plan::Undecided::Folder,
                },
                owner: None,
                select: Selection::default(),
                layout: None,
                both_sides: false,
                hold_findings: repair.is_some_and(|r| r.apply),
                budget: None,
                max_age: None,
                medium: false,
                against: false,
            },
            lane: self.lane.clone(),
            catalog: Some(&mut catalog),
            record: true,
            observer: &mut events,
            stop: &|| false,
            describe: &|_: &Finding| String::new(),
            plan: folder.as_ref().map(RunFolder::plan),
            elsewhere: false,
            state: Some(self.state.clone()),
            lock: false,
        })?;
        let mut tally = scanned.tally;
        if let (Some(repair), Some(folder)) = (repair, &folder)
            && repair.apply
            && scanned.need.2 > 0
        {
            let base = fs::canonicalize(store)?;
            let (done, _) = execute::execute(Execution {
                run: run.clone(),
                command: "repair".to_owned(),
                plan: folder.plan(),
                folder: folder.clone(),
                base_is_mailbox: base.join("cur").is_dir(),
                base,
                elsewhere: false,
                quarantine: None,
                state: self.state.clone(),
                lane: self.lane.clone(),
                lock: None,
                need: (scanned.need.0, scanned.need.1),
                observer: &mut events,
                stop: &|| false,
            })?;
            tally.add(&done);
        }
        Ok((run, tally, events, folder))
    }
}

fn source(text: &str) -> anyhow::Result<crate::source::Spec> {
    let spec = super::values::Spec::parse(std::ffi::OsStr::new(text))?;
    Ok(super::session::spec(&spec))
}

fn heard(run: String, tally: &Tally, events: &[Event]) -> Heard {
    let found = events.iter().filter_map(|event| match event {
        Event::Finding(finding) => Some(Found::from(&**finding)),
        _ => None,
    });
    Heard { run, exit: tally.exit(), found: found.collect() }
}

/// The drill's own error, from any of ours.
fn failed(error: anyhow::Error) -> DrillError {
    DrillError::Tool(format!("{error:#}"))
}

impl Tool for Engine {
    fn verify(&mut self, store: &Path) -> drill::Result<Heard> {
        let (run, tally, events, _) = self.scan(Mode::Verify, store, None).map_err(failed)?;
        Ok(heard(run, &tally, &events))
    }

    fn repair(&mut self, store: &Path, repair: &drill::Repair) -> drill::Result<Heard> {
        let (run, tally, events, _) = self.scan(Mode::Repair, store, Some(repair)).map_err(failed)?;
        Ok(heard(run, &tally, &events))
    }

    fn undo(&mut self, run: &str) -> drill::Result<Heard> {
        let go = || -> anyhow::Result<Heard> {
            let undone = RunFolder::named(&self.state, run)?.read_note()?;
            let own = self.run_id()?;
            let mut events: Vec<Event> = Vec::new();
            let state = self.state.clone();
            let (tally, _) =
                execute::undo(Undoing { run: own.clone(), state, undone, observer: &mut events, stop: &|| false })?;
            Ok(heard(own, &tally, &events))
        };
        go().map_err(failed)
    }
}
