//! Fuzz target `record`: see the function of that name in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols_wire_fuzz::record(data));
