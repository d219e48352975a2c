//! The guides of deployments: no block is without a reader. What runs on one machine is run by
//! `tests/rig`; of what needs a cluster, at least the chart's commands and the names are tried.

use crate::tools;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tests_deploy::chart::GIVEN;
use tests_deploy::guide::{self, Block};
use tests_deploy::objects::{at, name};
use tests_deploy::{Objects, Tools, root};
use tests_interop::need;

const FOLDER: &str = "deploy/guides";
/// Everything that a fence may say. `sh live` is a promise to nobody but the reader.
const KINDS: [&str; 5] = ["sh", "sh live", "toml", "yaml", "text"];
/// Programs that only live blocks may use.
const LIVE: [&str; 21] = [
    "apt-get",
    "install",
    "setpriv",
    "systemctl",
    "export",
    "docker",
    "podman",
    "kubectl",
    "helm",
    "oc",
    "az",
    "ansible-playbook",
    "curl",
    "pg_dump",
    "pg_restore",
    "createdb",
    "fogline-cloud",
    "mmdebstrap",
    "sysctl",
    "journalctl",
    "skopeo",
];
/// Kinds of objects that commands name as `kind/name`.
const NAMED: [(&str, &str); 4] = [
    ("deployment/", "Deployment"),
    ("statefulset/", "StatefulSet"),
    ("service/", "Service"),
    ("route/", "Route"),
];

fn guides() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(root().join(FOLDER)).expect("the guides are there");
    let mut guides: Vec<_> = folder
        .map(|entry| entry.expect("the folder can be read").path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a guide can be read");
            (path, text)
        })
        .collect();
    guides.sort();
    assert!(guides.len() >= 9);
    guides
}

/// Lines of a block, continued ones joined.
fn lines(block: &Block<'_>) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every relative link of a guide, without its anchor.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.starts_with("http")).then_some(target)
    })
}

/// What the chart renders for the `helm install` or `upgrade` of a guide, with its own values beside it.
fn rendered(tools: &Tools, desk: &Path, command: &str) -> Objects {
    let command = command.replacen("helm upgrade --install ", "helm template ", 1);
    let command = command.replacen("helm upgrade ", "helm template ", 1);
    let mut shell = tools.shell();
    let digest = |key: &str| {
        let mut given = GIVEN.iter();
        let value = given.find_map(|set| set.strip_prefix(key)?.strip_prefix('='));
        value.expect("it is given")
    };
    let output = shell
        .args(["-ec", &command])
        .current_dir(desk)
        .env("FOGLINE_DIGEST", digest("image.digest"))
        .env("NATS_DIGEST", digest("broker.image.digest"))
        .output()
        .expect("sh starts");
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = desk.join("rendered.yaml");
    std::fs::write(&file, output.stdout).expect("the folder can be written");
    let documents = tools.documents(&[file]).expect("Helm renders YAML");
    Objects::new(documents.into_iter().flatten().collect())
}

#[test]
fn every_block_and_every_link_leads_somewhere() {
    let rig = std::fs::read_to_string(root().join("tests/rig/src/stories/guides.rs")).unwrap();
    for (path, text) in guides() {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        for block in guide::of(&text) {
            assert!(
                KINDS.contains(&block.kind),
                "{shown}:{}: a block of {:?}",
                block.line,
                block.kind
            );
            if block.kind == "sh" {
                assert!(
                    rig.contains(&format!("\"{shown}\"")),
                    "{shown}:{}: nobody runs it",
                    block.line
                );
            }
            if block.kind == "sh live" {
                for line in lines(&block) {
                    let first = line.split_whitespace().next().unwrap_or_default();
                    assert!(
                        LIVE.contains(&first),
                        "{shown}:{}: what is {first:?}?",
                        block.line
                    );
                }
            }
        }
        for link in links(&text) {
            assert!(
                path.with_file_name(link).exists(),
                "{shown}: {link} leads nowhere"
            );
        }
    }
}

#[test]
fn commands_of_the_chart_fit_it_and_name_what_it_makes() {
    let tools = need!(tools());
    let mut tried = 0;
    for (path, text) in guides() {
        let desk = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("deploy"), desk.path().join("deploy")).unwrap();
        let mut made = BTreeSet::new();
        let mut asked = Vec::new();
        for block in guide::of(&text) {
            if let Some(file) = block.file() {
                std::fs::write(desk.path().join(file), block.text).unwrap();
            }
            if block.kind != "sh live" {
                continue;
            }
            for line in lines(&block) {
                if line.starts_with("helm upgrade ") {
                    let objects = rendered(&tools, desk.path(), &line);
                    let names = objects.all().map(|object| {
                        let kind = at(object, "/kind").as_str().unwrap_or_default();
                        format!("{kind}/{}", name(object))
                    });
                    made.extend(names);
                    tried += 1;
                }
                asked.extend(line.split_whitespace().map(str::to_owned));
            }
        }
        // Only where the guide installs: others speak of what one of them installed.
        for word in asked.iter().filter(|_| !made.is_empty()) {
            for (prefix, kind) in NAMED {
                if let Some(called) = word.strip_prefix(prefix) {
                    let wanted = format!("{kind}/{called}");
                    assert!(
                        made.contains(&wanted),
                        "{}: there is no {wanted}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(tried >= 4, "only {tried} commands were tried");
}

#[test]
fn the_playbooks_that_guides_name_are_there() {
    let mut named = 0;
    for (path, text) in guides() {
        for block in guide::of(&text).filter(|block| block.kind == "sh live") {
            for line in lines(&block)
                .iter()
                .filter(|line| line.starts_with("ansible-playbook "))
            {
                let words = line
                    .split_whitespace()
                    .filter(|word| word.ends_with(".yaml"));
                for file in words {
                    let file = root().join("deploy/ansible").join(file);
                    assert!(file.exists(), "{}: {}", path.display(), file.display());
                    named += 1;
                }
            }
        }
    }
    assert!(named >= 4);
}
