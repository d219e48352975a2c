//! Passes the time of the build to the TLS clock floor: `SOURCE_DATE_EPOCH` where a reproducible
//! build sets it, else now. A board without a clock is never older than its program.

use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "a build script asks the machine")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = set.and_then(|text| text.trim().parse().ok());
    let seconds: u64 = seconds.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |span| span.as_secs())
    });
    println!("cargo::rustc-env=FOGLINE_BUILD_SECONDS={seconds}");
}
