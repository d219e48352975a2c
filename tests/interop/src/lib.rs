//! Other people's programs as peers of our drivers and simulators: found or built, started, ended.
//!
//! A test asks for its peer first ([`need!`]) and is left out, with the reason, where the peer cannot be
//! had; with `FOGLINE_REQUIRE_INTEROP=1`, as continuous integration sets it, that fails the test.
//!
//! | peer | comes from |
//! |---|---|
//! | libmodbus, server and client | `peers/*.c`, compiled here; Debian `libmodbus-dev`, `pkg-config`, `gcc` |
//! | `mbpoll`, `socat` | Debian |
//! | Python libraries | PyPI, in a virtual environment below the target folder; `peers/requirements.txt` |

#![forbid(unsafe_code)]

mod build;
mod python;
mod running;

pub use build::{compiled, program};
pub use python::{environment, python};
pub use running::{Running, patience};

/// Whether a missing peer fails the test.
#[must_use]
pub fn required() -> bool {
    std::env::var_os("FOGLINE_REQUIRE_INTEROP").is_some_and(|value| value == "1")
}

/// The peer, or the end of the test: left out with a printed reason, failed where peers are required.
#[macro_export]
macro_rules! need {
    ($peer:expr) => {
        match $peer {
            Ok(peer) => peer,
            Err(why) if $crate::required() => panic!("a peer is missing: {why:#}"),
            Err(why) => {
                println!("left out: {why:#}");
                return;
            }
        }
    };
}
