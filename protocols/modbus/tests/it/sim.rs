//! A Modbus device on raw bytes: answers as its script says, well or badly, late or in pieces.
//!
//! Over memory, where time stands still unless everybody waits ([`Sim::new`]), or over real loopback
//! TCP and real ptys ([`Sim::listen`], [`Sim::pty`]).

use protocols_modbus::config::Transport;
use protocols_modbus::connect::{Connect, Connecting, Connection};
use protocols_modbus::frame::crc;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_serial::{SerialPort as _, SerialStream};
use tokio_util::sync::CancellationToken;

/// Whether frames are those of TCP or of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Tcp,
    Rtu,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Counts from 0, over all connections.
    pub(crate) number: usize,
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) start: u16,
    /// Registers or bits; the value itself for functions 5 and 6.
    pub(crate) count: u16,
    /// When it was complete.
    pub(crate) at: tokio::time::Instant,
    /// Function code and what follows it.
    pub(crate) pdu: Vec<u8>,
    transaction: Option<u16>,
    memory: Memory,
}

/// What was written to a device: by unit, whether it is a coil, and address.
type Memory = Arc<Mutex<HashMap<(u8, bool, u16), u16>>>;

/// What the device does, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    Close,
}

/// What register `address` of `unit` holds until it is written.
pub(crate) fn word(unit: u8, address: u16) -> u16 {
    address.wrapping_mul(7).wrapping_add(u16::from(unit) * 1000)
}

/// What coil or input `address` of `unit` holds until it is written.
pub(crate) fn bit(unit: u8, address: u16) -> bool {
    word(unit, address).count_ones() % 2 == 1
}

fn pair(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
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

    fn register(&self, address: u16) -> u16 {
        let memory = self.memory.lock().unwrap();
        let written = memory.get(&(self.unit, false, address)).copied();
        written.unwrap_or_else(|| word(self.unit, address))
    }

    fn coil(&self, address: u16) -> bool {
        let memory = self.memory.lock().unwrap();
        let written = memory.get(&(self.unit, true, address)).copied();
        written.map_or_else(|| bit(self.unit, address), |word| word != 0)
    }

    fn set(&self, is_coil: bool, address: u16, value: u16) {
        let mut memory = self.memory.lock().unwrap();
        memory.insert((self.unit, is_coil, address), value);
    }

    /// Carries a write out, as a good device does.
    fn write(&self) {
        let pdu = &self.pdu;
        match self.function {
            5 => self.set(true, self.start, u16::from(self.count == 0xff00)),
            6 => self.set(false, self.start, self.count),
            15 => {
                for offset in 0..self.count {
                    let byte = pdu[6 + usize::from(offset / 8)];
                    self.set(
                        true,
                        self.start + offset,
                        u16::from(byte >> (offset % 8) & 1),
                    );
                }
            }
            16 => {
                for offset in 0..self.count {
                    let value = pair(pdu, 6 + 2 * usize::from(offset));
                    self.set(false, self.start + offset, value);
                }
            }
            22 => {
                let (and, or) = (pair(pdu, 3), pair(pdu, 5));
                let value = self.register(self.start) & and | or & !and;
                self.set(false, self.start, value);
            }
            23 => {
                let (start, count) = (pair(pdu, 5), pair(pdu, 7));
                for offset in 0..count {
                    let value = pair(pdu, 10 + 2 * usize::from(offset));
                    self.set(false, start + offset, value);
                }
            }
            _ => {}
        }
    }

    /// Unit, function, byte count and data of the right answer to a read; the echo of a write.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.write();
        let addresses = self.start..self.start.saturating_add(self.count);
        let data: Vec<u8> = match self.function {
            1 | 2 => {
                let bits: Vec<bool> = addresses.map(|a| self.coil(a)).collect();
                let byte =
                    |bits: &[bool]| bits.iter().rev().fold(0, |sum, b| sum << 1 | u8::from(*b));
                bits.chunks(8).map(byte).collect()
            }
            3 | 4 | 23 => addresses
                .flat_map(|a| self.register(a).to_be_bytes())
                .collect(),
            15 | 16 => return [&[self.unit], &self.pdu[..5]].concat(),
            _ => return [&[self.unit], &self.pdu[..]].concat(),
        };
        let count = u8::try_from(data.len()).unwrap();
        [&[self.unit, self.function, count][..], &data].concat()
    }

    /// The right answer, whole; nothing to a broadcast.
    pub(crate) fn answer(&self) -> Vec<Act> {
        let frame = self.frame(&self.body());
        if self.unit == 0 && self.transaction.is_none() {
            return Vec::new();
        }
        vec![Act::Send(frame)]
    }

    /// An exception.
    pub(crate) fn exception(&self, code: u8) -> Vec<Act> {
        vec![Act::Send(self.frame(&[
            self.unit,
            self.function | 0x80,
            code,
        ]))]
    }

    /// Whether it reads.
    pub(crate) fn is_read(&self) -> bool {
        self.function <= 4
    }
}

