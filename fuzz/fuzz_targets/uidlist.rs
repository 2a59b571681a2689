//! `cargo +nightly fuzz run uidlist`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("uidlist", data));
