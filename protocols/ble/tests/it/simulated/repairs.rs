//! The adapter and its service in trouble: noticed, told with its cause, and repaired without anybody's help.

use super::{Air, HCI0, OFTEN, sim};
use crate::rig::{bus, is_bad, is_good, secs, sensor, values};
use protocols_ble::config::Format;
use protocols_bluez_sim::payload::bthome::{self, Object};
use protocols_bluez_sim::{Event, Fault, Sensor, Setup, on_private_bus};
use protocols_driver::LinkState;
use protocols_model::{Reason, Value};

fn hci0() -> String {
    HCI0.to_owned()
}

/// Counts its advertisements.
fn counter(number: u8) -> Sensor {
    Sensor::new(sim(number)).advertising(OFTEN, |turn| {
        bthome::plain(&[(Object::named("count_32").unwrap(), turn.number as f64)])
    })
}

/// One sensor, heard, with a radio that counts as stuck after five seconds of silence.
async fn heard(bus_address: &str) -> Air {
    let mut configured = bus(vec![sensor(1, Format::Bthome, &["count"])]);
    configured.silence = Some(secs(5));
    let mut air = Air::with(bus_address, Setup::default(), configured).await;
    air.bluez.add(counter(1)).await;
    air.rig.until("the sensor", is_good).await;
    air
}

/// Waits until the sensor says something that it had not said before now.
async fn heard_again(air: &mut Air) {
    let said = |air: &Air| {
        air.bluez.journal().select(|record| match &record.event {
            Event::Advert { advert, .. } if record.address == Some(sim(1)) => {
                let data = advert.service_data.values().next()?;
                Some(u64::from(u32::from_le_bytes(data[2..6].try_into().ok()?)))
            }
            _ => None,
        })
    };
    let before = said(air).last().copied().unwrap();
    air.rig
        .until("news of the sensor", |sweep| {
            values(sweep)
                .iter()
                .any(|(_, value)| matches!(value, Value::U64(n) if *n > before))
        })
        .await;
    air.rig
        .eventually("the link is up", |rig| rig.link(0) == LinkState::Up)
        .await;
}

#[test]
fn restarted_service_is_told_and_heard_again() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        air.bluez.begin(Fault::DaemonStopped).await;
        air.rig
            .eventually("it is told", |rig| {
                rig.has_told("the Bluetooth service ended")
            })
            .await;
        air.rig
            .eventually("the link is down", |rig| {
                rig.link(0) == LinkState::Down(Reason::LinkDown)
            })
            .await;
        air.bluez.end(Fault::DaemonStopped).await;
        heard_again(&mut air).await;
        assert!(air.happened(|event| *event == Event::Discovery(true)) >= 2);
        air.end().await;
    });
}

#[test]
fn silence_of_a_stopped_service_is_bad_readings_of_a_link_that_is_down() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        air.bluez.begin(Fault::DaemonStopped).await;
        air.rig
            .until("silence told", |sweep| is_bad(sweep, Reason::LinkDown))
            .await;
        air.end().await;
    });
}

#[test]
fn unplugged_adapter_is_told_and_used_again_when_it_is_back() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        let fault = Fault::AdapterRemoved { adapter: hci0() };
        air.bluez.begin(fault.clone()).await;
        air.rig
            .eventually("it is told", |rig| rig.has_told("the adapter is gone"))
            .await;
        air.bluez.end(fault).await;
        // It comes back switched off: the driver switches it on.
        heard_again(&mut air).await;
        assert!(air.happened(|event| *event == Event::Power(true)) >= 1);
        air.end().await;
    });
}

#[test]
fn adapter_missing_at_the_start_is_told_and_found_when_it_comes() {
    on_private_bus!(async |bus_address: String| {
        let configured = bus(vec![sensor(1, Format::Bthome, &["count"])]);
        let setup = Setup {
            adapters: vec![protocols_bluez_sim::AdapterSetup::number(0)],
            ..Setup::default()
        };
        let bluez = protocols_bluez_sim::BlueZ::start(&bus_address, setup)
            .await
            .unwrap();
        let fault = Fault::AdapterRemoved { adapter: hci0() };
        bluez.begin(fault.clone()).await;
        bluez.add(counter(1)).await;
        let radio = std::sync::Arc::new(protocols_ble::radio::BluezRadio);
        let mut air = Air {
            rig: crate::rig::Rig::start(configured, radio, 64),
            bluez,
        };
        air.rig
            .eventually("it is told", |rig| rig.has_told("there is no adapter hci0"))
            .await;
        air.bluez.end(fault).await;
        air.rig.until("the sensor", is_good).await;
        air.end().await;
    });
}

#[test]
fn scan_that_went_deaf_is_begun_again() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        air.bluez
            .begin(Fault::AdvertsStop { adapter: hci0() })
            .await;
        air.rig
            .eventually("it is told", |rig| rig.has_told("no advertisement for"))
            .await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn adapter_that_somebody_switched_off_is_switched_on_again() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        air.bluez.begin(Fault::PoweredOff { adapter: hci0() }).await;
        air.rig
            .eventually("it is told", |rig| {
                rig.has_told("the adapter was switched off")
            })
            .await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn blocked_adapter_is_used_again_when_the_block_is_lifted() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        let fault = Fault::PowerBlocked { adapter: hci0() };
        air.bluez.begin(fault.clone()).await;
        air.until("an attempt to switch it on", |bluez| {
            bluez
                .journal()
                .count(|record| record.event == Event::Power(true))
                > 0
        })
        .await;
        air.bluez.end(fault).await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn wedged_adapter_is_noticed_and_used_again_once_it_answers() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        let fault = Fault::AdapterWedged { adapter: hci0() };
        air.bluez.begin(fault.clone()).await;
        air.rig
            .eventually("it is told", |rig| rig.has_told("no advertisement for"))
            .await;
        // The harsher step is taken because the first was not answered.
        air.rig
            .eventually("a rebuild", |rig| rig.count("disconnects") > 0)
            .await;
        air.bluez.end(fault).await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn hanging_service_is_noticed_and_used_again_once_it_answers() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        air.bluez.begin(Fault::DaemonHangs).await;
        air.rig
            .eventually("a rebuild", |rig| rig.count("disconnects") > 0)
            .await;
        air.bluez.end(Fault::DaemonHangs).await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn sensor_is_read_on_among_ten_thousand_strangers() {
    on_private_bus!(async |bus_address: String| {
        let mut air = heard(&bus_address).await;
        let fault = Fault::Crowd {
            devices: 10_000,
            within_ms: 5000,
        };
        air.bluez.begin(fault).await;
        air.until("all have passed", |bluez| {
            bluez
                .journal()
                .count(|record| record.address.is_some_and(|a| a != sim(1)))
                >= 10_000
        })
        .await;
        heard_again(&mut air).await;
        air.end().await;
    });
}

#[test]
fn driver_that_ends_stops_the_scan() {
    on_private_bus!(async |bus_address: String| {
        let air = heard(&bus_address).await;
        let bluez = air.bluez;
        air.rig.stopped().await;
        // At the latest when its connection to the bus is closed.
        let end = tokio::time::Instant::now() + secs(60);
        while bluez.adapter(HCI0).await.unwrap().discovering {
            assert!(tokio::time::Instant::now() < end, "it goes on listening");
            tokio::time::sleep(OFTEN).await;
        }
    });
}
