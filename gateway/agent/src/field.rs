//! The field side of a configuration made real: a driver for each bus, and the desk where its orders
//! are placed.
//!
//! The desk outlives the driver: a driver that is started again finds the queue as it was.

use gateway_config::BusConfig;
use protocols_ble::BleDriver;
use protocols_driver::{Driver, OrderDesk, WriteError, Written};
use protocols_modbus::ModbusDriver;
use protocols_modbus::learned::FileMemory;
use protocols_model::{Instant, PointKey, Value, ValueType};
use protocols_serial::SerialDriver;
use std::path::Path;
use std::sync::Arc;

/// What devices taught their driver, in the state directory.
const LEARNED: &str = "learned";

/// A fresh driver for `bus`; nothing is opened before it runs. What it learns of its devices is kept in
/// `state_dir`, where there is one.
///
/// # Errors
/// What its own check finds; the configuration's reader has asked it before.
pub(crate) fn driver(bus: &BusConfig, state_dir: Option<&Path>) -> anyhow::Result<Box<dyn Driver>> {
    let refused = |what: String| anyhow::anyhow!("bus {}: {what}", bus.name());
    Ok(match bus {
        BusConfig::Modbus(bus) => {
            let driver = ModbusDriver::new(Arc::clone(bus));
            let driver = driver.map_err(|errors| refused(format!("{errors:?}")))?;
            Box::new(match state_dir {
                // The names of buses are checked: no path hides in one.
                Some(dir) => {
                    let file = dir.join(LEARNED).join(format!("{}.json", bus.name));
                    driver.remembering(Arc::new(FileMemory::new(file)))
                }
                None => driver,
            })
        }
        BusConfig::Ble(bus) => {
            let driver = BleDriver::new(Arc::clone(bus));
            Box::new(driver.map_err(|errors| refused(format!("{errors:?}")))?)
        }
        BusConfig::Serial(bus) => {
            let driver = SerialDriver::new(Arc::clone(bus));
            Box::new(driver.map_err(|errors| refused(format!("{errors:?}")))?)
        }
    })
}

/// Where points are written: the desks of all buses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desks(Vec<(BusConfig, OrderDesk)>);

impl Desks {
    pub(crate) fn add(&mut self, bus: BusConfig, desk: OrderDesk) {
        self.0.push((bus, desk));
    }

    /// The desk of the bus that has the point. Looking through the buses costs less than an index kept
    /// for it: it is asked for when rules are made and when people write.
    pub(crate) fn desk(&self, point: PointKey) -> Option<OrderDesk> {
        let owner = self.0.iter().find(|(bus, _)| bus.points().contains(&point));
        owner.map(|(_, desk)| desk.clone())
    }

    /// The point of this name: its key and the type of its values.
    pub(crate) fn find(&self, device: &str, point: &str) -> Option<(PointKey, ValueType)> {
        self.0.iter().find_map(|(bus, _)| bus.find(device, point))
    }

    /// Has the driver that owns the point's bus write it, ahead of its polls and at most once.
    ///
    /// # Errors
    /// See [`WriteError`]; what cannot begin before `begin_before` is not begun.
    pub(crate) async fn write(
        &self,
        point: PointKey,
        value: Value,
        begin_before: Instant,
    ) -> Result<Written, WriteError> {
        let desk = self.desk(point).ok_or(WriteError::UnknownPoint)?;
        desk.place(point, value, begin_before).await
    }
}
