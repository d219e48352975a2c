//! The conformance kit on an asked and on a listening line, in memory on the paused clock.
//!
//! Two devices with two points each. A value is the number of the device's message, so that an answer to
//! an earlier question is seen.

use crate::rig::{bus, device};
use protocols_conformance::{Bench, Counting, DeviceFacts, Facts, Mood, Seen, Time, check};
use protocols_driver::Driver;
use protocols_line::PortConfig;
use protocols_model::{PointId, PointKey, Reading, Value};
use protocols_serial::config::{
    Bus, Bytes, Confirm, Kind, Message, Pattern, Point, Retry, ValueRules, Write,
};
use protocols_serial::{Opener, SerialDriver, Wire};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;

#[global_allocator]
static MEMORY: Counting = Counting;

/// On the asked line; the listening one has the first alone.
const DEVICES: u8 = 2;
const PERIOD: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(300);

/// Both devices behind one port.
#[derive(Clone)]
struct Line {
    is_asked: bool,
    mood: Arc<watch::Sender<Mood>>,
    seen: Arc<Mutex<Seen>>,
    /// How many messages each device has begun.
    number: Arc<Mutex<[u64; 2]>>,
}

#[async_trait::async_trait]
impl Opener for Line {
    async fn open(&self, _: &PortConfig) -> io::Result<Box<dyn Wire>> {
        if *self.mood.borrow() == Mood::Gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (near, far) = tokio::io::duplex(1024);
        let line = self.clone();
        tokio::spawn(async move {
            let mut mood = line.mood.subscribe();
            let serve = async {
                if line.is_asked {
                    line.answer(far).await
                } else {
                    line.speak(far).await
                }
            };
            tokio::select! {
                _ = mood.wait_for(|mood| *mood == Mood::Gone) => {}
                _ = serve => {}
            }
        });
        Ok(Box::new(near))
    }

    async fn appeared(&self, _: &PortConfig) {
        let mut mood = self.mood.subscribe();
        let there = mood.wait_for(|mood| *mood != Mood::Gone).await;
        there.map(drop).unwrap_or_default();
    }
}

impl Line {
    fn devices(&self) -> u8 {
        if self.is_asked { DEVICES } else { 1 }
    }

    fn mood_of(&self, device: usize) -> Mood {
        match *self.mood.borrow() {
            mood if mood == Mood::Gone || device == 0 => mood,
            _ => Mood::Well,
        }
    }

    /// What a device says now; `None`: nothing.
    fn message(&self, device: usize, mood: Mood) -> Option<Vec<u8>> {
        let number = {
            let mut numbers = self.number.lock().unwrap();
            numbers[device] += 1;
            numbers[device]
        };
        let right = format!("{device}:{number},{number}\n").into_bytes();
        match mood {
            Mood::Silent | Mood::Gone => None,
            Mood::Well | Mood::Late => {
                *self.seen.lock().unwrap().answered.as_mut().unwrap() += 1;
                Some(right)
            }
            Mood::Torn => Some(right[..3].to_vec()),
            Mood::Garbage => Some(b"\xa5\x5a0:\xff,7\n\x80".to_vec()),
            Mood::Refusing => Some(format!("{device}:ERR,ERR\n").into_bytes()),
        }
    }

    async fn answer(&self, mut port: DuplexStream) -> io::Result<()> {
        loop {
            let mut question = Vec::new();
            while !question.ends_with(b"\n") {
                question.push(port.read_u8().await?);
            }
            let question = String::from_utf8(question).unwrap();
            let device = usize::from(question.as_bytes()[0] - b'0');
            let mood = self.mood_of(device);
            if let Some((_, value)) = question.trim().split_once('=') {
                let value = Value::F64(value.parse().unwrap());
                self.seen.lock().unwrap().written.push(value);
                let text: &[u8] = match mood {
                    Mood::Well => b"OK\n",
                    Mood::Refusing => b"ERR\n",
                    _ => continue,
                };
                port.write_all(text).await?;
                continue;
            }
            self.seen.lock().unwrap().asked[device] += 1;
            let message = self.message(device, mood);
            if mood == Mood::Late {
                tokio::time::sleep(TIMEOUT * 3 / 2).await;
            }
            port.write_all(&message.unwrap_or_default()).await?;
        }
    }

