//! What the machine knows of the time: network time services, the battery-backed clock, a GNSS receiver.
//!
//! Nobody asks the kernel here, which would need unsafe code; the services that set its clock are asked
//! instead: systemd-timesyncd leaves a file, chronyd and NTP servers answer on the loopback interface
//! (ports that only the system's own services can take). Any other service can be named by a file of its
//! own (`gateway.clock_file`); then it alone is believed. One small task looks; nothing waits for it, and a service that hangs costs
//! its second and no more.

mod chrony;
mod ntp;
mod rtc;

use crate::snapshot::{RtcReport, SourceReport, TimeReport};
use gateway_config::GatewayConfig;
use protocols_model::Clock;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// A service on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// What systemd-timesyncd leaves behind when it has set the clock.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";
/// Where the kernel shows its battery-backed clocks.
const RTC: &str = "/sys/class/rtc";
/// Longest answer of a service.
const ANSWER: usize = 512;

/// What was found at the last look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Time services that are there.
    pub(crate) services: Vec<SourceReport>,
    pub(crate) rtc: Option<RtcReport>,
}

impl Found {
    /// The first service that says that the wall clock is right.
    pub(crate) fn confirmed_by(&self) -> Option<&str> {
        let mut right = self.services.iter().filter(|service| service.right);
        right.next().map(|service| service.name.as_str())
    }

    /// Puts it into what is shown.
    pub(crate) fn tell(&self, report: &mut TimeReport) {
        report.confirmed_by = self.confirmed_by().map(str::to_owned);
        report.synced = report.confirmed_by.is_some();
        report.services.clone_from(&self.services);
        report.rtc.clone_from(&self.rtc);
    }
}

/// Begins to look. The first look is over when this returns.
pub(crate) async fn start(
    config: &GatewayConfig,
    clock: &Arc<dyn Clock>,
) -> (watch::Receiver<Found>, AbortOnDropHandle<()>) {
    let (clock_file, clock) = (config.gateway.clock_file.clone(), Arc::clone(clock));
    let (to, found) = watch::channel(look(clock_file.as_deref(), clock.as_ref()).await);
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let now = look(clock_file.as_deref(), clock.as_ref()).await;
            to.send_if_modified(|known| {
                let differs = *known != now;
                *known = now;
                differs
            });
        }
    });
    (found, AbortOnDropHandle::new(task))
}

async fn look(clock_file: Option<&Path>, clock: &dyn Clock) -> Found {
    let services = match clock_file {
        Some(path) => vec![of_file(&path.display().to_string(), path)],
        None => usual().await,
    };
    Found {
        services,
        rtc: rtc::look(Path::new(RTC), clock.wall()),
    }
}

/// The services that are found without being named.
async fn usual() -> Vec<SourceReport> {
    let timesyncd = Path::new(TIMESYNCD);
    let timesyncd = timesyncd
        .exists()
        .then(|| of_file("systemd-timesyncd", timesyncd));
    let (chrony, ntp) = tokio::join!(
        ask(chrony::PORT, chrony::request(), chrony::read),
        ask(ntp::PORT, ntp::request(), ntp::read),
    );
    // chronyd may serve NTP as well: it has said what it knows already.
    let ntp = ntp.filter(|_| chrony.is_none());
    [timesyncd, chrony, ntp].into_iter().flatten().collect()
}

/// A service that leaves a file where it has set the clock.
fn of_file(name: &str, path: &Path) -> SourceReport {
    let right = path.exists();
    SourceReport {
        name: name.to_owned(),
        right,
        state: if right { "the clock is set" } else { "not yet" }.to_owned(),
    }
}

/// Asks a service of this machine; nothing where none answers.
async fn ask(
    port: u16,
    request: Vec<u8>,
    read: impl Fn(&[u8]) -> Option<SourceReport>,
) -> Option<SourceReport> {
    let asked = async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
        // Connected: only that port's answers come in, and "nobody there" comes at once.
        socket
            .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .await
            .ok()?;
        socket.send(&request).await.ok()?;
        let mut answer = [0; ANSWER];
        let length = socket.recv(&mut answer).await.ok()?;
        read(answer.get(..length)?)
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::SystemClock;

    #[tokio::test]
    async fn a_file_of_another_time_service_confirms_the_clock_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("right");
        let clock = SystemClock::start();
        assert_eq!(look(Some(&path), &clock).await.confirmed_by(), None);
        std::fs::write(&path, "").unwrap();
        let found = look(Some(&path), &clock).await;
        assert_eq!(found.confirmed_by(), path.to_str());
        std::fs::remove_file(&path).unwrap();
        let mut report = TimeReport::default();
        look(Some(&path), &clock).await.tell(&mut report);
        assert_eq!((report.synced, report.services.len()), (false, 1));
    }

    #[tokio::test]
    async fn a_service_that_answers_nothing_or_nonsense_is_none() {
        let deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = deaf.local_addr().unwrap().port();
        assert_eq!(ask(port, ntp::request(), ntp::read).await, None);
        drop(deaf);
        assert_eq!(ask(port, ntp::request(), ntp::read).await, None);
        for nonsense in [&[][..], &[0; 4], &[0xff; 200]] {
            assert_eq!(chrony::read(nonsense), None);
        }
    }
}
