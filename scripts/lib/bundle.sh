# shellcheck shell=bash
# The folder that installs a relay on a machine without the source tree. Sourced after common.sh and notices.sh.

# bundle BINARY DIR: everything that install-relay.sh needs, in the new folder DIR.
bundle() {
    local from=$LAPS_ROOT/scripts licences
    licences=$(notices) || die "the licences of what laps is made of cannot be gathered"
    mkdir -p "$2/lib"
    install -m 755 "$1" "$2/laps"
    install -m 755 "$from/install-relay.sh" "$2/install-relay.sh"
    install -m 644 "$from/laps.service" "$from/laps-sysctl.conf" "$LAPS_ROOT/LICENSE" "$2"
    install -m 644 "$LAPS_ROOT/configs/service.toml" "$2/laps.toml"
    gzip -9nc "$licences" >"$2/third-party-licences.gz"
    chmod 644 "$2/third-party-licences.gz"
    install -m 644 "$from/lib/common.sh" "$from/lib/healthy.sh" "$2/lib"
}
