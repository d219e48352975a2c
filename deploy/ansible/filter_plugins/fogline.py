"""The preflight's rules, pure: from what is written down, and from what hosts told, to problems in words.

  groups | fogline_plan_problems(hostvars, folder)   of inventory and cloud.toml
  facts | fogline_host_problems(ports, …)            of one host
  folder | fogline_settings                          cloud.toml, for the roles
"""

import os
import tomllib
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

PARTS = ("broker", "cloud", "postgresql", "entry")
# Where the units look (deploy/systemd).
FILES_AT = "/etc/fogline-broker"
STORE_AT = "/var/lib/fogline-broker"
# A gateway says something at least this often, seconds; whatever cuts quiet connections must wait longer.
KEEP_ALIVE = 15
# Seconds that clocks may differ: certificates and stamps are compared across hosts. A question may take
# some more on its way.
CLOCKS = 2
TRAVEL = 8


def settings(folder):
    """cloud.toml as it stands."""
    with open(os.path.join(folder, "cloud.toml"), "rb") as file:
        return tomllib.load(file)


def database(config):
    """User, password, host, port and name of the database in a configuration; none for a file."""
    url = config.get("database", {}).get("url")
    if not url:
        return None
    parts = urlsplit(url)
    return {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": parts.hostname or "",
        "port": parts.port or 5432,
        "name": parts.path.lstrip("/"),
    }


def address(hostvars, host):
    return str(hostvars[host].get("ansible_host", host))


def twice(groups, hostvars):
    """One address under two names: dead members of a quorum, or two parts fighting for a machine."""
    names = {}
    for host in sorted({host for part in PARTS for host in groups.get(part, [])}):
        names.setdefault(address(hostvars, host), []).append(host)
    for found, hosts in sorted(names.items()):
        if len(hosts) > 1:
            yield f"{found} is the address of {' and of '.join(hosts)}: give each host its own"


def counts(groups):
    for part in ("broker", "cloud"):
        if not groups.get(part):
            yield f"the group {part} is empty"
    nodes = len(groups.get("broker", []))
    if nodes and nodes not in (3, 5):
        yield f"{nodes} broker nodes: 3 or 5 survive a loss; for one machine take the package alone"
    if len(groups.get("postgresql", [])) > 1:
        yield "several hosts in postgresql: this sets up one; a standby is made by other means"


def of_broker(groups, hostvars, config):
    broker = config.get("broker", {})
    nodes = {node["name"]: node for node in broker.get("node", [])}
    hosts = set(groups.get("broker", []))
    for host in sorted(hosts - set(nodes)):
        yield f"{host} is in the group broker, but cloud.toml has no [[broker.node]] of that name"
    for name in sorted(set(nodes) - hosts):
        yield f"cloud.toml names the broker node {name}, which is not in the group broker"
    for name in sorted(hosts & set(nodes)):
        told, here = nodes[name]["host"], address(hostvars, name)
        if is_address(told) and is_address(here) and told != here:
            yield f"{name} is at {here} in the inventory and at {told} in cloud.toml"
    for key, wanted in (("files_at", FILES_AT), ("store_at", STORE_AT)):
        if broker.get(key) != wanted:
            yield f"broker.{key} is {broker.get(key)!r}; the units need {wanted!r}"


def of_database(groups, config):
    found = database(config)
    if found is None:
        if len(groups.get("cloud", [])) > 1 or groups.get("postgresql"):
            yield "database.url is not set: several hosts cannot share the file database.path"
        return
    for key in ("user", "password", "host", "name"):
        if not found[key]:
            yield f"database.url names no {key}"
    if found["password"].lower() in ("password", "changeme", "secret", "fogline"):
        yield "the password in database.url is a placeholder"
    if any(c in found["name"] + found["user"] for c in "\"'\\ "):
        yield "user and name in database.url: letters, digits and _ only"


def of_entry(groups, hostvars):
    for host in groups.get("entry", []):
        timeout = int(hostvars[host].get("fogline_entry_timeout_s", 300))
        if timeout < 2 * KEEP_ALIVE:
            yield (f"{host}: fogline_entry_timeout_s is {timeout}; gateways are silent for up to "
                   f"{KEEP_ALIVE} s, so take {2 * KEEP_ALIVE} at least")
        lines = int(hostvars[host].get("fogline_entry_connections", 20000))
        nodes = max(len(groups.get("broker", [])), 1)
        # Ports of one source towards one backend, with the range that the role sets.
        if lines > 64512 * nodes:
            yield f"{host}: {lines} connections to {nodes} nodes are more than one address has ports for"


def is_address(text):
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def plan_problems(groups, hostvars, folder):
    """Everything that speaks against an inventory and its settings."""
    problems = [*twice(groups, hostvars), *counts(groups), *of_entry(groups, hostvars)]
    try:
        config = settings(folder)
    except (OSError, tomllib.TOMLDecodeError) as error:
        return [*problems, f"{folder}/cloud.toml cannot be read: {error}"]
    return [*problems, *of_broker(groups, hostvars, config), *of_database(groups, config)]


def host_problems(facts, host):
    """
    Everything that speaks against one host. `facts`: skew_s, descriptors, needs_descriptors, taken (ports
    that somebody else's program listens on), free_mb, needs_mb, folders (path: what is wrong), manager.
    """
    problems = []
    if not -CLOCKS <= facts["skew_s"] <= CLOCKS + TRAVEL:
        problems.append(f"the clock is {facts['skew_s']} s off ours: set up time synchronisation")
    if facts["descriptors"] < facts["needs_descriptors"]:
        problems.append(f"services may have {facts['descriptors']} descriptors; "
                        f"{facts['needs_descriptors']} are needed for connections")
    for port, program in sorted(facts["taken"].items()):
        problems.append(f"port {port} is taken by {program}")
    if facts["free_mb"] < facts["needs_mb"]:
        problems.append(f"{facts['free_mb']} MB are free below /var/lib; {facts['needs_mb']} are needed")
    for path, wrong in sorted(facts["folders"].items()):
        problems.append(f"{path} {wrong}")
    if facts["manager"] != "systemd":
        problems.append(f"the service manager is {facts['manager']}, not systemd")
    return [f"{host}: {problem}" for problem in problems]


def listeners(lines, own):
    """Port and program of `ss -Hltnp` lines, without programs that are ours."""
    taken = {}
    for line in lines:
        parts = line.split()
        if len(parts) < 4:
            continue
        port = parts[3].rsplit(":", 1)[-1]
        program = line.split('(("', 1)[1].split('"', 1)[0] if '(("' in line else "somebody"
        if program not in own:
            taken[port] = program
    return taken


def missing(results):
    """Of `stat` results, what is no folder."""
    return {
        result["item"]: "is no folder"
        for result in results
        if not result["stat"].get("isdir", False)
    }


class FilterModule:
    """Ansible's way in."""

    def filters(self):
        return {
            "fogline_plan_problems": plan_problems,
            "fogline_host_problems": host_problems,
            "fogline_listeners": listeners,
            "fogline_missing": missing,
            "fogline_settings": settings,
            "fogline_database": database,
        }
