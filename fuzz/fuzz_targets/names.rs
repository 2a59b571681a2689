//! `cargo +nightly fuzz run names`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("names", data));
