//! The file driver on the bench: a folder stands in for the kernel.

use crate::file_driver::{Config, FileDriver};
use protocols_conformance::{Bench, DeviceFacts, Facts, Mood, Seen, Time, check};
use protocols_driver::Driver;
use protocols_model::{DeviceId, PointKey, Reading, Value};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

struct FileBench {
    folder: tempfile::TempDir,
    moods: u32,
}

impl FileBench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, moods: 0 }
    }

    fn config(&self) -> Config {
        Config {
            bus: "hwmon".into(),
            device: DeviceId::try_new("board").unwrap(),
            point: PointKey(7),
            path: self.folder.path().join("temp1_input"),
            period: Duration::from_millis(50),
            timeout: Duration::from_millis(200),
            scale: 0.001,
        }
    }

    /// A pipe without a writer: whoever opens it to read waits until somebody comes.
    fn pipe(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }

    /// Lets go whoever waits at the pipe.
    fn release(&self) {
        let pipe = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.pipe());
        drop(pipe);
        drop(fs::remove_file(self.pipe()));
    }
}

impl Drop for FileBench {
    fn drop(&mut self) {
        self.release();
    }
}

#[async_trait::async_trait]
impl Bench for FileBench {
    fn facts(&self) -> Facts {
        let config = self.config();
        Facts {
            time: Time::Real,
            devices: vec![DeviceFacts {
                device: config.device,
                points: vec![config.point],
            }],
            period: config.period,
            unasked: false,
            silence: config.timeout,
            patience: Duration::from_secs(5),
        }
    }

    async fn start(&mut self) {
        self.set(Mood::Well).await;
    }

    fn driver(&mut self) -> Box<dyn Driver> {
        Box::new(FileDriver::new(self.config()))
    }

    async fn set(&mut self, mood: Mood) -> bool {
        // Made beside it and moved into its place, so that nobody sees a half of it.
        self.moods += 1;
        let new = self.folder.path().join(format!("new-{}", self.moods));
        match mood {
            Mood::Well => fs::write(&new, "42125\n").unwrap(),
            Mood::Torn => fs::write(&new, "42").unwrap(),
            Mood::Garbage => fs::write(&new, "no sensor\n").unwrap(),
            Mood::Silent => {
                mknodat(CWD, self.pipe(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
                std::os::unix::fs::symlink(self.pipe(), &new).unwrap();
            }
            Mood::Gone => std::os::unix::fs::symlink("nowhere", &new).unwrap(),
            // Reading a folder is refused.
            Mood::Refusing => std::os::unix::fs::symlink(self.folder.path(), &new).unwrap(),
            Mood::Late => return false,
        }
        fs::rename(&new, self.config().path).unwrap();
        if mood != Mood::Silent {
            self.release();
        }
        true
    }

    fn seen(&self) -> Seen {
        // A file does not know that it was read.
        Seen::default()
    }

    fn is_true(&self, reading: &Reading) -> bool {
        reading.value == Some(Value::F64(42.125))
    }
}

#[test]
fn the_file_driver_keeps_every_rule() {
    check(FileBench::new).assert_conforms();
}
