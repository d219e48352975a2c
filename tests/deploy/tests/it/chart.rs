//! The chart: what it renders, what it refuses, and whether the policies would notice.

use crate::tools;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests_deploy::chart::{self, CHART, GIVEN, MATRIX, Values};
use tests_deploy::objects::{at, list};
use tests_deploy::{Objects, Tools, policies};
use tests_interop::need;

/// Kubernetes versions whose schemas the objects must satisfy: the oldest that the chart admits, two in
/// between, the newest that the validator knows.
const VERSIONS: &str = "1.29,1.32,1.35,1.37";

/// Every choice of the matrix, rendered once for all tests into a folder that outlives them.
fn rendered(tools: &Tools) -> &'static (PathBuf, Vec<Objects>) {
    static ALL: OnceLock<(PathBuf, Vec<Objects>)> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart");
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        let objects = chart::render(tools, &MATRIX, &folder).expect("the chart renders");
        (folder, objects)
    })
}

/// The rendering of `values-ha.yaml`.
fn ha(tools: &Tools) -> &'static Objects {
    rendered(tools)
        .1
        .first()
        .expect("the matrix begins with it")
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let tools = need!(tools());
    for values in MATRIX {
        let mut lint = tools.program("helm");
        lint.args(["lint", "--strict", CHART]);
        for file in values.files {
            lint.args(["--values", &format!("{CHART}/{file}")]);
        }
        for set in GIVEN.iter().chain(values.set) {
            lint.args(["--set", set]);
        }
        let output = lint.output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", values.name);
    }
}

#[test]
fn every_rendering_satisfies_the_schemas_and_our_policies() {
    let tools = need!(tools());
    let (folder, all) = rendered(&tools);
    let mut broken = Vec::new();
    for (Values { name, .. }, objects) in MATRIX.iter().zip(all) {
        assert!(
            objects.pods().count() >= 6,
            "{name} renders hardly anything"
        );
        for policy in policies::all() {
            let found = (policy.broken)(objects).into_iter();
            broken.extend(found.map(|line| format!("{name}: {}: {line}", policy.name)));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    let files: Vec<PathBuf> = MATRIX
        .iter()
        .map(|values| folder.join(format!("{}.yaml", values.name)))
        .collect();
    let mut arguments = vec!["kubernetes", VERSIONS];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let refused = tools.objects(&arguments).unwrap();
    assert_eq!(refused.trim(), "");
}

#[test]
fn each_policy_notices_its_mutant() {
    let tools = need!(tools());
    let sound = ha(&tools);
    for policy in policies::all() {
        let mut mutant = sound.clone();
        (policy.mutant)(&mut mutant).unwrap_or_else(|| panic!("{}: no mutant", policy.name));
        let found = (policy.broken)(&mutant);
        assert!(!found.is_empty(), "{}: the mutant passes", policy.name);
    }
}

#[test]
fn a_type_that_kubernetes_does_not_know_is_noticed() {
    let tools = need!(tools());
    let sound = std::fs::read_to_string(rendered(&tools).0.join("ha.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    let broken = sound.replace("maxReplicas: 9", "maxReplicas: nine");
    assert_ne!(sound, broken);
    std::fs::write(&file, broken).unwrap();
    let refused = tools
        .objects(&["kubernetes", VERSIONS, file.to_str().unwrap()])
        .unwrap();
    assert!(
        refused.contains("HorizontalPodAutoscaler/fogline-ingest"),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 4, "{refused}");
}

#[test]
fn what_must_be_given_is_asked_for_by_name() {
    let tools = need!(tools());
    let bare = Values {
        name: "bare",
        files: &[],
        set: &[],
    };
    let said = chart::refusal(&tools, &bare, false).unwrap();
    assert!(said.is_some_and(|said| said.contains("is empty: give")));
    for (set, expected) in [
        ("image.repository=", "image.repository is empty"),
        ("image.digest=", "image.digest is empty"),
        (
            "image.digest=latest",
            "give sha256: and 64 hexadecimal digits",
        ),
        (
            "broker.image.digest=2.15.1",
            "give sha256: and 64 hexadecimal digits",
        ),
        (
            "broker.image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "a placeholder: give the digest",
        ),
        ("secrets.services=", "secrets.services is empty"),
        ("secrets.services=changeme", "\"changeme\", a placeholder"),
        ("secrets.console=<your secret>", "a placeholder"),
        ("secrets.brokerNodes=REPLACE_ME", "a placeholder"),
        ("secrets.brokerNodes=your-secret", "a placeholder"),
        ("mqtt.exposure=route", "mqtt.host is empty"),
        ("mqtt.exposure=ingress", "mqtt.exposure"),
        ("mqtt.nodePort=8883", "mqtt.nodePort"),
        ("admin.enabled=true", "admin.existingSecret is empty"),
        ("broker.replicas=2", "broker.replicas"),
        ("broker.replica=3", "replica is not allowed"),
        ("roles.ingest.resources.limits.memory=lots", "memory"),
    ] {
        let values = Values {
            name: "refused",
            files: &[],
            set: &[set],
        };
        let said = chart::refusal(&tools, &values, true).unwrap();
        let said = said.unwrap_or_else(|| panic!("{set} was taken"));
        assert!(said.contains(expected), "{set}: {said}");
    }
}

#[test]
fn on_openshift_the_namespace_says_who_everything_runs_as() {
    let tools = need!(tools());
    for (Values { name, .. }, objects) in MATRIX.iter().zip(&rendered(&tools).1) {
        let is_fixed = |objects: &Objects| {
            objects
                .pods()
                .all(|pods| at(pods.spec, "/securityContext/runAsUser").is_u64())
        };
        let is_free = |objects: &Objects| {
            objects.pods().all(|pods| {
                let of_pod = ["runAsUser", "runAsGroup", "fsGroup"];
                of_pod
                    .iter()
                    .all(|key| at(pods.spec, &format!("/securityContext/{key}")).is_null())
            })
        };
        // Elsewhere a number is needed: an image that names no user by number is refused.
        let expected = if name.starts_with("openshift") {
            is_free(objects)
        } else {
            is_fixed(objects)
        };
        assert!(expected, "{name}");
        assert_eq!(
            objects.of("Route").count(),
            if name.starts_with("openshift") { 2 } else { 0 }
        );
    }
}

#[test]
fn a_lost_zone_leaves_a_quorum_and_two_of_every_role() {
    let tools = need!(tools());
    let objects = ha(&tools);
    for pods in objects.serving() {
        let kept = |each: &serde_json::Value| at(each, "/whenUnsatisfiable") == "DoNotSchedule";
        assert!(
            list(pods.spec, "/topologySpreadConstraints").all(kept),
            "{}",
            pods.name
        );
        let replicas = at(pods.workload, "/replicas").as_u64();
        let scaled = objects
            .of("HorizontalPodAutoscaler")
            .find(|scaler| at(scaler, "/spec/scaleTargetRef/name") == pods.name)
            .and_then(|scaler| at(scaler, "/spec/minReplicas").as_u64());
        assert!(
            replicas.or(scaled).is_some_and(|count| count >= 2),
            "{}",
            pods.name
        );
    }
    assert_eq!(
        objects
            .of("StatefulSet")
            .next()
            .map(|set| at(set, "/spec/replicas").as_u64()),
        Some(Some(3))
    );
}
