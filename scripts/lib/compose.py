"""What a compose file says, as Compose itself resolves it (`docker compose config`, `docker-compose config`).

compose.py check          reads it from standard input; a line for each promise that it breaks, and 1 when there is one
compose.py services DIR   writes what the services are into DIR, a folder each, for scripts/test-compose
"""

import itertools
import os
import sys

import yaml


def listed(value):
    """A list, or the keys of a mapping, or nothing."""
    return list(value or [])


def volumes(service):
    """(volume, where, read-only), whichever way it is written."""
    for volume in listed(service.get("volumes")):
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            yield source, target, "ro" in mode
        else:
            yield volume["source"], volume["target"], bool(volume.get("read_only"))


def environment(service):
    """Its variables, as text."""
    return {name: "" if value is None else str(value) for name, value in (service.get("environment") or {}).items()}


REGIONS = ["us-east-2", "us-west-2", "eu-central-1"]
# When each of them drains and restarts: not two at once, and the first at 00:01 UTC.
RESTARTS = ["00:01", "00:01:30", "00:02"]


def memory(text):
    """A bound on memory in bytes, whichever way it is written."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    text = str(text or 0).lower().removesuffix("b")
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def unasked(service):
    """Whether nobody asks for its health, as the image would."""
    healthcheck = service.get("healthcheck") or {}
    return healthcheck.get("disable") is True or healthcheck.get("test") == ["NONE"]


def promises(name, service):
    """What every service keeps, and what the service of this name does."""
    publishes = bool(service.get("ports"))
    relay = name == "via" or publishes
    once = name == "keys"
    # What makes keys is root, once or each day.
    makes = name in ("keys", "renewal")
    logging = service.get("logging") or {}
    mounted = {source for source, _, _ in volumes(service)}
    yield "drops every capability", listed(service.get("cap_drop")) == ["ALL"]
    yield "adds none, but CHOWN for keys", listed(service.get("cap_add")) == (["CHOWN"] if makes else [])
    yield "gains no privileges", listed(service.get("security_opt")) == ["no-new-privileges:true"]
    yield "is not privileged", not service.get("privileged")
    yield "has a root that is read-only", service.get("read_only") is True
    yield "has a limit of memory", bool(service.get("mem_limit"))
    yield "rotates its log", {"max-size", "max-file"} <= set(logging.get("options") or {})
    # A kernel that does not have them in the container's own network refuses to start it.
    yield "sets no sysctls", not service.get("sysctls")
    yield "is restarted, unless it runs once", once or service.get("restart") == "unless-stopped"
    yield "is no root, unless it makes keys", makes or str(service.get("user", "")).split(":")[0] not in ("", "0", "root")
    yield "publishes ports when it takes clients", publishes == name.startswith(("edge-", "us-", "eu-"))
    yield "has no port but UDP", all("udp" in str(port) for port in listed(service.get("ports")))
    yield "has the key of the CA when it makes keys", ("ca" in mounted) == makes
    yield "has only what is its own", makes or mounted <= {name, "clients"}
    yield "is in no network when it makes keys", (service.get("network_mode") == "none") == makes
    yield "is asked for its health when it is a relay", unasked(service) != relay
    if relay:
        yield "has 20 s to drain", str(service.get("stop_grace_period")) == "20s"
        yield "writes nothing", all(read_only for _, _, read_only in volumes(service))
        yield "waits for keys", "keys" in listed(service.get("depends_on"))
        yield "has its certificates renewed", "renewal" in listed(service.get("depends_on"))
        yield "tells metrics to its networks, at no port", environment(service).get("LAPS_ADMIN__BIND") == "0.0.0.0"
        yield "asks for tokens when it takes clients", ("LAPS_AUTH__SECRET_FILE" in environment(service)) == publishes


def region(name, service):
    """What a region of the playground does besides."""
    ports = [port if isinstance(port, str) else f":{port['target']}/udp" for port in listed(service.get("ports"))]
    yield "takes clients at 33437", len(ports) == 1 and ports[0].endswith(":33437/udp")
    yield "has 1 GiB", memory(service.get("mem_limit")) == 1 << 30
    yield "has 2 CPUs", float(service.get("cpus") or 0) == 2
    at = environment(service).get("RELAY_RESTART_AT")
    yield "restarts daily, at a time of its own", at == dict(zip(REGIONS, RESTARTS))[name]
    yield "is in its profile alone", listed(service.get("profiles")) in ([], ["playground"])


def check(config):
    """What is broken."""
    services = config["services"]
    for name, service in services.items():
        for promise, kept in promises(name, service):
            if not kept:
                yield f"{name}: not so: {promise}"
    for name in REGIONS:
        for promise, kept in region(name, services[name]):
            if not kept:
                yield f"{name}: not so: {promise}"
    # The same, but for being told to go on.
    once, daily = (listed(services[name].get("command")) for name in ("keys", "renewal"))
    if daily != [*once[:1], "--daily", *once[1:]]:
        yield "renewal: not so: makes what keys makes, daily"
    dials = {name: environment(services[name]).get("LAPS_PEERING__PEERS", "").split(",") for name in REGIONS}
    for one, other in itertools.combinations(REGIONS, 2):
        # Where both dial, one of the two gives up each time.
        if (one in dials[other]) == (other in dials[one]):
            yield f"not so: of {one} and {other}, one dials the other"


def write(config, folder):
    """A folder for each service: what runs there needs it, item by item, ended by NUL."""
    for name, service in config["services"].items():
        place = os.path.join(folder, name)
        os.makedirs(place)
        command = service.get("command")
        items = {
            "environment": [f"{key}={value}" for key, value in environment(service).items()],
            "command": command.split() if isinstance(command, str) else listed(command),
            # None is the image's own.
            "entrypoint": ["laps-entrypoint"] if service.get("entrypoint") is None else listed(service["entrypoint"]),
            "volumes": [f"{source}:{target}:{'ro' if ro else 'rw'}" for source, target, ro in volumes(service)],
            "networks": listed(service.get("networks")),
            "capabilities": [capability.lower() for capability in listed(service.get("cap_add"))],
            "user": [str(service.get("user", "65532:65532"))],
            "read_only": ["yes"] if service.get("read_only") else [],
        }
        for item, values in items.items():
            with open(os.path.join(place, item), "w", encoding="utf-8") as file:
                file.writelines(f"{value}\0" for value in values)


def main():
    config = yaml.safe_load(sys.stdin)
    if sys.argv[1:] == ["check"]:
        broken = list(check(config))
        print(*broken, sep="\n", file=sys.stderr)
        return 1 if broken else 0
    if len(sys.argv) == 3 and sys.argv[1] == "services":
        write(config, sys.argv[2])
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
