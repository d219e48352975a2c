//! The test of the fuzzer itself: a bug behind two comparisons in the gateway's id of a well-formed
//! topic, of which the first only shows as coverage. A run from `seeds/topic` must end with this panic
//! within seconds; if it does not, the other targets' silence says nothing.

#![no_main]

use protocols_wire::Topic;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(Topic::Command(gateway)) = Topic::parse(text)
        && gateway.as_str().starts_with('b')
    {
        second(gateway.as_str());
    }
});

/// A function of its own, so that reaching it is new coverage whatever the optimiser does.
#[inline(never)]
fn second(id: &str) {
    assert!(!id.ends_with('g'), "the planted bug was found");
}
