//! The seam to the port: what a driver opens, and bytes both ways.
//!
//! [`SerialPorts`] opens real ports ([`protocols_line`]); tests and tools put something else there.

use protocols_line::PortConfig;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// An open port: bytes in, bytes out. Reading zero bytes or an error is its end.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Opens the port of a bus.
#[async_trait::async_trait]
pub trait Opener: Send + Sync + 'static {
    /// Opens it exclusively. Must not block; may be dropped while it waits.
    ///
    /// # Errors
    /// Why it is not open, in words for people.
    async fn open(&self, port: &PortConfig) -> io::Result<Box<dyn Wire>>;

    /// Ends when a port that was not there is there. Cancel-safe.
    async fn appeared(&self, port: &PortConfig);
}

/// The serial ports of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SerialPorts;

#[async_trait::async_trait]
impl Opener for SerialPorts {
    async fn open(&self, port: &PortConfig) -> io::Result<Box<dyn Wire>> {
        let port = protocols_line::open(port).await?;
        Ok(Box::new(port))
    }

    async fn appeared(&self, port: &PortConfig) {
        protocols_line::appeared(&port.path).await;
    }
}
