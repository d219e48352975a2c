//! The layer rule: cloud crates never depend on gateway crates, nor the reverse; protocols depend on
//! neither; only tests may see everything. Checked from cargo's own description.

use crate::step;
use crate::workspace::Workspace;
use cargo_metadata::{DependencyKind, Package};

/// Layers that a crate of `layer` may name in `[dependencies]` and `[dev-dependencies]`.
fn allowed(layer: &str) -> &'static [&'static str] {
    match layer {
        "protocols" => &["protocols"],
        "gateway" => &["protocols", "gateway"],
        "cloud" => &["protocols", "cloud"],
        "tests" => &["protocols", "gateway", "cloud", "tests"],
        // Tools build the product; they are no part of it.
        "cross" => &["cross"],
        _ => &[],
    }
}

/// The words and the wire are all that the cloud may take from `protocols`.
const CLOUD_PROTOCOLS: [&str; 2] = ["protocols-model", "protocols-wire"];

fn layer(name: &str) -> Option<&str> {
    let layer = name.split('-').next()?;
    ["protocols", "gateway", "cloud", "tests", "cross"]
        .into_iter()
        .find(|known| *known == layer)
}

/// Every dependency that breaks the rule, as a sentence.
fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Some(own) = layer(&package.name) else {
            found.push(format!(
                "{} is in no layer: name it path-joined-by-hyphens",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(other) = layer(&dependency.name).filter(|_| dependency.path.is_some()) else {
                continue;
            };
            let is_test_kit = other == "tests" && dependency.kind == DependencyKind::Development;
            let is_allowed = allowed(own).contains(&other)
                && (own != "cloud"
                    || other == "cloud"
                    || CLOUD_PROTOCOLS.contains(&dependency.name.as_str()));
            if !is_allowed && !is_test_kit {
                found.push(format!(
                    "{} must not depend on {}",
                    package.name, dependency.name
                ));
            }
        }
    }
    found
}

/// Fails with every violation.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let packages = &workspace.metadata().packages;
    let found = violations(packages);
    anyhow::ensure!(
        found.is_empty(),
        "layers are broken (ARCHITECTURE.md says why they exist):\n  {}",
        found.join("\n  ")
    );
    step::say(&format!("layers hold: {} crates", packages.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |name: &&str| {
            format!(
                r#"{{"name":"{name}","source":null,"req":"*","kind":null,"rename":null,"optional":false,
                "uses_default_features":true,"features":[],"target":null,"registry":null,"path":"/x"}}"#
            )
        };
        let list: Vec<String> = dependencies.iter().map(dependency).collect();
        let text = format!(
            r#"{{"name":"{name}","version":"0.1.0","id":"{name}","source":null,"dependencies":[{}],
            "targets":[],"features":{{}},"manifest_path":"/x/Cargo.toml","edition":"2024","authors":[],
            "categories":[],"keywords":[],"license":null,"license_file":null,"description":null,
            "readme":null,"repository":null,"homepage":null,"documentation":null,"links":null,
            "publish":null,"metadata":null,"default_run":null,"rust_version":null}}"#,
            list.join(",")
        );
        serde_json_parse(&text)
    }

    fn serde_json_parse(text: &str) -> Package {
        cargo_metadata::MetadataCommand::parse(format!(
            r#"{{"packages":[{text}],"workspace_members":[],"workspace_default_members":[],
            "resolve":null,"workspace_root":"/x","target_directory":"/x","version":1,"metadata":null}}"#
        ))
        .unwrap()
        .packages
        .remove(0)
    }

    #[test]
    fn a_cloud_crate_that_reaches_into_the_gateway_is_named_and_the_reverse() {
        let good = [
            package("cloud-ingest", &["protocols-wire", "cloud-store"]),
            package("gateway-agent", &["protocols-modbus", "gateway-spool"]),
            package("tests-e2e", &["cloud-store", "gateway-spool"]),
            package("cross-image", &["cross-toolchain"]),
        ];
        assert_eq!(violations(&good), Vec::<String>::new());
        for (name, dependency) in [
            ("cloud-ingest", "gateway-spool"),
            ("gateway-agent", "cloud-store"),
            ("cloud-api", "protocols-modbus"),
            ("protocols-wire", "gateway-config"),
            ("gateway-agent", "tests-harness"),
            ("cross-image", "gateway-config"),
            ("gateway-agent", "cross-toolchain"),
        ] {
            let found = violations(&[package(name, &[dependency])]);
            assert_eq!(found, [format!("{name} must not depend on {dependency}")]);
        }
    }
}
