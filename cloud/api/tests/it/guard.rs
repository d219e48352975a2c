//! No endpoint without a session but those on the list, which may only shrink; whatever is wrong
//! with a request is named.

use crate::support::{Client, Stack};

/// What answers without a session.
const OPEN: [&str; 4] = ["/v1/login", "/healthz", "/livez", "/readyz"];

/// Every path of the description with its methods, parameters filled in.
fn endpoints() -> Vec<(String, String)> {
    let document = serde_json::to_value(cloud_api::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                all.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(all.len() > 15, "{all:?}");
    all
}

fn filled(path: &str) -> String {
    path.replace("{gateway}", "gw-1").replace("{series}", "1")
}

async fn refused_everywhere(client: &Client) {
    for (method, path) in endpoints() {
        if OPEN.contains(&path.as_str()) {
            continue;
        }
        let body = (method == "POST").then_some("{}");
        let answer = client.request(&method, &filled(&path), body).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.problem()["permission"], "session", "{method} {path}");
    }
}

#[tokio::test]
async fn every_path_of_the_description_asks_for_a_session_but_the_allowed_ones() {
    let stack = Stack::start().await;
    refused_everywhere(&stack.client()).await;
    let mut forged = stack.client();
    forged.cookie = Some(format!("__Host-fogline={}", "A".repeat(43)));
    refused_everywhere(&forged).await;
    assert_eq!(stack.client().get("/healthz").await.status, 200);
    assert_eq!(stack.client().get("/livez").await.status, 200);
    let ready = stack.client().get("/readyz").await;
    assert_eq!(ready.status, 503);
    // The reasons are for the log: this path is open to everybody.
    assert!(!String::from_utf8_lossy(&ready.body).contains("broker"));
}

#[tokio::test]
async fn every_change_asks_for_the_csrf_token_and_refuses_other_sites() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    for (method, path) in endpoints() {
        if method == "GET" || OPEN.contains(&path.as_str()) {
            continue;
        }
        for csrf in [None, Some("bm90IHRoZSB0b2tlbg".to_owned())] {
            let without = Client {
                csrf,
                ..client.clone()
            };
            let answer = without.request(&method, &filled(&path), Some("{}")).await;
            assert_eq!(answer.status, 403, "{method} {path}");
            assert_eq!(answer.problem()["permission"], "csrf");
        }
        let mut foreign = client.clone();
        foreign
            .extra
            .push(("Sec-Fetch-Site".to_owned(), "cross-site".to_owned()));
        let answer = foreign.request(&method, &filled(&path), Some("{}")).await;
        assert_eq!(
            answer.problem()["permission"],
            "same-origin",
            "{method} {path}"
        );
    }
    assert_eq!(client.get("/v1/me").await.status, 200);
}

#[tokio::test]
async fn metrics_open_to_a_session_or_the_scrapers_token_only() {
    let stack = Stack::start().await;
    let mut scraper = stack.client();
    scraper
        .extra
        .push(("Authorization".to_owned(), "Bearer wrong".to_owned()));
    assert_eq!(scraper.get("/metrics").await.status, 401);
    scraper.extra = vec![("Authorization".to_owned(), "Bearer scraper".to_owned())];
    let answer = scraper.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("fogline_test 1"));
    // The token opens metrics and nothing else.
    assert_eq!(scraper.get("/v1/me").await.status, 401);
    assert_eq!(stack.logged_in().await.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn bad_input_is_answered_by_a_problem_that_names_the_field() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    for (path, status, field) in [
        ("/v1/gateways?limit=0", 400, "limit"),
        ("/v1/gateways?limit=ten", 400, "limit"),
        ("/v1/gateways?limit=1&limit=2", 400, "limit"),
        ("/v1/gateways?after=UPPER", 400, "after"),
        ("/v1/gateways?color=red", 400, "color"),
        ("/v1/gateways/no_underscore", 400, "gateway"),
        ("/v1/gateways/..%2f..%2fetc", 400, "gateway"),
        ("/v1/gateways/unknown", 404, "gateway"),
        ("/v1/gateways/unknown/devices", 404, "gateway"),
        ("/v1/gateways/unknown/series", 404, "gateway"),
        ("/v1/latest", 400, "gateway"),
        ("/v1/latest?gateway=unknown", 404, "gateway"),
        ("/v1/series/x/data", 400, "series"),
        ("/v1/series/99999999999999999999/data", 400, "series"),
        ("/v1/series/12345", 404, "series"),
        ("/v1/series/1/data?from=5&to=4", 400, "from"),
        ("/v1/series/1/data?from=0&to=4000000000000", 400, "from"),
        ("/v1/series/1/data?to=now", 400, "to"),
        ("/v1/series/1/data?points=0", 400, "points"),
        ("/v1/series/1/data?points=10001", 400, "points"),
        ("/v1/ledger?struck=perhaps", 400, "struck"),
        ("/v1/ledger?after=-1", 400, "after"),
        ("/v1/events?before=x", 400, "before"),
        ("/v1/quarantine?limit=201", 400, "limit"),
        ("/v1/refusals?x=1", 400, "x"),
        ("/v1/stream?series=1,x", 400, "series"),
        ("/v1/stream?gateway=A", 400, "gateway"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.problem()["field"], field, "{path}");
    }
    let many = (0..300)
        .map(|n| n.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let answer = client.get(&format!("/v1/stream?series={many}")).await;
    assert_eq!(answer.problem()["field"], "series");
}

#[tokio::test]
async fn wrong_addresses_methods_and_sizes_are_problems_too() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let missing = client.get("/v1/nothing").await;
    assert_eq!(missing.status, 404);
    missing.problem();
    let method = client.request("DELETE", "/v1/gateways", None).await;
    assert_eq!(method.status, 405);
    method.problem();
    assert!(method.header("allow").unwrap().contains("GET"));
    let large = client.post("/v1/login", &"x".repeat(20_000)).await;
    assert_eq!(large.status, 413);
    large.problem();
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_a_request_id() {
    let stack = Stack::start().await;
    let mut client = stack.client();
    client
        .extra
        .push(("X-Request-Id".to_owned(), "from-a-proxy-7".to_owned()));
    for path in ["/", "/v1/me", "/healthz", "/v1/nothing"] {
        let answer = client.get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            answer.header("strict-transport-security").is_some(),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("x-request-id"), Some("from-a-proxy-7"));
    }
    client.extra = vec![("X-Request-Id".to_owned(), "a b<script>".to_owned())];
    assert_ne!(
        client.get("/healthz").await.header("x-request-id"),
        Some("a b<script>")
    );
}
