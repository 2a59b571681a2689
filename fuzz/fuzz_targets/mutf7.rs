//! `cargo +nightly fuzz run mutf7`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("mutf7", data));
