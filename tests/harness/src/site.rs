//! The field that the demo, the tests and the chaos rounds poll: three Modbus TCP meters behind one
//! gateway, four units on an RS-485 bus behind another.
//!
//! The demo adds the other families ([`all_families`]): a scale that sends by itself and an instrument that
//! is asked, on serial lines of their own, and two Bluetooth LE sensors.
//!
//! A quarter of the points filters; one unit goes silent now and then; function codes 1 to 4 and
//! five register kinds occur. Periods are in polls of one second.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::{
    BusKind, BusSite, PointSite, Shape, Site, Space, UnitSite, WordKind, radio, serial, signal,
};

/// Polls the three meters.
pub const HALL_1: &str = "hall-1";
/// Polls the RS-485 bus.
pub const HALL_2: &str = "hall-2";

const BAUD: u32 = 38_400;

/// The site; the RS-485 bus appears as `rs485` in `links`.
#[must_use]
pub fn demo(links: &Path) -> Site {
    let meter = |number: u8| BusSite {
        name: format!("net-{number}"),
        gateway: HALL_1.to_owned(),
        kind: BusKind::Tcp { port: 0 },
        units: vec![unit(1, &format!("meter-{number}"), f64::from(number))],
    };
    let mut pumps: Vec<UnitSite> = (1..=4u8)
        .map(|n| unit(n, &format!("pump-{n}"), 3.0 + f64::from(n)))
        .collect();
    if let Some(last) = pumps.last_mut() {
        last.silent_every_s = 15;
        last.silent_s = 5;
    }
    let link = links.join("rs485").to_string_lossy().into_owned();
    let rs485 = BusSite {
        name: "rs485".to_owned(),
        gateway: HALL_2.to_owned(),
        kind: BusKind::Rtu { link, baud: BAUD },
        units: pumps,
    };
    Site {
        buses: vec![meter(1), meter(2), meter(3), rs485],
    }
}

/// The site with all three families; the lines appear in `links`. Without `radio` there are no sensors:
/// they need a D-Bus daemon.
#[must_use]
pub fn all_families(links: &Path, radio: bool) -> Site {
    let mut site = demo(links);
    let link = |name: &str| links.join(name).to_string_lossy().into_owned();
    let device = |number, device: &str, points| UnitSite {
        unit: number,
        device: device.to_owned(),
        points,
        silent_every_s: 0,
        silent_s: 0,
    };
    let plain =
        |id: &str, kind, shape, unit: &str| point(id, Space::Input, 0, kind, shape, unit, 0.0, 0);
    let weight = plain("weight", WordKind::I32, sine(12.0, 8.0, 40.0), "kg");
    site.buses.push(BusSite {
        name: "scale".to_owned(),
        gateway: HALL_2.to_owned(),
        kind: BusKind::Scale {
            link: link("scale"),
            baud: 9600,
            every_ms: 500,
        },
        units: vec![device(1, "scale", vec![weight])],
    });
    let volt = plain("volt", WordKind::I64, sine(24.0, 1.0, 50.0), "V");
    let mut curr = plain("curr", WordKind::I64, sine(2.0, 1.5, 30.0), "A");
    (curr.deadband, curr.beat_s) = (0.2, 30);
    site.buses.push(BusSite {
        name: "bench".to_owned(),
        gateway: HALL_2.to_owned(),
        kind: BusKind::Scpi {
            link: link("multimeter"),
            baud: 19_200,
        },
        units: vec![device(1, "multimeter", vec![volt, curr])],
    });
    if radio {
        let sensor = |number, name: &str, base: f64| {
            let temperature = sine(base, 4.0, 60.0);
            let points = vec![
                plain("temperature", WordKind::Centi, temperature, "°C"),
                plain("humidity", WordKind::Centi, sine(50.0, 20.0, 90.0), "%"),
            ];
            device(number, name, points)
        };
        site.buses.push(BusSite {
            name: "air".to_owned(),
            gateway: HALL_1.to_owned(),
            kind: BusKind::Radio { every_ms: 1000 },
            units: vec![sensor(1, "cellar", 12.0), sensor(2, "roof", 20.0)],
        });
    }
    site
}

fn sine(base: f64, amplitude: f64, period: f64) -> Shape {
    Shape::Sine {
        base,
        amplitude,
        period,
    }
}

