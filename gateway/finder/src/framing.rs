//! How a stream of bytes is cut into frames, and which checksum they carry.
//!
//! Every usual framing with every usual checksum is tried with the driver's own framer; what is
//! suggested is what the driver would do. A checksum counts as evidence: that it fits `n` frames by
//! accident has a chance of one in 2^(bits * n). A framing that takes anything (silence alone) counts
//! little.

use protocols_line::{LineSettings, PortConfig};
use protocols_model::Instant;
use protocols_serial::checksum::PRESETS;
use protocols_serial::config::{Bus, Checksum, Framing};
use protocols_serial::framer::{Event, Framer};
use std::collections::HashMap;
use std::time::Duration;

/// Bytes that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When.
    pub at: Instant,
    /// What.
    pub bytes: Vec<u8>,
}

/// One way to read the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// As the key `frame` says it.
    pub frame: String,
    /// As the key `check` says it.
    pub check: Option<String>,
    /// Frames that came out.
    pub frames: usize,
    /// Part of the bytes that are in frames or delimit them, 0 to 1.
    pub share: f64,
    /// The payloads of the last frames, at most [`EXAMPLES`].
    pub examples: Vec<Vec<u8>>,
    /// The rank: the greater, the better.
    pub score: f64,
}

/// Payloads kept for people.
pub const EXAMPLES: usize = 5;
/// Bytes that are looked at; more says nothing new.
const MOST_BYTES: usize = 16 * 1024;
/// Fewer frames than this are no pattern.
const FEWEST_FRAMES: usize = 3;
/// Lengths of fixed frames that are looked for.
const LONGEST_FIXED: usize = 64;
/// Framings that are tried on every stream, and how specific each is: what it must see to cut a frame.
const FRAMINGS: [(&str, f64); 11] = [
    ("nmea", 3.0),
    ("line", 2.0),
    ("start:\\x02 end:\\x03", 3.0),
    ("start:\\x02 end:\\x03 tail:1", 3.0),
    ("start:\\x02 end:\\r", 2.5),
    ("end:\\r", 1.5),
    ("end:\\x03", 1.0),
    ("slip", 1.5),
    ("cobs", 1.0),
    ("gap:20ms", 0.3),
    ("gap:50ms", 0.3),
];

/// Guesses at `chunks`, the best first, at most `most`. None when too little came.
#[must_use]
pub fn guess(chunks: &[Chunk], line: LineSettings, most: usize) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let fixed = fixed_framings(chunks);
    let named = FRAMINGS.map(|(frame, weight)| (frame.to_owned(), weight));
    for (frame, weight) in named.into_iter().chain(fixed) {
        let Ok(framing) = frame.parse::<Framing>() else {
            continue;
        };
        for check in checks(&frame) {
            let tried = attempt(chunks, line, &framing, check.as_deref());
            let Some((frames, share, examples)) = tried else {
                continue;
            };
            let bits = check.as_deref().map_or(0.0, bits_of);
            let many = f64::from(u32::try_from(frames).unwrap_or(u32::MAX)).min(20.0);
            // Evidence of a checksum: bits a frame, enough of them; the same share without it is worth less.
            let evidence = (bits * many / 40.0).min(4.0);
            let score = share * (weight + evidence + 0.02 * many);
            guesses.push(Guess {
                frame: frame.clone(),
                check,
                frames,
                share,
                examples,
                score,
            });
        }
    }
    guesses.sort_by(|a, b| b.score.total_cmp(&a.score));
    guesses.truncate(most);
    guesses
}

type Cut = (usize, f64, Vec<Vec<u8>>);

/// What the driver's framer makes of the stream.
fn attempt(
    chunks: &[Chunk],
    line: LineSettings,
    framing: &Framing,
    check: Option<&str>,
) -> Option<Cut> {
    let mut bus = Bus::new("probe", PortConfig::new("", line), framing.clone());
    match check {
        Some(check) => bus.checksum = Some(check.parse::<Checksum>().ok()?),
        // NMEA brings its own.
        None => bus.checksum = framing.default_checksum(),
    }
    let first = chunks.first()?;
    let mut framer = Framer::new(&bus, first.at);
    let mut events = Vec::new();
    let mut seen = 0;
    let mut last = first.at;
    for chunk in chunks {
        framer.tick(chunk.at, &mut events);
        framer.push(&chunk.bytes, chunk.at, &mut events);
        last = chunk.at;
        seen += chunk.bytes.len();
        if seen > MOST_BYTES {
            break;
        }
    }
    framer.tick(last.plus(Duration::from_secs(60)), &mut events);
    let (mut frames, mut framed, mut lost, mut examples) = (0usize, 0usize, 0usize, Vec::new());
    for event in events {
        match event {
            Event::Frame(frame) => {
                frames += 1;
                framed += frame.bytes().len();
                examples.push(frame.payload().to_vec());
            }
            Event::Lost { bytes, .. } => lost += bytes,
        }
    }
    if frames < FEWEST_FRAMES {
        return None;
    }
    // The first and the last frame of a capture are cut as a rule: that says nothing against a framing.
    let typical = framed / frames;
    let lost = lost.saturating_sub(2 * typical);
    let all = u32::try_from(framed + lost).ok().filter(|all| *all > 0)?;
    let share = f64::from(u32::try_from(framed).ok()?) / f64::from(all);
    let keep = examples.len().saturating_sub(EXAMPLES);
    Some((frames, share, examples.split_off(keep)))
}

