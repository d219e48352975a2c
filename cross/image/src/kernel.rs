//! The kernel and the modules that serve: which are kept, and in which order the first ones are loaded.

use crate::tree::Tree;
use anyhow::Context as _;
use cross_toolchain::program;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// Below which folders of `kernel/` modules are kept; everything else is hardware that no board has.
const KEPT: [&str; 34] = [
    "arch/arm64/crypto/",
    "crypto/",
    "drivers/bluetooth/",
    "drivers/block/virtio_blk",
    "drivers/block/loop",
    "drivers/char/hw_random/",
    "drivers/char/virtio_console",
    "drivers/crypto/virtio/",
    "drivers/firmware/",
    "drivers/gpio/",
    "drivers/hid/hid-generic",
    "drivers/hid/usbhid/",
    "drivers/i2c/busses/",
    "drivers/mfd/",
    "drivers/mmc/",
    "drivers/net/mdio",
    "drivers/net/net_failover",
    "drivers/net/phy/",
    "drivers/net/usb/",
    "drivers/net/virtio_net",
    "drivers/nvme/",
    "drivers/nvmem/",
    "drivers/phy/",
    "drivers/rtc/",
    "drivers/scsi/",
    "drivers/tty/",
    "drivers/usb/",
    "drivers/virtio/",
    "drivers/watchdog/",
    "fs/",
    "lib/",
    "net/802/",
    "net/bluetooth/",
    "net/core/",
];

/// Of the kept folders, what still serves nobody here.
const LEFT_OUT: [&str; 20] = [
    "drivers/scsi/", // but sd_mod and what it needs: taken as dependencies
    "drivers/usb/gadget/",
    "drivers/usb/image/",
    "drivers/usb/misc/",
    "drivers/usb/atm/",
    "fs/9p/",
    "fs/afs/",
    "fs/bcachefs/",
    "fs/btrfs/",
    "fs/ceph/",
    "fs/cifs/",
    "fs/dlm/",
    "fs/f2fs/",
    "fs/gfs2/",
    "fs/jfs/",
    "fs/nfs",
    "fs/ocfs2/",
    "fs/smb",
    "fs/xfs/",
    "fs/reiserfs/",
];

/// Kept whatever their folder.
const ALWAYS: [&str; 3] = ["sd_mod", "uas", "virtio_mmio"];

/// What must be loaded before the root can be read.
const FIRST: [&str; 9] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "squashfs",
    "ext4",
    "crc32c_generic",
    "sd_mod",
    "usb_storage",
    "xhci_pci",
];

/// A module: where it is and what it needs.
struct Module {
    path: String,
    needs: Vec<String>,
}

/// What an image needs of a kernel.
pub(crate) struct Kernel {
    /// The kernel itself.
    pub(crate) image: Vec<u8>,
    /// Modules for the first file system, in the order of loading.
    pub(crate) first: Vec<(String, Vec<u8>)>,
}

