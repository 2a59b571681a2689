//! Nothing ever gets worse: the real binary is killed, starved, cut off from its disk and run beside itself, at every
//! call that changes a file, and what it was given to look after is counted each time.

mod common;

#[path = "reality/kit.rs"]
mod kit;

#[path = "never_worse/disks.rs"]
mod disks;
#[path = "never_worse/faults.rs"]
mod faults;
#[path = "never_worse/ground.rs"]
mod ground;
#[path = "never_worse/kills.rs"]
mod kills;
#[path = "never_worse/locks.rs"]
mod locks;
#[path = "never_worse/power.rs"]
mod power;
#[path = "never_worse/shared.rs"]
mod shared;
#[path = "never_worse/stops.rs"]
mod stops;
#[path = "never_worse/trace.rs"]
mod trace;
