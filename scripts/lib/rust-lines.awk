# Splits Rust source into code and comments, line by line, and tells product code from test code.
#
# Output, tab-separated: file, line number, T (test) or C (product), code, comment, the line as it stands. In the code
# the contents of strings are gone; a string that is left open runs over lines. Test code is what stands under #[cfg(test)], in a
# file with #![cfg(test)], in tests.rs, test.rs, *_tests.rs, and below a folder tests/ or benches/.
# Plain POSIX awk: mawk, gawk, BSD awk.

FNR == 1 {
    block = 0; in_string = 0; raw = -1; braces = 0; brackets = 0
    pending = 0; active = 0
    whole = (FILENAME ~ /(^|\/)(tests?|[a-z0-9_]+_tests)\.rs$/ || FILENAME ~ /(^|\/)(tests|benches)\//)
}

{
    rest = $0
    gsub(/[\t\r]/, " ", rest)
    line = rest
    split_line()
    if (code ~ /#!\[cfg\(test\)\]/) whole = 1
    kind = (whole || active || pending) ? "T" : "C"
    follow_blocks()
    if (touched_test) kind = "T"
    printf "%s\t%d\t%s\t%s\t%s\t%s\n", FILENAME, FNR, kind, code, comment, line
}

# Fills `code` and `comment` from `rest`.
function split_line(    at, c, two, hashes, close_at, prefix) {
    code = ""; comment = ""
    while (rest != "") {
        if (block > 0) {
            if (!match(rest, /\*\/|\/\*/)) { comment = comment rest; rest = ""; break }
            two = substr(rest, RSTART, 2)
            comment = comment substr(rest, 1, RSTART - 1)
            rest = substr(rest, RSTART + 2)
            block += (two == "/*") ? 1 : -1
            continue
        }
        if (raw >= 0) {
            hashes = "\""
            for (at = 0; at < raw; at++) hashes = hashes "#"
            close_at = index(rest, hashes)
            if (!close_at) { rest = ""; break }
            rest = substr(rest, close_at + length(hashes))
            raw = -1; code = code "\""
            continue
        }
        if (in_string) {
            if (!match(rest, /["\\]/)) { rest = ""; break }
            if (substr(rest, RSTART, 1) == "\\") { rest = substr(rest, RSTART + 2); continue }
            rest = substr(rest, RSTART + 1)
            in_string = 0; code = code "\""
            continue
        }
        if (!match(rest, /["'\/]/)) { code = code rest; rest = ""; break }
        c = substr(rest, RSTART, 1); two = substr(rest, RSTART, 2)
        prefix = substr(rest, 1, RSTART - 1)
        code = code prefix
        rest = substr(rest, RSTART)
        if (two == "//") { comment = comment substr(rest, 3); rest = "" }
        else if (two == "/*") { block = 1; rest = substr(rest, 3) }
        else if (c == "\"") {
            if (match(code, /(^|[^A-Za-z0-9_])[bc]?r#*$/)) {
                raw = gsub_count(substr(code, RSTART, RLENGTH))
            } else in_string = 1
            code = code "\""
            rest = substr(rest, 2)
        }
        else if (c == "'" && match(rest, /^'(\\u\{[0-9a-fA-F_]*\}|\\x[0-9a-fA-F][0-9a-fA-F]|\\.|[^\\'])'/)) {
            code = code "' '"
            rest = substr(rest, RLENGTH + 1)
        }
        else { code = code c; rest = substr(rest, 2) }
    }
}

function gsub_count(text) { return gsub(/#/, "", text) }

# Follows braces so that an item under #[cfg(test)] ends where its block or its semicolon ends.
function follow_blocks(    text, c) {
    text = code
    touched_test = 0
    if (match(text, /#\[cfg\((all\()?test *[,)]/) && !active && !pending) {
        pending = 1; pending_brackets = brackets
        touched_test = 1
    }
    while (match(text, /[][{};()]/)) {
        c = substr(text, RSTART, 1)
        text = substr(text, RSTART + 1)
        if (c == "[" || c == "(") brackets++
        else if (c == "]" || c == ")") brackets--
        else if (c == "{") {
            if (pending && !active) { active = 1; pending = 0; active_braces = braces }
            braces++
        } else if (c == "}") {
            braces--
            if (active && braces == active_braces) { active = 0; touched_test = 1 }
        } else if (pending && brackets <= pending_brackets) { pending = 0; touched_test = 1 }
    }
    if (active || pending) touched_test = 1
}
