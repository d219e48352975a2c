//! The broker's nodes as their hosts meet them: folders that are enough, and a guard that speaks plainly.

use std::path::Path;
use std::process::{Command, Output};

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fogline-cloud"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn ok(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_node_starts_on_its_own_volume_or_an_empty_one_and_on_no_other() {
    let desk = tempfile::tempdir().unwrap();
    let dir = desk.path();
    let nodes = ["n1@10.0.0.1", "n2@10.0.0.2", "n3@10.0.0.3"];
    let told = nodes.iter().flat_map(|node| ["--node", node]);
    let init: Vec<&str> = ["init", "--dir", "f"].into_iter().chain(told).collect();
    ok(dir, &init);

    let check = ["broker", "check", "--dir", "f/broker/n1"];
    assert!(ok(dir, &check).contains("was empty"));
    std::fs::create_dir(dir.join("f/broker/n1/jetstream/jetstream")).unwrap();
    assert!(ok(dir, &check).contains("is its own"));

    // The second node is given the first one's volume.
    let settings = dir.join("f/cloud.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    let volume = dir.join("f/broker/n1/jetstream");
    let store_at = format!("\n[broker]\nstore_at = \"{}\"\n", volume.display());
    std::fs::write(&settings, before.replace("\n[broker]\n", &store_at)).unwrap();
    let config = ["broker", "config", "--config", "f/cloud.toml"];
    let elsewhere = ["--node", "n2", "--out", "elsewhere"];
    ok(dir, &[&config[..], &elsewhere].concat());
    let error = refused(dir, &["broker", "check", "--dir", "elsewhere"]);
    assert!(
        error.contains("belongs to node \"n1\"") && error.contains("\"n2\""),
        "{error}"
    );

    // Another cluster, and another installation.
    let text = std::fs::read_to_string(&settings).unwrap();
    let other = text.replace("cluster = \"fogline\"", "cluster = \"other\"");
    std::fs::write(&settings, other).unwrap();
    let elsewhere = ["--node", "n1", "--out", "elsewhere"];
    ok(dir, &[&config[..], &elsewhere].concat());
    let error = refused(dir, &["broker", "check", "--dir", "elsewhere"]);
    assert!(error.contains("belongs to cluster \"fogline\""), "{error}");
    std::fs::write(&settings, text).unwrap();
    std::fs::remove_file(dir.join("f/broker/secrets.toml")).unwrap();
    std::fs::remove_dir_all(dir.join("f/broker/routes")).unwrap();
    ok(dir, &["broker", "init", "--config", "f/cloud.toml"]);
    let error = refused(dir, &check);
    assert!(error.contains("belongs to installation"), "{error}");
}

#[test]
fn a_cluster_that_could_not_keep_its_promise_is_not_made() {
    let desk = tempfile::tempdir().unwrap();
    let dir = desk.path();
    let two = ["init", "--dir", "f", "--node", "n1@a", "--node", "n2@b"];
    let error = refused(dir, &two);
    assert!(error.contains("names 2 nodes"), "{error}");
    assert!(!dir.join("f").exists(), "nothing is left behind");
    let error = refused(dir, &["init", "--dir", "f", "--node", "n1"]);
    assert!(error.contains("NAME@HOST"), "{error}");
}
