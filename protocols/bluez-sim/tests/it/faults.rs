//! Each fault, as a client sees it, and that it ends.

use std::time::Duration;

use btleplug::api::{
    Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _, ScanFilter, WriteType,
};
use btleplug::platform::Manager;
use futures::StreamExt;
use protocols_bluez_sim::{Advert, Event, Fault, Sensor, Setup, Timing, Uuid, on_private_bus};

use crate::gatt::{characteristic, connected, discovered, thermometer, written};
use crate::rig::{HCI0, Rig, SENSOR, event, first_adapter, soon, until};

/// Long enough for an answer that would come if it came at all; a late one only weakens a test.
const SILENCE: Duration = Duration::from_millis(300);

fn hci0() -> String {
    HCI0.to_owned()
}

fn beacon() -> Sensor {
    Sensor::new(SENSOR).advertising(Duration::from_millis(30), |turn| {
        Advert::manufacturer(1, vec![turn.number.to_le_bytes()[0]])
    })
}

fn adverts(rig: &Rig) -> usize {
    rig.bluez
        .journal()
        .count(|record| matches!(record.event, Event::Advert { .. }))
}

async fn hears_again(rig: &Rig) {
    let before = adverts(rig);
    until("adverts come again", async || adverts(rig) > before + 2).await;
}

#[test]
fn link_that_breaks_amid_notifications_is_told_and_can_be_made_again() {
    on_private_bus!(async |address: String| {
        let (mut rig, peripheral) = connected(&address).await;
        let temperature = characteristic(&peripheral, 0x2A6E);
        let mut values = peripheral.notifications().await.unwrap();
        peripheral.subscribe(&temperature).await.unwrap();
        soon("a first notification", values.next()).await.unwrap();
        assert!(rig.bluez.begin(Fault::Disconnect { address: SENSOR }).await);
        event(&mut rig.events, "the end of the link", |event| {
            matches!(event, CentralEvent::DeviceDisconnected(_)).then_some(())
        })
        .await;
        let error = peripheral.read(&temperature).await.unwrap_err();
        assert!(format!("{error:?}").contains("Not connected"), "{error:?}");
        peripheral.connect().await.unwrap();
        peripheral.read(&temperature).await.unwrap();
    });
}

#[test]
fn services_that_never_resolve_leave_the_link_up_and_connect_waiting() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = discovered(&address).await;
        let fault = Fault::ServicesNeverResolved { address: SENSOR };
        assert!(rig.bluez.begin(fault.clone()).await);
        let connect = peripheral.connect();
        tokio::pin!(connect);
        assert!(tokio::time::timeout(SILENCE, &mut connect).await.is_err());
        until("the link is up", async || {
            peripheral.is_connected().await.unwrap()
        })
        .await;
        rig.bluez.end(fault).await;
        soon("the services", connect).await.unwrap();
    });
}

#[test]
fn refused_connect_says_so_and_the_next_one_succeeds() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = discovered(&address).await;
        let fault = Fault::ConnectRefused { address: SENSOR };
        rig.bluez.begin(fault.clone()).await;
        let error = peripheral.connect().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("le-connection-refused"),
            "{error:?}"
        );
        rig.bluez.end(fault).await;
        peripheral.connect().await.unwrap();
    });
}

#[test]
fn hanging_connect_blocks_the_next_until_the_attempt_is_cancelled() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = discovered(&address).await;
        let fault = Fault::ConnectHangs { address: SENSOR };
        rig.bluez.begin(fault.clone()).await;
        assert!(
            tokio::time::timeout(SILENCE, peripheral.connect())
                .await
                .is_err()
        );
        rig.bluez.end(fault).await;
        let error = peripheral.connect().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.InProgress"),
            "{error:?}"
        );
        peripheral.disconnect().await.unwrap();
        peripheral.connect().await.unwrap();
    });
}

#[test]
fn sensor_out_of_range_is_not_heard_and_cannot_be_connected() {
    on_private_bus!(async |address: String| {
        let timing = Timing {
            connect_limit: Duration::from_millis(100),
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
        rig.bluez.add(thermometer()).await;
        let peripheral = rig.find(SENSOR).await;
        let fault = Fault::OutOfRange { address: SENSOR };
        rig.bluez.begin(fault.clone()).await;
        assert!(
            !rig.bluez
                .advertise(SENSOR, Advert::manufacturer(1, vec![1]))
                .await
        );
        let error = peripheral.connect().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("le-connection-abort-by-local"),
            "{error:?}"
        );
        rig.bluez.end(fault).await;
        hears_again(&rig).await;
        peripheral.connect().await.unwrap();
    });
}

#[test]
fn refused_write_says_not_permitted_and_changes_nothing() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let command = characteristic(&peripheral, 0x2A50);
        rig.bluez
            .begin(Fault::WritesRefused { address: SENSOR })
            .await;
        let error = peripheral
            .write(&command, &[1], WriteType::WithResponse)
            .await
            .unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.NotPermitted"),
            "{error:?}"
        );
        assert_eq!(written(&rig), [(vec![1], false)]);
    });
}

