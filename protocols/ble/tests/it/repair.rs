//! The supervision on the paused clock: what fails, what is done, what is told.

use crate::fake::{Fake, Mood};
use crate::rig::{Rig, bthome, bus, is_bad, is_good, secs, sensor};
use protocols_ble::config::{Adapter, Format};
use protocols_ble::radio::RadioError;
use protocols_driver::LinkState;
use protocols_model::Reason;

fn one_sensor() -> (Rig, Fake) {
    Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]))
}

/// Advertises every second as long as the scan runs, so many seconds.
async fn speak(rig: &mut Rig, fake: &Fake, seconds: u64) {
    for _ in 0..seconds {
        fake.advertise(bthome(1, "02CA09"));
        rig.during(secs(1)).await;
    }
}

fn away() -> Mood {
    Mood::Fails(RadioError::NoAdapter(Adapter::default(), "none".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn adverts_that_stop_restart_the_scan_then_rebuild_then_power_cycle() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    assert_eq!((fake.asked("open"), fake.asked("start")), (1, 1));
    // Nothing is heard any more, whatever is done: the default silence is 60 s.
    rig.during(secs(65)).await;
    assert_eq!((fake.asked("open"), fake.asked("start")), (1, 2));
    assert!(rig.has_told("radio: no advertisement for 60 s: restarting the scan"));
    rig.during(secs(60)).await;
    assert_eq!((fake.asked("open"), fake.asked("start")), (1, 3));
    rig.during(secs(60)).await;
    assert_eq!((fake.asked("open"), fake.asked("start")), (2, 4));
    rig.during(secs(60)).await;
    assert_eq!((fake.asked("open"), fake.asked("start")), (3, 5));
    rig.during(secs(65)).await;
    assert_eq!(fake.asked("power false"), 1);
    assert!(rig.has_told("no advertisement for 60 s: power-cycling the adapter"));
    assert!(rig.has_told("and no step helped; trying on in 60 s"));
    speak(&mut rig, &fake, 2).await;
    assert!(rig.has_told("radio: well again after"));
    assert_eq!(rig.link(0), LinkState::Up);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_restarts_costs_seconds_and_is_told() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.world().open = Mood::Fails(RadioError::NoService("not running".to_owned()));
    fake.health(|health| health.service = false);
    rig.during(secs(1)).await;
    // In the same moment, not when its interval is over.
    assert_eq!(rig.link(0), LinkState::Down(Reason::LinkDown));
    let silent = rig.until("its absence is a reading", |s| is_bad(s, Reason::LinkDown));
    silent.await;
    fake.world().open = Mood::Well;
    rig.during(secs(10)).await;
    fake.advertise(bthome(1, "02CA09"));
    rig.until("it is heard again", is_good).await;
    assert_eq!(rig.link(0), LinkState::Up);
    assert!(rig.has_told("the Bluetooth service ended: rebuilding the connection"));
    assert!(rig.has_told("well again after"));
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_is_missing_from_the_start_is_told_and_found_when_it_comes() {
    let fake = Fake::default();
    fake.world().open = away();
    let devices = vec![sensor(1, Format::Bthome, &["temperature"])];
    let mut rig = Rig::start(bus(devices), std::sync::Arc::new(fake.clone()), 64);
    for _ in 0..6 {
        let sweep = rig.next().await;
        assert!(is_bad(&sweep, Reason::LinkDown));
    }
    assert_eq!(rig.link(0), LinkState::Down(Reason::LinkDown));
    let told = "radio: there is no adapter hci0; there is none; trying on every 30 s";
    assert_eq!(rig.events(), [told]);
    fake.world().open = Mood::Well;
    rig.during(secs(31)).await;
    fake.advertise(bthome(1, "02CA09"));
    rig.until("it is heard", is_good).await;
    assert!(rig.has_told("the adapter listens"));
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_is_unplugged_and_comes_back_is_used_again() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.world().open = away();
    fake.health(|health| health.adapter = false);
    rig.during(secs(1)).await;
    assert_eq!(rig.link(0), LinkState::Down(Reason::LinkDown));
    rig.during(secs(300)).await;
    // Looked for, but not in a frenzy.
    let opens = fake.asked("open");
    assert!((8..=20).contains(&opens), "{opens}");
    fake.world().open = Mood::Well;
    rig.during(secs(31)).await;
    speak(&mut rig, &fake, 1).await;
    assert_eq!(rig.link(0), LinkState::Up);
    let told = rig.events().to_vec();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].contains("the adapter is gone"));
    assert!(told[1].contains("there is no adapter"));
    assert!(told[2].contains("well again"));
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_does_not_answer_is_noticed_by_the_heartbeat() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.world().state = Mood::Hangs;
    // It is heard all the time: progress there is no excuse here.
    speak(&mut rig, &fake, 40).await;
    assert!(rig.has_told("the Bluetooth service does not answer (its state): rebuilding"));
    // Rebuilding did not help: the next time it is switched off and on.
    speak(&mut rig, &fake, 40).await;
    assert!(fake.asked("power false") >= 1);
    fake.world().state = Mood::Well;
    speak(&mut rig, &fake, 60).await;
    let opens = fake.asked("open");
    speak(&mut rig, &fake, 600).await;
    assert_eq!(fake.asked("open"), opens);
}

#[tokio::test(start_paused = true)]
async fn a_wedged_adapter_is_power_cycled_also_when_nothing_can_be_opened_fully() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.world().state = Mood::Hangs;
    fake.world().start = Mood::Hangs;
    rig.during(secs(120)).await;
    assert!(fake.asked("power false") >= 1);
    fake.world().state = Mood::Well;
    fake.world().start = Mood::Well;
    rig.during(secs(180)).await;
    speak(&mut rig, &fake, 3).await;
    assert_eq!(rig.link(0), LinkState::Up);
    assert!(rig.has_told("well again"));
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_somebody_switches_off_is_switched_on_again() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.health(|health| (health.powered, health.scanning) = (false, false));
    rig.during(secs(3)).await;
    assert!(fake.scanning());
    assert!(rig.has_told("the adapter was switched off: restarting the scan"));
    assert!(rig.has_told("well again after"));
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_ends_by_itself_is_begun_again() {
    let (mut rig, fake) = one_sensor();
    speak(&mut rig, &fake, 5).await;
    fake.health(|health| health.scanning = false);
    rig.during(secs(31)).await;
    assert!(fake.scanning());
    assert!(rig.has_told("the scan ended by itself: restarting the scan"));
}
