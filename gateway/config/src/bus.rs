//! A bus as a driver takes it, whichever family of devices it serves.

use protocols_ble::config as ble;
use protocols_modbus::config as modbus;
use protocols_model::{DeviceId, PointKey, ValueType};
use protocols_serial::config as serial;
use std::sync::Arc;
use std::time::Duration;

/// One bus of the configuration, checked. Shared with the driver: a large point table is kept once.
#[derive(Debug, Clone, PartialEq)]
pub enum BusConfig {
    /// A Modbus line or endpoint.
    Modbus(Arc<modbus::Bus>),
    /// A serial line of a protocol of its own.
    Serial(Arc<serial::Bus>),
    /// A Bluetooth LE adapter.
    Ble(Arc<ble::Bus>),
}

impl BusConfig {
    /// Its name, unique within the gateway.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Modbus(bus) => &bus.name,
            Self::Serial(bus) => &bus.name,
            Self::Ble(bus) => &bus.name,
        }
    }

    /// Its devices, in the order of the configuration.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceId> {
        match self {
            Self::Modbus(bus) => bus.devices.iter().map(|device| device.id.clone()).collect(),
            Self::Serial(bus) => bus.devices.iter().map(|device| device.id.clone()).collect(),
            Self::Ble(bus) => bus.devices.iter().map(|device| device.id.clone()).collect(),
        }
    }

    /// Its points.
    #[must_use]
    pub fn points(&self) -> Vec<PointKey> {
        match self {
            Self::Modbus(bus) => {
                let points = bus.devices.iter().flat_map(|device| &device.points);
                points.map(|point| point.key).collect()
            }
            Self::Serial(bus) => {
                let points = bus.devices.iter().flat_map(|device| &device.points);
                points.map(|point| point.key).collect()
            }
            Self::Ble(bus) => bus.devices.iter().flat_map(ble_points).collect(),
        }
    }

    /// The same bus with the points that `keep` names and the devices that have one of them, asked at
    /// least each `period`; `None` when nothing is left. For looking at a few points now.
    #[must_use]
    pub fn only(&self, keep: &dyn Fn(PointKey) -> bool, period: Duration) -> Option<Self> {
        let only = match self {
            Self::Modbus(bus) => {
                let mut bus = bus.as_ref().clone();
                for device in &mut bus.devices {
                    device.points.retain(|point| keep(point.key));
                    for point in &mut device.points {
                        point.period = point.period.min(period);
                    }
                }
                bus.devices.retain(|device| !device.points.is_empty());
                Self::Modbus(bus.into())
            }
            Self::Serial(bus) => {
                let mut bus = bus.as_ref().clone();
                for device in &mut bus.devices {
                    device.points.retain(|point| keep(point.key));
                    // A line that is listened to sends when it likes: its period is a patience.
                    for message in device.messages.iter_mut().filter(|m| m.ask.is_some()) {
                        message.period = message.period.min(period);
                    }
                    keep_messages(device);
                }
                bus.devices.retain(|device| !device.points.is_empty());
                Self::Serial(bus.into())
            }
            Self::Ble(bus) => {
                let mut bus = bus.as_ref().clone();
                for device in &mut bus.devices {
                    match &mut device.kind {
                        ble::Kind::Adverts(heard) => heard.points.retain(|point| keep(point.key)),
                        ble::Kind::Gatt(gatt) => {
                            gatt.points.retain(|point| keep(point.key));
                            for point in &mut gatt.points {
                                if let ble::Access::Read(every) = &mut point.access {
                                    *every = (*every).min(period);
                                }
                            }
                        }
                    }
                }
                bus.devices.retain(|device| !ble_points(device).is_empty());
                Self::Ble(bus.into())
            }
        };
        (!only.points().is_empty()).then_some(only)
    }

    /// The point of this name: its key and the type of its values.
    #[must_use]
    pub fn find(&self, device: &str, point: &str) -> Option<(PointKey, ValueType)> {
        match self {
            Self::Modbus(bus) => {
                let device = bus.devices.iter().find(|d| d.id.as_str() == device)?;
                let point = device.points.iter().find(|p| p.id.as_str() == point)?;
                Some((point.key, point.value_type()))
            }
            Self::Serial(bus) => {
                let device = bus.devices.iter().find(|d| d.id.as_str() == device)?;
                let point = device.points.iter().find(|p| p.id.as_str() == point)?;
                Some((point.key, point.value_type()))
            }
            Self::Ble(bus) => {
                let device = bus.devices.iter().find(|d| d.id.as_str() == device)?;
                match &device.kind {
                    // What is heard cannot be written; its format knows the type.
                    ble::Kind::Adverts(heard) => {
                        let point = heard.points.iter().find(|p| p.id.as_str() == point)?;
                        let field = heard.format.field(&point.field)?;
                        Some((point.key, field.value_type))
                    }
                    ble::Kind::Gatt(gatt) => {
                        let point = gatt.points.iter().find(|p| p.id.as_str() == point)?;
                        Some((point.key, point.value_type()))
                    }
                }
            }
        }
    }

    /// Points that are read or told; the others are only written.
    #[must_use]
    pub fn is_read(&self, point: PointKey) -> bool {
        match self {
            Self::Modbus(bus) => bus.devices.iter().any(|device| {
                let broadcast = device.is_broadcast(bus.transport.is_rtu());
                let found = device.points.iter().find(|found| found.key == point);
                found.is_some_and(|found| found.is_polled() && !broadcast)
            }),
            Self::Serial(bus) => {
                let mut points = bus.devices.iter().flat_map(|device| &device.points);
                points.any(|found| found.key == point && found.read.is_some())
            }
            Self::Ble(bus) => bus.devices.iter().any(|device| match &device.kind {
                ble::Kind::Adverts(heard) => heard.points.iter().any(|found| found.key == point),
                ble::Kind::Gatt(gatt) => gatt
                    .points
                    .iter()
                    .any(|found| found.key == point && !matches!(found.access, ble::Access::None)),
            }),
        }
    }

    /// The serial port it stands on, where it is one of this machine.
    #[must_use]
    pub fn serial_port(&self) -> Option<protocols_line::PortConfig> {
        match self {
            Self::Modbus(bus) => match &bus.transport {
                modbus::Transport::Rtu { path, line, rs485 } => Some(protocols_line::PortConfig {
                    rs485: *rs485,
                    ..protocols_line::PortConfig::new(path, *line)
                }),
                _ => None,
            },
            Self::Serial(bus) => Some(bus.port.clone()),
            Self::Ble(_) => None,
        }
    }

    /// Readings that its schedule asks for, a second. What devices send by themselves is not in it.
    #[must_use]
    pub fn polled_per_second(&self) -> f64 {
        match self {
            Self::Modbus(bus) => {
                let points = bus.devices.iter().flat_map(|device| &device.points);
                // The empty sum of floats is -0.0.
                points
                    .filter(|point| point.is_polled())
                    .fold(0.0, |sum, point| sum + 1.0 / point.period.as_secs_f64())
            }
            Self::Serial(bus) => bus.devices.iter().fold(0.0, |sum, device| {
                let periods = device.points.iter().filter_map(|point| {
                    let message = device.messages.get(point.read.as_ref()?.0)?;
                    message.ask.as_ref().map(|_| message.period.as_secs_f64())
                });
                periods.fold(sum, |sum, period| sum + 1.0 / period)
            }),
            Self::Ble(bus) => {
                let gatt = bus.devices.iter().filter_map(|device| match &device.kind {
                    ble::Kind::Gatt(gatt) => Some(&gatt.points),
                    ble::Kind::Adverts(_) => None,
                });
                gatt.flatten().fold(0.0, |sum, point| match point.access {
                    ble::Access::Read(period) => sum + 1.0 / period.as_secs_f64(),
                    ble::Access::Notify(_) | ble::Access::None => sum,
                })
            }
        }
    }
}

fn ble_points(device: &ble::Device) -> Vec<PointKey> {
    match &device.kind {
        ble::Kind::Adverts(heard) => heard.points.iter().map(|point| point.key).collect(),
        ble::Kind::Gatt(gatt) => gatt.points.iter().map(|point| point.key).collect(),
    }
}

/// Drops the messages that no point is taken from any more.
fn keep_messages(device: &mut serial::Device) {
    let messages = std::mem::take(&mut device.messages);
    for point in &mut device.points {
        if let Some((index, field)) = point.read.take() {
            let message = messages.get(index).cloned();
            let message = message.expect("invariant: the driver's check has found it");
            // Equal ones become one again.
            let known = device.messages.iter().position(|held| *held == message);
            let index = known.unwrap_or_else(|| {
                device.messages.push(message);
                device.messages.len() - 1
            });
            point.read = Some((index, field));
        }
    }
}
