//! What the machine says of itself and of this process; `None` where it does not say.

use std::fs::read_to_string;

/// Memory that this process may use, in bytes: the smallest limit of its control group, or what
/// the machine has.
pub(crate) fn memory_limit() -> Option<u64> {
    let total = meminfo("MemTotal:");
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        let file = format!("/sys/fs/cgroup{path}/memory.max");
        read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    match (total, group) {
        (Some(total), Some(group)) => Some(total.min(group)),
        (total, group) => total.or(group),
    }
}

fn meminfo(key: &str) -> Option<u64> {
    kibibytes(&read_to_string("/proc/meminfo").ok()?, key)
}

/// Resident memory of this process, in bytes: now and at its peak.
pub(crate) fn resident() -> Option<(u64, u64)> {
    let status = read_to_string("/proc/self/status").ok()?;
    Some((kibibytes(&status, "VmRSS:")?, kibibytes(&status, "VmHWM:")?))
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// CPU time this process has used, in seconds.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; what follows it is fields 3 and up.
    let rest = stat.get(stat.rfind(')')? + 1..)?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some((f64::from(user) + f64::from(system)) / f64::from(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_memory_and_time() {
        let (now, peak) = resident().unwrap();
        assert!(now > 0 && peak >= now);
        assert!(cpu_seconds().is_some());
        assert!(memory_limit().is_some_and(|limit| limit > now));
    }
}
