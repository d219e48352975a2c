//! Our driver reads and writes libmodbus and pymodbus servers: TCP, RTU over a socat line, RTU over TCP.

use crate::lines::{Line, on_a_port};
use crate::modbus_master::exercise;
use crate::scratch;
use protocols_modbus::config::Transport;
use std::path::{Path, PathBuf};
use tests_interop::{Running, compiled, need, python};

fn pymodbus() -> anyhow::Result<(PathBuf, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/pymodbus_server.py");
    Ok((python(&scratch())?, script.display().to_string()))
}

fn tcp(server: &mut Running) -> Transport {
    let port = server.after("ready ").unwrap().parse().unwrap();
    Transport::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

fn rtu(line: &Line) -> Transport {
    Transport::Rtu {
        path: line.a(),
        line: "115200 8N1".parse().unwrap(),
        rs485: None,
    }
}

/// The server saw a request of each function.
fn saw(server: &mut Running, functions: &[u8]) {
    let said = server.said();
    for function in functions {
        let request = format!("request 1 {function:02x}");
        assert!(
            said.iter().any(|line| line.starts_with(&request)),
            "no {request} in {said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn libmodbus_server_over_tcp() {
    let server = need!(compiled("libmodbus_server", "libmodbus", &scratch()));
    let mut server = Running::start(&server, &["tcp"]).unwrap();
    let functions = exercise(tcp(&mut server)).await;
    saw(&mut server, &functions);
}

#[tokio::test(flavor = "multi_thread")]
async fn libmodbus_server_on_a_serial_line() {
    let server = need!(compiled("libmodbus_server", "libmodbus", &scratch()));
    let line = need!(Line::new());
    let path = line.b().display().to_string();
    let mut server = Running::start(&server, &["rtu", &path]).unwrap();
    server.after("ready ").unwrap();
    let functions = exercise(rtu(&line)).await;
    saw(&mut server, &functions);
}

#[tokio::test(flavor = "multi_thread")]
async fn libmodbus_server_on_a_line_behind_a_network_port() {
    let server = need!(compiled("libmodbus_server", "libmodbus", &scratch()));
    let line = need!(Line::new());
    let path = line.b().display().to_string();
    let mut server = Running::start(&server, &["rtu", &path]).unwrap();
    server.after("ready ").unwrap();
    let (_socat, port) = need!(on_a_port(&line.a()));
    let transport = Transport::RtuOverTcp {
        host: "127.0.0.1".to_owned(),
        port,
        line: "115200 8N1".parse().unwrap(),
    };
    let functions = exercise(transport).await;
    saw(&mut server, &functions);
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_server_over_tcp() {
    let (python, script) = need!(pymodbus());
    let mut server = Running::start(&python, &[&script, "tcp"]).unwrap();
    let functions = exercise(tcp(&mut server)).await;
    saw(&mut server, &functions);
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_server_on_a_serial_line() {
    let (python, script) = need!(pymodbus());
    let line = need!(Line::new());
    let path = line.b().display().to_string();
    let mut server = Running::start(&python, &[&script, "rtu", &path]).unwrap();
    server.after("ready ").unwrap();
    let functions = exercise(rtu(&line)).await;
    saw(&mut server, &functions);
}
