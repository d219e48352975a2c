//! A TCP link that can be broken: passes, cuts, stalls, swallows one direction (half-open), or lets
//! only so many bytes a second through. It counts what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the link does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    Passing,
    /// Open connections are reset, new ones refused.
    Cut,
    /// Connections stay open, nothing moves in either direction.
    Stalled,
    /// What the client sends passes, nothing comes back.
    HalfOpen,
    /// Each connection carries at most so many bytes a second in each direction; what is sent faster
    /// waits in the sender's socket, as it would in front of a slow radio.
    Slow {
        /// At least one.
        bytes_per_second: u32,
    },
}

impl Link {
    /// How long `bytes` take.
    fn takes(self, bytes: usize) -> Duration {
        match self {
            Self::Slow { bytes_per_second } => {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                Duration::from_secs(1)
                    .mul_f64(f64::from(bytes) / f64::from(bytes_per_second.max(1)))
            }
            Self::Passing | Self::Cut | Self::Stalled | Self::HalfOpen => Duration::ZERO,
        }
    }

    /// Most bytes taken from the sender at once: a slow link takes a tenth of a second's worth, so that
    /// little is under way in here.
    fn chunk(self) -> usize {
        match self {
            Self::Slow { bytes_per_second } => usize::try_from(bytes_per_second / 10)
                .unwrap_or(CHUNK)
                .clamp(1, CHUNK),
            Self::Passing | Self::Cut | Self::Stalled | Self::HalfOpen => CHUNK,
        }
    }
}

/// Bytes that a link has carried: the content of the TCP streams, headers below TCP not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// From clients.
    pub up: u64,
    /// To clients.
    pub down: u64,
}

#[derive(Debug, Default)]
struct Counters {
    up: AtomicU64,
    down: AtomicU64,
}

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    carried: Arc<Counters>,
    link: watch::Sender<Link>,
    stop: CancellationToken,
}

const CHUNK: usize = 16 * 1024;

impl Proxy {
    /// Listens on a free port of loopback and forwards to `target`.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (link, seen) = watch::channel(Link::Passing);
        let stop = CancellationToken::new();
        let carried = Arc::new(Counters::default());
        let counting = Arc::clone(&carried);
        tokio::spawn(accept(listener, target, seen, counting, stop.clone()));
        Ok(Self {
            address,
            target,
            carried,
            link,
            stop,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it forwards to.
    #[must_use]
    pub const fn target(&self) -> SocketAddr {
        self.target
    }

    /// What passed since the start, all connections together.
    #[must_use]
    pub fn carried(&self) -> Carried {
        Carried {
            up: self.carried.up.load(Ordering::Relaxed),
            down: self.carried.down.load(Ordering::Relaxed),
        }
    }

    /// Breaks or heals the link, open connections included.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    link: watch::Receiver<Link>,
    carried: Arc<Counters>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else { continue };
        if *link.borrow() == Link::Cut {
            continue;
        }
        let carried = Arc::clone(&carried);
        tokio::spawn(connection(
            client,
            target,
            link.clone(),
            carried,
            stop.clone(),
        ));
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    link: watch::Receiver<Link>,
    carried: Arc<Counters>,
    stop: CancellationToken,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // Dropping both streams at the end is what the ends see as a broken link.
    let both = Arc::new(stop.child_token());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(
        from_client,
        to_server,
        link.clone(),
        Arc::clone(&both),
        (&carried.up, false),
    );
    let counted = (&carried.down, true);
    let down = pump(from_server, to_client, link, both, counted);
    tokio::join!(up, down);
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    both: Arc<CancellationToken>,
    (carried, is_answer): (&AtomicU64, bool),
) {
    let mut buffer = vec![0u8; CHUNK];
    let mut free_at = Instant::now();
    loop {
        let now = *link.borrow_and_update();
        let blocked = now == Link::Stalled || (now == Link::HalfOpen && is_answer);
        if now == Link::Cut {
            break;
        }
        let chunk = now.chunk().min(buffer.len());
        let Some(room) = buffer.get_mut(..chunk) else {
            break;
        };
        let next = async {
            tokio::time::sleep_until(free_at).await;
            from.read(room).await
        };
        tokio::select! {
            biased;
            () = both.cancelled() => break,
            changed = link.changed() => if changed.is_err() { break },
            read = next, if !blocked => {
                let bytes = read.ok().and_then(|n| buffer.get(..n)).unwrap_or_default();
                free_at = Instant::now() + now.takes(bytes.len());
                // Before they leave: whoever has them finds them counted.
                carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                if bytes.is_empty() || to.write_all(bytes).await.is_err() {
                    break;
                }
            }
        }
    }
    both.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, within: Duration) -> Option<u8> {
        stream.write_all(b"x").await.ok()?;
        timeout(within, stream.read_u8()).await.ok()?.ok()
    }

    #[tokio::test]
    async fn a_link_passes_stalls_heals_and_is_cut() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(says(&mut stream, long).await, Some(b'x'));
        assert_eq!(proxy.carried(), Carried { up: 1, down: 1 });
        for blocked in [Link::Stalled, Link::HalfOpen] {
            proxy.set(blocked);
            assert_eq!(says(&mut stream, Duration::from_millis(300)).await, None);
            proxy.set(Link::Passing);
            assert_eq!(
                timeout(long, stream.read_u8()).await.unwrap().unwrap(),
                b'x'
            );
        }
        proxy.set(Link::Cut);
        assert!(timeout(long, stream.read_u8()).await.unwrap().is_err());
        proxy.set(Link::Passing);
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut again, long).await, Some(b'x'));
    }

    #[tokio::test]
    async fn a_slow_link_carries_so_many_bytes_a_second_and_can_still_be_cut() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        proxy.set(Link::Slow {
            bytes_per_second: 10_000,
        });
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let begun = Instant::now();
        stream.write_all(&[7; 10_000]).await.unwrap();
        let mut back = [0; 9_000];
        stream.read_exact(&mut back).await.unwrap();
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(700), "{took:?}");
        proxy.set(Link::Cut);
        let long = Duration::from_secs(60);
        let ended = async { while !matches!(stream.read(&mut back).await, Ok(0) | Err(_)) {} };
        timeout(long, ended).await.unwrap();
    }
}
