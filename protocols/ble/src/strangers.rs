//! Devices that are heard and have no configuration: remembered in a bounded table, told of once.
//!
//! Private addresses change every quarter of an hour, so a busy street brings ten thousand of them: the
//! table holds so many as configured, the one heard longest ago makes room. Who is not on the allow-list
//! is not even remembered.

use crate::address::{Address, Pattern};
use crate::advert::Advert;
use crate::decode::{Format, Values};
use protocols_model::Instant;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Strangers {
    allow: Vec<Pattern>,
    limit: usize,
    /// When the next report may be made; `None`: never.
    report: Option<Pause>,
    /// When each was last heard, as the number of the advertisement.
    seen: HashMap<Address, u64>,
    /// Order of last hearing, for the one to make room.
    order: BTreeMap<u64, Address>,
    heard: u64,
    /// Made room for others.
    evicted: u64,
}

#[derive(Debug)]
struct Pause {
    span: Duration,
    until: Instant,
    left_out: u64,
}

impl Strangers {
    /// An empty table for at most `limit` devices that `allow` picks (empty: all); with `report`, at
    /// most one report in that span.
    #[must_use]
    pub fn new(allow: Vec<Pattern>, limit: usize, report: Option<Duration>) -> Self {
        Self {
            allow,
            limit: limit.max(1),
            report: report.map(|span| Pause {
                span,
                until: Instant::default(),
                left_out: 0,
            }),
            seen: HashMap::new(),
            order: BTreeMap::new(),
            heard: 0,
            evicted: 0,
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How many made room for others.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Somebody without a configuration was heard. What to report, if it is new and a report is due.
    pub fn heard(&mut self, advert: &Advert, now: Instant) -> Option<String> {
        self.heard += 1;
        if let Some(last) = self.seen.get_mut(&advert.address) {
            self.order.remove(last);
            *last = self.heard;
            self.order.insert(self.heard, advert.address);
            return None;
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|pattern| pattern.matches(advert)) {
            return None;
        }
        if self.seen.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.seen.remove(&oldest);
            self.evicted += 1;
        }
        self.order.insert(self.heard, advert.address);
        self.seen.insert(advert.address, self.heard);
        let pause = self.report.as_mut()?;
        if now < pause.until {
            pause.left_out += 1;
            return None;
        }
        pause.until = now.plus(pause.span);
        let left_out = std::mem::take(&mut pause.left_out);
        Some(describe(advert, left_out))
    }
}

fn describe(advert: &Advert, left_out: u64) -> String {
    let mut text = format!("heard {} without a configuration", advert.address);
    if let Some(name) = &advert.name {
        text.push_str(&format!(", named {:?}", &**name));
    }
    if let Some(rssi) = advert.rssi {
        text.push_str(&format!(", {rssi} dBm"));
    }
    let mut values = Values::new();
    let speaks = Format::ALL.into_iter();
    let mut speaks = speaks.filter(|format| format.decode(advert, None, &mut values).is_some());
    if let Some(format) = speaks.next() {
        text.push_str(&format!(", speaks {format}"));
    }
    if left_out > 0 {
        text.push_str(&format!("; {left_out} others were not told"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Uuid;

    fn advert(number: u32) -> Advert {
        let [a, b, c, d] = number.to_be_bytes();
        let mut advert = Advert::new(Address([0x40, 1, a, b, c, d]));
        advert.rssi = Some(-70);
        advert
    }

    #[test]
    fn ten_thousand_addresses_keep_to_the_limit_and_the_regular_ones_stay() {
        let mut strangers = Strangers::new(Vec::new(), 64, None);
        let regular = advert(u32::MAX);
        for number in 0..10_000 {
            strangers.heard(&advert(number), Instant::default());
            if number % 50 == 0 {
                strangers.heard(&regular, Instant::default());
            }
            assert!(strangers.len() <= 64 && strangers.order.len() == strangers.len());
        }
        assert!(strangers.seen.contains_key(&regular.address));
        assert_eq!(strangers.evicted(), 10_001 - 64);
        assert!(strangers.seen.capacity() < 512);
    }

    #[test]
    fn who_is_not_allowed_is_not_remembered() {
        let allow = vec!["uuid:fcd2".parse().unwrap(), "name:Hall*".parse().unwrap()];
        let mut strangers = Strangers::new(allow, 16, Some(Duration::ZERO));
        assert_eq!(strangers.heard(&advert(1), Instant::default()), None);
        assert!(strangers.is_empty());
        let mut named = advert(1);
        named.name = Some("Hall 2".into());
        assert!(strangers.heard(&named, Instant::default()).is_some());
        // It need not say its name each time.
        strangers.heard(&advert(1), Instant::default());
        assert_eq!(strangers.len(), 1);
    }

    #[test]
    fn a_new_device_is_told_once_and_a_crowd_is_counted() {
        let at = |s| Instant(Duration::from_secs(s));
        let mut strangers = Strangers::new(Vec::new(), 16, Some(Duration::from_mins(1)));
        let mut first = advert(1);
        first.name = Some("ATC_1".into());
        first.service_data = vec![(Uuid::short(0xfcd2), vec![0x40, 0x01, 0x61])];
        let told = strangers.heard(&first, at(0)).unwrap();
        let expected = "heard 40:01:00:00:00:01 without a configuration, named \"ATC_1\", -70 dBm, speaks bthome";
        assert_eq!(told, expected);
        assert_eq!(strangers.heard(&first, at(61)), None);
        assert!(strangers.heard(&advert(2), at(62)).is_some());
        for number in 3..10 {
            assert_eq!(strangers.heard(&advert(number), at(63)), None);
        }
        let told = strangers.heard(&advert(10), at(200)).unwrap();
        assert!(told.ends_with("; 7 others were not told"), "{told}");
    }
}
