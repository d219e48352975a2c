//! Making claims: losses of single records in, as few ledger entries as fit out.
//!
//! Pure. Losses of one epoch, lane and reason whose seqs follow each other become one claim with
//! per-point counts. A claim counts exactly the records of its range, so that whoever finds some of
//! them stored after all can subtract those. Points that do not fit a record are left out, fewest
//! readings first; they stay in the claim's total.

use crate::record::Age;
use protocols_model::{
    Claim, DictionaryHash, Lane, LossReason, PointLoss, Seq, SeqRange, Timestamp,
};
use protocols_wire::{Body, EncodeError, Record, RecordStamp, RecordSummary, SealedRecord};
use std::collections::BTreeMap;

/// One lost record.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) age: Age,
    pub(crate) lane: Lane,
    pub(crate) seq: Seq,
    pub(crate) reason: LossReason,
    /// What it held; `None` when nobody can know any more.
    pub(crate) held: Option<(RecordSummary, Vec<PointLoss>)>,
}

/// The place of a record that another one stands for now: nothing is lost with it.
pub(crate) fn replaced(age: Age, lane: Lane, seq: Seq, at: Timestamp) -> Loss {
    let nothing = RecordSummary {
        first: at,
        last: at,
        ..RecordSummary::default()
    };
    Loss {
        age,
        lane,
        seq,
        reason: LossReason::Thinned,
        held: Some((nothing, Vec::new())),
    }
}

/// Joins losses into claims; `fallback` is the span for records of which nothing is known.
pub(crate) fn join(mut losses: Vec<Loss>, fallback: (Timestamp, Timestamp)) -> Vec<Claim> {
    losses.sort_by_key(|loss| (loss.age, loss.lane, loss.seq));
    let mut claims: Vec<Claim> = Vec::new();
    for loss in losses {
        let Some(claim) = single(loss, fallback) else {
            continue;
        };
        match claims.last_mut() {
            Some(last) if touches(last, &claim) => merge(last, claim),
            _ => claims.push(claim),
        }
    }
    claims
}

/// The claim of one lost record.
fn single(loss: Loss, fallback: (Timestamp, Timestamp)) -> Option<Claim> {
    let range = SeqRange::one(loss.seq)?;
    let (epoch, lane, reason) = (loss.age.epoch, loss.lane, loss.reason);
    Some(match loss.held {
        Some((summary, points)) => Claim {
            epoch,
            lane,
            range,
            reason,
            from: summary.first,
            to: summary.last,
            readings: Some(summary.readings),
            at_most: None,
            points,
        },
        None => Claim {
            epoch,
            lane,
            range,
            reason,
            from: fallback.0,
            to: fallback.1,
            readings: None,
            at_most: None,
            points: Vec::new(),
        },
    })
}

/// Whether `next` goes on where `claim` ends, about the same kind of loss.
fn touches(claim: &Claim, next: &Claim) -> bool {
    (claim.epoch, claim.lane, claim.reason) == (next.epoch, next.lane, next.reason)
        && claim.range.last().checked_add(1) == Some(next.range.first())
        && claim.readings.is_some() == next.readings.is_some()
}

/// Joins `next` into `claim`.
fn merge(claim: &mut Claim, next: Claim) {
    claim.range = SeqRange::new(claim.range.first(), next.range.last()).unwrap_or(claim.range);
    claim.from = claim.from.min(next.from);
    claim.to = claim.to.max(next.to);
    claim.readings = claim
        .readings
        .zip(next.readings)
        .map(|(a, b)| a.saturating_add(b));
    claim.at_most = claim
        .at_most
        .zip(next.at_most)
        .map(|(a, b)| a.saturating_add(b));
    let mut points: BTreeMap<(DictionaryHash, u32), (u64, u64)> = BTreeMap::new();
    for point in claim.points.drain(..).chain(next.points) {
        let sum = points.entry((point.dictionary, point.index)).or_default();
        sum.0 = sum.0.saturating_add(point.readings);
        sum.1 = sum.1.saturating_add(point.filtered);
    }
    claim.points = points
        .into_iter()
        .map(|((dictionary, index), (readings, filtered))| PointLoss {
            dictionary,
            index,
            readings,
            filtered,
        })
        .collect();
}

/// The claims for records of one epoch that became thinner ones: `lost` is what of them went. Which range
/// carries the counts says nothing: none of these records was ever sent, so none can turn out to be
/// stored (but by a copy of this spool elsewhere), and only the sum counts.
pub(crate) fn thinned(
    age: Age,
    lane: Lane,
    ranges: &[(Seq, Seq)],
    span: (Timestamp, Timestamp),
    lost: Vec<PointLoss>,
) -> Vec<Claim> {
    let claim = |&(first, last): &(Seq, Seq)| {
        Some(Claim {
            epoch: age.epoch,
            lane,
            range: SeqRange::new(first, last)?,
            reason: LossReason::Thinned,
            from: span.0,
            to: span.1,
            readings: Some(0),
            at_most: None,
            points: Vec::new(),
        })
    };
    let mut claims: Vec<Claim> = ranges.iter().filter_map(claim).collect();
    if let Some(carrier) = claims.iter_mut().max_by_key(|claim| claim.range.count()) {
        carrier.readings = Some(lost.iter().map(|point| point.readings).sum());
        carrier.points = lost;
    }
    claims
}

