//! At which speed and format a line was listened to rightly.
//!
//! At a wrong speed the bits of characters are sampled in the wrong places: what comes is rich in 0x00,
//! 0xff and bytes with the high bit set, and nothing repeats. At the right one there is text, or frames
//! whose checksum fits. A capture is scored by the better of the two.

use crate::framing::{self, Chunk, Guess};
use protocols_line::LineSettings;

/// Speeds and formats that are tried, the usual ones first.
const LINES: [&str; 15] = [
    "9600 8N1",
    "19200 8E1",
    "115200 8N1",
    "19200 8N1",
    "4800 8N1",
    "38400 8N1",
    "57600 8N1",
    "2400 8N1",
    "9600 8E1",
    "9600 7E1",
    "1200 8N1",
    "4800 7E1",
    "2400 7E1",
    "9600 8N2",
    "230400 8N1",
];

/// The settings to try, in order.
#[must_use]
pub fn lines() -> Vec<LineSettings> {
    LINES.iter().filter_map(|line| line.parse().ok()).collect()
}

/// How right a setting looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The setting.
    pub line: LineSettings,
    /// Bytes that came.
    pub bytes: usize,
    /// Part of them that is printable text or an end of line, 0 to 1.
    pub text: f64,
    /// The best way to cut them into frames.
    pub frames: Option<Guess>,
    /// The rank: the greater, the better; 0 when nothing came.
    pub score: f64,
}

/// Scores what came at one setting.
#[must_use]
pub fn score(chunks: &[Chunk], line: LineSettings) -> Score {
    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    let part = |is: fn(u8) -> bool| {
        let count = chunks
            .iter()
            .flat_map(|chunk| &chunk.bytes)
            .filter(|byte| is(**byte))
            .count();
        ratio(count, bytes)
    };
    let text = part(|byte| (b' '..=b'~').contains(&byte) || matches!(byte, b'\r' | b'\n' | b'\t'));
    let torn = part(|byte| byte == 0 || byte >= 0xf0 || byte == 0x80);
    let frames = framing::guess(chunks, line, 1).into_iter().next();
    let framed = frames.as_ref().map_or(0.0, |guess| guess.score);
    let score = if bytes == 0 {
        0.0
    } else {
        2.0 * text + framed - torn
    };
    Score {
        line,
        bytes,
        text,
        frames,
        score: score.max(0.0),
    }
}

/// The scores, the best first.
#[must_use]
pub fn rank(mut scores: Vec<Score>) -> Vec<Score> {
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    scores
}

fn ratio(part: usize, all: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if all == 0 {
        0.0
    } else {
        number(part) / number(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::Instant;
    use std::time::Duration;

    fn capture(frames: &[Vec<u8>]) -> Vec<Chunk> {
        let at = |i: usize| Instant(Duration::from_millis(100 * (1 + i as u64)));
        let chunk = |(i, bytes): (usize, &Vec<u8>)| Chunk {
            at: at(i),
            bytes: bytes.clone(),
        };
        frames.iter().enumerate().map(chunk).collect()
    }

    #[test]
    fn every_setting_that_is_tried_is_one_and_none_is_tried_twice() {
        let lines = lines();
        assert_eq!(lines.len(), LINES.len());
        for (i, line) in lines.iter().enumerate() {
            assert!(!lines[..i].contains(line), "{line}");
        }
    }

    #[test]
    fn text_at_the_right_speed_goes_before_torn_bytes_and_silence() {
        let mut right = Vec::new();
        let mut wrong = Vec::new();
        for i in 0..20u8 {
            right.push(format!("weight {i:02}.5 kg\r\n").into_bytes());
            wrong.push(
                (0..17u8)
                    .map(|b| if b % 3 == 0 { 0 } else { 0xf0 | (b ^ i) })
                    .collect(),
            );
        }
        let [first, second, third] =
            ["9600 8N1", "19200 8E1", "4800 8N1"].map(|l| l.parse().unwrap());
        let ranked = rank(vec![
            score(&capture(&wrong), first),
            score(&[], second),
            score(&capture(&right), third),
        ]);
        assert_eq!(ranked[0].line, third);
        assert!(ranked[2].score <= 0.0);
        assert!(
            ranked[0]
                .frames
                .as_ref()
                .is_some_and(|guess| guess.frame == "line")
        );
    }
}
