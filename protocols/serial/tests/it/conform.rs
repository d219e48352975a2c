//! The conformance kit on an asked and on a listening line.
