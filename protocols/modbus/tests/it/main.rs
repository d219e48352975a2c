//! The driver against devices that misbehave on the wire: real TCP loopback, real ptys, raw bytes.
//!
//! Each register of the simulator holds a number made of its unit and address, so that a value in
//! the wrong place is seen at once; [`rig::Rig`] checks that for every good reading it receives.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic anywhere, also in its helpers"
)]

mod conformance;
mod faults;
mod learning;
mod line;
mod links;
mod orders;
mod rig;
mod sharing;
mod sim;

#[test]
fn every_row_of_the_table_of_faults_names_a_test_that_exists() {
    let tests = [
        include_str!("faults.rs"),
        include_str!("learning.rs"),
        include_str!("line.rs"),
        include_str!("links.rs"),
        include_str!("orders.rs"),
        include_str!("sharing.rs"),
    ]
    .concat();
    let page = include_str!("../../src/lib.rs");
    let table = page
        .split_once("# What can go wrong on the wire")
        .unwrap()
        .1;
    let rows = table.lines().filter(|line| line.starts_with("//! | "));
    let rows: Vec<&str> = rows.skip(1).collect();
    assert!(rows.len() >= 20);
    for row in rows {
        let name = row.rsplit('`').nth(1).unwrap();
        assert!(tests.contains(&format!("async fn {name}()")), "{name}");
    }
}

/// The conformance kit counts what a driver keeps.
#[global_allocator]
static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
