//! Real packets through real namespaces, where the machine can make them.

#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tests_net::{Fabric, Host, Net, Shape, can_run, leftovers};

/// Says why nothing is tested here, unless continuous integration wants it tested.
fn able() -> bool {
    let Err(why) = can_run() else { return true };
    assert!(std::env::var_os("FOGLINE_REQUIRE_NET").is_none(), "{why}");
    eprintln!("not tested: {why}");
    false
}

const SERVER: &str = "
import socket
s = socket.socket()
s.bind(('0.0.0.0', 0))
s.listen()
print(s.getsockname()[1], flush=True)
c, _ = s.accept()
n = 0
while True:
    d = c.recv(65536)
    if not d: break
    n += len(d)
print(n, flush=True)
";

const CLIENT: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'x' * int(sys.argv[3]))
s.shutdown(socket.SHUT_WR)
s.recv(1)
";

fn python(host: &Host, script: &str, arguments: &[String]) -> Child {
    let mut command = host.command("python3");
    command.args(["-c", script]).args(arguments);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Sends bytes over TCP from one host to the other; how many arrived, and how long it took.
fn send(from: &Host, to: &Host, address: String, bytes: usize) -> (usize, Duration) {
    let mut server = python(to, SERVER, &[]);
    let mut lines = BufReader::new(server.stdout.take().unwrap());
    let mut port = String::new();
    lines.read_line(&mut port).unwrap();
    let began = Instant::now();
    let arguments = [address, port.trim().to_owned(), bytes.to_string()];
    let mut client = python(from, CLIENT, &arguments);
    let mut counted = String::new();
    lines.read_line(&mut counted).unwrap();
    let took = began.elapsed();
    client.wait().unwrap();
    server.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    (counted.trim().parse().unwrap(), took)
}

#[test]
fn tcp_arrives_whole_over_a_link_that_is_slow_far_and_lossy() {
    if !able() {
        return;
    }
    let mut net = Net::new();
    let (a, b) = (net.host("a").unwrap(), net.host("b").unwrap());
    let shape = Shape {
        rate: Some(512_000),
        loss: 0.02,
        ..Shape::CLEAN
    }
    .round_trip(Duration::from_millis(100));
    let link = net.link(&a, &b, shape, 1).unwrap();
    let [_, to] = link.addresses();
    let (arrived, took) = send(&a, &b, to.to_string(), 100_000);
    assert_eq!(arrived, 100_000);
    // The wire alone takes 1.6 s; a machine may be slower, never faster.
    assert!(took > Duration::from_millis(1500), "{took:?}");
    let [there, back] = link.passed();
    assert!(there.bytes > 100_000 && back.packets > 0);
    assert!(there.lost + back.lost > 0, "{there:?} {back:?}");
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_healed() {
    if !able() {
        return;
    }
    let mut net = Net::new();
    let (a, b) = (net.host("a").unwrap(), net.host("b").unwrap());
    let link = net.link(&a, &b, Shape::CLEAN, 1).unwrap();
    let [_, to] = link.addresses();
    let cut = Shape {
        cut: true,
        ..Shape::CLEAN
    };
    link.set(cut);
    let sending = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&a, &b, to.to_string(), 1000));
        while link.passed()[0].lost < 2 {
            assert!(!sending.is_finished());
            std::thread::yield_now();
        }
        assert_eq!(link.passed()[0].packets, 0);
        link.set(Shape::CLEAN);
        sending.join().unwrap()
    });
    assert_eq!(sending.0, 1000);
}

#[test]
fn hosts_of_one_network_reach_each_other_unless_that_pair_is_cut() {
    if !able() {
        return;
    }
    let mut net = Net::new();
    let fabric = Fabric::new(&net, Shape::CLEAN, 1).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| net.host(name).unwrap());
    let at_a = fabric.join(&a, 1).unwrap();
    let at_b = fabric.join(&b, 2).unwrap();
    fabric.join(&c, 3).unwrap();
    let cut = Shape {
        cut: true,
        ..Shape::CLEAN
    };
    fabric.set(at_a, at_b, cut);
    // Nothing comes back from a, so b gets no connection; c does.
    let server = a.inside(|| Ok(std::net::TcpListener::bind("0.0.0.0:0")?));
    let server = server.unwrap();
    let to = (at_a, server.local_addr().unwrap().port()).into();
    assert!(b.connect(to, Duration::from_millis(300)).is_err());
    assert!(fabric.passed(at_a, at_b).lost > 0);
    c.connect(to, Duration::from_secs(60)).unwrap();
    fabric.set(at_a, at_b, Shape::CLEAN);
    b.connect(to, Duration::from_secs(60)).unwrap();
    fabric.leave(3);
    net.remove(&c).unwrap();
    assert!(c.connect(to, Duration::from_secs(60)).is_err());
}

#[test]
fn what_a_killed_owner_left_behind_is_found_by_its_tag_and_removed() {
    if !able() {
        return;
    }
    let mut net = Net::new();
    let tag = net.tag().to_owned();
    let host = net.host("left").unwrap();
    let mut child = host.command("sleep").arg("600").spawn().unwrap();
    while leftovers::processes(host.namespace()).unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(leftovers::namespaces(&tag).unwrap(), [host.namespace()]);
    leftovers::remove(host.namespace()).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(leftovers::namespaces(&tag).unwrap().is_empty());
}
