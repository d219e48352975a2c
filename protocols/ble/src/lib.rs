//! Bluetooth Low Energy sensors: advertisements decoded, GATT characteristics read and written, the radio
//! supervised by progress.
//!
//! ```text
//! radio ─▶ adverts ─▶ listener (decode, counters, silence) ─▶ outbox ─▶ sweeps
//!   ▲         └─▶ strangers ─▶ events          one worker a connected device ─▶ sweeps
//!   └── ladder ◀─ health, heartbeat, silence        └ connect, read, listen, write
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | what to hear and ask, checked, and the texts a configuration writes it in |
//! | [`decode`] | pure: advertisements to named values, one file a format |
//! | [`listener`] | pure: whose advertisement it is, whether it is new, when a device is silent |
//! | [`strangers`] | pure: devices without a configuration, bounded |
//! | [`ladder`] | pure: what is done when the radio stops working |
//! | `outbox`, `deadlines`, `air`, `gatt` | pure: readings without room, when what is due, who may use the air, bytes of characteristics |
//! | [`radio`] | the seam to the hardware; beneath it, with the feature `radio`, BlueZ by btleplug |
//! | `driver` | one task an adapter, one worker a connected device |
//! | [`scan`] | what is in the air, for people |
//!
//! # Advertisements and room
//! They come unasked. While the pipeline has no room the driver goes on listening, and keeps the latest
//! reading of each point; a sweep that loses readings to a newer one is counted as `overrun`, and so is an
//! advertisement that the radio could not hand over (1024 may wait).
//!
//! # What can go wrong, what you will see, what the gateway does
//!
//! | in the air | you will see | the gateway |
//! |---|---|---|
//! | a sensor falls silent | `timeout` once an interval, link down; `present` is false | listens on |
//! | the same measurement is heard again | nothing | takes it once; after an interval it is a reading again |
//! | an advertisement is damaged or of another format | `bad_answers`, told once a device | drops it; the interval runs on |
//! | it is encrypted and there is no key, or a wrong one | the same | drops it |
//! | a forged plain advertisement of a device with a key | the same | drops it |
//! | an encrypted one is repeated by somebody | `late_answers` | drops what is not newer |
//! | a sensor says "not available", or a value out of range | `device-error`, `out-of-range` | hands that over |
//! | ten thousand strangers pass by | an event a minute at most, if wanted | remembers the last [`max_strangers`](config::Bus::max_strangers) |
//! | the pipeline stands still | `overrun`; connected: `missed_polls` | keeps the latest of each point; reads nothing; orders go through |
//! | advertisements stop | `timeout`, an event a step | restarts the scan, rebuilds the connection, power-cycles the adapter, reports; tries on |
//! | the scan ends by itself, somebody switches the adapter off | an event | begins it again, switches it on |
//! | bluetoothd restarts | `link-down` at once, an event | rebuilds within seconds of its return; connected devices are connected and subscribed anew |
//! | the adapter is unplugged | `link-down` at once, an event | looks for it every 30 s at least |
//! | the adapter or bluetoothd hangs | an event after two missed heartbeats | rebuilds, then power-cycles |
//! | a connected device disconnects | `link-down`, an event | reconnects with back-off, subscribes once |
//! | its services are never resolved, it does not answer | `timeout` each period, an event | ends the attempt at its time-out, disconnects, waits longer each time; after three a twentieth of the time |
//! | a read hangs | `timeout`; after two the link is down | disconnects, reconnects, and asks once before it believes it |
//! | a read is refused, a characteristic is missing | `device-error`, an event for the latter | goes on |
//! | a regular notification stays away | `timeout` each interval | listens on |
//! | a write is refused, is not confirmed, reads back otherwise | outcome "refused", "unknown", "not verified" | never repeats it |
//!
//! # The limits that remain
//! BlueZ does not promise every advertisement: kernels and controllers filter repeats (about one in 10 s of
//! unchanged data). The replay counter of encrypted sensors lives in memory: between a start and the
//! first genuine advertisement an old one is taken once. BlueZ' scan is always active (sensors answer it,
//! which costs them a little battery). Of two characteristics with one UUID in one service BlueZ' client
//! shows one.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod advert;
mod air;
pub mod config;
mod deadlines;
pub mod decode;
mod driver;
mod gatt;
pub mod ladder;
pub mod listener;
mod outbox;
pub mod radio;
pub mod scan;
pub mod strangers;

pub use driver::BleDriver;
