//! What runs in pods, as whom, and with what.

use super::Policy;
use crate::objects::{Objects, at, list, name};
use serde_json::{Value, json};

pub(super) const POLICIES: &[Policy] = &[
    Policy {
        name: "images are pinned by digest",
        broken: unpinned,
        mutant: |objects| {
            let pod = objects.change("Deployment", "fogline-api")?;
            *pod.pointer_mut("/spec/template/spec/containers/0/image")? = "nats:latest".into();
            Some(())
        },
    },
    Policy {
        name: "pods run as any user, and never as root",
        broken: |objects| {
            pods_lack(
                objects,
                &[
                    ("/securityContext/runAsNonRoot", json!(true)),
                    (
                        "/securityContext/seccompProfile/type",
                        json!("RuntimeDefault"),
                    ),
                    ("/automountServiceAccountToken", json!(false)),
                    ("/hostNetwork", Value::Null),
                    ("/hostPID", Value::Null),
                ],
            )
        },
        mutant: |objects| {
            let pod = objects.change("StatefulSet", "fogline-broker")?;
            *pod.pointer_mut("/spec/template/spec/securityContext/runAsNonRoot")? = false.into();
            Some(())
        },
    },
    Policy {
        name: "containers gain nothing and write to no image",
        broken: |objects| {
            containers_lack(
                objects,
                &[
                    ("/securityContext/allowPrivilegeEscalation", json!(false)),
                    ("/securityContext/readOnlyRootFilesystem", json!(true)),
                    ("/securityContext/capabilities", json!({"drop": ["ALL"]})),
                    ("/securityContext/privileged", Value::Null),
                ],
            )
        },
        mutant: |objects| {
            let pod = objects.change("Job", "fogline-migrate")?;
            let root = "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem";
            *pod.pointer_mut(root)? = false.into();
            Some(())
        },
    },
    Policy {
        name: "every container says what it needs and how much memory it may take",
        broken: unmeasured,
        mutant: |objects| {
            let pod = objects.change("StatefulSet", "fogline-broker")?;
            let resources = "/spec/template/spec/initContainers/0/resources";
            pod.pointer_mut(resources)?
                .as_object_mut()?
                .remove("limits")?;
            Some(())
        },
    },
    Policy {
        name: "secrets are mounted, never written out",
        broken: written_out,
        mutant: |objects| {
            let pod = objects.change("Deployment", "fogline-auth")?;
            let container = pod.pointer_mut("/spec/template/spec/containers/0")?;
            container.as_object_mut()?.insert(
                "env".to_owned(),
                json!([{"name": "DATABASE_PASSWORD", "value": "hunter2"}]),
            );
            Some(())
        },
    },
    Policy {
        name: "what is mounted exists, and what may be written has a bound",
        broken: unbounded,
        mutant: |objects| {
            let pod = objects.change("Deployment", "fogline-tasks")?;
            pod.pointer_mut("/spec/template/spec/volumes")?
                .as_array_mut()?
                .remove(0);
            Some(())
        },
    },
];

fn unpinned(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        for container in pods.all_containers() {
            let image = at(container, "/image").as_str().unwrap_or_default();
            let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
            let is_pinned = digest.is_some_and(|digest| {
                digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            if !is_pinned {
                found.push(format!("{}: {image}", pods.name));
            }
        }
    }
    found
}

fn pods_lack(objects: &Objects, wanted: &[(&str, Value)]) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        for (pointer, value) in wanted {
            if at(pods.spec, pointer) != value {
                found.push(format!("{}: {pointer} is not {value}", pods.name));
            }
        }
        let on_host = list(pods.spec, "/volumes").any(|each| !at(each, "/hostPath").is_null());
        if on_host {
            found.push(format!("{}: mounts a folder of the host", pods.name));
        }
    }
    found
}

fn containers_lack(objects: &Objects, wanted: &[(&str, Value)]) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        for container in pods.all_containers() {
            for (pointer, value) in wanted {
                if at(container, pointer) != value {
                    found.push(format!("{}: {pointer} is not {value}", pods.name));
                }
            }
        }
    }
    found
}

fn unmeasured(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        for container in pods.all_containers() {
            for needed in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                if at(container, &format!("/resources{needed}")).is_null() {
                    found.push(format!(
                        "{}: {} lacks {needed}",
                        pods.name,
                        at(container, "/name")
                    ));
                }
            }
        }
    }
    found
}

/// No object of the chart is a Secret, no variable's name speaks of one, and nothing looks like a
/// connection string or a key.
fn written_out(objects: &Objects) -> Vec<String> {
    const NAMES: [&str; 5] = ["PASSWORD", "TOKEN", "SECRET", "SEED", "DATABASE_URL"];
    const TEXTS: [&str; 4] = ["postgres://", "postgresql://", "-----BEGIN", "password="];
    let mut found: Vec<String> = objects
        .of("Secret")
        .map(|secret| format!("the Secret {} is made by the chart", name(secret)))
        .collect();
    for pods in objects.pods() {
        for variable in pods.all_containers().flat_map(|each| list(each, "/env")) {
            let called = at(variable, "/name").as_str().unwrap_or_default();
            let is_secret = NAMES
                .iter()
                .any(|part| called.to_uppercase().contains(part));
            if is_secret && !at(variable, "/value").is_null() {
                found.push(format!("{}: {called} has its value written out", pods.name));
            }
        }
    }
    for object in objects.all() {
        let text = object.to_string();
        for part in TEXTS.iter().filter(|part| text.contains(**part)) {
            found.push(format!("{} holds {part:?}", name(object)));
        }
    }
    found
}

fn unbounded(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        let claims =
            list(pods.workload, "/volumeClaimTemplates").map(|each| at(each, "/metadata/name"));
        let volumes = list(pods.spec, "/volumes").map(|each| at(each, "/name"));
        let there: Vec<&Value> = claims.chain(volumes).collect();
        for mount in pods
            .all_containers()
            .flat_map(|each| list(each, "/volumeMounts"))
        {
            if !there.contains(&at(mount, "/name")) {
                found.push(format!("{}: no volume {}", pods.name, at(mount, "/name")));
            }
        }
        for volume in list(pods.spec, "/volumes") {
            let is_folder = !at(volume, "/emptyDir").is_null();
            if is_folder && at(volume, "/emptyDir/sizeLimit").is_null() {
                found.push(format!(
                    "{}: {} may grow for ever",
                    pods.name,
                    at(volume, "/name")
                ));
            }
        }
    }
    found
}
