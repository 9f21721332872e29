import json

from appliance.cli.printing import print_json, print_table, printable


def test_control_and_formatting_characters_are_never_printed():
    assert printable("a\x1b[31mb\n\u202ec") == "a\ufffd[31mb\ufffd\ufffdc"
    assert printable("Würfel №7 日本") == "Würfel №7 日本"
    assert printable(None) == ""


def test_a_table_prints_values_as_they_are(capsys):
    print_table(("name", "count"), [("[red]x[/red]", 3), ("\x1b]0;title\x07", None)])
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "\x1b" not in shown


def test_a_wide_row_stays_on_one_line_in_a_pipe(capsys):
    print_table(("a", "b"), [("x" * 90, "y" * 90)])
    assert f"{'x' * 90}  {'y' * 90}" in capsys.readouterr().out


def test_json_is_json(capsys):
    print_json({"name": "a\x1b", "number": 1})
    assert json.loads(capsys.readouterr().out) == {"name": "a\x1b", "number": 1}
