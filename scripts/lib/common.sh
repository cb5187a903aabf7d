# shellcheck shell=bash
# Shared by every command in scripts/: where the tree is, how to speak, what the version is.
# Written for bash 3.2 (macOS) and later; sourced, never run.

LAPS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# say TEXT: progress, on standard error so that a command's own output stays clean.
say() { printf '%s\n' "== $*" >&2; }
warn() { printf '%s\n' "warning: $*" >&2; }
die() {
    printf '%s\n' "error: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# workspace_version [FILE]: the version in [workspace.package], the one place where it stands.
# Reads standard input when FILE is -.
workspace_version() {
    awk '
        /^\[/ { inside = ($0 ~ /^\[workspace\.package\]/) }
        inside && /^version[ \t]*=/ { split($0, part, "\""); print part[2]; exit }
    ' "${1:-$LAPS_ROOT/Cargo.toml}"
}

# version_at_least HAVE WANT: compares dotted numbers.
version_at_least() {
    awk -v have="$1" -v want="$2" 'BEGIN {
        split(have, h, "."); split(want, w, ".")
        for (i = 1; i <= 3; i++) {
            if (h[i] + 0 > w[i] + 0) exit 0
            if (h[i] + 0 < w[i] + 0) exit 1
        }
        exit 0
    }'
}

# target_dir: where cargo puts what it builds.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$LAPS_ROOT/target}"; }

# elf_machine FILE: the architecture of a program, as Debian calls it, from the head of its ELF file.
elf_machine() {
    local head
    head=$(od -An -v -tx1 -N20 "$1" 2>/dev/null | tr -d ' \n')
    case $head in
        7f454c4602*3e00) echo amd64 ;;
        7f454c4602*b700) echo arm64 ;;
        7f454c4601*2800) echo armhf ;;
        7f454c46*) echo "of another architecture" ;;
        *) echo "no Linux program" ;;
    esac
}

# run_step TITLE COMMAND...: runs one step of a check, says how long it took, keeps its exit code.
run_step() {
    local title=$1 start=$SECONDS code=0
    shift
    say "$title"
    "$@" || code=$?
    if [ "$code" -eq 0 ]; then
        say "$title: ok, $((SECONDS - start)) s"
    else
        say "$title: FAILED with exit code $code, $((SECONDS - start)) s"
    fi
    return "$code"
}

# own_state: relays that are started from here keep nothing with whoever runs this, and nothing is left.
own_state() {
    XDG_STATE_HOME=$(mktemp -d)
    export XDG_STATE_HOME
    trap 'rm -rf "$XDG_STATE_HOME"' EXIT
}
