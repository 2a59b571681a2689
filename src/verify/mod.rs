//! Bytes in, evidence out. Digests and checks are state machines fed by windows, so that a message of any
//! size is judged in bounded memory, and a hole is an event rather than zeros.
//!
//! May not touch files, clocks, randomness, or any module of this crate but `model`. Nothing here fails:
//! whatever strangers wrote, the answer is evidence.

pub mod checks;
pub mod convert;
pub mod dkim;
mod dkim_body;
mod dkim_tags;
mod encoding;
mod envelope;
pub mod groups;
pub mod hashing;
mod header;
mod line_ends;
mod mime;
mod part;
mod pattern;
mod pieces;
mod sector;
mod yenc;

pub use checks::{Checks, Claims};
pub use dkim::BodyProof;
pub use hashing::{Hashes, Hashing, Start, start_of_line};
pub use header::name as field_name;
pub use pieces::Piecer;