    /// Four messages a span from each device. A line end first: what comes next is a whole line.
    async fn speak(&self, mut port: DuplexStream) -> io::Result<()> {
        loop {
            tokio::time::sleep(PERIOD / 8).await;
            for device in 0..usize::from(self.devices()) {
                tokio::time::sleep(PERIOD / 16).await;
                let mood = self.mood_of(device);
                let Some(message) = self.message(device, mood) else {
                    continue;
                };
                port.write_all(b"\n").await?;
                port.write_all(&message).await?;
            }
        }
    }

    fn bus(&self) -> Bus {
        let mut bus = bus("line", "");
        for number in 0..self.devices() {
            let mut device = device(&format!("device-{number}"));
            device.timeout = TIMEOUT;
            device.retry = Retry {
                fails: 2,
                backoff_min: Duration::from_secs(1),
                backoff_max: Duration::from_secs(5),
            };
            let pattern = format!("regex:{number}:(?<a>[0-9]+|ERR),(?<b>[0-9]+|ERR)");
            let message = Message {
                ask: self
                    .is_asked
                    .then(|| format!("{number}?\\n").parse().unwrap()),
                period: PERIOD,
                parser: pattern.parse().unwrap(),
                starts: Bytes::default(),
                length: None,
            };
            for (index, name) in ["a", "b"].into_iter().enumerate() {
                let field = message.parser.field(Some(name)).unwrap();
                let message = device.message(message.clone());
                device.points.push(Point {
                    key: PointKey(u32::from(number) * 2 + u32::try_from(index).unwrap()),
                    id: PointId::try_new(name).unwrap(),
                    read: Some((message, field)),
                    value: ValueRules {
                        kind: Kind::F64,
                        invalid: vec!["ERR".to_owned()],
                        ..ValueRules::default()
                    },
                    write: self.is_asked.then(|| Write {
                        command: format!("{number}={{value}}\\n").parse().unwrap(),
                        confirm: Confirm::Answer {
                            expect: Pattern::new("OK").unwrap(),
                            refused: Some(Pattern::new("ERR").unwrap()),
                        },
                    }),
                });
            }
            bus.devices.push(device);
        }
        bus
    }
}

struct SerialBench(Line);

impl SerialBench {
    fn new(is_asked: bool) -> Self {
        let seen = Seen {
            asked: if is_asked {
                vec![0; DEVICES.into()]
            } else {
                Vec::new()
            },
            answered: Some(0),
            written: Vec::new(),
        };
        Self(Line {
            is_asked,
            mood: Arc::new(watch::Sender::new(Mood::Well)),
            seen: Arc::new(Mutex::new(seen)),
            number: Arc::default(),
        })
    }
}

#[async_trait::async_trait]
impl Bench for SerialBench {
    fn facts(&self) -> Facts {
        let bus = self.0.bus();
        let devices = bus.devices.iter().map(|device| DeviceFacts {
            device: device.id.clone(),
            points: device.points.iter().map(|point| point.key).collect(),
        });
        Facts {
            time: Time::Paused,
            devices: devices.collect(),
            period: PERIOD,
            unasked: !self.0.is_asked,
            // As long again, in which a late answer dies, and the time of the bytes.
            silence: TIMEOUT * 2 + Duration::from_millis(20),
            patience: Duration::from_secs(60),
        }
    }

    async fn start(&mut self) {}

    fn driver(&mut self) -> Box<dyn Driver> {
        let opener = Arc::new(self.0.clone());
        Box::new(SerialDriver::with_opener(self.0.bus(), opener).unwrap())
    }

    async fn set(&mut self, mood: Mood) -> bool {
        if mood == Mood::Late && !self.0.is_asked {
            return false;
        }
        self.0.mood.send_replace(mood);
        true
    }

    fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap().clone()
    }

    fn is_true(&self, reading: &Reading) -> bool {
        let device = usize::try_from(reading.point.0 / 2).unwrap();
        let latest = self.0.number.lock().unwrap()[device];
        let late = *self.0.mood.borrow() == Mood::Late && device == 0;
        let Some(Value::F64(value)) = reading.value else {
            return false;
        };
        let said = |number: u64| format!("{number}") == format!("{value}");
        said(latest) || !late && (1..latest).any(said)
    }

    fn write(&self, number: u32) -> Option<(PointKey, Value)> {
        let value = Value::F64(f64::from(number) + 100.0);
        self.0.is_asked.then_some((PointKey(0), value))
    }
}

#[test]
fn an_asked_line_conforms() {
    let report = check(|| SerialBench::new(true));
    report.assert_conforms();
    assert!(report.left_out.is_empty(), "{report}");
}

#[test]
fn a_listening_line_conforms() {
    check(|| SerialBench::new(false)).assert_conforms();
}
