//! The gateway's configuration for the measured field, as a person would write it: one template, one
//! bus and one device a unit, everything else as it comes.

use crate::field;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The file of gateway `id` that seals live batches at `age`.
pub(crate) fn gateway(id: &str, age: Duration, ports: &BTreeMap<String, u16>) -> String {
    let mut text = format!(
        "schema = 1\n\n[gateway]\nid = \"{id}\"\nstate_dir = \"state\"\n\n\
         [uplink.cloud]\nidentity = \"identity.toml\"\n\
         batch_age = {{ live = \"{}ms\", offline = \"10s\" }}\n\n[http]\nport = 0\n\n\
         [template.meter]\ngroups = {{ all = \"1s\" }}\npoints = [\n",
        age.as_millis(),
    );
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a `String` cannot fail.
        let _infallible = text.write_fmt(line);
    };
    for register in 0..field::REGISTERS {
        let id = field::point_name(register);
        line(format_args!(
            "  {{ id = \"{id}\", at = \"ir:{register}\", as = \"u16\" }},\n"
        ));
    }
    line(format_args!("]\n"));
    for number in 1..=field::UNITS {
        let bus = field::bus_name(number);
        let port = ports.get(&bus).copied().unwrap_or_default();
        let device = field::device_name(number);
        line(format_args!(
            "\n[bus.{bus}]\nkind = \"modbus-tcp\"\naddr = \"127.0.0.1:{port}\"\n\
             [device.{device}]\nbus = \"{bus}\"\nunit = 1\ntemplate = \"meter\"\n"
        ));
    }
    text
}
