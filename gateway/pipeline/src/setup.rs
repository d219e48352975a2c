//! What a pipeline is made of: points with their filters and privacy, and what is computed from them.

use gateway_expr::Program;
use gateway_filter::{Stage, WindowSpec};
use gateway_privacy::Treatment;
use protocols_model::{PointDescriptor, PointKey};
use protocols_wire::EncodeError;
use std::time::Duration;

/// Everything of one configuration, in the order of the point keys.
#[derive(Debug, Default)]
pub struct Setup {
    /// The points; the place is the key.
    pub points: Vec<PointSetup>,
    /// Points computed by expression; each from points before it.
    pub derived: Vec<DerivedSetup>,
    /// Points computed over time.
    pub windows: Vec<WindowSetup>,
}

/// One point.
#[derive(Debug)]
pub struct PointSetup {
    /// Its dictionary entry, of what leaves.
    pub descriptor: PointDescriptor,
    /// What of it is worth sending.
    pub stages: Vec<Stage>,
    /// While filters find nothing new in it: how often to tell that it still says the same. Only where
    /// deadbands alone filter it, and nothing treats its times or names.
    pub keep_alive: Option<Duration>,
    /// What of it may leave.
    pub privacy: Privacy,
}

impl PointSetup {
    /// A point of which everything is sent.
    #[must_use]
    pub const fn open(descriptor: PointDescriptor) -> Self {
        Self {
            descriptor,
            stages: Vec::new(),
            keep_alive: None,
            privacy: Privacy::Open,
        }
    }
}

/// What of a point may leave the site.
#[derive(Debug, Default)]
pub enum Privacy {
    /// Everything.
    #[default]
    Open,
    /// Treated values.
    Treated {
        /// In this order.
        treatments: Vec<Treatment>,
        /// The latitude that belongs to a longitude.
        latitude: Option<PointKey>,
    },
    /// Nothing, not even its name. Windows, derived points and rules may look at it.
    Withheld,
}

/// A derived point.
#[derive(Debug)]
pub struct DerivedSetup {
    /// The point that takes the results.
    pub point: PointKey,
    /// How it is computed: whenever an input is read.
    pub program: Program,
    /// Inputs older than this have no value.
    pub stale: Option<Duration>,
}

/// A window over a point.
#[derive(Debug)]
pub struct WindowSetup {
    /// Over which point.
    pub of: PointKey,
    /// How often that point is read.
    pub period: Duration,
    /// The window.
    pub spec: WindowSpec,
    /// The points that take the results, in the order of the aggregates.
    pub results: Vec<PointKey>,
}

/// Why a pipeline cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A point's dictionary entry breaks a rule of the wire format.
    #[error("the point table does not fit a dictionary")]
    Dictionary(#[source] EncodeError),
    /// A window cannot be.
    #[error("a window over point {0} cannot be")]
    Window(String, #[source] gateway_filter::WindowError),
    /// Something names a point that is not in the table.
    #[error("point number {} is not in the table", .0.0)]
    Point(PointKey),
}
