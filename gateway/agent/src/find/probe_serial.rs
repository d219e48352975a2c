//! `probe serial`: what comes from a line, raw and in frames, and what it probably is.

use super::block_on;
use super::direct::explain_port;
use super::value::hex;
use crate::cli::find::ProbeSerialArgs;
use crate::console::{progress, say, warn};
use crate::exit::Exit;
use gateway_finder::framing::{self, Chunk, Guess};
use gateway_finder::rate::{self, Score};
use protocols_line::{LineSettings, PortConfig};
use protocols_model::{Clock, SystemClock};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that are kept of one capture.
const MOST_BYTES: usize = 64 * 1024;
/// Bytes of the raw view.
const SHOWN_BYTES: usize = 256;
/// Bytes in a row of the raw view.
const ROW: usize = 16;
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Guesses that are shown.
const GUESSES: usize = 3;

pub(crate) fn run(args: &ProbeSerialArgs) -> anyhow::Result<Exit> {
    let lines = args.line.map_or_else(rate::lines, |line| vec![line]);
    let mut captures = Vec::new();
    for (done, line) in lines.iter().enumerate() {
        progress(done, lines.len(), &format!("listening at {line}"));
        let chunks = block_on(listen(args, *line))?;
        captures.push((rate::score(&chunks, *line), chunks));
    }
    progress(lines.len(), lines.len(), "");
    captures.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    let scores: Vec<Score> = captures.iter().map(|(score, _)| score.clone()).collect();
    let best = captures
        .into_iter()
        .next()
        .filter(|(score, _)| score.bytes > 0);
    let Some((score, chunks)) = best else {
        let hint = if args.send.is_some() {
            "nothing came, whatever was sent; check wiring, ground and the question"
        } else {
            "nothing came; a device that only answers needs --send"
        };
        warn(format_args!("{}: {hint}\n", args.port.display()));
        return Ok(Exit::Failed);
    };
    let guesses = framing::guess(&chunks, score.line, GUESSES);
    if args.json {
        say(format_args!("{}\n", as_json(args, &scores, &guesses)));
    } else {
        say(as_text(args, &scores, &chunks, &guesses));
    }
    Ok(Exit::Done)
}

/// What comes at one speed and format.
async fn listen(args: &ProbeSerialArgs, line: LineSettings) -> anyhow::Result<Vec<Chunk>> {
    let config = PortConfig::new(&args.port, line);
    let mut port = protocols_line::open(&config).await.map_err(explain_port)?;
    let clock = SystemClock::start();
    let mut chunks = Vec::new();
    let mut kept = 0;
    let mut buffer = [0; 1024];
    let end = tokio::time::Instant::now() + args.listen;
    let mut ask = tokio::time::interval(ASK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(end) => break,
            _ = ask.tick(), if args.send.is_some() => {
                let question = args.send.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
                port.write_all(question).await?;
            }
            read = port.read(&mut buffer) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                if bytes.is_empty() || kept + bytes.len() > MOST_BYTES {
                    break;
                }
                kept += bytes.len();
                chunks.push(Chunk { at: clock.monotonic(), bytes: bytes.to_vec() });
            }
        }
    }
    Ok(chunks)
}

fn as_text(
    args: &ProbeSerialArgs,
    scores: &[Score],
    chunks: &[Chunk],
    guesses: &[Guess],
) -> String {
    let mut text = String::new();
    if scores.len() > 1 {
        text += "speed and format, the likeliest first:\n";
        for score in scores.iter().filter(|score| score.bytes > 0).take(5) {
            let frame = score
                .frames
                .as_ref()
                .map_or("no frames", |guess| guess.frame.as_str());
            text += &format!(
                "  {:<12} {:>6} bytes, {:>3.0} % text, {frame}\n",
                score.line.to_string(),
                score.bytes,
                score.text * 100.0
            );
        }
    }
    let line = scores
        .first()
        .map(|score| score.line.to_string())
        .unwrap_or_default();
    text += &format!("\nwhat came at {line}:\n");
    text += &dump(chunks);
    let Some(best) = guesses.first() else {
        return text + "\nno framing fits: too little came, or the speed is wrong\n";
    };
    text += "\nframes, the likeliest first:\n";
    for guess in guesses {
        let check = guess
            .check
            .as_ref()
            .map_or(String::new(), |check| format!(", check = {check:?}"));
        text += &format!(
            "  frame = {:?}{check}  ({} frames, {:.0} % of the bytes)\n",
            guess.frame,
            guess.frames,
            guess.share * 100.0
        );
    }
    text += "\nthe last frames:\n";
    for example in &best.examples {
        text += &format!("  {}\n", readable(example));
    }
    text + &configuration(args, &line, best)
}

