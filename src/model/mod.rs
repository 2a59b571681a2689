//! Pure data that every layer shares: paths, bytes and holes, evidence, plans, journal records, events.
//!
//! May not touch files, clocks, randomness or other modules of this crate.

pub mod container;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod form;
pub mod format;
pub mod groups;
pub mod journal;
pub mod limits;
pub mod message;
pub mod path;
pub mod pieces;
pub mod plan;
pub mod server;
pub mod sides;
pub mod signed;
pub mod span;
pub mod tally;
pub mod triage;
pub mod wire;
pub mod zone;

pub use digest::Digest;
pub use evidence::{Assurance, Check, Evidence, Fault, FaultKind, Missing, Outcome, Verdict};
pub use format::Format;
pub use message::{Attrs, CopyFacts, Encoding, Envelope, Key, Stamp, Stat};
pub use path::RelPath;
pub use signed::{Agrees, Signed};
pub use span::Span;
pub use zone::Zone;
