//! Simulated devices: Modbus TCP and RTU on a line that keeps real time, serial devices; values by script,
//! faults on request. For users who rehearse a site and for tests. Shares no code with the drivers.
//!
//! ```text
//!  site file ─▶ Site ─▶ Plan ─▶ Sim ─┬─ modbus::TcpServer ──────────────┐
//!                                    ├─ line::Port ─ modbus::RtuLine ───┴─▶ modbus::Bus ─▶ units, scripts
//!               control words ─▶ act ┘  line::Port ─ serial::Terminal ────▶ serial::Device ─▶ frames, scripts
//!                                                                              │ every answer, before it leaves
//!                                                                              ▼
//!                                                                            event::Hook
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod control;
pub mod event;
pub mod fault;
pub mod line;
pub mod modbus;
pub mod script;
pub mod serial;
pub mod sim;
pub mod site;
pub mod span;

pub use sim::{Place, Served, Sim, SimError};
pub use site::{Plan, Site, SiteError};
