//! The only writer of mail: steps, journal, quarantine, recovery, undo.
//!
//! May never decode mail, decide what is right, unlink anything in a store, or overwrite a file that is not
//! the very inode that the plan judged. It changes names; the bytes that leave a name stay in quarantine.
//!
//! The order that everything rests on: new bytes into a slot of the quarantine, synced, read back and
//! proven; `Begin` on the disk; the change of names; the directories synced; `Done` on the disk.

mod batch;
mod change;
mod claim;
mod dotlock;
mod executor;
mod fault;
mod judge;
pub mod log;
mod mailbox;
mod numbers;
pub mod quarantine;
mod recover;
mod settle;
mod stage;
mod supply;
mod undo;

#[cfg(test)]
mod sim_build;
#[cfg(test)]
mod sim_campaign;
#[cfg(test)]
mod sim_hands;
#[cfg(test)]
mod sim_law;
#[cfg(test)]
mod sim_mistakes;
#[cfg(test)]
mod sim_mutants;
#[cfg(test)]
mod sim_others;
#[cfg(test)]
mod sim_story;
#[cfg(test)]
mod sim_tests;
#[cfg(test)]
mod sim_world;
#[cfg(test)]
mod tests;

pub use batch::{Applied, ApplyError, Report, Stop};
pub use executor::{Executor, Options};
pub use log::{FileLog, Line, Lines, Log};
pub use recover::{Recovered, recover};
pub use supply::{Prover, Supplied, Supply, SupplyError};
pub use undo::{Undo, UndoStep, plan_undo, undo};
