# shellcheck shell=bash
# What is tested, and with which features: one selection for every command, so that nothing is built twice.

# The relay, its clients and the protocol. The interop peers stay apart: cargo would merge their features (a second
# TLS provider among them) into the relay under test.
product=(-p laps -p laps-actors -p laps-protocol --features laps-protocol/sim)

# test_programs: every test program that scripts/test runs, built: its root file below the tree and the program, with
# a tab between. What is built already is not built again.
test_programs() {
    local built here code=0
    here=$(cd "$LAPS_ROOT" && pwd -P)
    built=$(mktemp)
    (
        cd "$here"
        cargo test --locked --no-run --message-format=json-render-diagnostics "${product[@]}" -p laps-bench --lib --bins
        cargo test --locked --no-run --message-format=json-render-diagnostics "${product[@]}" --test '*'
        cargo test --locked --no-run --message-format=json-render-diagnostics -p laps-interop
    ) </dev/null >"$built" || code=1
    grep '"reason":"compiler-artifact"' "$built" | grep '"profile":{[^}]*"test":true}' |
        sed -n 's|.*"src_path":"'"$here"'/\([^"]*\)".*"executable":"\([^"]*\)".*|\1	\2|p' | LC_ALL=C sort -u
    rm -f "$built"
    return "$code"
}

# list_tests: what those programs name themselves when they are asked with --list: root file, test, "run" or "ignored".
list_tests() {
    local programs root program
    programs=$(test_programs) || return 1
    [ -n "$programs" ] || return 1
    printf '%s\n' "$programs" | while IFS="	" read -r root program; do
        {
            "$program" --list --format terse --ignored | sed -n 's/^\(.*\): test$/ignored	\1/p'
            "$program" --list --format terse | sed -n 's/^\(.*\): test$/run	\1/p'
        } </dev/null | awk -F'\t' -v root="$root" '
            $1 == "ignored" { ignored[$2] = 1 }
            $1 == "run" { printf "%s\t%s\t%s\n", root, $2, ($2 in ignored) ? "ignored" : "run" }'
    done
}
