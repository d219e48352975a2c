//! The conformance kit over both framings, in memory on the paused clock.
//!
//! Two units with two registers each. A register reads as the number of the unit's request, so that an
//! answer to an earlier one is seen.

use protocols_conformance::{Bench, DeviceFacts, Facts, Mood, Seen, Time, check};
use protocols_driver::Driver;
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{
    Bus, Device, Limits, Order, Point, Quirks, RawType, Retry, Scale, Transport, Write,
};
use protocols_modbus::connect::{Connect, Connecting, Connection};
use protocols_model::{DeviceId, PointId, PointKey, Reading, Value};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, split};
use tokio::sync::watch;

const UNITS: u8 = 2;
const PERIOD: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(300);
const READ: u8 = 3;
const WRITE: u8 = 6;
const DEVICE_FAILURE: u8 = 4;

/// Both units behind one wire.
#[derive(Clone)]
struct Wire {
    is_rtu: bool,
    mood: Arc<watch::Sender<Mood>>,
    seen: Arc<Mutex<Seen>>,
}

impl Connect for Wire {
    fn connect(&self, _: &Transport) -> Connecting {
        let wire = self.clone();
        Box::pin(async move {
            if *wire.mood.borrow() == Mood::Gone {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut mood = wire.mood.subscribe();
                tokio::select! {
                    _ = mood.wait_for(|mood| *mood == Mood::Gone) => {}
                    _ = wire.serve(far) => {}
                }
            });
            Ok(Connection {
                stream: Box::new(near),
                timer: None,
            })
        })
    }
}

impl Wire {
    async fn serve(&self, stream: DuplexStream) -> io::Result<()> {
        let (mut reader, mut writer) = split(stream);
        loop {
            let mut header = [0; 6];
            let mut body = [0; 6];
            if self.is_rtu {
                reader.read_exact(&mut body).await?;
                let mut sum = [0; 2];
                reader.read_exact(&mut sum).await?;
                assert_eq!(crc(&body), sum, "the driver sent a damaged frame");
            } else {
                reader.read_exact(&mut header).await?;
                reader.read_exact(&mut body).await?;
            }
            let (mood, right) = self.answer(body);
            let frame = |body: &[u8]| self.frame(&header, body);
            let bytes = match mood {
                Mood::Silent | Mood::Gone => continue,
                Mood::Well => frame(&right),
                Mood::Late => {
                    tokio::time::sleep(TIMEOUT * 3 / 2).await;
                    frame(&right)
                }
                Mood::Torn => frame(&right)[..5].to_vec(),
                Mood::Garbage => vec![0xa5; 23],
                Mood::Refusing => frame(&[body[0], body[1] | 0x80, DEVICE_FAILURE]),
            };
            writer.write_all(&bytes).await?;
        }
    }

    /// How the unit feels, and what it would say: unit, function and data.
    fn answer(&self, body: [u8; 6]) -> (Mood, Vec<u8>) {
        let [unit, function, ..] = body;
        let argument = u16::from_be_bytes([body[4], body[5]]);
        let mood = match *self.mood.borrow() {
            mood @ Mood::Gone => mood,
            mood if unit == 1 => mood,
            _ => Mood::Well,
        };
        let mut seen = self.seen.lock().unwrap();
        match function {
            READ => {
                seen.asked[usize::from(unit) - 1] += 1;
                let answers = matches!(mood, Mood::Well | Mood::Late);
                *seen.answered.as_mut().unwrap() += u64::from(answers);
                let number = u16::try_from(seen.asked[usize::from(unit) - 1]).unwrap();
                let bytes = u8::try_from(argument * 2).unwrap();
                let data = number.to_be_bytes().repeat(usize::from(argument));
                (mood, [&[unit, READ, bytes][..], &data].concat())
            }
            WRITE => {
                seen.written.push(Value::U64(argument.into()));
                (mood, body.to_vec())
            }
            _ => panic!("function {function} was not expected"),
        }
    }

    fn frame(&self, header: &[u8; 6], body: &[u8]) -> Vec<u8> {
        if self.is_rtu {
            return [body, &crc(body)].concat();
        }
        let length = u16::try_from(body.len()).unwrap();
        [&header[..4], &length.to_be_bytes(), body].concat()
    }
}

