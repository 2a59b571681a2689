//! What only a real machine shows: attributes, compressed and large mail, sick disks, signals, other users, and
//! what a reader process really may do. Driven through the real binary.

mod common;

#[path = "reality/kit.rs"]
mod kit;

#[path = "reality/attributes.rs"]
mod attributes;
#[path = "reality/bare.rs"]
mod bare;
#[path = "reality/binary.rs"]
mod binary;
#[path = "reality/compressed.rs"]
mod compressed;
#[path = "reality/confined.rs"]
mod confined;
#[path = "reality/gentle.rs"]
mod gentle;
#[path = "reality/guarded.rs"]
mod guarded;
#[path = "reality/large.rs"]
mod large;
#[path = "reality/mounted.rs"]
mod mounted;
#[path = "reality/odd.rs"]
mod odd;
#[path = "reality/order.rs"]
mod order;
#[path = "reality/sick.rs"]
mod sick;
#[path = "reality/signals.rs"]
mod signals;
#[path = "reality/splice.rs"]
mod splice;
#[path = "reality/triage.rs"]
mod triage;
#[path = "reality/user.rs"]
mod user;
