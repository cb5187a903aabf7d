# shellcheck shell=bash
# The services of docker/compose.yml, in containers or without. Sourced after common.sh and spaces.sh.
#
# Both back ends give: up SERVICE..., down SERVICE..., healthy SERVICE, killed SERVICE (kill -9; it comes back), other_user UID:GID,
# stopped SERVICE (SIGTERM; whether it ended with 0), started SERVICE, and visit WORD..., a `laps` beside them that has
# what is in the volume `clients`, and the folder $data as /data, and client WORD..., one that trusts them; said SERVICE, what it wrote; inside SERVICE WORD...
# a program beside it, with what it has.
# Who sources this calls them; shellcheck sees that only there. $compose_python is has_yaml's, of deps.sh.
# shellcheck disable=SC2317,SC2154

# compose WORD...: Compose, whichever there is, of our file.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose -f "$LAPS_ROOT/docker/compose.yml" "$@"
    else
        docker-compose -f "$LAPS_ROOT/docker/compose.yml" "$@"
    fi
}

# With these Compose means every service of our file; without them it leaves those of a profile alone, when it ends or restarts
# what runs too.
all_profiles=(--profile demo --profile five --profile playground)

# resolved [--profile NAME]...: the file with all that it refers to put in its place. What docker/.env says is left out: it is
# about one machine.
resolved() {
    local empty code=0
    empty=$(mktemp)
    compose --env-file "$empty" "$@" config || code=$?
    rm -f "$empty"
    return "$code"
}

# in_python WORD...: scripts/lib/compose.py, by the Python for which Debian has the package.
in_python() { has_yaml && "$compose_python" "$LAPS_ROOT/scripts/lib/compose.py" "$@"; }

engine_answers() { have docker && docker info >/dev/null 2>&1; }

# --- in containers ------------------------------------------------------------------------------------------------

backend_engine() {
    export COMPOSE_PROJECT_NAME=lapstest$$
    # Beside a cluster that runs here: ports that the system chooses, on loopback.
    local port
    for port in LAPS_EDGE_1 LAPS_EDGE_2 LAPS_EDGE_3 LAPS_EDGE_4 LAPS_EDGE_5 PLAYGROUND_US_EAST_2 PLAYGROUND_US_WEST_2 PLAYGROUND_EU_CENTRAL_1; do
        export "$port=127.0.0.1:0"
    done
    if [ -z "${LAPS_IMAGE:-}" ]; then LAPS_IMAGE=$(scripts/image); fi
    export LAPS_IMAGE
    say "containers of $LAPS_IMAGE"

    up() { compose up -d "$@" >&2; }
    down() {
        compose logs --no-color >"$LAPS_SCRATCH/$1.log" 2>&1 || true
        compose stop "$@" >&2
    }
    container() { compose ps -q "$1"; }
    healthy() { [ "$(docker inspect --format '{{ .State.Health.Status }}' "$(container "$1")")" = healthy ]; }
    # In there, laps is not the first process, which nobody may kill.
    killed() {
        local before
        before=$(life "$1")
        # shellcheck disable=SC2016
        compose exec -T "$1" sh -c 'for p in /proc/[0-9]*; do if [ "$(cat "$p/comm")" = laps ]; then kill -9 "${p#/proc/}"; fi; done' </dev/null || true
        soon another_life "$1" "$before"
    }
    # When it was started: what is said of its health is about that life.
    life() { docker inspect --format '{{ .State.StartedAt }}' "$(container "$1")"; }
    another_life() { [ "$(life "$1")" != "$2" ]; }
    stopped() {
        compose stop "$1" >&2
        [ "$(docker inspect --format '{{ .State.ExitCode }}' "$(compose ps -aq "$1")")" = 0 ]
    }
    started() { compose start "$1" >&2; }
    # Whose the relays are from now on.
    other_user() { export LAPS_USER=$1; }
    said() { compose logs --no-color "$1"; }
    inside() {
        # What ran once is there no more.
        if [ "$1" = keys ]; then compose run --rm --no-deps -T "$@"; else compose exec -T "$@"; fi </dev/null
    }
    visit() {
        # Its files belong to whoever runs this; tokens belong to those as whom the relays run.
        local run=(docker run --rm -i --user "${LAPS_USER:-65532:65532}" --network "${COMPOSE_PROJECT_NAME}_clients" -v "${COMPOSE_PROJECT_NAME}_clients:/clients:ro"
            -v "$LAPS_SCRATCH/data:/data" "$LAPS_IMAGE" "$@")
        # In the background this is a process already, and becomes the other one.
        if [ "$BASHPID" != "$$" ]; then exec "${run[@]}"; fi
        "${run[@]}"
    }
}
engine_down() { compose "${all_profiles[@]}" down -v --remove-orphans >&2 || true; }

