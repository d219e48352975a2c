//! Every role as a process of its own: what each says of itself, and what it does not share.

use crate::gateway::{Gateway, envelope};
use crate::site::{DEADLINE, Site, free_port, wait};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

/// A process with a health listener.
struct Role {
    child: Child,
    health: SocketAddr,
}

impl Role {
    fn start(site: &Site, roles: &str) -> Self {
        let health = free_port();
        let at = health.to_string();
        let child = site.spawn_cloud(&["--role", roles, "--health", &at]);
        Self { child, health }
    }

    /// Status and body of a path; `None` while nobody listens.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(self.health).ok()?;
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: health\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    fn status(&self, path: &str) -> Option<u16> {
        self.get(path).map(|(status, _)| status)
    }

    /// The value of a number in `/metrics`.
    fn number(&self, name: &str) -> Option<u64> {
        let (_, numbers) = self.get("/metrics")?;
        let line = numbers.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn wait_ready(&self) {
        wait("the role is ready", || self.status("/readyz") == Some(200));
    }

    /// SIGTERM; how it ended.
    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn roles_as_processes_of_their_own_serve_a_gateway_together_and_each_speaks_for_itself() {
    let mut site = Site::made();
    let ingest = Role::start(&site, "ingest,tasks");
    let auth = Role::start(&site, "auth");
    let api = Role::start(&site, "api");
    api.wait_ready();
    wait("alive without a broker", || {
        [&ingest, &auth]
            .iter()
            .all(|role| role.status("/livez") == Some(200))
    });
    // Not ready, and each for its own reason.
    let (status, why) = auth.get("/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(why.contains("auth: "), "{why}");
    assert!(!why.contains("ingest: "), "{why}");

    site.start_broker();
    ingest.wait_ready();
    auth.wait_ready();
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    gateway.publish(envelope(1, [1.5, 2.5]));
    assert_eq!(gateway.settled(), 1);

    for line in [
        "fogline_role{role=\"ingest\"} 1",
        "fogline_ready 1",
        "fogline_ingest_readings_total 2",
        "fogline_tasks_elected 1",
        "fogline_broker_stream_copies 1",
    ] {
        wait(line, || {
            let numbers = ingest.get("/metrics");
            numbers.is_some_and(|(_, numbers)| numbers.contains(line))
        });
    }
    let (_, numbers) = auth.get("/metrics").unwrap();
    assert!(
        numbers.contains("fogline_auth_granted_total 1"),
        "{numbers}"
    );
    assert!(!numbers.contains("fogline_ingest_readings"), "{numbers}");
    assert_eq!(auth.status("/anything"), Some(404));

    // What was let in stays when its doorkeeper goes, and readiness does not outlive the broker.
    assert_eq!(auth.terminate(), Some(0));
    gateway.publish(envelope(2, [3.5, 4.5]));
    assert_eq!(gateway.settled(), 1);
    site.kill_broker();
    wait("the truth about the broker", || {
        ingest.status("/readyz") == Some(503)
    });
    assert_eq!(ingest.status("/livez"), Some(200), "nothing to restart for");
    assert_eq!(ingest.terminate(), Some(0));
}

#[test]
fn a_second_writer_of_one_database_file_is_refused_with_the_reason() {
    let site = Site::made();
    let first = Role::start(&site, "tasks");
    first.wait_ready();
    for role in ["ingest", "tasks", "all"] {
        let refused = site.run(&["run", "--role", role]);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{role}");
        assert!(
            error.contains("in use by another process") && error.contains("PostgreSQL"),
            "{role}: {error}"
        );
    }
    // A port that is taken is named before anything has begun.
    let at = first.health.to_string();
    let taken = site.run(&["run", "--role", "api", "--health", &at]);
    let error = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(error.contains("for health"), "{error}");
}

#[test]
fn two_of_every_role_share_one_postgresql_and_go_on_when_one_of_each_is_killed() {
    let mut site = Site::made();
    let server = tests_postgres::Server::start().unwrap();
    let settings = site.path("cloud.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let database = format!(
        "url = \"{}\"\npassword_file = \"{}\"",
        server.url(tests_postgres::DATABASE),
        server.password_file().display()
    );
    let text = text.replace("path = \"data/fogline.db\"", &database);
    std::fs::write(&settings, text).unwrap();
    site.start_broker();
    let [mut ingest, mut auth, mut tasks] = ["ingest", "auth", "tasks"].map(|role| {
        let two = [(); 2].map(|()| Role::start(&site, role));
        Vec::from(two)
    });
    for role in [&ingest, &auth, &tasks].into_iter().flatten() {
        role.wait_ready();
    }
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    gateway.publish(envelope(1, [1.5, 2.5]));
    assert_eq!(gateway.settled(), 1);

    for (roles, number) in [
        (&mut tasks, "fogline_tasks_elected"),
        (&mut auth, "fogline_auth_elected"),
    ] {
        let elected = |roles: &[Role]| {
            let mut held = roles.iter().map(|role| role.number(number));
            held.position(|held| held == Some(1))
        };
        wait("exactly one is elected", || {
            let all = roles.iter().filter_map(|role| role.number(number));
            all.sum::<u64>() == 1 && elected(roles).is_some()
        });
        let first = elected(roles).unwrap();
        // Killed, not told: its term must end.
        drop(roles.remove(first));
        wait("the other one is", || elected(roles).is_some());
    }
    drop(ingest.remove(0));
    let mut back = None;
    wait("the door is open", || {
        back = Gateway::connect(&site, "plant-1").ok();
        back.is_some()
    });
    let mut gateway = back.unwrap();
    gateway.publish(envelope(2, [3.5, 4.5]));
    assert_eq!(gateway.settled(), 1);
    wait("its session is noted", || {
        site.ok(&["gateway", "show", "plant-1"])
            .contains("\"connected\": true")
    });
    assert_eq!(site.export("--readings").len(), 4);
    for role in [ingest, auth, tasks].into_iter().flatten() {
        assert_eq!(role.terminate(), Some(0));
    }
}
