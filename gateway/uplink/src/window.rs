//! What is under way: the envelopes handed over whose records are not all settled.
//!
//! Pure. Three bounds hold at any time: bytes unsettled, envelopes unsettled, bytes without PUBACK
//! (the last one give or take a record). History may fill only a part of each, so that live data
//! never stands behind much of it, and cannot be pushed out either. PUBACKs are
//! paired first in, first out: the n-th `Outgoing::Publish(pkid)` belongs to the n-th envelope
//! handed over. An envelope that lost its connection keeps its place: whether it arrived is unknown
//! until the cloud says so, and a flapping link must not multiply what the broker has to keep.

use crate::rate::{self, Flight};
use protocols_model::{DictionaryHash, Epoch, Instant, Lane, SeqRange, SeqSet};
use protocols_wire::limits::{MAX_DICTIONARY_BYTES, MAX_RECORD_BYTES};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// One epoch of one lane: what a cursor in the cloud stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The process run that appended.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
}

/// Packet ids the client has for publishes; above every window, so a packet id is never wanted
/// again while its PUBACK is missing (rumqttc's collision).
pub const PACKET_IDS: u16 = 256;
/// How far the newest publish may be ahead of the oldest one without PUBACK: the packet ids less one
/// for the subscription and one to spare.
const MAX_AHEAD: u64 = PACKET_IDS as u64 - 2;

/// An envelope of one record and one dictionary fits into this.
pub const ONE_RECORD_BYTES: usize = MAX_RECORD_BYTES + MAX_DICTIONARY_BYTES + 1024;

/// How long an envelope may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What the link should carry at once; a record that does not fit may pass it.
    pub wanted: usize,
    /// What the window allows; nothing passes it.
    pub hard: usize,
}

#[derive(Debug, Default)]
struct Sum {
    envelopes: usize,
    bytes: usize,
}

/// Bounds of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Most bytes of unsettled envelopes.
    pub max_bytes: usize,
    /// Most unsettled envelopes.
    pub max_envelopes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024,
            max_envelopes: 64,
        }
    }
}

/// How far an envelope has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Handed to the link, no PUBACK yet.
    Sending,
    /// The broker has it, since then.
    Taken(Instant),
    /// Its connection ended before the PUBACK.
    Unsure,
}

/// An envelope under way.
#[derive(Debug, Clone)]
pub struct Open {
    /// Whose records it carries.
    pub stream: Stream,
    /// Those of them that are not settled.
    pub left: SeqSet,
    /// Size as published.
    pub bytes: usize,
    /// Whether it went as backlog.
    pub history: bool,
    /// When it was handed over.
    pub handed_at: Instant,
    /// How far it has come.
    pub phase: Phase,
    /// Dictionaries it carries.
    pub dictionaries: Vec<DictionaryHash>,
    /// For the rate sample of its PUBACK.
    pub sample: rate::Sent,
}

/// The link said it had sent a publish that nobody handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MQTT client reports a publish that was never handed to it")]
pub struct Unpaired;

