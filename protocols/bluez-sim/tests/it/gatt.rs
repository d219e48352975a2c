//! Links and GATT: connecting, reading, writing, notifications.

use std::time::Duration;

use btleplug::api::bleuuid::uuid_from_u16;
use btleplug::api::{CharPropFlags, Characteristic as Found, Peripheral as _, WriteType};
use btleplug::platform::Peripheral;
use futures::StreamExt;
use protocols_bluez_sim::{
    Advert, Characteristic, Event, Fault, Flag, Sensor, Setup, Uuid, on_private_bus,
};

use crate::rig::{Rig, SENSOR, soon, until};

const MAKER: u16 = 0x2A29;
const TEMPERATURE: u16 = 0x2A6E;
const COMMAND: u16 = 0x2A50;

/// A thermometer: a name to read, a temperature that counts, a characteristic to write.
pub(crate) fn thermometer() -> Sensor {
    let mut named = Characteristic::new(Uuid::short(MAKER), &[Flag::Read], b"ACME".to_vec());
    named
        .descriptors
        .push((Uuid::short(0x2901), b"maker".to_vec()));
    let counting = Characteristic::scripted(
        Uuid::short(TEMPERATURE),
        &[Flag::Read, Flag::Notify],
        |turn| u16::try_from(turn.number).unwrap().to_le_bytes().to_vec(),
    )
    .every(Duration::from_millis(30));
    let command = Characteristic::new(
        Uuid::short(COMMAND),
        &[Flag::Write, Flag::WriteWithoutResponse],
        vec![],
    );
    Sensor::new(SENSOR)
        .advertising(Duration::from_millis(100), |_| {
            Advert::manufacturer(0xFFFF, vec![1])
        })
        .service(Uuid::short(0x180A), vec![named])
        .service(Uuid::short(0x181A), vec![counting, command])
}

pub(crate) async fn discovered(address: &str) -> (Rig, Peripheral) {
    let rig = Rig::scanning(address, Setup::default()).await;
    rig.bluez.add(thermometer()).await;
    let peripheral = rig.find(SENSOR).await;
    (rig, peripheral)
}

pub(crate) async fn connected(address: &str) -> (Rig, Peripheral) {
    let (rig, peripheral) = discovered(address).await;
    peripheral.connect().await.unwrap();
    peripheral.discover_services().await.unwrap();
    (rig, peripheral)
}

pub(crate) fn characteristic(peripheral: &Peripheral, number: u16) -> Found {
    peripheral
        .characteristics()
        .into_iter()
        .find(|found| found.uuid == uuid_from_u16(number))
        .expect("the characteristic was discovered")
}

#[test]
fn services_characteristics_and_descriptors_are_discovered() {
    on_private_bus!(async |address: String| {
        let (_rig, peripheral) = connected(&address).await;
        assert!(peripheral.is_connected().await.unwrap());
        assert_eq!(peripheral.services().len(), 2);
        let temperature = characteristic(&peripheral, TEMPERATURE);
        assert_eq!(
            temperature.properties,
            CharPropFlags::READ | CharPropFlags::NOTIFY
        );
        assert_eq!(temperature.service_uuid, uuid_from_u16(0x181A));
        let maker = characteristic(&peripheral, MAKER);
        let descriptor = maker.descriptors.iter().next().unwrap();
        assert_eq!(
            peripheral.read_descriptor(descriptor).await.unwrap(),
            b"maker"
        );
        assert_eq!(peripheral.mtu(), 247);
    });
}

#[test]
fn a_read_gives_the_value_that_the_journal_names() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        assert_eq!(
            peripheral
                .read(&characteristic(&peripheral, MAKER))
                .await
                .unwrap(),
            b"ACME"
        );
        let temperature = characteristic(&peripheral, TEMPERATURE);
        for expected in 0_u16..3 {
            assert_eq!(
                peripheral.read(&temperature).await.unwrap(),
                expected.to_le_bytes()
            );
        }
        let read = rig.bluez.journal().select(|record| match &record.event {
            Event::Read {
                characteristic,
                value,
            } if *characteristic == Uuid::short(TEMPERATURE) => Some(value.clone()),
            _ => None,
        });
        assert_eq!(read, [vec![0, 0], vec![1, 0], vec![2, 0]]);
    });
}

