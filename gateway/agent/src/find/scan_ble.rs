//! `scan ble`: who is heard, and what they say, decoded in every format that fits.

use super::block_on;
use super::value::{show, to_json};
use crate::cli::find::ScanBleArgs;
use crate::console::{progress, say, warn};
use crate::exit::Exit;
use protocols_ble::address::Address;
use protocols_ble::advert::Advert;
use protocols_ble::decode::{DecodeError, Format, Values};
use protocols_ble::radio::{BluezRadio, Radio};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Devices that are kept: a busy hall has hundreds, phones change their addresses.
const MOST: usize = 1000;
/// How often the bar moves.
const TICK: Duration = Duration::from_millis(500);

/// What is known of one device.
#[derive(Default)]
struct Heard {
    name: Option<String>,
    rssi: Option<i16>,
    count: u64,
    /// By format: the last values, or why there are none.
    said: BTreeMap<&'static str, Result<BTreeMap<String, protocols_model::Value>, String>>,
}

pub(crate) fn run(args: &ScanBleArgs) -> anyhow::Result<Exit> {
    let heard = block_on(listen(args))?;
    let mut list: Vec<_> = heard.iter().collect();
    list.sort_by_key(|(_, heard)| std::cmp::Reverse(heard.rssi));
    let show = if args.json { as_json } else { as_text };
    say(list
        .iter()
        .map(|(address, heard)| show(**address, heard))
        .collect::<String>());
    if list.is_empty() {
        warn("no device was heard; sensors speak every few seconds to minutes: try --for 2m\n");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

async fn listen(args: &ScanBleArgs) -> anyhow::Result<BTreeMap<Address, Heard>> {
    let mut opened = BluezRadio.open(&args.adapter).await?;
    opened.central.start_scan().await?;
    let mut heard: BTreeMap<Address, Heard> = BTreeMap::new();
    let begun = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let steps = usize::try_from(args.listen.as_millis() / TICK.as_millis())
        .unwrap_or(1)
        .max(1);
    let mut step = 0;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(begun + args.listen) => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = tick.tick() => {
                progress(step.min(steps - 1), steps, &format!("{} devices heard", heard.len()));
                step += 1;
            }
            advert = opened.adverts.recv() => {
                let Some(advert) = advert else { break };
                let loud = advert.rssi.zip(args.min_rssi).is_none_or(|(rssi, least)| rssi >= least);
                if loud && (heard.len() < MOST || heard.contains_key(&advert.address)) {
                    heard.entry(advert.address).or_default().take(&advert);
                }
            }
        }
    }
    progress(steps, steps, "");
    // The adapter goes on as it was found: whoever else scans does not notice.
    if let Err(error) = opened.central.stop_scan().await {
        tracing::debug!(%error, "the scan was not stopped");
    }
    Ok(heard)
}

impl Heard {
    fn take(&mut self, advert: &Advert) {
        self.count += 1;
        self.rssi = advert.rssi.or(self.rssi);
        if let Some(name) = &advert.name {
            self.name = Some(name.to_string());
        }
        let mut values = Values::new();
        for format in Format::ALL {
            let Some(decoded) = format.decode(advert, None, &mut values) else {
                continue;
            };
            let said = match decoded {
                Ok(_) => Ok(values
                    .iter()
                    .filter_map(|sample| {
                        let value = sample.value.as_ref().ok()?.clone();
                        let nth = sample.field.nth;
                        let name = if nth > 1 {
                            format!("{}_{nth}", sample.field.name)
                        } else {
                            sample.field.name.to_owned()
                        };
                        Some((name, value))
                    })
                    .collect()),
                // Two formats share a service: the length tells them apart.
                Err(DecodeError::Length(_) | DecodeError::Version(_)) => continue,
                Err(error) => Err(error.to_string()),
            };
            match (self.said.get_mut(format.as_str()), said) {
                // Sensors send their values in turns.
                (Some(Ok(known)), Ok(fresh)) => known.extend::<BTreeMap<_, _>>(fresh),
                (_, said) => drop(self.said.insert(format.as_str(), said)),
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
                for (name, value) in values {
                    let unit = format.parse::<Format>().ok().and_then(|f| f.field(name));
                    let unit = unit.map_or("", |field| field.unit);
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
                    .map(|(name, value)| (name.clone(), to_json(value)));
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

    #[test]
    fn what_a_sensor_says_in_turns_is_gathered_and_gives_its_configuration() {
        let address: Address = "A4:C1:38:01:02:03".parse().unwrap();
        let mut heard = Heard::default();
        let uuid = protocols_ble::address::Uuid::short(0xfcd2);
        // BTHome: temperature 25.00 in one packet, humidity 50.55 in another (bthome.io, the format page).
        for data in [vec![0x40, 0x02, 0xc4, 0x09], vec![0x40, 0x03, 0xbf, 0x13]] {
            let mut advert = Advert::new(address);
            advert.rssi = Some(-60);
            advert.service_data = vec![(uuid, data)];
            heard.take(&advert);
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