/// The window.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    open: BTreeMap<u64, Open>,
    next: u64,
    /// Handed over on this connection and without PUBACK yet, settled or not; since when.
    awaiting: BTreeMap<u64, Instant>,
    handed: VecDeque<u64>,
    by_packet: HashMap<u16, u64>,
    bytes: usize,
    under_way: usize,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        Self {
            // Below this, history's share could not carry one record.
            limits: WindowLimits {
                max_bytes: limits.max_bytes.max(2 * ONE_RECORD_BYTES),
                max_envelopes: limits.max_envelopes.max(4),
            },
            open: BTreeMap::new(),
            next: 0,
            awaiting: BTreeMap::new(),
            handed: VecDeque::new(),
            by_packet: HashMap::new(),
            bytes: 0,
            under_way: 0,
        }
    }

    /// How long an envelope may be that is handed over now; `None` when none may.
    /// `link` is what the link should carry at once.
    #[must_use]
    pub fn room(&self, history: bool, link: Flight) -> Option<Room> {
        let oldest = self.awaiting.first_key_value();
        let ahead = oldest.map_or(0, |(ordinal, _)| self.next.saturating_sub(*ordinal));
        if self.open.len() >= self.limits.max_envelopes || ahead >= MAX_AHEAD {
            return None;
        }
        let mut hard = self.limits.max_bytes.saturating_sub(self.bytes);
        // Soft by one record: however slow the link, one may always follow another.
        let live = link.all.saturating_sub(self.under_way);
        let mut flight = if live > 0 {
            live.max(MAX_RECORD_BYTES + 1024)
        } else {
            0
        };
        if history {
            let own = self.sum(|open| open.history);
            if own.envelopes >= self.limits.max_envelopes / 4 * 3 {
                return None;
            }
            let share = self.limits.max_bytes / 4 * 3;
            hard = hard.min(share.min(link.unsettled).saturating_sub(own.bytes));
            // What live data may have to wait for. One record may pass it, so the next goes only when
            // at most half of it is under way, or when the line is about through with what is: on a
            // slow line two large ones never stand in line.
            let own = self.sum(|open| open.history && open.phase == Phase::Sending);
            let follows = link.is_through && own.bytes <= link.history + MAX_RECORD_BYTES;
            if own.bytes > link.history / 2 && !follows {
                return None;
            }
            let left = link.history.saturating_sub(own.bytes);
            flight = flight.min(if follows { left.max(1) } else { left });
        }
        (flight > 0 && hard >= ONE_RECORD_BYTES).then_some(Room {
            wanted: hard.min(flight),
            hard,
        })
    }

    fn sum(&self, which: impl Fn(&Open) -> bool) -> Sum {
        let which = self.open.values().filter(|open| which(open));
        which.fold(Sum::default(), |sum, open| Sum {
            envelopes: sum.envelopes + 1,
            bytes: sum.bytes + open.bytes,
        })
    }

    /// An envelope was handed to the link.
    pub fn hand(&mut self, open: Open) {
        self.bytes += open.bytes;
        self.under_way += open.bytes;
        self.awaiting.insert(self.next, open.handed_at);
        self.handed.push_back(self.next);
        self.open.insert(self.next, open);
        self.next += 1;
    }

    /// The link gave the next handed envelope this packet id.
    ///
    /// # Errors
    /// [`Unpaired`]: the pairing cannot be trusted any more, the connection has to go.
    pub fn paired(&mut self, packet: u16) -> Result<(), Unpaired> {
        let ordinal = self.handed.pop_front().ok_or(Unpaired)?;
        self.by_packet.insert(packet, ordinal);
        Ok(())
    }

    /// A PUBACK came. Returns the envelope's size and rate sample, and the unsettled records; `None`
    /// for a packet id that is not under way.
    pub fn taken(
        &mut self,
        packet: u16,
        now: Instant,
    ) -> Option<(Stream, SeqSet, usize, rate::Sent)> {
        let ordinal = self.by_packet.remove(&packet)?;
        self.awaiting.remove(&ordinal);
        // Settled before its PUBACK: the entry is gone, its bytes under way were given back then.
        let open = self.open.get_mut(&ordinal)?;
        open.phase = Phase::Taken(now);
        self.under_way = self.under_way.saturating_sub(open.bytes);
        Some((open.stream, open.left.clone(), open.bytes, open.sample))
    }

    /// The connection is gone: what had no PUBACK is unsure.
    pub fn disconnected(&mut self) {
        self.awaiting.clear();
        self.handed.clear();
        self.by_packet.clear();
        self.under_way = 0;
        for open in self.open.values_mut() {
            if open.phase == Phase::Sending {
                open.phase = Phase::Unsure;
            }
        }
    }

    /// Takes `seqs` out of the envelopes of `stream`; an envelope with nothing left closes. Returns
    /// the closed ones.
    pub fn take_out(&mut self, stream: Stream, seqs: &SeqSet) -> Vec<Open> {
        let mut closed = Vec::new();
        for (&ordinal, open) in &mut self.open {
            if open.stream == stream {
                seqs.ranges()
                    .iter()
                    .for_each(|&range| open.left.remove(range));
                if open.left.is_empty() {
                    closed.push(ordinal);
                }
            }
        }
        closed.into_iter().filter_map(|o| self.close(o)).collect()
    }

    /// Closes every envelope that `lost` accepts and returns it: its records have to be sent again.
    pub fn give_up(&mut self, mut lost: impl FnMut(&Open) -> bool) -> Vec<Open> {
        let ordinals: Vec<u64> = self
            .open
            .iter()
            .filter_map(|(&ordinal, open)| lost(open).then_some(ordinal))
            .collect();
        ordinals.into_iter().filter_map(|o| self.close(o)).collect()
    }

    fn close(&mut self, ordinal: u64) -> Option<Open> {
        let open = self.open.remove(&ordinal)?;
        self.bytes = self.bytes.saturating_sub(open.bytes);
        if open.phase == Phase::Sending {
            self.under_way = self.under_way.saturating_sub(open.bytes);
        }
        Some(open)
    }

    /// Since when the oldest publish waits for its PUBACK. A settled one counts too: its packet id is
    /// taken until the PUBACK comes.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.awaiting.first_key_value().map(|(_, &since)| since)
    }

    /// Since when the broker has the oldest envelope that is not settled.
    #[must_use]
    pub fn unsettled_since(&self) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|open| match open.phase {
                Phase::Taken(at) => Some(at),
                Phase::Sending | Phase::Unsure => None,
            })
            .min()
    }

    /// The envelopes under way, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Open> {
        self.open.values()
    }

    /// Bytes of unsettled envelopes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes without PUBACK.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Envelopes unsettled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Records unsettled.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.open.values().map(|open| open.left.count()).sum()
    }

    /// The seqs of `stream` that are under way.
    #[must_use]
    pub fn of(&self, stream: Stream) -> SeqSet {
        let mut all = SeqSet::new();
        for open in self.open.values().filter(|open| open.stream == stream) {
            all.union(&open.left);
        }
        all
    }
}

/// The set of one range.
#[must_use]
pub fn set_of(range: SeqRange) -> SeqSet {
    std::iter::once(range).collect()
}

#[cfg(test)]
mod tests;
