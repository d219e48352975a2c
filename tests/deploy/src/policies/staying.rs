//! What keeps the service up while pods, hosts and zones go, and while versions change.

use super::Policy;
use crate::objects::{Objects, Pods, at, list, name, selects};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Seconds that a role takes to drain after SIGTERM, at most; a node of the broker, as a lame duck.
const ROLE_DRAINS: u64 = 30;
const BROKER_DRAINS: u64 = 60;

pub(super) const POLICIES: &[Policy] = &[
    Policy {
        name: "a selector selects its own pods and no others",
        broken: misled,
        mutant: |objects| {
            let pod = objects.change("Deployment", "fogline-api")?;
            let label = "/spec/template/metadata/labels/app.kubernetes.io~1component";
            *pod.pointer_mut(label)? = "auth".into();
            Some(())
        },
    },
    Policy {
        name: "pods are spread over hosts and zones",
        broken: huddled,
        mutant: |objects| {
            let pod = objects.change("StatefulSet", "fogline-broker")?;
            pod.pointer_mut("/spec/template/spec/topologySpreadConstraints")?
                .as_array_mut()?
                .pop()?;
            Some(())
        },
    },
    Policy {
        name: "there are probes, and one that says ready is not one that says alive",
        broken: unprobed,
        mutant: |objects| {
            let pod = objects.change("Deployment", "fogline-ingest")?;
            let container = pod.pointer_mut("/spec/template/spec/containers/0")?;
            let ready = container.get("readinessProbe")?.clone();
            *container.get_mut("livenessProbe")? = ready;
            Some(())
        },
    },
    Policy {
        name: "pods are told to go, and given the time for it",
        broken: rushed,
        mutant: |objects| {
            let pod = objects.change("StatefulSet", "fogline-broker")?;
            *pod.pointer_mut("/spec/template/spec/terminationGracePeriodSeconds")? = 30.into();
            Some(())
        },
    },
    Policy {
        name: "one disruption budget for each kind of pod, and none that forbids draining",
        broken: undisturbed,
        mutant: |objects| {
            let budget = objects.change("PodDisruptionBudget", "fogline-auth")?;
            budget
                .pointer_mut("/spec")?
                .as_object_mut()?
                .insert("minAvailable".to_owned(), json!(1));
            Some(())
        },
    },
    Policy {
        name: "what scales by itself exists, has room, and is told nowhere else how many it is",
        broken: unscaled,
        mutant: |objects| {
            let pods = objects.change("Deployment", "fogline-ingest")?;
            pods.pointer_mut("/spec")?
                .as_object_mut()?
                .insert("replicas".to_owned(), json!(1));
            Some(())
        },
    },
    Policy {
        name: "a new version takes over before the old one leaves",
        broken: gaps,
        mutant: |objects| {
            let pods = objects.change("Deployment", "fogline-auth")?;
            *pods.pointer_mut("/spec/strategy/rollingUpdate/maxUnavailable")? = 1.into();
            Some(())
        },
    },
    Policy {
        name: "a volume of the broker is deleted by people alone",
        broken: forgetful,
        mutant: |objects| {
            let pods = objects.change("StatefulSet", "fogline-broker")?;
            *pods.pointer_mut("/spec/persistentVolumeClaimRetentionPolicy/whenScaled")? =
                "Delete".into();
            Some(())
        },
    },
];

fn misled(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods().filter(|pods| pods.kind != "Job") {
        let selector = at(pods.workload, "/selector");
        let selected = objects
            .pods()
            .filter(|other| selects(selector, other.labels));
        let selected: Vec<&str> = selected.map(|other| other.name).collect();
        if selected != [pods.name] {
            found.push(format!("{} selects {selected:?}", pods.name));
        }
    }
    found
}

fn huddled(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.serving() {
        let constraints = || list(pods.spec, "/topologySpreadConstraints");
        for key in ["kubernetes.io/hostname", "topology.kubernetes.io/zone"] {
            let spreads = |each: &Value| {
                at(each, "/topologyKey") == key
                    && at(each, "/maxSkew") == 1
                    && selects(at(each, "/labelSelector"), pods.labels)
            };
            if constraints().filter(|each| spreads(each)).count() != 1 {
                found.push(format!("{} is not spread over {key}", pods.name));
            }
        }
    }
    found
}

