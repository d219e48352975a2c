//! One plain HTTP request to a process' local endpoint, wherever it is.

use anyhow::Context as _;
use std::net::SocketAddr;
use std::time::Duration;
use tests_net::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a connection may take: a machine that stands still for seconds is nobody's fault.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// A connection; from `host`, where one is given: no fault of its links disturbs what stays on it.
///
/// # Errors
/// Where nobody answers.
pub async fn connect(host: Option<&Host>, address: SocketAddr) -> anyhow::Result<TcpStream> {
    let Some(host) = host.cloned() else {
        return Ok(TcpStream::connect(address).await?);
    };
    let connecting = move || host.connect(address, CONNECT_LIMIT);
    let stream = tokio::task::spawn_blocking(connecting).await??;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream)?)
}

/// The body at `path`, whatever the status.
///
/// # Errors
/// Where there is no answer.
pub async fn get(host: Option<&Host>, address: SocketAddr, path: &str) -> anyhow::Result<String> {
    ask(host, address, path).await.map(|(_, body)| body)
}

/// Status and body at `path`.
///
/// # Errors
/// Where there is no answer.
pub async fn ask(
    host: Option<&Host>,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<(u16, String)> {
    let mut stream = connect(host, address).await?;
    // 1.0: the answer comes in one piece and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("no HTTP status")?, body.to_owned()))
}
