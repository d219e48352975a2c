//! The real binary against a real (if tiny) Modbus device, without any broker.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and look again after a pause"
)]

mod commands;
mod find;
mod guide;
mod life;
mod meter;
mod plant;
mod privacy;
mod recording;
mod replay;
mod rig;
mod rules;
mod sim;
mod time;
mod watch;

use meter::Meter;

/// A gateway with one device of two points, polled ten times a second.
fn config(meter: &Meter) -> String {
    format!(
        r#"schema = 1
[gateway]
id = "gw-1"
state_dir = "state"
[bus.plc]
kind = "modbus-tcp"
addr = "127.0.0.1:{}"
[device.m1]
bus = "plc"
unit = 1
groups = {{ fast = "100ms" }}
points = [
  {{ id = "a", at = "hr:0" }},
  {{ id = "b", at = "hr:1", report = {{ abs = 5 }} }},
]
[uplink.cloud]
identity = "identity.toml"
batch_age = {{ live = "100ms", offline = "200ms" }}
[spool]
max = "16MiB"
commit = "200ms"
"#,
        meter.port
    )
}
