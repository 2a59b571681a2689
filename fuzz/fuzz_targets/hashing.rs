//! `cargo +nightly fuzz run hashing`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("hashing", data));