fn unprobed(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.serving() {
        for container in pods.containers() {
            let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
            let [startup, ready, live] =
                probes.map(|probe| at(container, &format!("/{probe}/httpGet")));
            for (probe, get) in [
                ("startup", startup),
                ("readiness", ready),
                ("liveness", live),
            ] {
                if !pods.has_port(at(get, "/port")) {
                    found.push(format!(
                        "{}: the {probe} probe asks no port of it",
                        pods.name
                    ));
                }
            }
            if ready == live {
                found.push(format!("{}: not ready would be dead", pods.name));
            }
        }
    }
    found
}

fn rushed(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.serving() {
        let needs = if pods.kind == "StatefulSet" {
            BROKER_DRAINS
        } else {
            ROLE_DRAINS
        };
        let grace = at(pods.spec, "/terminationGracePeriodSeconds").as_u64();
        if grace.is_none_or(|grace| grace < needs) {
            found.push(format!(
                "{} needs {needs} s to go, and has {grace:?}",
                pods.name
            ));
        }
        if pods
            .containers()
            .any(|each| at(each, "/lifecycle/preStop").is_null())
        {
            found.push(format!("{} is cut off while it is still asked", pods.name));
        }
    }
    found
}

fn undisturbed(objects: &Objects) -> Vec<String> {
    let budgets = || objects.of("PodDisruptionBudget");
    let covers =
        |budget: &Value, pods: &Pods<'_>| selects(at(budget, "/spec/selector"), pods.labels);
    let mut found = Vec::new();
    for pods in objects.serving() {
        let count = budgets().filter(|budget| covers(budget, &pods)).count();
        if count != 1 {
            found.push(format!("{}: {count} budgets", pods.name));
        }
    }
    for budget in budgets() {
        let some = at(budget, "/spec/maxUnavailable")
            .as_u64()
            .is_some_and(|some| some >= 1);
        if !some || !at(budget, "/spec/minAvailable").is_null() {
            found.push(format!("{} may forbid draining a host", name(budget)));
        }
        if objects
            .serving()
            .filter(|pods| covers(budget, pods))
            .count()
            != 1
        {
            found.push(format!("{} is not about one kind of pod", name(budget)));
        }
    }
    found
}

fn unscaled(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    let scaled: BTreeSet<&str> = objects
        .of("HorizontalPodAutoscaler")
        .filter_map(|scaler| at(scaler, "/spec/scaleTargetRef/name").as_str())
        .collect();
    for target in &scaled {
        if !objects.of("Deployment").any(|pods| name(pods) == *target) {
            found.push(format!("{target} does not exist"));
        }
    }
    for pods in objects.pods().filter(|pods| pods.kind == "Deployment") {
        let told = !at(pods.workload, "/replicas").is_null();
        if told == scaled.contains(pods.name) {
            found.push(format!("{}: told how many by none or by two", pods.name));
        }
    }
    for scaler in objects.of("HorizontalPodAutoscaler") {
        let bound = |key| at(scaler, key).as_u64().unwrap_or_default();
        if bound("/spec/minReplicas") >= bound("/spec/maxReplicas") {
            found.push(format!("{} has no room to scale", name(scaler)));
        }
    }
    found
}

fn gaps(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.serving().filter(|pods| pods.kind == "Deployment") {
        if at(pods.workload, "/strategy/rollingUpdate/maxUnavailable") != 0 {
            found.push(format!("{} may be away during an upgrade", pods.name));
        }
    }
    found
}

fn forgetful(objects: &Objects) -> Vec<String> {
    let policy = "/spec/persistentVolumeClaimRetentionPolicy";
    let keeps = |set: &Value| {
        ["/whenDeleted", "/whenScaled"]
            .iter()
            .all(|when| at(set, &format!("{policy}{when}")) == "Retain")
    };
    let sets = objects.of("StatefulSet").filter(|set| !keeps(set));
    sets.map(|set| format!("{} deletes volumes", name(set)))
        .collect()
}
