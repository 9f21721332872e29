"""The manual pages and the shell completion, from the same sources as `--help` and the settings.

Run by scripts/build-program; writes into build/generated.
"""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "generated"
sys.path.insert(0, str(ROOT))

from appliance import __version__  # noqa: E402
from appliance.cli import cli  # noqa: E402
from appliance.config_keys import sections, value_text  # noqa: E402
from appliance.config_sample import key_notes, sample  # noqa: E402

_FILES = (
    ("/etc/inference-appliance/config.toml", "Settings; see inference-appliance.toml(5)."),
    ("/var/lib/inference-appliance", "State: database, admin key, models."),
    ("/var/backups/inference-appliance", "Backups; kept when the package is purged."),
)
_STATUS = (
    ("0", "It worked."),
    ("1", "It did not, and the message says why."),
    ("2", "The command line is wrong."),
    ("69", "The appliance is not running."),
    ("75", "The state directory cannot be used now; trying again later may help."),
    ("78", "The configuration is wrong; trying again does not help."),
)
_COMPLETION = """\
# Completion of `appliance` and `inference-appliance`: the program itself tells what may follow.
_inference_appliance() {
    local line kind value
    COMPREPLY=()
    while IFS= read -r line; do
        kind="${line%%,*}"
        value="${line#*,}"
        case "$kind" in
            dir) mapfile -t COMPREPLY < <(compgen -d -- "${COMP_WORDS[COMP_CWORD]}") ;;
            file) mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
        _APPLIANCE_COMPLETE=bash_complete appliance 2>/dev/null)
}
complete -o nosort -F _inference_appliance appliance inference-appliance
"""


def main() -> None:
    """Write every generated text."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    texts = {
        "inference-appliance.1": _command_page(),
        "inference-appliance.toml.5": _settings_page(),
        "config.default.toml": sample(),
        "inference-appliance.bash-completion": _COMPLETION,
    }
    for name, text in texts.items():
        (OUTPUT / name).write_text(text, encoding="utf-8")
    print(f"wrote {', '.join(texts)}")


def _title(name: str, section: int, subject: str) -> str:
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=UTC)
    return (
        f'.TH "{name.upper()}" "{section}" "{moment:%Y-%m-%d}" "inference-appliance {__version__}"'
        f' "Inference appliance"\n.SH NAME\n{name} \\- {subject}'
    )


def _command_page() -> str:
    lines = [
        _title("inference-appliance", 1, "a private inference appliance"),
        ".SH SYNOPSIS\n.B appliance\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        _roff(cli.help or ""),
        ".PP\n.B inference-appliance\nis another name of the same program.",
        ".SH OPTIONS",
        *_options(cli, click.Context(cli, info_name="appliance")),
        ".SH COMMANDS",
    ]
    for path, command in _walk(cli, ()):
        context = click.Context(command, info_name=path[-1])
        arguments = " ".join(command.collect_usage_pieces(context))
        lines.append(f".SS {_roff(' '.join(('appliance', *path)))} {_roff(arguments)}")
        lines.append(_roff(command.help or ""))
        lines += _options(command, context)
    lines.append(".SH EXIT STATUS")
    lines += [f".TP\n.B {number}\n{_roff(meaning)}" for number, meaning in _STATUS]
    lines.append(".SH FILES")
    lines += [f".TP\n.I {_roff(path)}\n{_roff(meaning)}" for path, meaning in _FILES]
    lines.append(
        ".SH SEE ALSO\n.BR inference-appliance.toml (5),\n.BR inference-appliance.service (8)"
    )
    return "\n".join(lines) + "\n"


def _walk(
    group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _walk(command, (*path, name))
        else:
            yield (*path, name), command


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [each.get_help_record(context) for each in command.get_params(context)]
    return [f".TP\n.B {_roff(names)}\n{_roff(text)}" for names, text in filter(None, records)]


def _settings_page() -> str:
    lines = [
        _title("inference-appliance.toml", 5, "settings of the inference appliance"),
        ".SH DESCRIPTION",
        _roff(
            "Settings are read from /etc/inference-appliance/config.toml, then from conf.d/*.toml"
            " beside it in the order of their names, then from environment variables"
            " APPLIANCE_<SECTION>__<KEY>; what is read later wins. Check them with 'appliance"
            " config check', see all in force and where each comes from with 'appliance config"
            " show', then 'systemctl restart inference-appliance'."
        ),
    ]
    for section in sections().values():
        lines += [f".SH [{section.name}]", _roff(section.description)]
        for key in section.keys.values():
            meaning, values = key_notes(key)
            default = value_text(key.default)
            lines.append(
                f".TP\n.B {_roff(key.name)}\n{_roff(meaning)}\n{_roff(values)}\nDefault:\n"
                f".B {_roff(default)}"
            )
    lines.append(".SH SEE ALSO\n.BR inference-appliance (1),\n.BR inference-appliance.service (8)")
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Given text, return it as one paragraph of troff with nothing of it taken for a request."""
    paragraphs = []
    for block in text.replace("\f", "\n").split("\n\n"):
        words = " ".join(block.split()).replace("\\", "\\e").replace("-", "\\-")
        words = words.replace('"', "\\(dq")
        paragraphs.append(f"\\&{words}" if words.startswith((".", "'")) else words)
    return "\n.PP\n".join(paragraphs)


if __name__ == "__main__":
    main()
