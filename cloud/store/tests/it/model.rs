//! Random histories against a model that fits on a page: what was delivered is stored once, what
//! was claimed and never came is lost once, whatever the order, the repetition, the maintenance and
//! the reopening.

use crate::kit::*;
use cloud_store::{LedgerFilter, Store};
use proptest::prelude::*;
use protocols_model::seq::SEQ_MAX;
use protocols_model::{GatewayId, Lane, SeqRange, SeqSet, Timestamp};
use protocols_wire::{Body, Dictionary, EnvelopeRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const GATEWAYS: [&str; 2] = ["gw-a", "gw-b"];
const EPOCHS: u64 = 3;
const RECORDS: u64 = 14;

#[derive(Debug, Clone)]
enum Action {
    /// Records of one gateway, as (epoch, seq).
    Deliver(usize, Vec<(u64, u64)>),
    /// A claim of a gateway on an epoch; 0 as the end is open.
    Claim(usize, u64, u64, u64),
    /// An earlier claim once more.
    ClaimAgain(usize, prop::sample::Index),
    Maintain(u8),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let gateway = 0..GATEWAYS.len();
    let record = (0..EPOCHS, 1..=RECORDS);
    prop_oneof![
        6 => (gateway.clone(), prop::collection::vec(record, 1..8)).prop_map(|(g, r)| Action::Deliver(g, r)),
        2 => (gateway.clone(), 0..EPOCHS, 1..=RECORDS, 0..6u64).prop_map(|(g, e, first, len)| {
            let last = if len == 0 { SEQ_MAX } else { first + len - 1 };
            Action::Claim(g, e, first, last)
        }),
        1 => (gateway, any::<prop::sample::Index>()).prop_map(|(g, i)| Action::ClaimAgain(g, i)),
        2 => (1u8..4).prop_map(Action::Maintain),
        1 => Just(Action::Reopen),
    ]
}

/// Samples of a record: 1 to 3, at times no other record has.
fn times(epoch: u64, seq: u64) -> Vec<Timestamp> {
    let base = NOW_S - 9000 + i64::try_from((epoch * RECORDS + seq) * 150).unwrap();
    (0..=seq % 3)
        .map(|i| seconds(base + i64::try_from(i).unwrap()))
        .collect()
}

fn telemetry_record(dict: &Dictionary, epoch: u64, seq: u64) -> EnvelopeRecord {
    let samples = times(epoch, seq)
        .into_iter()
        .map(|time| good(time, seq as f64))
        .collect();
    record(
        key(epoch, Lane::Telemetry, seq),
        telemetry(dict, vec![(0, samples)]),
    )
}

#[derive(Default)]
struct Model {
    stored: BTreeSet<(usize, u64, u64)>,
    lost: BTreeMap<(usize, u64), SeqSet>,
    claims: BTreeMap<usize, Vec<EnvelopeRecord>>,
}

impl Model {
    fn deliver(&mut self, gateway: usize, epoch: u64, seq: u64) {
        self.stored.insert((gateway, epoch, seq));
        let lost = self.lost.entry((gateway, epoch)).or_default();
        lost.remove(SeqRange::one(seq).unwrap());
    }

    fn claim(&mut self, gateway: usize, epoch: u64, range: SeqRange) {
        let mut lost = SeqSet::from_iter([range]);
        for &(_, _, seq) in self
            .stored
            .iter()
            .filter(|(g, e, _)| (*g, *e) == (gateway, epoch))
        {
            lost.remove(SeqRange::one(seq).unwrap());
        }
        self.lost.entry((gateway, epoch)).or_default().union(&lost);
    }

    fn covered(&self, gateway: usize, epoch: u64) -> SeqSet {
        let mut covered = self
            .lost
            .get(&(gateway, epoch))
            .cloned()
            .unwrap_or_default();
        for &(g, e, seq) in &self.stored {
            if (g, e) == (gateway, epoch) {
                covered.insert_one(seq);
            }
        }
        covered
    }
}

async fn check(store: &dyn Store, names: &[GatewayId], model: &Model) {
    for (g, gateway) in names.iter().enumerate() {
        let held: Vec<_> = (0..EPOCHS).map(|epoch| (epoch, Lane::Telemetry)).collect();
        let answer = store
            .hello(gateway, hello(1, 0, &held), now(), false)
            .await
            .unwrap();
        for state in answer.epochs {
            assert_eq!(
                state.settled,
                model.covered(g, state.epoch.0),
                "settled of {}",
                state.epoch
            );
        }
        let mut lost: BTreeMap<u64, SeqSet> = BTreeMap::new();
        let filter = LedgerFilter {
            gateway: Some(gateway.clone()),
            ..LedgerFilter::default()
        };
        for entry in store.ledger(filter).await.unwrap() {
            let sum = lost.entry(entry.epoch.0).or_default();
            for &range in entry.lost.ranges() {
                assert!(sum.held_in(range).is_empty(), "lost twice: {range:?}");
            }
            sum.union(&entry.lost);
        }
        for epoch in 0..EPOCHS {
            let expected = model.lost.get(&(g, epoch)).cloned().unwrap_or_default();
            assert_eq!(
                lost.remove(&epoch).unwrap_or_default(),
                expected,
                "lost of epoch {epoch}"
            );
        }
        let mut expected: Vec<_> = model
            .stored
            .iter()
            .filter(|(of, ..)| *of == g)
            .flat_map(|&(_, epoch, seq)| {
                times(epoch, seq)
                    .into_iter()
                    .map(move |time| (time, epoch, seq))
            })
            .collect();
        expected.sort_unstable();
        let series = store.series(Some(gateway)).await.unwrap();
        let found: Vec<_> = export(store)
            .await
            .into_iter()
            .filter(|sample| series.iter().any(|series| series.id == sample.series))
            .map(|sample| (sample.time, sample.record.epoch.0, sample.record.seq))
            .collect();
        assert_eq!(found, expected);
        let counts = store.counts(gateway).await.unwrap();
        assert_eq!(
            counts.first().map_or(0, |c| c.stored),
            expected.len() as u64
        );
        let latest = store.latest(gateway, None).await.unwrap();
        let newest = expected.last().map(|(time, ..)| *time);
        assert_eq!(latest.first().map(|latest| latest.time), newest);
    }
}

async fn play(actions: Vec<Action>) {
    let mut kit = SqliteKit::new();
    let mut store: Arc<dyn Store> = kit.open(eager());
    let mut names = Vec::new();
    for name in GATEWAYS {
        names.push(enter(&*store, name).await);
    }
    let dict = floats(1);
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Deliver(g, records) => {
                let sent = records
                    .iter()
                    .map(|&(e, s)| telemetry_record(&dict, e, s))
                    .collect();
                send(&*store, &names[g], vec![dict.clone()], sent).await;
                records.iter().for_each(|&(e, s)| model.deliver(g, e, s));
            }
            Action::Claim(g, epoch, first, last) => {
                let claims = model.claims.entry(g).or_default();
                let claimed = claim(epoch, Lane::Telemetry, first, last, Some(3));
                let body = encode(stamp_at(now()), Body::Claims(vec![claimed]));
                let sent = record(key(9, Lane::Event, claims.len() as u64 + 1), body);
                claims.push(sent.clone());
                send(&*store, &names[g], vec![], vec![sent]).await;
                model.claim(g, epoch, SeqRange::new(first, last).unwrap());
            }
            Action::ClaimAgain(g, index) => {
                if let Some(claims) = model.claims.get(&g) {
                    let again = claims[index.index(claims.len())].clone();
                    send(&*store, &names[g], vec![], vec![again]).await;
                }
            }
            Action::Maintain(steps) => {
                for _ in 0..steps {
                    store.maintain(now()).await.unwrap();
                }
            }
            Action::Reopen => {
                drop(store);
                store = kit.open(eager());
            }
        }
    }
    check(&*store, &names, &model).await;
    maintain(&*store, now()).await;
    drop(store);
    let store = kit.open(eager());
    check(&*store, &names, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_end_as_the_model_says(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(play(actions));
    }
}
