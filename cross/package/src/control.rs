//! The package's description for `dpkg`.

use crate::archive::Files;
use crate::recipe::Recipe;

/// Who answers for our packages.
const MAINTAINER: &str = "The Fogline authors <fogline@localhost>";

/// The control file. `glibc` is the oldest that the binary runs on.
pub(crate) fn control(
    recipe: &Recipe,
    version: &str,
    arch: &str,
    glibc: (u32, u32),
    files: &Files,
) -> String {
    let bytes: usize = files
        .values()
        .map(|(_, content)| content.len().div_ceil(1024))
        .sum();
    let mut depends = vec![format!("libc6 (>= {}.{})", glibc.0, glibc.1)];
    depends.extend(recipe.depends.iter().cloned());
    let name = &recipe.name;
    let (depends, recommends) = (depends.join(", "), recipe.recommends.join(", "));
    let mut text = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {bytes}\nDepends: {depends}\n"
    );
    if !recommends.is_empty() {
        text += &format!("Recommends: {recommends}\n");
    }
    text += &format!(
        "Section: net\nPriority: optional\nDescription: {}\n",
        recipe.summary
    );
    for line in recipe.description.trim().lines() {
        text += &if line.is_empty() {
            " .\n".to_owned()
        } else {
            format!(" {line}\n")
        };
    }
    text
}
