//! The partition table: GPT with its copy at the end, written by hand so that it is the same each time.

use anyhow::Context as _;

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;
/// Entries that a table has room for.
const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;
/// Sectors of a table's entries.
const TABLE_SECTORS: u64 = 32;

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    /// Its name, by which it is found.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) kind: Guid,
    /// Which one it is.
    pub(crate) id: Guid,
    /// First sector.
    pub(crate) start: u64,
    /// How many.
    pub(crate) sectors: u64,
}

/// An identifier as it is written: `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guid(pub(crate) u128);

impl Guid {
    /// The first three groups are little-endian on disk, the rest is not.
    fn bytes(self) -> [u8; 16] {
        let mut bytes = self.0.to_be_bytes();
        let (first, rest) = bytes.split_at_mut(4);
        first.reverse();
        let (second, rest) = rest.split_at_mut(2);
        second.reverse();
        let (third, _) = rest.split_at_mut(2);
        third.reverse();
        bytes
    }
}

/// The sectors at the beginning of a disk and those at its end.
pub(crate) fn table(
    disk: Guid,
    partitions: &[Partition],
    sectors: u64,
) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::with_capacity(ENTRIES * ENTRY_BYTES);
    for partition in partitions {
        let last = partition.start + partition.sectors - 1;
        anyhow::ensure!(
            last < sectors - TABLE_SECTORS - 1,
            "{} does not fit the disk",
            partition.name
        );
        entries.extend(partition.kind.bytes());
        entries.extend(partition.id.bytes());
        entries.extend(partition.start.to_le_bytes());
        entries.extend(last.to_le_bytes());
        entries.extend(0_u64.to_le_bytes());
        let mut name: Vec<u8> = partition
            .name
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        anyhow::ensure!(name.len() <= 72, "{} is too long a name", partition.name);
        name.resize(72, 0);
        entries.extend(name);
    }
    entries.resize(ENTRIES * ENTRY_BYTES, 0);
    let sum = crc32fast::hash(&entries);
    let last = sectors.checked_sub(1).context("a disk without sectors")?;
    let sector = usize::try_from(SECTOR)?;

    let mut front = protective(sectors);
    let mut header = header(disk, sum, [1, last, 2], sectors);
    header.resize(sector, 0);
    front.extend(header);
    front.extend(&entries);
    let mut back = entries;
    let mut copy = self::header(disk, sum, [last, 1, last - TABLE_SECTORS], sectors);
    copy.resize(sector, 0);
    back.extend(copy);
    Ok((front, back))
}

/// A header: where it lies, where its copy lies, where its entries lie.
fn header(disk: Guid, sum: u32, [mine, other, entries]: [u64; 3], sectors: u64) -> Vec<u8> {
    let write = |own: u32| {
        let mut bytes = b"EFI PART\0\0\x01\0".to_vec();
        bytes.extend(92_u32.to_le_bytes());
        bytes.extend(own.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        for number in [mine, other, 2 + TABLE_SECTORS, sectors - TABLE_SECTORS - 2] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(disk.bytes());
        bytes.extend(entries.to_le_bytes());
        for number in [128_u32, 128, sum] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    };
    write(crc32fast::hash(&write(0)))
}

/// The old table, that tells old programs to keep away.
fn protective(sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; 446];
    bytes.extend([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESP: Guid = Guid(0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B);

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes.get(at..at + 8).unwrap().try_into().unwrap())
    }

    #[test]
    fn identifiers_are_mixed_endian_on_disk() {
        let start = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b];
        assert!(ESP.bytes().starts_with(&start));
    }

    #[test]
    fn both_tables_carry_their_sums_and_point_to_each_other() {
        let sectors = 1 << 20;
        let partition = Partition {
            name: "esp",
            kind: ESP,
            id: Guid(1),
            start: 2048,
            sectors: 4096,
        };
        let (front, back) = table(Guid(7), &[partition], sectors).unwrap();
        assert_eq!((front.len(), back.len()), (34 * 512, 33 * 512));
        for (header, mine, other) in [
            (front.get(512..604).unwrap(), 1, sectors - 1),
            (back.get(32 * 512..32 * 512 + 92).unwrap(), sectors - 1, 1),
        ] {
            assert_eq!((number(header, 24), number(header, 32)), (mine, other));
            let mut zeroed = header.to_vec();
            zeroed.get_mut(16..20).unwrap().fill(0);
            let sum = u32::from_le_bytes(header.get(16..20).unwrap().try_into().unwrap());
            assert_eq!(crc32fast::hash(&zeroed), sum);
        }
        let entry = front.get(1024..1152).unwrap();
        assert_eq!((number(entry, 32), number(entry, 40)), (2048, 6143));
        assert_eq!(entry.get(56..62).unwrap(), b"e\0s\0p\0");
    }

    #[test]
    fn a_partition_that_does_not_fit_is_refused() {
        let partition = Partition {
            name: "data",
            kind: ESP,
            id: Guid(1),
            start: 2048,
            sectors: 4096,
        };
        assert!(table(Guid(7), &[partition], 6144 + 32).is_err());
    }
}
