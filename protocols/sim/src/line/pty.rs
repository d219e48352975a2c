//! A pseudo-terminal under a stable name, like an adapter below `/dev/serial/by-id`.

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The pair; gone with its link when dropped.
#[derive(Debug)]
pub(super) struct Pty {
    pub(super) ours: File,
    /// Name of the far side, `/dev/pts/N`.
    pub(super) name: PathBuf,
    link: PathBuf,
}

impl Pty {
    /// Makes a pair and the link `link` to its far side. A link that stands there already is replaced,
    /// anything else is left alone. The port stands at `speed` until a client sets another one.
    pub(super) fn make(link: &Path, speed: Option<u32>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        // A client that does not read must not stop the line.
        fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let name = PathBuf::from(name.into_string().map_err(io::Error::other)?);
        // Opened and closed once, in raw mode: until the client opens it the line is known to be open at
        // nobody's, and nothing is echoed before the client has set its own mode.
        let far = rustix::fs::open(
            &name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut mode = tcgetattr(&far)?;
        mode.make_raw();
        if let Some(speed) = speed {
            mode.set_speed(speed)?;
        }
        tcsetattr(&far, OptionalActions::Now, &mode)?;
        drop(far);
        match std::fs::symlink_metadata(link) {
            Ok(found) if found.is_symlink() => std::fs::remove_file(link)?,
            Ok(_) => {
                let text = format!("{} is there already and no link", link.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(_) => {}
        }
        std::os::unix::fs::symlink(&name, link).map_err(|error| {
            let text = format!("making the link {}: {error}", link.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self {
            ours: ours.into(),
            name,
            link: link.to_owned(),
        })
    }

    /// Speed that the client has set.
    pub(super) fn speed(&self) -> Option<u32> {
        tcgetattr(&self.ours).ok().map(|mode| mode.output_speed())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Another simulator may have taken the name over.
        if std::fs::read_link(&self.link).is_ok_and(|target| target == self.name) {
            let _gone_already = std::fs::remove_file(&self.link);
        }
    }
}
