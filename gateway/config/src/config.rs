//! The configuration as a whole: read, checked, immutable.

use crate::bus::BusConfig;
use crate::field;
use crate::fog::{self, Fog};
use crate::key::kinds::{Inner, Named, Whole};
use crate::key::{Key, Section};
use crate::modbus::level::Layer;
use crate::notes::{self, Notes};
use crate::problem::{Problem, Severity};
use crate::report::Report;
use crate::settings::{self, Gateway, Http, Log, Uplink};
use crate::source::{Located, Place, Source};
use crate::walk::Table;
use gateway_spool::SpoolConfig;
use protocols_model::{PointDescriptor, PointKey, ValueType};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Version of the file's shape.
pub const SCHEMA: i64 = 1;
/// Largest file of a configuration, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// A point of the point table; its place is its [`protocols_model::PointKey`].
#[derive(Debug, Clone, PartialEq)]
pub struct PointConfig {
    /// Its dictionary entry.
    pub descriptor: PointDescriptor,
    /// What is reported of it.
    pub report: Report,
}

/// Everything a gateway is told.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Who it is.
    pub gateway: Gateway,
    /// What it reads.
    pub buses: Vec<BusConfig>,
    /// The point table.
    pub points: Vec<PointConfig>,
    /// What is done with readings on the spot.
    pub fog: Fog,
    /// Bounds of the spool.
    pub spool: SpoolConfig,
    /// Where records go; without one they stay in the spool.
    pub uplink: Option<Uplink>,
    /// The local endpoint.
    pub http: Http,
    /// Logs.
    pub log: Log,
}

/// How a configuration is read.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether unknown keys are errors (`check`) or warnings (at boot: the device must come up).
    pub unknown_keys: Severity,
    /// Whether a bus that cannot keep its periods is an error (before a configuration is applied) or a
    /// warning (at the start: what ran before must come up). `force = true` on the bus silences both.
    pub overload: Severity,
    /// Memory of the machine, where known: the bound of the spool is checked against it.
    pub memory: Option<u64>,
}

/// What reading a configuration gave.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` when there is an error among the problems.
    pub config: Option<GatewayConfig>,
    /// Everything that is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// The state directory, also where the rest cannot be used.
    pub state_dir: PathBuf,
    /// The files it consists of, for a copy.
    pub files: Vec<Arc<Source>>,
}

/// Reads the configuration at `path` from disk.
#[must_use]
pub fn load(path: &Path, options: Options) -> Loaded {
    load_with(path, options, &read_bounded)
}

/// Reads the configuration at `path`, files taken from `read`.
#[must_use]
pub fn load_with(
    path: &Path,
    options: Options,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Loaded {
    let notes = Notes::new(options.unknown_keys, options.overload, read);
    let mut state_dir = PathBuf::from(settings::DEFAULT_STATE_DIR);
    let config = notes.read_file(path, None).and_then(|source| {
        let base = path.parent().unwrap_or(Path::new(""));
        let content = notes::parse(&source, &notes);
        let root = Table::root(&content, &source, &notes, const { &[&ROOT] });
        read_root(root, base, options, &mut state_dir)
    });
    let files = notes.sources();
    let config = config.filter(|_| !notes.has_errors());
    Loaded {
        config,
        problems: notes.into_sorted(),
        state_dir,
        files,
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("{size} bytes are too many")));
    }
    std::fs::read_to_string(path)
}

const VERSION: Key<Whole> =
    Key::new("schema", Whole(SCHEMA, SCHEMA), "version of this shape").required();
const GATEWAY: Key<Inner> = Key::new(
    "gateway",
    Inner(const { &[&settings::GATEWAY] }),
    "who this gateway is",
)
.required();
const SPOOL: Key<Inner> = Key::new(
    "spool",
    Inner(const { &[&settings::SPOOL] }),
    "what is kept on the spot, and how",
);
const UPLINK: Key<Named> = Key::new(
    "uplink",
    Named(const { &[&settings::UPLINK] }),
    "where records go",
);
const HTTP: Key<Inner> = Key::new(
    "http",
    Inner(const { &[&settings::HTTP] }),
    "the local endpoint",
);
const LOG: Key<Inner> = Key::new("log", Inner(const { &[&settings::LOG] }), "what is logged");

