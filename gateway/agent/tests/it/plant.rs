//! A small plant behind Modbus TCP: coils and holding registers that the test sets, and that are written.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A gateway whose only device is a cellar with a temperature and a door behind `port`; `more` stands behind it.
pub(crate) fn cellar(port: u16, more: &str) -> String {
    format!(
        r#"schema = 1
[gateway]
id = "gw-1"
state_dir = "state"
[spool]
max = "16MiB"
commit = "200ms"
[bus.plc]
kind = "modbus-tcp"
addr = "127.0.0.1:{port}"
[device.cellar]
bus = "plc"
unit = 1
timeout = "3s"
groups = {{ fast = "100ms" }}
points = [
  {{ id = "temperature", at = "hr:0", as = "i16", scale = 0.1, unit = "°C" }},
  {{ id = "door", at = "co:0" }},
]
{more}"#
    )
}

#[derive(Default)]
struct State {
    /// By the function that reads them, and address.
    bits: BTreeMap<(u8, u16), bool>,
    registers: BTreeMap<(u8, u16), u16>,
    /// Coils in the order they were written.
    written: Vec<(u16, bool)>,
    silent: bool,
    /// Writes to [`FORGETFUL`] registers.
    forgotten: u64,
}

/// Registers from here on confirm what is written and stay as they were.
const FORGETFUL: u16 = 1000;

#[derive(Clone)]
pub(crate) struct Plant {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Plant {
    /// Starts it; it lives as long as the test.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plant = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let serving = plant.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let plant = serving.clone();
                std::thread::spawn(move || plant.serve(stream));
            }
        });
        plant
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A holding register.
    pub(crate) fn set(&self, register: u16, value: u16) {
        self.with(|state| state.registers.insert((3, register), value));
    }

    /// An input register.
    pub(crate) fn set_input(&self, register: u16, value: i16) {
        let value = u16::from_be_bytes(value.to_be_bytes());
        self.with(|state| state.registers.insert((4, register), value));
    }

    /// A discrete input.
    pub(crate) fn set_discrete(&self, input: u16, on: bool) {
        self.with(|state| state.bits.insert((2, input), on));
    }

    /// Four registers from `register` on, the most significant first.
    pub(crate) fn set_f64(&self, register: u16, value: f64) {
        let bits = value.to_bits();
        for (place, shift) in (0u16..).zip([48, 32, 16, 0]) {
            let word = u16::try_from(bits >> shift & 0xffff).unwrap();
            self.set(register + place, word);
        }
    }

    pub(crate) fn set_text(&self, register: u16, text: &str) {
        for (place, pair) in (0u16..).zip(text.as_bytes().chunks(2)) {
            let low = pair.get(1).copied().unwrap_or(0);
            self.set(register + place, u16::from_be_bytes([pair[0], low]));
        }
    }

    pub(crate) fn set_coil(&self, coil: u16, on: bool) {
        self.with(|state| state.bits.insert((1, coil), on));
    }

    pub(crate) fn coil(&self, coil: u16) -> bool {
        self.with(|state| state.bits.get(&(1, coil)).copied().unwrap_or(false))
    }

    pub(crate) fn register(&self, register: u16) -> u16 {
        self.with(|state| state.registers.get(&(3, register)).copied().unwrap_or(0))
    }

    pub(crate) fn written(&self) -> Vec<(u16, bool)> {
        self.with(|state| state.written.clone())
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.with(|state| state.forgotten)
    }

    /// Takes requests and says nothing, or answers again.
    pub(crate) fn silence(&self, silent: bool) {
        self.with(|state| state.silent = silent);
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut head = [0u8; 7];
        while stream.read_exact(&mut head).is_ok() {
            let len = usize::from(u16::from_be_bytes([head[4], head[5]])) - 1;
            let mut pdu = vec![0; len];
            if stream.read_exact(&mut pdu).is_err() {
                return;
            }
            let answer = self.with(|state| (!state.silent).then(|| state.answer(&pdu)));
            let Some(answer) = answer else { continue };
            let mut frame = head[..4].to_vec();
            frame.extend(u16::try_from(answer.len() + 1).unwrap().to_be_bytes());
            frame.push(head[6]);
            frame.extend(answer);
            if stream.write_all(&frame).is_err() {
                return;
            }
        }
    }
}

impl State {
    fn answer(&mut self, pdu: &[u8]) -> Vec<u8> {
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (at, count) = (word(1), word(3));
        match pdu[0] {
            1 | 2 => {
                let mut bytes = vec![0u8; usize::from(count.div_ceil(8))];
                for place in 0..count {
                    if self
                        .bits
                        .get(&(pdu[0], at + place))
                        .copied()
                        .unwrap_or(false)
                    {
                        bytes[usize::from(place / 8)] |= 1 << (place % 8);
                    }
                }
                [vec![pdu[0], u8::try_from(bytes.len()).unwrap()], bytes].concat()
            }
            3 | 4 => {
                let mut answer = vec![pdu[0], u8::try_from(2 * count).unwrap()];
                for place in 0..count {
                    let value = self
                        .registers
                        .get(&(pdu[0], at + place))
                        .copied()
                        .unwrap_or(0);
                    answer.extend(value.to_be_bytes());
                }
                answer
            }
            5 => {
                self.bits.insert((1, at), count == 0xff00);
                self.written.push((at, count == 0xff00));
                pdu.to_vec()
            }
            6 => {
                self.registers.insert((3, at), count);
                pdu.to_vec()
            }
            16 => {
                if at >= FORGETFUL {
                    self.forgotten += 1;
                    return pdu[..5].to_vec();
                }
                for place in 0..count {
                    let value = word(6 + 2 * usize::from(place));
                    self.registers.insert((3, at + place), value);
                }
                pdu[..5].to_vec()
            }
            other => vec![other | 0x80, 1],
        }
    }
}
