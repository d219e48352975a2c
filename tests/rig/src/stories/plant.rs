//! A Modbus TCP device that holds what a story puts into its registers, beside the simulated field: the judge
//! knows nothing of it.
//!
//! Function codes 3, 6 and 16. It lives as long as the story's runtime.

use anyhow::Context as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Registers there are.
const SIZE: usize = 200;

#[derive(Debug)]
struct State {
    registers: Vec<u16>,
    /// First register and value of each write, in order.
    written: Vec<(u16, u16)>,
}

/// The device.
#[derive(Debug, Clone)]
pub(super) struct Plant {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

impl Plant {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let plant = Self {
            port: listener.local_addr()?.port(),
            state: Arc::new(Mutex::new(State {
                registers: vec![0; SIZE],
                written: Vec::new(),
            })),
        };
        let serving = plant.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let plant = serving.clone();
                // A gateway that goes away ends its own connection only.
                tokio::spawn(async move { drop(plant.serve(stream).await) });
            }
        });
        Ok(plant)
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts bytes into the registers from `at` on, the high byte first.
    pub(super) fn set(&self, at: u16, bytes: &[u8]) {
        self.with(|state| state.put(at, bytes));
    }

    /// What was written from outside: first register and value, in order.
    pub(super) fn written(&self) -> Vec<(u16, u16)> {
        self.with(|state| state.written.clone())
    }

    async fn serve(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let mut head = [0_u8; 7];
        loop {
            stream.read_exact(&mut head).await?;
            let [t0, t1, p0, p1, l0, l1, unit] = head;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let mut request = vec![0; length.checked_sub(1).context("an empty request")?];
            stream.read_exact(&mut request).await?;
            let said = self.with(|state| state.answer(&request))?;
            let mut answer = vec![t0, t1, p0, p1];
            answer.extend(u16::try_from(said.len() + 1)?.to_be_bytes());
            answer.push(unit);
            answer.extend(said);
            stream.write_all(&answer).await?;
        }
    }
}

impl State {
    fn put(&mut self, at: u16, bytes: &[u8]) {
        let registers = self.registers.iter_mut().skip(at.into());
        for (register, pair) in registers.zip(bytes.chunks(2)) {
            let low = pair.get(1).copied().unwrap_or(0);
            *register = u16::from_be_bytes([pair.first().copied().unwrap_or(0), low]);
        }
    }

    fn answer(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let [function, a0, a1, b0, b1, ..] = *request else {
            anyhow::bail!("a short request");
        };
        let (at, second) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([b0, b1]));
        match function {
            3 => {
                let wanted = self.registers.iter().skip(at.into()).take(second.into());
                let bytes: Vec<u8> = wanted.flat_map(|word| word.to_be_bytes()).collect();
                let length = u8::try_from(bytes.len()).context("a long answer")?;
                Ok([vec![function, length], bytes].concat())
            }
            6 => {
                self.put(at, &second.to_be_bytes());
                self.written.push((at, second));
                Ok(request.to_vec())
            }
            16 => {
                let bytes = request.get(6..).unwrap_or_default();
                self.put(at, bytes);
                let first = bytes.first_chunk().copied().context("no value")?;
                self.written.push((at, u16::from_be_bytes(first)));
                Ok(request.get(..5).unwrap_or_default().to_vec())
            }
            other => Ok(vec![other | 0x80, 1]),
        }
    }
}
