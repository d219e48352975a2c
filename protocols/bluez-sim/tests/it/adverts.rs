//! Advertisements: what is heard, when, and by whom.

use std::time::Duration;

use btleplug::api::bleuuid::uuid_from_u16;
use btleplug::api::{
    Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _, ScanFilter,
};
use btleplug::platform::Manager;
use protocols_bluez_sim::{
    AdapterSetup, Address, Advert, BlueZ, Event, Repeats, Sensor, Setup, Timing, Uuid,
    on_private_bus,
};

use crate::rig::{HCI0, Rig, SENSOR, event, first_adapter, until};

fn counting(address: Address) -> Sensor {
    Sensor::new(address).advertising(Duration::from_millis(50), |turn| {
        Advert::manufacturer(0xFFFF, turn.number.to_le_bytes().to_vec())
    })
}

#[test]
fn adapter_is_there_with_its_address_and_power() {
    on_private_bus!(async |address: String| {
        let _bluez = BlueZ::start(&address, Setup::default()).await.unwrap();
        let adapter = first_adapter().await;
        assert_eq!(
            adapter.adapter_info().await.unwrap(),
            "hci0 (usb:v1D6Bp0246d0542)"
        );
        assert_eq!(
            adapter.adapter_state().await.unwrap(),
            CentralState::PoweredOn
        );
        let own = adapter.adapter_address().await.unwrap().unwrap();
        assert_eq!(own.into_inner(), AdapterSetup::number(0).address.0);
    });
}

#[test]
fn every_advert_handed_out_arrives_in_order_and_stands_in_the_journal() {
    on_private_bus!(async |address: String| {
        let mut rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(counting(SENSOR)).await;
        let mut heard = Vec::new();
        while heard.len() < 10 {
            let data = event(&mut rig.events, "manufacturer data", |event| match event {
                CentralEvent::ManufacturerDataAdvertisement {
                    manufacturer_data, ..
                } => manufacturer_data.get(&0xFFFF).cloned(),
                _ => None,
            })
            .await;
            heard.push(data);
        }
        let handed = rig.bluez.journal().select(|record| match &record.event {
            Event::Advert { advert, .. } => advert.manufacturer.get(&0xFFFF).cloned(),
            _ => None,
        });
        // The first comes with the device itself, as a property; the event for it is "discovered".
        let first = handed.iter().position(|data| *data == heard[0]).unwrap();
        assert!(first <= 1, "{first} came before");
        assert_eq!(&handed[first..first + heard.len()], heard.as_slice());
    });
}

#[test]
fn content_of_the_first_advert_is_a_property_of_the_device() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(Sensor::new(SENSOR)).await;
        let advert = Advert {
            name: Some("Kitchen".into()),
            rssi: Some(-71),
            tx_power: Some(4),
            uuids: vec![Uuid::short(0x181A)],
            ..Advert::service(Uuid::short(0xFCD2), vec![0x40, 0x01, 0x61])
        };
        assert!(rig.bluez.advertise(SENSOR, advert).await);
        let properties = rig.find(SENSOR).await.properties().await.unwrap().unwrap();
        assert_eq!(properties.local_name.as_deref(), Some("Kitchen"));
        assert_eq!(properties.rssi, Some(-71));
        assert_eq!(properties.tx_power_level, Some(4));
        assert_eq!(properties.services.len(), 1);
        assert_eq!(
            properties.service_data.values().next().unwrap(),
            &[0x40, 0x01, 0x61]
        );
    });
}

#[test]
fn nothing_is_heard_without_discovery() {
    on_private_bus!(async |address: String| {
        let rig = Rig::new(&address, Setup::default()).await;
        rig.bluez.add(Sensor::new(SENSOR)).await;
        let advert = || Advert::manufacturer(1, vec![1]);
        assert!(!rig.bluez.advertise(SENSOR, advert()).await);
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        assert!(rig.bluez.advertise(SENSOR, advert()).await);
        rig.adapter.stop_scan().await.unwrap();
        assert!(!rig.bluez.advertise(SENSOR, advert()).await);
        assert_eq!(
            rig.bluez
                .journal()
                .count(|r| matches!(r.event, Event::Advert { .. })),
            1
        );
    });
}

