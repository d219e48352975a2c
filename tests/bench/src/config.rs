//! The gateway's configuration for the measured field, as a person would write it: one template a kind of
//! device, one bus and one device a unit, everything else as it comes.

use crate::drives::{DRIVES, HIGH};
use crate::field;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tests_fieldsim::{radio, serial};

/// The file of one gateway, written part by part.
#[derive(Debug)]
pub(crate) struct Config(String);

impl Config {
    /// A gateway `id` that seals live batches at `age`, without a device.
    pub(crate) fn new(id: &str, age: Duration) -> Self {
        Self::aged(id, age, Duration::from_secs(10))
    }

    /// As [`Self::new`], with batches of `offline` while the uplink is not live.
    pub(crate) fn aged(id: &str, live: Duration, offline: Duration) -> Self {
        Self(format!(
            "schema = 1\n\n[gateway]\nid = \"{id}\"\nstate_dir = \"state\"\n\n\
             [uplink.cloud]\nidentity = \"identity.toml\"\n\
             batch_age = {{ live = \"{}ms\", offline = \"{}ms\" }}\n\n[http]\nport = 0\n",
            live.as_millis(),
            offline.as_millis(),
        ))
    }

    /// With more of it, as it is written.
    pub(crate) fn add_text(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self
    }

    /// The 100 units of 100 registers; `report` stands at each point.
    pub(crate) fn meters(self, ports: &BTreeMap<String, u16>, report: &str) -> Self {
        self.meters_each(ports, field::UNITS, Duration::from_secs(1), report)
    }

    /// The first `units` of them, each asked every `period`.
    pub(crate) fn meters_each(
        mut self,
        ports: &BTreeMap<String, u16>,
        units: u16,
        period: Duration,
        report: &str,
    ) -> Self {
        let period = period.as_millis();
        self.add(format_args!(
            "\n[template.meter]\nkind = \"modbus\"\ngroups = {{ all = \"{period}ms\" }}\npoints = [\n"
        ));
        for register in 0..field::REGISTERS {
            let id = field::point_name(register);
            // The probe is how an answer is found again: it must not be filtered out.
            let report = if register == 0 { "" } else { report };
            self.add(format_args!(
                "  {{ id = \"{id}\", at = \"ir:{register}\", as = \"u16\"{report} }},\n"
            ));
        }
        self.add(format_args!("]\n"));
        for number in 1..=units {
            let bus = field::bus_name(number);
            let port = ports.get(&bus).copied().unwrap_or_default();
            let device = field::device_name(number);
            self.add(format_args!(
                "\n[bus.{bus}]\nkind = \"modbus-tcp\"\naddr = \"127.0.0.1:{port}\"\n\
                 [device.{device}]\nbus = \"{bus}\"\nunit = 1\ntemplate = \"meter\"\n"
            ));
        }
        self
    }

    /// The scale and the instrument, whose lines are in `lines`.
    pub(crate) fn serial(mut self, lines: &Path) -> Self {
        let bus = |name: &str, baud| {
            let port = lines.join(name);
            format!(
                "\n[bus.{name}]\nkind = \"serial\"\nport = \"{}\"\nline = \"{baud} 8N1\"\n",
                port.display()
            )
        };
        let (scale, weight, baud) = field::SCALE;
        self.0.push_str(&bus(scale, baud));
        self.add(format_args!(
            "check = \"xor8 hex after:*\"\n[device.{scale}]\nbus = \"{scale}\"\ngroups = {{ all = \"2s\" }}\n\
             parse = 'regex:ST,GS, *(?<{weight}>[-+][0-9.]+),kg'\n\
             points = [ {{ id = \"{weight}\", field = \"{weight}\" }} ]\n"
        ));
        let (instrument, volt, baud) = field::INSTRUMENT;
        self.0.push_str(&bus(instrument, baud));
        let question = serial::question(volt);
        self.add(format_args!(
            "[device.{instrument}]\nbus = \"{instrument}\"\ngroups = {{ all = \"1s\" }}\n\
             points = [ {{ id = \"{volt}\", ask = \"{question}\\n\" }} ]\n"
        ));
        self
    }

    /// The 200 sensors.
    pub(crate) fn sensors(mut self) -> Self {
        self.add(format_args!("\n[bus.air]\nkind = \"ble\"\n"));
        let points = field::FIELDS
            .map(|id| format!("{{ id = \"{id}\" }}"))
            .join(", ");
        for decode in [radio::format(1), radio::format(2)] {
            self.add(format_args!(
                "[template.{decode}]\nkind = \"ble\"\ndecode = \"{decode}\"\npoints = [ {points} ]\n"
            ));
        }
        for number in 1..=field::SENSORS {
            self.add(format_args!(
                "[device.{}]\nbus = \"air\"\ntemplate = \"{}\"\naddress = \"{}\"\n",
                field::sensor_name(number),
                radio::format(number),
                radio::address(number),
            ));
        }
        self
    }

    /// The drives behind `at`, each polled every `period`.
    pub(crate) fn drives(mut self, at: SocketAddr, period: Duration) -> Self {
        self.add(format_args!(
            "\n[bus.drives]\nkind = \"modbus-tcp\"\naddr = \"{at}\"\n\
             [template.drive]\nkind = \"modbus\"\ngroups = {{ all = \"{}ms\" }}\npoints = [\n",
            period.as_millis()
        ));
        for register in 0..10 {
            self.add(format_args!(
                "  {{ id = \"r{register}\", at = \"hr:{register}\", as = \"u16\" }},\n"
            ));
        }
        self.add(format_args!(
            "  {{ id = \"set\", at = \"hr:100\", as = \"u16\", write = \"only\" }},\n]\n"
        ));
        for unit in 1..=DRIVES {
            self.add(format_args!(
                "[device.drive-{unit}]\nbus = \"drives\"\nunit = {unit}\ntemplate = \"drive\"\n"
            ));
        }
        self
    }

    /// For each drive a rule that writes a pulse back.
    pub(crate) fn following(mut self) -> Self {
        for unit in 1..=DRIVES {
            self.add(format_args!(
                "\n[rule.follow-{unit}]\nwhen = \"drive-{unit}.r0 > {HIGH}\"\nmax_writes = \"1000/1s\"\n\
                 write = [ {{ point = \"drive-{unit}/set\", expr = \"drive-{unit}.r0\" }} ]\n"
            ));
        }
        self
    }

    /// A rule for each unit, over a register that moves, with hysteresis and a held condition.
    pub(crate) fn watching(mut self) -> Self {
        for number in 1..=field::UNITS {
            let device = field::device_name(number);
            let point = |register| format!("{device}.{}", field::point_name(register));
            let (one, other) = (point(10), point(11));
            self.add(format_args!(
                "\n[rule.watch-{number}]\nwhen = \"{one} > 60000 && {other} > 100\"\nfor = \"20s\"\n\
                 clear = \"{one} < 50000\"\nalarm = {{ level = \"high\", text = \"too high\" }}\n"
            ));
        }
        self
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _infallible = self.0.write_fmt(line);
    }
}
