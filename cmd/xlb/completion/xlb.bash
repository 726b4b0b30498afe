# Completion of xlb for bash. Load it with: source <(xlb completion bash)

_xlb() {
    # The line itself, not COMP_WORDS: bash splits those at ":", which is part
    # of addresses.
    local line=${COMP_LINE:0:COMP_POINT} current="" before=""
    local -a words candidates
    read -ra words <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        current=${words[-1]}
        unset 'words[-1]'
    fi
    # --flag=value is completed as the value of --flag.
    if [[ $current == --*=* ]]; then
        words+=("${current%%=*}")
        [[ $COMP_WORDBREAKS == *=* ]] || before=${current%%=*}=
        current=${current#*=}
    fi
    mapfile -t candidates < <("${words[0]/#\~/$HOME}" "${words[@]:1}" "$current" \
        --generate-bash-completion 2>/dev/null)
    if ((${#candidates[@]} == 0)); then
        compopt -o default 2>/dev/null
        return
    fi
    # bash replaces only what follows the last ":".
    local done=""
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        done=${current%"${current##*:}"}
    fi
    COMPREPLY=("${candidates[@]#"$done"}")
    COMPREPLY=("${COMPREPLY[@]/#/$before}")
}

complete -F _xlb xlb
