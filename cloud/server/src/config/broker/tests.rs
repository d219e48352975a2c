//! `[broker]` as read: one node or a cluster, and what is refused by name.

use super::*;

fn init(nodes: &[&str]) -> InitArguments {
    InitArguments {
        node: nodes.iter().map(|node| node.parse().unwrap()).collect(),
        ..InitArguments::example()
    }
}

fn three() -> BrokerSection {
    BrokerSection::for_init(&init(&["n1@10.0.0.1", "n2@10.0.0.2", "n3@n3.example.com"]))
}

#[test]
fn three_nodes_keep_three_copies_and_are_all_told_of() {
    let section = three();
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    assert_eq!(section.replicas(), 3);
    assert_eq!(section.urls[2], "tls://n3.example.com:4222");
    let nodes = section.nodes();
    assert_eq!(nodes[0].mqtt_listen, "10.0.0.1:8883".parse().unwrap());
    assert_eq!(nodes[2].mqtt_listen, "0.0.0.0:8883".parse().unwrap());
}

#[test]
fn one_node_keeps_one_copy_whatever_is_the_default() {
    let section = BrokerSection::for_init(&init(&[]));
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    assert_eq!((section.replicas(), section.is_cluster()), (1, false));
}

#[test]
fn a_file_of_an_earlier_version_with_one_url_is_read() {
    let text = "
        dir = \"broker\"
        server_name = \"fogline-1\"
        url = \"nats://127.0.0.1:4222\"
        client_listen = \"127.0.0.1:4222\"
        mqtt_listen = \"127.0.0.1:8883\"
        names = [\"localhost\"]
        servers = [\"mqtts://localhost:8883\"]
    ";
    let section: BrokerSection = toml::from_str(text).unwrap();
    assert!(section.problems().is_empty());
    assert_eq!(section.urls, ["nats://127.0.0.1:4222"]);
}

#[test]
fn what_could_not_keep_a_promise_is_refused_by_name() {
    type Change = fn(&mut BrokerSection);
    let changes: [(Change, &str); 8] = [
        (|s| drop(s.node.pop()), "names 2 nodes"),
        (|s| s.node.truncate(1), "names 1 nodes"),
        (|s| s.node[1].name = "n1".to_owned(), "one name twice"),
        (|s| s.node[1].name = "N 2".to_owned(), "\"N 2\""),
        (|s| s.cluster = None, "one needs the other"),
        (|s| s.replicas = Some(5), "broker.replicas is 5"),
        (
            |s| s.urls[0] = "nats://10.0.0.1:4222".to_owned(),
            "broker.urls",
        ),
        (|s| s.server_name = Some("n1".to_owned()), "needs either"),
    ];
    for (change, said) in changes {
        let mut section = three();
        change(&mut section);
        let problems = section.problems().join("; ");
        assert!(problems.contains(said), "{said}: {problems}");
    }
}
