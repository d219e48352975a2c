//! The world on the bus: one task that owns it, its connection, and the name `org.bluez`.
//!
//! Each life of bluetoothd is a connection of its own: when it ends, the bus itself tells the clients (the
//! name has no owner, calls under way fail with `NoReply`), just as with a real daemon that died.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbus::Message;
use dbus::channel::{Channel, MatchingReceiver, Sender};
use dbus::message::MatchRule;
use dbus::nonblock::stdintf::org_freedesktop_dbus::RequestNameReply;
use dbus::nonblock::{MsgMatch, SyncConnection};
use protocols_model::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bluez::SimError;
use crate::message;
use crate::world::{CallId, Out, World};

/// Calls that may wait for the world: far more than clients have under way; more are refused.
const CALL_CAPACITY: usize = 4096;
/// Calls that may be without an answer at a time; the oldest are forgotten, and never answered.
const OPEN_CALLS: usize = 16_384;

/// Something done to the world from outside.
pub(crate) type Command = Box<dyn FnOnce(&mut World, protocols_model::Instant) + Send>;

/// What comes in over the bus.
enum Incoming {
    Call(Message),
    ClientLeft(String),
}

/// A daemon's time on the bus.
struct Life {
    connection: Arc<SyncConnection>,
    io: JoinHandle<()>,
    incoming: mpsc::Receiver<Incoming>,
    /// Kept: dropping it ends the watch for clients that leave.
    _watch: MsgMatch,
    open: BTreeMap<CallId, Message>,
    next: CallId,
}

impl Drop for Life {
    fn drop(&mut self) {
        // The task holds the other half of the connection: with it gone the socket closes.
        self.io.abort();
    }
}

impl Life {
    async fn begin(address: &str) -> Result<Self, SimError> {
        let failed = |source| SimError::Bus {
            address: address.to_owned(),
            source,
        };
        let mut channel = Channel::open_private(address).map_err(failed)?;
        channel.register().map_err(failed)?;
        let (resource, connection): (_, Arc<SyncConnection>) =
            dbus_tokio::connection::from_channel(channel).map_err(failed)?;
        let io = tokio::spawn(async move {
            let lost = resource.await;
            tracing::debug!(%lost, "the simulated bluetoothd lost its bus");
        });

        let (sender, incoming) = mpsc::channel(CALL_CAPACITY);
        let leaving = sender.clone();
        connection.start_receive(
            MatchRule::new_method_call(),
            Box::new(move |call, connection| {
                if let Err(mpsc::error::TrySendError::Full(Incoming::Call(call))) =
                    sender.try_send(Incoming::Call(call))
                {
                    connection.send(message::overload(&call)).ok();
                }
                true
            }),
        );
        let rule = MatchRule::new_signal("org.freedesktop.DBus", "NameOwnerChanged");
        let watch = connection.add_match(rule).await.map_err(failed)?.cb(
            move |_, (name, _, owner): (String, String, String)| {
                if owner.is_empty() && name.starts_with(':') {
                    // When the queue is full a session stays too long; its client is gone anyway.
                    leaving.try_send(Incoming::ClientLeft(name)).ok();
                }
                true
            },
        );
        let owner = connection
            .request_name("org.bluez", false, false, true)
            .await
            .map_err(failed)?;
        if !matches!(
            owner,
            RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner
        ) {
            return Err(SimError::NameTaken {
                address: address.to_owned(),
            });
        }
        Ok(Self {
            connection,
            io,
            incoming,
            _watch: watch,
            open: BTreeMap::new(),
            next: 0,
        })
    }

    /// Hands a message to the world.
    fn take(&mut self, world: &mut World, now: protocols_model::Instant, incoming: Incoming) {
        match incoming {
            Incoming::ClientLeft(client) => world.client_left(now, &client),
            Incoming::Call(message) => {
                self.next += 1;
                if let Some(call) = message::call(self.next, &message) {
                    if self.open.len() >= OPEN_CALLS {
                        self.open.pop_first();
                    }
                    self.open.insert(self.next, message);
                    world.call(now, call);
                }
            }
        }
    }

    /// Sends what the world has to say.
    fn send(&mut self, out: Vec<Out>) {
        for out in out {
            let message = match out {
                Out::Signal(change) => message::signal(change),
                Out::Reply(id, result) => match self.open.remove(&id) {
                    Some(call) if !call.get_no_reply() => message::reply(&call, result),
                    _ => continue,
                },
            };
            // Fails only when the connection is gone, which the bus' end tells everybody.
            self.connection.send(message).ok();
        }
    }
}

/// Serves the world until the commands end.
pub(crate) async fn serve(
    address: &str,
    mut world: World,
    mut commands: mpsc::Receiver<Command>,
    ready: tokio::sync::oneshot::Sender<Result<(), SimError>>,
) {
    let clock = SystemClock::start();
    let mut life = match Life::begin(address).await {
        Ok(life) => Some(life),
        Err(e) => {
            // Nobody waits any more when the owner has given up.
            ready.send(Err(e)).ok();
            return;
        }
    };
    ready.send(Ok(())).ok();
    loop {
        if world.running() && life.is_none() {
            match Life::begin(address).await {
                Ok(begun) => life = Some(begun),
                Err(e) => {
                    tracing::warn!(error = %e, "the simulated bluetoothd does not come back");
                    return;
                }
            }
        } else if !world.running() {
            life = None;
        }
        let out = world.take_out();
        if let Some(life) = &mut life {
            life.send(out);
        }
        let due = world.next_due().map(|due| due.since(clock.monotonic()));
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => {
                    world.set_wall(clock.wall());
                    command(&mut world, clock.monotonic());
                }
                None => return,
            },
            Some(incoming) = next(&mut life) => {
                world.set_wall(clock.wall());
                if let Some(life) = &mut life {
                    life.take(&mut world, clock.monotonic(), incoming);
                }
            }
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                world.set_wall(clock.wall());
                world.tick(clock.monotonic());
            }
        }
    }
}

async fn next(life: &mut Option<Life>) -> Option<Incoming> {
    match life {
        Some(life) => life.incoming.recv().await,
        None => std::future::pending().await,
    }
}
