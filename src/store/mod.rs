//! store

pub mod codec;
mod lz4;
