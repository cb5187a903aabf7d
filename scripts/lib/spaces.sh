# Namespaces for programs that make networks of their own. Sourced after common.sh.
# shellcheck shell=bash

# What a script ends with where nobody may make them.
readonly NO_SPACES=77

spaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)

# need_spaces: ends the script with NO_SPACES where none can be made.
need_spaces() {
    [ "$(uname -s)" = Linux ] || { warn "network namespaces are Linux's" && exit "$NO_SPACES"; }
    [ "$(id -u)" = 0 ] || spaces+=(--user --map-root-user)
    "${spaces[@]}" true 2>/dev/null || { warn "this system lets nobody make network namespaces" && exit "$NO_SPACES"; }
}

# in_spaces COMMAND...: runs it where everything it makes is its own, and gone when it ends.
#
# A mount namespace hides what `ip netns` keeps in /run, a process namespace takes everything along when it ends.
in_spaces() {
    # The script in single quotes is for the shell in there.
    # shellcheck disable=SC2016
    "${spaces[@]}" sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"' sh "$@"
}
