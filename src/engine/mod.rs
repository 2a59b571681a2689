//! Orchestration: discovery, lane processes, scan, missing, repair.

pub mod lane;
