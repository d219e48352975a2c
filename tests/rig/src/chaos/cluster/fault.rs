//! What can go wrong with a cluster.

use anyhow::Context as _;

/// What can go wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A broker node that does not lead the stream is killed, and comes back.
    KillFollower,
    /// The node that leads the stream is killed, and comes back.
    KillLeader,
    /// The node that leads the stream stands still, and goes on.
    PauseLeader,
    /// Another node stands still, and goes on.
    PauseFollower,
    /// The host of the leader loses its power, with what its disk was not told to keep.
    LeaderLosesPower,
    /// A zone loses its power: a broker, and in two of three zones a balancer, in one the cloud.
    ZoneLosesPower,
    /// One broker is cut from the other two.
    OneAgainstTwo,
    /// What one broker says to another does not arrive; the other way round it does.
    OneWay,
    /// Gateways are cut from one node; the nodes among themselves are not.
    GatewaysCutFromOneNode,
    /// 5 % of the packets of everybody are lost, the others arrive 200 ms late.
    LossAndDelay,
    /// The process that ingests and maintains the database is killed, and comes back.
    KillIngest,
    /// It ends in order and stays away for a while: the broker holds what comes.
    IngestStopped,
    /// Both that answer for gateways end in order, and a balancer loses its power: whoever was connected
    /// there stays out for as long.
    AuthDown,
    /// One of two that answer for gateways is killed with the API, and both come back.
    KillAuthAndApi,
    /// The host of all cloud roles loses its power, with what the database had not synced.
    CloudLosesPower,
    /// The disk of a broker takes nothing more.
    DiskFull,
    /// Somebody deletes the broker's stream.
    StreamDeleted,
    /// Somebody deletes a consumer of ingest.
    ConsumerDeleted,
    /// The balancer's host loses its power.
    BalancerLosesPower,
    /// Ingest stays away while the stream may hold next to nothing: what is oldest is thrown out.
    StreamAtLimit,
    /// Every process but gateways and balancers is stopped in order and started again, one after the other.
    RollingRestart,
    /// Of what answers for gateways there are five, and then two again.
    Scale,
}

impl Fault {
    /// All of them.
    const ALL: [Self; 22] = [
        Self::KillFollower,
        Self::KillLeader,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::LeaderLosesPower,
        Self::ZoneLosesPower,
        Self::OneAgainstTwo,
        Self::OneWay,
        Self::GatewaysCutFromOneNode,
        Self::LossAndDelay,
        Self::KillIngest,
        Self::IngestStopped,
        Self::AuthDown,
        Self::KillAuthAndApi,
        Self::CloudLosesPower,
        Self::DiskFull,
        Self::StreamDeleted,
        Self::ConsumerDeleted,
        Self::BalancerLosesPower,
        Self::StreamAtLimit,
        Self::RollingRestart,
        Self::Scale,
    ];

    /// The faults with these names; all where none is named.
    pub(super) fn named(names: &[String]) -> anyhow::Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(Self::ALL.to_vec());
        }
        let known = || Self::ALL.map(|fault| format!("{fault:?}")).join(", ");
        let find = |name: &String| {
            let is_it = |fault: &Self| format!("{fault:?}").eq_ignore_ascii_case(name);
            let found = Self::ALL.into_iter().find(is_it);
            found.with_context(|| format!("there is no fault {name}; there are {}", known()))
        };
        names.iter().map(find).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_name_and_an_unknown_one_tells_what_there_is() {
        let found = Fault::named(&["killleader".to_owned()]).unwrap();
        assert_eq!(found, [Fault::KillLeader]);
        assert_eq!(Fault::named(&[]).unwrap().len(), Fault::ALL.len());
        let error = Fault::named(&["KillKenny".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("OneAgainstTwo"), "{error}");
    }
}
