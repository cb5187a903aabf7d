# shellcheck shell=bash
# What README tells people to type, for tests that run it. Sourced after common.sh.

# text FIRST NEXT: a chapter of README, up to the next one.
text() { awk -v first="$1" -v last="$2" '$0 == first { inside = 1 } $0 == last { inside = 0 } inside' "$LAPS_ROOT/README.md"; }

# chapter FIRST NEXT [N]: the commands of that chapter, or of its Nth list alone, without what is said beside them.
chapter() {
    text "$1" "$2" | awk -v wanted="${3:-0}" '/^```sh$/ { n++; on = !wanted || n == wanted; next } /^```$/ { on = 0 } on' | sed 's/  *#.*//'
}

# mentioned FIRST NEXT: the commands that stand in the text and the tables of that chapter, one a line.
# shellcheck disable=SC2016
mentioned() {
    text "$1" "$2" | awk '/^```/ { skip = !skip; next } !skip' | tr '\n' ' ' | grep -o '`[^`]*`' | tr -d '`' |
        grep -E '^((docker|docker-compose|sudo|bash|cargo|laps|make|cd|git|up|compose|--profile) |(scripts|docker)/[a-z])' | LC_ALL=C sort -u
}
