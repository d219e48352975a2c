//! What the deployments tell `fogline-cloud`, and what it makes for them: the built program is asked.

use crate::tools;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests_deploy::chart::{self, HA};
use tests_deploy::objects::{at, list};
use tests_deploy::{Objects, Tools, root};
use tests_interop::need;

/// The built program; left out where nobody says where it is.
fn fogline_cloud() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("FOGLINE_BIN_DIR");
    let folder =
        folder.ok_or_else(|| anyhow::anyhow!("FOGLINE_BIN_DIR does not say where it is"))?;
    Ok(Path::new(&folder).join("fogline-cloud"))
}

fn ha(tools: &Tools) -> Objects {
    let folder = tempfile::tempdir().expect("a folder for a moment");
    let objects = chart::render(tools, &[HA], folder.path()).expect("the chart renders");
    objects.into_iter().next().expect("one rendering")
}

/// Whether the command line exists: with `--help` nothing is done, but all of it is read.
fn exists(program: &Path, arguments: &[String]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).arg("--help").output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

#[test]
fn every_command_that_pods_units_and_compositions_give_exists() {
    let program = need!(fogline_cloud());
    let tools = need!(tools());
    let mut commands: Vec<Vec<String>> = Vec::new();
    let words = |arguments: &serde_json::Value| -> Vec<String> {
        list(arguments, "")
            .map(|word| word.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    for pods in ha(&tools).pods() {
        for container in pods.all_containers() {
            let image = at(container, "/image").as_str().unwrap_or_default();
            if image.contains("fogline-cloud") {
                commands.push(words(at(container, "/args")));
            }
        }
    }
    assert!(commands.len() >= 5, "{commands:?}");
    let compose = tools
        .documents(&[root().join("deploy/compose/compose.yaml")])
        .unwrap();
    for service in ["cloud", "init"] {
        commands.push(words(at(
            &compose[0][0],
            &format!("/services/{service}/command"),
        )));
    }
    for unit in [
        "deploy/systemd/fogline-broker.service",
        "deploy/systemd/fogline-cloud@.service",
        "deploy/cloud/fogline-cloud.service",
    ] {
        let text = std::fs::read_to_string(root().join(unit)).unwrap();
        let starts = text.lines().filter_map(|line| {
            line.strip_prefix("ExecStart")?
                .split_once("/usr/bin/fogline-cloud ")
        });
        for (_, arguments) in starts {
            let filled = arguments
                .replace("%i", "ingest")
                .replace("${HEALTH}", "127.0.0.1:9464");
            commands.push(filled.split_whitespace().map(str::to_owned).collect());
        }
    }
    for command in commands {
        exists(&program, &command).unwrap_or_else(|said| panic!("{command:?}: {said}"));
    }
    let odd = ["run", "--rule", "ingest"].map(str::to_owned);
    assert!(exists(&program, &odd).is_err(), "anything passes");
}

/// The folder of a node is made by the program and mounted by the chart: neither has a copy of what the
/// other knows, so they must agree.
#[test]
fn a_node_s_folder_is_what_the_chart_mounts() {
    let program = need!(fogline_cloud());
    let tools = need!(tools());
    let objects = ha(&tools);
    let broker = objects
        .pods()
        .find(|pods| pods.kind == "StatefulSet")
        .unwrap();
    let nodes = list(broker.spec, "/volumes")
        .find(|volume| at(volume, "/name") == "node")
        .unwrap();
    let mounted: BTreeSet<&str> = list(nodes, "/projected/sources/0/secret/items")
        .filter_map(|item| at(item, "/key").as_str())
        .collect();

    let desk = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        let output = command
            .args(arguments)
            .current_dir(desk.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let mut init = vec!["init".to_owned(), "--dir".to_owned(), "fogline".to_owned()];
    for node in 0..3 {
        let pod = format!("fogline-broker-{node}");
        init.extend([
            "--node".to_owned(),
            format!("{pod}@{pod}.fogline-broker-nodes.fogline.svc"),
        ]);
    }
    run(&init.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = desk.path().join("fogline/cloud.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let places =
        "[broker]\nfiles_at = \"/etc/fogline-broker\"\nstore_at = \"/var/lib/fogline-broker\"";
    std::fs::write(&settings, text.replace("\n[broker]", places)).unwrap();
    run(&["broker", "config", "--config", "fogline/cloud.toml"]);

    let folder = desk.path().join("fogline/broker/fogline-broker-1");
    let names = std::fs::read_dir(&folder).unwrap();
    let names: Vec<String> = names
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let made: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(made, mounted);

    let configuration = std::fs::read_to_string(folder.join("nats-server.conf")).unwrap();
    let container = broker.containers().next().unwrap();
    for mount in ["node", "data"] {
        let path = list(container, "/volumeMounts").find(|each| at(each, "/name") == mount);
        let path = at(path.unwrap(), "/mountPath").as_str().unwrap();
        assert!(
            configuration.contains(&format!("\"{path}")),
            "{mount}: {path}"
        );
    }
    for port in list(container, "/ports") {
        let number = at(port, "/containerPort");
        assert!(
            configuration.contains(&format!(":{number}\"")),
            "{number}: {configuration}"
        );
    }
    // What our own services are told is how the pods are called.
    let text = std::fs::read_to_string(&settings).unwrap();
    let service = objects
        .of("Service")
        .find(|service| at(service, "/spec/clusterIP") == "None")
        .unwrap();
    let named = at(service, "/metadata/name").as_str().unwrap();
    assert!(
        text.contains(&format!("tls://fogline-broker-2.{named}.fogline.svc:4222")),
        "{text}"
    );
}
