//! The thread between two devices: reads packets of each, and writes them to the other when their time has
//! come. Ends when its owner is dropped.

use crate::shape::{Direction, Passed, Shape};
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tun_rs::SyncDevice;

/// Largest packet of a device of ours; the MTU is 1500.
const MAX_PACKET: usize = 2048;
/// Packets read in one go, before due ones are looked at again.
const TURN: usize = 64;

type Both = [Direction; 2];

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    directions: Arc<Mutex<Both>>,
    /// Wakes the thread: something changed, or, once closed, it shall end.
    wake: Option<File>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts relaying between two devices.
    pub(crate) fn start(devices: [SyncDevice; 2], shape: Shape, seed: u64) -> anyhow::Result<Self> {
        for device in &devices {
            device
                .set_nonblocking(true)
                .context("preparing a device of the relay")?;
        }
        let directions = [0, 1].map(|n| Direction::new(shape, seed.wrapping_add(n)));
        let directions = Arc::new(Mutex::new(directions));
        let (woken, wake) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let shared = Arc::clone(&directions);
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || serve(&devices, &shared, &woken))?;
        Ok(Self {
            directions,
            wake: Some(wake.into()),
            thread: Some(thread),
        })
    }

    /// Changes one direction (0: from the first device to the second) or the other.
    pub(crate) fn set(&self, direction: usize, shape: Shape) {
        let mut both = lock(&self.directions);
        if let Some(direction) = both.get_mut(direction) {
            direction.set(shape);
        }
        drop(both);
        if let Some(mut wake) = self.wake.as_ref() {
            // A thread that has ended needs no waking.
            drop(wake.write_all(&[1]));
        }
    }

    /// What passed, by direction.
    pub(crate) fn passed(&self) -> [Passed; 2] {
        let both = lock(&self.directions);
        both.each_ref().map(Direction::passed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn lock(both: &Mutex<Both>) -> std::sync::MutexGuard<'_, Both> {
    both.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(devices: &[SyncDevice; 2], directions: &Mutex<Both>, woken: &OwnedFd) {
    let origin = Instant::now();
    let mut buffer = [0; MAX_PACKET];
    loop {
        let [first, second] = devices;
        let due = lock(directions).iter().filter_map(Direction::due).min();
        let wait = due.map(|due| due.saturating_sub(origin.elapsed()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut fds = [
            PollFd::new(woken, PollFlags::IN),
            PollFd::new(first, PollFlags::IN),
            PollFd::new(second, PollFlags::IN),
        ];
        if poll(&mut fds, wait.as_ref()).is_err() {
            continue;
        }
        let [wake, ..] = &fds;
        let revents = wake.revents();
        if revents.contains(PollFlags::HUP) && !revents.contains(PollFlags::IN) {
            return;
        }
        if revents.contains(PollFlags::IN) {
            let mut bytes = [0; 64];
            if matches!(rustix::io::read(woken, &mut bytes), Ok(0)) {
                return;
            }
        }
        forward(devices, directions, origin, &mut buffer);
    }
}

fn forward(
    devices: &[SyncDevice; 2],
    directions: &Mutex<Both>,
    origin: Instant,
    buffer: &mut [u8],
) {
    let [first, second] = devices;
    for (place, (from, to)) in [(first, second), (second, first)].into_iter().enumerate() {
        for _ in 0..TURN {
            // Nothing more to read, or the device has gone with its namespace.
            let Ok(len) = from.recv(buffer) else { break };
            let packet = buffer.get(..len).unwrap_or_default();
            if let Some(direction) = lock(directions).get_mut(place) {
                direction.offer(origin.elapsed(), packet);
            }
        }
        loop {
            let now: Duration = origin.elapsed();
            let packet = lock(directions)
                .get_mut(place)
                .and_then(|direction| direction.take(now));
            let Some(packet) = packet else { break };
            // A device that is down loses its packets, as a cable that is pulled does.
            drop(to.send(&packet));
        }
    }
}