type Script = Arc<dyn Fn(&Ask) -> Vec<Act> + Send + Sync>;

/// A running device; ends when dropped. Clones are the same device.
#[derive(Clone)]
pub(crate) struct Sim {
    framing: Framing,
    script: Script,
    asks: Arc<Mutex<Vec<Ask>>>,
    memory: Memory,
    /// Whether it can be reached.
    plugged: Arc<Mutex<bool>>,
    /// The connections; aborted when the last clone goes.
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Sim {
    /// A device over memory.
    pub(crate) fn new(
        framing: Framing,
        script: impl Fn(&Ask) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self {
            framing,
            script: Arc::new(script),
            asks: Arc::default(),
            memory: Arc::default(),
            plugged: Arc::new(Mutex::new(true)),
            running: Arc::default(),
        }
    }

    pub(crate) const fn framing(&self) -> Framing {
        self.framing
    }

    /// All requests so far.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// What was written to a register.
    pub(crate) fn written(&self, unit: u8, address: u16) -> Option<u16> {
        let memory = self.memory.lock().unwrap();
        memory.get(&(unit, false, address)).copied()
    }

    /// What was written to a coil.
    pub(crate) fn coil(&self, unit: u8, address: u16) -> Option<u16> {
        let memory = self.memory.lock().unwrap();
        memory.get(&(unit, true, address)).copied()
    }

    /// Closes every connection and refuses new ones until it is plugged in again.
    pub(crate) fn plug(&self, plugged: bool) {
        *self.plugged.lock().unwrap() = plugged;
        if !plugged {
            self.running.lock().unwrap().abort_all();
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap();
        running.spawn(work);
    }

    /// Serves a real loopback listener; its port.
    pub(crate) async fn listen(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        self.on(listener);
        port
    }

    pub(crate) fn on(&self, listener: TcpListener) {
        let session = self.session();
        self.spawn(async move {
            // The set ends the connections together with the device.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (reader, writer) = stream.into_split();
                connections.spawn(session.clone().serve(reader, writer));
            }
        });
    }

    /// Serves a new pty; `link` then points to its other end.
    pub(crate) fn pty(&self, link: &Path) {
        let (far, near) = SerialStream::pair().unwrap();
        let path = PathBuf::from(near.name().unwrap());
        drop(near);
        let fresh = link.with_extension("new");
        std::os::unix::fs::symlink(path, &fresh).unwrap();
        std::fs::rename(fresh, link).unwrap();
        let (reader, writer) = tokio::io::split(far);
        self.spawn(self.session().serve(reader, writer));
    }

    fn session(&self) -> Session {
        Session {
            framing: self.framing,
            script: Arc::clone(&self.script),
            asks: Arc::clone(&self.asks),
            memory: Arc::clone(&self.memory),
        }
    }
}

impl Connect for Sim {
    fn connect(&self, _: &Transport) -> Connecting {
        if !*self.plugged.lock().unwrap() {
            return Box::pin(async { Err(io::ErrorKind::NotFound.into()) });
        }
        let (near, far) = tokio::io::duplex(16 * 1024);
        let (reader, writer) = tokio::io::split(far);
        self.spawn(self.session().serve(reader, writer));
        Box::pin(async {
            Ok(Connection {
                stream: Box::new(near),
                timer: None,
            })
        })
    }
}

/// One connection of a device.
#[derive(Clone)]
struct Session {
    framing: Framing,
    script: Script,
    asks: Arc<Mutex<Vec<Ask>>>,
    memory: Memory,
}

/// Bytes of a request without its checksum that are still to come after the first `pdu` bytes.
fn rest_of(pdu: &[u8]) -> usize {
    let whole = match pdu[0] {
        1..=6 => 5,
        15 | 16 => 6 + usize::from(pdu.get(5).copied().unwrap_or(0)),
        22 => 7,
        23 => 10 + usize::from(pdu.get(9).copied().unwrap_or(0)),
        other => panic!("the driver sent function {other}"),
    };
    let least = match pdu[0] {
        15 | 16 => 6,
        23 => 10,
        _ => whole,
    };
    if pdu.len() < least {
        least - pdu.len()
    } else {
        whole - pdu.len()
    }
}

impl Session {
    /// Reads exactly; while nobody has the other end of a pty open, reading it fails: tried again.
    async fn read(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        bytes: &mut [u8],
    ) -> io::Result<()> {
        loop {
            match reader.read_exact(bytes).await {
                Err(error) if error.raw_os_error() == Some(5) => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                result => return result.map(|_| ()),
            }
        }
    }

