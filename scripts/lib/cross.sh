# shellcheck shell=bash
# Building laps for another machine than this one. Sourced after common.sh and deps.sh.
#
# A program runs with the C library that it was linked for and with every later one, so it is linked for an old one,
# 2.31 (Debian 11), by zig, which brings the C libraries of all these systems along and compiles the C of aws-lc-rs and
# jemalloc for them too. The gcc-aarch64-linux-gnu of the Debian at hand would ask for that Debian's. zig and
# cargo-zigbuild, which puts it in cargo's hands, come from PyPI; Rust's own library for the other machine comes from
# rustup, or, where rustup reaches nothing, with its compiler from Debian's packages rustc-web. All of it goes below the
# target folder, nothing into the system.

glibc_floor=2.31
zigbuild_version=0.24.0
zig_version=0.17.1

# rust_target ARCHITECTURE: what Rust calls it.
rust_target() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) die "'$1' is none of: amd64, arm64" ;;
    esac
}

# page_bits ARCHITECTURE: the largest page that jemalloc, the allocator, must be able to live with, as a power of two. What
# is built elsewhere than where it runs must be told. A Raspberry Pi 5 has pages of 16 KiB, other arm64 kernels of 64
# KiB; built for the 4 KiB of most machines a program ends there with its first allocation.
page_bits() { case $1 in arm64) echo 16 ;; *) echo 12 ;; esac; }

# glibc_of FILE: the oldest C library that a program runs with.
glibc_of() { readelf -WV "$1" | sed -n 's/.*Name: GLIBC_\([0-9.]*\).*/\1/p' | LC_ALL=C sort -V | tail -n 1; }

# cross_zig TOOLS: cargo-zigbuild in TOOLS/zig.
cross_zig() {
    [ ! -x "$1/zig/bin/cargo-zigbuild" ] || return 0
    ensure has_pip "python3-pip" "pip, for zig and cargo-zigbuild"
    say "fetching zig $zig_version and cargo-zigbuild $zigbuild_version from PyPI"
    rm -rf "$1/zig.part"
    python3 -m pip install --quiet --disable-pip-version-check --target "$1/zig.part" \
        "ziglang==$zig_version" "cargo-zigbuild==$zigbuild_version" >&2 || die "pip could not fetch zig"
    mv "$1/zig.part" "$1/zig"
}

# has_std TARGET: whether the Rust at hand, or the one in $RUSTC, has its library for TARGET.
has_std() { [ -n "$(find "$("${RUSTC:-rustc}" --print target-libdir --target "$1" 2>/dev/null)" -name 'libstd-*.rlib' 2>/dev/null)" ]; }

