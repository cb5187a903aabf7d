# shellcheck shell=bash
# The licences of what a program is made of, which whoever hands it out has to pass on. Sourced after common.sh.

# notices: a file with the licence of each crate that laps is linked from, on whatever system and with whatever feature, and
# its text with what copyright it states; each text once, with the crates it stands in. Prints the file's path, below the
# target folder, where it stays until Cargo.lock is another. 1 when the source of a crate is not here.
notices() {
    local work file sum name version licence dir text registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    file=$(target_dir)/notices-$(sha256sum <"$LAPS_ROOT/Cargo.lock" | cut -c 1-16).txt
    if [ ! -s "$file" ]; then
        # A program that is given, not built, may be the first thing to go below it.
        mkdir -p "${file%/*}" || return 1
        work=$(mktemp -d)
        # Those of this tree say where they are; an asterisk says that a crate stood there before.
        (cd "$LAPS_ROOT" && cargo tree --locked -p laps -e normal --features mdns-zeroconf --prefix none --format '{p}	{l}' </dev/null) >"$work/tree" || return 1
        sed 's/ (\*)$//' "$work/tree" | grep -v '(/' | LC_ALL=C sort -u >"$work/crates"
        printf '%s\n\n' "laps is linked from these crates, each its authors' work. Their licences follow." >"$work/head"
        while IFS="	" read -r name licence; do
            version=${name#* v} name=${name%% *} version=${version%% *} dir=""
            for dir in "$registry"/*/"$name-$version"; do [ ! -d "$dir" ] || break; done
            if [ ! -d "$dir" ]; then
                warn "the source of $name $version is not in $registry"
                rm -rf "$work"
                return 1
            fi
            printf '%s\n' "$name $version: ${licence:-see its text}" >>"$work/head"
            # One level down too: what is C in it has its own.
            while read -r text; do
                sum=$(sha256sum <"$text" | cut -d ' ' -f 1)
                [ -e "$work/$sum.text" ] || cp "$text" "$work/$sum.text"
                printf '%s\n' "$name $version" >>"$work/$sum.names"
            done < <(find "$dir" -maxdepth 2 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \) \
                ! -name '*.rs' -size -256k)
        done <"$work/crates"
        {
            cat "$work/head"
            for text in "$work"/*.text; do
                printf '\n%s\n' "----------------------------------------------------------------------"
                LC_ALL=C sort -u "${text%.text}.names" | paste -s -d ',' - | sed 's/,/, /g' | fold -s -w 120
                printf '\n'
                cat "$text"
            done
        } >"$file.part"
        mv "$file.part" "$file"
        rm -rf "$work"
    fi
    printf '%s\n' "$file"
}
