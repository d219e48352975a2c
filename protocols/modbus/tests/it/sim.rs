//! A Modbus device on raw bytes: answers as its script says, well or badly, late or in pieces.

use protocols_modbus::frame::crc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_serial::{SerialPort as _, SerialStream};

/// A read request as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Counts from 0, over all connections.
    pub(crate) number: usize,
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) start: u16,
    pub(crate) count: u16,
    transaction: Option<u16>,
}

/// What the device does, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    Close,
}

/// What register `address` of `unit` holds.
pub(crate) fn word(unit: u8, address: u16) -> u16 {
    address.wrapping_mul(7).wrapping_add(u16::from(unit) * 1000)
}

/// What coil or input `address` of `unit` holds.
pub(crate) fn bit(unit: u8, address: u16) -> bool {
    word(unit, address).count_ones() % 2 == 1
}

impl Ask {
    /// A whole frame around this body of unit, function and data.
    pub(crate) fn frame(&self, body: &[u8]) -> Vec<u8> {
        match self.transaction {
            Some(id) => {
                let len = u16::try_from(body.len()).unwrap();
                [&id.to_be_bytes()[..], &[0, 0], &len.to_be_bytes(), body].concat()
            }
            None => [body, &crc(body).to_le_bytes()].concat(),
        }
    }

    /// Unit, function, byte count and data of the right answer.
    pub(crate) fn body(&self) -> Vec<u8> {
        let addresses = self.start..self.start + self.count;
        let data: Vec<u8> = if self.function <= 2 {
            let bits: Vec<bool> = addresses.map(|a| bit(self.unit, a)).collect();
            let byte = |bits: &[bool]| bits.iter().rev().fold(0, |sum, b| sum << 1 | u8::from(*b));
            bits.chunks(8).map(byte).collect()
        } else {
            addresses
                .flat_map(|a| word(self.unit, a).to_be_bytes())
                .collect()
        };
        let count = u8::try_from(data.len()).unwrap();
        [&[self.unit, self.function, count][..], &data].concat()
    }

    /// The right answer, whole.
    pub(crate) fn answer(&self) -> Vec<Act> {
        vec![Act::Send(self.frame(&self.body()))]
    }

    /// An exception.
    pub(crate) fn exception(&self, code: u8) -> Vec<Act> {
        vec![Act::Send(self.frame(&[
            self.unit,
            self.function | 0x80,
            code,
        ]))]
    }
}

type Script = Arc<dyn Fn(&Ask) -> Vec<Act> + Send + Sync>;

/// A running device; ends when dropped.
pub(crate) struct Sim {
    task: JoinHandle<()>,
    asks: Arc<Mutex<Vec<Ask>>>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sim {
    /// All requests so far.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// A TCP device on a port of its own.
    pub(crate) async fn tcp(
        script: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static,
    ) -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self::on(listener, script), port)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let asks = Arc::new(Mutex::new(Vec::new()));
        let (script, seen) = (Arc::new(script), Arc::clone(&asks));
        let task = tokio::spawn(async move {
            // The set ends the connections together with the device.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                connections.spawn(async move {
                    let (reader, writer) = stream.into_split();
                    let _ended = serve(reader, writer, true, script, seen).await;
                });
            }
        });
        Self { task, asks }
    }

    /// A serial device at the other end of `link`, which then points to a new pty.
    pub(crate) fn serial(
        link: &Path,
        script: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let (master, slave) = SerialStream::pair().unwrap();
        let path = PathBuf::from(slave.name().unwrap());
        drop(slave);
        let fresh = link.with_extension("new");
        std::os::unix::fs::symlink(path, &fresh).unwrap();
        std::fs::rename(fresh, link).unwrap();
        let asks = Arc::new(Mutex::new(Vec::new()));
        let (script, seen): (Script, _) = (Arc::new(script), Arc::clone(&asks));
        let task = tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(master);
            let _ended = serve(reader, writer, false, script, seen).await;
        });
        Self { task, asks }
    }
}

/// Reads exactly; while nobody has the other end of a pty open, reading it fails: tried again.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    bytes: &mut [u8],
    tcp: bool,
) -> io::Result<()> {
    loop {
        match reader.read_exact(bytes).await {
            Err(_) if !tcp => tokio::time::sleep(Duration::from_millis(2)).await,
            result => return result.map(|_| ()),
        }
    }
}

async fn serve(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin + Send + 'static,
    tcp: bool,
    script: Script,
    asks: Arc<Mutex<Vec<Ask>>>,
) -> io::Result<()> {
    // One thing after the other, as a device with one processor does it: a late answer holds up the
    // next one. Its length is the test's own number of requests.
    let closed = tokio_util::sync::CancellationToken::new();
    let (work, mut todo) = tokio::sync::mpsc::channel::<Vec<Act>>(10_000);
    let mut device = tokio::task::JoinSet::new();
    let close = closed.clone();
    device.spawn(async move {
        while let Some(acts) = todo.recv().await {
            for act in acts {
                match act {
                    Act::Send(bytes) => drop(writer.write_all(&bytes).await),
                    Act::Wait(span) => tokio::time::sleep(span).await,
                    Act::Close => close.cancel(),
                }
            }
        }
    });
    loop {
        let mut header = [0; 6];
        let mut pdu = [0; 6];
        tokio::select! {
            () = closed.cancelled() => return Ok(()),
            result = async {
                if tcp {
                    read(&mut reader, &mut header, tcp).await?;
                }
                read(&mut reader, &mut pdu, tcp).await?;
                if !tcp {
                    let mut sum = [0; 2];
                    read(&mut reader, &mut sum, tcp).await?;
                    assert_eq!(crc(&pdu).to_le_bytes(), sum, "the driver sent a damaged frame");
                }
                io::Result::Ok(())
            } => result?,
        }
        let ask = {
            let mut asks = asks.lock().unwrap();
            let number = asks.len();
            asks.push(Ask {
                number,
                unit: pdu[0],
                function: pdu[1],
                start: u16::from_be_bytes([pdu[2], pdu[3]]),
                count: u16::from_be_bytes([pdu[4], pdu[5]]),
                transaction: tcp.then(|| u16::from_be_bytes([header[0], header[1]])),
            });
            *asks.last().unwrap()
        };
        work.send(script(&ask)).await.unwrap();
    }
}
