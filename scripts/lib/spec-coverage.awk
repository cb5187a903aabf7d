# Counts citations of checklist ids. First file: the list of ids. Then the output of rust-lines.awk.
# Variables: missing = 1 lists what is not cited, markdown = 1 prints the table for a README.
# Ends with 1 when an id is unknown or typed wrong.

BEGIN { FS = "\t" }

FNR == NR {
    if ($0 ~ /^#/ || $0 == "") next
    split($1, part, "-")
    family[$1] = part[2]
    if (!(part[2] in size)) order[++families] = part[2]
    size[part[2]]++
    section[$1] = $2; strength[$1] = $3; ids[++count] = $1
    next
}

{
    text = $5
    citations($1 ":" $2, $3, text)
}

function wrong(place, token, why) {
    printf "%s: %s %s\n", place, token, why > "/dev/stderr"
    errors++
}

function citations(place, kind, text,    token, after) {
    # Ids in other spellings are found too, or a slip of the pen would just not count.
    if (match(text, /(^|[^A-Za-z0-9_])(D14_[A-Z]+_[0-9]+|D14[A-Z]+[-_]?[0-9]+|d14-[A-Za-z]+-?[0-9]+)/))
        wrong(place, substr(text, RSTART, RLENGTH), "is not how an id is written (D14-SUB-3)")
    if (match(text, /MOQT-14[^[]*\[[A-Z]+-[0-9]+[],]/) && substr(text, RSTART, RLENGTH) !~ /\[D14-/)
        wrong(place, substr(text, RSTART, RLENGTH), "lacks the D14 of its id")
    while (match(text, /D14-[A-Za-z0-9_]*(-[A-Za-z0-9_]*)?/)) {
        token = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        after = substr(text, 1, 2)
        if (!(token in family)) wrong(place, token, "is not in the checklist")
        else if (after ~ /^\/[0-9]/ || after == ".." || after ~ /^-[0-9]/)
            wrong(place, token after, "names several items at once; write each id out")
        else if (kind == "T") tests[token]++
        else product[token]++
    }
}

END {
    if (errors) { printf "%d citation(s) are wrong\n", errors > "/dev/stderr"; exit 1 }
    for (i = 1; i <= count; i++) {
        id = ids[i]; f = family[id]
        if (id in product) in_code[f]++
        if (id in tests) in_tests[f]++
        if ((id in product) && (id in tests)) in_both[f]++
        if ((id in product) || (id in tests)) in_any[f]++
    }
    if (missing) {
        for (i = 1; i <= count; i++) {
            id = ids[i]
            where = (id in product) ? ((id in tests) ? "" : "no test") : ((id in tests) ? "no code" : "neither")
            if (where != "") printf "%-14s s%-12s %s  %s\n", id, section[id], strength[id], where
        }
        exit 0
    }
    head = markdown ? "| %s | %s | %s | %s | %s | %s |\n" : "%-9s %6s %9s %10s %6s %8s\n"
    row = markdown ? "| %s | %d | %d | %d | %d | %d |\n" : "%-9s %6d %9d %10d %6d %8d\n"
    printf head, "items", "total", "in code", "in tests", "both", "neither"
    if (markdown) printf head, "---", "--:", "--:", "--:", "--:", "--:"
    for (i = 1; i <= families; i++) {
        f = order[i]
        printf row, f, size[f], in_code[f], in_tests[f], in_both[f], size[f] - in_any[f]
        all += size[f]; c += in_code[f]; t += in_tests[f]; b += in_both[f]; a += in_any[f]
    }
    printf row, "all", all, c, t, b, all - a
}