fn unit(number: u8, device: &str, k: f64) -> UnitSite {
    use Space::{Holding, Input};
    use WordKind::{F32, I32, I64, U16, U32};
    let mut points = vec![
        point(
            "u_l1",
            Input,
            0,
            I64,
            sine(230.0, 4.0 + k, 90.0 + 7.0 * k),
            "V",
            0.5,
            30,
        ),
        point(
            "i_l1",
            Input,
            4,
            I64,
            sine(12.0, 6.0, 40.0 + 5.0 * k),
            "A",
            0.4,
            30,
        ),
        point(
            "p_sum",
            Input,
            8,
            I32,
            sine(2760.0, 900.0, 60.0 + 3.0 * k),
            "W",
            60.0,
            60,
        ),
        point("energy", Input, 10, U32, Shape::Count, "Wh", 0.0, 0),
        point(
            "frequency",
            Input,
            12,
            I32,
            sine(50.0, 0.2, 33.0),
            "Hz",
            0.0,
            0,
        ),
        point("runtime", Input, 14, F32, Shape::Count, "s", 0.0, 0),
        point("status", Input, 16, U16, Shape::Count, "", 0.0, 0),
        point(
            SET_POINT,
            Holding,
            100,
            I64,
            sine(60.0, 15.0, 200.0),
            "%",
            1.0,
            45,
        ),
        point(
            "temperature",
            Holding,
            104,
            I64,
            sine(41.0, 3.0, 150.0),
            "°C",
            0.0,
            0,
        ),
    ];
    for bit in 0..4u16 {
        points.push(bit_point("relay", Space::Coil, bit));
        points.push(bit_point("input", Space::Discrete, bit));
    }
    UnitSite {
        unit: number,
        device: device.to_owned(),
        points,
        silent_every_s: 0,
        silent_s: 0,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a table reads best with one row a point"
)]
fn point(
    id: &str,
    space: Space,
    address: u16,
    kind: WordKind,
    shape: Shape,
    unit: &str,
    deadband: f64,
    beat_s: u32,
) -> PointSite {
    let (id, unit) = (id.to_owned(), unit.to_owned());
    PointSite {
        id,
        space,
        address,
        kind,
        shape,
        unit,
        deadband,
        beat_s,
    }
}

fn bit_point(name: &str, space: Space, bit: u16) -> PointSite {
    let id = format!("{name}_{bit}");
    point(&id, space, bit, WordKind::Bit, Shape::Count, "", 0.0, 0)
}

/// A point of every unit that filters, and that somebody sets rather than measures.
pub const SET_POINT: &str = "setpoint";

/// Lets the set point of a device stand still, within what its filter leaves out.
pub fn hold_set_point(site: &mut Site, device: &str) {
    let units = site.buses.iter_mut().flat_map(|bus| &mut bus.units);
    let units = units.filter(|unit| unit.device == device);
    for point in units.flat_map(|unit| &mut unit.points) {
        if point.id == SET_POINT {
            // The number of the poll stands far behind the decimal point.
            point.shape = sine(60.0, 0.0, 200.0);
            point.beat_s = 3600;
        }
    }
}

/// The demo's alarm: raised some 20 s after the start, cleared after a minute, and again every 150 s.
pub const WARM: &[(&str, &str)] = &[(
    HALL_1,
    r#"
[rule.meter-1-warm]
when = "meter-1.temperature > 43"
for = "2s"
clear = "meter-1.temperature < 42"
alarm = { level = "medium", text = "meter 1 is warm" }
"#,
)];

/// An alarm that comes and goes every 16 polls, for whoever has no time.
pub const RELAY: &[(&str, &str)] = &[(
    HALL_1,
    r#"
[rule.relay-3-on]
when = "meter-1.relay_3"
alarm = { level = "high", text = "relay 3 of meter 1 is on" }
"#,
)];

