//! Configurations that are right, and what they mean.

use crate::{CHECK, load_texts};
use gateway_config::{
    BusConfig, Confirm, Credentials, Deadband, GatewayConfig, Report, Severity, load, render,
};
use protocols_ble::config::Kind;
use protocols_modbus::config::{Bus, Transport};
use protocols_model::ValueType;
use std::path::Path;
use std::time::Duration;

fn accepted(files: &[(&str, &str)]) -> GatewayConfig {
    let loaded = load_texts(files, CHECK);
    let config = loaded.config.clone();
    config.unwrap_or_else(|| panic!("{}", render(&loaded.problems, false)))
}

#[test]
fn the_documented_example_is_accepted_without_a_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.toml");
    let loaded = load(&path, CHECK);
    assert!(
        loaded.problems.is_empty(),
        "{}",
        render(&loaded.problems, false)
    );
    let config = loaded.config.unwrap();
    assert_eq!(
        loaded.files.len(),
        3,
        "the example, its template and its point list"
    );
    assert_eq!(config.gateway.id.as_str(), "hall2-gw3");
    assert_eq!(config.buses.len(), 6);
    assert_eq!(
        config.points.len(),
        5 + 6 + 3 + 3 + 3 + 3 + 2 + 3 + 2 + 2 * 2 + 1 + 2 + 1
    );
    let keys = config
        .buses
        .iter()
        .filter(|bus| matches!(bus, BusConfig::Modbus(_)))
        .flat_map(|bus| &modbus(bus).devices)
        .flat_map(|d| &d.points);
    for point in keys {
        let entry = &config.points[point.key.0 as usize].descriptor;
        assert_eq!(
            (&entry.point, entry.value_type),
            (&point.id, point.value_type())
        );
    }
    let uplink = config.uplink.as_ref().unwrap();
    assert_eq!(uplink.confirm, Confirm::Store);
    assert!(
        matches!(&uplink.credentials, Credentials::Identity(p) if p.ends_with("identity.toml"))
    );
}

const FIELD: &str = r#"
schema = 1
[gateway]
id = "gw"
state_dir = "state"
[gateway.defaults]
timeout = "2s"
order = "DCBA"
max_gap = 3
groups = { slow = "1m" }
group = "slow"
report = { abs = 0.0 }
[bus.plc]
kind = "modbus-tcp"
addr = "[::1]:1502"
timeout = "3s"
[template.t]
timeout = "4s"
groups = { fast = "100ms", slow = "30s" }
points = [
  { id = "a", at = "hr:0", as = "u32", group = "fast" },
  { id = "b", at = "hr:2", as = "u32", order = "ABCD", scale = 0.1, unit = "V" },
]
[device.one]
bus = "plc"
unit = 1
template = "t"
[device.two]
bus = "plc"
unit = 2
template = "t"
timeout = "5s"
order = "CDAB"
report = { pct = 2 }
groups = { slow = "10s" }
points = [ { id = "c", at = "hr:10.4", report = { abs = 1, beat = "5m" } } ]
"#;

fn bus(config: &GatewayConfig) -> &Bus {
    modbus(&config.buses[0])
}

fn modbus(bus: &BusConfig) -> &Bus {
    let BusConfig::Modbus(bus) = bus else {
        panic!("not a Modbus bus")
    };
    bus
}