/// The whole file.
pub(crate) static ROOT: Section = Section::new(
    "The file",
    "Times, sizes and rates carry their unit: `\"250ms\"`, `\"1.5s\"`, `\"5m\"`, `\"1d\"`; `\"512KiB\"`, `\"2GiB\"`. Paths are relative to the file. Names are 1 to 63 characters of a-z, 0-9, '-' and '_'.",
    &[
        &VERSION,
        &GATEWAY,
        &field::BUSES,
        &field::TEMPLATES,
        &field::DEVICES,
        &fog::FILTERS,
        &fog::DERIVES,
        &fog::RULES,
        &fog::POLICIES,
        &SPOOL,
        &UPLINK,
        &HTTP,
        &LOG,
    ],
);

fn read_root(
    root: Table<'_>,
    base: &Path,
    options: Options,
    state_dir: &mut PathBuf,
) -> Option<GatewayConfig> {
    root.get(&VERSION);
    let mut defaults = Layer::default();
    let (mut gateway, mut gnss) = (None, None);
    if let Some(table) = root.table(&GATEWAY) {
        if let Some(dir) = table.get(&settings::STATE_DIR) {
            *state_dir = settings::resolve(base, &dir.value);
        }
        if let Some(table) = table.table(&settings::DEFAULTS) {
            defaults = Layer::read(&table);
            table.finish();
        }
        gateway = settings::read_gateway(&table, base);
        gnss = table.get(&settings::GNSS);
        table.finish();
    }
    let mut field = field::read(&root, &defaults, base);
    let memory = gateway.as_ref().and_then(|gateway| gateway.memory);
    let fog = fog::read(
        &root,
        base,
        &field.buses,
        &mut field.points,
        memory.or(options.memory),
    );
    if let (Some(gateway), Some(wanted)) = (&mut gateway, gnss) {
        gateway.gnss = time_point(&wanted, &field.points, root.notes());
    }
    let uplinks = root.named(&UPLINK);
    if let Some((name, _)) = uplinks.get(1) {
        let message = "a second uplink";
        root.notes()
            .push(Problem::error(&name.place, message, "one [uplink.…]"));
    }
    let mut uplink = None;
    for (name, table) in uplinks {
        uplink = settings::read_uplink(&name, &table, base).or(uplink);
        table.finish();
    }
    // What filters and privacy hold back is lost with the open batch: it counts into the loss window.
    let batch_age = uplink
        .as_ref()
        .map_or(Duration::from_secs(10), |u| u.batch_offline)
        .saturating_add(fog.held);
    let spool = settings::read_spool(
        root.table(&SPOOL),
        &root,
        base,
        state_dir,
        memory.or(options.memory),
        batch_age,
    );
    let http = settings::read_http(root.table(&HTTP));
    let log = settings::read_log(root.table(&LOG));
    if field.points.is_empty() && !root.notes().has_errors() {
        let message = "nothing is read: no device has a point";
        let place: Place = root.place();
        root.notes().push(Problem::warning(
            &place,
            message,
            "a [bus.…] and a [device.…]",
        ));
    }
    root.finish();
    Some(GatewayConfig {
        gateway: gateway?,
        buses: field.buses,
        points: field.points,
        fog,
        spool,
        uplink,
        http,
        log,
    })
}

/// The point that carries the time: one of a device or computed, in whole milliseconds.
fn time_point(
    wanted: &Located<String>,
    points: &[PointConfig],
    notes: &Notes<'_>,
) -> Option<PointKey> {
    let name = |point: &PointConfig| {
        let named = &point.descriptor;
        format!("{}/{}", named.device, named.point)
    };
    let is_time = |point: &PointConfig| {
        let value_type = point.descriptor.value_type;
        matches!(value_type, ValueType::I64 | ValueType::U64)
    };
    let found = (0u32..)
        .zip(points)
        .find(|(_, point)| name(point) == wanted.value);
    match found {
        Some((key, point)) if is_time(point) => return Some(PointKey(key)),
        Some(_) => {
            let message = format!(
                "{} is no time: its values are not whole numbers",
                wanted.value
            );
            let allowed = "a point in milliseconds since 1970 UTC, such as RMC.utc";
            notes.push(Problem::error(&wanted.place, message, allowed));
        }
        None => {
            let message = format!("there is no point {:?}", wanted.value);
            let names: Vec<String> = points.iter().filter(|p| is_time(p)).map(name).collect();
            let problem = Problem::error(&wanted.place, message, "device/point of a whole number");
            notes.push(problem.suggest(&wanted.value, names.iter().map(String::as_str)));
        }
    }
    None
}
