//! Certificates and clocks.

use crate::Stage;
use crate::broker::Broker;
use crate::gateway::{append, clock, dictionary, state};
use crate::pki::Authority;
use gateway_uplink::{Pem, TlsIdentity, UplinkOptions};
use std::path::Path;
use std::time::Duration;

/// Writes an identity into `dir`.
fn files(authority: &Authority, dir: &Path) -> TlsIdentity {
    let (certificate, key) = authority.gateway_pems("g1");
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        Pem::File(path)
    };
    TlsIdentity {
        ca: file("ca.pem", authority.pem()),
        certificate: file("gateway.pem", certificate),
        key: file("gateway.key", key),
    }
}

async fn error_of(stage: &Stage, options: UplinkOptions) -> String {
    let uplink = stage.uplink_with(options);
    let shown = state(&uplink, "an error", |s| s.last_error.is_some()).await;
    assert!(!shown.connected);
    uplink.stop(Duration::ZERO).await;
    shown.last_error.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_authority_is_named_and_a_corrected_file_needs_no_restart() {
    let stage = Stage::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = stage.options();
    options.tls = files(&stage.authority, dir.path());
    std::fs::write(dir.path().join("ca.pem"), Authority::new().pem()).unwrap();
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 3).await;
    let shown = state(&uplink, "an error", |s| s.last_error.is_some()).await;
    let error = shown.last_error.unwrap();
    assert!(error.contains("not signed by the configured CA"), "{error}");
    std::fs::write(dir.path().join("ca.pem"), stage.authority.pem()).unwrap();
    stage.all_stored(&uplink, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_identity_is_named_and_never_a_panic() {
    let stage = Stage::new().await;
    let good = stage.authority.identity("g1");
    let garbage = Pem::Inline("not a certificate".into());
    let missing = Pem::File("no-such-directory/gateway.pem".into());
    let other_key = stage.authority.identity("g2").key;
    for (tls, part) in [
        (
            TlsIdentity {
                certificate: missing,
                ..good.clone()
            },
            "cannot read the gateway's certificate from no-such",
        ),
        (
            TlsIdentity {
                ca: garbage.clone(),
                ..good.clone()
            },
            "CA certificate holds no usable PEM",
        ),
        (
            TlsIdentity {
                key: garbage,
                ..good.clone()
            },
            "private key holds no usable PEM",
        ),
        (
            TlsIdentity {
                key: other_key,
                ..good.clone()
            },
            "does not belong to its certificate",
        ),
    ] {
        let mut options = stage.options();
        options.tls = tls;
        let error = error_of(&stage, options).await;
        assert!(error.contains(part), "{error} / {part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_know_the_gateways_authority_says_no_and_we_say_so() {
    let stage = Stage::new().await;
    let stranger = Authority::new();
    let mut options = stage.options();
    let identity = stranger.identity("g1");
    options.tls.certificate = identity.certificate;
    options.tls.key = identity.key;
    let error = error_of(&stage, options).await;
    assert!(
        error.contains("refuses this gateway's certificate"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_broker_certificate_is_refused_and_named() {
    let stage = Stage::new().await;
    let old =
        Broker::start_valid(&stage.authority, &stage.cloud, ((2020, 1, 1), (2021, 1, 1))).await;
    let mut options = stage.options();
    options.servers = vec![old.server.clone()];
    let error = error_of(&stage, options).await;
    assert!(error.contains("expired"), "{error}");
    assert_eq!(old.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_another_name_is_refused() {
    let stage = Stage::new().await;
    let mut options = stage.options();
    // Resolves to the same listener, but the certificate does not bear it.
    options.servers[0].host = "127.0.0.2".to_owned();
    let forward = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    options.servers[0].port = forward.local_addr().unwrap().port();
    let target = stage.broker.server.to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut inbound, _)) = forward.accept().await {
            let mut outbound = tokio::net::TcpStream::connect(&target).await.unwrap();
            let _ended = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
        }
    });
    let error = error_of(&stage, options).await;
    assert!(error.contains("another name"), "{error}");
    task.abort();
}

/// A board without a clock starts in 1970; the broker's certificate was issued in 2020.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_in_1970_connects_by_build_time_and_keeps_the_good_time() {
    let stage = Stage::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = stage.options();
    options.last_good_time = Some(dir.path().join("last-good-time"));
    let wrong = clock(-55 * 365 * 24 * 3600);
    let uplink = gateway_uplink::start(options, stage.spool.clone(), wrong);
    append(&stage.spool, &dictionary(1), 2).await;
    stage.all_stored(&uplink, 2).await;
    let kept = std::fs::read_to_string(dir.path().join("last-good-time")).unwrap();
    let built = gateway_uplink::tls_time::build_time().as_millis() / 1000;
    assert_eq!(kept.trim(), built.to_string());
    uplink.stop(Duration::from_secs(1)).await;
}

/// The broker's certificate is newer than the build: only the last good time can vouch for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_behind_a_new_certificate_connects_by_the_last_good_time() {
    let stage = Stage::new().await;
    let young =
        Broker::start_valid(&stage.authority, &stage.cloud, ((2040, 1, 1), (2041, 1, 1))).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("last-good-time");
    let mut options = stage.options();
    options.servers = vec![young.server.clone()];
    options.last_good_time = Some(file.clone());
    let error = error_of(&stage, options.clone()).await;
    assert!(
        error.contains("not valid yet: the clock here is behind"),
        "{error}"
    );
    // 2040-07-01
    std::fs::write(&file, "2224800000\n").unwrap();
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 2).await;
    stage.all_stored(&uplink, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_good_time_of_a_wrong_clock_does_not_lock_the_gateway_out() {
    let stage = Stage::new().await;
    let broker =
        Broker::start_valid(&stage.authority, &stage.cloud, ((2020, 1, 1), (2039, 1, 1))).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("last-good-time");
    std::fs::write(&file, "2224800000\n").unwrap();
    let mut options = stage.options();
    options.servers = vec![broker.server.clone()];
    options.last_good_time = Some(file.clone());
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 2).await;
    stage.all_stored(&uplink, 2).await;
    assert_ne!(std::fs::read_to_string(&file).unwrap(), "2224800000\n");
}
