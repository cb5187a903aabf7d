#!/usr/bin/env bash
# Installs the relay as a service of this machine, brings it up to date, removes it, or says how it is. Needs root and
# systemd, and no network.
#
#   install-relay.sh [install | upgrade]   installs it, or replaces what is installed; run again, it changes nothing
#   install-relay.sh uninstall [--purge]   removes everything but /etc/laps and the relay's key in /var/lib/laps, or that too
#   install-relay.sh status                ends with 0 when the relay is well, 3 when it is not, 4 when there is none
#
#   --binary FILE   the program; without it `laps` beside this script, or target/release/laps of the source tree
#   --root DIR      the system that begins at DIR, an SD card for one; nothing is started there
#
# What it writes: /usr/local/bin/laps, /usr/local/lib/laps/laps.previous, /usr/local/lib/systemd/system/laps.service,
# /usr/local/lib/sysctl.d/10-laps.conf, and /etc/laps/laps.toml when there is none. Each step is undone when a later one
# fails, and a new program that systemd does not call well (lib/healthy.sh) gives way to the one that ran before.
# Settings are yours: /etc/laps/laps.toml, and drop-ins by `systemctl edit laps`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
# shellcheck source=scripts/lib/healthy.sh
. "$here/lib/healthy.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }

root=""
binary=""
purge=""
action=""
while [ $# -gt 0 ]; do
    case $1 in
        install | upgrade | uninstall | status)
            [ -z "$action" ] || die "one of install, upgrade, uninstall, status; not two"
            action=$1
            ;;
        --binary | --root)
            [ $# -ge 2 ] || die "$1 needs a value"
            if [ "$1" = --root ]; then root=${2%/}; else binary=$2; fi
            shift
            ;;
        --purge) purge=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "'$1' is none of: install, upgrade, uninstall, status, --binary FILE, --root DIR, --purge, --help" ;;
    esac
    shift
done

if [ -n "$purge" ] && [ "$action" != uninstall ]; then die "--purge goes with uninstall"; fi

program=$root/usr/local/bin/laps
keep=$root/usr/local/lib/laps
unit=$root/usr/local/lib/systemd/system/laps.service
buffers=$root/usr/local/lib/sysctl.d/10-laps.conf
settings=$root/etc/laps/laps.toml
# systemd.exec(5): with DynamicUser the folder is the second one, and the first leads there.
kept=("$root/var/lib/laps" "$root/var/lib/private/laps")

# Whether systemd runs the system that is dealt with; what only lies on a disk has no /run.
live() { [ -d "$root/run/systemd/system" ]; }
# is_active, is_enabled: what systemd says of the unit.
is_active() { live && [ "$(systemctl is-active laps.service 2>/dev/null)" = active ]; }
is_enabled() { systemctl ${root:+--root="$root"} is-enabled --quiet laps.service 2>/dev/null; }
# switch enable|disable: whether the unit starts at boot.
switch() { systemctl ${root:+--root="$root"} "$1" --quiet laps.service; }

# --- what is done can be undone -----------------------------------------------------------------------------------

