//! Sentences as receivers send them, with what they mean.

use super::*;

/// The value of a field in a sentence without `$` and checksum.
fn read(field: &str, sentence: &str) -> Said {
    let sentence = Sentence::parse(sentence.as_bytes()).unwrap();
    sentence
        .read(&field.parse().unwrap())
        .expect("of that kind")
}

fn good(field: &str, sentence: &str) -> Value {
    match read(field, sentence) {
        Ok(Some((value, Quality::Good))) => value,
        other => panic!("{field}: {other:?}"),
    }
}

const GGA: &str = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,";
const RMC: &str = "GNRMC,123519.25,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W,A";
const GSA: &str = "GNGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1,1";

#[test]
fn every_named_field_is_read() {
    for (field, sentence, value) in [
        ("GGA.time", GGA, Value::I64(45_319_000)),
        ("GGA.lat", GGA, Value::F64(48.1173)),
        ("GGA.lon", GGA, Value::F64(11.516_666_667)),
        ("GGA.quality", GGA, Value::U64(1)),
        ("GGA.satellites", GGA, Value::U64(8)),
        ("GGA.hdop", GGA, Value::F64(0.9)),
        ("GGA.altitude", GGA, Value::F64(545.4)),
        ("GGA.geoid", GGA, Value::F64(46.9)),
        ("GGA.fix", GGA, Value::Bool(true)),
        ("RMC.utc", RMC, Value::I64(764_426_119_250)),
        ("RMC.lat", RMC, Value::F64(-48.1173)),
        ("RMC.lon", RMC, Value::F64(-11.516_666_667)),
        ("RMC.speed_knots", RMC, Value::F64(22.4)),
        ("RMC.speed_kmh", RMC, Value::F64(41.4848)),
        ("RMC.course", RMC, Value::F64(84.4)),
        ("GNRMC.fix", RMC, Value::Bool(true)),
        ("GSA.dimensions", GSA, Value::U64(3)),
        ("GSA.satellites", GSA, Value::U64(5)),
        ("GSA.pdop", GSA, Value::F64(2.5)),
        ("GSA.hdop", GSA, Value::F64(1.3)),
        ("GSA.vdop", GSA, Value::F64(2.1)),
        (
            "VTG.course",
            "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K,A",
            Value::F64(54.7),
        ),
        (
            "VTG.course_magnetic",
            "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K",
            Value::F64(34.4),
        ),
        (
            "VTG.speed_kmh",
            "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K",
            Value::F64(10.2),
        ),
        (
            "ZDA.utc",
            "GPZDA,201530.00,04,07,2002,00,00",
            Value::I64(1_025_813_730_000),
        ),
        ("HDT.heading", "HEHDT,274.07,T", Value::F64(274.07)),
        (
            "GPGSV.in_view",
            "GPGSV,3,1,11,03,03,111,00,04,15,270,00",
            Value::U64(11),
        ),
        (
            "GLL.lat",
            "GPGLL,4916.45,N,12311.12,W,225444,A",
            Value::F64(49.274_166_667),
        ),
        (
            "PGRME.1",
            "PGRME,15.0,M,22.5,M,15.0,M",
            Value::Text("15.0".into()),
        ),
        ("GGA.10", GGA, Value::Text("M".into())),
    ] {
        assert_eq!(good(field, sentence), value, "{field}");
    }
}

