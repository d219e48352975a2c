//! Advertisements against their authors' own decoders: ours agree with them on invented data, and they
//! read what our simulated sensors send.

use crate::scratch;
use protocols_ble::address::{Address, Uuid};
use protocols_ble::advert::Advert;
use protocols_ble::config::BindKey;
use protocols_ble::decode::{Cipher, Format, Values};
use protocols_bluez_sim::payload::{self, RuuviTag, bthome};
use protocols_model::Value;
use std::path::{Path, PathBuf};
use tests_interop::{Running, need, python};

const BTHOME: u16 = 0xfcd2;
const RUUVI: u16 = 0x0499;
const ADDRESS: [u8; 6] = [0xa4, 0xc1, 0x38, 1, 2, 3];

fn decoders() -> anyhow::Result<(PathBuf, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/decoders.py");
    Ok((python(&scratch())?, script.display().to_string()))
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of the peer: what was advertised, and name, unit and value of each measurement.
struct Line<'a> {
    format: &'a str,
    key: &'a str,
    data: &'a str,
    values: Vec<[&'a str; 3]>,
}

fn parse(line: &str) -> Line<'_> {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap();
    let (format, _address, key, data) = (next(), next(), next(), next());
    let value = |text: &'_ str| -> [&str; 3] {
        let parts: Vec<_> = text
            .splitn(3, '|')
            .map(|part| &*String::leak(part.to_owned()))
            .collect();
        parts.try_into().unwrap()
    };
    Line {
        format,
        key,
        data,
        values: parts.map(value).collect(),
    }
}

/// What our decoder makes of it: name, unit and value.
fn ours(line: &Line<'_>) -> Vec<(&'static str, &'static str, Value)> {
    let mut advert = Advert::new(Address(ADDRESS));
    let format = if line.format == "bthome" {
        advert.service_data = vec![(Uuid::short(BTHOME), bytes(line.data))];
        Format::Bthome
    } else {
        advert.manufacturer = vec![(RUUVI, bytes(line.data))];
        Format::Ruuvi
    };
    let key = (line.key != "-").then(|| bytes(line.key).try_into().unwrap());
    let cipher = key.map(|key| Cipher::new(&BindKey::new(key)));
    let mut values = Values::new();
    let packet = format.decode(&advert, cipher.as_ref(), &mut values);
    packet
        .unwrap()
        .unwrap_or_else(|error| panic!("{}: {error}", line.data));
    let values = values.iter().filter_map(|sample| {
        // What is marked as not available has no value on either side.
        let value = sample.value.clone().ok()?;
        let field = format.field(sample.field.name).unwrap();
        Some((field.name, field.unit, value))
    });
    values.collect()
}

fn agree(line: &Line<'_>, theirs: [&str; 3], ours: &Value) -> bool {
    let [name, _, text] = theirs;
    let number = match ours {
        Value::Bool(value) => return text == value.to_string(),
        Value::Text(value) => return text == &**value,
        Value::Bytes(value) => return text == hex(value),
        Value::F64(number) => *number,
        Value::I64(number) => f64::from(i32::try_from(*number).unwrap()),
        Value::U64(number) => f64::from(u32::try_from(*number).unwrap()),
    };
    // Where the library rounds to fewer digits than were sent.
    let rounded = match (line.format, name) {
        ("ruuvi", "temperature" | "humidity") => 0.0051,
        ("bthome", "temperature") if line.data.starts_with("4058") => 0.051,
        _ => number.abs() * 1e-6 + 1e-9,
    };
    (number - text.parse::<f64>().unwrap()).abs() <= rounded
}

