#!/usr/bin/env bash
# Lets containers of this machine have UDP buffers as large as a relay asks for. Once for each machine, as root; what runs
# must be started again to get them.
#
#   docker/setup-host.sh           now, and at each boot: /etc/sysctl.d/10-laps.conf
#   docker/setup-host.sh --undo    not at the next boot
#
# A `sysctls:` entry of a compose file cannot: the kernel has these two for the machine, not for a container's own network.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname "$0")/../scripts/lib/common.sh"
# shellcheck source=scripts/lib/healthy.sh
. "$LAPS_ROOT/scripts/lib/healthy.sh"
# shellcheck source=scripts/lib/compose.sh
. "$LAPS_ROOT/scripts/lib/compose.sh"

# A folder that stands for the system, in docker/test.
root=${LAPS_SETUP_ROOT:-}
file=$root/etc/sysctl.d/10-laps.conf
[ "$(uname -s)" = Linux ] || die "this is for Linux; Docker Desktop runs containers in a Linux of its own"
[ "$(id -u)" = 0 ] || [ -n "$root" ] || die "only root may; run: sudo $0 $*"
case ${1:-} in
    "")
        mkdir -p "$root/etc/sysctl.d"
        cmp -s "$LAPS_ROOT/scripts/laps-sysctl.conf" "$file" || install -m 644 "$LAPS_ROOT/scripts/laps-sysctl.conf" "$file"
        say "$file is there for each boot"
        raise_buffers "$file" | while IFS='=' read -r key before; do
            say "$key was $before"
        done
        say "relays that run get it with docker compose -f docker/compose.yml ${all_profiles[*]} restart"
        ;;
    --undo)
        rm -f "$file"
        say "$file is gone; the values stay until the next boot"
        ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" ;;
    *) die "usage: docker/setup-host.sh [--undo]" ;;
esac
