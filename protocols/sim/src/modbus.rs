//! Modbus devices: register maps with scripted values behind a TCP port or on a paced RTU line.
//!
//! ```text
//!  TcpServer  (Modbus TCP, RTU over TCP) ─┐             ┌─ Bus ─ unit: map, limits, faults
//!                                         ├─▶ Station ◀─┤
//!  RtuLine    (on a line::Port)          ─┘             └─ whoever else answers (the oracle's simulator)
//! ```

mod bus;
mod crc;
mod map;
mod pdu;
mod raw;
mod rtu;
mod station;
mod tcp;
mod unit;

pub use bus::{Bus, UnitSetup};
pub use crc::crc16;
pub use map::{Map, MapError, Point, Reading};
pub use pdu::{
    ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, Range, Request, Space, exception, parse,
    read_answer, write_answer,
};
pub use raw::{Order, OrderError, Raw, RawKind};
pub use rtu::{RtuLine, RtuOptions};
pub use station::{Carrier, LineTrouble, Reply, Spoil, Station};
pub use tcp::{TcpFraming, TcpServer};
pub use unit::{Done, Limits};
