//! The cursor of one (gateway, epoch, lane): what of it is settled (design.md C4).
//!
//! Pure. Settled means stored, lost or refused: it need not be sent again. Which of these it is,
//! the ledger knows: what stands in no ledger entry as lost is stored.

use protocols_model::{Lane, Seq, SeqRange, SeqSet};

/// Most ranges above the watermark that records may make.
const MAX_RANGES: usize = 64;

/// Most ranges that claims may make, and records of the lane that claims travel in. They get more
/// room than other records: a claim that waits for gaps to fill might wait for itself, and gaps of its
/// own lane (claims that were joined into it) are filled by nothing else.
const MAX_CLAIM_RANGES: usize = 1024;

/// What is settled of one (gateway, epoch, lane).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    covered: SeqSet,
}

impl Cursor {
    /// Everything settled.
    pub(crate) const fn covered(&self) -> &SeqSet {
        &self.covered
    }

    /// Whether a record with `seq` of `lane` may be taken: it would not make a range too many. Filling
    /// gaps is always possible.
    pub(crate) fn has_room(&self, lane: Lane, seq: Seq) -> bool {
        let most = match lane {
            Lane::Event => MAX_CLAIM_RANGES,
            Lane::Alarm | Lane::Telemetry | Lane::Bulk => MAX_RANGES,
        };
        self.with(seq..=seq)
            .is_some_and(|covered| above(&covered) <= most)
            || self.covered.contains(seq)
    }

    /// Covers one seq.
    pub(crate) fn cover(&mut self, range: SeqRange) {
        self.covered.insert(range);
    }

    /// Whether all of `ranges` may be claimed at once.
    pub(crate) fn has_room_for_claims(&self, ranges: impl IntoIterator<Item = SeqRange>) -> bool {
        let mut covered = self.covered.clone();
        for range in ranges {
            covered.insert(range);
        }
        above(&covered) <= MAX_CLAIM_RANGES
    }

    fn with(&self, seqs: std::ops::RangeInclusive<Seq>) -> Option<SeqSet> {
        let mut covered = self.covered.clone();
        covered.insert(SeqRange::new(*seqs.start(), *seqs.end())?);
        Some(covered)
    }

    /// The cursor as bytes: pairs of first and last.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        set_to_bytes(&self.covered)
    }

    /// The cursor of [`Cursor::to_bytes`]; `None` when the bytes are damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        set_from_bytes(bytes).map(|covered| Self { covered })
    }
}

/// Ranges above the watermark.
fn above(covered: &SeqSet) -> usize {
    covered.ranges().len() - usize::from(covered.watermark() > 0)
}

/// A set of seqs as bytes: pairs of first and last, little-endian.
pub(crate) fn set_to_bytes(set: &SeqSet) -> Vec<u8> {
    let pairs = set.ranges().iter();
    pairs
        .flat_map(|range| [range.first().to_le_bytes(), range.last().to_le_bytes()])
        .flatten()
        .collect()
}

/// The set of [`set_to_bytes`]; `None` when the bytes are damaged.
pub(crate) fn set_from_bytes(bytes: &[u8]) -> Option<SeqSet> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return None;
    }
    let range = |pair: &[u8; 16]| {
        let (first, last) = pair.split_first_chunk::<8>()?;
        let last = last.first_chunk::<8>()?;
        SeqRange::new(u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    };
    pairs.iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::seq::SEQ_MAX;

    #[test]
    fn the_65th_range_is_refused_and_filling_gaps_makes_room_again() {
        let mut cursor = Cursor::default();
        cursor.cover(SeqRange::one(1).unwrap());
        for n in 1..=64u64 {
            assert!(cursor.has_room(Lane::Telemetry, 1 + 2 * n));
            cursor.cover(SeqRange::one(1 + 2 * n).unwrap());
        }
        assert!(!cursor.has_room(Lane::Telemetry, 1000));
        assert!(
            cursor.has_room(Lane::Telemetry, 2),
            "a gap can always be filled"
        );
        assert!(
            cursor.has_room(Lane::Telemetry, 3),
            "what is covered already takes no room"
        );
        cursor.cover(SeqRange::one(2).unwrap());
        assert!(cursor.has_room(Lane::Telemetry, 1000));
        assert!(!cursor.has_room(Lane::Telemetry, 0), "0 names no record");
    }

    #[test]
    fn a_cursor_survives_its_bytes_and_damaged_ones_are_none() {
        let mut cursor = Cursor::default();
        cursor.cover(SeqRange::new(1, 7).unwrap());
        cursor.cover(SeqRange::new(9, SEQ_MAX).unwrap());
        let bytes = cursor.to_bytes();
        assert_eq!(Cursor::from_bytes(&bytes), Some(cursor));
        assert_eq!(Cursor::from_bytes(&bytes[..20]), None);
        assert_eq!(Cursor::from_bytes(&[0; 16]), None);
    }
}
