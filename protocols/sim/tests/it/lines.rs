//! Lines: what a gateway that opens the link gets.

use super::client::{PATIENCE, wait};
use super::{Client, start};
use protocols_sim::control::Action;
use protocols_sim::modbus::crc16;
use std::time::Duration;

const BUS: &str = r#"
[bus.rs485]
kind = "modbus-rtu"
link = "bus0"
line = "115200 8N1"
check_speed = false
[device.one]
bus = "rs485"
unit = 1
points = [ { id = "a", at = "hr:0", value = 258 }, { id = "b", at = "hr:1", write = true, value = 3 } ]
"#;

fn request(pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![1];
    frame.extend(pdu);
    frame.extend(crc16(&frame));
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_on_a_line_is_read_and_written_and_its_hook_heard_it_first() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, told) = start(BUS, folder.path()).await;
    let mut client = Client::open(&folder.path().join("bus0"));
    let answer = client.ask(&request(&[3, 0, 0, 0, 2]), 9);
    assert_eq!(answer[..7], [1, 3, 4, 1, 2, 0, 3]);
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .any(|line| line.starts_with("one Read"))
    );
    let write = request(&[6, 0, 1, 0, 77]);
    assert_eq!(client.ask(&write, 8), write);
    assert_eq!(
        client.ask(&request(&[3, 0, 1, 0, 1]), 7)[..5],
        [1, 3, 2, 0, 77]
    );
    assert!(sim.counts().answers >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_finds_the_line_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, _) = start(BUS, folder.path()).await;
    for _ in 0..3 {
        let mut client = Client::open(&folder.path().join("bus0"));
        client.ask(&request(&[3, 0, 0, 0, 1]), 7);
        drop(client);
        wait("the line is closed", || {
            !sim.served()[0].port.as_ref().unwrap().is_open
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_adapter_is_gone_with_its_name_and_comes_back_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("bus0");
    let (sim, _) = start(BUS, folder.path()).await;
    let mut client = Client::open(&link);
    client.ask(&request(&[3, 0, 0, 0, 1]), 7);
    sim.act("rs485", &Action::Unplug(Duration::from_millis(300)))
        .unwrap();
    // The port ends under the client, as a pulled one does.
    client.read(PATIENCE, |_| false).unwrap_err();
    wait("it is back", || link.exists());
    let mut client = Client::open(&link);
    client.ask(&request(&[3, 0, 0, 0, 1]), 7);
    assert!(
        sim.act("one", &Action::Unplug(Duration::ZERO)).is_err(),
        "a device has no plug"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_gone_when_the_simulator_is_and_what_is_no_link_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("bus0");
    // What a killed simulator left behind is replaced.
    std::os::unix::fs::symlink("/dev/pts/none", &link).unwrap();
    let (sim, _) = start(BUS, folder.path()).await;
    assert!(link.exists());
    sim.stop();
    assert!(!link.is_symlink());
    std::fs::write(&link, "precious").unwrap();
    let plan = protocols_sim::Site::parse(BUS)
        .unwrap()
        .build(folder.path())
        .unwrap();
    let error = protocols_sim::Sim::start(plan, None).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("is there already and no link"), "{cause}");
    assert_eq!(std::fs::read(&link).unwrap(), b"precious");
}

const DEVICES: &str = r#"
[serial.scale]
kind = "scale"
link = "scale"
every = "50ms"
check_speed = false
values = { weight = 12.5 }
[serial.meter]
kind = "scpi"
link = "meter"
line = "115200 8N1"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_heard_from_when_it_is_listened_to_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, told) = start(DEVICES, folder.path()).await;
    wait("it says into the void", || told.lock().unwrap().len() > 3);
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .all(|line| line.contains("heard: false"))
    );
    let mut scale = Client::open(&folder.path().join("scale"));
    let whole = |bytes: &[u8]| bytes.windows(2).filter(|pair| pair == b"\r\n").count() >= 2;
    let said = scale.read(PATIENCE, whole).unwrap();
    let said = String::from_utf8(said).unwrap();
    let (first, _) = said.split_once("\r\n").unwrap();
    assert_eq!(
        first, "ST,GS,  +12.500,kg*00",
        "from the begin of a frame on"
    );
    sim.act(
        "scale",
        &Action::Set("weight".into(), Some(protocols_sim::script::Value::Int(7))),
    )
    .unwrap();
    scale
        .read(PATIENCE, |bytes| {
            String::from_utf8_lossy(bytes).contains("+7.000")
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_opened_with_another_speed_understands_nothing_and_says_why() {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("meter");
    let (sim, told) = start(DEVICES, folder.path()).await;
    let mut client = Client::open(&link);
    let set = |speed| {
        let port = std::fs::File::open(&link).unwrap();
        let mut mode = tcgetattr(&port).unwrap();
        mode.make_raw();
        mode.set_speed(speed).unwrap();
        tcsetattr(&port, OptionalActions::Now, &mode).unwrap();
    };
    set(9600);
    client.write(b"*IDN?\n");
    wait("the speed is told", || {
        let served = sim.served();
        served
            .iter()
            .any(|served| served.port.as_ref().unwrap().wrong_speed == Some(9600))
    });
    set(115_200);
    let answer = client.ask(b"*IDN?\n", 24);
    assert!(answer.starts_with(b"FOGLINE,"), "{}", answer.escape_ascii());
    assert!(
        !told
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("NotUnderstood"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_listens_at_another_speed_hears_garbage_and_one_that_sets_none_hears_all()
 {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let folder = tempfile::tempdir().unwrap();
    let site = DEVICES.replacen("check_speed = false", "", 1);
    let (sim, _) = start(&site, folder.path()).await;
    let link = folder.path().join("scale");
    let whole = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"\r\n");
    let mut plain = Client::open(&link);
    assert!(plain.read(PATIENCE, whole).unwrap().starts_with(b"ST,GS,"));
    let port = std::fs::File::open(&link).unwrap();
    let mut mode = tcgetattr(&port).unwrap();
    mode.set_speed(19_200).unwrap();
    tcsetattr(&port, OptionalActions::Flush, &mode).unwrap();
    wait("the speed is told", || {
        let served = sim.served();
        let scale = served.iter().find(|served| &*served.name == "scale");
        scale.unwrap().port.as_ref().unwrap().wrong_speed == Some(19_200)
    });
}
