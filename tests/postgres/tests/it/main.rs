//! The fixture itself: what tests of the store build on must hold.

use tests_postgres::{DATABASE, Server};

const COUNT: &str = "SELECT count(*) FROM t";

#[test]
fn what_was_committed_outlives_a_kill_and_nothing_outlives_the_fixture() {
    let mut server = Server::start().unwrap();
    server.psql(DATABASE, "CREATE TABLE t (a int)").unwrap();
    server.psql(DATABASE, "INSERT INTO t VALUES (1)").unwrap();
    server.kill().unwrap();
    assert!(server.psql(DATABASE, COUNT).is_err());
    server.restart().unwrap();
    assert_eq!(server.psql(DATABASE, COUNT).unwrap(), "1");
    let main = server.main_process().unwrap().as_raw_nonzero();
    let data = server.data();
    drop(server);
    assert!(!data.exists());
    assert!(!std::path::Path::new(&format!("/proc/{main}")).exists());
}

#[test]
fn a_promoted_standby_has_what_its_primary_committed_and_a_higher_timeline() {
    let mut primary = Server::start().unwrap();
    let standby = primary.standby("b").unwrap();
    primary.wait_for("b").unwrap();
    primary.psql(DATABASE, "CREATE TABLE t (a int)").unwrap();
    primary.psql(DATABASE, "INSERT INTO t VALUES (1)").unwrap();
    primary.kill().unwrap();
    standby.promote().unwrap();
    assert_eq!(standby.psql(DATABASE, COUNT).unwrap(), "1");
    let timeline = "SELECT timeline_id FROM pg_control_checkpoint()";
    standby.psql(DATABASE, "CHECKPOINT").unwrap();
    assert_eq!(standby.psql(DATABASE, timeline).unwrap(), "2");
    standby.psql(DATABASE, "INSERT INTO t VALUES (2)").unwrap();
}