undo=()
# later COMMAND...: runs when a later step fails; the last one first.
later() { undo+=("$(printf '%q ' "$@")"); }
take_back() {
    local code=$? n
    trap - EXIT
    trap '' INT TERM HUP
    if [ "$code" -ne 0 ] && [ "${#undo[@]}" -gt 0 ]; then
        say "taking back what was done"
        for ((n = ${#undo[@]} - 1; n >= 0; n--)); do eval "${undo[n]}" || warn "could not: ${undo[n]}"; done
    fi
    exit "$code"
}
trap take_back EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# make_dirs DIR: DIR and what is missing above it.
make_dirs() {
    [ ! -d "$1" ] || return 0
    make_dirs "$(dirname "$1")"
    mkdir -m 755 "$1" || die "$1 cannot be made"
    later rmdir "$1"
}

# place FILE MODE DESTINATION: a copy in its place, in one step. 1 when it was there already, the same.
changed=""
place() {
    make_dirs "$(dirname "$3")"
    if [ -f "$3" ] && cmp -s "$1" "$3"; then return 0; fi
    if [ -e "$3" ] || [ -L "$3" ]; then
        cp -pP "$3" "$3.undo" || die "$3 cannot be kept aside"
        later mv -f "$3.undo" "$3"
    else
        later rm -f "$3"
    fi
    if ! install -m "$2" "$1" "$3.new" || ! mv -f "$3.new" "$3"; then
        rm -f "$3.new"
        die "$3 cannot be written"
    fi
    changed="$changed $3"
}

# --- install, upgrade ---------------------------------------------------------------------------------------------

check_system() {
    local version probe
    [ "$(uname -s)" = Linux ] || die "this is $(uname -s); the service is for Linux with systemd"
    [ -d "$root/" ] || die "there is no folder $root"
    [ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "this needs root: sudo bash $0 $action"
    for probe in "$root/usr/bin/systemctl" "$root/bin/systemctl" ""; do
        if [ -z "$probe" ]; then die "no systemd in ${root:-/}; the relay is run by hand there: laps --help"; fi
        [ ! -e "$probe" ] || break
    done
    have systemctl || die "there is no systemctl here, which enables the unit"
    if live; then
        version=$(systemctl --version | awk 'NR == 1 { print $2 }')
        # 247 is the first that knows all that the unit asks for.
        version_at_least "${version%%[!0-9]*}" 247 || die "systemd $version is too old, 247 or later is needed (Debian 11 has it)"
    fi
    # One that dpkg knows of would share unit and name with this one, and neither would know which runs.
    if have dpkg-query && [ -d "$root/var/lib/dpkg" ]; then
        case $(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Abbrev}' laps 2>/dev/null) in
            ?[iUFHWt]*) die "laps is installed here as a Debian package; upgrade that, or remove it first: apt-get remove laps" ;;
        esac
    fi
}

# find_binary: sets $binary.
find_binary() {
    local candidate
    if [ -z "$binary" ]; then
        for candidate in "$here/laps" "$(target_dir)/release/laps"; do
            if [ -f "$candidate" ]; then
                binary=$candidate
                break
            fi
        done
    fi
    [ -n "$binary" ] || die "there is no laps beside $0; name one by --binary FILE (scripts/build-pi.sh makes one)"
    if [ ! -f "$binary" ] || [ ! -r "$binary" ]; then die "$binary is no file that can be read"; fi
}

# check_binary: that it is one for this system, starts here, and takes the settings that are here. Sets $staged, a copy of it,
# and $new_version.
staged=""
new_version=""
check_binary() {
    local wanted found said probe
    # The programs there tell the architecture: a Pi with a 64-bit kernel may have a 32-bit system.
    for probe in "$root/usr/bin/env" "$root/bin/ls" "$root/usr/bin/systemctl"; do
        wanted=$(elf_machine "$probe")
        case $wanted in amd64 | arm64 | armhf) break ;; esac
    done
    found=$(elf_machine "$binary")
    case $wanted in amd64 | arm64 | armhf) ;; *) die "this system is $wanted; there is laps for amd64 and arm64, and on armhf what you build there yourself" ;; esac
    [ "$found" = "$wanted" ] || die "$binary is $found, this system is $wanted; nothing was changed"
    # A copy, since what was named may be the previous program, which is about to be another one. Not in /tmp, which may be
    # mounted noexec and make a good program look broken.
    staged=$keep/laps.staged
    make_dirs "$keep"
    later rm -f "$staged"
    install -m 755 "$binary" "$staged" || die "$keep cannot be written"
    if [ "$(elf_machine /usr/bin/env)" != "$wanted" ]; then
        new_version="of unknown version"
        return
    fi
    said=$(timeout 10 "$staged" --version 2>&1 </dev/null) || die "$binary does not run here, nothing was changed; it says: $said"
    case $said in
        "laps "[0-9]*) new_version=${said#laps } ;;
        *) die "$binary is not laps, nothing was changed; it says: $said" ;;
    esac
    if [ -f "$settings" ]; then
        said=$(timeout 10 "$staged" config check "$settings" 2>&1 </dev/null) ||
            die "laps $new_version does not take $settings, nothing was changed; it says: $said"
    fi
}

