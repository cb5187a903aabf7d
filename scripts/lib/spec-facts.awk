# Which checklist ids stand where. First file: the list of ids. Then the output of rust-lines.awk.
#
# Output, tab-separated, one fact a line:
#   file  FILE                                a source file
#   mod   FILE MODULES NAME [PATH]            `mod NAME;` inside the inline modules MODULES (a::b, or nothing)
#   test  FILE MODULES NAME LINE IDS          a test function; IDS: what its own doc comment names, space-separated
#   code  FILE LINE ITEM ID                   product code that cites ID in, or right before, the item called ITEM
#   loose FILE LINE ID                        test code that names ID outside a test's own doc comment: proves nothing
# Ends with 1 when a citation names no item or is written in another way.

BEGIN { FS = "\t" }

FNR == NR {
    if ($0 !~ /^#/ && $0 != "") known[$1] = 1
    next
}

$1 != file {
    finish_file()
    file = $1
    printf "file\t%s\n", file
    depth = 0; items = 0; doc = ""; is_test = 0; in_attribute = 0; held = 0; path = ""
}

{
    line = $2; product = ($3 == "C"); code = $4; comment = $5; raw = $6
    read_code()
    ids = citations(comment)
    if (ids != "") place(ids)
    # Blank lines, other comments and further attributes may stand between a doc comment and its function.
    if (comment ~ /^\/([^\/]|$)/ && code ~ /^ *$/) doc = doc ids
}

END { finish_file(); exit (errors > 0) }

function wrong(token, why) {
    printf "%s:%d: %s %s\n", file, line, token, why > "/dev/stderr"
    errors++
}

# The ids that a comment names, each with a space after it.
function citations(text,    token, after, found) {
    # Ids in other spellings are found too, or a slip of the pen would just not count.
    if (match(text, /(^|[^A-Za-z0-9_])(D14_[A-Z]+_[0-9]+|D14[A-Z]+[-_]?[0-9]+|d14-[A-Za-z]+-?[0-9]+)/))
        wrong(substr(text, RSTART, RLENGTH), "is not how an id is written (D14-SUB-3)")
    if (match(text, /MOQT-14[^[]*\[[A-Z]+-[0-9]+[],]/) && substr(text, RSTART, RLENGTH) !~ /\[D14-/)
        wrong(substr(text, RSTART, RLENGTH), "lacks the D14 of its id")
    found = ""
    while (match(text, /D14-[A-Za-z0-9_]*(-[A-Za-z0-9_]*)?/)) {
        token = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        after = text
        if (!(token in known)) wrong(token, "is not in the checklist")
        else if (after ~ /^(\/[0-9]|\.\.|-[0-9]|,? (to|-|–) \[?D14-)/)
            wrong(token substr(after, 1, 5), "names several items at once; write each id out")
        else found = found token " "
    }
    return found
}

# Product code cites for the item it stands in; before an item, for the item that follows.
function place(ids,    part, n, i) {
    n = split(ids, part, " ")
    for (i = 1; i <= n; i++) {
        if (!product) {
            loose_line[++loose] = line; loose_id[loose] = part[i]
            loose_doc[loose] = (comment ~ /^\/([^\/]|$)/)
        } else if (comment ~ /^!/) print_code(line, "", part[i])
        else if (items && item_name[items] != "") print_code(line, item_name[items], part[i])
        else { held++; held_line[held] = line; held_id[held] = part[i] }
    }
}

function print_code(at, item, id) { printf "code\t%s\t%d\t%s\t%s\n", file, at, item, id }

function release(item,    i) {
    for (i = 1; i <= held; i++) print_code(held_line[i], item, held_id[i])
    held = 0
}

# What a test's doc comment named is proved by that test; the rest is loose.
function flush_loose(    i) {
    for (i = 1; i <= loose; i++) printf "loose\t%s\t%d\t%s\n", file, loose_line[i], loose_id[i]
    loose = 0
}

function drop_docs(    i, kept) {
    for (i = 1; i <= loose; i++) if (!loose_doc[i]) {
        kept++
        loose_line[kept] = loose_line[i]; loose_id[kept] = loose_id[i]; loose_doc[kept] = 0
    }
    loose = kept
}

function finish_file() {
    if (file == "") return
    release("")
    flush_loose()
}

function read_code(    text) {
    text = code
    if (in_attribute) text = skip_attribute(text)
    while (!in_attribute && match(text, /^ *#!?\[/)) {
        if (text ~ /^ *#\[ *([A-Za-z0-9_]+ *:: *)*test *[](]/) is_test = 1
        # The text of a string is gone from the code; the line as it stands still has it.
        if (text ~ /^ *#\[ *path *=/ && match(raw, /"[^"]*"/)) path = substr(raw, RSTART + 1, RLENGTH - 2)
        in_attribute = 1; attribute_depth = 0
        sub(/^ *#!?/, "", text)
        text = skip_attribute(text)
    }
    if (in_attribute || text ~ /^ *$/) return
    begin_item(text)
    follow(text)
    doc = ""; is_test = 0; path = ""
    if (loose) flush_loose()
}

# What is left of `text` behind the end of the attribute, or nothing.
function skip_attribute(text,    c) {
    while (match(text, /[][]/)) {
        c = substr(text, RSTART, 1)
        text = substr(text, RSTART + 1)
        attribute_depth += (c == "[") ? 1 : -1
        if (attribute_depth == 0) { in_attribute = 0; return text }
    }
    return ""
}

function begin_item(text,    name) {
    if (match(text, /(^|[^A-Za-z0-9_])fn +[A-Za-z_][A-Za-z0-9_]*/)) {
        name = last_word(text)
        if (is_test) { printf "test\t%s\t%s\t%s\t%d\t%s\n", file, modules(), name, line, doc; drop_docs() }
    } else if (match(text, /^ *(pub *(\([a-z: ]+\))? +)?mod +[A-Za-z_][A-Za-z0-9_]*/)) {
        name = last_word(text)
        if (substr(text, RSTART + RLENGTH) ~ /^ *;/) {
            printf "mod\t%s\t%s\t%s\t%s\n", file, modules(), name, path
            release("mod " name)
        } else { release("mod " name); push(":" name) }
        return
    } else if (match(text, /^ *(pub *(\([a-z: ]+\))? +)?(unsafe +)?(struct|enum|union|trait|type|static|const|macro_rules!) +(mut +)?[A-Za-z_][A-Za-z0-9_]*/)) {
        name = last_word(text)
        if (text ~ /^ *(pub *(\([a-z: ]+\))? +)?trait /) { release(name); push(":"); return }
    } else if (match(text, /^ *(unsafe +)?impl[ <]/)) { push(":"); return }
    else return
    release(name)
    # Inside a function there are only its own helpers, which stand for it.
    if (items && item_name[items] != "") name = item_name[items]
    push(name)
}

function last_word(text,    word) {
    word = substr(text, RSTART, RLENGTH)
    sub(/.* /, "", word)
    return word
}

# The stack of items that are open. A name that begins with a colon is that of a module, or of a block whose parts
# speak for themselves.
function push(name) {
    items++
    item_module[items] = (name ~ /^:./) ? substr(name, 2) : ""
    item_name[items] = (name ~ /^:/) ? "" : name
    item_depth[items] = depth
}

function modules(    i, text) {
    text = ""
    for (i = 1; i <= items; i++) if (item_module[i] != "") text = text (text == "" ? "" : "::") item_module[i]
    return text
}

function follow(text,    c) {
    while (match(text, /[][{};()]/)) {
        c = substr(text, RSTART, 1)
        text = substr(text, RSTART + 1)
        if (c == "[" || c == "(" || c == "{") depth++
        else if (c == ";") { if (items && item_depth[items] == depth) items-- }
        else {
            depth--
            if (c == "}" && items && item_depth[items] == depth) items--
        }
    }
}
