//! `probe modbus`: which units are on a bus, and what the registers of one mean.

use super::block_on;
use super::direct::explain_port;
use super::value::number;
use crate::cli::find::ProbeModbusArgs;
use crate::console::{progress, say, warn};
use crate::exit::Exit;
use gateway_finder::decoding::{self, Candidate, Sample};
use gateway_finder::units;
use protocols_line::PortConfig;
use protocols_modbus::config::{Address, Space, Transport};
use protocols_modbus::{AskError, Session};
use serde_json::json;
use std::time::{Duration, Instant};

/// Registers read in one request of a range.
const CHUNK: u16 = 100;
/// What does not answer a scan in a fifth of a second is very slow; --timeout says otherwise.
const SCAN_TIMEOUT: Duration = Duration::from_millis(200);
/// The default of --timeout, which is meant for reading.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// An answer of a range that is lost or late is no news on a bus: it is asked for so often.
const ATTEMPTS: u32 = 3;

pub(crate) fn run(args: &ProbeModbusArgs) -> anyhow::Result<Exit> {
    let transport = args.bus.transport()?;
    block_on(async {
        check_free(&transport).await?;
        let mut session = Session::new(transport);
        match (args.unit, args.range) {
            (Some(unit), Some(range)) => look(args, &mut session, unit, range).await,
            _ => scan(args, &mut session).await,
        }
    })
}

/// Who has the port, before anything is tried.
async fn check_free(transport: &Transport) -> anyhow::Result<()> {
    let Transport::Rtu { path, line, .. } = transport else {
        return Ok(());
    };
    match protocols_line::open(&PortConfig::new(path, *line)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain_port(error)),
    }
}

/// How a unit answered.
struct Found {
    unit: u8,
    answer: String,
    took: Duration,
}

