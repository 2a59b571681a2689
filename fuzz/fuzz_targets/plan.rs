//! `cargo +nightly fuzz run plan`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("plan", data));
