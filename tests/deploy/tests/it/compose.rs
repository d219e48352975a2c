//! The composition for one machine: its schema, and that it keeps the rules of the chart. It was never
//! run by this: that takes a container engine.

use crate::tools;
use serde_json::{Value, json};
use tests_deploy::objects::{at, list};
use tests_deploy::root;
use tests_interop::need;

const FILE: &str = "deploy/compose/compose.yaml";

/// What breaks our rules, one line each.
fn broken(compose: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let services = at(compose, "/services")
        .as_object()
        .expect("there are services");
    for (name, service) in services {
        let wanted = [
            ("/read_only", json!(true)),
            ("/cap_drop", json!(["ALL"])),
            ("/security_opt", json!(["no-new-privileges:true"])),
            ("/user", json!("10001:0")),
        ];
        for (pointer, value) in wanted {
            if *at(service, pointer) != value {
                found.push(format!("{name}: {pointer} is not {value}"));
            }
        }
        let image = at(service, "/image").as_str().unwrap_or_default();
        if !image.starts_with("${") || !image.contains(":?") {
            found.push(format!(
                "{name}: the image {image:?} is not one that must be given"
            ));
        }
        if name != "init" && *at(service, "/restart") != json!("always") {
            found.push(format!("{name} is not started again"));
        }
        for port in list(service, "/ports") {
            if port != "8883:8883" && port != "8443:8443" {
                found.push(format!("{name}: {port} is open to everybody"));
            }
        }
        if at(service, "/logging/options/max-size").is_null() {
            found.push(format!("{name}: its log grows for ever"));
        }
    }
    found
}

#[test]
fn the_composition_satisfies_its_schema_and_our_rules() {
    let tools = need!(tools());
    let file = root().join(FILE);
    let schema = need!(tools.compose_schema());
    let schema = schema.to_str().unwrap();
    assert_eq!(tools.objects(&["schema", schema, FILE]).unwrap().trim(), "");
    let documents = tools.documents(std::slice::from_ref(&file)).unwrap();
    let compose = &documents[0][0];
    assert_eq!(broken(compose), Vec::<String>::new());

    let mut mutant = compose.clone();
    mutant["services"]["broker"]["ports"] = json!(["4222:4222"]);
    mutant["services"]["cloud"]["read_only"] = json!(false);
    assert_eq!(broken(&mutant).len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("compose.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(&odd, text.replace("restart: always", "restarts: always")).unwrap();
    let refused = tools
        .objects(&["schema", schema, odd.to_str().unwrap()])
        .unwrap();
    assert!(refused.contains("restarts"), "{refused}");
}
