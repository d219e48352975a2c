//! Sites without a file: what the quick forms of the command line mean, written as the site file that
//! would say the same.

use super::args::{Ble, Ready, Rtu, Serial, Tcp, What};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Points of a meter of the quick forms.
const METER: &str = r#"
points = [
  { id = "u_l1", at = "ir:0", as = "f32", unit = "V", value = { sine = { mean = 230, amplitude = 4, period = "60s" } } },
  { id = "i_l1", at = "ir:2", as = "f32", unit = "A", value = { noise = { mean = 12, spread = 3 } } },
  { id = "p_sum", at = "ir:4", as = "i32", unit = "W", value = { ramp = { from = 0, to = 3000, over = "30s", back = true } } },
  { id = "energy", at = "hr:0", as = "u32", unit = "Wh", value = { counter = { from = 1000, every = "1s" } } },
  { id = "limit", at = "hr:10", write = true, value = 16, unit = "A" },
  { id = "relay", at = "co:0", write = true, value = { square = { period = "20s" } } },
  { id = "door", at = "di:0", value = { square = { period = "60s", duty = 0.1 } } },
]
"#;

/// The site file of a quick form; links are as seen from `folder`. `None` for what is none.
pub(super) fn site(what: &What, folder: &Path) -> Option<String> {
    let mut text = String::new();
    match what {
        What::ModbusTcp(tcp) => meters_behind(&mut text, "modbus-tcp", tcp),
        What::ModbusRtuOverTcp(tcp) => meters_behind(&mut text, "modbus-rtu-over-tcp", tcp),
        What::ModbusRtu(rtu) => meters_on(&mut text, rtu, folder),
        What::Serial(serial) => device(&mut text, serial, folder),
        What::Ble(ble) => sensors(&mut text, ble),
        What::Recording(_) | What::Example => return None,
    }
    Some(text)
}

fn add(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = text.write_fmt(part);
}

/// A TOML string.
fn quoted(text: impl Into<String>) -> String {
    toml::Value::String(text.into()).to_string()
}

fn linked(folder: &Path, link: &Path) -> String {
    quoted(folder.join(link).to_string_lossy())
}

fn meters(text: &mut String, units: u8) {
    for unit in 1..=units {
        add(
            text,
            format_args!("\n[device.meter{unit}]\nbus = \"bus\"\nunit = {unit}"),
        );
        text.push_str(METER);
    }
}

fn meters_behind(text: &mut String, kind: &str, tcp: &Tcp) {
    let listen = tcp.listen;
    add(
        text,
        format_args!("[bus.bus]\nkind = \"{kind}\"\nlisten = \"{listen}\"\n"),
    );
    meters(text, tcp.units);
}

fn meters_on(text: &mut String, rtu: &Rtu, folder: &Path) {
    let line = rtu
        .baud
        .map_or_else(|| rtu.line.clone(), |baud| format!("{baud} 8E1"));
    let link = linked(folder, &rtu.link);
    add(
        text,
        format_args!("[bus.bus]\nkind = \"modbus-rtu\"\nlink = {link}\nline = \"{line}\"\n"),
    );
    meters(text, rtu.units);
}

fn device(text: &mut String, serial: &Serial, folder: &Path) {
    let kind = match serial.device {
        Ready::Scale => "scale",
        Ready::Nmea => "nmea",
        Ready::Scpi => "scpi",
        Ready::Binary => "binary",
    };
    let (link, line) = (linked(folder, &serial.link), &serial.line);
    add(
        text,
        format_args!("[serial.{kind}]\nkind = \"{kind}\"\nlink = {link}\nline = \"{line}\"\n"),
    );
    if let Some(every) = serial.every {
        add(text, format_args!("every = \"{}\"\n", span(every)));
    }
}

fn sensors(text: &mut String, ble: &Ble) {
    for number in 1..=ble.sensors {
        let (format, values) = if number % 2 == 1 {
            ("bthome", "humidity = 55, battery = 90")
        } else {
            ("ruuvi", "humidity = 40, pressure = 101300")
        };
        let mean = 18 + i32::from(number % 8);
        add(
            text,
            format_args!(
                "[[ble.sensors]]\nname = \"sensor{number}\"\naddress = \"A4:C1:38:00:00:{number:02X}\"\n\
                 interval = \"{}\"\nformat = \"{format}\"\n\
                 values = {{ temperature = {{ sine = {{ mean = {mean}, amplitude = 3 }} }}, {values} }}\n",
                span(ble.every),
            ),
        );
    }
}

fn span(time: Duration) -> protocols_sim::span::Time {
    protocols_sim::span::Time(time)
}
