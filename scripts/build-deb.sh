#!/usr/bin/env bash
# Builds the Debian package of laps: the program, a unit that systemd starts, /etc/laps/laps.toml, a manual page.
#
#   scripts/build-deb.sh [--arch amd64|arm64]    builds the program first; without --arch for this machine
#   scripts/build-deb.sh --binary FILE                 packs this one, which says itself what it is for
#
#   --out DIR   where it goes; by default below the target folder
#
# Prints the package's path. The program finds others by way of Avahi too (feature mdns-zeroconf). It is built for glibc
# 2.31 and later when it is for another architecture (lib/cross.sh), else for the glibc of this machine; the package asks
# for what the program needs. DEBFULLNAME and DEBEMAIL name the maintainer, else the author of the last commit; the
# same commit and program give the same package.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname "$0")/lib/common.sh"
# shellcheck source=scripts/lib/deps.sh
. "$LAPS_ROOT/scripts/lib/deps.sh"
# shellcheck source=scripts/lib/notices.sh
. "$LAPS_ROOT/scripts/lib/notices.sh"
# shellcheck source=scripts/lib/cross.sh
. "$LAPS_ROOT/scripts/lib/cross.sh"
cd "$LAPS_ROOT"

arch=""
binary=""
out=$(target_dir)/dist
while [ $# -gt 0 ]; do
    case $1 in
        --arch | --binary | --out)
            [ $# -ge 2 ] || die "$1 needs a value"
            case $1 in
                --arch) arch=$2 ;;
                --binary) binary=$2 ;;
                --out) out=$2 ;;
            esac
            shift
            ;;
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
            exit 0
            ;;
        *) die "usage: scripts/build-deb.sh [--arch amd64|arm64] [--binary FILE] [--out DIR]" ;;
    esac
    shift
done
have dpkg-deb || die "no dpkg-deb here; packages are built on Debian, or what descends from it"
ensure has_readelf "binutils" "readelf, tells what a program needs"

if [ -z "$binary" ]; then
    [ -n "$arch" ] || arch=$(dpkg --print-architecture)
    rust_target "$arch" >/dev/null
    if [ "$arch" = "$(dpkg --print-architecture)" ]; then
        ensure_build_deps
        ensure_zeroconf_deps
        JEMALLOC_SYS_WITH_LG_PAGE=$(page_bits "$arch") cargo build --release --locked --bin laps --features mdns-zeroconf </dev/null >&2
        binary=$(target_dir)/release/laps
    else
        binary=$(cross_build "$arch" mdns-zeroconf)
    fi
fi
[ -f "$binary" ] || die "there is no $binary"
found=$(elf_machine "$binary")
case $found in amd64 | arm64) ;; *) die "$binary is $found" ;; esac
[ "${arch:=$found}" = "$found" ] || die "$binary is $found, not $arch"

# strip_program FILE: without symbols, which would be nine tenths of the package. Each tool knows some architectures;
# the one that comes with Rust knows all.
strip_program() {
    local tool
    case $(readelf -WS "$1") in *.symtab*) ;; *) return 0 ;; esac
    for tool in "$(rustc --print target-libdir 2>/dev/null)/../bin/rust-objcopy --strip-all" strip \
        "$(rust_target "$arch" | sed 's/-unknown//')-strip" llvm-strip; do
        # The word splitting is wanted: a program and its option.
        # shellcheck disable=SC2086
        if $tool "$1" 2>/dev/null; then return 0; fi
    done
    die "nothing here can strip a program for $arch; on Debian: apt-get install binutils-multiarch"
}

# depends FILE: what the package says of others, for what the program needs. Each is named by hand, so that a new one is
# noticed here.
depends() {
    local needs="" library floor more=""
    floor=$(glibc_of "$1")
    for library in $(readelf -Wd "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        case $library in
            libc.so.6 | libm.so.6 | libdl.so.2 | librt.so.1 | libpthread.so.0 | ld-linux*) ;;
            libgcc_s.so.1) needs="$needs, libgcc-s1 (>= 4.2)" ;;
            libavahi-client.so.3)
                needs="$needs, libavahi-client3 (>= 0.6.16)"
                # Without the daemon laps speaks for itself.
                more="Recommends: avahi-daemon"
                ;;
            libavahi-common.so.3) needs="$needs, libavahi-common3 (>= 0.6.16)" ;;
            *) die "$1 needs $library, which no package here is named for" ;;
        esac
    done
    printf '%s\n' "Depends: libc6 (>= ${floor:-2.31})$needs" ${more:+"$more"}
}

