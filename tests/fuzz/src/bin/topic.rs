//! Fuzz target `topic`: see the function of that name in `tests_fuzz::wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests_fuzz::wire::topic(data));
