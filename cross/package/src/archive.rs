//! The two containers of a package: `tar` members with root as owner and one time, inside `ar`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// A file of the package: mode and content.
pub(crate) type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// An uncompressed `tar` of the files and of the folders above them, names relative.
pub(crate) fn tar(files: &Files, time: u64) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    let mut made: Vec<&Path> = Vec::new();
    for (path, (mode, content)) in files {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        for folder in above {
            if !made.contains(&folder) {
                made.push(folder);
                let name = match relative(folder) {
                    name if name.is_empty() => "./".to_owned(),
                    name => format!("{name}/"),
                };
                let mut header = header(EntryType::Directory, 0o755, 0, time);
                builder.append_data(&mut header, name, std::io::empty())?;
            }
        }
        let length = u64::try_from(content.len())?;
        let mut header = header(EntryType::Regular, *mode, length, time);
        builder.append_data(&mut header, relative(path), content.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

fn relative(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

fn header(kind: EntryType, mode: u32, length: u64, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    // Of this length they always fit.
    let _fits = header
        .set_username("root")
        .and(header.set_groupname("root"));
    header
}

/// An `ar` archive as `dpkg` reads it.
pub(crate) fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let length = content.len();
        let head = format!(
            "{name:<16}{time:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
            0, 0, "100644"
        );
        bytes.extend(head.bytes());
        bytes.extend(*content);
        if length % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_odd_length_are_padded() {
        let bytes = ar(&[("a", b"x"), ("b", b"yz")], 7);
        assert_eq!(bytes.len(), 8 + 60 + 2 + 60 + 2);
        assert!(bytes.starts_with(b"!<arch>\na               7           "));
    }

    #[test]
    fn a_tar_names_every_folder_once_before_what_is_in_it() {
        let files: Files = [
            ("/usr/bin/a", 0o755),
            ("/usr/bin/b", 0o644),
            ("/usr/c", 0o644),
        ]
        .map(|(path, mode)| (PathBuf::from(path), (mode, b"hi".to_vec())))
        .into();
        let bytes = tar(&files, 1_700_000_000).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!(
                    (header.uid().unwrap(), header.mtime().unwrap()),
                    (0, 1_700_000_000)
                );
                let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                (path, header.mode().unwrap())
            })
            .collect();
        let expected = [
            ("./", 0o755),
            ("usr/", 0o755),
            ("usr/bin/", 0o755),
            ("usr/bin/a", 0o755),
            ("usr/bin/b", 0o644),
            ("usr/c", 0o644),
        ];
        assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