#[test]
fn a_write_arrives_once_with_or_without_answer() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let command = characteristic(&peripheral, COMMAND);
        peripheral
            .write(&command, &[1, 2, 3], WriteType::WithResponse)
            .await
            .unwrap();
        peripheral
            .write(&command, &[4], WriteType::WithoutResponse)
            .await
            .unwrap();
        assert_eq!(written(&rig), [(vec![1, 2, 3], true), (vec![4], true)]);
    });
}

pub(crate) fn written(rig: &Rig) -> Vec<(Vec<u8>, bool)> {
    rig.bluez.journal().select(|record| match &record.event {
        Event::Written {
            value, accepted, ..
        } => Some((value.clone(), *accepted)),
        _ => None,
    })
}

#[test]
fn notifications_come_in_order_until_they_are_stopped() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let temperature = characteristic(&peripheral, TEMPERATURE);
        let mut values = peripheral.notifications().await.unwrap();
        peripheral.subscribe(&temperature).await.unwrap();
        for expected in 0_u16..5 {
            let value = soon("a notification", values.next()).await.unwrap();
            assert_eq!(value.value, expected.to_le_bytes());
        }
        peripheral.unsubscribe(&temperature).await.unwrap();
        assert!(
            !rig.bluez
                .notify(SENSOR, Uuid::short(TEMPERATURE), vec![9, 9])
                .await
        );
    });
}

#[test]
fn a_value_read_is_told_like_a_notification() {
    on_private_bus!(async |address: String| {
        let (_rig, peripheral) = connected(&address).await;
        let mut values = peripheral.notifications().await.unwrap();
        peripheral
            .read(&characteristic(&peripheral, MAKER))
            .await
            .unwrap();
        let told = soon("the value read", values.next()).await.unwrap();
        assert_eq!(told.value, b"ACME");
    });
}

#[test]
fn subscription_outlives_the_link_and_a_second_one_is_refused() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let temperature = characteristic(&peripheral, TEMPERATURE);
        peripheral.subscribe(&temperature).await.unwrap();
        assert!(rig.bluez.begin(Fault::Disconnect { address: SENSOR }).await);
        until("the link is down", async || {
            !peripheral.is_connected().await.unwrap()
        })
        .await;
        let mut values = peripheral.notifications().await.unwrap();
        peripheral.connect().await.unwrap();
        soon("notifications go on by themselves", values.next())
            .await
            .unwrap();
        let error = peripheral.subscribe(&temperature).await.unwrap_err();
        assert!(
            format!("{error:?}").contains("Already notifying"),
            "{error:?}"
        );
    });
}

#[test]
fn a_connected_sensor_does_not_advertise_unless_it_says_so() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        assert!(
            !rig.bluez
                .advertise(SENSOR, Advert::manufacturer(1, vec![1]))
                .await
        );
        peripheral.disconnect().await.unwrap();
        assert!(
            rig.bluez
                .advertise(SENSOR, Advert::manufacturer(1, vec![1]))
                .await
        );
    });
}

#[test]
fn what_a_characteristic_does_not_allow_is_refused() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let maker = characteristic(&peripheral, MAKER);
        let error = peripheral
            .write(&maker, &[1], WriteType::WithResponse)
            .await
            .unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.NotSupported"),
            "{error:?}"
        );
        let command = characteristic(&peripheral, COMMAND);
        let error = peripheral.read(&command).await.unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.NotPermitted"),
            "{error:?}"
        );
        let error = peripheral.subscribe(&command).await.unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.NotSupported"),
            "{error:?}"
        );
        assert!(written(&rig).is_empty());
    });
}
