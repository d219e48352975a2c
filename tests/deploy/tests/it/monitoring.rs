//! Alerts, board and runbook: the rules fire when they must, the numbers exist, and none is without help.

use crate::tools;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use tests_deploy::objects::{at, list};
use tests_deploy::root;
use tests_interop::{need, program};

const FOLDER: &str = "deploy/monitoring";

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(FOLDER).join(name)).expect("the file is there")
}

/// Names of numbers in a query that begin so.
fn numbers(query: &str, begin: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with(begin))
        .map(str::to_owned)
        .collect()
}

/// All Rust sources of the cloud's process, in which every number's name stands.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&std::fs::read_to_string(&path).expect("a source can be read"));
        }
    }
}

#[test]
fn each_alert_fires_when_it_must() {
    let promtool = need!(program("promtool"));
    for arguments in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ] {
        let mut command = Command::new(&promtool);
        let output = command
            .args(arguments)
            .current_dir(root().join(FOLDER))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn every_alert_is_tried_and_has_an_entry_in_the_runbook() {
    let tools = need!(tools());
    let files = ["alerts.yaml", "alerts.test.yaml"].map(|name| root().join(FOLDER).join(name));
    let documents = tools.documents(&files).unwrap();
    let rules: Vec<&Value> = list(&documents[0][0], "/groups/0/rules").collect();
    let tried: BTreeSet<&str> = list(&documents[1][0], "/tests")
        .flat_map(|test| list(test, "/alert_rule_test"))
        .filter(|test| list(test, "/exp_alerts").next().is_some())
        .filter_map(|test| at(test, "/alertname").as_str())
        .collect();
    let readme = read("README.md");
    let mut helped: BTreeSet<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(rules.len() >= 10);
    for rule in rules {
        let name = at(rule, "/alert").as_str().unwrap();
        assert!(tried.contains(name), "{name} is never tried");
        assert!(helped.remove(name), "{name} has no entry in the runbook");
        assert!(
            matches!(
                at(rule, "/labels/severity").as_str(),
                Some("critical" | "warning")
            ),
            "{name}"
        );
    }
    assert!(helped.is_empty(), "entries without an alert: {helped:?}");
}

#[test]
fn every_number_that_is_asked_for_exists() {
    let board: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let mut asked = numbers(&read("alerts.yaml"), "fogline_");
    asked.extend(numbers(&read("prometheus-adapter.yaml"), "fogline_"));
    let queries = list(&board, "/panels").flat_map(|panel| list(panel, "/targets"));
    let queries: Vec<&str> = queries
        .filter_map(|target| at(target, "/expr").as_str())
        .collect();
    assert!(queries.len() >= 12);
    asked.extend(queries.iter().flat_map(|query| numbers(query, "fogline_")));
    let mut code = String::new();
    sources(&root().join("cloud/server/src"), &mut code);
    for name in asked {
        let base = name.trim_start_matches("fogline_");
        let base = ["_total", "_bucket"]
            .iter()
            .fold(base, |base, end| base.trim_end_matches(end));
        assert!(code.contains(&format!("\"{base}\"")), "nobody tells {name}");
    }
}

#[test]
fn panels_of_the_board_do_not_lie_over_one_another() {
    let board: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in list(&board, "/panels") {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|key| at(panel, &format!("/gridPos/{key}")).as_u64().unwrap());
        assert!(x + w <= 24, "{}", at(panel, "/title"));
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(
                taken.insert(cell),
                "{} lies over another",
                at(panel, "/title")
            );
        }
    }
}
