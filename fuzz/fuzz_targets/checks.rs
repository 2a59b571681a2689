//! `cargo +nightly fuzz run checks`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("checks", data));