#[test]
fn the_inner_level_wins_key_by_key() {
    let config = accepted(&[("gateway.toml", FIELD)]);
    let [one, two] = bus(&config).devices.as_slice() else {
        panic!()
    };
    assert_eq!(one.timeout, Duration::from_secs(4));
    assert_eq!(two.timeout, Duration::from_secs(5));
    assert_eq!((one.limits.max_gap, one.limits.max_regs), (Some(3), 125));
    assert_eq!(one.points[0].order.to_string(), "DCBA");
    assert_eq!(one.points[1].order.to_string(), "ABCD");
    assert_eq!(two.points[0].order.to_string(), "CDAB");
    let periods = |d: usize| {
        bus(&config).devices[d]
            .points
            .iter()
            .map(|p| p.period.as_millis())
            .collect::<Vec<_>>()
    };
    assert_eq!(periods(0), [100, 30_000]);
    assert_eq!(periods(1), [100, 10_000, 10_000]);
    let changes = |deadband, beat| Report::Changes {
        deadband,
        beat,
        keep_alive: None,
    };
    assert_eq!(
        config.points[0].report,
        changes(Deadband::Absolute(0.0), None)
    );
    assert_eq!(
        config.points[2].report,
        changes(Deadband::Percent(2.0), None)
    );
    let beat = Some(Duration::from_secs(300));
    assert_eq!(
        config.points[4].report,
        changes(Deadband::Absolute(1.0), beat)
    );
}

#[test]
fn points_get_keys_types_units_and_grids_in_the_order_of_the_file() {
    let config = accepted(&[("gateway.toml", FIELD)]);
    let names: Vec<_> = config
        .points
        .iter()
        .map(|p| format!("{}/{}", p.descriptor.device, p.descriptor.point))
        .collect();
    assert_eq!(names, ["one/a", "one/b", "two/a", "two/b", "two/c"]);
    let types = [
        ValueType::U64,
        ValueType::F64,
        ValueType::U64,
        ValueType::F64,
        ValueType::Bool,
    ];
    assert!(
        config
            .points
            .iter()
            .map(|p| p.descriptor.value_type)
            .eq(types)
    );
    assert_eq!(
        (
            config.points[1].descriptor.unit.as_str(),
            config.points[1].descriptor.scale
        ),
        ("V", 0.1)
    );
    let Transport::Tcp { host, port } = &bus(&config).transport else {
        panic!()
    };
    assert_eq!((host.as_str(), *port), ("::1", 1502));
}

#[test]
fn a_point_list_and_a_template_file_say_the_same_as_inline_points() {
    let head = "schema = 1\n[gateway]\nid = \"gw\"\n[bus.b]\nkind = \"modbus-tcp\"\naddr = \"h\"\n[device.d]\nbus = \"b\"\nunit = 1\n";
    let map = "points = [\n{ id = \"a\", at = \"ir:1\", as = \"i32\", scale = 0.5, report = { pct = 1.5, beat = \"1m\" }, range = [-1, 2.5] },\n{ id = \"s\", at = \"hr:9\", as = \"string\", len = 3 } ]\n";
    let inline = accepted(&[("gateway.toml", &format!("{head}{map}"))]);
    let csv = "\u{feff}id;at;as;len;scale;report.pct;report.beat;range\r\na;ir:1;i32;;0.5;1.5;1m;-1..2.5\r\ns;hr:9;string;3\r\n";
    let list = accepted(&[
        ("gateway.toml", &format!("{head}points_file = \"p.csv\"\n")),
        ("p.csv", csv),
    ]);
    let file = accepted(&[
        (
            "gateway.toml",
            &format!("{head}template = \"t\"\n[template.t]\nfile = \"t.toml\"\n"),
        ),
        ("t.toml", map),
    ]);
    for other in [&list, &file] {
        assert_eq!(inline.points, other.points);
        assert_eq!(inline.buses, other.buses);
    }
}

#[test]
fn at_boot_an_unknown_key_is_a_warning_and_the_gateway_comes_up() {
    let text = FIELD.replace("state_dir = \"state\"", "state_dir = \"state\"\ncolour = 1");
    let strict = load_texts(&[("gateway.toml", &text)], CHECK);
    assert!(strict.config.is_none());
    let mut options = CHECK;
    options.unknown_keys = Severity::Warning;
    let boot = load_texts(&[("gateway.toml", &text)], options);
    assert!(boot.config.is_some());
    assert_eq!(boot.problems.len(), 1);
}

#[test]
fn the_state_directory_is_known_even_when_the_rest_cannot_be_used() {
    let text = FIELD.replace("addr =", "adress =");
    let loaded = load_texts(&[("gateway.toml", &text)], CHECK);
    assert!(loaded.config.is_none());
    assert_eq!(loaded.state_dir, Path::new("state"));
}

