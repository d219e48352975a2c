//! The real radio over a simulated BlueZ: what `simulated` does not ask. Finding adapters, letting go of
//! them, writes without response, subscriptions that outlive their connection.
//!
//! Real time: a test waits for what must come, for minutes if need be, and never for how fast.

use crate::rig::{Rig, address, bus, is_good, peripheral, point, secs, sensor, values};
use protocols_ble::config::{Access, Adapter, Device, Format, GattPoint, Kind, WriteMode};
use protocols_ble::radio::{BluezRadio, Radio as _, RadioError};
use protocols_bluez_sim::{
    AdapterSetup, Address, Advert, BlueZ, Characteristic, Event, Fault, Flag, Sensor, Setup, Turn,
    Uuid, on_private_bus,
};
use protocols_driver::{LinkState, Sweep};
use protocols_model::{Reason, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(100);

const fn sim(number: u8) -> Address {
    Address(address(number).0)
}

async fn bluez(address: &str) -> BlueZ {
    BlueZ::start(address, Setup::default()).await.unwrap()
}

/// Tells 0, 1, 2 … on 2A6F; 2A70 can be read and written in both ways.
fn valve() -> Sensor {
    let count = |turn: Turn| turn.number.to_le_bytes()[..2].to_vec();
    let flags = [Flag::Read, Flag::Write, Flag::WriteWithoutResponse];
    Sensor::new(sim(1))
        .advertising(OFTEN, |_| Advert::manufacturer(0xffff, vec![1]))
        .service(
            Uuid::short(0x181a),
            vec![
                Characteristic::scripted(Uuid::short(0x2a6f), &[Flag::Notify], count).every(OFTEN),
                Characteristic::new(Uuid::short(0x2a70), &flags, vec![0, 0]),
            ],
        )
}

/// Point 0 is told, point 1 is written; quick to give up and to come back.
fn device() -> Device {
    let mut set: GattPoint = point("set", 0x2a70, "i16le@0*0.1", Access::None);
    set.write = Some(WriteMode::WithoutResponse);
    set.verify = true;
    let points = vec![point("count", 0x2a6f, "u16le@0", Access::Notify(None)), set];
    let mut device = peripheral(1, points);
    if let Kind::Gatt(gatt) = &mut device.kind {
        gatt.connect_timeout = secs(20);
        gatt.backoff_min = Duration::from_millis(200);
        gatt.backoff_max = secs(1);
    }
    device
}

fn counted(sweep: &Sweep) -> Option<u64> {
    values(sweep)
        .into_iter()
        .find_map(|(key, value)| match value {
            Value::U64(count) if key == 0 => Some(count),
            _ => None,
        })
}

fn start(devices: Vec<Device>) -> Rig {
    Rig::start(bus(devices), Arc::new(BluezRadio), 256)
}

#[test]
fn a_subscription_that_outlives_its_connection_is_not_told_twice() {
    on_private_bus!(async |bus_address: String| {
        let bluez = bluez(&bus_address).await;
        bluez.add(valve()).await;
        let mut rig = start(vec![device()]);
        for _ in 0..3 {
            rig.until("it tells", |s| counted(s).is_some()).await;
            bluez.begin(Fault::Disconnect { address: sim(1) }).await;
            rig.eventually("it is noticed", |rig| rig.link(0) != LinkState::Up)
                .await;
            rig.eventually("it is healed", |rig| rig.link(0) == LinkState::Up)
                .await;
        }
        assert!(rig.has_told("sensor-1: the connection is gone"));
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let sweep = rig.until("it tells", |s| counted(s).is_some()).await;
            assert!(seen.insert(counted(&sweep)), "told twice");
        }
        rig.stopped().await;
        let links = bluez.journal().select(|record| match record.event {
            Event::Connected(on) => Some(on),
            _ => None,
        });
        assert_eq!(links.last(), Some(&false), "the link is left behind");
    });
}

