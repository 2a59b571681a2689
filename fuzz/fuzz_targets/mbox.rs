//! `cargo +nightly fuzz run mbox`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("mbox", data));