/// The lines for the configuration.
fn configuration(args: &ProbeSerialArgs, line: &str, best: &Guess) -> String {
    let parse = framing::parse_guess(&best.examples, &best.frame);
    let mut text = "\nfor the configuration:\n".to_owned();
    let name = protocols_line::stable_name(&args.port);
    let port = name.unwrap_or_else(|| args.port.clone());
    let quote = toml_text;
    text += &format!(
        "  [bus.line]\n  kind = \"serial\"\n  port = {}\n",
        quote(&port.display().to_string())
    );
    text += &format!(
        "  line = {}\n  frame = {}\n",
        quote(line),
        quote(&best.frame)
    );
    if let Some(check) = &best.check {
        text += &format!("  check = {}\n", quote(check));
    }
    if let Some(send) = &args.send {
        text += &format!("  ask = {}\n", quote(&send.to_string()));
    }
    text += &format!(
        "  parse = {}\n  [device.instrument]\n  bus = \"line\"\n  points = [\n",
        quote(&parse.parse)
    );
    for point in parse.points {
        text += &format!("    {point}\n");
    }
    text + "  ]\n"
}

/// A text as TOML writes it: literal where it can be, so that `\r` stays what the driver reads.
fn toml_text(text: &str) -> String {
    if text.contains('\'') || text.chars().any(char::is_control) {
        format!("{text:?}")
    } else {
        format!("'{text}'")
    }
}

/// The raw view: hexadecimal digits and text side by side.
fn dump(chunks: &[Chunk]) -> String {
    let bytes: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.iter().copied())
        .collect();
    let first = bytes
        .get(..SHOWN_BYTES.min(bytes.len()))
        .unwrap_or_default();
    let rows = first.chunks(ROW).enumerate().map(|(row, bytes)| {
        let at = row * ROW;
        let digits = hex(bytes);
        format!("  {at:04x}  {digits:<47}  {}\n", printable(bytes))
    });
    let mut text: String = rows.collect();
    if bytes.len() > SHOWN_BYTES {
        text += &format!("  … {} bytes more\n", bytes.len() - SHOWN_BYTES);
    }
    text
}

fn printable(bytes: &[u8]) -> String {
    let show = |byte: &u8| {
        if (b' '..=b'~').contains(byte) {
            char::from(*byte)
        } else {
            '.'
        }
    };
    bytes.iter().map(show).collect()
}

/// A frame as text where it is text, else as digits.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
            format!("{text:?}")
        }
        _ => hex(bytes),
    }
}

fn as_json(args: &ProbeSerialArgs, scores: &[Score], guesses: &[Guess]) -> serde_json::Value {
    let lines: Vec<_> = scores
        .iter()
        .map(|score| {
            json!({
                "line": score.line.to_string(), "bytes": score.bytes, "text": score.text, "score": score.score,
            })
        })
        .collect();
    let frames: Vec<_> = guesses
        .iter()
        .map(|guess| {
            let parse = framing::parse_guess(&guess.examples, &guess.frame);
            json!({
                "frame": guess.frame, "check": guess.check, "frames": guess.frames, "share": guess.share,
                "parse": parse.parse, "points": parse.points,
                "examples": guess.examples.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "port": args.port, "lines": lines, "frames": frames })
}