const SENSOR: &str = r#"
schema = 1
[gateway]
id = "gw"
[bus.ble]
kind = "ble"
[device.plain]
bus = "ble"
address = "A4:C1:38:01:02:04"
decode = "bthome"
points = [ { id = "temperature" } ]
[device.sealed]
bus = "ble"
address = "A4:C1:38:01:02:03"
decode = "bthome"
key = "file:keys/cellar"
points = [ { id = "temperature" } ]
"#;

#[test]
fn a_bind_key_is_read_from_its_file_and_never_kept_or_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, SENSOR).unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    let key = folder.path().join("keys/cellar");
    std::fs::write(&key, "231d39c1d7cc1ab1aee224cd096db932\n").unwrap();
    let readable = load(&path, CHECK);
    let shown = render(&readable.problems, false);
    assert!(shown.contains("chmod 600"), "{shown}");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let loaded = load(&path, CHECK);
    assert!(loaded.problems.is_empty());
    assert_eq!(
        loaded.files.len(),
        1,
        "the key is not among the files that are kept"
    );
    let config = loaded.config.unwrap();
    assert!(!format!("{config:?}").contains("231d39"));
    let BusConfig::Ble(bus) = &config.buses[0] else {
        panic!()
    };
    let Kind::Adverts(sealed) = &bus.devices[1].kind else {
        panic!()
    };
    assert!(sealed.key.is_some());
}

#[test]
fn a_device_whose_key_is_missing_is_an_error_to_check_and_left_out_at_boot() {
    let strict = load_texts(&[("gateway.toml", SENSOR)], CHECK);
    assert!(strict.config.is_none());
    let mut options = CHECK;
    options.unknown_keys = Severity::Warning;
    let boot = load_texts(&[("gateway.toml", SENSOR)], options);
    let config = boot.config.unwrap();
    // Without its key anybody's advertisements would pass for its own.
    assert_eq!(config.buses[0].devices().len(), 1);
    assert_eq!(config.points.len(), 1);
    assert!(
        boot.problems
            .iter()
            .any(|problem| problem.message.contains("keys/cellar"))
    );
}

#[test]
fn an_overloaded_bus_is_refused_before_it_is_applied_and_comes_up_at_boot_or_when_forced() {
    let text = "schema = 1\n[gateway]\nid = \"gw\"\n[bus.b]\nkind = \"modbus-rtu\"\nport = \"/dev/ttyS0\"\nline = \"1200 8N1\"\n[device.d]\nbus = \"b\"\nunit = 1\ngroups = { all = \"100ms\" }\npoints = [ { id = \"a\", at = \"hr:0\", as = \"string\", len = 100 } ]\n";
    let refused = load_texts(&[("gateway.toml", text)], CHECK);
    assert!(refused.config.is_none());
    let mut options = CHECK;
    options.overload = Severity::Warning;
    let boot = load_texts(&[("gateway.toml", text)], options);
    assert!(boot.config.is_some() && boot.problems.len() == 1);
    let forced = text.replace("line =", "force = true\nline =");
    accepted(&[("gateway.toml", &forced)]);
}

#[test]
fn a_bus_cut_down_to_some_points_keeps_what_they_need() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.toml");
    let config = load(&path, CHECK).config.unwrap();
    for bus in &config.buses {
        for wanted in bus.points() {
            let only = bus
                .only(&|key| key == wanted, Duration::from_secs(1))
                .unwrap();
            assert_eq!(only.points(), [wanted]);
            assert_eq!(only.devices().len(), 1);
            assert_eq!(only.is_read(wanted), bus.is_read(wanted));
            let about = &config.points[wanted.0 as usize].descriptor;
            let found = only.find(about.device.as_str(), about.point.as_str());
            assert_eq!(found, Some((wanted, about.value_type)));
        }
        assert!(bus.only(&|_| false, Duration::from_secs(1)).is_none());
    }
}
