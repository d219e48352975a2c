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

/// Whether `name` fits `pattern`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = true;
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    // After a star anything may follow, but what follows it in the pattern must stand at the end.
    rest.is_empty()
        || (open
            && pattern
                .rsplit('*')
                .next()
                .is_some_and(|last| name.ends_with(last)))
}

/// The id of a point that is only known by its address: `hr-10-4` for `hr:10.4`.
pub(super) fn id_of(address: &Address) -> String {
    let text = address.to_string();
    let id = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    id.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name) in [
            ("m1/u", "m1/u"),
            ("m1/*", "m1/u_l1"),
            ("*/u", "m1/u"),
            ("m*/u_*", "m12/u_l1"),
            ("*", "m1/u"),
            ("*l1", "m1/l1_l1"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("m1/u", "m1/u2"),
            ("*/u", "m1/u2"),
            ("m2/*", "m1/u"),
            ("", "a"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