#[test]
fn second_start_of_discovery_is_refused_until_it_was_stopped() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        let error = rig
            .adapter
            .start_scan(ScanFilter::default())
            .await
            .unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.InProgress"),
            "{error:?}"
        );
        rig.adapter.stop_scan().await.unwrap();
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        assert_eq!(rig.bluez.adapter(HCI0).await.unwrap().discoverers, 1);
    });
}

#[test]
fn each_client_has_a_discovery_of_its_own() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        let other = first_adapter().await;
        other.start_scan(ScanFilter::default()).await.unwrap();
        assert_eq!(rig.bluez.adapter(HCI0).await.unwrap().discoverers, 2);
        rig.adapter.stop_scan().await.unwrap();
        assert!(rig.bluez.adapter(HCI0).await.unwrap().discovering);
        other.stop_scan().await.unwrap();
        assert!(!rig.bluez.adapter(HCI0).await.unwrap().discovering);
    });
}

#[test]
fn sensors_are_heard_by_the_adapters_that_they_reach() {
    on_private_bus!(async |address: String| {
        let setup = Setup {
            adapters: vec![AdapterSetup::number(0), AdapterSetup::number(1)],
            ..Setup::default()
        };
        let bluez = BlueZ::start(&address, setup).await.unwrap();
        let adapters = Manager::new().await.unwrap().adapters().await.unwrap();
        assert_eq!(adapters.len(), 2);
        for adapter in &adapters {
            adapter.start_scan(ScanFilter::default()).await.unwrap();
        }
        let mut far = counting(SENSOR);
        far.heard_by = vec!["hci1".into()];
        bluez.add(far).await;
        until("hci1 knows it", async || {
            bluez.adapter("hci1").await.unwrap().devices == 1
        })
        .await;
        assert_eq!(bluez.adapter("hci0").await.unwrap().devices, 0);
    });
}

#[test]
fn filter_by_service_looks_at_the_list_of_services_not_at_service_data() {
    on_private_bus!(async |address: String| {
        let rig = Rig::new(&address, Setup::default()).await;
        let wanted = uuid_from_u16(0x181A);
        rig.adapter
            .start_scan(ScanFilter {
                services: vec![wanted],
            })
            .await
            .unwrap();
        rig.bluez.add(Sensor::new(SENSOR)).await;
        let data = Advert::service(Uuid::short(0x181A), vec![1]);
        assert!(!rig.bluez.advertise(SENSOR, data.clone()).await);
        let listed = Advert {
            uuids: vec![Uuid::short(0x181A)],
            ..data
        };
        assert!(rig.bluez.advertise(SENSOR, listed).await);
    });
}

#[test]
fn controller_that_filters_reports_a_repeat_once_in_a_while_and_news_at_once() {
    on_private_bus!(async |address: String| {
        let timing = Timing {
            repeats: Repeats::OneIn(Duration::from_secs(3600)),
            ..Timing::default()
        };
        let rig = Rig::scanning(
            &address,
            Setup {
                timing,
                ..Setup::default()
            },
        )
        .await;
        rig.bluez.add(Sensor::new(SENSOR)).await;
        let advert = |n: u8| Advert::manufacturer(1, vec![n]);
        assert!(rig.bluez.advertise(SENSOR, advert(1)).await);
        assert!(!rig.bluez.advertise(SENSOR, advert(1)).await);
        assert!(rig.bluez.advertise(SENSOR, advert(2)).await);
        assert!(rig.bluez.advertise(SENSOR, advert(1)).await);
    });
}

#[test]
fn device_that_fell_silent_is_forgotten() {
    on_private_bus!(async |address: String| {
        let timing = Timing {
            forget: Duration::from_millis(300),
            ..Timing::default()
        };
        let rig = Rig::scanning(
            &address,
            Setup {
                timing,
                ..Setup::default()
            },
        )
        .await;
        rig.bluez.add(Sensor::new(SENSOR)).await;
        assert!(
            rig.bluez
                .advertise(SENSOR, Advert::manufacturer(1, vec![1]))
                .await
        );
        until("the device is forgotten", async || {
            rig.look(SENSOR).await.is_none()
        })
        .await;
        until("it is known again when it speaks again", async || {
            rig.bluez
                .advertise(SENSOR, Advert::manufacturer(1, vec![1]))
                .await;
            rig.look(SENSOR).await.is_some()
        })
        .await;
    });
}
