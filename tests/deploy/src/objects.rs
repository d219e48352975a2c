//! Rendered objects of Kubernetes, and the questions that policies ask about them.

use serde_json::{Map, Value};

/// All objects of one rendering.
#[derive(Debug, Clone)]
pub struct Objects(Vec<Value>);

/// The pods that a workload makes.
#[derive(Debug, Clone, Copy)]
pub struct Pods<'a> {
    /// `StatefulSet/fogline-broker`.
    pub name: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The workload's own `spec`.
    pub workload: &'a Value,
    /// Labels of each pod.
    pub labels: &'a Value,
    /// `spec` of each pod.
    pub spec: &'a Value,
}

/// Kinds that make pods.
const WORKLOADS: [&str; 3] = ["StatefulSet", "Deployment", "Job"];

impl Objects {
    /// As a rendering gives them.
    #[must_use]
    pub const fn new(objects: Vec<Value>) -> Self {
        Self(objects)
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    /// Those of a kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all().filter(move |object| at(object, "/kind") == kind)
    }

    /// Pods of every workload.
    pub fn pods(&self) -> impl Iterator<Item = Pods<'_>> {
        let workloads = self.all().filter(|object| {
            let kind = at(object, "/kind").as_str().unwrap_or_default();
            WORKLOADS.contains(&kind)
        });
        workloads.map(|object| Pods {
            name: name(object),
            kind: at(object, "/kind").as_str().unwrap_or_default(),
            workload: at(object, "/spec"),
            labels: at(object, "/spec/template/metadata/labels"),
            spec: at(object, "/spec/template/spec"),
        })
    }

    /// Pods that serve: neither jobs nor the pod that somebody works in.
    pub fn serving(&self) -> impl Iterator<Item = Pods<'_>> {
        self.pods().filter(|pods| {
            let component = at(pods.labels, "/app.kubernetes.io~1component");
            pods.kind != "Job" && component != "admin"
        })
    }

    /// One object by kind and name, to break it.
    pub fn change(&mut self, kind: &str, called: &str) -> Option<&mut Value> {
        let is_it = |object: &&mut Value| at(object, "/kind") == kind && name(object) == called;
        self.0.iter_mut().find(is_it)
    }

    /// Puts one more beside them.
    pub fn add(&mut self, object: Value) {
        self.0.push(object);
    }

    /// Keeps those that fit.
    pub fn keep(&mut self, fits: impl Fn(&Value) -> bool) {
        self.0.retain(fits);
    }
}

impl<'a> Pods<'a> {
    /// Containers that run all the time.
    pub fn containers(&self) -> impl Iterator<Item = &'a Value> {
        list(self.spec, "/containers")
    }

    /// Those and the ones before them.
    pub fn all_containers(&self) -> impl Iterator<Item = &'a Value> {
        self.containers().chain(list(self.spec, "/initContainers"))
    }

    /// Whether a container has a port of this name.
    #[must_use]
    pub fn has_port(&self, port: &Value) -> bool {
        let mut ports = self.containers().flat_map(|each| list(each, "/ports"));
        ports.any(|each| at(each, "/name") == port || at(each, "/containerPort") == port)
    }
}

/// What stands at a JSON pointer; null where nothing does.
#[must_use]
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The items of a list; none where there is no list.
pub fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(value, pointer).as_array().into_iter().flatten()
}

/// An object's name.
#[must_use]
pub fn name(object: &Value) -> &str {
    at(object, "/metadata/name").as_str().unwrap_or("?")
}

/// Whether a label selector selects these labels. An empty one selects everything, none nothing.
#[must_use]
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(_) = selector.as_object() else {
        return false;
    };
    let empty = Map::new();
    let wanted = at(selector, "/matchLabels").as_object().unwrap_or(&empty);
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && list(selector, "/matchExpressions").all(|each| {
            let key = at(each, "/key").as_str().unwrap_or_default();
            let held = labels.get(key);
            let named = held.is_some_and(|held| list(each, "/values").any(|value| value == held));
            match at(each, "/operator").as_str() {
                Some("In") => named,
                Some("NotIn") => !named,
                Some("Exists") => held.is_some(),
                _ => false,
            }
        })
}
