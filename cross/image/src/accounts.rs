//! Users and groups of an image, without running anybody's scripts: Debian's base list and the few
//! that its services and ours need, with numbers that never change.

use crate::tree::Tree;
use anyhow::Context as _;

/// A user with a group of the same name and number.
struct Account {
    name: &'static str,
    number: u16,
    home: &'static str,
    /// Further groups.
    groups: &'static [&'static str],
}

/// Numbers as Debian usually gives them; an update must find its files again.
const ACCOUNTS: [Account; 5] = [
    Account {
        name: "messagebus",
        number: 100,
        home: "/nonexistent",
        groups: &[],
    },
    Account {
        name: "systemd-network",
        number: 998,
        home: "/",
        groups: &[],
    },
    Account {
        name: "systemd-resolve",
        number: 997,
        home: "/",
        groups: &[],
    },
    Account {
        name: "systemd-timesync",
        number: 996,
        home: "/",
        groups: &[],
    },
    Account {
        name: "fogline",
        number: 990,
        home: "/var/lib/fogline",
        groups: &["dialout"],
    },
];

/// Groups without a user.
const GROUPS: [(&str, u16); 8] = [
    ("systemd-journal", 999),
    ("input", 995),
    ("sgx", 994),
    ("kvm", 993),
    ("render", 992),
    ("netdev", 104),
    ("bluetooth", 105),
    ("crontab", 106),
];

/// Writes `/etc/passwd`, `group`, `shadow` and `gshadow`; nobody has a password.
pub(crate) fn write(tree: &mut Tree) -> anyhow::Result<()> {
    let base = "usr/share/base-passwd";
    let master = tree.text(&format!("{base}/passwd.master"))?;
    let groups = tree.text(&format!("{base}/group.master"))?;
    let (mut passwd, mut group) = (String::new(), String::new());
    let (mut shadow, mut gshadow) = (String::new(), String::new());
    for line in master.lines() {
        let (name, rest) = line.split_once(":*:").context("a user of another form")?;
        passwd += &format!("{name}:x:{rest}\n");
        shadow += &format!("{name}:*:19000:0:99999:7:::\n");
    }
    for account in &ACCOUNTS {
        let Account {
            name, number, home, ..
        } = account;
        passwd += &format!("{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n");
        shadow += &format!("{name}:!*:19000::::::\n");
    }
    let own = ACCOUNTS
        .iter()
        .map(|account| (account.name, account.number));
    let own = own
        .chain(GROUPS)
        .map(|(name, number)| format!("{name}:*:{number}:"));
    for line in groups.lines().map(str::to_owned).chain(own) {
        let (name, rest) = line.split_once(":*:").context("a group of another form")?;
        let (number, _) = rest.split_once(':').context("a group of another form")?;
        let members = ACCOUNTS
            .iter()
            .filter(|account| account.groups.contains(&name));
        let members: Vec<_> = members.map(|account| account.name).collect();
        let members = members.join(",");
        group += &format!("{name}:x:{number}:{members}\n");
        gshadow += &format!("{name}:*::{members}\n");
    }
    tree.file("etc/passwd", passwd, 0o644);
    tree.file("etc/group", group, 0o644);
    tree.file("etc/shadow", shadow, 0o600);
    tree.file("etc/gshadow", gshadow, 0o600);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_has_the_serial_ports_and_nobody_a_password() {
        let mut tree = Tree::new();
        let base = "usr/share/base-passwd";
        tree.file(
            &format!("{base}/passwd.master"),
            "root:*:0:0:root:/root:/bin/bash\n",
            0o644,
        );
        tree.file(
            &format!("{base}/group.master"),
            "root:*:0:\ndialout:*:20:\n",
            0o644,
        );
        write(&mut tree).unwrap();
        let group = tree.text("etc/group").unwrap();
        assert!(group.contains("dialout:x:20:fogline\n"), "{group}");
        let shadow = tree.text("etc/shadow").unwrap();
        assert!(shadow.lines().all(|line| line.contains('*')), "{shadow}");
        assert!(
            tree.text("etc/passwd")
                .unwrap()
                .starts_with("root:x:0:0:root:")
        );
    }
}
