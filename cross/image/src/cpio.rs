//! The archive that a kernel unpacks into its first file system: `cpio` in the `newc` form.

/// An archive being written.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inode: usize,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

impl Cpio {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, b"");
    }

    /// Adds a file that everybody may run.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.entry(path, LINK, to.as_bytes());
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = usize::MAX;
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode = self.inode.wrapping_add(1);
        let (inode, length, name) = (self.inode, content.len(), path.len() + 1);
        // inode, mode, owner (2), links, time, length, device (4), length of the name, sum
        let header = format!(
            "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{length:08X}{0:08X}{0:08X}{0:08X}{0:08X}{name:08X}{0:08X}",
            0, 1
        );
        self.bytes.extend(header.bytes());
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn entries_are_aligned_and_the_trailer_ends_them() {
        let mut cpio = Cpio::default();
        cpio.folder("bin");
        cpio.program("bin/sh", b"#!");
        cpio.link("sh", "bin/sh");
        let bytes = cpio.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn cpio_reads_it_where_it_is_installed() {
        let mut cpio = Cpio::default();
        cpio.folder("bin");
        cpio.program("bin/sh", b"hello");
        let listed = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = listed else { return };
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&cpio.finish())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "bin\nbin/sh\n");
    }
}
