//! libmodbus, pymodbus and mbpoll as clients of our simulator: TCP and RTU on its own terminal.

use crate::scratch;
use protocols_sim::{Place, Sim, Site};
use std::path::{Path, PathBuf};
use tests_interop::{Running, compiled, need, program, python};

/// The same start values as the peers' servers have, in the addresses that are asked.
fn site(bus: &str) -> String {
    let mut points = Vec::new();
    for a in 0..10 {
        let (coil, input) = (a % 3 == 0, a % 5 == 0);
        points.push(format!(
            "{{ id = \"c{a}\", at = \"co:{a}\", write = true, value = {coil} }}"
        ));
        points.push(format!(
            "{{ id = \"d{a}\", at = \"di:{a}\", value = {input} }}"
        ));
        let (holding, reading) = (7 * a + 1000, 11 * a + 5);
        points.push(format!(
            "{{ id = \"h{a}\", at = \"hr:{a}\", write = true, value = {holding} }}"
        ));
        points.push(format!(
            "{{ id = \"i{a}\", at = \"ir:{a}\", value = {reading} }}"
        ));
    }
    let points = points.join(",\n");
    format!("[bus.net]\n{bus}\n[device.peer]\nbus = \"net\"\nunit = 1\npoints = [\n{points}\n]\n")
}

async fn start(bus: &str, folder: &Path) -> Sim {
    let plan = Site::parse(&site(bus)).unwrap().build(folder).unwrap();
    Sim::start(plan, None).await.unwrap()
}

fn port(sim: &Sim) -> String {
    match &sim.served()[0].at {
        Place::Tcp(address) => address.port().to_string(),
        other => panic!("{other:?} is no TCP port"),
    }
}

const TCP: &str = "kind = \"modbus-tcp\"";
/// A pause in mid-frame is the machine's here, not the client's.
const RTU: &str = "kind = \"modbus-rtu\"\nlink = \"line\"\nline = \"115200 8N1\"\nstrict = false";

/// What both clients have to say.
const ANSWERS: [&str; 14] = [
    "connect 0",
    "coils 1 0 0 1 0 0 1 0 0 1",
    "inputs 1 0 0 0 0 1 0 0 0 0",
    "holding 1000 1007 1014 1021 1028",
    "input 5 16 27 38 49",
    "nowhere exception 2",
    "write-coil 1",
    "write-register 1",
    "write-coils 3",
    "write-registers 2",
    "mask 1",
    "refused exception 2",
    // 1028 is 0x0404: its low byte is kept.
    "write-and-read 77 4711 4660 22136 42244",
    "coils-after 1 1 0 1 0 1 1 0 0 1",
];

async fn answers(program: PathBuf, arguments: Vec<String>) -> Vec<String> {
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Running::start(&program, &arguments)
            .unwrap()
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn pymodbus() -> anyhow::Result<(PathBuf, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/pymodbus_client.py");
    Ok((python(&scratch())?, script.display().to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn libmodbus_client_over_tcp() {
    let client = need!(compiled("libmodbus_client", "libmodbus", &scratch()));
    let folder = tempfile::tempdir().unwrap();
    let sim = start(TCP, folder.path()).await;
    assert_eq!(
        answers(client, vec!["tcp".to_owned(), port(&sim)]).await,
        ANSWERS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn libmodbus_client_on_a_serial_line() {
    let client = need!(compiled("libmodbus_client", "libmodbus", &scratch()));
    let folder = tempfile::tempdir().unwrap();
    let sim = start(RTU, folder.path()).await;
    let line = sim.links()[0].display().to_string();
    assert_eq!(answers(client, vec!["rtu".to_owned(), line]).await, ANSWERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_client_over_tcp() {
    let (python, script) = need!(pymodbus());
    let folder = tempfile::tempdir().unwrap();
    let sim = start(TCP, folder.path()).await;
    assert_eq!(
        answers(python, vec![script, "tcp".to_owned(), port(&sim)]).await,
        ANSWERS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pymodbus_client_on_a_serial_line() {
    let (python, script) = need!(pymodbus());
    let folder = tempfile::tempdir().unwrap();
    let sim = start(RTU, folder.path()).await;
    let line = sim.links()[0].display().to_string();
    assert_eq!(
        answers(python, vec![script, "rtu".to_owned(), line]).await,
        ANSWERS
    );
}

/// What mbpoll read: the numbers behind the references in brackets.
fn polled(output: &[String]) -> Vec<String> {
    let values = output.iter().filter_map(|line| line.strip_prefix('['));
    let values = values.filter_map(|line| line.split_once("]:"));
    values.map(|(_, value)| value.trim().to_owned()).collect()
}

/// Reads, writes and reads again; `how` says how to get there.
async fn mbpoll(program: PathBuf, how: &[&str], host: &str) {
    let run = |table: &str, count: Option<&str>, written: &[&str]| {
        // Once, zero-based, with a time-out that no machine outlasts.
        let mut arguments: Vec<String> =
            ["-1", "-0", "-a", "1", "-r", "0", "-o", "10", "-t", table]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(
            count
                .iter()
                .flat_map(|c| ["-c".to_owned(), (*c).to_owned()]),
        );
        arguments.extend(how.iter().map(|a| (*a).to_owned()));
        arguments.push(host.to_owned());
        arguments.extend(written.iter().map(|a| (*a).to_owned()));
        answers(program.clone(), arguments)
    };
    assert_eq!(
        polled(&run("4", Some("3"), &[]).await),
        ["1000", "1007", "1014"]
    );
    assert_eq!(polled(&run("3", Some("3"), &[]).await), ["5", "16", "27"]);
    assert_eq!(
        polled(&run("0", Some("4"), &[]).await),
        ["1", "0", "0", "1"]
    );
    assert_eq!(
        polled(&run("1", Some("6"), &[]).await),
        ["1", "0", "0", "0", "0", "1"]
    );
    run("4", None, &["--", "4242", "17"]).await;
    assert_eq!(
        polled(&run("4", Some("3"), &[]).await),
        ["4242", "17", "1014"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mbpoll_over_tcp() {
    let client = need!(program("mbpoll"));
    let folder = tempfile::tempdir().unwrap();
    let sim = start(TCP, folder.path()).await;
    mbpoll(client, &["-m", "tcp", "-p", &port(&sim)], "127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mbpoll_on_a_serial_line() {
    let client = need!(program("mbpoll"));
    let folder = tempfile::tempdir().unwrap();
    let sim = start(RTU, folder.path()).await;
    let line = sim.links()[0].display().to_string();
    let how = ["-m", "rtu", "-b", "115200", "-P", "none"];
    mbpoll(client, &how, &line).await;
}
