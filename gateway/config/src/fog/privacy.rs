//! `[privacy.NAME]`: what of points may leave the site, and in what form.
//!
//! Rules, all checked when the configuration is read:
//! - A selector that names no point is refused: a misspelt policy protects nothing.
//! - What is computed from a private point is private until somebody decides: it must be in a policy
//!   itself, be named in `open`, or be an aggregate that `aggregate_only` lets out.
//! - An aggregate lets out nothing of a single reading: no `last`, no extremes, no sliding windows.
//! - Where the key of a pseudonym cannot be read, nothing of its points leaves.

mod computed;
mod keys;

pub(crate) use keys::POLICIES;

use crate::fog::derive;
use crate::fog::names::Catalogue;
use crate::fog::window::Windows;
use crate::notes::Notes;
use crate::problem::Problem;
use crate::settings::resolve;
use crate::source::{Located, Place};
use crate::walk::Table;
use gateway_privacy::{Grid, KEY_BYTES, PseudonymKey, Treatment};
use keys::{
    AGGREGATE_ONLY, CELL, DROP, LATITUDE, LONGITUDE, MATCH, MIN_GROUP, OPEN, PLACE, PSEUDONYMISE,
    ROTATE, ROUND, SECRET, TIME,
};
use protocols_model::PointKey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What of a private point leaves.
#[derive(Debug, Clone)]
pub enum Leaves {
    /// Nothing, not even its name. The text says why.
    Nothing(&'static str),
    /// Treated values.
    Treated {
        /// In this order.
        treatments: Vec<Treatment>,
        /// The latitude that belongs to a longitude.
        latitude: Option<PointKey>,
    },
}

/// All policies together.
#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) leaves: BTreeMap<PointKey, Leaves>,
    /// How long values may be held back.
    pub(super) held: BTreeMap<PointKey, Duration>,
    /// Points that only aggregates may tell of, and where that is written.
    groups: BTreeMap<PointKey, (u64, Place)>,
    open: BTreeSet<PointKey>,
    /// Points that tell when they were last found unchanged.
    signs: BTreeSet<PointKey>,
}

pub(super) fn read(
    root: &Table<'_>,
    base: &Path,
    catalogue: &Catalogue,
    windows: &mut Windows,
    derived: &[derive::Made],
    signs: BTreeSet<PointKey>,
) -> Policies {
    let notes = root.notes();
    let mut policies = Policies {
        signs,
        ..Policies::default()
    };
    for (name, table) in root.named(&POLICIES) {
        policies.read_one(&name, table, base, catalogue);
    }
    policies.let_aggregates_out(catalogue, windows, notes);
    policies.keep_computed_in(catalogue, derived, windows, notes);
    policies
}

impl Policies {
    fn read_one(
        &mut self,
        name: &Located<String>,
        table: Table<'_>,
        base: &Path,
        catalogue: &Catalogue,
    ) {
        let notes = table.notes();
        if let Some(dropped) = table.get(&DROP) {
            for key in catalogue.matching_all(&dropped.value, notes) {
                self.withhold(key, "dropped");
            }
        }
        for (selector, step) in table.get(&ROUND).map_or_else(Vec::new, |found| found.value) {
            for key in catalogue.matching(&selector, notes) {
                self.treat(
                    key,
                    Treatment::Round(step),
                    &selector.place,
                    catalogue,
                    notes,
                );
            }
        }
        if let Some(table) = table.table(&PLACE) {
            self.read_place(table, catalogue);
        }
        if let Some(table) = table.table(&PSEUDONYMISE) {
            self.read_names(name, table, base, catalogue);
        }
        if let Some(table) = table.table(&AGGREGATE_ONLY) {
            let selectors = table.get(&MATCH);
            let least = u64::try_from(MIN_GROUP.value(table.get(&MIN_GROUP))).unwrap_or(u64::MAX);
            let place = table.place();
            table.finish();
            for key in selectors.map_or_else(BTreeSet::new, |found| {
                catalogue.matching_all(&found.value, notes)
            }) {
                self.withhold(key, "only in aggregates");
                let group = self.groups.entry(key).or_insert((0, place.clone()));
                group.0 = group.0.max(least);
            }
        }
        // Last of all: what waits for the end of its span is treated by then.
        for (selector, span) in table.get(&TIME).map_or_else(Vec::new, |found| found.value) {
            for key in catalogue.matching(&selector, notes) {
                self.treat(
                    key,
                    Treatment::Time(span),
                    &selector.place,
                    catalogue,
                    notes,
                );
                let held = self.held.entry(key).or_default();
                *held = (*held).max(span);
            }
        }
        if let Some(open) = table.get(&OPEN) {
            self.open.extend(catalogue.matching_all(&open.value, notes));
        }
        if [
            table.has(&DROP),
            table.has(&ROUND),
            table.has(&TIME),
            table.has(&PLACE),
            table.has(&PSEUDONYMISE),
            table.has(&AGGREGATE_ONLY),
            table.has(&OPEN),
        ]
        .iter()
        .all(|said| !said)
        {
            let message = format!("policy {} names no point", name.value);
            let allowed = "drop, round, time, place, pseudonymise, aggregate_only";
            notes.push(Problem::error(&name.place, message, allowed));
        }
        table.finish();
    }

