//! The thread between devices: reads packets of each, and writes them to the one they are for when their
//! time has come. Ends when its owner is dropped.

use crate::shape::{Passed, Shape};
use crate::switch::Switch;
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tun_rs::SyncDevice;

/// Largest packet of a device of ours; the MTU is 1500.
const MAX_PACKET: usize = 2048;
/// Packets read in one go, before due ones are looked at again.
const TURN: usize = 64;

/// Devices and the hosts they belong to.
type Ports = Vec<(Ipv4Addr, Arc<SyncDevice>)>;

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Mutex<Shared>>,
    /// Wakes the thread: something changed, or, once closed, it shall end.
    wake: Option<File>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    switch: Switch,
    ports: Ports,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("ports", &self.ports.len())
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// Starts relaying between no devices yet.
    pub(crate) fn start(usual: Shape, seed: u64) -> anyhow::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            switch: Switch::new(usual, seed),
            ports: Vec::new(),
        }));
        let (woken, wake) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || serve(&ours, &woken))?;
        Ok(Self {
            shared,
            wake: Some(wake.into()),
            thread: Some(thread),
        })
    }

    /// A device joins.
    pub(crate) fn join(&self, address: Ipv4Addr, device: SyncDevice) -> anyhow::Result<()> {
        device
            .set_nonblocking(true)
            .context("preparing a device of the relay")?;
        let mut shared = lock(&self.shared);
        shared.switch.join(address);
        shared.ports.push((address, Arc::new(device)));
        drop(shared);
        self.wake();
        Ok(())
    }

    /// A device is plugged in, or its cable is pulled.
    pub(crate) fn plug(&self, address: Ipv4Addr, is_in: bool) {
        let switch = &mut lock(&self.shared).switch;
        if is_in {
            switch.join(address);
        } else {
            switch.leave(address);
        }
    }

    /// A device leaves for good.
    pub(crate) fn leave(&self, address: Ipv4Addr) {
        let mut shared = lock(&self.shared);
        shared.switch.leave(address);
        shared.ports.retain(|(known, _)| *known != address);
        drop(shared);
        self.wake();
    }

    /// Changes how one host reaches another.
    pub(crate) fn set(&self, from: Ipv4Addr, to: Ipv4Addr, shape: Shape) {
        lock(&self.shared).switch.set(from, to, shape);
        self.wake();
    }

    /// How one host reaches another.
    pub(crate) fn shape(&self, from: Ipv4Addr, to: Ipv4Addr) -> Shape {
        lock(&self.shared).switch.shape(from, to)
    }

    /// What passed from one host to another.
    pub(crate) fn passed(&self, from: Ipv4Addr, to: Ipv4Addr) -> Passed {
        lock(&self.shared).switch.passed(from, to)
    }

    fn wake(&self) {
        if let Some(mut wake) = self.wake.as_ref() {
            // A thread that has ended needs no waking.
            drop(wake.write_all(&[1]));
        }
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

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Mutex<Shared>, woken: &OwnedFd) {
    let origin = Instant::now();
    let mut buffer = [0; MAX_PACKET];
    let mut ports = lock(shared).ports.clone();
    loop {
        let due = lock(shared).switch.due();
        let wait = due.map(|due| due.saturating_sub(origin.elapsed()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let devices = ports.iter().map(|(_, device)| &**device);
        let mut fds: Vec<PollFd<'_>> = std::iter::once(PollFd::new(woken, PollFlags::IN))
            .chain(devices.map(|device| PollFd::new(device, PollFlags::IN)))
            .collect();
        if poll(&mut fds, wait.as_ref()).is_err() {
            continue;
        }
        let woke = fds.first().map_or(PollFlags::empty(), PollFd::revents);
        let ready: Vec<bool> = fds
            .iter()
            .skip(1)
            .map(|fd| !fd.revents().is_empty())
            .collect();
        if woke.contains(PollFlags::IN) {
            let mut bytes = [0; 64];
            if matches!(rustix::io::read(woken, &mut bytes), Ok(0)) {
                return;
            }
        } else if woke.contains(PollFlags::HUP) {
            return;
        }
        for ((from, device), _) in ports.iter().zip(ready).filter(|(_, ready)| *ready) {
            read(shared, *from, device, origin, &mut buffer);
        }
        write_due(shared, &ports, origin);
        if woke.contains(PollFlags::IN) {
            ports.clone_from(&lock(shared).ports);
        }
    }
}

fn read(
    shared: &Mutex<Shared>,
    from: Ipv4Addr,
    device: &SyncDevice,
    origin: Instant,
    buffer: &mut [u8],
) {
    for _ in 0..TURN {
        // Nothing more to read, or the device has gone with its namespace.
        let Ok(len) = device.recv(buffer) else { break };
        let packet = buffer.get(..len).unwrap_or_default();
        lock(shared).switch.offer(origin.elapsed(), from, packet);
    }
}

fn write_due(shared: &Mutex<Shared>, ports: &Ports, origin: Instant) {
    loop {
        let arrived = lock(shared).switch.take(origin.elapsed());
        let Some((to, packet)) = arrived else { break };
        let port = ports.iter().find(|(address, _)| *address == to);
        if let Some((_, device)) = port {
            // A device that is down loses its packets, as a cable that is pulled does.
            drop(device.send(&packet));
        }
    }
}
