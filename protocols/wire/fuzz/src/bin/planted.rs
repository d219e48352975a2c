//! The test of the fuzzer itself: a bug that two changed fields of a well-formed claim show. A run
//! from the seeds of `record` must end with this panic within seconds; if it does not, the other
//! targets' silence says nothing.

#![no_main]

use protocols_model::{Lane, LossReason};
use protocols_wire::{Body, Record};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(record) = Record::decode(data)
        && let Body::Claims(claims) = record.body
    {
        let bug = claims
            .iter()
            .any(|claim| claim.reason == LossReason::CloudRestored && claim.lane == Lane::Event);
        assert!(!bug, "the planted bug was found");
    }
});
