"""`voltlane completion`: a script that lets a shell complete the command line, made from its parser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Callable

from .console import show
from .outline import Command, Flag, Outline

_PATHS = ("FILE", "DIR")
"""Values that the shell completes by itself."""


def completion(shell: str, outline: Outline) -> int:
    """Print the script for one of SHELLS. The exit code."""
    show(SHELLS[shell](outline).rstrip("\n"))
    return 0


# ---- bash

_BASH = """\
# bash completion for voltlane; made by `voltlane completion bash`
_voltlane() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= given= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {commands}) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    COMPREPLY=()
    case "$command $before" in
{values}
    esac
    if [[ $word == -* ]]; then
        case $command in
{flags}
        esac
    else
        case $command in
{arguments}
        esac
    fi
    COMPREPLY=($(compgen -W "$given" -- "$word"))
}}
complete -F _voltlane voltlane
"""


def bash(outline: Outline) -> str:
    """The script for bash 3.2 and later."""
    names = [command.name for command in outline.commands]
    everything = [outline.program, *outline.commands]
    return _BASH.format(
        commands="|".join(names),
        values="\n".join([line for command in everything for line in _bash_values(command)]),
        flags="\n".join(
            [f"            {quote(command.name)}) given={quote(_flag_names(command))} ;;" for command in everything]
        ),
        arguments="\n".join(
            [
                f"            {quote(command.name)}) given={quote(' '.join(words))} ;;"
                for command, words in [(outline.program, names), *_arguments(outline)]
            ]
        ),
    )


def _bash_values(command: Command) -> Iterator[str]:
    for flag in command.flags:
        if not flag.value:
            continue
        pattern = "|".join([quote(f"{command.name} {name}") for name in flag.names])
        if flag.value in _PATHS:
            kind = "-f" if flag.value == "FILE" else "-d"
            yield f"        {pattern}) compopt -o filenames 2>/dev/null; local IFS=$'\\n'"
            yield f'            COMPREPLY=($(compgen {kind} -- "$word")); return ;;'
        else:
            words = quote(" ".join(flag.words))
            yield f'        {pattern}) COMPREPLY=($(compgen -W {words} -- "$word")); return ;;'


# ---- zsh

_ZSH = """\
#compdef voltlane
# zsh completion for voltlane; made by `voltlane completion zsh`
_voltlane() {{
    local -a commands
    local state line
    commands=(
{commands}
    )
    _arguments -C \\
{program}
        '1: :->command' \\
        '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            case $line[1] in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = "_voltlane" ]; then _voltlane "$@"; else compdef _voltlane voltlane; fi
"""


def zsh(outline: Outline) -> str:
    """The script for zsh."""
    return _ZSH.format(
        commands="\n".join(
            [f"        {quote(f'{_escaped(command.name)}:{command.summary}')}" for command in outline.commands]
        ),
        program="\n".join([f"        {spec} \\" for spec in _zsh_flags(outline.program)]),
        cases="\n".join([_zsh_case(command) for command in outline.commands]),
    )


def _zsh_case(command: Command) -> str:
    specs = [*_zsh_flags(command), *_zsh_arguments(command)]
    return f"                {command.name}) _arguments {' '.join(specs)} ;;"


def _zsh_flags(command: Command) -> Iterator[str]:
    for flag in command.flags:
        action = f":{_escaped(flag.value)}:{_zsh_action(flag)}" if flag.value else ""
        for name in flag.names:
            yield quote(f"*{name}[{_escaped(_first_sentence(flag.help))}]{action}")


def _zsh_arguments(command: Command) -> Iterator[str]:
    for argument in command.arguments:
        yield quote(f":{_escaped(argument.value.strip('[]'))}:{_zsh_action(argument)}")


def _zsh_action(flag: Flag) -> str:
    if flag.value in _PATHS:
        return "_files" if flag.value == "FILE" else "_files -/"
    return f"({' '.join(map(_escaped, flag.words))})" if flag.words else ""


def _escaped(text: str) -> str:
    """As `_arguments` and `_describe` want it: brackets and colons are theirs."""
    return "".join(["\\" + character if character in "\\:[]" else character for character in text])


# ---- fish


def fish(outline: Outline) -> str:
    """The script for fish."""
    lines = ["# fish completion for voltlane; made by `voltlane completion fish`", "complete -c voltlane -f"]
    for command in outline.commands:
        lines.append(
            f"complete -c voltlane -n __fish_use_subcommand -a {command.name} -d {_quoted_for_fish(command.summary)}"
        )
    lines += _fish_flags(outline.program, "__fish_use_subcommand")
    for command in outline.commands:
        lines += _fish_flags(command, f"__fish_seen_subcommand_from {command.name}")
        for argument in command.arguments:
            if argument.words:
                lines.append(
                    f"complete -c voltlane -n {_quoted_for_fish(f'__fish_seen_subcommand_from {command.name}')} "
                    f"-a {_quoted_for_fish(' '.join(argument.words))}"
                )
    return "\n".join(lines)


def _fish_flags(command: Command, condition: str) -> Iterator[str]:
    for flag in command.flags:
        parts = [f"complete -c voltlane -n {_quoted_for_fish(condition)}"]
        parts += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
        if flag.value in _PATHS:
            parts.append("-r -F" if flag.value == "FILE" else "-x -a '(__fish_complete_directories)'")
        elif flag.value:
            parts.append(f"-x -a {_quoted_for_fish(' '.join(flag.words))}" if flag.words else "-x")
        parts.append(f"-d {_quoted_for_fish(_first_sentence(flag.help))}")
        yield " ".join(parts)


def _quoted_for_fish(text: str) -> str:
    """Within its single quotes a backslash escapes, unlike in other shells."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# ---- all of them


def _arguments(outline: Outline) -> Iterator[tuple[Command, Iterable[str]]]:
    """What may stand behind each command."""
    for command in outline.commands:
        yield command, [word for argument in command.arguments for word in argument.words]


def _flag_names(command: Command) -> str:
    return " ".join([name for flag in command.flags for name in flag.names])


def _first_sentence(text: str) -> str:
    """Of a help: there is not room for more."""
    return text.partition(". ")[0].rstrip(".")


SHELLS: dict[str, Callable[[Outline], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
