//! Modbus over TCP: with its own header, or RTU frames as a serial server passes them on. Any number of
//! connections up to a bound; one request at a time on each, answered in order.

use super::crc::crc16;
use super::pdu::frame_length;
use super::station::{Carrier, LineTrouble, Reply, Station};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at once; a client that opens more waits.
const MOST_CONNECTIONS: usize = 256;
/// Longest body of a Modbus TCP frame (implementation guide 4.1: 260 bytes with the header).
const LONGEST_BODY: usize = 254;

/// How requests are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpFraming {
    /// Modbus TCP.
    Mbap,
    /// RTU frames with their checksum.
    Rtu,
}

/// A bus behind a TCP port.
#[derive(Debug)]
pub struct TcpServer {
    station: Arc<dyn Station>,
    framing: TcpFraming,
    unplugged: AtomicBool,
}

impl TcpServer {
    /// `station` behind a port.
    #[must_use]
    pub fn new(station: Arc<dyn Station>, framing: TcpFraming) -> Self {
        Self {
            station,
            framing,
            unplugged: AtomicBool::new(false),
        }
    }

    /// While unplugged every connection is ended: the ones there are at their next request, new ones at
    /// once.
    pub fn unplug(&self, unplugged: bool) {
        self.unplugged.store(unplugged, Ordering::Relaxed);
    }

    /// Serves until `stop`. A connection that breaks ends itself and nothing else.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, say; a little later there are some again.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (server, stop) = (Arc::clone(&self), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    _ended = server.connection(stream) => {}
                }
                drop(permit);
            });
        }
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if self.unplugged.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.framing {
            TcpFraming::Mbap => self.modbus_tcp(&mut stream).await,
            TcpFraming::Rtu => self.rtu(&mut stream).await,
        }
    }

    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        if self.unplugged.load(Ordering::Relaxed) {
            return Carrier::HangUp;
        }
        self.station.ask(unit, pdu)
    }

    async fn modbus_tcp(&self, stream: &mut TcpStream) -> io::Result<()> {
        loop {
            let mut header = [0u8; 7];
            stream.read_exact(&mut header).await?;
            let [high, low, protocol, version, length_high, length_low, unit] = header;
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            if [protocol, version] != [0, 0] || !(2..=LONGEST_BODY).contains(&length) {
                self.station.trouble(LineTrouble::Checksum);
                return Ok(());
            }
            let mut pdu = vec![0u8; length - 1];
            stream.read_exact(&mut pdu).await?;
            match self.ask(unit, &pdu) {
                Carrier::Silence => {}
                Carrier::HangUp => return Ok(()),
                Carrier::Answer(reply) => send(stream, &reply, reply.over_tcp([high, low])).await?,
            }
        }
    }

    async fn rtu(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let Ok(length) = frame_length(&bytes) else {
                // No silence tells where the next frame begins: as a serial server would, go on with
                // whatever comes next.
                self.station.trouble(LineTrouble::Checksum);
                bytes.clear();
                continue;
            };
            let whole = length.filter(|length| bytes.len() >= *length);
            let Some(whole) = whole else {
                let mut more = [0u8; 512];
                let read = stream.read(&mut more).await?;
                if read == 0 {
                    return Ok(());
                }
                bytes.extend(more.iter().take(read));
                continue;
            };
            let frame: Vec<u8> = bytes.drain(..whole).collect();
            let checked = frame.split_last_chunk::<2>();
            let good = checked.filter(|(body, sum)| crc16(body) == **sum);
            let Some((&unit, pdu)) = good.and_then(|(body, _)| body.split_first()) else {
                self.station.trouble(LineTrouble::Checksum);
                bytes.clear();
                continue;
            };
            match self.ask(unit, pdu) {
                Carrier::HangUp => return Ok(()),
                Carrier::Answer(reply) if unit != 0 => {
                    send(stream, &reply, reply.on_a_line()).await?;
                }
                Carrier::Silence | Carrier::Answer(_) => {}
            }
        }
    }
}

async fn send(stream: &mut TcpStream, reply: &Reply, parts: Vec<Vec<u8>>) -> io::Result<()> {
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    let mut is_first = true;
    for part in parts {
        if !is_first {
            tokio::time::sleep(reply.pause).await;
        }
        is_first = false;
        stream.write_all(&part).await?;
    }
    Ok(())
}
