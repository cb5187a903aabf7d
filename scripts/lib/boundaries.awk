# The boundary rules, over the output of rust-lines.awk. Prints "rule file:line: what is wrong" and ends with 1 when
# there is anything to say.

BEGIN { FS = "\t" }

function word(name) { return "(^|[^A-Za-z0-9_])(" name ")([^A-Za-z0-9_]|$)" }
function report(rule, line, text) {
    printf "%s %s:%d: %s\n", rule, file, line, text
    found++
}
# waived MARK: this line or the one before carries the comment `MARK: reason`.
function waived(mark) { return index_reason(comment, mark) || index_reason(previous_comment, mark) }
function index_reason(text, mark,    at, reason) {
    at = index(text, mark ":")
    if (!at) return 0
    reason = substr(text, at + length(mark) + 1)
    gsub(/ /, "", reason)
    return reason != ""
}
function finish_file() {
    if (file == "") return
    if (product_lines > 500 && !length_waiver && file !~ /(^|\/)(tests|benches)\// && file !~ /(^|\/)tests?\.rs$/)
        report("length", 501, product_lines " lines outside tests; split it, or say why not: // LENGTH: reason")
}

$1 != file {
    finish_file()
    file = $1; product_lines = 0; length_waiver = 0; previous_comment = ""; statement = ""; statement_line = 0
    in_protocol = (file ~ /^protocol\/src\//)
    in_actors = (file ~ /^actors\//)
    in_root = (file ~ /^src\//)
    neutral = (file ~ /^protocol\/src\/(moqt|relay)\// && file !~ /^protocol\/src\/moqt\/draft[0-9]+(\/|\.rs$)/) \
        || file ~ /^actors\/src\/(session|connection|subscription|announce|track|client|registry)(\/|\.rs$)/
}

{
    line = $2; test = ($3 == "T"); code = $4; comment = $5
    if (!test) product_lines++
    if (index_reason(comment, "LENGTH")) length_waiver = 1

    if (in_protocol) {
        if (match(code, word("actix|actix_rt|tokio|s2n_quic|s2n_quic_core|SystemTime|UdpSocket|TcpStream")))
            report("protocol-io", line, "protocol/ has no runtime, socket or clock: " trim(code))
        else if (code ~ /(^|[^A-Za-z0-9_])std::(net|thread|fs|process)([^A-Za-z0-9_]|$)/)
            report("protocol-io", line, "protocol/ has no net, thread, file or process: " trim(code))
        else if (code ~ /(^|[^A-Za-z0-9_])(Mutex|RwLock|Condvar)([^A-Za-z0-9_]|$)/)
            report("protocol-io", line, "protocol/ has no locks: " trim(code))
        if (code ~ /Instant::now/ && !test && !waived("clock"))
            report("protocol-clock", line, "time is an argument in protocol/: " trim(code))
        # An import that runs over lines is judged as one statement.
        if (statement != "" || code ~ /^ *(pub(\([a-z]+\))? +)?use +std::\{/) {
            if (statement == "") statement_line = line
            statement = statement " " code
            if (code ~ /;/) {
                if (statement ~ /[{, ](net|thread|fs|process)(::|[ ,};])/)
                    report("protocol-io", statement_line, "protocol/ has no net, thread, file or process: " trim(statement))
                statement = ""
            }
        }
    }
    if (neutral && !test && code ~ /(^|[^A-Za-z0-9_])0x[0-9a-fA-F]/ && !waived("codepoint-free"))
        report("codepoint", line, "codepoints stand only in protocol/src/moqt/draftNN; if this is none, say so: // codepoint-free: reason")
    if ((in_actors || in_root) && match(code, word("draft[0-9][0-9]")))
        report("draft-name", line, "actors/ and src/ speak the neutral types, not one draft: " trim(code))
    if ((in_root || (in_actors && file !~ /^actors\/src\/transport(\/|\.rs$)/)) && match(code, word("s2n_quic|s2n_quic_core")))
        report("quic-name", line, "only actors/src/transport names the QUIC library: " trim(code))
    if ((in_actors || in_root) && file != "actors/src/supervise/mailbox.rs" && match(code, word("do_send")))
        report("do-send", line, "do_send knows no bound; only supervise/mailbox.rs may call it: " trim(code))

    # The line as it stands: strings are gone from the code.
    if ((in_actors || in_root) && !test && trim(code) != "" && hides($6) && !waived("hidden-proc"))
        report("hidden-proc", line, "ProcSubset=pid of scripts/laps.service hides this; ask the system, or say why not: // hidden-proc: reason")

    previous_comment = (trim(code) == "") ? comment : ""
}

# hides(TEXT): a string in it begins with a file below /proc that is of no process.
function hides(text) {
    gsub(/"\/proc\/(self|thread-self|\{)/, "", text)
    return text ~ /"\/proc\//
}

function trim(text) { gsub(/^ +| +$/, "", text); return substr(text, 1, 100) }

END {
    finish_file()
    exit (found > 0)
}
