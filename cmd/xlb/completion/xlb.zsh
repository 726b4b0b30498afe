#compdef xlb
# Completion of xlb for zsh. Install it with: xlb completion zsh > "${fpath[1]}/_xlb"

_xlb() {
    local -a before candidates
    local current=${words[CURRENT]}
    before=("${(@)words[2,CURRENT-1]}")
    # --flag=value is completed as the value of --flag.
    if [[ $current == --*=* ]]; then
        before+=("${current%%=*}")
        compset -P '*='
        current=${current#*=}
    fi
    candidates=("${(@f)$("${~words[1]}" "${before[@]}" "$current" --generate-bash-completion 2>/dev/null)}")
    candidates=("${(@)candidates:#}")
    if (( $#candidates )); then
        compadd -a candidates
    else
        _files
    fi
}

# Sourced, the file registers the function; autoloaded from fpath, it is the
# function.
if [[ $funcstack[1] == _xlb ]]; then
    _xlb "$@"
else
    compdef _xlb xlb
fi
