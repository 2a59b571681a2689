//! A recovery drill: builds a throwaway store, breaks it, has it repaired, and scores the repair against
//! the truth, to the last byte, name, flag and date.
//!
//! Writes only below the folder that it is given, and never calls the engine itself: what it drills
//! stands behind [`Tool`]. Imports only `model`.

pub mod companions;
pub mod copy;
pub mod corpus;
pub mod damage;
pub mod day;
pub mod disk;
pub mod encode;
pub mod mail;
pub mod names;
#[cfg(test)]
mod oracle;
pub mod scene;
pub mod score;
pub mod tool;
pub mod truth;
pub mod world;

pub use disk::{DrillError, Result};
pub use scene::SceneReport;
pub use tool::{Found, Heard, Repair, Tool, Undecided};
pub use world::World;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to drill.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    /// An empty or absent folder for everything; the caller removes it.
    pub dir: PathBuf,
    pub seed: u64,
    pub accounts: usize,
    /// Messages of an account, on average.
    pub messages: usize,
    /// Real mail to fill the store with; the generator's otherwise.
    pub corpus: Option<PathBuf>,
}

impl DrillOptions {
    /// The store that finishes in seconds.
    pub fn in_dir(dir: PathBuf) -> DrillOptions {
        DrillOptions { dir, seed: 1, accounts: 8, messages: 120, corpus: None }
    }
}

/// How the drill went.
#[derive(Debug, Clone)]
pub struct DrillReport {
    pub world: World,
    pub scenes: Vec<SceneReport>,
    pub elapsed: Duration,
}

impl DrillReport {
    /// All that was recoverable was recovered, and nothing else happened.
    pub fn perfect(&self) -> bool {
        self.scenes.iter().all(SceneReport::perfect)
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let w = &self.world;
        let mut out = format!(
            "{} messages in {} mailboxes of {} accounts, {:.1} MB\n",
            w.messages,
            w.mailboxes,
            w.accounts,
            w.bytes as f64 / 1e6
        );
        for scene in &self.scenes {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "\n{}\n{}", scene.name, scene.score.table().trim_end());
            for failure in &scene.failures {
                let _ = writeln!(out, "    {failure}");
            }
            let times: Vec<String> =
                scene.phases.iter().map(|(p, t)| format!("{p} {:.2} s", t.as_secs_f64())).collect();
            let _ = writeln!(out, "  {}", times.join(" · "));
        }
        let verdict = if self.perfect() { "everything recoverable was recovered" } else { "the recovery fell short" };
        let _ = writeln!(out, "\n{verdict} ({:.1} s in all)", self.elapsed.as_secs_f64());
        out
    }
}

/// Plays both scenes with `tool`.
pub fn run(options: &DrillOptions, tool: &mut dyn Tool) -> Result<DrillReport> {
    let start = Instant::now();
    let mut mails = match &options.corpus {
        Some(dir) => corpus::Mails::below(dir, options.seed)?,
        None => corpus::Mails::generated(options.seed),
    };
    let (living, replaced) = (options.dir.join("living"), options.dir.join("replaced"));
    let store = living.join("store");
    let size = world::WorldOptions { seed: options.seed, accounts: options.accounts, messages: options.messages };
    let world = world::build(&store, &mut mails, &size)?;
    let first = scene::living(&living, &store, &mut mails, tool, options)?;
    let second = scene::replaced(&replaced, &living.join("replica"), tool, options)?;
    Ok(DrillReport { world, scenes: vec![first, second], elapsed: start.elapsed() })
}
