//! `cargo +nightly fuzz run mailbox_log`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("mailbox_log", data));
