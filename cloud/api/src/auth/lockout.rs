//! Lockout: how long the next login attempt has to wait. A pure rule; the counts stand in the
//! database, so that they outlive a restart and hold for every replica.
//!
//! The wait doubles per failure and is kept per name and address: nobody can lock somebody else's
//! address out. One address guessing many names waits too.

use cloud_store::LoginFailures;
use protocols_model::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// Failures per name and address that cost nothing: people mistype.
const FREE: u32 = 3;
/// Failures per address over all names that cost nothing: an office behind one address.
const FREE_PER_ADDRESS: u32 = 20;
/// Wait after the first failure that costs something; doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What failures are counted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// This name from this address.
    pub(crate) name: String,
    /// Any name from this address.
    pub(crate) address: String,
}

/// IPv6 hands every customer 2^64 addresses: the network is the one who tries.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        },
    }
}

impl Keys {
    pub(crate) fn new(name: &str, address: IpAddr) -> Self {
        let address = network(address);
        Self {
            name: format!("name {name} from {address}"),
            address: format!("address {address}"),
        }
    }
}

fn wait(failures: LoginFailures, free: u32, now: Timestamp) -> Duration {
    let Some(over) = failures.count.checked_sub(free).filter(|over| *over > 0) else {
        return Duration::ZERO;
    };
    let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(over - 1).unwrap_or(u32::MAX));
    let wait = doubled.min(LONGEST_WAIT);
    // A clock that stepped back must not lock anybody out for longer than the wait itself.
    wait.saturating_sub(now.since(failures.last)).min(wait)
}

/// How long to wait before a password may be checked; zero when it may be checked now.
pub(crate) fn wait_for(name: LoginFailures, address: LoginFailures, now: Timestamp) -> Duration {
    wait(name, FREE, now).max(wait(address, FREE_PER_ADDRESS, now))
}

/// Whether the attempt that was just counted ran beside another one and so must be refused: parallel
/// guesses would otherwise all see the count from before. `seen` is the count before, `counted`
/// after.
pub(crate) fn raced(seen: LoginFailures, counted: LoginFailures) -> bool {
    counted.count > FREE && counted.count > seen.count.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(count: u32) -> LoginFailures {
        LoginFailures {
            count,
            last: Timestamp::from_millis(1_000_000),
        }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const NONE: LoginFailures = LoginFailures {
        count: 0,
        last: Timestamp(0),
    };

    #[test]
    fn the_wait_doubles_per_failure_up_to_the_ceiling_and_time_pays_it_off() {
        assert_eq!(wait_for(failures(FREE), NONE, NOW), Duration::ZERO);
        for (count, seconds) in [(4, 1), (5, 2), (6, 4), (12, 256), (14, 900), (60, 900)] {
            let waits = wait_for(failures(count), NONE, NOW);
            assert_eq!(waits, Duration::from_secs(seconds), "{count}");
            assert_eq!(
                wait_for(failures(count), NONE, NOW.plus(waits)),
                Duration::ZERO
            );
        }
    }

    #[test]
    fn an_address_that_guesses_many_names_waits() {
        assert_eq!(
            wait_for(NONE, failures(FREE_PER_ADDRESS), NOW),
            Duration::ZERO
        );
        assert!(wait_for(NONE, failures(FREE_PER_ADDRESS + 1), NOW) > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_lengthen_the_wait() {
        let before = NOW.minus(Duration::from_secs(86_400));
        assert_eq!(wait_for(failures(4), NONE, before), FIRST_WAIT);
    }

    #[test]
    fn parallel_guesses_are_seen() {
        assert!(!raced(failures(0), failures(1)));
        assert!(!raced(failures(0), failures(2)));
        assert!(raced(failures(3), failures(5)));
        assert!(!raced(failures(4), failures(5)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let keys = |text: &str| Keys::new("admin", text.parse().unwrap());
        assert_eq!(keys("2001:db8::1"), keys("2001:db8::ffff:2"));
        assert_ne!(keys("2001:db8::1"), keys("2001:db8:0:1::1"));
        assert_eq!(keys("::ffff:192.0.2.1"), keys("192.0.2.1"));
    }
}