# back ran|none VERSION: the last thing that is taken back, when every file is what it was: systemd reads them again, and
# what ran runs again.
restarted=""
back() {
    systemctl daemon-reload || true
    [ -n "$restarted" ] || return 0
    # Five failed starts in a minute would stand in the way of a good one.
    systemctl reset-failed laps.service 2>/dev/null || true
    if [ "$1" != ran ]; then return 0; fi
    if systemctl restart laps.service 2>/dev/null && steady; then
        say "laps $2 runs again"
    else
        warn "laps $2 does not run either; see: journalctl -u laps"
    fi
}

install_relay() {
    local old_version="" state=new was_active="" from
    check_system
    if [ "$action" = upgrade ] && [ ! -e "$program" ]; then die "nothing is installed at $program; run: bash $0 install"; fi
    find_binary
    # One at a time; the lock leaves no file.
    if [ -d "$root/usr/local" ] && have flock; then
        exec 9<"$root/usr/local"
        flock -n 9 || die "another $0 is at work"
    fi
    for from in laps.service laps-sysctl.conf; do [ -f "$here/$from" ] || die "$here/$from is missing"; done
    from=$here/laps.toml
    [ -f "$from" ] || from=$here/../configs/service.toml
    [ -f "$from" ] || die "$here/laps.toml is missing"
    check_binary

    if [ -e "$program" ]; then
        # What does not even say its version has none.
        old_version=$(timeout 10 "$program" --version 2>/dev/null </dev/null | sed 's/^laps //') || old_version=""
        old_version=${old_version:-of unknown version}
    fi
    if is_enabled; then
        state=on
    elif [ -e "$unit" ]; then
        state=off
    fi
    if is_active; then was_active=ran; fi
    if live; then later back "${was_active:-none}" "$old_version"; fi

    if [ -e "$program" ] && ! cmp -s "$staged" "$program"; then
        say "laps $new_version replaces $old_version"
        place "$program" 755 "$keep/laps.previous"
    fi
    place "$staged" 755 "$program"
    place "$here/laps.service" 644 "$unit"
    place "$here/laps-sysctl.conf" 644 "$buffers"
    if [ ! -e "$settings" ]; then place "$from" 644 "$settings"; fi
    if live; then
        while read -r from; do later sysctl -q -w "$from"; done < <(raise_buffers "$buffers")
    fi
    if [ -e "$root/etc/systemd/system/laps.service" ] && [ ! -L "$root/etc/systemd/system/laps.service" ]; then
        warn "$root/etc/systemd/system/laps.service goes before the unit that belongs to this program; remove it if you did not mean that"
    fi
    if [ "$state" = new ]; then
        if live; then systemctl daemon-reload; fi
        later switch disable
        switch enable || die "systemd does not enable the unit"
        state=on
    fi

    if ! live; then
        say "laps $new_version is installed in ${root:-this system}; it starts at the next boot"
    elif [ "$state" = off ]; then
        systemctl daemon-reload
        say "laps $new_version is installed; the unit is disabled, so it was not started"
    elif [ -z "$changed" ] && is_active; then
        say "laps $new_version is installed already, and runs"
    else
        systemctl daemon-reload
        systemctl reset-failed laps.service 2>/dev/null || true
        if [ -n "$was_active" ]; then say "restarting; clients have drain.grace (10 s) to leave"; fi
        # Before the files go back, nothing of the new program may be left that starts again by itself.
        later systemctl stop laps.service
        restarted=yes
        if ! systemctl restart laps.service || ! steady; then
            systemctl status --no-pager --lines 20 laps.service >&2 || true
            die "laps $new_version is installed, and is not well, see above"
        fi
        say "laps $new_version runs"
    fi

    # From here on it stays.
    undo=()
    rm -f "$staged" "$program.undo" "$keep/laps.previous.undo" "$unit.undo" "$buffers.undo"
    say "settings  $settings, or: systemctl edit laps"
    say "state     bash $0 status"
    say "log       journalctl -u laps -f"
}

