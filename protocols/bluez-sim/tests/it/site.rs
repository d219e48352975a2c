//! A site from its text to what btleplug hears, and many sensors at once.

use std::path::Path;
use std::time::Duration;

use btleplug::api::{Central as _, CentralEvent, ScanFilter};
use protocols_bluez_sim::config::Site;
use protocols_bluez_sim::{Advert, Event, Sensor, Setup, Simulation, on_private_bus};
use tokio::sync::oneshot;

use crate::rig::{Rig, event, first_adapter, until};

fn site(text: &str) -> Site {
    toml::from_str(text).unwrap()
}

#[test]
fn site_is_heard_with_its_faults_and_stops_when_told() {
    on_private_bus!(async |address: String| {
        let site = site(
            r#"
            [[sensors]]
            name = "Kitchen"
            address = "A4:C1:38:00:00:01"
            interval = "50ms"
            format = "pvvx"
            values = { temperature = { counter = { } }, humidity = 45 }
            faults = ["spoiled 100ms every 200ms"]
            "#,
        );
        let prepared = site.prepare(Path::new(".")).unwrap();
        let mut simulation = Simulation::start(&address, prepared).await.unwrap();
        let journal = simulation.bluez().journal().clone();
        let adapter = first_adapter().await;
        let mut events = adapter.events().await.unwrap();
        adapter.start_scan(ScanFilter::default()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let spoiled = |wanted: bool| {
            journal.count(
                |record| matches!(record.event, Event::Advert { spoiled, .. } if spoiled == wanted),
            )
        };
        let watch = async {
            event(&mut events, "service data", |event| {
                matches!(event, CentralEvent::ServiceDataAdvertisement { .. }).then_some(())
            })
            .await;
            until("spoiled ones and good ones", async || {
                spoiled(true) > 0 && spoiled(false) > 0
            })
            .await;
            stop.send(()).unwrap();
        };
        tokio::join!(
            simulation.run(async {
                stopped.await.ok();
            }),
            watch
        );
        drop(simulation);
        assert!(
            adapter.start_scan(ScanFilter::default()).await.is_err(),
            "the name left the bus"
        );
    });
}

#[test]
fn two_hundred_sensors_are_all_heard_again_and_again() {
    on_private_bus!(async |address: String| {
        let mut rig = Rig::scanning(&address, Setup::default()).await;
        for number in 0..200_u8 {
            let address = protocols_bluez_sim::Address([0xC0, 0xFF, 0xEE, 0, 1, number]);
            rig.bluez
                .add(
                    Sensor::new(address).advertising(Duration::from_secs(1), move |turn| {
                        Advert::manufacturer(0xFFFF, vec![number, turn.number.to_le_bytes()[0]])
                    }),
                )
                .await;
        }
        let mut heard = vec![0_u32; 200];
        while heard.iter().any(|times| *times < 3) {
            let sensor = event(&mut rig.events, "manufacturer data", |event| match event {
                CentralEvent::ManufacturerDataAdvertisement {
                    manufacturer_data, ..
                } => manufacturer_data.get(&0xFFFF).map(|data| data[0]),
                _ => None,
            })
            .await;
            heard[usize::from(sensor)] += 1;
        }
    });
}
