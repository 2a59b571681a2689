//! `cargo +nightly fuzz run mdbox`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("mdbox", data));
