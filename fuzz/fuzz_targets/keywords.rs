//! `cargo +nightly fuzz run keywords`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("keywords", data));
