//! A device in memory with the smallest protocol that can go wrong: lines of text without a number to
//! tell answers apart.
//!
//! `r <unit>` is answered `v <number of the request> <the same>`, `w <value>` is answered `ok`.

use crate::echo::{Defect, Echo};
use protocols_conformance::{Bench, DeviceFacts, Facts, Mood, Seen, Time};
use protocols_driver::Driver;
use protocols_model::{DeviceId, PointKey, Reading, Value};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, split};
use tokio::sync::watch;

pub(crate) const UNITS: usize = 2;
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

pub(crate) fn unit_name(unit: usize) -> DeviceId {
    DeviceId::try_new(&format!("unit-{unit}")).unwrap()
}

/// Both points of a unit.
pub(crate) fn points(unit: usize) -> [PointKey; 2] {
    let first = u32::try_from(unit * 2).unwrap();
    [PointKey(first), PointKey(first + 1)]
}

/// Where to dial to.
#[derive(Clone)]
pub(crate) struct Wire {
    mood: Arc<watch::Sender<Mood>>,
    seen: Arc<Mutex<Seen>>,
}

impl Wire {
    fn new() -> Self {
        let seen = Seen {
            asked: vec![0; UNITS],
            answered: Some(0),
            ..Seen::default()
        };
        Self {
            mood: Arc::new(watch::Sender::new(Mood::Well)),
            seen: Arc::new(Mutex::new(seen)),
        }
    }

    /// A connection, unless the device is gone.
    pub(crate) async fn dial(&self) -> io::Result<DuplexStream> {
        if *self.mood.borrow() == Mood::Gone {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(256);
        let device = self.clone();
        tokio::spawn(async move {
            let mut mood = device.mood.subscribe();
            let gone = mood.wait_for(|mood| *mood == Mood::Gone);
            tokio::select! {
                _ = gone => {}
                _ = device.serve(far) => {}
            }
        });
        Ok(near)
    }

    async fn serve(&self, stream: DuplexStream) -> io::Result<()> {
        let (reader, mut writer) = split(stream);
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let (verb, number) = line.split_once(' ').unwrap();
            let number: usize = number.parse().unwrap();
            let mut mood = *self.mood.borrow();
            if verb == "r" && number != 0 {
                mood = Mood::Well;
            }
            let answers = matches!(mood, Mood::Well | Mood::Late);
            let right = {
                let mut seen = self.seen.lock().unwrap();
                if verb == "r" {
                    seen.asked[number] += 1;
                    *seen.answered.as_mut().unwrap() += u64::from(answers);
                    format!("v {0} {0}\n", seen.asked[number])
                } else {
                    seen.written.push(Value::U64(number as u64));
                    "ok\n".to_owned()
                }
            };
            let answer = match mood {
                Mood::Silent | Mood::Gone => continue,
                Mood::Torn => "v 1",
                Mood::Garbage => "%&/(\n",
                Mood::Refusing => "e\n",
                Mood::Late => {
                    tokio::time::sleep(TIMEOUT * 3 / 2).await;
                    &right
                }
                Mood::Well => &right,
            };
            writer.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }
}

/// The device with a driver for it, good or bad.
pub(crate) struct EchoBench {
    wire: Wire,
    defect: Defect,
}

impl EchoBench {
    pub(crate) fn new(defect: Defect) -> Self {
        Self {
            wire: Wire::new(),
            defect,
        }
    }
}

#[async_trait::async_trait]
impl Bench for EchoBench {
    fn facts(&self) -> Facts {
        let device = |unit| DeviceFacts {
            device: unit_name(unit),
            points: points(unit).to_vec(),
        };
        Facts {
            time: Time::Paused,
            devices: (0..UNITS).map(device).collect(),
            period: PERIOD,
            unasked: false,
            silence: TIMEOUT,
            patience: Duration::from_secs(30),
        }
    }

    async fn start(&mut self) {}

    fn driver(&mut self) -> Box<dyn Driver> {
        Box::new(Echo::new(self.wire.clone(), self.defect))
    }

    async fn set(&mut self, mood: Mood) -> bool {
        self.wire.mood.send_replace(mood);
        true
    }

    fn seen(&self) -> Seen {
        self.wire.seen.lock().unwrap().clone()
    }

    fn is_true(&self, reading: &Reading) -> bool {
        let unit = (0..UNITS).find(|unit| points(*unit).contains(&reading.point));
        let latest = self.wire.seen.lock().unwrap().asked[unit.unwrap()];
        let Some(Value::U64(value)) = reading.value else {
            return false;
        };
        let late = *self.wire.mood.borrow() == Mood::Late;
        value == latest || (!late && (1..latest).contains(&value))
    }

    fn write(&self, number: u32) -> Option<(PointKey, Value)> {
        Some((PointKey(0), Value::U64(u64::from(number) + 100)))
    }
}