# --- uninstall, status --------------------------------------------------------------------------------------------

uninstall_relay() {
    local dir
    [ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "this needs root: sudo bash $0 uninstall"
    if [ ! -e "$program" ] && [ ! -e "$unit" ] && [ ! -e "$buffers" ]; then
        say "nothing is installed in ${root:-this system}"
        if [ -n "$purge" ]; then purge_relay; fi
        return
    fi
    if live; then systemctl stop laps.service 2>/dev/null || warn "systemd could not stop laps.service"; fi
    switch disable 2>/dev/null || warn "systemd could not disable laps.service"
    rm -f "$program" "$unit" "$buffers" "$keep/laps.previous"
    # Folders go when nobody else has anything in them.
    for dir in "$keep" "${unit%/*}" "${unit%/*/*}" "${buffers%/*}"; do rmdir "$dir" 2>/dev/null || true; done
    if live; then
        systemctl daemon-reload
        systemctl reset-failed laps.service 2>/dev/null || true
    fi
    say "laps is removed; the size of UDP buffers stays until the next boot"
    if [ -n "$purge" ]; then
        purge_relay
        return
    fi
    if [ -d "$root/etc/laps" ]; then say "your settings stay in $root/etc/laps"; fi
    if [ -e "${kept[0]}" ] || [ -e "${kept[1]}" ]; then say "the key of the relay stays in ${kept[0]}"; fi
}

# What only this machine has, and no installation brings back.
purge_relay() {
    local there
    # The package's relay has the same folders.
    if have dpkg-query && [ -d "$root/var/lib/dpkg" ]; then
        case $(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Abbrev}' laps 2>/dev/null) in
            ?[iUFHWtc]*) die "laps is here as a Debian package too, to which $root/etc/laps and ${kept[0]} belong: dpkg -P laps" ;;
        esac
    fi
    for there in "$root/etc/laps" "${kept[@]}"; do
        if [ -e "$there" ] || [ -L "$there" ]; then
            rm -rf "${there:?}"
            say "removed $there"
        fi
    done
}

relay_status() {
    local key equals value now version
    if [ ! -e "$program" ]; then
        printf '%s\n' "laps is not installed in ${root:-this system}"
        exit 4
    fi
    version=$(timeout 10 "$program" --version 2>/dev/null </dev/null) || version="laps (it does not run here)"
    printf '%-10s %s\n' program "$program, $version"
    if [ -e "$keep/laps.previous" ]; then
        version=$(timeout 10 "$keep/laps.previous" --version 2>/dev/null </dev/null) || version="laps (it does not run here)"
        printf '%-10s %s\n' before "$keep/laps.previous, $version"
    fi
    printf '%-10s %s\n' settings "$settings"
    printf '%-10s %s\n' "at boot" "$(is_enabled && echo "it starts" || echo "it does not start")"
    if ! live; then
        printf '%-10s %s\n' now "systemd does not run in ${root:-this system}"
        exit 3
    fi
    while read -r key equals value; do
        case $key in net.core.*) ;; *) continue ;; esac
        now=$(sysctl -n "$key" 2>/dev/null || echo "")
        if [ "$equals" = = ] && [ -n "$now" ]; then
            printf '%-10s %s\n' buffers "$key is $now$([ "$now" -ge "$value" ] || echo ", which is less than $value: packets are lost under load")"
        fi
    done < <(cat "$buffers" 2>/dev/null)
    printf '%-10s %s\n' now "$(systemctl show laps.service -p ActiveState --value), $(systemctl show laps.service -p StatusText --value)"
    is_active || exit 3
}

case ${action:=install} in
    install | upgrade) install_relay ;;
    uninstall) uninstall_relay ;;
    status) relay_status ;;
esac