#[test]
fn write_without_an_answer_has_reached_the_sensor_all_the_same() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let command = characteristic(&peripheral, 0x2A50);
        rig.bluez.begin(Fault::WritesHang { address: SENSOR }).await;
        let write = peripheral.write(&command, &[7], WriteType::WithResponse);
        tokio::pin!(write);
        assert!(tokio::time::timeout(SILENCE, &mut write).await.is_err());
        until("the value arrived", async || {
            written(&rig) == [(vec![7], true)]
        })
        .await;
    });
}

#[test]
fn reads_fail_or_hang_on_request() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        let temperature = characteristic(&peripheral, 0x2A6E);
        let (fails, hangs) = (
            Fault::ReadsFail { address: SENSOR },
            Fault::ReadsHang { address: SENSOR },
        );
        rig.bluez.begin(fails.clone()).await;
        let error = peripheral.read(&temperature).await.unwrap_err();
        assert!(format!("{error:?}").contains("ATT error"), "{error:?}");
        rig.bluez.end(fails).await;
        rig.bluez.begin(hangs.clone()).await;
        assert!(
            tokio::time::timeout(SILENCE, peripheral.read(&temperature))
                .await
                .is_err()
        );
        rig.bluez.end(hangs).await;
        peripheral.read(&temperature).await.unwrap();
    });
}

#[test]
fn notifications_stop_while_the_subscription_stands() {
    on_private_bus!(async |address: String| {
        let (rig, peripheral) = connected(&address).await;
        peripheral
            .subscribe(&characteristic(&peripheral, 0x2A6E))
            .await
            .unwrap();
        let fault = Fault::NotificationsStop { address: SENSOR };
        rig.bluez.begin(fault.clone()).await;
        assert!(
            !rig.bluez
                .notify(SENSOR, Uuid::short(0x2A6E), vec![1, 1])
                .await
        );
        rig.bluez.end(fault).await;
        assert!(
            rig.bluez
                .notify(SENSOR, Uuid::short(0x2A6E), vec![1, 1])
                .await
        );
    });
}

#[test]
fn removed_adapter_is_gone_with_its_devices_and_comes_back_switched_off() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(beacon()).await;
        rig.find(SENSOR).await;
        let fault = Fault::AdapterRemoved { adapter: hci0() };
        rig.bluez.begin(fault.clone()).await;
        let manager = Manager::new().await.unwrap();
        assert!(manager.adapters().await.unwrap().is_empty());
        assert!(rig.adapter.start_scan(ScanFilter::default()).await.is_err());
        rig.bluez.end(fault).await;
        let adapter = first_adapter().await;
        assert_eq!(
            adapter.adapter_state().await.unwrap(),
            CentralState::PoweredOff
        );
        assert!(adapter.peripherals().await.unwrap().is_empty());
        adapter.start_scan(ScanFilter::default()).await.unwrap();
        hears_again(&rig).await;
    });
}

#[test]
fn wedged_adapter_never_answers_an_order_and_answers_questions() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(beacon()).await;
        let fault = Fault::AdapterWedged { adapter: hci0() };
        rig.bluez.begin(fault.clone()).await;
        let before = adverts(&rig);
        assert!(
            tokio::time::timeout(SILENCE, rig.adapter.stop_scan())
                .await
                .is_err()
        );
        assert_eq!(adverts(&rig), before);
        assert_eq!(
            rig.adapter.adapter_state().await.unwrap(),
            CentralState::PoweredOn
        );
        rig.bluez.end(fault).await;
        rig.adapter.stop_scan().await.unwrap();
    });
}

#[test]
fn adverts_stop_while_discovery_seems_to_go_on_until_it_is_restarted() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(beacon()).await;
        hears_again(&rig).await;
        rig.bluez
            .begin(Fault::AdvertsStop { adapter: hci0() })
            .await;
        let before = adverts(&rig);
        tokio::time::sleep(SILENCE).await;
        assert_eq!(adverts(&rig), before);
        assert!(rig.bluez.adapter(HCI0).await.unwrap().discovering);
        rig.adapter.stop_scan().await.unwrap();
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        hears_again(&rig).await;
    });
}

#[test]
fn adapter_switched_off_tells_and_loses_its_discovery() {
    on_private_bus!(async |address: String| {
        let mut rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.begin(Fault::PoweredOff { adapter: hci0() }).await;
        event(&mut rig.events, "powered off", |event| {
            matches!(event, CentralEvent::StateUpdate(CentralState::PoweredOff)).then_some(())
        })
        .await;
        let view = rig.bluez.adapter(HCI0).await.unwrap();
        assert!(!view.powered && !view.discovering);
        let error = rig.adapter.stop_scan().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("org.bluez.Error.NotReady"),
            "{error:?}"
        );
        // btleplug switches on before it starts.
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        assert!(rig.bluez.adapter(HCI0).await.unwrap().discovering);
    });
}

