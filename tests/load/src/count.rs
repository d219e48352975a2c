//! Counts in the database's raw export: every reading that was sent, once and no more.

use crate::batch;
use crate::identities;
use anyhow::Context as _;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// What the export said, against what was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Readings sent.
    pub(crate) sent: u64,
    /// Of these, found at least once.
    pub(crate) stored: u64,
    /// Of these, not found.
    pub(crate) lost: u64,
    /// Found again.
    pub(crate) duplicated: u64,
    /// Readings that nobody sent.
    pub(crate) foreign: u64,
}

/// Exports the readings of the installation whose configuration is `config` and counts them.
pub(crate) async fn count(
    cloud: &Path,
    config: &Path,
    batches: &[u64],
    points: u32,
) -> anyhow::Result<Counted> {
    let mut export = Command::new(cloud)
        .args(["export", "--readings", "--format", "csv", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting the export")?;
    let out = export.stdout.take().context("the export says nothing")?;
    let counted = count_lines(BufReader::new(out), batches, points).await?;
    let status = export.wait().await?;
    anyhow::ensure!(status.success(), "the export failed: {status}");
    Ok(counted)
}

/// `batches`: how many each gateway sent, in the order of their numbers.
async fn count_lines(
    mut lines: impl AsyncBufRead + Unpin,
    batches: &[u64],
    points: u32,
) -> anyhow::Result<Counted> {
    let width = usize::try_from(points)?;
    let mut seen: Vec<Vec<u8>> = Vec::with_capacity(batches.len());
    for &batches in batches {
        seen.push(vec![0; usize::try_from(batches)? * width]);
    }
    let mut counted = Counted::default();
    let mut line = String::new();
    lines.read_line(&mut line).await?;
    let wanted = ["gateway", "device", "point", "unit", "time_ns", "value"];
    let head: Vec<&str> = line.split(',').take(wanted.len()).collect();
    anyhow::ensure!(head == wanted, "an unknown export: {line}");
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            break;
        }
        let cell = place(&line, width).and_then(|(gateway, at)| seen.get_mut(gateway)?.get_mut(at));
        match cell {
            Some(times) if *times == 0 => *times = 1,
            Some(_) => counted.duplicated += 1,
            None => counted.foreign += 1,
        }
    }
    for gateway in &seen {
        counted.sent += gateway.len() as u64;
        counted.lost += gateway.iter().filter(|times| **times == 0).count() as u64;
    }
    counted.stored = counted.sent - counted.lost;
    Ok(counted)
}

/// Which gateway's which reading a line is; `None` for what is not of ours.
fn place(line: &str, points: usize) -> Option<(usize, usize)> {
    let mut cells = line.split(',');
    let gateway = identities::number(cells.next()?)?;
    let point = batch::point_number(cells.next()?, cells.next()?)?;
    let value: usize = cells.nth(2)?.parse().ok()?;
    let point = usize::try_from(point)
        .ok()
        .filter(|point| *point < points)?;
    Some((usize::try_from(gateway).ok()?, value * points + point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lost_doubled_and_foreign_readings_are_told_apart() {
        let export = "gateway,device,point,unit,time_ns,value,text\n\
                      load-00000,meter,p0,,1,0,\n\
                      load-00000,meter,p1,,1,0,\n\
                      load-00000,meter,p1,,1,0,\n\
                      load-00001,meter,p0,,1,0,\n\
                      load-00001,meter,p0,,2,1,\n\
                      load-00000,meter,p2,,1,0,\n\
                      plant-1,meter,p0,,1,0,\n";
        let counted = count_lines(export.as_bytes(), &[2, 1], 2).await.unwrap();
        let expected = Counted {
            sent: 6,
            stored: 3,
            lost: 3,
            duplicated: 1,
            foreign: 3,
        };
        assert_eq!(counted, expected);
    }
}
