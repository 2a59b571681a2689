//! `cargo +nightly fuzz run index`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("index", data));
