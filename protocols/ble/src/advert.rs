//! One advertisement as every radio hands it over: who, how loud, and what was said.
//!
//! The payload is already split into its parts by whoever received it. Sizes are bounded by the
//! Bluetooth air interface (255 bytes with extended advertising); decoders trust no length anyway.

use crate::address::{Address, Pattern, Uuid};
use std::sync::Arc;

/// What a device said without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Who said it.
    pub address: Address,
    /// How loud it was heard, in dBm, if the radio says so.
    pub rssi: Option<i16>,
    /// Its name, if it is known.
    pub name: Option<Arc<str>>,
    /// Data by company identifier (Bluetooth assigned numbers, section 7).
    pub manufacturer: Vec<(u16, Vec<u8>)>,
    /// Data by service.
    pub service_data: Vec<(Uuid, Vec<u8>)>,
    /// Services it offers.
    pub services: Vec<Uuid>,
}

impl Advert {
    /// An advertisement that says nothing yet.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            rssi: None,
            name: None,
            manufacturer: Vec::new(),
            service_data: Vec::new(),
            services: Vec::new(),
        }
    }

    /// The data of a company.
    #[must_use]
    pub fn of_company(&self, id: u16) -> Option<&[u8]> {
        let found = self.manufacturer.iter().find(|(company, _)| *company == id);
        found.map(|(_, data)| data.as_slice())
    }

    /// The data of a service.
    #[must_use]
    pub fn of_service(&self, uuid: Uuid) -> Option<&[u8]> {
        let found = self
            .service_data
            .iter()
            .find(|(service, _)| *service == uuid);
        found.map(|(_, data)| data.as_slice())
    }

    /// Whether it carries data at all: a mere sign of life has none.
    #[must_use]
    pub const fn has_data(&self) -> bool {
        !self.manufacturer.is_empty() || !self.service_data.is_empty()
    }
}

impl Pattern {
    /// Whether the pattern picks this device.
    #[must_use]
    pub fn matches(&self, advert: &Advert) -> bool {
        match self {
            Self::Address(address) => advert.address == *address,
            Self::Prefix(bytes) => advert.address.starts_with(bytes),
            Self::Uuid(uuid) => {
                advert.services.contains(uuid) || advert.of_service(*uuid).is_some()
            }
            Self::Company(id) => advert.of_company(*id).is_some(),
            Self::Name { text, open } => advert.name.as_deref().is_some_and(|name| {
                if *open {
                    name.starts_with(text.as_str())
                } else {
                    name == text
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_picks_by_what_it_names_and_by_nothing_else() {
        let mut advert = Advert::new("A4:C1:38:01:02:03".parse().unwrap());
        let picks = |advert: &Advert, text: &str| text.parse::<Pattern>().unwrap().matches(advert);
        assert!(picks(&advert, "A4:C1:38:*") && picks(&advert, "A4:C1:38:01:02:03"));
        assert!(!picks(&advert, "A4:C1:39:*") && !picks(&advert, "A4:C1:38:01:02:04"));
        assert!(!picks(&advert, "uuid:fcd2") && !picks(&advert, "company:0499"));
        assert!(!picks(&advert, "name:ATC_*"));
        advert.service_data = vec![(Uuid::short(0xfcd2), vec![0x40])];
        advert.services = vec![Uuid::short(0x181a)];
        advert.manufacturer = vec![(0x0499, vec![5])];
        advert.name = Some("ATC_010203".into());
        assert!(picks(&advert, "uuid:fcd2") && picks(&advert, "uuid:181a"));
        assert!(picks(&advert, "company:0499") && picks(&advert, "name:ATC_*"));
        assert!(!picks(&advert, "name:ATC_") && picks(&advert, "name:ATC_010203"));
    }
}