#[test]
fn a_write_without_response_is_read_back() {
    on_private_bus!(async |bus_address: String| {
        let bluez = bluez(&bus_address).await;
        bluez.add(valve()).await;
        let mut rig = start(vec![device()]);
        rig.until("it tells", is_good).await;
        let order = rig.order(1, Value::F64(21.5));
        rig.eventually("the order is answered", |_| order.is_finished())
            .await;
        let written = order.await.unwrap().unwrap();
        assert_eq!(written.read_back, Some(Value::F64(21.5)));
        let told = bluez.journal().select(|record| match &record.event {
            Event::Written { value, .. } => Some(value.clone()),
            _ => None,
        });
        assert_eq!(told, [vec![0xd7, 0]]);
        rig.stopped().await;
    });
}

#[test]
fn a_service_that_starts_after_the_gateway_is_found() {
    on_private_bus!(async |bus_address: String| {
        let mut rig = start(vec![sensor(2, Format::Bthome, &["temperature"])]);
        rig.eventually("its absence is told", |rig| {
            rig.has_told("the Bluetooth service cannot be reached")
        })
        .await;
        assert_eq!(rig.link(0), LinkState::Down(Reason::LinkDown));
        let bluez = bluez(&bus_address).await;
        let said = |_: Turn| Advert::service(Uuid::short(0xfcd2), vec![0x40, 0x02, 0xca, 0x09]);
        bluez
            .add(Sensor::new(sim(2)).advertising(OFTEN, said))
            .await;
        rig.until("it is heard", |s| values(s) == [(0, Value::F64(25.06))])
            .await;
        rig.stopped().await;
    });
}

#[test]
fn an_adapter_is_found_by_its_address_and_a_wrong_one_is_named() {
    on_private_bus!(async |bus_address: String| {
        let setup = Setup {
            adapters: vec![AdapterSetup::number(0), AdapterSetup::number(1)],
            ..Setup::default()
        };
        let bluez = BlueZ::start(&bus_address, setup).await.unwrap();
        let second = AdapterSetup::number(1).address;
        let wanted = Adapter::Address(protocols_ble::config::Address(second.0));
        let opened = BluezRadio.open(&wanted).await.unwrap();
        opened.central.set_powered(false).await.unwrap();
        assert!(!bluez.adapter("hci1").await.unwrap().powered);
        assert!(!opened.central.is_powered().await.unwrap());
        opened.central.set_powered(true).await.unwrap();
        assert!(bluez.adapter("hci1").await.unwrap().powered);
        let missing = BluezRadio.open(&Adapter::Name("hci7".to_owned())).await;
        let missing = missing.unwrap_err();
        assert!(matches!(missing, RadioError::NoAdapter(..)));
        assert_eq!(
            missing.to_string(),
            "there is no adapter hci7; there is hci0, hci1"
        );
        let stranger = protocols_ble::config::Address([1; 6]);
        let unheard = opened.central.connect(stranger).await.err();
        assert_eq!(unheard, Some(RadioError::NotHeard));
    });
}

#[test]
fn a_radio_that_was_let_go_leaves_nothing_behind() {
    on_private_bus!(async |bus_address: String| {
        let bluez = bluez(&bus_address).await;
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let sockets = || {
            let all = std::fs::read_dir("/proc/self/fd").unwrap();
            let links = all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
            links
                .filter(|to| to.to_string_lossy().starts_with("socket:"))
                .count()
        };
        let before = (threads(), sockets());
        for _ in 0..10 {
            let opened = BluezRadio.open(&Adapter::default()).await.unwrap();
            opened.central.start_scan().await.unwrap();
            assert_eq!(bluez.adapter("hci0").await.unwrap().discoverers, 1);
            drop(opened);
            let end = tokio::time::Instant::now() + Duration::from_mins(1);
            while (threads(), sockets()) != before
                || bluez.adapter("hci0").await.unwrap().discoverers > 0
            {
                assert!(tokio::time::Instant::now() < end, "left behind");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
}
