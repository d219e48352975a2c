//! Reading `InRelease` and `Packages`: stanzas of `Key: value` lines.

/// A package in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it depends on: all of these, of each any one.
    pub depends: Vec<Vec<String>>,
    /// Other names that it answers to.
    pub provides: Vec<String>,
    /// Whether a small system has it anyway (`required`, `important`).
    pub usual: bool,
    /// Where it is.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// The sum and size that an index gives for a file.
#[must_use]
pub fn listed(release: &str, entry: &str) -> Option<(String, u64)> {
    let sums = release
        .lines()
        .skip_while(|line| *line != "SHA256:")
        .skip(1);
    sums.take_while(|line| line.starts_with(' '))
        .find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (sum, size, name) = (words.next()?, words.next()?, words.next()?);
            (name == entry).then_some((sum.to_owned(), size.parse().ok()?))
        })
}

/// The packages of a list; a stanza that lacks what we need is left out.
pub fn packages<'a>(list: &'a str, archive: &'a str) -> impl Iterator<Item = Package> + 'a {
    list.split("\n\n")
        .filter_map(move |stanza| package(stanza, archive))
}

fn package(stanza: &str, archive: &str) -> Option<Package> {
    let mut package = Package::default();
    for line in stanza.lines() {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key {
            "Package" => value.clone_into(&mut package.name),
            "Version" => value.clone_into(&mut package.version),
            "Depends" | "Pre-Depends" => package.depends.extend(relations(value)),
            "Provides" => package
                .provides
                .extend(relations(value).into_iter().flatten()),
            "Priority" => package.usual = matches!(value, "required" | "important"),
            "Filename" => package.url = format!("{archive}/{value}"),
            "Size" => package.size = value.parse().ok()?,
            "SHA256" => value.clone_into(&mut package.sha256),
            _ => {}
        }
    }
    let whole = [
        &package.name,
        &package.version,
        &package.url,
        &package.sha256,
    ]
    .into_iter()
    .all(|field| !field.is_empty());
    whole.then_some(package)
}

/// `a (>= 1), b:any | c` as names; versions are left to the archive, which is consistent in itself.
fn relations(value: &str) -> Vec<Vec<String>> {
    let name = |one: &str| {
        let name = one.trim().split([' ', '(', ':', '[']).next();
        name.unwrap_or_default().to_owned()
    };
    value
        .split(',')
        .map(|any| any.split('|').map(name).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Package: a\nVersion: 1:2-3\nPriority: required\n\
        Pre-Depends: libc6 (>= 2.14)\nDepends: b:any (= 1) | c, awk\nProvides: x (= 1), y\n\
        Description: words: with colons\nFilename: pool/a.deb\nSize: 12\nSHA256: ab\n\n\
        Package: broken\nVersion: 1\nSize: many\n\n\
        Package: b\nVersion: 1\nFilename: pool/b.deb\nSize: 1\nSHA256: cd\n";

    #[test]
    fn a_list_is_read_and_what_is_broken_left_out() {
        let all: Vec<_> = packages(LIST, "https://example.org/debian").collect();
        assert_eq!(all.len(), 2);
        let a = all.first().unwrap();
        assert_eq!(a.depends, [vec!["libc6"], vec!["b", "c"], vec!["awk"]]);
        assert_eq!(a.provides, ["x", "y"]);
        assert_eq!(a.url, "https://example.org/debian/pool/a.deb");
        assert!(a.usual && a.size == 12);
    }

    #[test]
    fn sums_come_from_the_sha256_part_only() {
        let release =
            "MD5Sum:\n 00 1 main/x\nSHA256:\n 11 2 main/y\n 22 3 main/x\nSHA512:\n 33 4 main/z\n";
        assert_eq!(listed(release, "main/x"), Some(("22".into(), 3)));
        assert_eq!(listed(release, "main/z"), None);
    }
}