# debian_rust TOOLS ARCHITECTURE: Debian's compiler for this machine with its library for the other one, unpacked into
# TOOLS/rust-ARCHITECTURE; sets RUSTC. 1 when Debian has none, or one that is too old for the workspace.
debian_rust() {
    local dir=$1/rust-$2 here wanted version packages deb
    have apt-get && have dpkg-deb || return 1
    here=$(dpkg --print-architecture)
    if [ ! -x "$dir/rustc" ]; then
        say "rustup has no library for $2; asking Debian for its own compiler"
        mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/debs"
        # Lists of its own: the system's know only its own architecture, and stay as they are.
        local apt=(-o "Dir::State=$dir/state" -o "Dir::Cache=$dir/cache" -o "Acquire::Languages=none" -o "APT::Sandbox::User=root"
            -o "APT::Architectures::=$here" -o "APT::Architectures::=$2")
        apt-get "${apt[@]}" update -qq </dev/null >&2 || return 1
        wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$LAPS_ROOT/Cargo.toml" | head -n 1)
        version=$(apt-cache "${apt[@]}" show --no-all-versions "libstd-rust-web-dev:$2" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
        version_at_least "${version%%+*}" "$wanted" || return 1
        packages="rustc-web:$here=$version libstd-rust-web-dev:$here=$version libstd-rust-web-dev:$2=$version"
        packages="$packages $(apt-cache "${apt[@]}" depends --no-recommends --no-suggests "libstd-rust-web-dev:$here=$version" | sed -n 's/^ *Depends: *\(libstd-rust-web-[0-9].*\)$/\1/p')"
        packages="$packages $(apt-cache "${apt[@]}" depends --no-recommends --no-suggests "libstd-rust-web-${version%.*}:$here" | sed -n 's/^ *Depends: *\(libllvm.*\)$/\1/p')"
        # The word splitting is wanted: names of packages.
        # shellcheck disable=SC2086
        (cd "$dir/debs" && apt-get "${apt[@]}" download -qq $packages </dev/null >&2) || return 1
        for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir/tree" || return 1; done
        rm -rf "$dir/state" "$dir/cache" "$dir/debs"
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%q/usr/lib/%q exec %q/usr/bin/rustc --sysroot %q/usr "$@"\n' \
            "$dir/tree" "$(uname -m)-linux-gnu" "$dir/tree" "$dir/tree" >"$dir/rustc.part"
        chmod +x "$dir/rustc.part"
        mv "$dir/rustc.part" "$dir/rustc"
    fi
    RUSTC=$dir/rustc
    export RUSTC
}

# avahi_names TOOLS ARCHITECTURE TARGET: libraries for TARGET in TOOLS/avahi-ARCHITECTURE that have the names of libavahi's
# functions and nothing behind them. Linking wants no more; at the start the system's own are loaded, which have been
# called so on every system since Debian 5. So neither the other architecture's packages nor an old system's are needed. The
# headers are the same everywhere; they are in `include` there.
avahi_names() {
    local dir=$1/avahi-$2 library from functions
    mkdir -p "$dir/include"
    for library in client common; do
        ln -sfn "/usr/include/avahi-$library" "$dir/include/avahi-$library"
        from=$(find /usr/lib /usr/lib64 -name "libavahi-$library.so.3" 2>/dev/null | head -n 1)
        [ -n "$from" ] || die "there is no libavahi-$library.so.3 here to read names from"
        functions=$(readelf -W --dyn-syms "$from" | awk '$4 == "FUNC" && $5 == "GLOBAL" && $7 != "UND" { sub(/@.*/, "", $8); print $8 }' | LC_ALL=C sort -u)
        # One word, one function.
        # shellcheck disable=SC2086
        printf 'void %s(void) {}\n' $functions >"$dir/$library.c"
        PYTHONPATH="$1/zig" python3 -m ziglang cc -target "${3/-unknown/}.$glibc_floor" -shared -w -nostdlib \
            -Wl,-soname,"libavahi-$library.so.3" -o "$dir/libavahi-$library.so" "$dir/$library.c" >&2 ||
            die "no libavahi-$library for $2 can be made"
    done
    printf '%s\n' "$dir"
}

# cross_build ARCHITECTURE [FEATURE...]: builds laps for it, release; prints where the program is.
cross_build() {
    local target tools program names with=() feature variable
    target=$(rust_target "$1")
    for feature in "${@:2}"; do with+=(--features "$feature"); done
    tools=$(target_dir)/tools
    tools=$(mkdir -p "$tools" && cd "$tools" && pwd)
    ensure_build_deps
    ensure has_readelf "binutils" "readelf, tells what a program needs"
    cross_zig "$tools"
    if ! has_std "$target" && ! { have rustup && timeout 300 rustup target add "$target" >&2 && has_std "$target"; }; then
        debian_rust "$tools" "$1" || die "there is no Rust library for $target: rustup reaches no server, and Debian has none that is new enough"
        has_std "$target" || die "$RUSTC has no library for $target"
    fi
    case " ${*:2} " in
        *" mdns-zeroconf "*)
            ensure_zeroconf_deps
            names=$(avahi_names "$tools" "$1" "$target")
            # What cargo calls the flags for one target alone; the programs that build this one are not linked so.
            variable=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_RUSTFLAGS
            local -x "$variable=-L native=$names"
            # The headers of that library alone: all others are zig's, for the other system.
            local -x CPATH=$names/include
            ;;
    esac
    say "building laps $(workspace_version Cargo.toml) for $1, glibc $glibc_floor and later"
    # zig is a Python package, for which cargo-zigbuild asks Python. The symbols would be nine tenths of the program. From a
    # folder above its own zig names its headers by where they are from there, and a build script is elsewhere: `scripts` is
    # above nothing that is built.
    (cd "$LAPS_ROOT/scripts" && env PATH="$tools/zig/bin:$PATH" PYTHONPATH="$tools/zig${PYTHONPATH:+:$PYTHONPATH}" \
        CARGO_TARGET_DIR="${tools%/*}" JEMALLOC_SYS_WITH_LG_PAGE="$(page_bits "$1")" CARGO_PROFILE_RELEASE_STRIP=symbols \
        cargo zigbuild --release --locked --bin laps "${with[@]}" --target "$target.$glibc_floor" </dev/null >&2) ||
        die "laps could not be built for $1"
    program=$(target_dir)/$target/release/laps
    version_at_least "$glibc_floor" "$(glibc_of "$program")" || die "$program needs glibc $(glibc_of "$program"), not $glibc_floor"
    printf '%s\n' "$program"
}
