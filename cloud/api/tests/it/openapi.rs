//! The committed description is what the program serves; the dashboard's types are made from it.

use std::path::Path;

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json")
}

/// To accept a change: `FOGLINE_WRITE_OPENAPI=1 cargo test -p cloud-api openapi`, then
/// `npm run types` in `cloud/dashboard`.
#[test]
fn the_committed_description_is_the_served_one() {
    let mut now = serde_json::to_string_pretty(&cloud_api::openapi()).unwrap();
    now.push('\n');
    if std::env::var_os("FOGLINE_WRITE_OPENAPI").is_some() {
        std::fs::write(committed(), &now).unwrap();
    }
    let then = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(
        then == now,
        "openapi.json is out of date; see the comment above this test"
    );
}

#[test]
fn the_description_is_openapi_3_1_and_names_problem_json() {
    let document = serde_json::to_value(cloud_api::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let refused = &document["paths"]["/v1/me"]["get"]["responses"]["401"]["content"];
    assert!(
        refused.get("application/problem+json").is_some(),
        "{refused}"
    );
}