#[test]
fn our_decoders_agree_with_the_authors() {
    let (python, script) = need!(decoders());
    let lines = Running::start(&python, &[&script, "make"])
        .unwrap()
        .output()
        .unwrap();
    assert!(lines.len() > 900, "{}", lines.len());
    for line in &lines {
        let line = parse(line);
        let mut ours = ours(&line);
        if line.format == "ruuvi" {
            // Fields that the library does not have, or not in this form.
            let known = |name: &str| line.values.iter().any(|[theirs, ..]| *theirs == name);
            ours.retain(|(name, ..)| known(name));
        }
        assert_eq!(
            ours.len(),
            line.values.len(),
            "{}: {ours:?}, {:?}",
            line.data,
            line.values
        );
        let find = |name: &str, place: usize| match line.format {
            // Its order is the library's.
            "ruuvi" => ours.iter().find(|(ours, ..)| *ours == name).unwrap(),
            _ => &ours[place],
        };
        for (place, theirs) in line.values.iter().enumerate() {
            let [name, unit, _] = *theirs;
            let (_, our_unit, value) = find(name, place);
            assert!(
                agree(&line, *theirs, value),
                "{}: {value:?}, {theirs:?}",
                line.data
            );
            let same = match unit {
                "mbar" => *our_unit == "hPa",
                // The library has no unit for some, as for a moment.
                "" => true,
                unit => unit.replace('μ', "µ") == *our_unit,
            };
            assert!(same, "{}: {our_unit:?}, {theirs:?}", line.data);
        }
    }
}

#[test]
fn the_authors_read_what_our_sensors_send() {
    let (python, script) = need!(decoders());
    let address = protocols_bluez_sim::Address(ADDRESS);
    let key = [7; 16];
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    let service =
        |advert: &protocols_bluez_sim::Advert| hex(advert.service_data.values().next().unwrap());
    for (number, object) in (1_u32..).zip(bthome::OBJECTS) {
        // Both ends of yes and no are numbers here; twelve fits every other object.
        let is_yes_or_no = matches!(object.name, "opening" | "battery_low" | "motion");
        let value = if is_yes_or_no { 1.0 } else { 12.0 };
        let values = [(object, value)];
        sent.push(format!(
            "bthome\t{}\t-\t{}",
            hex(&ADDRESS),
            service(&bthome::plain(&values))
        ));
        let sealed = bthome::encrypted(&values, &key, address, number);
        sent.push(format!(
            "bthome\t{}\t{}\t{}",
            hex(&ADDRESS),
            hex(&key),
            service(&sealed)
        ));
        let told = if is_yes_or_no {
            vec![f64::INFINITY]
        } else {
            vec![12.0]
        };
        wanted.extend([told.clone(), told]);
    }
    let tag = RuuviTag {
        temperature: -12.5,
        humidity: 51.5,
        pressure: 99_500.0,
        acceleration: [0.25, -1.0, 0.004],
        voltage: 2.9,
        tx_power: 4.0,
        movements: 7.0,
    };
    let measured = vec![-12.5, 51.5, 99_500.0, 0.25, -1.0, 0.004, 2.9];
    for advert in [payload::ruuvi_3(&tag), payload::ruuvi_5(&tag, 99, address)] {
        let data = hex(&advert.manufacturer[&RUUVI]);
        sent.push(format!("ruuvi\t{}\t-\t{data}", hex(&ADDRESS)));
    }
    wanted.push(measured.clone());
    wanted.push([measured, vec![4.0, 7.0, 99.0]].concat());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sent");
    std::fs::write(&file, sent.join("\n")).unwrap();
    let file = file.display().to_string();
    let lines = Running::start(&python, &[&script, "read", &file])
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(lines.len(), wanted.len());
    for (line, wanted) in lines.iter().zip(&wanted) {
        let values = parse(line).values;
        let number = |[_, _, value]: &[&str; 3]| match *value {
            "true" => f64::INFINITY,
            number => number.parse().unwrap(),
        };
        let read: Vec<f64> = values.iter().map(number).collect();
        let same = |(a, b): (&f64, &f64)| a.total_cmp(b).is_eq() || (a - b).abs() < 1e-6;
        assert!(
            read.len() == wanted.len() && read.iter().zip(wanted).all(same),
            "{line}: {wanted:?}"
        );
    }
}
