//! A year of nights on a living store: users, servers, jobs, disks and an administrator go about their work, and every
//! night a verify with a budget says what is true.
//!
//! The year is long: `tests/run` plays some weeks of it, `tests/run --long` all of it. Both are seeded:
//! `MAILMEND_SIM_SEED` gives another year.

mod common;

#[path = "nights/check.rs"]
mod check;
#[path = "nights/quiet.rs"]
mod quiet;
#[path = "nights/records.rs"]
mod records;
#[path = "nights/town.rs"]
mod town;
#[path = "nights/year.rs"]
mod year;