/// CRC-16 of Modbus over serial line 1.02, 6.2.2.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let shift = |crc: u16, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xa001
        } else {
            crc >> 1
        }
    };
    let byte = |crc: u16, byte: &u8| (0..8).fold(crc ^ u16::from(*byte), shift);
    bytes.iter().fold(0xffff, byte).to_le_bytes()
}

struct ModbusBench {
    wire: Wire,
}

impl ModbusBench {
    fn new(is_rtu: bool) -> Self {
        let seen = Seen {
            asked: vec![0; usize::from(UNITS)],
            answered: Some(0),
            written: Vec::new(),
        };
        Self {
            wire: Wire {
                is_rtu,
                mood: Arc::new(watch::Sender::new(Mood::Well)),
                seen: Arc::new(Mutex::new(seen)),
            },
        }
    }

    fn bus(&self) -> Bus {
        let transport = if self.wire.is_rtu {
            Transport::Rtu {
                path: "memory".into(),
                line: "115200 8N1".parse().unwrap(),
                rs485: None,
            }
        } else {
            Transport::Tcp {
                host: "memory".to_owned(),
                port: 502,
            }
        };
        Bus {
            name: "bus".into(),
            transport,
            gap: Duration::ZERO,
            devices: (1..=UNITS).map(device).collect(),
        }
    }
}

fn device(unit: u8) -> Device {
    let point = |register: u16| {
        let address = format!("hr:{register}").parse().unwrap();
        Point {
            key: PointKey(u32::from(unit) * 2 + u32::from(register)),
            id: PointId::try_new(&format!("p{register}")).unwrap(),
            address,
            raw: RawType::U16,
            order: Order::BIG_ENDIAN,
            scale: Scale::IDENTITY,
            period: PERIOD,
            range: None,
            names: None,
            write: Some(Write::default()),
        }
    };
    Device {
        id: DeviceId::try_new(&format!("unit-{unit}")).unwrap(),
        unit,
        timeout: TIMEOUT,
        retry: Retry {
            fails: 2,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(5),
        },
        limits: Limits::default(),
        quirks: Quirks::default(),
        points: (0..2).map(point).collect(),
    }
}

#[async_trait::async_trait]
impl Bench for ModbusBench {
    fn facts(&self) -> Facts {
        let bus = self.bus();
        let devices = bus.devices.iter().map(|device| DeviceFacts {
            device: device.id.clone(),
            points: device.points.iter().map(|point| point.key).collect(),
        });
        Facts {
            time: Time::Paused,
            devices: devices.collect(),
            period: PERIOD,
            unasked: false,
            // On a serial line as long again, in which a late answer dies.
            silence: TIMEOUT * if self.wire.is_rtu { 2 } else { 1 },
            // A link that stays away is opened every 30 s.
            patience: Duration::from_secs(60),
        }
    }

    async fn start(&mut self) {}

    fn driver(&mut self) -> Box<dyn Driver> {
        let driver = ModbusDriver::new(self.bus()).unwrap();
        Box::new(driver.over(Arc::new(self.wire.clone())))
    }

    async fn set(&mut self, mood: Mood) -> bool {
        self.wire.mood.send_replace(mood);
        true
    }

    fn seen(&self) -> Seen {
        self.wire.seen.lock().unwrap().clone()
    }

    fn is_true(&self, reading: &Reading) -> bool {
        let unit = usize::try_from(reading.point.0 / 2).unwrap();
        let latest = self.wire.seen.lock().unwrap().asked[unit - 1];
        let late = *self.wire.mood.borrow() == Mood::Late;
        let Some(Value::U64(value)) = reading.value else {
            return false;
        };
        value == latest || (!late && (1..latest).contains(&value))
    }

    fn write(&self, number: u32) -> Option<(PointKey, Value)> {
        Some((PointKey(2), Value::U64(u64::from(number) + 100)))
    }
}

#[test]
fn the_driver_keeps_every_rule_over_tcp() {
    let report = check(|| ModbusBench::new(false));
    report.assert_conforms();
    assert!(report.left_out.is_empty(), "{report}");
}

#[test]
fn the_driver_keeps_every_rule_on_a_serial_line() {
    let report = check(|| ModbusBench::new(true));
    report.assert_conforms();
    assert!(report.left_out.is_empty(), "{report}");
}