    fn read_place(&mut self, table: Table<'_>, catalogue: &Catalogue) {
        let notes = table.notes();
        let (latitude, longitude) = (table.get(&LATITUDE), table.get(&LONGITUDE));
        let cell = table.get(&CELL);
        table.finish();
        let (Some(latitude), Some(longitude), Some(cell)) = (latitude, longitude, cell) else {
            return;
        };
        let keys = (
            catalogue.point(&latitude, notes),
            catalogue.point(&longitude, notes),
        );
        let (Some(lat), Some(lon)) = keys else { return };
        let Some(grid) = Grid::new(cell.value) else {
            return;
        };
        if lat == lon {
            let message = "latitude and longitude are one point";
            notes.push(Problem::error(&longitude.place, message, "two points"));
            return;
        }
        let known = (catalogue.get(lat), catalogue.get(lon));
        if let (Some(a), Some(b)) = known
            && (!a.about.is_read || !b.about.is_read)
        {
            let message = "a position needs points that are read";
            notes.push(Problem::error(
                &latitude.place,
                message,
                "points that are read",
            ));
            return;
        }
        self.treat(
            lat,
            Treatment::Latitude(grid),
            &latitude.place,
            catalogue,
            notes,
        );
        self.treat(
            lon,
            Treatment::Longitude(grid),
            &longitude.place,
            catalogue,
            notes,
        );
        if let Some(Leaves::Treated { latitude, .. }) = self.leaves.get_mut(&lon) {
            *latitude = Some(lat);
        }
    }

    fn read_names(
        &mut self,
        name: &Located<String>,
        table: Table<'_>,
        base: &Path,
        catalogue: &Catalogue,
    ) {
        let notes = table.notes();
        let (selectors, file) = (table.get(&MATCH), table.get(&SECRET));
        let rotate = table.get(&ROTATE).map(|rotate| rotate.value);
        table.finish();
        let (Some(selectors), Some(file)) = (selectors, file) else {
            return;
        };
        let key = secret(base, &file, notes)
            .and_then(|bytes| PseudonymKey::new(&bytes, &name.value, rotate).ok());
        for point in catalogue.matching_all(&selectors.value, notes) {
            match &key {
                Some(key) => {
                    let treatment = Treatment::Pseudonym(Box::new(key.clone()));
                    self.treat(point, treatment, &selectors.place, catalogue, notes);
                }
                None => self.withhold(point, "its key cannot be read"),
            }
        }
    }

    fn withhold(&mut self, key: PointKey, why: &'static str) {
        // Nothing is less than anything.
        if !matches!(self.leaves.get(&key), Some(Leaves::Nothing(_))) {
            self.leaves.insert(key, Leaves::Nothing(why));
        }
    }

    fn treat(
        &mut self,
        key: PointKey,
        treatment: Treatment,
        place: &Place,
        catalogue: &Catalogue,
        notes: &Notes<'_>,
    ) {
        let Some(known) = catalogue.get(key) else {
            return;
        };
        if let Err(error) = treatment.check(known.descriptor.value_type) {
            let message = format!("{}: {error}", known.name());
            let allowed = "points that it goes with";
            notes.push(Problem::error(place, message, allowed));
            return;
        }
        // A sign of life has a time of its own, and repeats a name that may have been changed since.
        if self.signs.contains(&key)
            && matches!(treatment, Treatment::Time(_) | Treatment::Pseudonym(_))
        {
            let message = format!(
                "a keep-alive of {} would tell when, or of whom, beside what this treatment hides",
                known.name()
            );
            notes.push(Problem::error(place, message, "points without keep_alive"));
            return;
        }
        let leaves = self.leaves.entry(key).or_insert(Leaves::Treated {
            treatments: Vec::new(),
            latitude: None,
        });
        if let Leaves::Treated { treatments, .. } = leaves {
            // Told in spans: the coarsest is what it is told in.
            if let (Treatment::Time(new), Some(Treatment::Time(old))) = (
                &treatment,
                treatments
                    .iter_mut()
                    .find(|held| matches!(held, Treatment::Time(_))),
            ) {
                *old = (*old).max(*new);
                return;
            }
            treatments.push(treatment);
        }
    }
}

/// The secret bytes in a file of hexadecimal digits.
fn secret(base: &Path, file: &Located<String>, notes: &Notes<'_>) -> Option<Vec<u8>> {
    let path = resolve(base, &file.value);
    let text = notes.read_secret(&path, &file.place)?;
    let digits = text.trim();
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES && digits.len() == 2 * KEY_BYTES);
    if bytes.is_none() {
        let message = format!("{} holds no key", path.display());
        let allowed = "64 hexadecimal digits: openssl rand -hex 32";
        notes.push_of_file(Problem::error(&file.place, message, allowed));
    }
    bytes
}
