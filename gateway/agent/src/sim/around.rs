//! Bluetooth LE of the simulator: a private D-Bus with a BlueZ that exists only there, and words that
//! switch its faults.

use anyhow::Context as _;
use protocols_bluez_sim::config::{Plan, Scope, SensorEntry, Site, WORDS};
use protocols_bluez_sim::{Bus, Event, Fault, Simulation};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Faults by hand that may wait until they are begun or ended.
const WAITING: usize = 64;

/// The sensors around a simulated adapter.
pub(super) struct Around {
    bus: Bus,
    site: Site,
    simulation: Option<Simulation>,
    adverts: Arc<AtomicU64>,
    /// Faults by hand: whether they begin.
    orders: mpsc::Sender<(bool, Fault)>,
    ordered: Option<mpsc::Receiver<(bool, Fault)>>,
}

impl Around {
    /// Starts bus and sensors; `tell` hears of every advertisement that somebody heard.
    pub(super) async fn start(
        table: &toml::Table,
        folder: &Path,
        bus_dir: Option<&Path>,
        tell: impl Fn(&str, &Event) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let site: Site = table.clone().try_into().context("reading [ble]")?;
        let mut prepared = site.prepare(folder).context("[ble]")?;
        let bus = match bus_dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)
                    .with_context(|| format!("making {}", dir.display()))?;
                let dir = dir.canonicalize()?;
                Bus::start_in(&dir)
            }
            None => Bus::start(),
        };
        let bus = bus.context("starting a D-Bus for the simulated adapter")?;
        let adverts = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&adverts);
        let names: Vec<_> = named(&site)
            .map(|(name, sensor)| (sensor.address, name))
            .collect();
        prepared.setup.on_record = Some(Arc::new(move |record| {
            if matches!(record.event, Event::Advert { .. } | Event::Notified { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            let name = names
                .iter()
                .find(|(address, _)| Some(*address) == record.address);
            tell(name.map_or("ble", |(_, name)| name), &record.event);
        }));
        let simulation = Simulation::start(bus.address(), prepared).await?;
        let (orders, ordered) = mpsc::channel(WAITING);
        Ok(Self {
            bus,
            site,
            simulation: Some(simulation),
            adverts,
            orders,
            ordered: Some(ordered),
        })
    }

    /// What a gateway must have in `DBUS_SYSTEM_BUS_ADDRESS`.
    pub(super) fn address(&self) -> &str {
        // The rest names this one daemon: with it a gateway could not come back after a restart here.
        let address = self.bus.address();
        address
            .split_once(",guid=")
            .map_or(address, |(place, _)| place)
    }

    /// The sensors with a name for each.
    pub(super) fn sensors(&self) -> impl Iterator<Item = (String, &SensorEntry)> {
        named(&self.site)
    }

    /// Advertisements and notifications that somebody heard.
    pub(super) fn heard(&self) -> u64 {
        self.adverts.load(Ordering::Relaxed)
    }

    /// Plays the faults of the site and those by hand, until it is dropped. Once.
    pub(super) fn play(&mut self) -> impl Future<Output = ()> + use<> {
        let simulation = self.simulation.take();
        let ordered = self.ordered.take();
        async move {
            let (Some(mut simulation), Some(mut ordered)) = (simulation, ordered) else {
                return;
            };
            loop {
                let mut order = None;
                simulation.run(async { order = ordered.recv().await }).await;
                let Some((begins, fault)) = order else { return };
                let bluez = simulation.bluez();
                let _known = if begins {
                    bluez.begin(fault).await
                } else {
                    bluez.end(fault).await
                };
            }
        }
    }

    /// Does what the words say to a sensor, an adapter or `bluetoothd`; `None` where the name is of
    /// none of them.
    pub(super) fn act(&self, name: &str, words: &str) -> Option<anyhow::Result<String>> {
        let sensor = self.sensors().find(|(own, sensor)| {
            own == name || sensor.address.to_string().eq_ignore_ascii_case(name)
        });
        let adapter = name
            .strip_prefix("hci")
            .is_some_and(|n| n.parse::<u8>().is_ok());
        if sensor.is_none() && !adapter && name != "bluetoothd" {
            return None;
        }
        Some(self.order(name, sensor.map(|(_, sensor)| sensor), words))
    }

    fn order(
        &self,
        name: &str,
        sensor: Option<&SensorEntry>,
        words: &str,
    ) -> anyhow::Result<String> {
        let fault = |words: &str| -> anyhow::Result<(Plan, Fault)> {
            let plan: Plan = words.parse()?;
            let fault = match sensor {
                Some(sensor) => plan.sensor_fault(sensor.address)?,
                None if name == "bluetoothd" => plan.daemon_fault()?,
                None => plan.adapter_fault(name)?,
            };
            Ok((plan, fault))
        };
        if words == "ok" {
            for (word, ..) in WORDS {
                // Words of something else are refused, and those of one moment have no end.
                if let Ok((_, fault)) = fault(word) {
                    self.say(false, fault)?;
                }
            }
            return Ok(format!("{name}: ok"));
        }
        let words = if words.starts_with("disconnect") {
            "disconnect every 1d"
        } else {
            words
        };
        let (plan, fault) = fault(words)?;
        self.say(true, fault.clone())?;
        if let Some(lasts) = plan.lasts {
            self.end_after(lasts, fault);
        }
        Ok(format!("{name}: {words}"))
    }

    fn say(&self, begins: bool, fault: Fault) -> anyhow::Result<()> {
        let sent = self.orders.try_send((begins, fault));
        sent.ok()
            .context("too many faults wait to be begun; try again")
    }

    fn end_after(&self, lasts: Duration, fault: Fault) {
        let orders = self.orders.clone();
        tokio::spawn(async move {
            tokio::time::sleep(lasts).await;
            // The simulator has ended: so has the fault.
            let _ended = orders.send((false, fault)).await;
        });
    }
}

/// The words for people.
pub(super) fn help() -> String {
    let line = |(word, scope, _, does): &(&str, Scope, _, &str)| {
        let scope = match scope {
            Scope::Sensor => "sensor",
            Scope::Adapter => "hci0",
            Scope::Daemon => "bluetoothd",
        };
        format!("      {word:<20} {scope}: {does}\n")
    };
    let words: String = WORDS.iter().map(line).collect();
    format!(
        "Bluetooth LE: <name> is a sensor, hci0 or bluetoothd\n  <name> <fault> [<time>]\n{words}"
    )
}

/// Sensors by a name that a configuration can have: the one they advertise, or their number.
fn named(site: &Site) -> impl Iterator<Item = (String, &SensorEntry)> {
    site.sensors.iter().zip(1..).map(|(sensor, number)| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let own = sensor.name.as_deref().unwrap_or_default().to_lowercase();
        let own: String = own.chars().filter(|c| fits(*c)).take(48).collect();
        let twice = site
            .sensors
            .iter()
            .filter(|other| other.name == sensor.name)
            .count()
            > 1;
        let name = match (own.is_empty(), twice) {
            (true, _) => format!("sensor{number}"),
            (false, true) => format!("{own}-{number}"),
            (false, false) => own,
        };
        (name, sensor)
    })
}
