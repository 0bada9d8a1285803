"""The scripts for each shell, and candidates as each wants them.

The scripts ask the command on the line itself (``mt-train --complete SHELL …``), so that one
environment's recipes are not offered in another.  Neither argcomplete nor shtab does for this:
both complete argparse's options, and the words of ``mt-train`` are none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

BASH = """\
_mt_lottery() {
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" --complete bash \\
        "${COMP_LINE:0:$COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    compopt -o nosort 2>/dev/null
    case "${#COMPREPLY[@]}:${COMPREPLY[0]: -1}" in 1:[=/.:-]) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _mt_lottery mt-train mt-bench mt-ticket mt-translate
"""
# compstate is there while a word is completed: the script is a file of fpath then, which zsh calls
ZSH = """\
#compdef mt-train mt-bench mt-ticket mt-translate
_mt_lottery() {
    local line value
    local -a open openly closed closedly
    for line in "${(@f)$("${(Q)words[1]}" --complete zsh "${(@Q)words[1,CURRENT-1]}" \\
            "${(Q)PREFIX}" 2>/dev/null)}"; do
        value=${line%%$'\\t'*}
        [[ -z $value ]] && continue
        line="$value  -- ${line#*$'\\t'}"
        if [[ $value == *[=/.:-] ]]; then
            open+=("$value") openly+=("${line%  -- }")
        else
            closed+=("$value") closedly+=("${line%  -- }")
        fi
    done
    (( $#open )) && compadd -S '' -l -d openly -a open
    (( $#closed )) && compadd -l -d closedly -a closed
}
if (( $+compstate )); then
    _mt_lottery "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _mt_lottery mt-train mt-bench mt-ticket mt-translate
fi
"""
FISH = """\
function __mt_lottery
    set -l words (commandline -opc)
    $words[1] --complete fish $words (commandline -ct) 2>/dev/null
end
for each in mt-train mt-bench mt-ticket mt-translate
    complete -c $each -f -a '(__mt_lottery)'
end
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
SHELLS = tuple(SCRIPTS)


def words_of(line: str) -> list[str]:
    """The words of a line up to the cursor; the last one is what is typed of the word there."""
    for ending in ("", "'", '"'):  # a quotation that is still open
        try:
            found = shlex.split(f"{line}{ending}")
        except ValueError:
            continue
        return [*found, ""] if not ending and re.search(r"(?<!\\)\s$|^$", line) else found
    return [*line.split(), ""]


def _for_bash(candidate: str, typed: str, breaks: str) -> str:
    """What bash puts in the place of the part of a word that follows the last break in it."""
    shared = max((typed.rfind(sign) for sign in breaks if not sign.isspace()), default=-1) + 1
    return re.sub(r"([^\w@%+=:,./~-])", r"\\\1", candidate[shared:])


def answer(arguments: Sequence[str]) -> list[str]:
    """The lines that a script reads.

    Args:
        arguments: for bash, the line up to the cursor and ``$COMP_WORDBREAKS``; for the others
            the words, of which the last one is at the cursor.  The shell's name goes before them.
    """
    from mt_lottery.cli.completing.words import candidates

    shell, *rest = arguments
    if shell != "bash":
        *words, typed = rest
        return [f"{value}\t{text}" for value, text in candidates(words, typed)]
    *words, typed = words_of(rest[0])
    breaks = rest[1] if len(rest) > 1 else " \t\n\"'><=;|&(:"
    return [_for_bash(value, typed, breaks) for value, _ in candidates(words, typed)]


def completed(arguments: Sequence[str]) -> int | None:
    """Answer ``--completion SHELL`` and ``--complete …``; None where it is neither.

    Raises:
        ConfigError: no shell that has a script.
    """
    if arguments[:1] == ["--complete"] and len(arguments) > 2:
        for line in answer(arguments[1:]):
            print(line)
        return 0
    if not arguments or arguments[0].partition("=")[0] != "--completion":
        return None
    shell = " ".join([*filter(None, [arguments[0].partition("=")[2]]), *arguments[1:]])
    if shell not in SCRIPTS:
        from mt_lottery.errors import ConfigError

        raise ConfigError(
            f"--completion is {shell or 'without a shell'}; allowed: {', '.join(SCRIPTS)}."
        )
    print(SCRIPTS[shell], end="")
    return 0
