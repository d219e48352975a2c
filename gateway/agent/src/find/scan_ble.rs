//! `scan ble`: who is heard, and what they say, decoded in every format that fits.
//!
//! Hearing is the scan of `protocols-ble`; here it is gathered by device and shown. What was heard before an
//! adapter went away is shown too.

use super::value::{show, to_json};
use super::{block_on, configured};
use crate::cli::find::ScanBleArgs;
use crate::console::{progress, say, warn};
use crate::exit::Exit;
use gateway_config::BusConfig;
use protocols_ble::address::Address;
use protocols_ble::config::{BindKey, Identity, Kind};
use protocols_ble::decode::DecodeError;
use protocols_ble::radio::{BluezRadio, RadioError};
use protocols_ble::scan::{Sighting, scan};
use protocols_model::Value;
use serde_json::{Map, json};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

/// Devices that are kept: a busy hall has hundreds, phones change their addresses.
const MOST: usize = 1000;
/// How often the bar moves.
const TICK: Duration = Duration::from_millis(500);

/// Values and their units by field.
type Fields = BTreeMap<String, (Value, &'static str)>;

/// What is known of one device.
#[derive(Default)]
struct Heard {
    name: Option<String>,
    rssi: Option<i16>,
    count: u64,
    /// By format: the last values, or why there are none.
    said: BTreeMap<&'static str, Result<Fields, String>>,
}

pub(crate) fn run(args: &ScanBleArgs) -> anyhow::Result<Exit> {
    let keys = args.config.as_deref().map(keys).transpose()?;
    let keys = keys.unwrap_or_default();
    let (heard, scanned) = block_on(async { Ok(listen(args, &keys).await) })?;
    let mut list: Vec<_> = heard.iter().collect();
    list.sort_by_key(|(_, heard)| std::cmp::Reverse(heard.rssi));
    let show = if args.json { as_json } else { as_text };
    say(list
        .iter()
        .map(|(address, heard)| show(**address, heard))
        .collect::<String>());
    scanned?;
    if list.is_empty() {
        warn("no device was heard; sensors speak every few seconds to minutes: try --for 2m\n");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// The bind keys of the devices in a configuration.
fn keys(path: &Path) -> anyhow::Result<HashMap<Address, BindKey>> {
    let config = configured(path)?;
    let buses = config.buses.iter().filter_map(|bus| match bus {
        BusConfig::Ble(bus) => Some(bus),
        BusConfig::Modbus(_) | BusConfig::Serial(_) => None,
    });
    let keys = buses.flat_map(|bus| &bus.devices).filter_map(|device| {
        match (&device.identity, &device.kind) {
            (Identity::Address(address), Kind::Adverts(adverts)) => {
                Some((*address, adverts.key.clone()?))
            }
            _ => None,
        }
    });
    Ok(keys.collect())
}

async fn listen(
    args: &ScanBleArgs,
    keys: &HashMap<Address, BindKey>,
) -> (BTreeMap<Address, Heard>, Result<(), RadioError>) {
    let mut heard: BTreeMap<Address, Heard> = BTreeMap::new();
    let devices = Cell::new(0);
    let scanned = scan(
        &BluezRadio,
        &args.adapter,
        keys,
        until(args.listen, &devices),
        |sighting| {
            let loud = sighting.rssi.zip(args.min_rssi);
            let loud = loud.is_none_or(|(rssi, least)| rssi >= least);
            if loud && (heard.len() < MOST || heard.contains_key(&sighting.address)) {
                heard.entry(sighting.address).or_default().take(sighting);
                devices.set(heard.len());
            }
        },
    )
    .await;
    progress(1, 1, "");
    (heard, scanned)
}

/// Ends after so long, or when the person has enough; shows how far it is.
async fn until(span: Duration, devices: &Cell<usize>) {
    let end = tokio::time::sleep(span);
    let mut end = std::pin::pin!(end);
    let mut tick = tokio::time::interval(TICK);
    let steps = usize::try_from(span.as_millis() / TICK.as_millis());
    let steps = steps.unwrap_or(1).max(1);
    let mut step = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            _ = tokio::signal::ctrl_c() => return,
            _ = tick.tick() => {
                progress(step.min(steps - 1), steps, &format!("{} devices heard", devices.get()));
                step += 1;
            }
        }
    }
}

impl Heard {
    fn take(&mut self, sighting: Sighting) {
        self.count += 1;
        self.rssi = sighting.rssi.or(self.rssi);
        if let Some(name) = sighting.name {
            self.name = Some(name.to_string());
        }
        for said in sighting.said {
            let format = said.format.as_str();
            let fields = match said.fields {
                Ok(fields) => Ok(fields
                    .into_iter()
                    .filter_map(|field| Some((field.name, (field.value.ok()?, field.unit))))
                    .collect()),
                // Others share the service or company: the length or version tells them apart.
                Err(DecodeError::Length(_) | DecodeError::Version(_)) => continue,
                Err(error) => Err(error.to_string()),
            };
            match (self.said.get_mut(format), fields) {
                // Sensors send their values in turns.
                (Some(Ok(known)), Ok(fresh)) => known.extend::<Fields>(fresh),
                (_, fields) => drop(self.said.insert(format, fields)),
            }
        }
    }
}

fn as_text(address: Address, heard: &Heard) -> String {
    let name = heard.name.as_deref().unwrap_or("");
    let rssi = heard
        .rssi
        .map_or_else(String::new, |rssi| format!("{rssi} dBm"));
    let mut text = format!("{address}  {rssi:>8}  {} times  {name}\n", heard.count);
    for (format, said) in &heard.said {
        match said {
            Ok(values) => {
                for (name, (value, unit)) in values {
                    text += format!("    {name:<16} {} {unit}", show(value)).trim_end();
                    text.push('\n');
                }
                let points: Vec<_> = values
                    .keys()
                    .map(|name| format!("{{ id = {name:?} }}"))
                    .collect();
                text += &format!(
                    "    [device.sensor]\n    bus = \"ble\"\n    address = \"{address}\"\n    decode = {format:?}\n    points = [{}]\n",
                    points.join(", ")
                );
            }
            Err(why) => text += &format!("    {format}: {why}\n"),
        }
    }
    text
}

fn as_json(address: Address, heard: &Heard) -> String {
    let mut said = Map::new();
    for (format, values) in &heard.said {
        let value = match values {
            Ok(values) => {
                let values = values
                    .iter()
                    .map(|(name, (value, _))| (name.clone(), to_json(value)));
                json!({ "values": values.collect::<Map<_, _>>() })
            }
            Err(why) => json!({ "error": why }),
        };
        said.insert((*format).to_owned(), value);
    }
    let object = json!({
        "address": address.to_string(),
        "name": heard.name,
        "rssi": heard.rssi,
        "adverts": heard.count,
        "formats": said,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_ble::address::Uuid;
    use protocols_ble::advert::Advert;

    const KEYED: &str = r#"
schema = 1
[gateway]
id = "g"
[bus.radio]
kind = "ble"
[device.cellar]
bus = "radio"
address = "54:48:E6:8F:80:A5"
decode = "bthome"
key = "file:key"
points = [{ id = "temperature" }]
"#;

    #[test]
    fn with_a_configuration_its_encrypted_sensors_are_read_too() {
        // The example of an encrypted packet that bthome.io publishes, with its key.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), KEYED).unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "231d39c1d7cc1ab1aee224cd096db932").unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, owner_only).unwrap();
        let keys = keys(&folder.path().join("gateway.toml")).unwrap();
        let mut advert = Advert::new("54:48:E6:8F:80:A5".parse().unwrap());
        let mut data = vec![0x41, 0xa4, 0x72, 0x66, 0xc9, 0x5f, 0x73];
        data.extend([0, 0x11, 0x22, 0x33, 0x78, 0x23, 0x72, 0x14]);
        advert.service_data = vec![(Uuid::short(0xfcd2), data)];
        for (key, text) in [
            (None, "bthome: it is encrypted"),
            (keys.get(&advert.address), "25.06 °C"),
        ] {
            let mut heard = Heard::default();
            heard.take(Sighting::of(&advert, key));
            let shown = as_text(advert.address, &heard);
            assert!(shown.contains(text), "{shown}");
        }
    }

    #[test]
    fn what_a_sensor_says_in_turns_is_gathered_and_gives_its_configuration() {
        let address: Address = "A4:C1:38:01:02:03".parse().unwrap();
        let mut heard = Heard::default();
        let uuid = Uuid::short(0xfcd2);
        // BTHome: temperature 25.00 in one packet, humidity 50.55 in another (bthome.io, the format page).
        for data in [vec![0x40, 0x02, 0xc4, 0x09], vec![0x40, 0x03, 0xbf, 0x13]] {
            let mut advert = Advert::new(address);
            advert.rssi = Some(-60);
            advert.service_data = vec![(uuid, data)];
            heard.take(Sighting::of(&advert, None));
        }
        let text = as_text(address, &heard);
        assert!(text.contains("temperature      25 °C"), "{text}");
        assert!(text.contains("humidity         50.55 %"), "{text}");
        assert!(text.contains("decode = \"bthome\""), "{text}");
        let json: serde_json::Value = serde_json::from_str(&as_json(address, &heard)).unwrap();
        assert_eq!(json["formats"]["bthome"]["values"]["humidity"], 50.55);
        assert_eq!(json["adverts"], 2);
    }
}
