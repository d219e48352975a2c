//! Which dictionaries the cloud has, as far as this process knows.
//!
//! Pure. A dictionary is attached to an envelope until the cloud is known to have it: a hello answer
//! did not miss it, or an envelope that carried it was settled. Being wrong is harmless in both
//! directions: a needless one costs bytes, a missing one comes back as "unknown dictionary".

use protocols_model::DictionaryHash;
use std::collections::HashMap;

/// Dictionaries remembered; beyond it everything is forgotten and attached once more.
const MAX_REMEMBERED: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The cloud has it.
    Known,
    /// It is under way in so many envelopes.
    Attached(u32),
    /// The cloud said that it lacks it.
    Missed,
}

/// What is known.
#[derive(Debug, Default)]
pub struct KnownDictionaries {
    states: HashMap<DictionaryHash, State>,
}

impl KnownDictionaries {
    /// Whether an envelope whose records use `hash` has to carry it.
    #[must_use]
    pub fn lacks(&self, hash: &DictionaryHash) -> bool {
        !matches!(
            self.states.get(hash),
            Some(State::Known | State::Attached(_))
        )
    }

    /// Whether the cloud said that it lacks `hash`, and it was not attached since.
    #[must_use]
    pub fn missed(&self, hash: &DictionaryHash) -> bool {
        self.states.get(hash) == Some(&State::Missed)
    }

    /// An envelope carries it.
    pub fn attached(&mut self, hash: DictionaryHash) {
        let count = match self.states.get(&hash) {
            Some(State::Known) => return,
            Some(State::Attached(count)) => count.saturating_add(1),
            Some(State::Missed) | None => 1,
        };
        self.set(hash, State::Attached(count));
    }

    /// The cloud has it.
    pub fn known(&mut self, hash: DictionaryHash) {
        self.set(hash, State::Known);
    }

    /// The cloud lacks it.
    pub fn unknown(&mut self, hash: DictionaryHash) {
        self.set(hash, State::Missed);
    }

    /// An envelope that carried it is given up.
    pub fn given_up(&mut self, hash: &DictionaryHash) {
        match self.states.get_mut(hash) {
            Some(State::Attached(count)) if *count > 1 => *count -= 1,
            Some(State::Attached(_)) => drop(self.states.remove(hash)),
            Some(State::Known | State::Missed) | None => {}
        }
    }

    /// Another store: nothing is known.
    pub fn forget(&mut self) {
        self.states.clear();
    }

    fn set(&mut self, hash: DictionaryHash, state: State) {
        if self.states.len() >= MAX_REMEMBERED && !self.states.contains_key(&hash) {
            self.states.clear();
        }
        self.states.insert(hash, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_attached_until_the_cloud_has_it_and_again_when_it_says_so() {
        let hash = DictionaryHash([1; 16]);
        let mut known = KnownDictionaries::default();
        assert!(known.lacks(&hash));
        known.attached(hash);
        assert!(!known.lacks(&hash), "under way");
        known.given_up(&hash);
        assert!(known.lacks(&hash), "its envelope was lost");
        known.attached(hash);
        known.known(hash);
        known.given_up(&hash);
        assert!(!known.lacks(&hash));
        known.unknown(hash);
        assert!(known.lacks(&hash) && known.missed(&hash));
        known.attached(hash);
        assert!(!known.missed(&hash));
        known.forget();
        assert!(known.lacks(&hash));
    }

    #[test]
    fn memory_stays_bounded_whatever_hashes_come() {
        let mut known = KnownDictionaries::default();
        for i in 0..20_000u64 {
            let mut hash = [0; 16];
            hash[..8].copy_from_slice(&i.to_le_bytes());
            known.unknown(DictionaryHash(hash));
        }
        assert!(known.states.len() <= MAX_REMEMBERED);
    }
}
