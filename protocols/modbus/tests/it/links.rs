//! Ports and connections that go away and come back: real ones, so that the system's own ways are met.

use crate::rig::{PATIENT, Rig, bad, device, good, ms, serial, tcp};
use crate::sim::{Act, Framing, Sim};
use protocols_driver::LinkState;
use protocols_model::Reason;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_port_that_is_unplugged_is_reported_and_used_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("port");
    let plug_in = || {
        let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
        sim.pty(&path);
        sim
    };
    let mut sim = Some(plug_in());
    let mut rig = Rig::real(serial(&path), vec![device(1, ms(50), &["hr:0", "ir:9"])]);
    let status = rig.status.clone();
    let down = || matches!(status.links()[0].state, LinkState::Down(Reason::LinkDown));
    for _ in 0..2 {
        rig.until(good).await;
        assert_eq!(status.links()[0].state, LinkState::Up);
        drop(sim.take());
        std::fs::remove_file(&path).unwrap();
        rig.until(|sweep| bad(sweep, Reason::LinkDown) && down())
            .await;
        sim = Some(plug_in());
    }
    rig.until(good).await;
    assert!(rig.count("connects") >= 3);
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_reported_as_down_and_polled_again_when_it_is_back() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let port = sim.listen().await;
    let mut rig = Rig::real(tcp(port), vec![device(1, ms(50), &["hr:0"])]);
    rig.until(good).await;
    drop(sim);
    rig.until(|sweep| bad(sweep, Reason::LinkDown)).await;
    let status = rig.status.clone();
    rig.until(|_| matches!(status.links()[0].state, LinkState::Down(Reason::LinkDown)))
        .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    sim.on(socket.listen(8).unwrap());
    rig.until(good).await;
    assert_eq!(status.links()[0].state, LinkState::Up);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_idle_connections_costs_no_reading() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        [ask.answer(), vec![Act::Wait(ms(20)), Act::Close]].concat()
    });
    let mut rig = Rig::start(&sim, vec![device(1, ms(100), &["hr:0"])]);
    for _ in 0..6 {
        let sweep = rig.next().await;
        assert!(good(&sweep), "{sweep:?}");
    }
    assert!(rig.count("connects") >= 5);
    assert_eq!(rig.count("requests"), sim.asks().len() as u64);
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_does_not_hold_up_the_stop() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut slow = device(1, ms(50), &["hr:0"]);
    slow.timeout = Duration::from_secs(60);
    let rig = Rig::build(tcp(port), vec![slow], 64, |driver| driver);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request)
        .await
        .unwrap();
    // Bounded by far less than the time-out of the request.
    const { assert!(PATIENT.as_secs() + 3 < 60) };
    rig.stop().await;
}

#[tokio::test]
async fn over_a_server_for_serial_lines_frames_are_those_of_the_line() {
    let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
    let port = sim.listen().await;
    let transport = protocols_modbus::config::Transport::RtuOverTcp {
        host: "127.0.0.1".to_owned(),
        port,
        line: "9600 8N1".parse().unwrap(),
    };
    let mut rig = Rig::real(transport, vec![device(7, ms(50), &["hr:0", "co:3"])]);
    let mut goods = 0;
    rig.until(|sweep| {
        assert!(good(sweep), "{sweep:?}");
        goods += 1;
        goods >= 6
    })
    .await;
    rig.stop().await;
}