async fn scan(args: &ProbeModbusArgs, session: &mut Session) -> anyhow::Result<Exit> {
    let timeout = if args.bus.timeout == READ_TIMEOUT {
        SCAN_TIMEOUT
    } else {
        args.bus.timeout
    };
    let order = units::scan_order(args.units.0..=args.units.1);
    let what = (args.at.space, args.at.register, 1);
    let mut found = Vec::new();
    for (tried, unit) in order.iter().enumerate() {
        progress(tried, order.len(), &format!("units, {} found", found.len()));
        let begun = Instant::now();
        let answer = match session.read(*unit, what, timeout).await {
            Ok(words) => words
                .first()
                .map(|word| format!("{} reads {word}", args.at)),
            Err(AskError::Exception(code)) => {
                Some(format!("refuses {} (exception {code})", args.at))
            }
            Err(AskError::Open(error)) => {
                progress(order.len(), order.len(), "");
                return Err(AskError::Open(error).into());
            }
            Err(_) => None,
        };
        found.extend(answer.map(|answer| Found {
            unit: *unit,
            answer,
            took: begun.elapsed(),
        }));
    }
    progress(order.len(), order.len(), "");
    found.sort_by_key(|found| found.unit);
    let mut text = String::new();
    for Found { unit, answer, took } in &found {
        let ms = took.as_millis();
        text += &if args.json {
            format!(
                "{}\n",
                json!({ "unit": unit, "answer": answer, "milliseconds": ms })
            )
        } else {
            format!("unit {unit:3}  {answer}  ({ms} ms)\n")
        };
    }
    say(text);
    if found.is_empty() {
        warn(format_args!(
            "no unit of {}-{} answered within {timeout:?}; check wiring and --line, or try a longer --timeout\n",
            args.units.0, args.units.1
        ));
    }
    Ok(if found.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

async fn look(
    args: &ProbeModbusArgs,
    session: &mut Session,
    unit: u8,
    range: (Address, u16),
) -> anyhow::Result<Exit> {
    let mut samples = Vec::new();
    for time in 0..args.times.max(1) {
        if time > 0 {
            tokio::time::sleep(args.every).await;
        }
        samples.push(sample(session, unit, range, args.bus.timeout).await?);
    }
    // Places that were refused once are left out of all samples.
    let pieces = pieces(&samples);
    let mut shown: Vec<Candidate> = match args.expect {
        Some(expected) => pieces
            .iter()
            .flat_map(|samples| decoding::rank(samples, expected, args.most))
            .collect(),
        None => pieces
            .iter()
            .flat_map(|samples| decoding::side_by_side(samples))
            .collect(),
    };
    if args.expect.is_some() {
        decoding::sort(&mut shown);
        shown.truncate(args.most);
    }
    if args.json {
        say(as_json(&shown));
    } else {
        say(as_table(args, &shown));
    }
    let hit = args.expect.is_none() || shown.iter().any(Candidate::is_hit);
    if !hit {
        warn(
            "nothing in the range rounds to what the display shows; look at another range, at ir: and hr:, and while the display stands still\n",
        );
    }
    Ok(if hit { Exit::Done } else { Exit::Failed })
}

/// The registers of a range; `None` where the device refuses.
async fn sample(
    session: &mut Session,
    unit: u8,
    (from, count): (Address, u16),
    timeout: Duration,
) -> anyhow::Result<Vec<(Address, Option<u16>)>> {
    let mut words = Vec::new();
    let mut at = from.register;
    let mut left = count;
    while left > 0 {
        let chunk = left.min(CHUNK);
        match patiently(session, unit, (from.space, at, chunk), timeout).await {
            Ok(read) => words.extend(read.into_iter().map(Some)),
            Err(AskError::Exception(_)) => {
                // Somewhere in it is a hole: one by one tells where.
                for offset in 0..chunk {
                    let one = (from.space, at.saturating_add(offset), 1);
                    match patiently(session, unit, one, timeout).await {
                        Ok(read) => words.push(read.first().copied()),
                        Err(AskError::Exception(_)) => words.push(None),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        at = at.saturating_add(chunk);
        left -= chunk;
    }
    let place = |offset: u16| Address {
        register: from.register.saturating_add(offset),
        ..from
    };
    Ok((0..).map(place).zip(words).collect())
}

/// Asks again where an answer was lost or late.
async fn patiently(
    session: &mut Session,
    unit: u8,
    what: (Space, u16, u16),
    timeout: Duration,
) -> Result<Vec<u16>, AskError> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match session.read(unit, what, timeout).await {
            Err(AskError::Timeout | AskError::BadAnswer | AskError::Closed) if left > 0 => {}
            ended => return ended,
        }
    }
}

/// Runs of registers that were read every time, each with its samples.
fn pieces(samples: &[Vec<(Address, Option<u16>)>]) -> Vec<Vec<Sample>> {
    let Some(first) = samples.first() else {
        return Vec::new();
    };
    let read = |index: usize| {
        let words = samples.iter().map(|sample| sample.get(index)?.1);
        words.collect::<Option<Vec<u16>>>()
    };
    let mut pieces: Vec<Vec<Sample>> = Vec::new();
    let mut open = false;
    for (index, (address, _)) in first.iter().enumerate() {
        let Some(words) = read(index) else {
            open = false;
            continue;
        };
        if !open {
            let empty = |_| Sample {
                space: address.space,
                start: address.register,
                words: Vec::new(),
            };
            pieces.push((0..samples.len()).map(empty).collect());
            open = true;
        }
        let last = pieces.last_mut().into_iter().flatten();
        for (sample, word) in last.zip(words) {
            sample.words.push(word);
        }
    }
    pieces
}

fn as_table(args: &ProbeModbusArgs, shown: &[Candidate]) -> String {
    let mut text = String::new();
    for candidate in shown {
        let values: Vec<_> = candidate
            .values
            .iter()
            .map(|value| value.map_or_else(|| "-".to_owned(), number))
            .collect();
        let mark = if candidate.is_hit() { "*" } else { " " };
        text += &format!(
            "{mark} {:<10} {:<6} {:<8} x{:<7} {}\n",
            candidate.address.to_string(),
            candidate.raw.to_string(),
            candidate.order_text(),
            candidate.scale,
            values.join("  ")
        );
    }
    if args.expect.is_some() && !shown.is_empty() {
        text += "\nfor the points of the device (the likeliest first; * rounds to what was expected):\n";
        for candidate in shown.iter().take(3) {
            text += &format!("  {}\n", candidate.line("value"));
        }
    }
    text
}

fn as_json(shown: &[Candidate]) -> String {
    let object = |candidate: &Candidate| {
        json!({
            "at": candidate.address.to_string(),
            "as": candidate.raw.to_string(),
            "order": candidate.order_text(),
            "scale": candidate.scale,
            "values": candidate.values,
            "hit": candidate.is_hit(),
            "line": candidate.line("value"),
        })
    };
    let lines: Vec<_> = shown
        .iter()
        .map(|candidate| format!("{}\n", object(candidate)))
        .collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_splits_a_range_in_two_and_no_value_spans_it() {
        let sample = |words: [Option<u16>; 5]| {
            let at = |i: u16| format!("hr:{}", 10 + i).parse::<Address>().unwrap();
            (0..).map(at).zip(words).collect::<Vec<_>>()
        };
        let samples = [
            sample([Some(1), Some(2), None, Some(4), Some(5)]),
            sample([Some(6), Some(7), Some(8), Some(9), Some(10)]),
        ];
        let pieces = pieces(&samples);
        let shape: Vec<_> = pieces
            .iter()
            .map(|samples| {
                let words: Vec<_> = samples.iter().map(|sample| sample.words.clone()).collect();
                (samples[0].start, words)
            })
            .collect();
        assert_eq!(
            shape,
            [
                (10, vec![vec![1, 2], vec![6, 7]]),
                (13, vec![vec![4, 5], vec![9, 10]])
            ]
        );
    }
}
