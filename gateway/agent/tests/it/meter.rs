//! A tiny Modbus TCP device: answers function code 3 with registers that count the requests.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Meter {
    pub(crate) port: u16,
    answers: Arc<AtomicU64>,
}

impl Meter {
    /// Starts it; it lives as long as the test.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || serve(stream, &count));
            }
        });
        Self { port, answers }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, answers: &AtomicU64) {
    let mut request = [0u8; 12];
    while stream.read_exact(&mut request).is_ok() {
        let count = u16::from_be_bytes([request[10], request[11]]);
        let poll = answers.load(Ordering::Relaxed);
        let mut answer = request[..4].to_vec();
        let bytes = 2 * u8::try_from(count).unwrap();
        answer.extend(u16::from(bytes + 3).to_be_bytes());
        answer.extend([request[6], request[7], bytes]);
        for register in 0..u64::from(count) {
            let value = u16::try_from((poll + register) % 60_000).unwrap();
            answer.extend(value.to_be_bytes());
        }
        if stream.write_all(&answer).is_err() {
            return;
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
}