#[test]
fn without_a_fix_there_is_no_position_but_the_rest_goes_on() {
    let lost = "GPGGA,123519,4807.038,N,01131.000,E,0,00,99.9,545.4,M,46.9,M,,";
    for field in ["GGA.lat", "GGA.lon", "GGA.altitude", "GGA.hdop"] {
        assert_eq!(read(field, lost), Err(Reason::DeviceError), "{field}");
    }
    assert_eq!(good("GGA.satellites", lost), Value::U64(0));
    assert_eq!(good("GGA.fix", lost), Value::Bool(false));

    let void = "GPRMC,123519,V,4807.038,N,01131.000,E,022.4,084.4,230394,,,N";
    assert_eq!(read("RMC.lat", void), Err(Reason::DeviceError));
    assert_eq!(read("RMC.speed_kmh", void), Err(Reason::DeviceError));
    let unsure = Quality::Uncertain(Reason::ClockUnsynced);
    assert_eq!(
        read("RMC.utc", void),
        Ok(Some((Value::I64(764_426_119_000), unsure)))
    );
    // A receiver may say "A" and admit in the mode that it simulates.
    let simulated = "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,S";
    assert_eq!(read("RMC.lat", simulated), Err(Reason::DeviceError));

    let reckoned = GGA.replace(",1,08,", ",6,08,");
    let estimated = Quality::Uncertain(Reason::DeviceError);
    assert_eq!(
        read("GGA.lat", &reckoned),
        Ok(Some((Value::F64(48.1173), estimated)))
    );
    assert_eq!(
        read("GSA.pdop", "GPGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9"),
        Err(Reason::DeviceError)
    );
    assert_eq!(
        read("VTG.course", "GPVTG,,T,,M,0.02,N,0.04,K,A"),
        Err(Reason::DeviceError)
    );
    assert_eq!(
        read("GLL.lat", "GPGLL,4916.45,N,12311.12,W,225444,V"),
        Err(Reason::DeviceError)
    );
}

#[test]
fn what_is_no_angle_or_time_is_undecodable() {
    for (from, to) in [
        ("4807.038,N", "9007.038,N"),
        ("4807.038,N", "4860.000,N"),
        ("4807.038,N", "4807.038,X"),
        ("4807.038,N", "48,N"),
        ("4807.038,N", "48-7.038,N"),
        ("4807.038,N", "48+7.03,N"),
        ("4807.038,N", "4807.1e1,N"),
    ] {
        assert_eq!(
            read("GGA.lat", &GGA.replace(from, to)),
            Err(Reason::Undecodable),
            "{to}"
        );
    }
    assert_eq!(
        read("GGA.lon", &GGA.replace("01131.000", "18131.000")),
        Err(Reason::Undecodable)
    );
    assert_eq!(
        read("GGA.altitude", &GGA.replace("545.4", "nan")),
        Err(Reason::Undecodable)
    );
    assert_eq!(
        read("RMC.utc", &RMC.replace("230394", "310294")),
        Err(Reason::Undecodable)
    );
    assert_eq!(read("GPGSV.in_view", "GPGSV,3,2,11,03,03,111,00"), Ok(None));
}

#[test]
fn talkers_are_told_apart_only_where_the_field_asks() {
    let field = |text: &str| text.parse::<NmeaField>().unwrap();
    let sentence = Sentence::parse(RMC.as_bytes()).unwrap();
    assert!(sentence.read(&field("RMC.lat")).is_some());
    assert!(sentence.read(&field("GPRMC.lat")).is_none());
    assert!(sentence.read(&field("GGA.lat")).is_none());
    for bad in ["GPRMC", "gprmc,1", "GP,1", "\x01GRMC,1", "GPRMC,\u{e9}", ""] {
        assert!(Sentence::parse(bad.as_bytes()).is_none(), "{bad:?}");
    }
}

#[test]
fn a_wrong_field_is_told_what_there_is() {
    for (text, says) in [
        ("lat", "RMC.lat"),
        ("rmc.lat", "RMC.lat"),
        ("XYZ.lat", "GGA, RMC"),
        ("RMC.latitude", "lat, lon, speed_knots"),
        ("RMC.0", "1 to 99"),
    ] {
        let error = text.parse::<NmeaField>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for info in FIELDS {
        let text = format!("{}.{}", info.sentence, info.name);
        assert_eq!(text.parse::<NmeaField>().unwrap().to_string(), text);
    }
}
