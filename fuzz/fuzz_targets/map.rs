//! `cargo +nightly fuzz run map`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("map", data));
