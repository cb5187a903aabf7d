# shellcheck shell=bash
# `docker`, as README has people type it, without an engine: containers of the image that scripts/test-image tests. Sourced by it,
# for its `box` and `start`; $as_docker has options for each container, and $as_docker_ports the ports that the image says.
#
# A container has a network of its own, whose address is $address, and `--network host` that of whoever types. Three things are
# otherwise: a port of the machine (`-p`) leads nowhere, but must be one that the image says; a terminal (`-it`) is what is there
# already; and a root is read-only, and nobody has a capability, which Docker allows.

readonly address=10.97.0.2
# as_docker_network: that network, from where it is reached.
as_docker_network() {
    ip netns add docker
    ip link add bridge type veth peer name container netns docker
    ip address add 10.97.0.1/24 dev bridge
    ip link set bridge up
    ip -n docker address add "$address/24" dev container
    ip -n docker link set container up
    ip -n docker link set lo up
}

# Who sources this sets what is not set here.
# shellcheck disable=SC2154
docker() {
    local asked=$1 called=docker-$BASHPID options=(--network /run/netns/docker) background=""
    shift
    case $asked in
        logs)
            cat "$LAPS_SCRATCH/$1.log"
            return
            ;;
        run) ;;
        *) die "as docker: '$asked' is none of: run, logs" ;;
    esac
    while [ "${1:-laps}" != laps ]; do
        case $1 in
            -d) background=yes ;;
            --rm | -it | --no-healthcheck) ;;
            -p)
                grep -q "\"${2#*:}\"" <<<"$as_docker_ports" ||
                    die "as docker: the image has no port ${2#*:}"
                shift
                ;;
            --name | --restart | --stop-timeout | --network | -v | -e | -w | -u)
                [ $# -ge 2 ] || die "as docker: $1 needs a value"
                case $1 in
                    --name) called=$2 ;;
                    --network)
                        [ "$2" = host ] || die "as docker: no network '$2'"
                        options=("${options[@]:2}")
                        ;;
                    -v) options+=(--mount "$2") ;;
                    -e) options+=(--env "$2") ;;
                    -w) options+=(--workdir "$2") ;;
                    -u) options+=(--user "$2") ;;
                esac
                shift
                ;;
            *) die "as docker: no option '$1'" ;;
        esac
        shift
    done
    shift
    options+=("${as_docker[@]}" -- "$@")
    if [ -n "$background" ]; then start "$called" "${options[@]}"; else box "$called" "${options[@]}"; fi
}
