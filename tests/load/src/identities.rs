//! Certificates in bulk, entered in the registry of the running cloud.

use anyhow::Context as _;
use cloud_pki::{Authority, inspect_pem};
use cloud_store::{Maintain as _, NewGateway, Registry as _, SqliteOptions, SqliteStore};
use protocols_model::{GatewayId, Timestamp};
use std::path::Path;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Before the number of a gateway in its id.
const PREFIX: &str = "load-";

/// Who a simulated gateway is.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// Its id.
    pub(crate) id: GatewayId,
    /// Its certificate.
    pub(crate) certificate: CertificateDer<'static>,
    /// The key of it.
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The number of a gateway by its id; `None` for ids that are not ours.
pub(crate) fn number(id: &str) -> Option<u32> {
    id.strip_prefix(PREFIX)?.parse().ok()
}

/// Issues so many identities, on all processors.
pub(crate) fn issue(
    authority: &Authority,
    count: u32,
    now: Timestamp,
) -> anyhow::Result<Vec<(Bearer, NewGateway)>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let numbers: Vec<u32> = (0..count).collect();
    let share = numbers.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = numbers
            .chunks(share)
            .map(|share| {
                let one = move |number: &u32| issue_one(authority, *number, now);
                scope.spawn(move || share.iter().map(one).collect::<anyhow::Result<Vec<_>>>())
            })
            .collect();
        let mut all = Vec::with_capacity(numbers.len());
        for worker in workers {
            let done = worker.join();
            all.extend(done.map_err(|_| anyhow::anyhow!("issuing broke down"))??);
        }
        Ok(all)
    })
}

fn issue_one(
    authority: &Authority,
    number: u32,
    now: Timestamp,
) -> anyhow::Result<(Bearer, NewGateway)> {
    let id = GatewayId::try_new(&format!("{PREFIX}{number:05}"))?;
    let identity = authority.issue_gateway(&id, Vec::new(), now)?;
    let facts = inspect_pem(&identity.certificate)?;
    let entry = NewGateway {
        id: id.clone(),
        serial: facts.serial,
        fingerprint: facts.fingerprint,
        not_after: facts.not_after,
        created: now,
        note: String::new(),
    };
    let bearer = Bearer {
        id,
        certificate: CertificateDer::from_pem_slice(identity.certificate.as_bytes())?,
        key: PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
    };
    Ok((bearer, entry))
}

/// Enters all of them beside the running cloud, as `fogline-cloud gateway add` does.
pub(crate) async fn register(database: &Path, entries: Vec<NewGateway>) -> anyhow::Result<()> {
    let path = database.to_owned();
    let open = move || SqliteStore::open_beside(&path, SqliteOptions::default());
    let store = tokio::task::spawn_blocking(open).await??;
    for entry in entries {
        let id = entry.id.clone();
        let added = store.add_gateway(entry).await;
        added.with_context(|| format!("entering {id}"))?;
    }
    store.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{Clock as _, SystemClock};

    #[test]
    fn every_gateway_has_a_certificate_of_its_own() {
        let now = SystemClock::start().wall();
        let (authority, _key) = Authority::create("test", now).unwrap();
        let all = issue(&authority, 5, now).unwrap();
        let names: Vec<&str> = all.iter().map(|(bearer, _)| bearer.id.as_str()).collect();
        assert_eq!(
            names,
            [
                "load-00000",
                "load-00001",
                "load-00002",
                "load-00003",
                "load-00004"
            ]
        );
        let mut serials: Vec<&str> = all.iter().map(|(_, entry)| &*entry.serial).collect();
        serials.sort_unstable();
        serials.dedup();
        assert_eq!(serials.len(), 5);
        assert_eq!(number("load-00004"), Some(4));
        assert_eq!(number("plant-1"), None);
    }
}