version=$(workspace_version)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
if [ -n "${DEBEMAIL:-}" ]; then
    maintainer="${DEBFULLNAME:-laps maintainers} <$DEBEMAIL>"
else
    maintainer=$(git log -1 --format='%an <%ae>' 2>/dev/null) || die "who makes this package? Set DEBFULLNAME and DEBEMAIL"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
from=$LAPS_ROOT/scripts
put() { install -D -m "$1" "$2" "$tree$3"; }
put 755 "$binary" /usr/bin/laps
strip_program "$tree/usr/bin/laps"
put 644 configs/service.toml /etc/laps/laps.toml
put 644 "$from/laps-sysctl.conf" /usr/lib/sysctl.d/10-laps.conf
put 644 "$from/laps.service" /usr/lib/systemd/system/laps.service
# Its user is one of the system's files: dbus-daemon, by which Avahi is reached, hangs up on one that only systemd knows.
# All else that DynamicUser= brings along stays.
sed -i -e 's|/usr/local/bin/laps|/usr/bin/laps|' -e 's|^DynamicUser=yes$|&\nUser=laps|' "$tree/usr/lib/systemd/system/laps.service"
mkdir -p "$tree/usr/lib/sysusers.d"
printf '%s\n' 'u laps - "laps, a Media over QUIC Transport relay" / -' >"$tree/usr/lib/sysusers.d/laps.conf"
chmod 644 "$tree/usr/lib/sysusers.d/laps.conf"
put 644 "$from/debian/laps.1" /usr/share/man/man1/laps.1
sed -i "s/@VERSION@/$version/" "$tree/usr/share/man/man1/laps.1"
put 644 "$from/debian/lintian-overrides" /usr/share/lintian/overrides/laps
put 644 LICENSE /usr/share/doc/laps/copyright
{
    printf '%s\n' "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/" "Upstream-Name: laps" \
        "Source: https://github.com/quicr/laps" \
        "Comment: The program is linked from the crates of third-party-licences.gz beside this file, under their" \
        " licences, and loads libavahi-client (LGPL-2.1 or later) where it is built to." "" "Files: *" "Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE | head -n 1)" "License: BSD-2-Clause"
    sed -n '/^Redistribution/,$p' LICENSE | sed 's/^$/./;s/^/ /'
} >"$tree/usr/share/doc/laps/copyright"
put 644 CHANGELOG.md /usr/share/doc/laps/NEWS.md
licences=$(notices) || die "the licences of what laps is made of cannot be gathered"
put 644 "$licences" /usr/share/doc/laps/third-party-licences
{
    printf '%s\n' "laps ($version) unstable; urgency=medium" "" "  * What changed: NEWS.md.gz beside this file." ""
    printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} >"$tree/usr/share/doc/laps/changelog"
gzip -9n "$tree/usr/share/man/man1/laps.1" "$tree/usr/share/doc/laps/changelog" "$tree/usr/share/doc/laps/NEWS.md" \
    "$tree/usr/share/doc/laps/third-party-licences"

mkdir "$tree/DEBIAN"
for script in preinst postinst prerm postrm; do
    sed -e "/^#HEALTHY#$/{r $from/lib/healthy.sh" -e 'd;}' "$from/debian/$script" |
        sed '/^# shellcheck shell/d' >"$tree/DEBIAN/$script"
    chmod 755 "$tree/DEBIAN/$script"
done
echo /etc/laps/laps.toml >"$tree/DEBIAN/conffiles"
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
needs=$(depends "$tree/usr/bin/laps")
cat >"$tree/DEBIAN/control" <<END
Package: laps
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
$needs
Section: net
Priority: optional
Homepage: https://github.com/quicr/laps
Description: relay for Media over QUIC Transport
 Publishers send tracks of media objects to it, subscribers ask for tracks by
 name, and it passes the objects on while they are still arriving. It speaks
 draft-ietf-moq-transport-14 over raw QUIC.
 .
 The package runs a relay on UDP port 33435 as a systemd service, and has a
 publisher and a subscriber for the command line.
END
find "$tree" -type d -exec chmod 755 {} +
mkdir -p "$out"
package=$out/laps_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package.part" >/dev/null
mv "$package.part" "$package"
printf '%s\n' "$package"
