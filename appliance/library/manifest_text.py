"""A manifest as the TOML text of `manifest.toml`: what is at its default is left out."""

from typing import Any

import msgspec

from appliance.library.manifest import Manifest


def manifest_text(manifest: Manifest) -> str:
    """Given a manifest, return the text that `read_manifest` reads as the same manifest."""
    plain = msgspec.to_builtins(_Sparse.of(manifest))
    tables = {name: plain.pop(name) for name in ("batching", "settings") if plain.get(name)}
    lists = {name: plain.pop(name) for name in ("inputs", "outputs") if plain.get(name)}
    lines = [f"{name} = {_value(value)}" for name, value in plain.items()]
    for name, items in lists.items():
        for item in items:
            lines += ["", f"[[{name}]]"]
            lines += [f"{key} = {_value(value)}" for key, value in item.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


class _Sparse:
    """Leaves out of a manifest what is at its default; names and tensors are always told."""

    _ALWAYS = frozenset({"manifest_version", "name", "version", "task", "precision", "tensor"})

    @classmethod
    def of(cls, value: Any) -> Any:
        """Given a struct, return a mapping of what differs from its defaults."""
        if isinstance(value, msgspec.Struct):
            return {
                field.encode_name: cls.of(getattr(value, field.name))
                for field in msgspec.structs.fields(value)
                if field.name in cls._ALWAYS
                or getattr(value, field.name) not in (field.default, {})
            }
        if isinstance(value, tuple | list):
            return [cls.of(item) for item in value]
        return value


def _key(text: str) -> str:
    is_bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if is_bare else _value(text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings escape like JSON's, but for DEL; lone surrogates no file can hold.
        clean = value.encode("utf-8", "replace").decode()
        return msgspec.json.encode(clean).decode().replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    return str(value)
