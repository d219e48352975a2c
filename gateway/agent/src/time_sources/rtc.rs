//! The battery-backed clock, as the kernel shows it. It is only looked at: setting the system's clock by
//! it is the system's work.

use crate::snapshot::RtcReport;
use gateway_uplink::tls_time::build_time;
use protocols_model::Timestamp;
use std::path::Path;

/// The first clock below `folder`, if there is one, against the wall clock.
pub(super) fn look(folder: &Path, wall: Timestamp) -> Option<RtcReport> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    names.sort();
    let device = names.first()?.to_str()?.to_owned();
    let seconds = std::fs::read_to_string(folder.join(&device).join("since_epoch")).ok();
    let seconds: Option<i64> = seconds.and_then(|text| text.trim().parse().ok());
    let offset = seconds.map(|seconds| seconds.saturating_sub(wall.as_millis().div_euclid(1000)));
    let is_set = seconds.is_some_and(|seconds| seconds >= build_time().as_millis() / 1000);
    Some(RtcReport {
        device,
        is_set,
        offset_s: offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall() -> Timestamp {
        Timestamp::from_millis(build_time().as_millis() + 86_400_500)
    }

    #[test]
    fn the_first_clock_is_compared_with_the_wall_clock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path(), wall()), None);
        for (name, ahead) in [("rtc1", 99), ("rtc0", -3)] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            let seconds = wall().as_millis() / 1000 + ahead;
            let file = dir.path().join(name).join("since_epoch");
            std::fs::write(file, format!("{seconds}\n")).unwrap();
        }
        let report = look(dir.path(), wall()).unwrap();
        assert_eq!((report.device.as_str(), report.is_set), ("rtc0", true));
        assert_eq!(report.offset_s, Some(-3));
    }

    #[test]
    fn a_clock_whose_battery_was_empty_is_not_set_and_one_that_fails_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("rtc0")).unwrap();
        let file = dir.path().join("rtc0").join("since_epoch");
        std::fs::write(&file, "946684800\n").unwrap();
        assert!(!look(dir.path(), wall()).unwrap().is_set);
        std::fs::write(&file, "").unwrap();
        let broken = look(dir.path(), wall()).unwrap();
        assert_eq!((broken.is_set, broken.offset_s), (false, None));
    }
}