# --- as processes in network namespaces ---------------------------------------------------------------------------

backend_spaces() {
    # A tmpfs, so that a root may lie over that of this system.
    stage=/run/laps
    mkdir -p "$stage/image/usr/local/bin" "$stage/image/etc" "$stage/volumes" "$stage/roots"
    # What docker/Dockerfile copies; the program itself is mounted, as it is large.
    install -m 755 docker/laps-entrypoint docker/laps-keys "$stage/image/usr/local/bin"
    : >"$stage/image/usr/local/bin/laps"
    chmod 755 "$stage/image/usr/local/bin/laps"
    in_python services "$LAPS_SCRATCH/services" <"$LAPS_SCRATCH/compose.yml"
    # Beside the services, where the clients of this test are.
    mkdir "$LAPS_SCRATCH/services/visitor"
    printf 'clients\0' >"$LAPS_SCRATCH/services/visitor/networks"
    printf 'clients:/clients:ro\0' >"$LAPS_SCRATCH/services/visitor/volumes"
    # The tokens belong to those as whom the relays run.
    cp "$LAPS_SCRATCH/services/edge-1/user" "$LAPS_SCRATCH/services/visitor/user"
    : >"$LAPS_SCRATCH/services/visitor/capabilities"
    : >"$LAPS_SCRATCH/services/visitor/environment"
    : >"$LAPS_SCRATCH/services/visitor/read_only"
    declare -gA process=()
    spaces_network
    spaces_root visitor
    mkdir -p "$stage/roots/visitor/root/data"
    mount --bind "$LAPS_SCRATCH/data" "$stage/roots/visitor/root/data"

    up() {
        local service
        if [ -z "${keys_made:-}" ]; then
            spaces_root keys
            spaces_run keys >>"$LAPS_SCRATCH/keys.log" 2>&1 || die "keys: $(cat "$LAPS_SCRATCH/keys.log")"
            keys_made=yes
        fi
        for service in "$@"; do
            spaces_root "$service"
            started "$service"
        done
    }
    started() {
        spaces_run "$1" >>"$LAPS_SCRATCH/$1.log" 2>&1 </dev/null &
        process[$1]=$!
    }
    other_user() {
        local service
        for service in "$LAPS_SCRATCH"/services/*; do
            if [ -s "$service/user" ] && [ "$(tr -d '\0' <"$service/user")" != 0:0 ]; then printf '%s\0' "$1" >"$service/user"; fi
        done
        sed -z -i "s/^KEYS_USER=.*/KEYS_USER=$1/" "$LAPS_SCRATCH"/services/{keys,renewal}/environment
        keys_made=""
    }
    said() { cat "$LAPS_SCRATCH/$1.log"; }
    inside() { spaces_run "$@" </dev/null; }
    # As the image's HEALTHCHECK asks, by the same variables.
    healthy() { spaces_run "$1" laps-entrypoint health >"$LAPS_SCRATCH/$1.health" 2>&1 </dev/null; }
    killed() {
        kill -9 "${process[$1]}"
        wait "${process[$1]}" 2>/dev/null || true
        started "$1"
    }
    stopped() {
        local code=0
        kill -TERM "${process[$1]}"
        # What Compose would kill after 20 s has not ended by itself.
        timeout 20 tail --pid="${process[$1]}" -f /dev/null || { kill -9 "${process[$1]}" && code=1; }
        wait "${process[$1]}" || code=1
        return "$code"
    }
    down() {
        local service
        for service in "$@"; do check "$service ends when it is asked to" stopped "$service"; done
    }
    visit() { spaces_run visitor laps "$@"; }
}

client() { visit "$1" --ca /clients/ca.pem "${@:2}"; }

