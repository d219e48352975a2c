//! Points by name: `device/point`, with `*` for any run of characters.

use gateway_config::GatewayConfig;
use protocols_modbus::config::Address;
use protocols_model::{PointKey, ValueType};

/// A point as people are told of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) key: PointKey,
    pub(super) device: String,
    pub(super) point: String,
    pub(super) unit: String,
    pub(super) value_type: ValueType,
}

impl Named {
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.device, self.point)
    }
}

/// All points of a configuration.
pub(super) fn all(config: &GatewayConfig) -> Vec<Named> {
    let points = config.points.iter().zip(0u32..);
    let named = points.map(|(point, key)| Named {
        key: PointKey(key),
        device: point.descriptor.device.to_string(),
        point: point.descriptor.point.to_string(),
        unit: point.descriptor.unit.clone(),
        value_type: point.descriptor.value_type,
    });
    named.collect()
}

/// The id of a point that is only known by its address: `hr-10-4` for `hr:10.4`.
pub(super) fn id_of(address: &Address) -> String {
    let text = address.to_string();
    let id = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    id.collect()
}
