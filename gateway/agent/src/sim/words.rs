//! Lines that switch faults: from standard input and from a Unix socket, one after the other.

use anyhow::Context as _;
use rustix::termios::{isatty, tcgetpgrp};
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Lines that may wait; each is a person's or a script's.
const WAITING: usize = 16;
/// Longest line that is taken.
const LONGEST: u64 = 4096;

/// One line, and who waits for the answer.
pub(super) struct Word {
    pub(super) line: String,
    answer: Option<oneshot::Sender<String>>,
}

impl Word {
    /// Answers whoever waits.
    pub(super) fn answer(self, text: String) {
        if let Some(answer) = self.answer {
            // Whoever asked is gone: nobody to tell.
            let _gone = answer.send(text);
        }
    }
}

/// Where lines come from. Dropping it removes the socket.
pub(super) struct Words {
    lines: mpsc::Receiver<Word>,
    /// Keeps the channel open when no source is left.
    _open: mpsc::Sender<Word>,
    socket: Option<PathBuf>,
}

impl Words {
    /// Begins to listen.
    pub(super) fn listen(socket: Option<&Path>) -> anyhow::Result<Self> {
        let (sender, lines) = mpsc::channel(WAITING);
        if may_read() {
            let sender = sender.clone();
            // Reading standard input cannot be cancelled: a thread of its own, which nobody waits for.
            std::thread::Builder::new()
                .name("words".to_owned())
                .spawn(move || standard_input(&sender))?;
        }
        if let Some(path) = socket {
            let doing = || format!("listening on {}", path.display());
            // One that a killed simulator left behind.
            if std::os::unix::net::UnixStream::connect(path).is_err() && is_socket(path) {
                std::fs::remove_file(path).with_context(doing)?;
            }
            let listener = UnixListener::bind(path).with_context(doing)?;
            tokio::spawn(accept(listener, sender.clone()));
        }
        Ok(Self {
            lines,
            _open: sender,
            socket: socket.map(Path::to_owned),
        })
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> Word {
        match self.lines.recv().await {
            Some(word) => word,
            // Never: a sender is held here.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _gone_already = std::fs::remove_file(socket);
        }
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket())
}

/// Whether standard input may be read: a process in the background that reads its terminal is stopped.
fn may_read() -> bool {
    let input = std::io::stdin();
    if !isatty(&input) {
        return true;
    }
    tcgetpgrp(&input).is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}

fn standard_input(sender: &mpsc::Sender<Word>) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            return;
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.trim().is_empty() {
            continue;
        }
        let word = Word { line, answer: None };
        if sender.blocking_send(word).is_err() {
            return;
        }
    }
}

async fn accept(listener: UnixListener, sender: mpsc::Sender<Word>) {
    while let Ok((stream, _)) = listener.accept().await {
        let sender = sender.clone();
        tokio::spawn(async move {
            // A client that goes away ends its own connection.
            let _ended: std::io::Result<()> = connection(stream, &sender).await;
        });
    }
}

async fn connection(stream: UnixStream, sender: &mpsc::Sender<Word>) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        let read = (&mut input)
            .take(LONGEST)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let (answer, answered) = oneshot::channel();
        let answer = Some(answer);
        if sender.send(Word { line, answer }).await.is_err() {
            return Ok(());
        }
        let text = answered.await.unwrap_or_default();
        output
            .write_all(format!("{}\n", text.trim_end()).as_bytes())
            .await?;
    }
}
