//! Fuzz target `ble`: see the function of that name in `tests_fuzz::field`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests_fuzz::field::ble(data));
