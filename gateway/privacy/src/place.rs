//! Places on a grid: a position is told as the middle of its cell.
//!
//! Cells are squares of at least a given width: a whole number of rows from pole to pole, and in each row
//! as many columns as its own circle has room for. Near the poles a row has one cell.

/// Metres of a degree of latitude, on a sphere of the earth's mean radius; a grid needs no ellipsoid.
const METRES_PER_DEGREE: f64 = 111_195.0;

/// A grid of square cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Height of a cell in degrees.
    degrees: f64,
}

impl Grid {
    /// Cells of this width in metres; at least one metre, at most a quarter of the earth.
    #[must_use]
    pub fn new(metres: f64) -> Option<Self> {
        let degrees = metres / METRES_PER_DEGREE;
        (metres >= 1.0 && degrees <= 90.0).then(|| Self {
            degrees: whole_part(180.0, degrees),
        })
    }

    /// The middle of the row that a latitude lies in; `None` for what is no latitude.
    #[must_use]
    pub fn latitude(self, latitude: f64) -> Option<f64> {
        if !(-90.0..=90.0).contains(&latitude) {
            return None;
        }
        Some(middle(latitude, -90.0, 90.0, self.degrees))
    }

    /// The middle of the cell that a longitude lies in, in the row of this latitude.
    #[must_use]
    pub fn longitude(self, longitude: f64, latitude: f64) -> Option<f64> {
        if !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let row = self.latitude(latitude)?;
        // The edge of the row that lies nearer to a pole has the shorter circle; its cells must not be
        // narrower than asked.
        let edge = (row.abs() + self.degrees / 2.0).min(90.0);
        let width = self.degrees / edge.to_radians().cos().max(1e-9);
        if width >= 180.0 {
            return Some(0.0);
        }
        Some(middle(longitude, -180.0, 180.0, whole_part(360.0, width)))
    }
}

/// The narrowest width of at least `least` that divides `all` evenly: no cell at a seam is narrower.
fn whole_part(all: f64, least: f64) -> f64 {
    all / (all / least).floor().max(1.0)
}

/// The middle of the step of [low, high] that `x` lies in; `high` itself lies in the last one.
fn middle(x: f64, low: f64, high: f64, step: f64) -> f64 {
    let last = ((high - low) / step).round() - 1.0;
    let place = ((x - low) / step).floor().min(last);
    low + place.mul_add(step, step / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_position_has_no_cell() {
        let grid = Grid::new(1000.0).unwrap();
        assert_eq!(grid.latitude(91.0), None);
        assert_eq!(grid.longitude(181.0, 0.0), None);
        assert_eq!(grid.longitude(0.0, f64::NAN), None);
        assert_eq!(Grid::new(0.0), None);
        assert_eq!(Grid::new(2e7), None);
    }

    proptest! {
        #[test]
        fn all_positions_of_a_cell_are_told_alike_and_near(
            lat in -90.0f64..90.0, lon in -180.0f64..180.0, metres in 10.0f64..100_000.0,
        ) {
            let grid = Grid::new(metres).unwrap();
            let (row, column) = (grid.latitude(lat).unwrap(), grid.longitude(lon, lat).unwrap());
            let height = grid.degrees;
            prop_assert!(height >= metres / METRES_PER_DEGREE - 1e-12);
            prop_assert!((row - lat).abs() <= height / 2.0 + 1e-9);
            // Told again, a told position stays: nothing is learned from a second look.
            prop_assert!((grid.latitude(row).unwrap() - row).abs() < 1e-6);
            // A cell is nowhere narrower than asked: half of it to each side is told alike.
            let reach = 0.49 * metres / (METRES_PER_DEGREE * lat.to_radians().cos().max(1e-9));
            for side in [column - reach, column + reach] {
                if (-180.0..=180.0).contains(&side) {
                    prop_assert!((grid.longitude(side, lat).unwrap() - column).abs() < 1e-9);
                }
            }
        }
    }
}
