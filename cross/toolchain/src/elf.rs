//! What the gates ask of a binary: machine type, needed libraries, symbol versions.
//!
//! A reader for little-endian ELF of 32 and 64 bits that knows just enough. It never trusts an offset:
//! what points outside the file is an error, not a panic.

use anyhow::{Context as _, bail, ensure};

/// What a binary says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Libraries that the loader must find, in order.
    pub needed: Vec<String>,
    /// Versions of symbols that they must have, such as `GLIBC_2.17`.
    pub versions: Vec<String>,
    /// Whether a table of symbols for debuggers is left.
    pub has_symbols: bool,
}

const SHT_SYMTAB: u32 = 2;
const SHT_DYNAMIC: u32 = 6;
const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;
const DT_NEEDED: u64 = 1;
/// More sections than this has no binary of ours.
const MAX_SECTIONS: u64 = 4096;

/// Reads a binary.
///
/// # Errors
/// When it is no little-endian ELF file, or damaged.
pub fn read(bytes: &[u8]) -> anyhow::Result<Elf> {
    let file = File::new(bytes)?;
    let sections = file.sections()?;
    let mut elf = Elf {
        machine: file.u16(18)?,
        needed: Vec::new(),
        versions: Vec::new(),
        has_symbols: false,
    };
    for section in &sections {
        match section.kind {
            SHT_SYMTAB => elf.has_symbols = true,
            SHT_DYNAMIC => {
                let strings = file.linked(&sections, section)?;
                elf.needed = file.needed(section, strings)?;
            }
            SHT_GNU_VERNEED => {
                let strings = file.linked(&sections, section)?;
                elf.versions = file.versions(section, strings)?;
            }
            _ => {}
        }
    }
    Ok(elf)
}

/// The newest version of glibc that a binary asks for.
#[must_use]
pub fn newest_glibc(versions: &[String]) -> Option<(u32, u32)> {
    let numbers = versions.iter().filter_map(|version| {
        let mut parts = version.strip_prefix("GLIBC_")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    numbers.max()
}

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
}

struct File<'a> {
    bytes: &'a [u8],
    wide: bool,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> anyhow::Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF"), "it is no ELF file");
        let wide = match bytes.get(4) {
            Some(1) => false,
            Some(2) => true,
            _ => bail!("it has neither 32 nor 64 bits"),
        };
        ensure!(bytes.get(5) == Some(&1), "it is big-endian");
        Ok(Self { bytes, wide })
    }

    fn take<const N: usize>(&self, at: u64) -> anyhow::Result<[u8; N]> {
        let at = usize::try_from(at)?;
        let end = at.checked_add(N).context("an offset beyond all bounds")?;
        let bytes = self.bytes.get(at..end);
        let bytes = bytes.with_context(|| format!("it ends before byte {end}"))?;
        Ok(bytes.try_into()?)
    }

    fn u16(&self, at: u64) -> anyhow::Result<u16> {
        self.take(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: u64) -> anyhow::Result<u32> {
        self.take(at).map(u32::from_le_bytes)
    }

    /// A word as wide as the file's addresses.
    fn word(&self, at: u64) -> anyhow::Result<u64> {
        if self.wide {
            self.take(at).map(u64::from_le_bytes)
        } else {
            self.u32(at).map(u64::from)
        }
    }

    fn sections(&self) -> anyhow::Result<Vec<Section>> {
        let (at_offset, at_size, at_count) = if self.wide {
            (40, 58, 60)
        } else {
            (32, 46, 48)
        };
        let table = self.word(at_offset)?;
        let size = u64::from(self.u16(at_size)?);
        let count = u64::from(self.u16(at_count)?);
        ensure!(count <= MAX_SECTIONS, "it has {count} sections");
        (0..count)
            .map(|index| {
                let at = table
                    .checked_add(index * size)
                    .context("a table beyond all bounds")?;
                let word = if self.wide { 8 } else { 4 };
                // name and kind take 4 bytes each; flags, address, offset and size a word each.
                let words = at.saturating_add(8);
                Ok(Section {
                    kind: self.u32(at.saturating_add(4))?,
                    offset: self.word(words.saturating_add(2 * word))?,
                    size: self.word(words.saturating_add(3 * word))?,
                    link: self.u32(words.saturating_add(4 * word))?,
                    info: self.u32(words.saturating_add(4 * word + 4))?,
                })
            })
            .collect()
    }

    fn linked<'s>(&self, all: &'s [Section], section: &Section) -> anyhow::Result<&'s Section> {
        let link = usize::try_from(section.link)?;
        all.get(link).context("a section without its strings")
    }

    fn text(&self, strings: &Section, offset: u64) -> anyhow::Result<String> {
        ensure!(offset < strings.size, "a name outside its table");
        let at = strings.offset.saturating_add(offset);
        let bytes = self.bytes.get(usize::try_from(at)?..).unwrap_or_default();
        let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn needed(&self, section: &Section, strings: &Section) -> anyhow::Result<Vec<String>> {
        let word = if self.wide { 8 } else { 4 };
        let mut names = Vec::new();
        for entry in 0..section.size / (2 * word) {
            let at = section.offset.saturating_add(entry * 2 * word);
            if self.word(at)? == DT_NEEDED {
                names.push(self.text(strings, self.word(at.saturating_add(word))?)?);
            }
        }
        Ok(names)
    }

    /// `Elfxx_Verneed` and its chain of `Elfxx_Vernaux` look alike in both widths.
    fn versions(&self, section: &Section, strings: &Section) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut need = section.offset;
        for _ in 0..section.info {
            let mut aux = need.saturating_add(u64::from(self.u32(need.saturating_add(8))?));
            for _ in 0..self.u16(need.saturating_add(2))? {
                let name = self.u32(aux.saturating_add(8))?;
                names.push(self.text(strings, u64::from(name))?);
                aux = aux.saturating_add(u64::from(self.u32(aux.saturating_add(12))?));
            }
            need = need.saturating_add(u64::from(self.u32(need.saturating_add(12))?));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn this_very_program_is_read_correctly() {
        let elf = read(&this_program()).unwrap();
        let machine = if cfg!(target_arch = "x86_64") {
            62
        } else {
            183
        };
        assert_eq!(elf.machine, machine);
        assert!(elf.has_symbols);
        assert!(elf.needed.iter().any(|name| name == "libc.so.6"), "{elf:?}");
        let (major, minor) = newest_glibc(&elf.versions).unwrap();
        assert!(major == 2 && minor >= 17, "{:?}", elf.versions);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let versions = ["GLIBC_2.4", "GLIBC_2.30", "GCC_3.5", "GLIBC_2.9"].map(str::to_owned);
        assert_eq!(newest_glibc(&versions), Some((2, 30)));
        assert_eq!(newest_glibc(&[]), None);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        assert!(read(b"#!/bin/sh").is_err());
        let whole = this_program();
        let head = whole.get(..64).unwrap();
        assert!(read(head).is_err(), "its sections are cut off");
        // Every header field in turn points to nonsense.
        for at in 4..64 {
            for value in [0x00, 0x7f, 0xff] {
                let mut damaged = whole.get(..200_000).unwrap().to_vec();
                if let Some(byte) = damaged.get_mut(at) {
                    *byte = value;
                }
                let _either = read(&damaged);
            }
        }
    }
}
