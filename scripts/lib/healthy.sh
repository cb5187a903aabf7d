# shellcheck shell=sh
# What installing the relay needs to know of the machine. For dash too: scripts/build-deb.sh puts this text into the
# package's postinst, scripts/install-relay.sh sources it.

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

# raise_buffers FILE: at once what the drop-in FILE does at the next boot, and never less than there is. Prints each
# key that was raised, with =, and its value before.
raise_buffers() {
    while read -r buffer_key buffer_sign buffer_wanted; do
        case $buffer_key in net.core.*) ;; *) continue ;; esac
        buffer_now=$(sysctl -n "$buffer_key" 2>/dev/null || true)
        if [ "$buffer_sign" = = ] && [ -n "$buffer_now" ] && [ "$buffer_now" -lt "$buffer_wanted" ]; then
            if sysctl -q -w "$buffer_key=$buffer_wanted" 2>/dev/null; then
                echo "$buffer_key=$buffer_now"
            else
                echo "warning: $buffer_key stays $buffer_now here, $buffer_wanted is asked for: more packets are lost under load" >&2
            fi
        fi
    done <"$1"
}
