//! From a recipe to a file.

use crate::archive::{Files, ar, tar};
use crate::control::control;
use crate::recipe::{Entry, Recipe};
use anyhow::Context as _;
use cross_toolchain::elf;
use cross_toolchain::program::{self, source_date};
use cross_toolchain::target::{Arch, GLIBC};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where documents of a package go that are made here.
const DOC: &str = "/usr/share/doc";

/// What is wanted.
#[derive(Debug)]
pub struct Order<'a> {
    /// The recipe's file.
    pub recipe: &'a Path,
    /// The program.
    pub binary: &'a Path,
    /// What `fogline-manual` wrote, where the recipe asks for it.
    pub manual: Option<&'a Path>,
    /// For which processor; the binary must agree.
    pub arch: Arch,
    /// `upstream-revision`.
    pub version: &'a str,
    /// The folder that the package goes to.
    pub into: &'a Path,
}

/// Builds a package and gives its path.
///
/// # Errors
/// When something is missing, or the binary is another machine's.
pub fn build(order: &Order<'_>) -> anyhow::Result<PathBuf> {
    let recipe = Recipe::read(order.recipe)?;
    let base = order.recipe.parent().context("a recipe lies in a folder")?;
    let time = source_date(base)?;
    let binary =
        fs::read(order.binary).with_context(|| format!("reading {}", order.binary.display()))?;
    let about = elf::read(&binary).with_context(|| order.binary.display().to_string())?;
    anyhow::ensure!(
        about.machine == order.arch.elf_machine(),
        "{} is not a program for {}",
        order.binary.display(),
        order.arch.name()
    );
    let glibc = elf::newest_glibc(&about.versions).unwrap_or(GLIBC);

    let mut files = Files::new();
    for entry in &recipe.file {
        let content = fs::read(place(order, &entry.from)?)
            .with_context(|| format!("reading {}", entry.from.display()))?;
        files.insert(entry.to.clone(), (entry.mode, content));
    }
    for entry in &recipe.folder {
        folder(order, entry, &mut files)?;
    }
    let name = &recipe.name;
    let changelog = changelog(name, order.version, time)?;
    let changelog = gzip(changelog.as_bytes())?;
    let doc = Path::new(DOC).join(name);
    files.insert(doc.join("changelog.Debian.gz"), (0o644, changelog));

    let arch = order.arch.debian();
    let description = control(&recipe, order.version, arch, glibc, &files);
    let mut about = Files::new();
    about.insert("/control".into(), (0o644, description.into_bytes()));
    let scripts = &recipe.scripts;
    for script in [&scripts.postinst, &scripts.prerm, &scripts.postrm] {
        let content =
            fs::read(base.join(script)).with_context(|| format!("reading {}", script.display()))?;
        let named = Path::new("/").join(script.file_name().context("a script has a name")?);
        about.insert(named, (0o755, content));
    }

    let xz = |files: &Files| {
        let mut pack = Command::new("xz");
        pack.args(["-6", "--threads=1", "--check=crc32"]);
        program::feed(&mut pack, &tar(files, time)?, "xz-utils")
    };
    let (about, content) = (xz(&about)?, xz(&files)?);
    let members: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", &about),
        ("data.tar.xz", &content),
    ];
    let path = order
        .into
        .join(format!("{name}_{}_{arch}.deb", order.version));
    fs::create_dir_all(order.into).with_context(|| format!("making {}", order.into.display()))?;
    fs::write(&path, ar(&members, time)).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Where a path of the recipe is.
fn place(order: &Order<'_>, from: &Path) -> anyhow::Result<PathBuf> {
    if from == Path::new("@binary") {
        return Ok(order.binary.to_owned());
    }
    if let Ok(name) = from.strip_prefix("@beside") {
        return Ok(order.binary.with_file_name(name));
    }
    if let Ok(rest) = from.strip_prefix("@manual") {
        let manual = order.manual.context("this package needs --manual")?;
        return Ok(manual.join(rest));
    }
    let base = order.recipe.parent().context("a recipe lies in a folder")?;
    Ok(base.join(from))
}

fn folder(order: &Order<'_>, entry: &Entry, files: &mut Files) -> anyhow::Result<()> {
    let from = place(order, &entry.from)?;
    let read = fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))?;
    let before = files.len();
    for found in read {
        let found = found?;
        let mut content = fs::read(found.path())?;
        let mut name = found.file_name();
        if entry.gzip {
            content = gzip(&content)?;
            name.push(".gz");
        }
        files.insert(entry.to.join(name), (entry.mode, content));
    }
    anyhow::ensure!(files.len() > before, "{} is empty", from.display());
    Ok(())
}

/// Without name and time, so that the same content gives the same bytes.
fn gzip(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    program::feed(Command::new("gzip").args(["-9", "-n"]), content, "gzip")
}

fn changelog(name: &str, version: &str, time: u64) -> anyhow::Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", &format!("--date=@{time}")]);
    let date = program::run(&mut date, "coreutils")?;
    let date = String::from_utf8(date).context("date wrote no text")?;
    Ok(format!(
        "{name} ({version}) stable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n \
         -- The Fogline authors <fogline@localhost>  {}\n",
        date.trim()
    ))
}