    /// One request: transaction, unit and pdu.
    async fn request(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<(Option<u16>, u8, Vec<u8>)> {
        if self.framing == Framing::Tcp {
            let mut header = [0; 7];
            self.read(reader, &mut header).await?;
            let mut pdu = vec![0; usize::from(pair(&header, 4)) - 1];
            self.read(reader, &mut pdu).await?;
            return Ok((Some(pair(&header, 0)), header[6], pdu));
        }
        let mut frame = vec![0; 2];
        self.read(reader, &mut frame).await?;
        loop {
            let more = rest_of(&frame[1..]);
            if more == 0 {
                break;
            }
            let mut rest = vec![0; more];
            self.read(reader, &mut rest).await?;
            frame.extend(rest);
        }
        let mut sum = [0; 2];
        self.read(reader, &mut sum).await?;
        assert_eq!(
            crc(&frame).to_le_bytes(),
            sum,
            "the driver sent a damaged frame"
        );
        Ok((None, frame[0], frame[1..].to_vec()))
    }

    async fn serve(
        self,
        mut reader: impl AsyncRead + Unpin + Send,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) {
        // One thing after the other, as a device with one processor does it: a late answer holds up the
        // next one. Its length is the test's own number of requests.
        let closed = CancellationToken::new();
        let (work, todo) = tokio::sync::mpsc::channel::<Vec<Act>>(10_000);
        let mut device = JoinSet::new();
        device.spawn(act(writer, todo, closed.clone()));
        loop {
            let (transaction, unit, pdu) = tokio::select! {
                () = closed.cancelled() => return,
                request = self.request(&mut reader) => match request {
                    Ok(request) => request,
                    Err(_gone) => return,
                },
            };
            let ask = {
                let mut asks = self.asks.lock().unwrap();
                let number = asks.len();
                asks.push(Ask {
                    number,
                    unit,
                    function: pdu[0],
                    start: pair(&pdu, 1),
                    count: pair(&pdu, 3),
                    at: tokio::time::Instant::now(),
                    pdu,
                    transaction,
                    memory: Arc::clone(&self.memory),
                });
                asks.last().unwrap().clone()
            };
            work.send((self.script)(&ask)).await.unwrap();
        }
    }
}

async fn act(
    mut writer: impl AsyncWrite + Unpin,
    mut todo: tokio::sync::mpsc::Receiver<Vec<Act>>,
    close: CancellationToken,
) {
    while let Some(acts) = todo.recv().await {
        for act in acts {
            match act {
                Act::Send(bytes) => drop(writer.write_all(&bytes).await),
                Act::Wait(span) => tokio::time::sleep(span).await,
                Act::Close => close.cancel(),
            }
        }
    }
}
