//! `cargo +nightly fuzz run signatures`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("signatures", data));
