//! Where the bytes of a bus come from and go to: the network, a serial port, or a test's own streams.
//!
//! A real seam: everything above it behaves the same over memory, where time can stand still, so that
//! the rules of time-outs and late answers are tested without luck.

use crate::config::Transport;
use protocols_line::{FineTimer, PortConfig};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time;

/// A TCP connection that takes longer is given up; slow field networks answer a SYN within a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes in and bytes out. Reading nothing means that the other end is gone.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open bus.
pub struct Connection {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// Exact waits, where a millisecond matters; without one tokio's clock serves.
    pub timer: Option<FineTimer>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact = self.timer.is_some();
        f.debug_struct("Connection")
            .field("exact", &exact)
            .finish_non_exhaustive()
    }
}

/// A connection being made. Dropping it gives up.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>;

/// Opens buses.
pub trait Connect: Send + Sync + 'static {
    /// Opens the bus. Called again after each loss; the back-off between is the driver's.
    fn connect(&self, transport: &Transport) -> Connecting;
}

/// The machine's own network and ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Connect for System {
    fn connect(&self, transport: &Transport) -> Connecting {
        match transport.clone() {
            Transport::Tcp { host, port } | Transport::RtuOverTcp { host, port, .. } => {
                Box::pin(tcp(host, port))
            }
            Transport::Rtu { path, line, rs485 } => Box::pin(serial(PortConfig {
                rs485,
                ..PortConfig::new(path, line)
            })),
        }
    }
}

async fn tcp(host: String, port: u16) -> io::Result<Connection> {
    let connecting = TcpStream::connect((host.as_str(), port));
    let stream = time::timeout(CONNECT_TIMEOUT, connecting).await??;
    // Each request is one small segment: Nagle would hold it back.
    stream.set_nodelay(true)?;
    Ok(Connection {
        stream: Box::new(stream),
        timer: None,
    })
}

async fn serial(config: PortConfig) -> io::Result<Connection> {
    let port = protocols_line::open(&config).await?;
    Ok(Connection {
        stream: Box::new(port),
        timer: Some(FineTimer::new()?),
    })
}
