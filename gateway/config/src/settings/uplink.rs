//! `[uplink.NAME]`: where records go.

use crate::key::kinds::{Durations, Inner, Text, Texts, Words};
use crate::key::{Key, Section};
use crate::problem::Problem;
use crate::settings::{Confirm, Credentials, Uplink, resolve};
use crate::source::Located;
use crate::walk::Table;
use std::path::Path;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(50);
const SERVER_FORM: &str = "a list: [\"mqtts://host:8883\"]";
const PEM: Text = Text("the path of a PEM file");

const IDENTITY: Key<Text> = Key::new(
    "identity",
    Text("the path of an identity file"),
    "the file that `fogline-cloud gateway add` wrote, mode 0600; it also names the servers",
)
.otherwise("servers and tls");
const SERVERS: Key<Texts> = Key::new(
    "servers",
    Texts(SERVER_FORM),
    "servers of another broker, tried in turn; excludes identity",
);
const TLS: Key<Inner> = Key::new(
    "tls",
    Inner(const { &[&TLS_FILES] }),
    "how another broker knows this gateway; excludes identity",
);
const CA: Key<Text> = Key::new("ca", PEM, "who may sign the server's certificate").required();
const CERT: Key<Text> = Key::new("cert", PEM, "the gateway's certificate chain").required();
const KEY: Key<Text> = Key::new("key", PEM, "the gateway's private key, mode 0600").required();
const CONFIRM: Key<Words<Confirm>> = Key::new(
    "confirm",
    Words(&[("store", Confirm::Store), ("broker", Confirm::Broker)]),
    "store: a record leaves when the database has it; broker: when the broker took it",
)
.default("store");
const BATCH_AGE: Key<Inner> = Key::new(
    "batch_age",
    Inner(const { &[&AGES] }),
    "how long readings wait for others to share a record with",
);
const LIVE: Key<Durations> = Key::new(
    "live",
    Durations(SHORTEST, Duration::from_secs(60)),
    "while the uplink is live",
)
.default(Duration::from_secs(1));
const OFFLINE: Key<Durations> = Key::new(
    "offline",
    Durations(SHORTEST, Duration::from_secs(600)),
    "while it is not: longer batches pack better",
)
.default(Duration::from_secs(10));

static TLS_FILES: Section = Section::inline(&[&CA, &CERT, &KEY]);
static AGES: Section = Section::inline(&[&LIVE, &OFFLINE]);
pub(crate) static UPLINK: Section = Section::new(
    "[uplink.NAME]",
    "Where records go; one uplink. Without one everything stays in the spool.",
    &[&IDENTITY, &SERVERS, &TLS, &CONFIRM, &BATCH_AGE],
);

pub(crate) fn read(name: &Located<String>, table: &Table<'_>, base: &Path) -> Option<Uplink> {
    let path = |found: Located<String>| resolve(base, &found.value);
    let identity = table.get(&IDENTITY);
    let servers = read_servers(table);
    let tls = table.table(&TLS);
    let confirm = table.get(&CONFIRM);
    let age = table.table(&BATCH_AGE).map(|age| {
        let found = (age.get(&LIVE), age.get(&OFFLINE));
        age.finish();
        found
    });
    let (live, offline) = age.unwrap_or_default();
    let credentials = match (identity, servers, tls) {
        (Some(identity), None, None) => Some(Credentials::Identity(path(identity))),
        (Some(identity), _, _) => {
            let message = "`identity` already names servers and certificates";
            let allowed = "either identity, or servers and tls";
            table
                .notes()
                .push(Problem::error(&identity.place, message, allowed));
            None
        }
        (None, servers, Some(tls)) => {
            let file = |key| tls.get(key).map(path);
            let (ca, certificate, key) = (file(&CA), file(&CERT), file(&KEY));
            tls.finish();
            if servers.is_none() && !table.has(&SERVERS) {
                table.missing(SERVERS.name, SERVER_FORM);
            }
            (|| {
                Some(Credentials::Files {
                    servers: servers?.value,
                    ca: ca?,
                    certificate: certificate?,
                    key: key?,
                })
            })()
        }
        (None, _, None) => {
            if !table.has(&IDENTITY) {
                let message = "no way to prove who this gateway is";
                let allowed = "identity = \"<file>\", or servers and tls = { ca, cert, key }";
                table
                    .notes()
                    .push(Problem::error(&table.place(), message, allowed));
            }
            None
        }
    };
    Some(Uplink {
        name: name.value.clone(),
        credentials: credentials?,
        confirm: CONFIRM.value(confirm),
        batch_live: LIVE.value(live),
        batch_offline: OFFLINE.value(offline),
    })
}

fn read_servers(table: &Table<'_>) -> Option<Located<Vec<String>>> {
    let servers = table.get(&SERVERS)?;
    let empty = servers.value.is_empty();
    let mut good = Vec::new();
    for server in servers.value {
        match crate::identity::check_server(&server.value) {
            Ok(()) => good.push(server.value),
            Err(why) => {
                let message = format!("{:?}: {why}", server.value);
                table
                    .notes()
                    .push(Problem::error(&server.place, message, SERVER_FORM));
            }
        }
    }
    if empty {
        let message = "no server is named";
        table
            .notes()
            .push(Problem::error(&servers.place, message, SERVER_FORM));
    }
    Some(Located {
        value: good,
        place: servers.place,
    })
}
