//! `cargo +nightly fuzz run codec`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("codec", data));
