//! The cloud's store was replaced by an older one: what it forgot must not go unsaid (design.md C8).
//!
//! The spool remembers in the small file which store generation its settlements came from. Another one
//! was restored from a backup; of everything let go since that backup nothing can be offered again, and
//! nobody here knows when it was made. So all that is not held is claimed: the cloud strikes what it has.
//! The new generation is only noted together with a commit that holds these claims, so a crash in between
//! makes them again. Epochs that were done with lately are claimed too, as long as the cloud keeps theirs.

use super::{Core, Now};
use crate::tally::Closed;
use protocols_model::seq::SEQ_MAX;
use protocols_model::{Claim, Lane, LossReason, SeqRange};
use std::time::Duration;

/// The cloud keeps the cursors of a closed epoch for a year; of an older one it could strike nothing.
const CLAIMED_FOR: Duration = Duration::from_secs(300 * 24 * 3600);

impl Core {
    /// The cloud settles in the store of this generation.
    pub(crate) fn store_generation(&mut self, generation: u64, now: Now) {
        let Some(before) = self.generation.replace(generation) else {
            // The first one ever: nothing was let go that another could lack.
            self.generation_noted = Some(generation);
            self.tally_due = true;
            return;
        };
        if before == generation {
            return;
        }
        let mut claims = self.claim_all_gaps(LossReason::CloudRestored, now);
        for claim in &mut claims {
            if claim.epoch == self.current.epoch {
                claim.to = claim.to.max(now.wall);
            }
        }
        for closed in &self.closed {
            if now.wall.since(closed.to) < CLAIMED_FOR {
                claims.extend(whole(closed));
            }
        }
        tracing::warn!(
            claims = claims.len(),
            "the cloud's store was restored from a backup: claiming what is held here no more"
        );
        self.claim(claims, now);
        self.commit(now, false);
    }
}

/// The claims for all of an epoch that is done with.
fn whole(closed: &Closed) -> impl Iterator<Item = Claim> {
    Lane::ALL
        .into_iter()
        .zip(closed.last)
        .filter_map(|(lane, last)| {
            // The claim for a crash tail may be among what is lost.
            let last = if closed.clean { last } else { SEQ_MAX };
            Some(Claim {
                epoch: closed.epoch,
                lane,
                range: SeqRange::new(1, last)?,
                reason: LossReason::CloudRestored,
                from: closed.from,
                to: closed.to.max(closed.from),
                readings: None,
                at_most: None,
                points: Vec::new(),
            })
        })
}