#[test]
fn blocked_adapter_cannot_be_switched_on() {
    on_private_bus!(async |address: String| {
        let rig = Rig::new(&address, Setup::default()).await;
        let fault = Fault::PowerBlocked { adapter: hci0() };
        rig.bluez.begin(fault.clone()).await;
        let error = rig
            .adapter
            .start_scan(ScanFilter::default())
            .await
            .unwrap_err();
        assert!(format!("{error:?}").contains("rfkill"), "{error:?}");
        rig.bluez.end(fault).await;
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
    });
}

#[test]
fn daemon_that_ends_takes_its_objects_along_and_starts_without_discovery() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(thermometer()).await;
        let peripheral = rig.find(SENSOR).await;
        rig.bluez
            .begin(Fault::ConnectHangs { address: SENSOR })
            .await;
        let connect = tokio::spawn(async move { peripheral.connect().await });
        until("the attempt is under way", async || {
            rig.bluez
                .journal()
                .count(|record| record.event == Event::ConnectAsked)
                == 1
        })
        .await;
        rig.bluez.begin(Fault::DaemonStopped).await;
        // The bus tells the caller that nobody will answer.
        let error = soon("the call's end", connect).await.unwrap().unwrap_err();
        assert!(
            format!("{error:?}").contains("org.freedesktop.DBus.Error"),
            "{error:?}"
        );
        let error = rig
            .adapter
            .start_scan(ScanFilter::default())
            .await
            .unwrap_err();
        assert!(format!("{error:?}").contains("ServiceUnknown"), "{error:?}");
        rig.bluez.end(Fault::DaemonStopped).await;
        until("the daemon is back", async || {
            rig.adapter.adapter_state().await.unwrap() == CentralState::PoweredOn
        })
        .await;
        assert!(!rig.bluez.adapter(HCI0).await.unwrap().discovering);
        assert!(rig.adapter.peripherals().await.unwrap().is_empty());
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        rig.find(SENSOR).await;
    });
}

#[test]
fn hanging_daemon_answers_late() {
    on_private_bus!(async |address: String| {
        let rig = Rig::new(&address, Setup::default()).await;
        rig.bluez.begin(Fault::DaemonHangs).await;
        let asked = rig.adapter.adapter_info();
        tokio::pin!(asked);
        assert!(tokio::time::timeout(SILENCE, &mut asked).await.is_err());
        rig.bluez.end(Fault::DaemonHangs).await;
        soon("the late answer", asked).await.unwrap();
    });
}

#[test]
fn spoiled_adverts_differ_from_what_the_sensor_meant() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(Sensor::new(SENSOR)).await;
        let good = Advert::manufacturer(0x0499, (0..24).collect());
        rig.bluez.advertise(SENSOR, good.clone()).await;
        rig.bluez.begin(Fault::Spoiled { address: SENSOR }).await;
        for _ in 0..50 {
            assert!(rig.bluez.advertise(SENSOR, good.clone()).await);
        }
        let handed = rig.bluez.journal().select(|record| match &record.event {
            Event::Advert {
                advert,
                spoiled: true,
            } => Some(advert.clone()),
            _ => None,
        });
        assert_eq!(handed.len(), 50);
        assert!(handed.iter().all(|advert| *advert != good));
        // btleplug gets over all of it.
        rig.find(SENSOR).await.properties().await.unwrap();
    });
}

#[test]
fn ten_thousand_strangers_are_each_heard_once_and_the_sensor_among_them() {
    on_private_bus!(async |address: String| {
        let rig = Rig::scanning(&address, Setup::default()).await;
        rig.bluez.add(beacon()).await;
        let sensor = rig.find(SENSOR).await;
        rig.bluez
            .begin(Fault::Crowd {
                devices: 10_000,
                within_ms: 2000,
            })
            .await;
        let strangers = || {
            let mut addresses = rig.bluez.journal().select(|record| {
                record
                    .address
                    .filter(|address| *address != SENSOR && record.adapter == HCI0)
            });
            addresses.sort_unstable();
            addresses.dedup();
            addresses.len()
        };
        until("all have passed", async || strangers() == 10_000).await;
        hears_again(&rig).await;
        // Asked alone: listing ten thousand devices takes a debug build on a slow machine too long.
        sensor.properties().await.unwrap();
    });
}

#[test]
fn client_that_leaves_takes_its_discovery_along() {
    on_private_bus!(async |address: String| {
        let rig = Rig::new(&address, Setup::default()).await;
        // A connection closes with the runtime it lives on.
        let other = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                first_adapter()
                    .await
                    .start_scan(ScanFilter::default())
                    .await
                    .unwrap();
            });
        });
        tokio::task::spawn_blocking(move || other.join().unwrap())
            .await
            .unwrap();
        until("discovery ended", async || {
            !rig.bluez.adapter(HCI0).await.unwrap().discovering
        })
        .await;
        let discovery = rig.bluez.journal().select(|record| match record.event {
            Event::Discovery(on) => Some(on),
            _ => None,
        });
        assert_eq!(discovery, [true, false]);
    });
}
