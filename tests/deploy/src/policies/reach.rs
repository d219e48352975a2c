//! Who reaches whom.

use super::Policy;
use crate::objects::{Objects, at, list, name, selects};
use serde_json::{Value, json};

/// Ports that may be seen from outside: TLS, with certificates or a login.
const OUTSIDE: [&str; 2] = ["mqtts", "https"];

pub(super) const POLICIES: &[Policy] = &[
    Policy {
        name: "nothing reaches a pod, or leaves it, unless a policy says so",
        broken: undenied,
        mutant: |objects| {
            objects.keep(|object| name(object) != "fogline-default-deny");
            Some(())
        },
    },
    Policy {
        name: "no network policy opens every port",
        broken: wide_open,
        mutant: |objects| {
            let policy = objects.change("NetworkPolicy", "fogline-broker")?;
            *policy.pointer_mut("/spec/ingress/0")? = json!({});
            Some(())
        },
    },
    Policy {
        name: "network policies name ports and pods that exist",
        broken: pointless,
        mutant: |objects| {
            let policy = objects.change("NetworkPolicy", "fogline-console")?;
            *policy.pointer_mut("/spec/ingress/0/ports/0/port")? = "http".into();
            Some(())
        },
    },
    Policy {
        name: "a service leads to a port of pods that exist",
        broken: dead_ends,
        mutant: |objects| {
            let service = objects.change("Service", "fogline-mqtt")?;
            *service.pointer_mut("/spec/ports/0/targetPort")? = "mqtt".into();
            Some(())
        },
    },
    Policy {
        name: "outside are TLS ports alone, and nobody in between opens them",
        broken: exposed,
        mutant: |objects| {
            objects.add(json!({
                "kind": "Service",
                "metadata": {"name": "fogline-monitor"},
                "spec": {
                    "type": "LoadBalancer",
                    "externalTrafficPolicy": "Local",
                    "ports": [{"targetPort": "monitor"}],
                },
            }));
            Some(())
        },
    },
    Policy {
        name: "no port needs a privilege, and none is plain MQTT",
        broken: low_ports,
        mutant: |objects| {
            let pod = objects.change("StatefulSet", "fogline-broker")?;
            *pod.pointer_mut("/spec/template/spec/containers/0/ports/0/containerPort")? =
                1883.into();
            Some(())
        },
    },
];

fn undenied(objects: &Objects) -> Vec<String> {
    let denies = |policy: &&Value| {
        list(policy, "/spec/policyTypes").count() == 2
            && at(policy, "/spec/ingress").is_null()
            && at(policy, "/spec/egress").is_null()
    };
    let denying: Vec<&Value> = objects.of("NetworkPolicy").filter(denies).collect();
    let is_open = |labels: &Value| {
        let mut covers = denying.iter().map(|policy| at(policy, "/spec/podSelector"));
        !covers.any(|selector| selects(selector, labels))
    };
    let open = objects.pods().filter(|pods| is_open(pods.labels));
    open.map(|pods| format!("{} is not covered", pods.name))
        .collect()
}

fn wide_open(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for policy in objects.of("NetworkPolicy") {
        for way in ["/spec/ingress", "/spec/egress"] {
            for rule in list(policy, way) {
                if list(rule, "/ports").next().is_none() {
                    found.push(format!("{}: {way} opens all ports", name(policy)));
                }
            }
        }
    }
    found
}

fn pointless(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for policy in objects.of("NetworkPolicy") {
        let selector = at(policy, "/spec/podSelector");
        let own: Vec<_> = objects
            .pods()
            .filter(|pods| selects(selector, pods.labels))
            .collect();
        if own.is_empty() {
            found.push(format!("{} is about no pod", name(policy)));
        }
        for port in list(policy, "/spec/ingress").flat_map(|rule| list(rule, "/ports")) {
            if !own.iter().any(|pods| pods.has_port(at(port, "/port"))) {
                found.push(format!(
                    "{}: no pod of it has port {}",
                    name(policy),
                    at(port, "/port")
                ));
            }
        }
        // Towards our own pods; whoever is elsewhere has ports that we do not know.
        for rule in list(policy, "/spec/egress") {
            for peer in list(rule, "/to").filter(|peer| !at(peer, "/podSelector").is_null()) {
                let selector = at(peer, "/podSelector");
                let there = || objects.pods().filter(|pods| selects(selector, pods.labels));
                for port in list(rule, "/ports").map(|port| at(port, "/port")) {
                    if !there().any(|pods| pods.has_port(port)) {
                        found.push(format!("{}: nobody listens on {port}", name(policy)));
                    }
                }
            }
        }
    }
    found
}

fn dead_ends(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for service in objects.of("Service") {
        let selector = json!({"matchLabels": at(service, "/spec/selector")});
        let behind: Vec<_> = objects
            .serving()
            .filter(|pods| selects(&selector, pods.labels))
            .collect();
        if behind.len() != 1 {
            found.push(format!(
                "{}: {} workloads behind it",
                name(service),
                behind.len()
            ));
        }
        for port in list(service, "/spec/ports").map(|port| at(port, "/targetPort")) {
            if !behind.iter().all(|pods| pods.has_port(port)) {
                found.push(format!("{}: no port {port} behind it", name(service)));
            }
        }
    }
    for route in objects.of("Route") {
        let to = at(route, "/spec/to/name");
        let port = at(route, "/spec/port/targetPort");
        let mut services = objects
            .of("Service")
            .filter(|service| at(service, "/metadata/name") == to);
        let leads = services
            .any(|service| list(service, "/spec/ports").any(|each| at(each, "/name") == port));
        if !leads {
            found.push(format!("the route {} leads nowhere", name(route)));
        }
    }
    found
}

fn exposed(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for service in objects.of("Service") {
        let kind = at(service, "/spec/type").as_str().unwrap_or("ClusterIP");
        if kind == "ClusterIP" {
            continue;
        }
        for port in list(service, "/spec/ports").map(|port| at(port, "/targetPort")) {
            if !OUTSIDE.iter().any(|allowed| port == allowed) {
                found.push(format!("{}: {port} is open to everybody", name(service)));
            }
        }
        if at(service, "/spec/externalTrafficPolicy") != "Local" {
            found.push(format!(
                "{}: the address of who connects is lost",
                name(service)
            ));
        }
    }
    for route in objects.of("Route") {
        if at(route, "/spec/tls/termination") != "passthrough" {
            found.push(format!("{}: the router opens the connection", name(route)));
        }
    }
    found
}

fn low_ports(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for pods in objects.pods() {
        for port in pods.all_containers().flat_map(|each| list(each, "/ports")) {
            let number = at(port, "/containerPort").as_u64().unwrap_or_default();
            if number <= 1024 || number == 1883 {
                found.push(format!("{}: port {number}", pods.name));
            }
        }
    }
    found
}
