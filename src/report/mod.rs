//! What people and programs read: rows in, text out.
//!
//! Pure. May import only `model`, and may not print, draw, read a clock or know a terminal.

pub mod b3sum;
pub mod base64;
pub mod check;
pub mod json;
pub mod losses;
pub mod metrics;
pub mod plan_text;
pub mod sanitise;
pub mod sides;
pub mod summary;
pub mod text;
pub mod triage;
pub mod words;
