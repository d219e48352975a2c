//! A bus as a driver takes it, whichever family of devices it serves.

use protocols_ble::config as ble;
use protocols_modbus::config as modbus;
use protocols_model::{DeviceId, PointKey};
use protocols_serial::config as serial;
use std::sync::Arc;

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

    /// The points that are read from it.
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
            Self::Ble(bus) => {
                let keys = bus.devices.iter().flat_map(|device| match &device.kind {
                    ble::Kind::Adverts(heard) => {
                        heard.points.iter().map(|p| p.key).collect::<Vec<_>>()
                    }
                    ble::Kind::Gatt(gatt) => gatt.points.iter().map(|p| p.key).collect(),
                });
                keys.collect()
            }
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
