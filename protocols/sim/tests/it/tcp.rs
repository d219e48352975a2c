//! TCP: both framings, and what a client sees of faults.

use super::client::PATIENCE;
use super::start;
use protocols_sim::Place;
use protocols_sim::control::{Action, Command};
use protocols_sim::modbus::crc16;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SITE: &str = r#"
[bus.net]
kind = "modbus-tcp"
[bus.server]
kind = "modbus-rtu-over-tcp"
[device.one]
bus = "net"
unit = 5
points = [ { id = "n", at = "ir:0", value = { counter = {} } } ]
[device.two]
bus = "server"
unit = 6
points = [ { id = "n", at = "hr:0", value = 9 } ]
"#;

async fn exchange(stream: &mut TcpStream, request: &[u8], length: usize) -> Option<Vec<u8>> {
    stream.write_all(request).await.ok()?;
    let mut answer = vec![0; length];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap();
    read.ok().map(|_| answer)
}

fn address(sim: &protocols_sim::Sim, bus: &str) -> SocketAddr {
    let served = sim.served();
    match served
        .iter()
        .find(|served| &*served.name == bus)
        .unwrap()
        .at
    {
        Place::Tcp(address) | Place::RtuOverTcp(address) => address,
        _ => panic!("{bus} is no port"),
    }
}

fn action(words: &str) -> (String, Action) {
    match Command::parse(words).unwrap().unwrap() {
        Command::About(name, action) => (name, action),
        other => panic!("{other:?}"),
    }
}

const READ: [u8; 12] = [0, 7, 0, 0, 0, 6, 5, 4, 0, 0, 0, 1];

#[tokio::test]
async fn every_poll_of_a_counter_has_its_number_and_the_transaction_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, _) = start(SITE, folder.path()).await;
    let mut stream = TcpStream::connect(address(&sim, "net")).await.unwrap();
    for poll in 0..5u8 {
        let answer = exchange(&mut stream, &READ, 11).await.unwrap();
        assert_eq!(answer, [0, 7, 0, 0, 0, 5, 5, 4, 2, 0, poll]);
    }
    assert_eq!(sim.counts().answers, 5);
}

#[tokio::test]
async fn rtu_frames_over_tcp_are_found_by_their_length_and_noise_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, _) = start(SITE, folder.path()).await;
    let mut stream = TcpStream::connect(address(&sim, "server")).await.unwrap();
    let mut request = vec![6, 3, 0, 0, 0, 1];
    request.extend(crc16(&request));
    // Two frames in one segment, the second cut in two.
    let mut both = request.clone();
    both.extend(&request[..3]);
    assert_eq!(
        exchange(&mut stream, &both, 7).await.unwrap()[..5],
        [6, 3, 2, 0, 9]
    );
    assert_eq!(
        exchange(&mut stream, &request[3..], 7).await.unwrap()[..5],
        [6, 3, 2, 0, 9]
    );
    let mut noise = TcpStream::connect(address(&sim, "server")).await.unwrap();
    noise.write_all(&[0xff; 300]).await.unwrap();
    while sim.counts().troubles == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        exchange(&mut stream, &request, 7).await.is_some(),
        "another connection goes on"
    );
}

#[tokio::test]
async fn faults_are_switched_while_it_runs_and_ended_with_ok() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, told) = start(SITE, folder.path()).await;
    let act = |words: &str| {
        let (name, action) = action(words);
        sim.act(&name, &action)
    };
    let address = address(&sim, "net");
    let mut stream = TcpStream::connect(address).await.unwrap();
    act("one exception 6").unwrap();
    let answer = exchange(&mut stream, &READ, 9).await.unwrap();
    assert_eq!(answer[7..], [0x84, 6]);
    act("one ok").unwrap();
    act("one drop").unwrap();
    assert_eq!(exchange(&mut stream, &READ, 9).await, None);
    act("net ok").unwrap();
    act("net unplug 1h").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(exchange(&mut stream, &READ, 9).await, None);
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("Faulted(\"drop\")"))
    );
    for (words, part) in [
        ("three silent", "there are net, one"),
        ("one set x 5", "no point \"x\""),
    ] {
        let error = act(words).unwrap_err().to_string();
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let site = SITE.replacen(
        "\"modbus-tcp\"",
        &format!("\"modbus-tcp\"\nlisten = \"{address}\""),
        1,
    );
    let folder = tempfile::tempdir().unwrap();
    let plan = protocols_sim::Site::parse(&site)
        .unwrap()
        .build(folder.path())
        .unwrap();
    let error = protocols_sim::Sim::start(plan, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("net") && error.contains(&address.to_string()),
        "{error}"
    );
}
