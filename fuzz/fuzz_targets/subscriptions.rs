//! `cargo +nightly fuzz run subscriptions`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailmend_fuzz::run("subscriptions", data));
