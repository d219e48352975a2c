//! Which hosts there are, in which zones, with which addresses. Pure.

use std::net::Ipv4Addr;
use tests_net::Fabric;

/// Where gateways connect.
pub const MQTT_PORT: u16 = 8883;
/// Where cloud roles reach a broker.
pub const CLIENT_PORT: u16 = 4222;
/// Where brokers reach each other.
pub const ROUTE_PORT: u16 = 6222;
/// A broker's health.
pub const MONITOR_PORT: u16 = 8222;
/// API and dashboard.
pub const API_PORT: u16 = 8443;

/// Zones that share nothing but the network between them.
const ZONES: [&str; 3] = ["a", "b", "c"];
/// Where the gateways are: no zone of the cloud.
const FIELD: &str = "field";
/// Most processes of one role on a host: the ports of their health are tens apart.
pub const MOST: u8 = 9;

/// What a host is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A broker node.
    Broker,
    /// `HAProxy`.
    Balancer,
    /// Cloud roles.
    Cloud,
    /// Devices and gateways.
    Site,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// The last part of its address.
    pub number: u8,
    /// What it is for.
    pub purpose: Purpose,
}

impl HostPlan {
    fn new(purpose: Purpose, count: u8) -> Self {
        let (name, base) = match purpose {
            Purpose::Broker => ("broker", 10),
            Purpose::Balancer => ("lb", 30),
            Purpose::Cloud => ("cloud", 40),
            Purpose::Site => ("site", 60),
        };
        let zone = match purpose {
            Purpose::Site => FIELD,
            _ => {
                let place = usize::from(count.saturating_sub(1)) % ZONES.len();
                ZONES.get(place).copied().unwrap_or(FIELD)
            }
        };
        Self {
            name: format!("{name}-{count}"),
            zone: zone.to_owned(),
            number: base + count,
            purpose,
        }
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        Fabric::address(self.number)
    }
}

/// The hosts of a cluster.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All of them.
    pub hosts: Vec<HostPlan>,
}

impl Plan {
    /// Broker nodes, spread over three zones; two balancers, a host of all cloud roles, a site.
    ///
    /// # Errors
    /// Where so many nodes are no cluster.
    pub fn new(brokers: u8) -> anyhow::Result<Self> {
        anyhow::ensure!(
            [3, 5].contains(&brokers),
            "{brokers} broker nodes; allowed are 3 and 5: an even one more adds nothing that may fail"
        );
        let of = |purpose, count| (1..=count).map(move |number| HostPlan::new(purpose, number));
        let hosts = of(Purpose::Broker, brokers)
            .chain(of(Purpose::Balancer, 2))
            .chain(of(Purpose::Cloud, 1))
            .chain(of(Purpose::Site, 1));
        Ok(Self {
            hosts: hosts.collect(),
        })
    }

    /// The hosts for one purpose.
    pub fn of(&self, purpose: Purpose) -> impl Iterator<Item = &HostPlan> {
        self.hosts
            .iter()
            .filter(move |host| host.purpose == purpose)
    }

    /// The hosts that a name stands for: a host, a zone, or `all`.
    ///
    /// # Errors
    /// Where it stands for none, with what there is.
    pub fn party(&self, name: &str) -> anyhow::Result<Vec<&HostPlan>> {
        let is_meant = |host: &&HostPlan| name == "all" || host.name == name || host.zone == name;
        let found: Vec<&HostPlan> = self.hosts.iter().filter(is_meant).collect();
        let names: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        anyhow::ensure!(
            !found.is_empty(),
            "{name} is no host and no zone; there are {}, zones {}, {FIELD}, and all",
            names.join(", "),
            ZONES.join(", ")
        );
        Ok(found)
    }

    /// All ordered pairs of one party and another, as addresses; nobody with itself.
    ///
    /// # Errors
    /// Where a party is unknown.
    pub fn pairs(
        &self,
        from: &str,
        to: &str,
        both_ways: bool,
    ) -> anyhow::Result<Vec<(Ipv4Addr, Ipv4Addr)>> {
        let (from, to) = (self.party(from)?, self.party(to)?);
        let mut pairs = Vec::new();
        for a in &from {
            for b in to.iter().filter(|b| b.name != a.name) {
                pairs.push((a.address(), b.address()));
                if both_ways {
                    pairs.push((b.address(), a.address()));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_at_most_one_of_three_brokers_and_addresses_are_unique() {
        let plan = Plan::new(3).unwrap();
        for zone in ZONES {
            let brokers = plan.of(Purpose::Broker).filter(|host| host.zone == zone);
            assert_eq!(brokers.count(), 1);
        }
        let mut addresses: Vec<_> = plan.hosts.iter().map(HostPlan::address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), plan.hosts.len());
        assert!(
            [0, 1, 4, 9]
                .into_iter()
                .all(|nodes| Plan::new(nodes).is_err())
        );
        assert_eq!(Plan::new(5).unwrap().of(Purpose::Broker).count(), 5);
    }

    #[test]
    fn a_party_is_a_host_or_a_zone_and_nobody_is_cut_from_itself() {
        let plan = Plan::new(3).unwrap();
        let one = plan.pairs("broker-1", "broker-2", false).unwrap();
        assert_eq!(one, [(Fabric::address(11), Fabric::address(12))]);
        // Zone a: broker-1, lb-1, cloud-1.
        assert_eq!(plan.pairs("a", "broker-3", true).unwrap().len(), 6);
        let all = plan.pairs("all", "all", true).unwrap();
        assert_eq!(all.len(), plan.hosts.len() * (plan.hosts.len() - 1));
        let error = plan.party("broker-9").unwrap_err().to_string();
        assert!(
            error.contains("broker-3") && error.contains("zones"),
            "{error}"
        );
    }
}
