//! The listener: HTTPS only, certificates that change, limits, stopping, and the page's files.

use crate::support::{Options, PATIENCE, Stack, connect, write_pair};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let stack = Stack::start().await;
    let mut plain = TcpStream::connect(stack.address).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut bytes))
        .await
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&bytes).contains("HTTP/"),
        "{bytes:?}"
    );
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_new_connections_and_a_bad_one_never() {
    let stack = Stack::start().await;
    let (_old, first) = connect(stack.address).await.unwrap();
    // Half of a renewal: the key does not fit the certificate, so the old pair stays.
    let key = stack.folder.path().join("server.key");
    std::fs::write(&key, "no key at all").unwrap();
    write_pair(stack.folder.path());
    eventually("the new certificate is shown", async || {
        connect(stack.address).await.unwrap().1 != first
    })
    .await;
    assert_eq!(stack.client().get("/healthz").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_later() {
    let stack = Stack::with(Options {
        max_connections: 1,
        ..Options::default()
    })
    .await;
    let (held, _shown) = connect(stack.address).await.unwrap();
    let waiting = {
        let client = stack.client();
        tokio::spawn(async move { client.get("/healthz").await.status })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        !waiting.is_finished(),
        "a second connection was served beyond the limit"
    );
    drop(held);
    assert_eq!(
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap()
            .unwrap(),
        200
    );
}

#[tokio::test]
async fn a_stop_ends_streams_and_idle_connections_and_returns() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let mut stream = client.stream("/v1/stream", None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    let (_idle, _shown) = connect(stack.address).await.unwrap();
    assert!(stack.stop().await.is_ok());
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn the_page_is_served_whatever_the_address_and_says_so_when_it_was_not_built() {
    let stack = Stack::start().await;
    let root = stack.client().get("/").await;
    assert_eq!(root.status, 200);
    assert!(
        root.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let deep = stack.client().get("/gateways/gw-1").await;
    assert_eq!((deep.status, &deep.body), (200, &root.body));
    let text = String::from_utf8(root.body.clone()).unwrap();
    let Some(at) = text.find("/assets/") else {
        assert!(text.contains("cargo xtask dashboard"), "{text}");
        return;
    };
    assert_eq!(root.head_of_cache(), "no-cache");
    let asset: String = text.chars().skip(at).take_while(|c| *c != '"').collect();
    let file = stack.client().get(&asset).await;
    assert_eq!(file.status, 200);
    assert!(file.head_of_cache().contains("immutable"));
    let mut packed = stack.client();
    packed
        .extra
        .push(("Accept-Encoding".to_owned(), "br".to_owned()));
    let small = packed.get(&asset).await;
    assert_eq!(small.header("content-encoding"), Some("br"));
    assert!(small.body.len() < file.body.len() / 2);
    packed.extra = vec![(
        "If-None-Match".to_owned(),
        file.header("etag").unwrap().to_owned(),
    )];
    assert_eq!(packed.get(&asset).await.status, 304);
    assert_eq!(stack.client().get("/assets/missing.js").await.status, 404);
}