/// What a gateway's configuration says beside its devices.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Age at which a batch is sealed while live.
    pub batch_live: Duration,
    /// Age at which a batch is sealed while offline.
    pub batch_offline: Duration,
    /// When a record is due for the disk.
    pub commit: Duration,
    /// Disk quota of the spool, as the configuration writes it.
    pub spool_max: String,
    /// What a spool does with readings when it is full, as the configuration writes it. It drops its oldest
    /// unless told otherwise: thinned ones come out of the order in which the oracle looks for them, which is no
    /// matter only where no value comes twice.
    pub full: &'static str,
    /// An empty spool larger than this on disk moves to a fresh directory.
    pub rotate_above: String,
    /// How often every point is polled.
    pub poll: Duration,
    /// How often points with a filter tell that they still say the same.
    pub keep_alive: Option<Duration>,
    /// Rules of gateways: whose, and as the configuration writes them.
    pub rules: &'static [(&'static str, &'static str)],
    /// libfaketime, where the gateways' clocks are to be stepped.
    pub faketime: Option<PathBuf>,
}

impl GatewayOptions {
    /// Nothing waits longer than this to be sealed.
    #[must_use]
    pub fn longest_batch(&self) -> Duration {
        self.batch_live.max(self.batch_offline)
    }
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            batch_live: Duration::from_millis(500),
            batch_offline: Duration::from_secs(2),
            commit: Duration::from_secs(2),
            spool_max: "64MiB".to_owned(),
            full: "drop-oldest",
            rotate_above: "32MiB".to_owned(),
            poll: Duration::from_secs(1),
            keep_alive: None,
            rules: &[],
            faketime: None,
        }
    }
}

/// The gateways of a site, by name.
#[must_use]
pub fn gateways(site: &Site) -> Vec<String> {
    let names = site.buses.iter().map(|bus| bus.gateway.clone());
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

/// The configuration file of `gateway`: its buses and devices, its spool beside, the identity file
/// `identity.toml` in the same folder.
#[must_use]
pub fn gateway_toml(
    site: &Site,
    gateway: &str,
    ports: &BTreeMap<String, u16>,
    options: &GatewayOptions,
) -> String {
    let mut text = format!(
        "schema = 1\n\n[gateway]\nid = \"{gateway}\"\nstate_dir = \"state\"\n\n\
         [spool]\nmax = \"{}\"\ncommit = \"{}ms\"\nrotate_above = \"{}\"\n\
         lane.telemetry = {{ full = \"{}\" }}\n\n\
         [uplink.cloud]\nidentity = \"identity.toml\"\n\
         batch_age = {{ live = \"{}ms\", offline = \"{}ms\" }}\n\n[http]\nport = 0\n",
        options.spool_max,
        options.commit.as_millis(),
        options.rotate_above,
        options.full,
        options.batch_live.as_millis(),
        options.batch_offline.as_millis(),
    );
    for bus in site.buses.iter().filter(|bus| bus.gateway == gateway) {
        add_bus(&mut text, bus, ports.get(&bus.name).copied());
        for unit in &bus.units {
            match bus.kind {
                BusKind::Tcp { .. } | BusKind::Rtu { .. } => {
                    add_device(&mut text, &bus.name, unit, options);
                }
                _ => add_other(&mut text, bus, unit, options),
            }
        }
    }
    let rules = options.rules.iter().filter(|(of, _)| *of == gateway);
    rules.for_each(|(_, rules)| text.push_str(rules));
    text
}

/// Writing to a `String` cannot fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(line);
}

fn add_bus(text: &mut String, bus: &BusSite, port: Option<u16>) {
    let name = &bus.name;
    line(text, format_args!("\n[bus.{name}]\n"));
    match &bus.kind {
        BusKind::Tcp { .. } => line(
            text,
            format_args!(
                "kind = \"modbus-tcp\"\naddr = \"127.0.0.1:{}\"\n",
                port.unwrap_or_default()
            ),
        ),
        // Far above what an answer takes: what a busy machine delays is read all the same, and the judge,
        // who sees answers leave and not arrive, need not guess.
        BusKind::Rtu { link, baud } => line(
            text,
            format_args!(
                "kind = \"modbus-rtu\"\nport = \"{link}\"\nline = \"{baud} 8N1\"\n\
                 timeout = \"1s\"\n"
            ),
        ),
        BusKind::Scale { link, baud, .. } => line(
            text,
            format_args!(
                "kind = \"serial\"\nport = \"{link}\"\nline = \"{baud} 8N1\"\n\
                 check = \"xor8 hex after:*\"\n"
            ),
        ),
        BusKind::Scpi { link, baud } => line(
            text,
            format_args!("kind = \"serial\"\nport = \"{link}\"\nline = \"{baud} 8N1\"\n"),
        ),
        BusKind::Radio { .. } => line(text, format_args!("kind = \"ble\"\n")),
    }
}

