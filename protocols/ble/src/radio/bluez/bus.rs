//! Our own connection to the message bus: calls on one adapter, and its signals into the ear.

use super::ear::Ear;
use super::error::from_dbus;
use crate::address::Address;
use crate::radio::{Health, RadioError};
use dbus::arg::{AppendAll, PropMap, ReadAll, RefArg, Variant};
use dbus::channel::MatchingReceiver;
use dbus::message::{MatchRule, MessageType};
use dbus::nonblock::{Proxy, SyncConnection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// BlueZ' name on the bus.
const SERVICE: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// A call not answered so long never will be; the driver's own time-outs are shorter.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to the system's message bus. Blocks: call it on the radio's thread. When the connection breaks,
/// `health` says so.
pub(super) fn connect(
    health: Arc<watch::Sender<Health>>,
) -> Result<Arc<SyncConnection>, RadioError> {
    let (resource, connection) =
        dbus_tokio::connection::new_system_sync().map_err(|error| from_dbus(&error))?;
    // Ends with the runtime of the radio's thread.
    drop(tokio::spawn(async move {
        let error = resource.await;
        tracing::debug!(%error, "the connection to the message bus broke");
        health.send_modify(|health| health.connected = false);
    }));
    Ok(connection)
}

/// One adapter on the bus.
pub(super) struct AdapterBus {
    connection: Arc<SyncConnection>,
    path: String,
    ear: Arc<Mutex<Ear>>,
}

impl AdapterBus {
    /// The adapter `name`; from now on its signals reach the ear.
    pub(super) async fn open(
        connection: Arc<SyncConnection>,
        name: &str,
        ear: Ear,
    ) -> Result<Self, RadioError> {
        let path = format!("/org/bluez/{name}");
        let ear = Arc::new(Mutex::new(ear));
        let listening = Arc::clone(&ear);
        let mut signals = MatchRule::new();
        signals.msg_type = Some(MessageType::Signal);
        connection.start_receive(
            signals,
            Box::new(move |message, _| {
                let mut ear = listening.lock().unwrap_or_else(PoisonError::into_inner);
                ear.hear(&message);
                true
            }),
        );
        let changed = format!(
            "type='signal',sender='{SERVICE}',interface='{PROPERTIES}',member='PropertiesChanged'"
        );
        for rule in [
            format!("{changed},path_namespace='{path}',arg0='{DEVICE}'"),
            format!("{changed},path='{path}',arg0='{ADAPTER}'"),
            format!(
                "type='signal',sender='{SERVICE}',interface='org.freedesktop.DBus.ObjectManager'"
            ),
            format!(
                "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SERVICE}'"
            ),
        ] {
            let added = connection.add_match_no_cb(&rule).await;
            added.map_err(|error| from_dbus(&error))?;
        }
        let bus = Self {
            connection,
            path,
            ear,
        };
        let powered = bus.flag("Powered").await?;
        let scanning = bus.flag("Discovering").await?;
        bus.with_ear(|ear| ear.begin(powered, scanning));
        Ok(bus)
    }

    fn with_ear<T>(&self, what: impl FnOnce(&mut Ear) -> T) -> T {
        what(&mut self.ear.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where to learn that the connection to a device is gone.
    pub(super) fn watch_peer(&self, address: Address) -> watch::Receiver<bool> {
        self.with_ear(|ear| ear.watch_peer(address))
    }

    async fn call<R: ReadAll + 'static>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: impl AppendAll,
    ) -> Result<R, RadioError> {
        let connection = Arc::clone(&self.connection);
        let proxy = Proxy::new(SERVICE, path, CALL_TIMEOUT, connection);
        let reply = proxy.method_call(interface, method, arguments);
        reply.await.map_err(|error| from_dbus(&error))
    }

    async fn flag(&self, name: &str) -> Result<bool, RadioError> {
        let reply: (Variant<bool>,) = self
            .call(&self.path, PROPERTIES, "Get", (ADAPTER, name))
            .await?;
        Ok(reply.0.0)
    }

    pub(super) async fn is_powered(&self) -> Result<bool, RadioError> {
        self.flag("Powered").await
    }

    pub(super) async fn set_powered(&self, on: bool) -> Result<(), RadioError> {
        let value = (ADAPTER, "Powered", Variant(on));
        self.call(&self.path, PROPERTIES, "Set", value).await
    }

    pub(super) async fn start_scan(&self) -> Result<(), RadioError> {
        self.set_powered(true).await?;
        let text = |text: &str| Variant(Box::new(text.to_owned()) as Box<dyn RefArg>);
        let mut filter = PropMap::new();
        filter.insert("Transport".to_owned(), text("le"));
        // Repeated advertisements are signs of life.
        let yes = Variant(Box::new(true) as Box<dyn RefArg>);
        filter.insert("DuplicateData".to_owned(), yes);
        let set: Result<(), _> = self
            .call(&self.path, ADAPTER, "SetDiscoveryFilter", (filter,))
            .await;
        set?;
        self.call(&self.path, ADAPTER, "StartDiscovery", ()).await
    }

    pub(super) async fn stop_scan(&self) -> Result<(), RadioError> {
        self.call(&self.path, ADAPTER, "StopDiscovery", ()).await
    }

    fn device(&self, address: Address) -> String {
        let name = address.to_string().replace(':', "_");
        format!("{}/dev_{name}", self.path)
    }

    /// Whether BlueZ knows the device at all. Asking btleplug means asking for every device it knows.
    pub(super) async fn knows(&self, address: Address) -> Result<(), RadioError> {
        let reply: Result<(Variant<bool>,), _> = self
            .call(
                &self.device(address),
                PROPERTIES,
                "Get",
                (DEVICE, "Connected"),
            )
            .await;
        match reply {
            Ok(_connected) => Ok(()),
            // However a service says that there is no such object.
            Err(RadioError::Refused(_) | RadioError::Failed(_)) => Err(RadioError::NotHeard),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn disconnect(&self, address: Address) -> Result<(), RadioError> {
        self.call(&self.device(address), DEVICE, "Disconnect", ())
            .await
    }
}
