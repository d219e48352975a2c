//! What only serial lines do: echo, pauses, alignment, an adapter that is pulled while nobody asks.

use crate::rig::{Rig, bad, device, good, ms, serial, writable};
use crate::sim::{Act, Framing, Sim};
use protocols_driver::{LinkState, WriteError};
use protocols_modbus::config::Transport;
use protocols_modbus::connect::{Connect, Connecting, Connection};
use protocols_model::{Reason, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A two-wire adapter that lets us hear ourselves, before a device that answers or not.
fn echoing(alive: Arc<AtomicBool>) -> Sim {
    Sim::new(Framing::Rtu, move |ask| {
        let request = ask.frame(&[&[ask.unit], &ask.pdu[..]].concat());
        let (first, second) = request.split_at(3);
        let echo = [
            Act::Send(first.to_vec()),
            Act::Wait(ms(1)),
            Act::Send(second.to_vec()),
        ];
        let answer = if alive.load(Ordering::Relaxed) {
            [vec![Act::Wait(ms(5))], ask.answer()].concat()
        } else {
            Vec::new()
        };
        [echo.to_vec(), answer].concat()
    })
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_a_request_is_never_taken_for_its_answer() {
    let alive = Arc::new(AtomicBool::new(true));
    let sim = echoing(Arc::clone(&alive));
    // The echo of a read of two registers at 1024 begins as its answer would.
    let devices = writable(1, ms(100), &["hr:1024", "hr:1025", "co:3"]);
    let mut rig = Rig::start(&sim, vec![devices]);
    let mut goods = 0;
    rig.until(|sweep| {
        assert!(good(sweep), "{sweep:?}");
        goods += 1;
        goods >= 10
    })
    .await;
    assert_eq!(rig.count("bad_answers") + rig.count("crc_errors"), 0);
    assert!(rig.write(0, Value::U64(9)).await.is_ok());
    assert_eq!(sim.written(1, 1024), Some(9));
    // The echo of a write of one register is byte for byte its answer.
    alive.store(false, Ordering::Relaxed);
    assert_eq!(rig.write(0, Value::U64(7)).await, Err(WriteError::Unknown));
    rig.until(|sweep| bad(sweep, Reason::Timeout)).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_are_kept_before_requests_and_after_connecting() {
    let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
    let mut slow = device(1, ms(100), &["hr:0", "hr:100"]);
    slow.quirks.pause = ms(30);
    slow.quirks.after_connect = ms(700);
    let begun = tokio::time::Instant::now();
    let mut rig = Rig::start(&sim, vec![slow]);
    for _ in 0..10 {
        rig.until(good).await;
    }
    let asks = sim.asks();
    assert!(asks[0].at - begun >= ms(700));
    for pair in asks.windows(2) {
        assert!(pair[1].at - pair[0].at >= ms(30), "{pair:?}");
    }
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn reads_of_coils_begin_where_the_device_wants_them_to() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        if ask.start % 16 == 0 {
            ask.answer()
        } else {
            ask.exception(2)
        }
    });
    let mut plc = device(1, ms(100), &["co:3", "co:19", "co:200", "di:17"]);
    plc.quirks.bit_align = 16;
    let mut rig = Rig::start(&sim, vec![plc]);
    for _ in 0..12 {
        let sweep = rig.next().await;
        assert!(good(&sweep), "{sweep:?}");
    }
    assert_eq!(rig.count("exceptions"), 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_pulled_between_two_polls_is_closed_and_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("port");
    let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
    sim.pty(&path);
    // An hour between polls: nobody would ask in time.
    let mut rig = Rig::real(serial(&path), vec![device(1, ms(3_600_000), &["hr:0"])]);
    rig.until(good).await;
    let mut links = rig.status.watch();
    std::fs::remove_file(&path).unwrap();
    drop(sim);
    let down = links.wait_for(|links| links[0].state == LinkState::Down(Reason::LinkDown));
    let noticed = tokio::time::timeout(ms(60_000), down).await;
    drop(noticed.expect("noticed without a poll").unwrap());
    assert_eq!(rig.count("disconnects"), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_holds_is_used_as_soon_as_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("port");
    let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
    sim.pty(&path);
    let config = protocols_line::PortConfig::new(&path, "115200 8N1".parse().unwrap());
    let held = protocols_line::open(&config).await.unwrap();
    let mut rig = Rig::real(serial(&path), vec![device(1, ms(50), &["hr:0"])]);
    // The first attempt may still be under way when the first reading says that the link is down.
    let status = Arc::clone(&rig.status);
    rig.until(|sweep| {
        let told = status.take_events().events;
        bad(sweep, Reason::LinkDown) && told.iter().any(|event| event.text.contains("held by"))
    })
    .await;
    assert_eq!(rig.count("connects"), 0);
    assert!(sim.asks().is_empty());
    drop(held);
    rig.until(good).await;
    rig.stop().await;
}

/// A port whose other end holds the line up: it takes a byte and no more.
#[derive(Clone, Default)]
struct Stuck(Arc<std::sync::Mutex<Vec<tokio::io::DuplexStream>>>);

impl Connect for Stuck {
    fn connect(&self, _: &Transport) -> Connecting {
        let (near, far) = tokio::io::duplex(1);
        self.0.lock().unwrap().push(far);
        Box::pin(async {
            Ok(Connection {
                stream: Box::new(near),
                timer: None,
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_takes_no_bytes_is_a_time_out_and_never_holds_up_the_stop() {
    let transport = serial(std::path::Path::new("memory"));
    let mut rig = Rig::build(
        transport,
        vec![writable(1, ms(100), &["hr:0"])],
        64,
        |driver| driver.over(Arc::new(Stuck::default())),
    );
    rig.until(|sweep| bad(sweep, Reason::Timeout)).await;
    assert_eq!(rig.write(0, Value::U64(1)).await, Err(WriteError::Unknown));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_for_serial_lines_that_went_away_without_a_word_is_connected_to_anew() {
    let deaf = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&deaf);
    let sim = Sim::new(Framing::Rtu, move |ask| {
        if switch.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            ask.answer()
        }
    });
    let transport = Transport::RtuOverTcp {
        host: "server".to_owned(),
        port: 4001,
        line: "9600 8N1".parse().unwrap(),
    };
    let mut rig = Rig::build(
        transport,
        vec![device(1, ms(100), &["hr:0"])],
        64,
        |driver| driver.over(Arc::new(sim.clone())),
    );
    rig.until(good).await;
    deaf.store(true, Ordering::Relaxed);
    let status = rig.status.clone();
    let connects = || {
        let values = status.counters.values();
        values.iter().find(|v| v.name == "connects").unwrap().value
    };
    rig.until(|_| connects() >= 2).await;
    deaf.store(false, Ordering::Relaxed);
    rig.until(good).await;
    rig.stop().await;
}
