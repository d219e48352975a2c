//! Site files as people write them.

use super::*;

const GOOD: &str = r#"
[bus.net]
kind = "modbus-tcp"

[bus.rs485]
kind = "modbus-rtu"
link = "bus0"
line = "9600 8E1"

[device.meter]
bus = "net"
unit = 1
order = "CDAB"
points = [
  { id = "u", at = "ir:0", as = "f32", value = { sine = { mean = 230, amplitude = 4, period = "60s" } } },
  { id = "e", at = "hr:10", as = "u32", scale = 0.1, value = { counter = {} } },
  { id = "on", at = "co:0", value = true },
  { id = "name", at = "hr:20", as = "string", len = 4, value = "METER" },
]

[device.pump]
bus = "rs485"
unit = 7
faults = ["silent 5s every 1m"]
points = [ { id = "p", at = "hr:0", value = 7 } ]

[serial.scale]
kind = "scale"
link = "scale"
every = "500ms"

[serial.own]
kind = "template"
link = "own"
values = { t = 21.5 }
say = [ { every = "1s", text = "T={t:.1}\r\n" } ]
"#;

fn error(text: &str) -> String {
    let built = Site::parse(text).and_then(|site| site.build(Path::new("/run/field")));
    let error = built.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_site_is_put_together() {
    let plan = Site::parse(GOOD)
        .unwrap()
        .build(Path::new("/run/field"))
        .unwrap();
    assert_eq!(plan.buses.len(), 2);
    let Reach::Line(line) = &plan.buses[1].reach else {
        panic!("rs485 is a line");
    };
    assert_eq!(line.link, Path::new("/run/field/bus0"));
    assert_eq!(plan.buses[0].units[&1].map.points().count(), 4);
    assert_eq!(plan.serials.len(), 2);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_is_allowed() {
    for (from, to, parts) in [
        (
            "bus = \"net\"",
            "bus = \"nett\"",
            ["device.meter", "\"net\", \"rs485\""],
        ),
        ("unit = 7", "unit = 248", ["device.pump", "1 to 247"]),
        (
            "at = \"hr:10\"",
            "at = \"hr:1.5\"",
            ["device.meter.e", "\"hr:100\""],
        ),
        (
            "at = \"hr:10\"",
            "at = \"hr:20\"",
            ["device.meter", "both lie at address"],
        ),
        (
            "as = \"f32\"",
            "as = \"f32\", write = true",
            ["device.meter.u", "\"hr:\""],
        ),
        ("as = \"u32\"", "as = \"u33\"", ["line ", "u32"]),
        ("len = 4", "len = 0", ["device.meter.name", "1 to 125"]),
        ("order = \"CDAB\"", "order = \"ACBD\"", ["line ", "CDAB"]),
        (
            "link = \"bus0\"",
            "link = \"scale\"",
            ["serial.scale", "bus.rs485"],
        ),
        (
            "line = \"9600 8E1\"",
            "line = \"9600\"",
            ["line ", "19200 8E1"],
        ),
        ("silent 5s", "silnet 5s", ["line ", "silent"]),
        ("amplitude", "amplitud", ["line ", "amplitude"]),
        ("T={t:.1}", "T={x:.1}", ["serial.own", "\"x\""]),
        ("[serial.own]", "[serial.Own]", ["Own", "a-z"]),
        ("every = \"1s\"", "every = \"1us\"", ["serial.own", "1ms"]),
        (
            "[bus.net]",
            "[bus.net]\nlink = \"x\"",
            ["bus.net", "modbus-rtu"],
        ),
        (
            "every = \"500ms\"",
            "faults = [\"limit 5\"]",
            ["serial.scale", "wrong-checksum"],
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let told = error(&GOOD.replacen(from, to, 1));
        for part in parts {
            assert!(told.contains(part), "{to}: {part} is not in\n{told}");
        }
    }
}
