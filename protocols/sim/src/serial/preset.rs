//! Ready-made devices: the values and frames of what stands in workshops and on roofs.

use super::checksum::Checksum;
use super::device::{Answer, Say};
use super::frame::{Binary, Field, Frame};
use super::nmea::Sentence;
use super::template::{Template, TemplateError};
use crate::modbus::{Order, Raw, RawKind};
use crate::script::{Script, Shape, Value};
use crate::span::Span;
use std::time::Duration;

/// Time that a device takes to think before it answers.
const THINKS: Duration = Duration::from_millis(10);

/// Frames of a ready-made device.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// What it says by itself.
    pub says: Vec<Say>,
    /// What it answers.
    pub answers: Vec<Answer>,
}

/// Values of a ready-made device, by name.
pub type Values = Vec<(&'static str, Script)>;

const fn seconds(count: u64) -> Span {
    Span::Time(Duration::from_secs(count))
}

fn sine(mean: f64, amplitude: f64, period: u64) -> Script {
    Script::Moving(Shape::Sine {
        mean,
        amplitude,
        period: seconds(period),
        phase: 0.0,
    })
}

fn text(template: &str) -> Result<Frame, TemplateError> {
    template.parse::<Template>().map(Frame::Text)
}

fn answer(to: &str, template: &str) -> Result<Answer, TemplateError> {
    Ok(Answer {
        to: to.as_bytes().to_vec(),
        after: THINKS,
        frame: text(template)?,
    })
}

/// A weighing scale: `ST,GS,  +12.340,kg*5B` by itself where `every` is given, and as an answer to `S`;
/// `Z` is answered, as a scale does that was told to take its zero.
///
/// # Errors
/// Never: the templates are constants.
pub fn scale(every: Option<Duration>) -> Result<Frames, TemplateError> {
    let weight = "ST,GS,{weight:+9.3},kg*{xor}\r\n";
    let says = every.map(|every| text(weight).map(|frame| Say { every, frame }));
    Ok(Frames {
        says: says.transpose()?.into_iter().collect(),
        answers: vec![answer("S", weight)?, answer("Z", "ZA*{xor}\r\n")?],
    })
}

/// The scale's value.
#[must_use]
pub fn scale_values() -> Values {
    let values = [0.0, 12.34, 12.34, 7.5, 31.02, 31.02]
        .map(Value::Float)
        .to_vec();
    let steps = Shape::Steps {
        values,
        every: seconds(5),
    };
    vec![("weight", Script::Moving(steps))]
}

/// An instrument that speaks SCPI (IEEE 488.2 common commands and three measurements).
///
/// # Errors
/// Never: the templates are constants.
pub fn scpi() -> Result<Frames, TemplateError> {
    Ok(Frames {
        says: Vec::new(),
        answers: vec![
            answer("*IDN?", "FOGLINE,SIM-34401,0,1.0\n")?,
            answer("SYST:ERR?", "+0,\"No error\"\n")?,
            answer("MEAS:VOLT?", "{volt:+.6}\n")?,
            answer("MEAS:CURR?", "{curr:+.6}\n")?,
            answer("MEAS:RES?", "{res:+.4}\n")?,
        ],
    })
}

/// The instrument's values.
#[must_use]
pub fn scpi_values() -> Values {
    vec![
        ("volt", sine(12.0, 0.4, 60)),
        ("curr", sine(1.5, 0.5, 45)),
        ("res", sine(8.0, 0.1, 90)),
    ]
}

/// Names and scripts of a GPS receiver's values: a drive round a block in Hamburg.
pub const NMEA_VALUES: [(&str, (f64, f64, u64)); 6] = [
    ("lat", (53.55, 0.002, 120)),
    ("lon", (9.993, 0.003, 120)),
    ("altitude", (12.0, 2.0, 300)),
    ("speed", (8.0, 4.0, 40)),
    ("course", (180.0, 170.0, 120)),
    ("satellites", (9.0, 0.0, 60)),
];

/// The receiver's values.
#[must_use]
pub fn nmea_values() -> Values {
    let script = |(mean, amplitude, period)| sine(mean, amplitude, period);
    NMEA_VALUES
        .map(|(name, shape)| (name, script(shape)))
        .to_vec()
}

/// A GPS receiver that says each sentence at the same interval.
#[must_use]
pub fn nmea(every: Duration, sentences: &[Sentence]) -> Frames {
    let say = |kind: &Sentence| Say {
        every,
        frame: Frame::Nmea(*kind),
    };
    Frames {
        says: sentences.iter().map(say).collect(),
        answers: Vec::new(),
    }
}

/// A sensor with frames of 12 bytes: `AA 55`, frame number (u16), temperature (i16, 0.01 °C), humidity
/// (u16, 0.01 %), pressure (u16, 0.1 hPa), CRC-16/MODBUS low byte first; everything else high byte first.
#[must_use]
pub fn binary(every: Duration) -> Frames {
    let field = |id: &str, kind, scale| {
        let mut raw = Raw::new(kind, Order::default());
        raw.scale = scale;
        Field { id: id.into(), raw }
    };
    let frame = Binary {
        head: vec![0xaa, 0x55],
        fields: vec![
            field("n", RawKind::U16, 1.0),
            field("temperature", RawKind::I16, 0.01),
            field("humidity", RawKind::U16, 0.01),
            field("pressure", RawKind::U16, 0.1),
        ],
        checksum: Some(Checksum::Crc16),
    };
    Frames {
        says: vec![Say {
            every,
            frame: Frame::Binary(frame),
        }],
        answers: Vec::new(),
    }
}

/// The sensor's values.
#[must_use]
pub fn binary_values() -> Values {
    vec![
        ("temperature", sine(21.5, 2.0, 120)),
        ("humidity", sine(48.0, 8.0, 200)),
        ("pressure", sine(1013.0, 5.0, 600)),
    ]
}
