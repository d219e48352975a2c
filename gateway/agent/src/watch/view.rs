//! What the viewer wants to see, and what keys change of it. Pure.

use super::keys::Key;
use super::seen::Seen;
use crate::cli::watch::Pane;
use crate::control::Page;
use protocols_model::AlarmState;

/// Longest filter.
const FILTER_CHARS: usize = 60;

impl Pane {
    /// In the order of the keys 1 to 6.
    pub(super) const ALL: [Self; 6] = [
        Self::Points,
        Self::Buses,
        Self::Alarms,
        Self::Spool,
        Self::Uplink,
        Self::Time,
    ];

    fn next(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        let next = Self::ALL.get((at + by) % Self::ALL.len());
        next.copied().unwrap_or_default()
    }
}

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Draw what changed.
    Draw,
    /// Ask the gateway now: another page is wanted.
    Ask,
    /// Draw everything: the terminal may show something else.
    Redraw,
    /// Somebody knows of this alarm.
    Acknowledge(String),
    Quit,
}

/// The viewer's side.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) pane: Pane,
    pub(super) filter: String,
    /// The filter while it is typed.
    pub(super) typed: Option<String>,
    pub(super) trouble: bool,
    pub(super) help: bool,
    /// What came of the last thing that was done.
    pub(super) note: Option<String>,
    /// Rows that the pane has room for.
    pub(super) room: usize,
    /// The chosen row: of the list of alarms, or the first that is shown.
    at: usize,
}

impl View {
    pub(super) fn new(pane: Pane, filter: String, trouble: bool) -> Self {
        Self {
            pane,
            filter,
            trouble,
            room: 1,
            ..Self::default()
        }
    }

    /// The points that are on the screen.
    pub(super) fn page(&self) -> Page {
        let points = self.pane == Pane::Points;
        Page {
            filter: self.filter.clone(),
            trouble: self.trouble,
            from: if points { self.at } else { 0 },
            most: if points { self.room } else { 0 },
        }
    }

    /// The first row that is shown of `rows`.
    pub(super) fn first(&self, rows: usize) -> usize {
        let at = self.at.min(rows.saturating_sub(1));
        match self.pane {
            // The chosen alarm is always in sight.
            Pane::Alarms => at.saturating_sub(self.room.saturating_sub(1)),
            _ => at.min(rows.saturating_sub(self.room)),
        }
    }

    /// The alarm that the cursor is on.
    pub(super) fn chosen(&self, seen: &Seen) -> Option<usize> {
        let alarms = seen.now.as_ref()?.rules.alarms.len();
        (self.pane == Pane::Alarms && alarms > 0).then(|| self.at.min(alarms - 1))
    }

    /// After an answer: rows that are gone are not looked at any more. Whether to ask again.
    pub(super) fn settle(&mut self, seen: &Seen) -> bool {
        let fitting = seen.now.as_ref().map_or(0, |now| now.fitting);
        if self.pane != Pane::Points || self.at == 0 || self.at + self.room <= fitting {
            return false;
        }
        let at = fitting.saturating_sub(self.room);
        std::mem::replace(&mut self.at, at) != at
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: Key, seen: &Seen) -> Wish {
        self.note = None;
        if let Some(typed) = &mut self.typed {
            match key {
                Key::Char(c) if typed.chars().count() < FILTER_CHARS => typed.push(c),
                Key::Backspace => drop(typed.pop()),
                Key::Escape | Key::Interrupt => self.typed = None,
                Key::Enter => {
                    self.filter = self.typed.take().unwrap_or_default();
                    self.at = 0;
                    return Wish::Ask;
                }
                _ => {}
            }
            return Wish::Draw;
        }
        if std::mem::take(&mut self.help) && !matches!(key, Key::Char('q') | Key::Interrupt) {
            return Wish::Draw;
        }
        match key {
            Key::Char('q' | 'Q') | Key::Interrupt => return Wish::Quit,
            Key::Redraw => return Wish::Redraw,
            Key::Char('?' | 'h') => self.help = true,
            Key::Tab | Key::Right => return self.open(self.pane.next(1)),
            Key::BackTab | Key::Left => return self.open(self.pane.next(Pane::ALL.len() - 1)),
            Key::Char(digit @ '1'..='6') => {
                let place = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
                return self.open(Pane::ALL.get(place).copied().unwrap_or_default());
            }
            Key::Char('/') => {
                self.open(Pane::Points);
                self.typed = Some(self.filter.clone());
                return Wish::Ask;
            }
            Key::Char('t') => {
                self.open(Pane::Points);
                self.trouble = !self.trouble;
                return Wish::Ask;
            }
            Key::Escape if self.pane == Pane::Points => {
                (self.filter, self.trouble, self.at) = (String::new(), false, 0);
                return Wish::Ask;
            }
            Key::Char('a') => return self.acknowledge(seen),
            _ => return self.wander(key, seen),
        }
        Wish::Draw
    }

    fn open(&mut self, pane: Pane) -> Wish {
        (self.pane, self.at) = (pane, 0);
        Wish::Ask
    }

    fn acknowledge(&mut self, seen: &Seen) -> Wish {
        let alarms = seen.now.as_ref().map(|now| now.rules.alarms.as_slice());
        let chosen = self.chosen(seen).and_then(|at| alarms?.get(at));
        match chosen {
            Some(alarm) if matches!(alarm.state, AlarmState::Raised | AlarmState::Returned) => {
                Wish::Acknowledge(alarm.name.clone())
            }
            Some(alarm) => {
                self.note = Some(format!("{}: there is nothing to acknowledge", alarm.name));
                Wish::Draw
            }
            None => {
                let wish = self.open(Pane::Alarms);
                self.note = Some("choose an alarm with the arrows, then a".to_owned());
                wish
            }
        }
    }

    /// Moves within the pane; rows that the gateway has and we do not are asked for.
    fn wander(&mut self, key: Key, seen: &Seen) -> Wish {
        let rows = super::panes::rows(self, seen);
        let last = match self.pane {
            Pane::Alarms => rows.saturating_sub(1),
            _ => rows.saturating_sub(self.room),
        };
        let page = self.room.saturating_sub(1).max(1);
        let at = match key {
            Key::Up | Key::Char('k') => self.at.saturating_sub(1),
            Key::Down | Key::Char('j') => self.at + 1,
            Key::PageUp | Key::Char('b') => self.at.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => self.at + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => usize::MAX,
            _ => return Wish::Draw,
        };
        self.at = at.min(last);
        if self.pane == Pane::Points {
            Wish::Ask
        } else {
            Wish::Draw
        }
    }
}
