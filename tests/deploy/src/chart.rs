//! The chart, rendered for many values.

use crate::objects::Objects;
use crate::tools::{Tools, said, text};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// Where the chart is, from the workspace's root.
pub const CHART: &str = "deploy/helm/fogline";

/// What the chart demands of everybody, as if somebody had given it.
pub const GIVEN: [&str; 6] = [
    "image.repository=registry.example.com/fogline/fogline-cloud",
    "image.digest=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "broker.image.digest=sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    "secrets.services=fogline-services",
    "secrets.console=fogline-console",
    "secrets.brokerNodes=fogline-broker",
];

/// One choice of values: files of the chart, then single ones.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// For messages and file names.
    pub name: &'static str,
    /// `values-*.yaml` of the chart, the later over the earlier.
    pub files: &'static [&'static str],
    /// `key=value`.
    pub set: &'a [&'a str],
}

/// The values that are shipped.
pub const HA: Values<'static> = Values {
    name: "ha",
    files: &["values-ha.yaml"],
    set: &[],
};

/// Routes need names.
const ROUTES: &[&str] = &[
    "mqtt.host=mqtt.example.com",
    "console.host=fogline.example.com",
];

/// The matrix: each file that is shipped, as its guide combines them, and each choice that changes which
/// objects there are.
pub const MATRIX: [Values<'static>; 11] = [
    HA,
    Values {
        name: "defaults",
        files: &[],
        set: &[],
    },
    Values {
        name: "small",
        files: &["values-small.yaml"],
        set: &[],
    },
    Values {
        name: "openshift-ha",
        files: &["values-ha.yaml", "values-openshift.yaml"],
        set: ROUTES,
    },
    Values {
        name: "openshift-small",
        files: &["values-small.yaml", "values-openshift.yaml"],
        set: ROUTES,
    },
    Values {
        name: "aks-ha",
        files: &["values-ha.yaml", "values-aks.yaml"],
        set: &[],
    },
    Values {
        name: "aks-small",
        files: &["values-small.yaml", "values-aks.yaml"],
        set: &[],
    },
    Values {
        name: "fixed-node-ports",
        files: &["values-ha.yaml"],
        set: &[
            "mqtt.exposure=nodePort",
            "mqtt.nodePort=30004",
            "console.exposure=nodePort",
            "console.nodePort=30005",
        ],
    },
    Values {
        name: "nothing-outside",
        files: &["values-ha.yaml"],
        set: &[
            "mqtt.exposure=none",
            "broker.replicas=5",
            "mqtt.sourceRanges={10.0.0.0/8}",
        ],
    },
    Values {
        name: "admin",
        files: &["values-small.yaml"],
        set: &[
            "admin.enabled=true",
            "admin.replicas=1",
            "admin.existingSecret=fogline-authority",
            "imagePullSecrets[0].name=registry",
        ],
    },
    Values {
        name: "placed",
        files: &["values-ha.yaml"],
        set: &[
            "broker.nodeSelector.disk=local",
            "broker.tolerations[0].key=broker",
            "roles.ingest.nodeSelector.pool=cloud",
            "networkPolicy.databaseTo[0].ipBlock.cidr=10.1.0.0/24",
            "mqtt.sourceRanges={10.0.0.0/8,192.168.0.0/16}",
        ],
    },
];

/// `helm template` with these values.
fn template(tools: &Tools, values: &Values<'_>, given: bool) -> Command {
    let mut helm = tools.program("helm");
    helm.args(["template", "fogline", CHART, "--namespace", "fogline"]);
    for file in values.files {
        helm.args(["--values", &format!("{CHART}/{file}")]);
    }
    let given: &[&str] = if given { &GIVEN } else { &[] };
    for set in given.iter().chain(values.set) {
        helm.args(["--set", set]);
    }
    helm
}

/// Renders each into a file `{name}.yaml` and reads the objects.
///
/// # Errors
/// What Helm says.
pub fn render(tools: &Tools, choices: &[Values<'_>], into: &Path) -> Result<Vec<Objects>> {
    let mut files = Vec::new();
    for values in choices {
        let yaml = text(&mut template(tools, values, true))?;
        let file = into.join(format!("{}.yaml", values.name));
        std::fs::write(&file, yaml).with_context(|| format!("writing {}", file.display()))?;
        files.push(file);
    }
    let documents = tools.documents(&files)?;
    Ok(documents.into_iter().map(Objects::new).collect())
}

/// What Helm says when it refuses values; none where it renders them.
///
/// # Errors
/// Helm cannot be started.
pub fn refusal(tools: &Tools, values: &Values<'_>, given: bool) -> Result<Option<String>> {
    let output = template(tools, values, given).output()?;
    Ok((!output.status.success()).then(|| said(&output)))
}
