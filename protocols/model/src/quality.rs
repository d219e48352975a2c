//! Quality: whether a reading can be trusted, and if not, why. Missing data is a typed reason.

/// Why a reading is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The device did not answer in time.
    Timeout = 1,
    /// The line or connection to the device is down.
    LinkDown = 2,
    /// The device answered with an exception code.
    DeviceError = 3,
    /// The answer broke the protocol: wrong unit, wrong function, wrong length, bad checksum.
    BadAnswer = 4,
    /// The value lies outside the range that the configuration allows.
    OutOfRange = 5,
    /// The raw bytes do not form a value of the point's type.
    Undecodable = 6,
    /// The unit is known to be dead and was not asked (probe budget).
    NotAsked = 7,
    /// The wall clock was not known to be right when the reading was taken.
    ClockUnsynced = 8,
    /// The value repeats an older one.
    Stale = 9,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Timeout,
        Self::LinkDown,
        Self::DeviceError,
        Self::BadAnswer,
        Self::OutOfRange,
        Self::Undecodable,
        Self::NotAsked,
        Self::ClockUnsynced,
        Self::Stale,
    ];

    /// The reason's name in the API, exports and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::LinkDown => "link-down",
            Self::DeviceError => "device-error",
            Self::BadAnswer => "bad-answer",
            Self::OutOfRange => "out-of-range",
            Self::Undecodable => "undecodable",
            Self::NotAsked => "not-asked",
            Self::ClockUnsynced => "clock-unsynced",
            Self::Stale => "stale",
        }
    }
}

/// How far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Quality {
    /// As the device said it, in time.
    #[default]
    Good,
    /// There is a value, but something about it is doubtful.
    Uncertain(Reason),
    /// There is no trustworthy value.
    Bad(Reason),
}

const UNCERTAIN: u8 = 0x40;
const BAD: u8 = 0x80;

impl Quality {
    /// Number on the wire and on disk: 0 good, 0x40 + reason uncertain, 0x80 + reason bad.
    #[must_use]
    pub const fn to_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Uncertain(reason) => UNCERTAIN | reason as u8,
            Self::Bad(reason) => BAD | reason as u8,
        }
    }

    /// The quality with this number; `None` for numbers this version does not know.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        if code == 0 {
            return Some(Self::Good);
        }
        let reason = Reason::ALL.into_iter().find(|r| *r as u8 == code & 0x3f)?;
        match code & 0xc0 {
            UNCERTAIN => Some(Self::Uncertain(reason)),
            BAD => Some(Self::Bad(reason)),
            _ => None,
        }
    }

    /// Whether the reading is good.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }

    /// Whether there is no trustworthy value.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Bad(_))
    }

    /// `good`, `uncertain` or `bad`, for people and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain(_) => "uncertain",
            Self::Bad(_) => "bad",
        }
    }

    /// Why the reading is not good.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Good => None,
            Self::Uncertain(reason) | Self::Bad(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quality_survives_its_code_and_unknown_codes_are_none() {
        let mut known = 0;
        for code in 0..=u8::MAX {
            if let Some(quality) = Quality::from_code(code) {
                assert_eq!(quality.to_code(), code);
                known += 1;
            }
        }
        assert_eq!(known, 1 + 2 * Reason::ALL.len());
    }
}
