//! Words for alarms, shared by the gateway that raises them and the cloud that shows them.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum AlarmLevel {
    /// Worth knowing.
    Low = 1,
    /// Look at it today.
    Medium = 2,
    /// Look at it now.
    High = 3,
    /// Harm is near.
    Critical = 4,
}

impl AlarmLevel {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Number on the wire and in the database; never reassigned.
    #[must_use]
    pub const fn to_code(self) -> u8 {
        self as u8
    }

    /// The level with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == code)
    }

    /// Its name in configuration, API and exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where an alarm stands (after ISA-18.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum AlarmState {
    /// All is well.
    #[default]
    Normal = 0,
    /// Its cause is there, and nobody said they know.
    Raised = 1,
    /// Its cause is there, and somebody knows.
    Acknowledged = 2,
    /// Its cause is gone, and nobody said they know.
    Returned = 3,
}

impl AlarmState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Normal,
        Self::Raised,
        Self::Acknowledged,
        Self::Returned,
    ];

    /// Number on the wire and in the database; never reassigned.
    #[must_use]
    pub const fn to_code(self) -> u8 {
        self as u8
    }

    /// The state with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == code)
    }

    /// Its name in API and exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Raised => "raised",
            Self::Acknowledged => "acknowledged",
            Self::Returned => "returned",
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_its_number_and_unknown_numbers_are_none() {
        for code in 0..=u8::MAX {
            if let Some(level) = AlarmLevel::from_code(code) {
                assert_eq!(level.to_code(), code);
            }
            if let Some(state) = AlarmState::from_code(code) {
                assert_eq!(state.to_code(), code);
            }
        }
        assert_eq!(AlarmLevel::from_code(0), None);
        assert_eq!(AlarmState::from_code(0), Some(AlarmState::Normal));
    }
}