/// Checksums that are tried with a framing; `None` first.
fn checks(frame: &str) -> Vec<Option<String>> {
    let mut checks = vec![None];
    if frame == "nmea" {
        return checks;
    }
    let text = frame == "line" || frame.starts_with("end:") || frame.starts_with("start:");
    for sum in ["xor8", "sum8", "sum8-neg", "sum8-not"] {
        checks.push(Some(sum.to_owned()));
        if text {
            checks.push(Some(format!("{sum} hex")));
            checks.push(Some(format!("{sum} hex after:*")));
        }
    }
    for (preset, params, _) in PRESETS {
        let orders: &[&str] = if params.width == 8 {
            &[""]
        } else {
            &[" le", " be"]
        };
        checks.extend(orders.iter().map(|order| Some(format!("{preset}{order}"))));
    }
    checks
}

/// Bits that a checksum vouches with.
fn bits_of(check: &str) -> f64 {
    let name = check.split(' ').next().unwrap_or(check);
    let preset = PRESETS.iter().find(|(preset, ..)| *preset == name);
    preset.map_or(8.0, |(_, params, _)| f64::from(params.width))
}

/// Frames of one length that begin alike: the commonest distance between equal pairs of bytes.
fn fixed_framings(chunks: &[Chunk]) -> Vec<(String, f64)> {
    let stream: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.iter().copied())
        .take(MOST_BYTES)
        .collect();
    let mut last: HashMap<[u8; 2], usize> = HashMap::new();
    let mut found: HashMap<([u8; 2], usize), usize> = HashMap::new();
    for (at, pair) in stream.windows(2).enumerate() {
        let Ok(pair) = <[u8; 2]>::try_from(pair) else {
            continue;
        };
        if let Some(before) = last.insert(pair, at) {
            let distance = at - before;
            if (4..=LONGEST_FIXED).contains(&distance) {
                *found.entry((pair, distance)).or_default() += 1;
            }
        }
    }
    let mut found: Vec<_> = found
        .into_iter()
        .filter(|(_, count)| *count >= FEWEST_FRAMES)
        .collect();
    found.sort_by_key(|((pair, distance), count)| (std::cmp::Reverse(*count), *distance, *pair));
    let fixed = found.into_iter().take(4).map(|(([a, b], distance), _)| {
        (format!("fixed:{distance} start:\\x{a:02x}\\x{b:02x}"), 1.2)
    });
    fixed.collect()
}

/// How payloads are probably taken apart: the key `parse` and lines for points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseGuess {
    /// As the key `parse` says it.
    pub parse: String,
    /// Lines for `points`.
    pub points: Vec<String>,
}

/// Guesses at the content of frames.
#[must_use]
pub fn parse_guess(payloads: &[Vec<u8>], frame: &str) -> ParseGuess {
    let texts: Vec<_> = payloads
        .iter()
        .filter_map(|payload| std::str::from_utf8(payload).ok())
        .map(str::trim)
        .collect();
    let guess = |parse: &str, points: Vec<String>| ParseGuess {
        parse: parse.to_owned(),
        points,
    };
    let point = |id: &str, field: &str| format!("{{ id = {id:?}, field = {field:?} }},");
    // What is no number must say so.
    let valued = |id: &str, field: &str, value: &str| {
        let number = value.trim().replace(' ', "").parse::<f64>().is_ok();
        let kind = if number { "" } else { ", as = \"text\"" };
        format!("{{ id = {id:?}, field = {field:?}{kind} }},")
    };
    let Some(text) = texts.last().filter(|_| texts.len() == payloads.len()) else {
        return guess("binary", vec![point("value", "u16be@0")]);
    };
    if frame == "nmea" {
        let points = vec![point("lat", "RMC.lat"), point("lon", "RMC.lon")];
        return guess("nmea", points);
    }
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) {
        let points = object
            .keys()
            .map(|key| point(&id_of(key), &format!("/{key}")));
        return guess("json", points.collect());
    }
    let pairs = [(',', '='), (';', '='), (' ', '='), (',', ':'), (';', ':')];
    let keys = pairs.into_iter().filter_map(|(pair, equals)| {
        let parts = text.split(pair).filter(|part| !part.trim().is_empty());
        let keys = parts.map(|part| part.split_once(equals));
        let keys: Vec<_> = keys.collect::<Option<_>>()?;
        (!keys.is_empty()).then_some((pair, equals, keys))
    });
    // What separates most says most.
    if let Some((pair, equals, keys)) = keys.max_by_key(|(_, _, keys)| keys.len()) {
        let points = keys
            .iter()
            .map(|(key, value)| valued(&id_of(key.trim()), key.trim(), value));
        return guess(&format!("keys:{pair}{equals}"), points.collect());
    }
    for separator in [';', ',', '\t'] {
        let columns = |text: &str| text.split(separator).count();
        let count = columns(text);
        if count > 1 && texts.iter().all(|text| columns(text) == count) {
            // Columns are counted from 1.
            let points = (1..)
                .zip(text.split(separator))
                .map(|(at, value): (usize, &str)| {
                    valued(&format!("column{at}"), &at.to_string(), value)
                });
            let separator = if separator == '\t' {
                "\\t".to_owned()
            } else {
                separator.to_string()
            };
            return guess(&format!("csv:{separator} *{count}"), points.collect());
        }
    }
    if text.chars().any(|c| c.is_ascii_digit()) {
        let pattern = "regex:.*?(?<value>[-+]? *[0-9]+(?:[.,][0-9]+)?).*";
        return guess(pattern, vec![point("value", "value")]);
    }
    guess("text", vec!["{ id = \"text\", as = \"text\" },".to_owned()])
}

/// A name that a point may have.
fn id_of(name: &str) -> String {
    let id: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(63)
        .collect();
    if id.is_empty() {
        "value".to_owned()
    } else {
        id
    }
}

#[cfg(test)]
mod tests;
