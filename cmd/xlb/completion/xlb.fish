# Completion of xlb for fish. Install it with:
#   xlb completion fish > ~/.config/fish/completions/xlb.fish

function __xlb_complete
    set -l words (commandline --cut-at-cursor --tokenize --current-process)
    set -l current (commandline --cut-at-cursor --current-token)
    set -l prefix ""
    # --flag=value is completed as the value of --flag.
    if string match --quiet -- '--*=*' $current
        set -l parts (string split --max 1 = -- $current)
        set words $words $parts[1]
        set prefix $parts[1]=
        set current $parts[2]
    end
    set -l candidates ($words $current --generate-bash-completion 2>/dev/null)
    if test (count $candidates) -gt 0
        printf "$prefix%s\n" $candidates
    else
        __fish_complete_path (commandline --cut-at-cursor --current-token)
    end
end

complete --command xlb --no-files --arguments '(__xlb_complete)'
