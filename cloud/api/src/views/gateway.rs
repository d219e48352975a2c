//! Gateways with the four truths about them, and their devices.

use super::{AlarmCountsView, TrafficView, ms, span_ms};
use cloud_store::{AlarmCounts, DeviceState, GatewayState};
use serde::Serialize;
use utoipa::ToSchema;

/// Broker session: the first truth about a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionTruth {
    /// `connected`, `disconnected` or `unknown`.
    pub(crate) state: &'static str,
    /// Since when.
    pub(crate) since_ms: Option<i64>,
}

/// What the gateway said of itself last: the second truth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HelloTruth {
    /// When it came.
    pub(crate) at_ms: i64,
    /// Program version.
    pub(crate) software: String,
    /// Digest of the running configuration.
    pub(crate) config_revision: String,
    /// Live bytes in the spool.
    pub(crate) spool_bytes: u64,
    /// Bound of the spool.
    pub(crate) spool_quota_bytes: u64,
    /// Records held and not settled then.
    pub(crate) records_held: u64,
    /// Whether a time source confirmed the gateway's clock.
    pub(crate) clock_synced: bool,
    /// Its clock minus ours when the hello came, including the time under way.
    pub(crate) clock_offset_ms: i64,
    /// Longest span of readings that a crash can take along.
    pub(crate) loss_window_ms: u64,
    /// Id of the boot.
    pub(crate) boot: String,
}

/// Device links as the gateway reported them: the third truth.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DevicesTruth {
    /// Devices whose link is up.
    pub(crate) up: u64,
    /// Devices whose link is down.
    pub(crate) down: u64,
    /// Devices whose link was never reported.
    pub(crate) unknown: u64,
}

/// Data freshness: the fourth truth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataTruth {
    /// Time of the newest reading, by the gateway's clock.
    pub(crate) newest_sample_ms: Option<i64>,
    /// When the newest record came, by ours.
    pub(crate) newest_received_ms: Option<i64>,
}

/// A gateway and the four truths about it, each by itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayView {
    /// Its id.
    pub(crate) id: String,
    /// For people.
    pub(crate) note: String,
    /// When it was entered.
    pub(crate) created_ms: i64,
    /// When it was revoked.
    pub(crate) revoked_ms: Option<i64>,
    /// End of its certificate.
    pub(crate) certificate_until_ms: i64,
    /// Serial number of its certificate.
    pub(crate) certificate_serial: String,
    /// SHA-256 of its certificate.
    pub(crate) certificate_fingerprint: String,
    /// Two machines use this identity.
    pub(crate) cloned: bool,
    /// Series it has.
    pub(crate) series: u64,
    /// Inputs of it in quarantine.
    pub(crate) quarantined: u64,
    /// First truth.
    pub(crate) session: SessionTruth,
    /// Second truth; none before the first hello.
    pub(crate) hello: Option<HelloTruth>,
    /// Third truth.
    pub(crate) devices: DevicesTruth,
    /// Fourth truth.
    pub(crate) data: DataTruth,
    /// Its open alarms.
    pub(crate) alarms: AlarmCountsView,
    /// What came of it within a day, and what its filters saved.
    pub(crate) traffic: TrafficView,
}

impl GatewayView {
    pub(crate) fn new(
        state: GatewayState,
        devices: &[DeviceState],
        alarms: AlarmCounts,
        traffic: TrafficView,
    ) -> Self {
        let mut links = DevicesTruth::default();
        for device in devices {
            match link_of(device) {
                "up" => links.up += 1,
                "down" => links.down += 1,
                _ => links.unknown += 1,
            }
        }
        let gateway = state.gateway;
        Self {
            id: gateway.id.to_string(),
            note: gateway.note,
            created_ms: ms(gateway.created),
            revoked_ms: gateway.revoked.map(ms),
            certificate_until_ms: ms(gateway.not_after),
            certificate_serial: gateway.serial,
            certificate_fingerprint: gateway.fingerprint,
            cloned: state.cloned,
            series: state.series,
            quarantined: state.quarantined,
            session: SessionTruth {
                state: match state.session {
                    Some((true, _)) => "connected",
                    Some((false, _)) => "disconnected",
                    None => "unknown",
                },
                since_ms: state.session.map(|(_, since)| ms(since)),
            },
            hello: state.hello.map(|(at, hello)| HelloTruth {
                at_ms: ms(at),
                records_held: hello
                    .held
                    .iter()
                    .filter(|held| held.first > 0)
                    .map(|held| (held.last + 1).saturating_sub(held.first))
                    .fold(0, u64::saturating_add),
                software: hello.software,
                config_revision: hello.config_revision,
                spool_bytes: hello.spool_bytes,
                spool_quota_bytes: hello.spool_quota_bytes,
                clock_synced: hello.clock.synced,
                clock_offset_ms: ms(hello.clock.wall).saturating_sub(ms(at)),
                loss_window_ms: span_ms(hello.loss_window),
                boot: hello.boot.to_string(),
            }),
            devices: links,
            data: DataTruth {
                newest_sample_ms: state.newest_sample.map(ms),
                newest_received_ms: state.newest_received.map(ms),
            },
            alarms: alarms.into(),
            traffic,
        }
    }
}

/// The gateway's words begin with `up` or `down`; whatever else it says is shown as it is.
fn link_of(device: &DeviceState) -> &'static str {
    match &device.link {
        Some((_, text)) if text.starts_with("up") => "up",
        Some((_, text)) if text.starts_with("down") => "down",
        _ => "unknown",
    }
}

/// A device behind a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceView {
    /// Its id.
    pub(crate) id: String,
    /// Its series.
    pub(crate) series: u64,
    /// `up`, `down` or `unknown`, as the gateway reported it.
    pub(crate) link: &'static str,
    /// Since when.
    pub(crate) link_since_ms: Option<i64>,
    /// The gateway's words.
    pub(crate) link_text: Option<String>,
    /// Newest reading of any of its points, good or bad.
    pub(crate) newest_sample_ms: Option<i64>,
    /// When that came.
    pub(crate) newest_received_ms: Option<i64>,
    /// Newest good reading of any of its points.
    pub(crate) newest_good_ms: Option<i64>,
    /// Points whose latest reading is bad.
    pub(crate) bad: u64,
}

impl From<DeviceState> for DeviceView {
    fn from(device: DeviceState) -> Self {
        Self {
            link: link_of(&device),
            id: device.device.to_string(),
            series: device.series,
            link_since_ms: device.link.as_ref().map(|(at, _)| ms(*at)),
            link_text: device.link.map(|(_, text)| text),
            newest_sample_ms: device.newest.map(ms),
            newest_received_ms: device.newest_received.map(ms),
            newest_good_ms: device.newest_good.map(ms),
            bad: device.bad,
        }
    }
}