# items SERVICE WHAT: of what compose.py wrote, into $item.
items() { mapfile -d '' -t item <"$LAPS_SCRATCH/services/$1/$2"; }

# spaces_network: a namespace for each service, and in each network that it is in an address; who is where by name.
spaces_network() {
    local service network number=1 place networks=()
    local -A address=()
    for place in "$LAPS_SCRATCH"/services/*/; do
        service=$(basename "$place")
        number=$((number + 1))
        ip netns add "$service"
        ip -n "$service" link set lo up
        items "$service" networks
        for network in "${item[@]}"; do
            if [[ " ${networks[*]} " != *" $network "* ]]; then
                networks+=("$network")
                ip link add "br-$network" type bridge
                ip link set "br-$network" up
            fi
            ip link add "$network-$number" type veth peer name "$network" netns "$service"
            ip link set "$network-$number" master "br-$network" up
            address[$network $service]=10.77.$(network_number "$network").$number
            ip -n "$service" addr add "${address[$network $service]}/24" dev "$network"
            ip -n "$service" link set "$network" up
        done
    done
    # A service knows those with whom it shares a network, by their addresses there.
    for place in "$LAPS_SCRATCH"/services/*/; do
        service=$(basename "$place")
        echo "127.0.0.1 localhost" >"$place/hosts"
        items "$service" networks
        for network in "${!address[@]}"; do
            if [[ " ${item[*]} " = *" ${network% *} "* ]]; then echo "${address[$network]} ${network#* }" >>"$place/hosts"; fi
        done
    done
}
network_number() { case $1 in mesh) echo 1 ;; clients) echo 2 ;; *) die "no number for the network $1" ;; esac; }

# spaces_root SERVICE: its root, over that of this system: the image's files, its volumes, its hosts.
spaces_root() {
    local dir=$stage/roots/$1 volume source target mode root
    root=$dir/root
    [ ! -d "$root" ] || return 0
    mkdir -p "$dir/upper/etc" "$dir/work" "$root"
    cp "$LAPS_SCRATCH/services/$1/hosts" "$dir/upper/etc/hosts"
    items "$1" volumes
    for volume in "${item[@]}"; do
        IFS=: read -r source target mode <<<"$volume"
        mkdir -p "$dir/upper$target" "$stage/volumes/$source"
    done
    if [ "$1" = visitor ]; then mkdir -p "$dir/upper/data"; fi
    mount -t overlay overlay -o "lowerdir=$stage/image:/,upperdir=$dir/upper,workdir=$dir/work" "$root"
    mount --bind "$LAPS_BINARY" "$root/usr/local/bin/laps"
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for volume in "${item[@]}"; do
        IFS=: read -r source target mode <<<"$volume"
        mount --bind "$stage/volumes/$source" "$root$target"
        [ "$mode" != ro ] || mount -o remount,bind,ro "$root$target"
    done
    items "$1" read_only
    [ "${#item[@]}" -eq 0 ] || mount -o remount,ro "$root"
}

# spaces_run SERVICE [WORD...]: becomes what runs there, or these words: in its namespace, its root, as its user, with no
# capability that it does not have, and no variable.
spaces_run() {
    local service=$1 words=() capability bounds=-all uid gid entrypoint command variables
    shift
    items "$service" environment && variables=("${item[@]}")
    if [ $# -gt 0 ]; then
        words=("$@")
    else
        items "$service" entrypoint && entrypoint=("${item[@]}")
        items "$service" command && command=("${item[@]}")
        words=("${entrypoint[@]}" "${command[@]}")
    fi
    items "$service" capabilities
    for capability in "${item[@]}"; do bounds="$bounds,+$capability"; done
    items "$service" user
    IFS=: read -r uid gid <<<"${item[0]}"
    # In the background this is a process already, and becomes the other one: its id is the service's.
    local run=(ip netns exec "$service" chroot "$stage/roots/$service/root" setpriv --reuid "$uid" --regid "${gid:-$uid}" --clear-groups
        --inh-caps=-all "--bounding-set=$bounds" --no-new-privs env -i PATH=/usr/local/bin:/usr/bin:/bin "${variables[@]}" "${words[@]}")
    if [ "$BASHPID" != "$$" ]; then exec "${run[@]}"; fi
    "${run[@]}"
}
