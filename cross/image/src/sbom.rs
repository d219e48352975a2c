//! What is in an image, in the form that scanners read: `CycloneDX` 1.5.

use cross_toolchain::lock::Pinned;
use serde_json::{Value, json};

/// The list of an image's packages.
pub(crate) fn list(packages: &[&Pinned], gateway_version: &str, board: &str) -> Value {
    let component = |file: &&Pinned| {
        json!({
            "type": "library",
            "name": file.name,
            "version": file.version,
            "purl": format!("pkg:deb/debian/{}@{}?arch=arm64&distro=debian-12", file.name, file.version),
            "hashes": [{ "alg": "SHA-256", "content": file.sha256 }],
            "externalReferences": [{ "type": "distribution", "url": file.url }],
        })
    };
    let mut components: Vec<Value> = packages.iter().map(component).collect();
    components.push(json!({
        "type": "application",
        "name": "fogline-gateway",
        "version": gateway_version,
        "description": "the crates linked into it stand in Cargo.lock of its sources",
    }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "operating-system", "name": format!("fogline-image-{board}") } },
        "components": components,
    })
}
