# shellcheck shell=sh
# Whether the relay is well after systemd was asked to start it. For dash too: scripts/build-deb.sh puts this text into
# the package's postinst, scripts/install-relay.sh sources it.

# steady: 0 when laps.service is well.
#
# Active says more than "there is a process": the unit has Type=notify, and the relay says READY itself, once its port
# is bound and every shard serves; one that does not within TimeoutStartSec= (15 s) was ended before this is asked.
# Asked again, the same run must still be there: what falls over under its first packets has another InvocationID then,
# or is not active.
steady() {
    steady_first=$(systemctl show laps.service -p ActiveState -p InvocationID)
    case $steady_first in
        *ActiveState=active*) ;;
        *) return 1 ;;
    esac
    sleep 3
    [ "$(systemctl show laps.service -p ActiveState -p InvocationID)" = "$steady_first" ]
}
