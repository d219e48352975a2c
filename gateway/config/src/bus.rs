//! A bus as a driver takes it, whichever family of devices it serves.

use protocols_modbus::config as modbus;
use protocols_model::{DeviceId, PointKey};
use std::sync::Arc;

/// One bus of the configuration, checked. Shared with the driver: a large point table is kept once.
#[derive(Debug, Clone, PartialEq)]
pub enum BusConfig {
    /// A Modbus line or endpoint.
    Modbus(Arc<modbus::Bus>),
}

impl BusConfig {
    /// Its name, unique within the gateway.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Modbus(bus) => &bus.name,
        }
    }

    /// Its devices, in the order of the configuration.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceId> {
        match self {
            Self::Modbus(bus) => bus.devices.iter().map(|device| device.id.clone()).collect(),
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
        }
    }

    /// Readings that its schedule asks for, a second. What devices send by themselves is not in it.
    #[must_use]
    pub fn polled_per_second(&self) -> f64 {
        match self {
            Self::Modbus(bus) => {
                let points = bus.devices.iter().flat_map(|device| &device.points);
                // The empty sum of floats is -0.0.
                points.fold(0.0, |sum, point| sum + 1.0 / point.period.as_secs_f64())
            }
        }
    }
}
