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


def promises(name, service):
    """What every service keeps, and what the service of this name does."""
    publishes = bool(service.get("ports"))
    relay = name == "via" or publishes
    once = name == "keys"
    logging = service.get("logging") or {}
    mounted = {source for source, _, _ in volumes(service)}
    yield "drops every capability", listed(service.get("cap_drop")) == ["ALL"]
    yield "adds none, but keys CHOWN", listed(service.get("cap_add")) == (["CHOWN"] if once else [])
    yield "gains no privileges", listed(service.get("security_opt")) == ["no-new-privileges:true"]
    yield "is not privileged", not service.get("privileged")
    yield "has a root that is read-only", service.get("read_only") is True
    yield "has a limit of memory", bool(service.get("mem_limit"))
    yield "rotates its log", {"max-size", "max-file"} <= set(logging.get("options") or {})
    # A kernel that does not have them in the container's own network refuses to start it.
    yield "sets no sysctls", not service.get("sysctls")
    yield "is restarted, unless it runs once", once or service.get("restart") == "unless-stopped"
    yield "is no root, unless it runs once", once or str(service.get("user", "")).split(":")[0] not in ("", "0", "root")
    yield "publishes ports when it takes clients", publishes == name.startswith(("edge-", "us-", "eu-"))
    yield "has no port but UDP", all("udp" in str(port) for port in listed(service.get("ports")))
    yield "has the key of the CA when it is keys", ("ca" in mounted) == once
    yield "has only what is its own", once or mounted <= {name, "clients"}
    if relay:
        yield "has 20 s to drain", str(service.get("stop_grace_period")) == "20s"
        yield "writes nothing", all(read_only for _, _, read_only in volumes(service))
        yield "waits for keys", "keys" in listed(service.get("depends_on"))
        yield "asks for tokens when it takes clients", ("LAPS_AUTH__SECRET_FILE" in environment(service)) == publishes


def check(config):
    """What is broken."""
    services = config["services"]
    for name, service in services.items():
        for promise, kept in promises(name, service):
            if not kept:
                yield f"{name}: not so: {promise}"
    regions = ["us-east-2", "us-west-2", "eu-central-1"]
    dials = {region: environment(services[region]).get("LAPS_PEERING__PEERS", "").split(",") for region in regions}
    for one, other in itertools.combinations(regions, 2):
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
