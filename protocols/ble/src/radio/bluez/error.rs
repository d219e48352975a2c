//! What BlueZ, D-Bus and btleplug say, sorted by what the driver does about it.
//!
//! The names are those of the D-Bus specification and of BlueZ' `doc/` (`org.bluez.Error.*`). A refusal is
//! an answer of the device or the service to this one request; everything else says that the connection
//! or the service is in trouble.

use crate::radio::RadioError;
use bluez_async::BluetoothError;

/// An error of btleplug.
pub(super) fn from_btleplug(error: &btleplug::Error) -> RadioError {
    match error {
        btleplug::Error::DeviceNotFound => RadioError::NotHeard,
        btleplug::Error::TimedOut(_) => RadioError::TimedOut,
        btleplug::Error::PermissionDenied | btleplug::Error::NotSupported(_) => {
            RadioError::Refused(error.to_string())
        }
        btleplug::Error::Other(cause) => match cause.downcast_ref::<BluetoothError>() {
            Some(BluetoothError::DbusError(error)) => from_dbus(error),
            Some(BluetoothError::ServiceDiscoveryTimedOut) => RadioError::TimedOut,
            _ => RadioError::Failed(error.to_string()),
        },
        _ => RadioError::Failed(error.to_string()),
    }
}

/// An error of D-Bus.
pub(super) fn from_dbus(error: &dbus::Error) -> RadioError {
    let name = error.name().unwrap_or_default();
    let text = error.message().unwrap_or(name).to_owned();
    let (space, short) = name.rsplit_once('.').unwrap_or_default();
    match (space, short) {
        ("org.freedesktop.DBus.Error", "NoReply" | "Timeout" | "TimedOut") => RadioError::TimedOut,
        (
            "org.freedesktop.DBus.Error",
            "ServiceUnknown" | "NameHasNoOwner" | "NoServer" | "FileNotFound" | "AccessDenied"
            | "Disconnected",
        ) => RadioError::NoService(text),
        ("org.freedesktop.DBus.Error", "UnknownObject" | "UnknownMethod" | "UnknownInterface")
        | ("org.bluez.Error", "DoesNotExist") => RadioError::NotHeard,
        (
            "org.bluez.Error",
            "NotPermitted"
            | "NotAuthorized"
            | "NotSupported"
            | "InvalidArguments"
            | "InvalidOffset"
            | "InvalidValueLength"
            | "ImproperlyConfigured",
        ) => RadioError::Refused(text),
        // The device's own refusal comes as a failure with its code in the text.
        ("org.bluez.Error", "Failed") if text.contains("ATT error") => RadioError::Refused(text),
        _ => RadioError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_can_be_done_about_them() {
        let error = |name: &str, text: &str| from_dbus(&dbus::Error::new_custom(name, text));
        let space = "org.freedesktop.DBus.Error";
        assert_eq!(
            error(&format!("{space}.NoReply"), "x"),
            RadioError::TimedOut
        );
        let gone = error(&format!("{space}.ServiceUnknown"), "not provided");
        assert_eq!(gone, RadioError::NoService("not provided".to_owned()));
        assert_eq!(
            error(&format!("{space}.UnknownObject"), "x"),
            RadioError::NotHeard
        );
        let refused = RadioError::Refused("no".to_owned());
        assert_eq!(error("org.bluez.Error.NotPermitted", "no"), refused);
        let att = "Operation failed with ATT error: 0x0e";
        let refused = RadioError::Refused(att.to_owned());
        assert_eq!(error("org.bluez.Error.Failed", att), refused);
        let failed = RadioError::Failed("Not connected".to_owned());
        assert_eq!(error("org.bluez.Error.Failed", "Not connected"), failed);
    }
}
