//! The main job, end to end, by the real binary: every promise of the recovery scenarios.
//!
//! Each test has a folder and a state of its own. Real mail is used where there is some.

mod common;

#[path = "scenarios/across.rs"]
mod across;
#[path = "scenarios/against.rs"]
mod against;
#[path = "scenarios/blank.rs"]
mod blank;
#[path = "scenarios/budget.rs"]
mod budget;
#[path = "scenarios/limits.rs"]
mod limits;
#[path = "scenarios/listed.rs"]
mod listed;
#[path = "scenarios/live.rs"]
mod live;
#[path = "scenarios/mbox.rs"]
mod mbox;
#[path = "scenarios/mdbox.rs"]
mod mdbox;
#[path = "scenarios/mdbox_anew.rs"]
mod mdbox_anew;
#[path = "scenarios/nights.rs"]
mod nights;
#[path = "scenarios/people.rs"]
mod people;
#[path = "scenarios/plain.rs"]
mod plain;
#[path = "scenarios/rates.rs"]
mod rates;
#[path = "scenarios/records.rs"]
mod records;
#[path = "scenarios/refusals.rs"]
mod refusals;
#[path = "scenarios/sdbox.rs"]
mod sdbox;
#[path = "scenarios/sources.rs"]
mod sources;
#[path = "scenarios/trends.rs"]
mod trends;
