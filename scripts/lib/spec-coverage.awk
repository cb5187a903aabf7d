# Joins the checklist with what obeys it and what proves it. Files are told apart by `kind=...` before each:
#   kind=ids        id, section of the draft, strength, what it asks for (tabs between)
#   kind=finished   the groups of items in which nothing may be open
#   kind=decisions  id | decision, deviation or open | record | test | reason
#   kind=records    a decision's file and an id that it names (tab between)
#   kind=tests      root file, test, run or ignored (tab between): what the test programs name themselves
#   kind=facts      the output of spec-facts.awk
# Variable: show = table, missing, markdown or nothing. Ends with 1 when a rule is broken.

BEGIN { FS = "\t" }

kind == "ids" && ($0 ~ /^#/ || $0 == "") { next }
kind == "ids" {
    split($1, part, "-")
    if (!(part[2] in size)) group[++groups] = part[2]
    size[part[2]]++
    id[++ids] = $1; group_of[$1] = part[2]; section[$1] = $2; strength[$1] = $3; title[$1] = $4
    next
}

kind == "finished" {
    sub(/#.*/, "")
    words = split($0, word, /[ \t]+/)
    for (i = 1; i <= words; i++) if (word[i] != "") finished[word[i]] = 1
    next
}

kind == "decisions" && ($0 ~ /^#/ || $0 ~ /^ *$/) { next }
kind == "decisions" {
    if (split($0, cell, / *\| */) != 5) { fault("decisions: not five columns: " $0); next }
    if (cell[1] in decision) fault("decisions: " cell[1] " stands there twice")
    decided[++decisions] = cell[1]
    decision[cell[1]] = cell[2]; record[cell[1]] = cell[3]; pin[cell[1]] = cell[4]; reason[cell[1]] = cell[5]
    next
}

kind == "records" { is_record[$1] = 1; if ($2 != "") names[$1, $2] = 1; next }
kind == "tests" {
    if (!($1 in is_root)) { is_root[$1] = 1; root[++roots] = $1 }
    listed[$1, $2] = $3
    entry[++entries] = $1 SUBSEP $2
    next
}

$1 == "file" { is_file[$2] = 1; next }
$1 == "mod" { n = ++mods[$2]; mod_in[$2, n] = $3; mod_name[$2, n] = $4; mod_path[$2, n] = $5; next }
$1 == "test" {
    n = ++test_count[$2]
    test_in[$2, n] = $3; test_name[$2, n] = $4; test_ids[$2, n] = $6
    place = $2 "::" $4
    if (!(place in claim)) { claim[place] = " "; places[++place_count] = place; file_of[place] = $2 }
    claim[place] = claim[place] $6
    next
}
$1 == "code" {
    n = ++code_count[$5]
    code_line[$5, n] = $2 ":" $3; code_file[$5, n] = $2; code_item[$5, n] = $4
    next
}
$1 == "loose" {
    if (!($4 in loose)) loose[$4] = $2 ":" $3
    next
}

function fault(text) {
    printf "%s\n", text > "/dev/stderr"
    faults++
}

function folder(path) { return (path ~ /\//) ? substr(path, 1, match(path, /\/[^\/]*$/) - 1) : "." }
function joined(base, path) {
    path = (base == ".") ? path : base "/" path
    while (match(path, /[^\/]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    return path
}
function below(base, name) { return (base == "") ? name : (name == "") ? base : base "::" name }

# Follows the modules of a program from its root file and meets every test function under the name that the program
# gives it. `owns`: the children of this file stand beside it, not in a folder of its name.
function walk(program, path, module, owns,    i, n, base, child, deeper, at) {
    base = folder(path)
    if (!owns) { base = path; sub(/\.rs$/, "", base) }
    for (i = 1; i <= test_count[path]; i++) meet(program, path, below(below(module, test_in[path, i]), test_name[path, i]), i)
    for (i = 1; i <= mods[path]; i++) {
        deeper = mod_in[path, i]
        at = base
        gsub(/::/, "/", deeper)
        if (deeper != "") at = joined(base, deeper)
        child = below(below(module, mod_in[path, i]), mod_name[path, i])
        if (mod_path[path, i] != "") {
            n = joined(deeper == "" ? folder(path) : at, mod_path[path, i])
            if (n in is_file) walk(program, n, child, 1)
        } else if ((n = joined(at, mod_name[path, i] ".rs")) in is_file) walk(program, n, child, 0)
        else if ((n = joined(at, mod_name[path, i] "/mod.rs")) in is_file) walk(program, n, child, 1)
    }
}

function meet(program, path, name, i) {
    if (!((program, name) in listed)) return
    found[program, name] = 1
    if (listed[program, name] == "run") runs[path "::" test_name[path, i]] = 1
}

END {
    for (i = 1; i <= roots; i++) walk(root[i], root[i], "", 1)
    for (i = 1; i <= entries; i++) if (!(entry[i] in found)) {
        split(entry[i], part, SUBSEP)
        fault(part[1] ": its program lists the test " part[2] ", and no function in the sources is it")
    }
    for (i = 1; i <= place_count; i++) if (places[i] in runs) {
        n = split(claim[places[i]], word, " ")
        for (j = 1; j <= n; j++) if (!((word[j], places[i]) in proves)) {
            proves[word[j], places[i]] = 1
            proof[word[j], ++proofs[word[j]]] = places[i]
        }
    }
    check_decisions()
    for (i = 1; i <= ids; i++) { status[id[i]] = judge(id[i]); tally[group_of[id[i]], status[id[i]]]++ }
    for (name in finished) if (!(name in size)) fault("finished: there is no group called " name)
    for (i = 1; i <= ids; i++) if (group_of[id[i]] in finished) {
        if (status[id[i]] == "missing" || status[id[i]] == "no test")
            fault(id[i] ": " group_of[id[i]] " is finished, and this item has neither test nor decision" hint(id[i]))
        else if (status[id[i]] == "no code")
            fault(id[i] ": " group_of[id[i]] " is finished, and this item has a test but neither code line nor decision")
    }
    if (show == "table") print_table()
    else if (show == "missing") print_missing()
    else if (show == "markdown") print_markdown()
    exit (faults > 0)
}

function check_decisions(    i, item, what) {
    for (i = 1; i <= decisions; i++) {
        item = decided[i]; what = decision[item]
        if (!(item in group_of)) { fault("decisions: " item " is not in the checklist"); continue }
        if (what == "open") {
            # The issue that began this table lets nothing else stand open.
            if (item != "D14-SETUP-1" && item != "D14-SETUP-4" && item != "D14-TERM-2")
                fault("decisions: " item " may not be open; only what needs WebTransport may")
            if (pin[item] != "OPEN(web)") fault("decisions: " item " is open, so its test is called OPEN(web)")
            continue
        }
        if (what != "decision" && what != "deviation") fault("decisions: " item ": there is no kind called " what)
        if (what == "decision" && strength[item] == "M")
            fault("decisions: " item " is a must: it is met, or it deviates and a record says why")
        if (reason[item] == "") fault("decisions: " item " gives no reason")
        if (record[item] != "-" || what == "deviation") {
            if (!(record[item] in is_record)) fault("decisions: " item ": there is no record " record[item])
            else if (!((record[item], item) in names)) fault("decisions: " item ": " record[item] " does not name it")
        }
        if (!(pin[item] in runs)) fault("decisions: " item ": no test that runs is called " pin[item])
        else if (!((item, pin[item]) in proves)) fault("decisions: " item ": the comment of " pin[item] " does not name it")
    }
}

function judge(item) {
    if (decision[item] == "deviation") return "deviates"
    if (decision[item] == "decision") return "decided"
    if (proofs[item] && code_count[item]) return (decision[item] == "open") ? "met, open (web)" : "met"
    if (decision[item] == "open") return "open (web)"
    if (proofs[item]) return "no code"
    return code_count[item] ? "no test" : "missing"
}

function hint(item) { return (item in loose) ? " (named at " loose[item] ", outside a test's own comment)" : "" }

function print_table(    i, j, item, text) {
    for (i = 1; i <= ids; i++) {
        item = id[i]
        printf "%-13s %-12s %s  %-8s", item, (section[item] == "-") ? "-" : "§" section[item], strength[item], status[item]
        text = ""
        for (j = 1; j <= code_count[item]; j++) text = text " " code_line[item, j]
        printf "  ->%s", text == "" ? " -" : text
        text = ""
        for (j = 1; j <= proofs[item]; j++) text = text " " proof[item, j]
        printf "  ->%s", text == "" ? " -" : text
        if (decision[item] != "") printf "  (%s: %s)", decision[item], reason[item]
        printf "\n"
    }
    printf "\n"
    print_summary("%-6s %6s %6s %8s %9s %6s %8s %8s %8s  %s\n")
}

function print_summary(form,    i, g, total) {
    printf form, "group", "items", "met", "decided", "deviates", "open", "no test", "no code", "missing", "finished"
    if (form ~ /^\|/) printf form, "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "---"
    for (i = 1; i <= groups; i++) {
        g = group[i]
        printf form, g, size[g], tally[g, "met"] + tally[g, "met, open (web)"], tally[g, "decided"] + 0, \
            tally[g, "deviates"] + 0, tally[g, "open (web)"] + 0, tally[g, "no test"] + 0, tally[g, "no code"] + 0, \
            tally[g, "missing"] + 0, (g in finished) ? "yes" : ""
        total["met"] += tally[g, "met"] + tally[g, "met, open (web)"]
        total["decided"] += tally[g, "decided"]; total["deviates"] += tally[g, "deviates"]
        total["open"] += tally[g, "open (web)"]; total["no test"] += tally[g, "no test"]
        total["no code"] += tally[g, "no code"]; total["missing"] += tally[g, "missing"]
    }
    printf form, "all", ids, total["met"], total["decided"], total["deviates"], total["open"], total["no test"], \
        total["no code"], total["missing"], ""
}

function print_missing(    i, item) {
    for (i = 1; i <= ids; i++) {
        item = id[i]
        if (status[item] == "no test" || status[item] == "no code" || status[item] == "missing")
            printf "%-13s %-12s %s  %-8s%s  %s%s\n", item, (section[item] == "-") ? "-" : "§" section[item], \
                strength[item], status[item], (group_of[item] in finished) ? "!" : " ", title[item], hint(item)
    }
}

# The table is read below protocol/. It names functions and not lines, so that it changes only when they do.
function link(path) { return (path ~ /^protocol\//) ? substr(path, 10) : "../" path }
function short(path) { sub(/^.*\//, "", path); return path }

function print_markdown(    i, j, g, item, text, seen, name, last) {
    print_summary("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n")
    for (g = 1; g <= groups; g++) {
        printf "\n## %s%s\n\n", group[g], (group[g] in finished) ? ", finished" : ""
        print "| item | draft | asks for | status | obeyed in | proved by |"
        print "| --- | --- | --- | --- | --- | --- |"
        for (i = 1; i <= ids; i++) {
            item = id[i]
            if (group_of[item] != group[g]) continue
            text = status[item]
            if (decision[item] == "deviation" || (decision[item] == "decision" && record[item] != "-"))
                text = "[" text "](" link(record[item]) ")"
            if (decision[item] != "") text = text ": " reason[item]
            printf "| %s | %s %s | %s | %s |", item, (section[item] == "-") ? "-" : "§" section[item], strength[item], title[item], text
            text = ""
            for (j = 1; j <= code_count[item]; j++) {
                name = code_file[item, j] " " code_item[item, j]
                if ((item, name) in seen) continue
                seen[item, name] = 1
                text = text (text == "" ? "" : ", ") "[" short(code_file[item, j]) "](" link(code_file[item, j]) ")" \
                    (code_item[item, j] == "" ? "" : " `" code_item[item, j] "`")
            }
            printf " %s |", text
            text = ""; last = ""
            for (j = 1; j <= proofs[item]; j++) {
                name = file_of[proof[item, j]]
                if (name != last) text = text (text == "" ? "" : ", ") "[" short(name) "](" link(name) ")"
                last = name
                text = text " `" substr(proof[item, j], length(name) + 3) "`"
            }
            printf " %s |\n", text
        }
    }
}
