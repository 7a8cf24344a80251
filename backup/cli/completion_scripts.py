"""The scripts that make a shell ask `imbfs completion SHELL LINE` at each Tab.

The first line of the answer is the kind: `files` and `directories` are left to the shell. The others
are candidates, one a line, for zsh and fish with a description after a tab.
"""

BASH = r"""# bash completion for imbfs. Source it, or keep it in
# ~/.local/share/bash-completion/completions/imbfs
_imbfs() {
    local -a answer
    mapfile -t answer < <(
        COMP_WORDBREAKS=$COMP_WORDBREAKS "$1" completion bash -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null
    )
    COMPREPLY=("${answer[@]:1}")
    case ${answer[0]-} in
        files) compopt -o default ;;
        directories) compopt -o dirnames ;;
        paths) compopt -o filenames ;;
    esac
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace
    fi
}
complete -F _imbfs imbfs
"""

ZSH = r"""#compdef imbfs
# zsh completion for imbfs: source it, or keep it as _imbfs in a directory of $fpath
_imbfs() {
    local -a answer plain open
    local line="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" entry value
    answer=("${(@f)$(imbfs completion zsh -- "$line" 2>/dev/null)}")
    case $answer[1] in
        files) _files; return ;;
        directories) _files -/; return ;;
    esac
    local -a plain_shown open_shown
    for entry in "${(@)answer[2,-1]}"; do
        value=${entry%%$'\t'*}
        if [[ $value == *[/:=] ]]; then
            open+=("$value")
            open_shown+=("${entry/$'\t'/  -- }")
        else
            plain+=("$value")
            plain_shown+=("${entry/$'\t'/  -- }")
        fi
    done
    (( $#open )) && compadd -S '' -d open_shown -a open
    (( $#plain )) && compadd -d plain_shown -a plain
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _imbfs "$@"
else
    compdef _imbfs imbfs
fi
"""

FISH = r"""# fish completion for imbfs: keep it as ~/.config/fish/completions/imbfs.fish
function __imbfs_complete
    set -l answer (imbfs completion fish -- (commandline -cp | string collect) 2>/dev/null)
    set -l kind $answer[1]
    set -e answer[1]
    switch "$kind"
        case files
            __fish_complete_path (commandline -ct)
        case directories
            __fish_complete_directories (commandline -ct)
        case '*'
            test (count $answer) -gt 0; and printf '%s\n' $answer
    end
end
complete -c imbfs -f -a '(__imbfs_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