/// Gathers the counts of thinned records, epoch by epoch and lane by lane, in the claim on the longest
/// range: as exact as before in the sum (see [`thinned`]), and far smaller.
pub(crate) fn gather(claims: &mut [Claim]) {
    let gatherable =
        |claim: &Claim| claim.reason == LossReason::Thinned && claim.readings.is_some();
    claims.sort_by_key(|claim| (claim.epoch, claim.lane, claim.reason, claim.range.first()));
    for group in claims.chunk_by_mut(|a, b| {
        (a.epoch, a.lane, a.reason) == (b.epoch, b.lane, b.reason) && gatherable(a) && gatherable(b)
    }) {
        let longest = (0..group.len()).max_by_key(|&at| group.get(at).map(|c| c.range.count()));
        let Some(longest) = longest.filter(|_| group.len() > 1) else {
            continue;
        };
        group.swap(0, longest);
        let Some((carrier, others)) = group.split_first_mut() else {
            continue;
        };
        for other in others {
            let range = carrier.range;
            merge(carrier, other.clone());
            carrier.range = range;
            other.readings = Some(0);
            other.points = Vec::new();
        }
    }
}

/// Halves the claim for thinned records whose points do not fit one record (see [`thinned`]).
fn halve(claim: &mut Claim) -> Option<Claim> {
    let range = claim.range;
    if claim.reason != LossReason::Thinned || claim.points.len() < 2 || range.count() < 2 {
        return None;
    }
    let total = claim.readings?;
    let middle = range.first() + (range.last() - range.first()) / 2;
    let points = claim.points.split_off(claim.points.len() / 2);
    let later: u64 = points.iter().map(|point| point.readings).sum();
    let other = Claim {
        range: SeqRange::new(middle + 1, range.last())?,
        readings: Some(later.min(total)),
        points,
        ..claim.clone()
    };
    claim.range = SeqRange::new(range.first(), middle)?;
    claim.readings = Some(total.saturating_sub(later));
    Some(other)
}

/// Joins claims that touch; with `coarse`, also across gaps: then the count becomes an upper bound,
/// because what lies between was not lost here.
pub(crate) fn compact(mut claims: Vec<Claim>, coarse: bool) -> Vec<Claim> {
    claims.sort_by_key(|claim| (claim.epoch, claim.lane, claim.reason, claim.range.first()));
    let mut out: Vec<Claim> = Vec::new();
    for claim in claims {
        match out.last_mut() {
            Some(last) if touches(last, &claim) => merge(last, claim),
            Some(last)
                if coarse
                    && (last.epoch, last.lane, last.reason)
                        == (claim.epoch, claim.lane, claim.reason) =>
            {
                let bound = |c: &Claim| c.readings.or(c.at_most);
                let sum = bound(last)
                    .zip(bound(&claim))
                    .map(|(a, b)| a.saturating_add(b));
                let end = last.range.last().max(claim.range.last());
                last.range = SeqRange::new(last.range.first(), end).unwrap_or(last.range);
                last.from = last.from.min(claim.from);
                last.to = last.to.max(claim.to);
                last.readings = None;
                last.at_most = sum;
                last.points = Vec::new();
            }
            _ => out.push(claim),
        }
    }
    out
}

/// Seals claims as records, as few as they fit in.
pub(crate) fn seal(stamp: RecordStamp, claims: Vec<Claim>) -> Vec<(SealedRecord, Vec<Claim>)> {
    let mut sealed = Vec::new();
    let mut work = vec![claims];
    while let Some(mut part) = work.pop() {
        if part.is_empty() {
            continue;
        }
        let record = Record {
            stamp,
            body: Body::Claims(part.clone()),
        };
        match record.encode() {
            Ok(record) => sealed.push((record, part)),
            Err(EncodeError::TooLarge { .. }) if part.len() > 1 => {
                // The first half is worked on first: claims keep their order.
                let rest = part.split_off(part.len() / 2);
                work.push(rest);
                work.push(part);
            }
            Err(error) => {
                if let Some(other) = part.first_mut().and_then(halve) {
                    work.push(vec![other]);
                    work.push(part);
                    continue;
                }
                match part.first_mut().filter(|claim| !claim.points.is_empty()) {
                    Some(claim) => {
                        let points = &mut claim.points;
                        points.sort_by_key(|point| std::cmp::Reverse(point.readings));
                        points.truncate(points.len() / 2);
                        points.sort_by_key(|point| (point.dictionary, point.index));
                        work.push(part);
                    }
                    None => tracing::error!(%error, "a claim without points cannot be encoded"),
                }
            }
        }
    }
    sealed
}

/// The claims in a record; `None` when it holds none.
pub(crate) fn open(body: &[u8]) -> Option<Vec<Claim>> {
    match Record::decode(body).ok()?.body {
        Body::Claims(claims) => Some(claims),
        Body::Telemetry(_) | Body::Event(_) | Body::TimeMap(_) => None,
    }
}
