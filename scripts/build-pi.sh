#!/usr/bin/env bash
# Builds laps for a Raspberry Pi with a 64-bit system: a folder to copy there, packed, with install-relay.sh in it.
# Runs on any Linux, glibc 2.31 and newer, so on Raspberry Pi OS since Debian 11.
#
#   scripts/build-pi.sh [--out DIR]            for Raspberry Pi 3, 4, 5, Zero 2 W
#   scripts/build-pi.sh --binary FILE [...]    packs a program that was built elsewhere
#
# Prints what it wrote, by default below the target folder. On a Pi itself `cargo build --release` does as well. How it
# is linked for older systems, and with what: lib/cross.sh. Not for 32-bit systems (armv7): Debian, where rustup reaches
# nothing, had no Rust library for them that is new enough, so nobody has built that, and nothing here says it works.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
# shellcheck source=scripts/lib/deps.sh
. "$LAPS_ROOT/scripts/lib/deps.sh"
# shellcheck source=scripts/lib/notices.sh
. "$LAPS_ROOT/scripts/lib/notices.sh"
# shellcheck source=scripts/lib/bundle.sh
. "$LAPS_ROOT/scripts/lib/bundle.sh"
# shellcheck source=scripts/lib/cross.sh
. "$LAPS_ROOT/scripts/lib/cross.sh"
cd "$LAPS_ROOT"

arch=arm64 binary=""
out=$(target_dir)/dist
while [ $# -gt 0 ]; do
    case $1 in
        --binary | --out)
            [ $# -ge 2 ] || die "$1 needs a value"
            if [ "$1" = --out ]; then out=$2; else binary=$2; fi
            shift
            ;;
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
            exit 0
            ;;
        *) die "usage: scripts/build-pi.sh [--binary FILE] [--out DIR]" ;;
    esac
    shift
done

if [ -z "$binary" ]; then binary=$(cross_build "$arch"); fi
[ -f "$binary" ] || die "there is no $binary"
[ "$(elf_machine "$binary")" = "$arch" ] || die "$binary is $(elf_machine "$binary"), not $arch"
name=laps-$(workspace_version)-$arch
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle "$binary" "$work/$name"
# The same program gives the same file.
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
    -cf - "$name" | gzip -9n >"$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$out/$name.tar.gz"
say "copy it to the Pi, and there: tar xzf $name.tar.gz && sudo bash $name/install-relay.sh"
printf '%s\n' "$out/$name.tar.gz"
