"""A container of an image as an OCI runtime starts it, as docker/compose.yml has its services: a root that is read-only, no
capability, no new privileges.

bundle.py DIR ROOT [--user UID:GID] [--env NAME=VALUE]... [--mount SOURCE:TARGET[:ro]]... [--workdir DIR] [--network FILE] [-- WORD...]

Reads from standard input what `buildah inspect --type image` says of the image. Writes DIR/config.json, for the root folder
ROOT, with the image's user, variables and entrypoint, and its command where there is no WORD. The network is that of
whoever starts it, or the namespace that FILE is. `bundle.py health` prints the words of the image's HEALTHCHECK, one a line, and `bundle.py said` what else
the image says of itself. DIR/user is who it is, UID:GID.
"""

import argparse
import json
import sys


def config():
    return json.load(sys.stdin)["Docker"]["config"]


def mount(place):
    source, target, *mode = place.split(":")
    return {"destination": target, "type": "bind", "source": source, "options": ["bind", *(mode or ["rw"])]}


def bundle(image, root, asked, words):
    uid, _, gid = (asked.user or image["User"]).partition(":")
    spaces = [{"type": kind} for kind in ["pid", "mount", "ipc", "uts"]]
    if asked.network:
        spaces.append({"type": "network", "path": asked.network})
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    ]
    none = {kind: [] for kind in ["bounding", "effective", "inheritable", "permitted", "ambient"]}
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": int(uid), "gid": int(gid or uid)},
            "args": image["Entrypoint"] + (words or image["Cmd"]),
            "env": image["Env"] + asked.env,
            "cwd": asked.workdir or image.get("WorkingDir") or "/",
            "capabilities": none,
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": True},
        "hostname": "laps",
        "mounts": system + [mount(place) for place in asked.mount],
        "linux": {"namespaces": spaces},
    }


def main():
    if sys.argv[1:] == ["health"]:
        kind, *words = config()["Healthcheck"]["Test"]
        sys.exit("the health check is no list of words") if kind != "CMD" else print("\n".join(words))
    elif sys.argv[1:] == ["said"]:
        image = config()
        for name in ["User", "ExposedPorts", "StopSignal", "Entrypoint", "Cmd", "Labels"]:
            print(name, json.dumps(image.get(name), sort_keys=True))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("dir")
        parser.add_argument("root")
        parser.add_argument("--user")
        parser.add_argument("--env", action="append", default=[])
        parser.add_argument("--mount", action="append", default=[])
        parser.add_argument("--workdir")
        parser.add_argument("--network")
        # What stands behind `--` is somebody else's, options too.
        cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
        asked = parser.parse_args(sys.argv[1:cut])
        made = bundle(config(), asked.root, asked, sys.argv[cut + 1 :])
        with open(f"{asked.dir}/config.json", "w") as file:
            json.dump(made, file)
        with open(f"{asked.dir}/user", "w") as file:
            file.write("{uid}:{gid}".format(**made["process"]["user"]))


main()