/// Takes the kernel out of the tree, drops modules that do not serve and indexes the rest.
pub(crate) fn take(tree: &mut Tree, serves: &dyn Fn(&str) -> bool) -> anyhow::Result<Kernel> {
    let boot: Vec<String> = tree
        .files_below("boot/vmlinuz-")
        .map(|(path, _)| path.to_owned())
        .collect();
    let [path] = boot.as_slice() else {
        anyhow::bail!("there are {} kernels, wanted is one", boot.len());
    };
    let version = path.trim_start_matches("boot/vmlinuz-").to_owned();
    let image = tree.bytes(path)?.to_vec();
    tree.remove("boot");
    tree.folder("boot", 0o755);

    let base = format!("usr/lib/modules/{version}/kernel/");
    let modules = read(tree, &base);
    let first = order(&FIRST, &modules)?;
    let chosen: Vec<&str> = modules
        .iter()
        .filter(|(name, module)| {
            let place = module.path.trim_start_matches(&base);
            ALWAYS.contains(&name.as_str()) || keeps(place) && serves(place)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let kept: BTreeSet<String> = order(&chosen, &modules)?
        .into_iter()
        .filter_map(|name| modules.get(&name).map(|module| module.path.clone()))
        .collect();
    let first = first
        .into_iter()
        .map(|name| {
            let module = modules
                .get(&name)
                .context("invariant: ordered modules are known")?;
            Ok((name, tree.bytes(&module.path)?.to_vec()))
        })
        .collect::<anyhow::Result<_>>()?;
    tree.retain(|path| !path.starts_with(&base) || !path.ends_with(".ko") || kept.contains(path));
    index(tree, &version)?;
    Ok(Kernel { image, first })
}

fn keeps(place: &str) -> bool {
    KEPT.iter().any(|folder| place.starts_with(folder))
        && !LEFT_OUT.iter().any(|folder| place.starts_with(folder))
}

fn read(tree: &Tree, base: &str) -> BTreeMap<String, Module> {
    let files = tree
        .files_below(base)
        .filter(|(path, _)| path.ends_with(".ko"));
    files
        .map(|(path, content)| {
            let needs = needs(content);
            (
                name_of(path),
                Module {
                    path: path.to_owned(),
                    needs,
                },
            )
        })
        .collect()
}

/// `kernel/drivers/usb/storage/usb-storage.ko` is the module `usb_storage`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.trim_end_matches(".ko").replace('-', "_")
}

/// What a module says it depends on: the text behind `depends=` of its `.modinfo`.
fn needs(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let at = content.windows(KEY.len()).position(|window| window == KEY);
    let text = at.and_then(|at| content.get(at + KEY.len()..));
    let text = text.and_then(|text| text.split(|&byte| byte == 0).next());
    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

/// The named modules and what they need, each behind what it needs; built-in ones are passed over.
fn order(names: &[&str], modules: &BTreeMap<String, Module>) -> anyhow::Result<Vec<String>> {
    fn visit(
        name: &str,
        modules: &BTreeMap<String, Module>,
        above: &mut Vec<String>,
        done: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        if done.iter().any(|other| other == name) {
            return Ok(());
        }
        let circle = above.iter().any(|other| other == name);
        anyhow::ensure!(!circle, "modules need each other: {name}");
        let Some(module) = modules.get(name) else {
            return Ok(());
        };
        above.push(name.to_owned());
        for need in &module.needs {
            visit(need, modules, above, done)?;
        }
        above.pop();
        done.push(name.to_owned());
        Ok(())
    }
    let (mut above, mut done) = (Vec::new(), Vec::new());
    for name in names {
        visit(name, modules, &mut above, &mut done)?;
    }
    Ok(done)
}

/// Has `depmod` write its indexes for the modules that were kept.
fn index(tree: &mut Tree, version: &str) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("making a scratch folder")?;
    let base = format!("usr/lib/modules/{version}/");
    for (path, content) in tree.files_below(&base) {
        // The base folder of `depmod` holds `lib/modules`.
        let path = dir.path().join(path.trim_start_matches("usr/"));
        let above = path.parent().context("invariant: below lib/modules")?;
        fs::create_dir_all(above)?;
        fs::write(&path, content)?;
    }
    let mut depmod = Command::new("depmod");
    program::run(depmod.arg("--basedir").arg(dir.path()).arg(version), "kmod")?;
    for entry in fs::read_dir(dir.path().join(format!("lib/modules/{version}")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("modules.") {
            tree.file(&format!("{base}{name}"), fs::read(entry.path())?, 0o644);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, needs: &[&str]) -> (String, Module) {
        let needs = needs.iter().map(|&need| need.to_owned()).collect();
        (
            name_of(path),
            Module {
                path: path.to_owned(),
                needs,
            },
        )
    }

    #[test]
    fn a_module_is_loaded_behind_what_it_needs() {
        let modules = BTreeMap::from([
            module("k/ext4.ko", &["jbd2", "mbcache", "built_in"]),
            module("k/jbd2.ko", &[]),
            module("k/mbcache.ko", &[]),
            module("k/usb-storage.ko", &["scsi_mod"]),
            module("k/scsi_mod.ko", &[]),
        ]);
        let found = order(&["ext4", "usb_storage"], &modules).unwrap();
        assert_eq!(
            found,
            ["jbd2", "mbcache", "ext4", "scsi_mod", "usb_storage"]
        );
    }

    #[test]
    fn what_a_module_needs_is_read_from_it() {
        let content = b"\x7fELF..license=GPL\0depends=usbcore,scsi-mod\0name=x\0";
        assert_eq!(needs(content), ["usbcore", "scsi_mod"]);
        assert!(needs(b"\0depends=\0").is_empty() && needs(b"").is_empty());
    }

    #[test]
    fn modules_that_need_each_other_are_an_error_and_no_endless_loop() {
        let modules = BTreeMap::from([module("a.ko", &["b"]), module("b.ko", &["a"])]);
        assert!(order(&["a"], &modules).is_err());
    }
}
