//! A radio in memory: a test says what it hears, what it answers, and reads what it was asked.

use protocols_ble::advert::Advert;
use protocols_ble::config::{Adapter, Address, Uuid, WriteMode};
use protocols_ble::radio::{
    ADVERT_CAPACITY, Central, Characteristic, Health, Opened, Peer, Radio, RadioError, Said,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

/// What a call does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Never answers.
    Hangs,
    Fails(RadioError),
}

impl Mood {
    async fn pass(self) -> Result<(), RadioError> {
        match self {
            Self::Well => Ok(()),
            Self::Hangs => std::future::pending().await,
            Self::Fails(error) => Err(error),
        }
    }
}

/// A device that can be connected to.
#[derive(Debug, Default)]
pub(crate) struct Device {
    pub(crate) connect: Mood,
    pub(crate) read: Mood,
    pub(crate) write: Mood,
    pub(crate) subscribe: Mood,
    pub(crate) characteristics: Vec<Characteristic>,
    pub(crate) values: HashMap<usize, Vec<u8>>,
    /// Written values are what it has from then on.
    pub(crate) keeps: bool,
    /// What was written, accepted or not.
    pub(crate) written: Vec<(usize, Vec<u8>, WriteMode)>,
    pub(crate) reads: u64,
    pub(crate) subscribed: Vec<usize>,
    tell: Option<mpsc::Sender<Said>>,
}

impl Device {
    /// Characteristics 0, 1 … of service 181A that can do everything.
    pub(crate) fn new(uuids: &[u16]) -> Self {
        let characteristic = |uuid: &u16| Characteristic {
            service: Uuid::short(0x181a),
            uuid: Uuid::short(*uuid),
            read: true,
            write: true,
            write_without_response: true,
            notify: true,
        };
        Self {
            characteristics: uuids.iter().map(characteristic).collect(),
            values: (0..uuids.len()).map(|place| (place, vec![0; 4])).collect(),
            keeps: true,
            ..Self::default()
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.tell.as_ref().is_some_and(|tell| !tell.is_closed())
    }
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) open: Mood,
    pub(crate) start: Mood,
    pub(crate) state: Mood,
    pub(crate) power: Mood,
    pub(crate) devices: HashMap<Address, Device>,
    /// What was asked of the radio, in order.
    pub(crate) log: Vec<String>,
    /// Keeps no log: for tests that count memory.
    pub(crate) forgets: bool,
    heard: Option<mpsc::Sender<Advert>>,
    health: Option<watch::Sender<Health>>,
}

/// Clones share one world.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<World>>);

const WELL: Health = Health {
    connected: true,
    service: true,
    adapter: true,
    powered: true,
    scanning: false,
    overrun: 0,
};

impl Fake {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn log(&self, text: impl Into<String>) {
        let mut world = self.world();
        if !world.forgets {
            world.log.push(text.into());
        }
    }

    /// How often this was asked.
    pub(crate) fn asked(&self, text: &str) -> usize {
        self.world()
            .log
            .iter()
            .filter(|asked| *asked == text)
            .count()
    }

    pub(crate) fn scanning(&self) -> bool {
        let world = self.world();
        world.health.as_ref().is_some_and(|h| h.borrow().scanning)
    }

    /// The air carries an advertisement. Whether the driver could hear it.
    pub(crate) fn advertise(&self, advert: Advert) -> bool {
        if !self.scanning() {
            return false;
        }
        let heard = self.world().heard.clone();
        heard.is_some_and(|heard| heard.try_send(advert).is_ok())
    }

    pub(crate) fn health(&self, change: impl FnOnce(&mut Health)) {
        if let Some(health) = &self.world().health {
            health.send_modify(change);
        }
    }

    pub(crate) fn device<T>(&self, address: Address, what: impl FnOnce(&mut Device) -> T) -> T {
        what(self.world().devices.get_mut(&address).expect("a device"))
    }

    /// A connected device says something. Whether anybody listens.
    pub(crate) fn say(&self, address: Address, said: Said) -> bool {
        let tell = self.device(address, |device| device.tell.clone());
        tell.is_some_and(|tell| tell.try_send(said).is_ok())
    }
}