/// A device of a serial line, or a sensor.
fn add_other(text: &mut String, bus: &BusSite, unit: &UnitSite, options: &GatewayOptions) {
    let device = &unit.device;
    line(
        text,
        format_args!("\n[device.{device}]\nbus = \"{}\"\n", bus.name),
    );
    let period = match bus.kind {
        // Of a device that sends by itself: the longest silence that is no fault.
        BusKind::Scale { every_ms, .. } => Some(u128::from(every_ms) * 4),
        BusKind::Scpi { .. } => Some(options.poll.as_millis()),
        _ => None,
    };
    if let Some(period) = period {
        line(text, format_args!("groups = {{ all = \"{period}ms\" }}\n"));
    }
    if let BusKind::Radio { .. } = bus.kind {
        let (decode, address) = (radio::format(unit.unit), radio::address(unit.unit));
        line(
            text,
            format_args!("decode = \"{decode}\"\naddress = \"{address}\"\n"),
        );
    }
    text.push_str("points = [\n");
    for point in &unit.points {
        let id = &point.id;
        line(text, format_args!("  {{ id = \"{id}\""));
        match bus.kind {
            BusKind::Scale { .. } => line(
                text,
                format_args!(", parse = 'regex:ST,GS, *(?<{id}>[-+][0-9.]+),kg', field = \"{id}\""),
            ),
            BusKind::Scpi { .. } => {
                line(
                    text,
                    format_args!(", ask = \"{}\\n\"", serial::question(id)),
                );
            }
            _ => {}
        }
        finish_point(text, point, options);
    }
    text.push_str("]\n");
}

fn finish_point(text: &mut String, point: &PointSite, options: &GatewayOptions) {
    if !point.unit.is_empty() {
        line(text, format_args!(", unit = \"{}\"", point.unit));
    }
    if point.deadband > 0.0 {
        let (band, beat) = (point.deadband, point.beat_s);
        line(
            text,
            format_args!(", report = {{ abs = {band:?}, beat = \"{beat}s\""),
        );
        if let Some(every) = options.keep_alive {
            line(
                text,
                format_args!(", keep_alive = \"{}ms\"", every.as_millis()),
            );
        }
        text.push_str(" }");
    }
    text.push_str(" },\n");
}

fn add_device(text: &mut String, bus: &str, unit: &UnitSite, options: &GatewayOptions) {
    line(
        text,
        format_args!(
            "\n[device.{}]\nbus = \"{bus}\"\nunit = {}\nretry = {{ fails = 2, backoff = \"1s..3s\" }}\n\
             groups = {{ all = \"{}ms\" }}\npoints = [\n",
            unit.device,
            unit.unit,
            options.poll.as_millis(),
        ),
    );
    for point in &unit.points {
        let (kind, order) = match point.kind {
            WordKind::Bit => ("bool", None),
            WordKind::U16 => ("u16", None),
            WordKind::Centi => ("i16", None),
            WordKind::U32 => ("u32", Some("ABCD")),
            WordKind::I32 => ("i32", Some("CDAB")),
            WordKind::I64 => ("i64", Some("ABCDEFGH")),
            WordKind::F32 => ("f32", Some("ABCD")),
        };
        let prefix = match point.space {
            Space::Coil => "co",
            Space::Discrete => "di",
            Space::Holding => "hr",
            Space::Input => "ir",
        };
        line(
            text,
            format_args!(
                "  {{ id = \"{}\", at = \"{prefix}:{}\"",
                point.id, point.address
            ),
        );
        line(text, format_args!(", as = \"{kind}\""));
        if let Some(order) = order {
            line(text, format_args!(", order = \"{order}\""));
        }
        let divisor = signal::divisor(point.kind);
        if divisor > 1.0 {
            line(text, format_args!(", scale = {:e}", 1.0 / divisor));
        }
        finish_point(text, point, options);
    }
    text.push_str("]\n");
}
