//! All that some packages need, and what they need in turn.
//!
//! Of alternatives the first that is chosen already counts, then the first that exists, then whoever
//! provides the name (what a small system has anyway before the others). Versions are not compared:
//! all candidates are the newest of one release, which is consistent in itself.

use super::index::Package;
use anyhow::Context as _;
use std::collections::{BTreeMap, HashMap};

/// The packages of that name and everything they depend on, by name.
pub(super) fn closure<'a>(
    roots: &[String],
    without: &[String],
    known: &'a [Package],
) -> anyhow::Result<Vec<&'a Package>> {
    let by_name: HashMap<&str, &Package> = known.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut chosen: BTreeMap<&str, &Package> = BTreeMap::new();
    let mut open: Vec<&Package> = Vec::new();
    for root in roots {
        let package = by_name.get(root.as_str());
        open.push(package.with_context(|| format!("no suite has a package {root}"))?);
    }
    // The named ones first: they decide which alternative is there already.
    chosen.extend(open.iter().map(|package| (package.name.as_str(), *package)));
    while let Some(package) = open.pop() {
        for any in &package.depends {
            let is_there = |name: &String| {
                without.contains(name)
                    || chosen.contains_key(name.as_str())
                    || chosen.values().any(|other| other.provides.contains(name))
            };
            if any.iter().any(is_there) {
                continue;
            }
            let next = any
                .iter()
                .find_map(|name| by_name.get(name.as_str()).copied())
                .or_else(|| any.iter().find_map(|name| provider(name, known)))
                .with_context(|| format!("{} needs {}", package.name, any.join(" or ")))?;
            chosen.insert(&next.name, next);
            open.push(next);
        }
    }
    Ok(chosen.into_values().collect())
}

fn provider<'a>(name: &String, known: &'a [Package]) -> Option<&'a Package> {
    let mut providers = known.iter().filter(|p| p.provides.contains(name));
    let first = providers.clone().next();
    providers.find(|package| package.usual).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, depends: &[&[&str]], provides: &[&str], usual: bool) -> Package {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Package {
            name: name.into(),
            depends: depends.iter().map(|any| names(any)).collect(),
            provides: names(provides),
            usual,
            ..Package::default()
        }
    }

    fn names(chosen: &[&Package]) -> Vec<String> {
        chosen.iter().map(|package| package.name.clone()).collect()
    }

    #[test]
    fn what_is_needed_is_followed_through_alternatives_virtual_names_and_circles() {
        let known = [
            package("app", &[&["gone", "lib"], &["awk"], &["log"]], &[], false),
            package("lib", &[&["app"]], &[], false),
            package("gawk", &[], &["awk"], false),
            package("mawk", &[], &["awk"], true),
            package("log", &[], &[], false),
            package("unrelated", &[], &[], true),
        ];
        let roots = ["app".to_owned()];
        let chosen = closure(&roots, &["log".to_owned()], &known).unwrap();
        assert_eq!(names(&chosen), ["app", "lib", "mawk"]);
        let both = ["app".to_owned(), "gawk".to_owned()];
        let chosen = closure(&both, &[], &known).unwrap();
        assert_eq!(names(&chosen), ["app", "gawk", "lib", "log"]);
    }

    #[test]
    fn what_nobody_has_is_named_with_who_needs_it() {
        let known = [package("app", &[&["x", "y"]], &[], false)];
        let error = closure(&["app".to_owned()], &[], &known).unwrap_err();
        assert_eq!(error.to_string(), "app needs x or y");
    }
}