#[async_trait::async_trait]
impl Radio for Fake {
    async fn open(&self, _adapter: &Adapter) -> Result<Opened, RadioError> {
        self.log("open");
        let mood = self.world().open.clone();
        mood.pass().await?;
        let (heard, adverts) = mpsc::channel(ADVERT_CAPACITY);
        let (health, told) = watch::channel(WELL);
        let mut world = self.world();
        (world.heard, world.health) = (Some(heard), Some(health));
        Ok(Opened {
            central: Arc::new(self.clone()),
            adverts,
            health: told,
        })
    }
}

#[async_trait::async_trait]
impl Central for Fake {
    async fn start_scan(&self) -> Result<(), RadioError> {
        self.log("start");
        let mood = self.world().start.clone();
        mood.pass().await?;
        self.health(|health| (health.scanning, health.powered) = (true, true));
        Ok(())
    }

    async fn stop_scan(&self) -> Result<(), RadioError> {
        self.log("stop");
        if !self.scanning() {
            return Err(RadioError::Failed("No discovery started".to_owned()));
        }
        self.health(|health| health.scanning = false);
        Ok(())
    }

    async fn is_powered(&self) -> Result<bool, RadioError> {
        let mood = self.world().state.clone();
        mood.pass().await?;
        let world = self.world();
        Ok(world.health.as_ref().is_some_and(|h| h.borrow().powered))
    }

    async fn set_powered(&self, on: bool) -> Result<(), RadioError> {
        self.log(format!("power {on}"));
        let mood = self.world().power.clone();
        mood.pass().await?;
        self.health(|health| health.powered = on);
        Ok(())
    }

    async fn connect(&self, address: Address) -> Result<Box<dyn Peer>, RadioError> {
        self.log(format!("connect {address}"));
        let known = self
            .world()
            .devices
            .get(&address)
            .map(|d| d.connect.clone());
        known.ok_or(RadioError::NotHeard)?.pass().await?;
        let (tell, said) = mpsc::channel(64);
        let characteristics = self.device(address, |device| {
            device.tell = Some(tell);
            device.subscribed.clear();
            device.characteristics.clone()
        });
        self.log(format!("connected {address}"));
        Ok(Box::new(FakePeer {
            fake: self.clone(),
            address,
            characteristics,
            said,
        }))
    }

    async fn disconnect(&self, address: Address) -> Result<(), RadioError> {
        self.log(format!("disconnect {address}"));
        if let Some(device) = self.world().devices.get_mut(&address) {
            device.tell = None;
        }
        Ok(())
    }
}

struct FakePeer {
    fake: Fake,
    address: Address,
    characteristics: Vec<Characteristic>,
    said: mpsc::Receiver<Said>,
}

#[async_trait::async_trait]
impl Peer for FakePeer {
    fn characteristics(&self) -> &[Characteristic] {
        &self.characteristics
    }

    async fn read(&self, place: usize) -> Result<Vec<u8>, RadioError> {
        let mood = self.fake.device(self.address, |device| {
            device.reads += 1;
            device.read.clone()
        });
        mood.pass().await?;
        let value = self
            .fake
            .device(self.address, |d| d.values.get(&place).cloned());
        value.ok_or_else(|| RadioError::Failed("no such characteristic".to_owned()))
    }

    async fn write(&self, place: usize, value: &[u8], mode: WriteMode) -> Result<(), RadioError> {
        let mood = self.fake.device(self.address, |device| {
            device.written.push((place, value.to_vec(), mode));
            if device.keeps {
                device.values.insert(place, value.to_vec());
            }
            device.write.clone()
        });
        mood.pass().await
    }

    async fn subscribe(&self, place: usize) -> Result<(), RadioError> {
        let mood = self.fake.device(self.address, |d| d.subscribe.clone());
        mood.pass().await?;
        self.fake.device(self.address, |d| d.subscribed.push(place));
        Ok(())
    }

    async fn next(&mut self) -> Said {
        self.said.recv().await.unwrap_or(Said::Gone)
    }
}
