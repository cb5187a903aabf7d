# shellcheck shell=bash
# Stand-ins for the images that ours begin with, where no registry is to be had, in a store of our own. Sourced after
# common.sh and deps.sh.
#
# Names are those in docker/Dockerfile, at `localhost`, so that nobody takes one for the real one.

# in_store COMMAND...: with buildah's images, and what its builds keep, below the target folder.
in_store() {
    local place
    place=$(target_dir)/test-image
    mkdir -p "$place/tmp"
    place=$(cd "$place" && pwd)
    [ -e "$place/storage.conf" ] ||
        printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$place" "$place" >"$place/storage.conf"
    # A build has the network of this machine, and needs none of its own.
    CONTAINERS_STORAGE_CONF=$place/storage.conf BUILDAH_ISOLATION=chroot LAPS_ENGINE=buildah TMPDIR=$place/tmp "$@"
}

# has_stand_in NAME: it was made before.
has_stand_in() { in_store buildah inspect --type image "localhost/$1" >/dev/null 2>&1; }

# stand_in_debian SUITE ARCHITECTURE: localhost/debian:SUITE-slim has it, by debootstrap, less what Debian's slim image is less of.
# For another architecture nothing of it is run: what is required is there, unpacked. 1 where Debian's archive is not to be had.
stand_in_debian() {
    local suite=$1 arch=$2 list=localhost/debian:$1-slim box root stages=() proxy
    has_stand_in "debian-$arch:$suite-slim" && return 0
    [ "$arch" = "$(dpkg --print-architecture)" ] || stages=(--foreign)
    say "a stand-in for debian:$suite-slim, $arch"
    box=$(in_store buildah from scratch)
    root=$(in_store buildah mount "$box")
    if ! debootstrap --variant=minbase "${stages[@]}" --arch "$arch" "$suite" "$root" >"$(target_dir)/test-image/debootstrap.log" 2>&1; then
        warn "debootstrap: $(tail -n 3 "$(target_dir)/test-image/debootstrap.log")"
        in_store buildah rm "$box" >/dev/null
        return 1
    fi
    # Where nothing is run, this machine's is pointed to.
    if [ -L "$root/proc" ]; then rm "$root/proc" && mkdir "$root/proc"; fi
    rm -rf "$root"/debootstrap "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{man,info,locale,lintian}
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    # What this machine has apt, and all that speaks TLS, told of its network.
    if [ -f /etc/apt/sources.list.d/debian.sources ]; then
        cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/" && rm -f "$root/etc/apt/sources.list"
    fi
    # Debian's own image keeps nothing of what it fetches.
    printf '%s { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"; };\n' DPkg::Post-Invoke APT::Update::Post-Invoke \
        >"$root/etc/apt/apt.conf.d/docker-clean"
    proxy=$(apt-config dump Acquire | grep -i '::proxy ' || true)
    printf '%s\n' "$proxy" >"$root/etc/apt/apt.conf.d/95machine"
    mkdir -p "$root/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \; 2>/dev/null
    in_store buildah umount "$box" >/dev/null
    in_store buildah config --arch "$arch" --os linux --cmd bash \
        --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$box"
    in_store buildah commit -q --rm --format docker "$box" "localhost/debian-$arch:$suite-slim" >/dev/null
    has_stand_in "debian:$suite-slim" || in_store buildah manifest create "$list" >/dev/null
    in_store buildah manifest add "$list" "containers-storage:localhost/debian-$arch:$suite-slim" >/dev/null
}

# stand_in_rust VERSION SUITE: localhost/rust:VERSION-slim-SUITE is that Debian with the Rust of this machine, where the real one
# has its own.
stand_in_rust() {
    local name=rust:$1-slim-$2 box root chain link
    has_stand_in "$name" && return 0
    say "a stand-in for $name, with $(rustc --version)"
    box=$(in_store buildah from "localhost/debian-$(dpkg --print-architecture):$2-slim")
    root=$(in_store buildah mount "$box")
    chain=/usr/local/rustup/toolchains/$(rustc -vV | sed -n 's/^release: //p')-$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$root${chain%/*}" "$root/usr/local/cargo/bin"
    cp -aL "$(rustc --print sysroot)" "$root$chain"
    rm -rf "$root$chain/share"
    for link in cargo rustc; do
        if have rustup; then
            cp -L "$(command -v rustup)" "$root/usr/local/cargo/bin/rustup"
            ln -s rustup "$root/usr/local/cargo/bin/$link"
        else
            ln -s "$chain/bin/$link" "$root/usr/local/cargo/bin/$link"
        fi
    done
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "${chain##*/}" >"$root/usr/local/rustup/settings.toml"
    # Where the machine has pip and cargo look.
    [ ! -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$root/usr/local/cargo/"
    in_store buildah umount "$box" >/dev/null
    in_store buildah config --env RUSTUP_HOME=/usr/local/rustup --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt ${PIP_INDEX_URL:+--env "PIP_INDEX_URL=$PIP_INDEX_URL"} "$box"
    in_store buildah commit -q --rm --format docker "$box" "localhost/$name" >/dev/null
}
