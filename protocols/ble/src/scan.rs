//! What is in the air: everything an adapter hears, decoded as far as it can be. For people who look for a
//! sensor and for its configuration; the driver does not use it.

use crate::address::{Address, Uuid};
use crate::advert::Advert;
use crate::config::{Adapter, BindKey};
use crate::decode::{Cipher, DecodeError, Format, Values};
use crate::radio::{Radio, RadioError};
use protocols_model::{Reason, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long opening the adapter and starting the scan may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Names remembered of devices that say them only now and then.
const MAX_NAMES: usize = 4096;

/// One advertisement as a person wants to see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Who said it.
    pub address: Address,
    /// Its name, if it ever said one.
    pub name: Option<Arc<str>>,
    /// How loud it was heard, in dBm.
    pub rssi: Option<i16>,
    /// What it says, in each format that knows it: one device may speak several.
    pub said: Vec<Said>,
    /// Data by company identifier, as received.
    pub manufacturer: Vec<(u16, Vec<u8>)>,
    /// Data by service, as received.
    pub service_data: Vec<(Uuid, Vec<u8>)>,
    /// Services it offers.
    pub services: Vec<Uuid>,
}

/// A decoded advertisement.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// `decode = "…"` of its configuration.
    pub format: Format,
    /// Its values, or why there are none: a missing or wrong key, damage.
    pub fields: Result<Vec<SaidField>, DecodeError>,
    /// The device only speaks when something happens.
    pub on_event: bool,
}

/// One value of an advertisement.
#[derive(Debug, Clone, PartialEq)]
pub struct SaidField {
    /// `field = "…"` of a point.
    pub name: String,
    /// The value, or why the sensor has none.
    pub value: Result<Value, Reason>,
    /// Its unit; empty where there is none.
    pub unit: &'static str,
}

impl Sighting {
    /// What there is to see of an advertisement; with `key` also of an encrypted one.
    #[must_use]
    pub fn of(advert: &Advert, key: Option<&BindKey>) -> Self {
        let cipher = key.map(Cipher::new);
        let mut values = Values::new();
        let said = Format::ALL.into_iter().filter_map(|format| {
            let decoded = format.decode(advert, cipher.as_ref(), &mut values)?;
            let on_event = decoded.is_ok_and(|packet| packet.on_event);
            let fields = decoded.map(|_packet| fields(format, &values));
            Some(Said {
                format,
                fields,
                on_event,
            })
        });
        let said = said.collect();
        Self {
            address: advert.address,
            name: advert.name.clone(),
            rssi: advert.rssi,
            said,
            manufacturer: advert.manufacturer.clone(),
            service_data: advert.service_data.clone(),
            services: advert.services.clone(),
        }
    }
}

fn fields(format: Format, values: &Values) -> Vec<SaidField> {
    let field = |sample: &crate::decode::Sample| {
        let name = match sample.field.nth {
            1 => sample.field.name.to_owned(),
            nth => format!("{}_{nth}", sample.field.name),
        };
        let unit = format.field(sample.field.name).map_or("", |info| info.unit);
        SaidField {
            name,
            value: sample.value.clone(),
            unit,
        }
    };
    values.iter().map(field).collect()
}

/// Listens through `adapter` and gives `each` what is heard, until `until` ends or the radio does. Scans on
/// its own: a running gateway that uses the same adapter goes on hearing.
///
/// # Errors
/// [`RadioError`], also when the adapter goes away while listening.
pub async fn scan(
    radio: &dyn Radio,
    adapter: &Adapter,
    keys: &HashMap<Address, BindKey>,
    until: impl Future<Output = ()>,
    mut each: impl FnMut(Sighting),
) -> Result<(), RadioError> {
    let begin = async {
        let opened = radio.open(adapter).await?;
        opened.central.start_scan().await?;
        Ok(opened)
    };
    let opened = tokio::time::timeout(OPEN_TIMEOUT, begin).await;
    let mut opened = opened.unwrap_or(Err(RadioError::TimedOut))?;
    let mut names: HashMap<Address, Arc<str>> = HashMap::new();
    let mut until = std::pin::pin!(until);
    let result = loop {
        let advert = tokio::select! {
            biased;
            () = &mut until => break Ok(()),
            changed = opened.health.changed() => {
                let health = *opened.health.borrow_and_update();
                let well = changed.is_ok() && health.connected && health.service && health.adapter;
                if !well {
                    break Err(RadioError::Failed("the adapter went away".to_owned()));
                }
                continue;
            }
            advert = opened.adverts.recv() => advert,
        };
        let Some(mut advert) = advert else {
            break Err(RadioError::Failed("the adapter went away".to_owned()));
        };
        match &advert.name {
            Some(name) if names.len() < MAX_NAMES => {
                names.insert(advert.address, Arc::clone(name));
            }
            Some(_) => {}
            None => advert.name = names.get(&advert.address).cloned(),
        }
        each(Sighting::of(&advert, keys.get(&advert.address)));
    };
    // The service stops the scan of whoever leaves; asked to, it does so at once.
    drop(tokio::time::timeout(Duration::from_secs(1), opened.central.stop_scan()).await);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::hex;

    fn advert(data: &str) -> Advert {
        let mut advert = Advert::new("54:48:E6:8F:80:A5".parse().unwrap());
        advert.service_data = vec![(Uuid::short(0xfcd2), hex(data, &[' ']).unwrap())];
        advert
    }

    #[test]
    fn a_sighting_shows_what_to_write_into_the_configuration() {
        let sighting = Sighting::of(&advert("44 0161 02CA09 02CB09"), None);
        let [said] = <[Said; 1]>::try_from(sighting.said).unwrap();
        assert_eq!((said.format, said.on_event), (Format::Bthome, true));
        let fields = said.fields.unwrap();
        let names: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.unit)).collect();
        let expected = [
            ("battery", "%"),
            ("temperature", "°C"),
            ("temperature_2", "°C"),
        ];
        assert_eq!(names, expected);
        assert_eq!(fields[2].value, Ok(Value::F64(25.07)));
    }

    #[test]
    fn an_encrypted_one_asks_for_its_key_and_a_stranger_shows_its_bytes() {
        let sealed = advert("41 e445f3c9962b 33221100 6c7c4519");
        let said = Sighting::of(&sealed, None).said;
        assert_eq!(said[0].fields, Err(DecodeError::NoKey));
        let key: BindKey = "231d39c1d7cc1ab1aee224cd096db932".parse().unwrap();
        let said = Sighting::of(&sealed, Some(&key)).said.remove(0);
        assert_eq!(said.fields.unwrap().len(), 2);
        let mut stranger = Advert::new("54:48:E6:8F:80:A5".parse().unwrap());
        stranger.manufacturer = vec![(0x1234, vec![1, 2])];
        let sighting = Sighting::of(&stranger, None);
        assert_eq!(sighting.said, []);
        assert_eq!(sighting.manufacturer, [(0x1234, vec![1, 2])]);
    }
}
