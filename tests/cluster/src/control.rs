//! How a running cluster is told what to do: by its owner's task, or by another process over a socket in
//! the cluster's folder. One request, one answer, a line of JSON each.

use crate::status::Status;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that wait for the owner.
const WAITING: usize = 16;
/// The socket's name in the cluster's folder.
const SOCKET: &str = "control.sock";

/// What can be asked for. A name is that of a process, a host or a zone; `all` is every host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How everything is.
    Status,
    /// A process is killed, and started again by its supervisor; a host loses power, and stays off.
    Kill {
        /// Whom it hits.
        name: String,
    },
    /// A process, or everything on a host, stops where it stands.
    Pause {
        /// Whom it hits.
        name: String,
    },
    /// Packets from one to the other vanish.
    Cut {
        /// Hosts at one end.
        from: String,
        /// Hosts at the other.
        to: String,
        /// Not the other way round as well.
        one_way: bool,
    },
    /// Packets between the two arrive late, seldom or slowly.
    Slow {
        /// Hosts at one end.
        from: String,
        /// Hosts at the other.
        to: String,
        /// To each side, milliseconds.
        delay_ms: u64,
        /// Part of the packets that vanish, 0 to 1.
        loss: f64,
        /// Bits a second.
        rate: Option<u64>,
    },
    /// The disk of a host takes nothing more.
    Fill {
        /// Whom it hits.
        name: String,
    },
    /// What was done to somebody, or to everybody, is undone: power, pauses, links, disks.
    Heal {
        /// Whom it helps; everybody where nobody is named.
        name: Option<String>,
    },
    /// A process ends in order and stays away until it is healed.
    Drain {
        /// Which one.
        name: String,
    },
    /// A process ends in order; the binary of the same name in another folder takes its place.
    Upgrade {
        /// Which one.
        name: String,
        /// The folder.
        dir: PathBuf,
    },
    /// So many processes of a role, no more and no fewer.
    Scale {
        /// The role.
        role: String,
        /// How many.
        count: u8,
    },
    /// The broker's stream may hold so many bytes and no more, until ingest bounds it anew.
    BoundStream {
        /// How many.
        bytes: u64,
    },
    /// The broker's stream is deleted.
    DeleteStream,
    /// A consumer of ingest is deleted.
    DeleteConsumer,
    /// The simulated devices fall silent for good.
    Silence,
    /// The lives of the gateways are written down for the judge.
    KeepLives,
    /// Everything ends in order and is taken away.
    Down,
}

/// What comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done.
    Done(String),
    /// How everything is.
    Status(Box<Status>),
}

/// A request on its way to the owner.
pub type Ask = (Request, oneshot::Sender<anyhow::Result<Answer>>);

/// A way to a running cluster.
#[derive(Debug, Clone)]
pub enum Control {
    /// The owner is a task of this process.
    Here(mpsc::Sender<Ask>),
    /// The owner is another process; the socket's path.
    There(PathBuf),
}

impl Control {
    /// A way to a task of this process, and what that task listens to.
    #[must_use]
    pub fn here() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self::Here(sender), receiver)
    }

    /// The way to the cluster whose folder this is.
    #[must_use]
    pub fn there(dir: &Path) -> Self {
        Self::There(dir.join(SOCKET))
    }

    /// Asks.
    ///
    /// # Errors
    /// Where nobody is there, and what the owner says.
    pub async fn ask(&self, request: Request) -> anyhow::Result<Answer> {
        match self {
            Self::Here(sender) => {
                let (reply, answer) = oneshot::channel();
                let gone = "the cluster has ended";
                sender.send((request, reply)).await.context(gone)?;
                answer.await.context(gone)?
            }
            Self::There(path) => ask_over(path, &request).await,
        }
    }

    /// How everything is.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn status(&self) -> anyhow::Result<Status> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Done(words) => anyhow::bail!("no status but {words:?}"),
        }
    }
}

async fn ask_over(path: &Path, request: &Request) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(path).await;
    let mut stream = stream.context("no cluster runs here: `cargo xtask cluster up` starts one")?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let answer: Result<Answer, String> =
        serde_json::from_str(&answer).context("the cluster ended before it answered")?;
    answer.map_err(|error| anyhow::anyhow!(error))
}

/// Lets other processes ask, until `stop`.
///
/// # Errors
/// Where the socket cannot be made.
pub async fn listen(dir: &Path, control: Control, stop: CancellationToken) -> anyhow::Result<()> {
    let path = dir.join(SOCKET);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("making {}", path.display()))?;
    loop {
        let accepted = tokio::select! { biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            let control = control.clone();
            tokio::spawn(async move { serve(stream, &control).await });
        }
    }
    // Who looks for it finds nobody, and says so.
    Ok(std::fs::remove_file(path)?)
}

/// One question; whoever asked may have gone meanwhile.
async fn serve(mut stream: UnixStream, control: &Control) -> anyhow::Result<()> {
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => control.ask(request).await,
        Err(error) => Err(anyhow::Error::new(error).context("not a request")),
    };
    let answer = answer.map_err(|error| format!("{error:#}"));
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    Ok(stream.write_all(line.as_bytes()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_over_the_socket_reaches_the_owner_and_its_refusal_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (here, mut asks) = Control::here();
        let stop = CancellationToken::new();
        let folder = dir.path().to_owned();
        let listening = tokio::spawn({
            let stop = stop.clone();
            async move { listen(&folder, here, stop).await }
        });
        let owner = tokio::spawn(async move {
            let (request, reply) = asks.recv().await.unwrap();
            reply
                .send(Err(anyhow::anyhow!("there is no such host")))
                .unwrap();
            request
        });
        let there = Control::there(dir.path());
        let kill = Request::Kill { name: "x".into() };
        let limit = std::time::Duration::from_secs(60);
        let error = tests_harness::wait::wait_for("the socket", limit, async || {
            anyhow::ensure!(dir.path().join(SOCKET).exists());
            Ok(there.ask(kill.clone()).await.unwrap_err())
        });
        let error = error.await.unwrap();
        assert_eq!(error.to_string(), "there is no such host");
        assert_eq!(owner.await.unwrap(), kill);
        stop.cancel();
        listening.await.unwrap().unwrap();
        let gone = there.ask(Request::Status).await.unwrap_err();
        assert!(gone.to_string().contains("no cluster runs"), "{gone}");
    }
}
