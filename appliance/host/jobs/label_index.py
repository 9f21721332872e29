"""Which of a model's classes a label in somebody's data means."""

import unicodedata
from collections.abc import Iterable, Sequence

from appliance.errors import InvalidInput

_SHOWN = 12


class LabelIndex:
    """Finds classes by label: as written, then without regard to case, spaces, `-` and `_`, as
    one of several names with commas between, then as a number. Threads: any, it is never changed.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._exact: dict[str, int] = {}
        self._alike: dict[str, int] = {}
        for index, label in enumerate(self.labels):
            self._exact.setdefault(label, index)
            self._alike.setdefault(_canonical(label), index)
        for index, label in enumerate(self.labels):  # ImageNet's list synonyms with commas
            for synonym in label.split(","):
                self._alike.setdefault(_canonical(synonym), index)

    def find(self, label: str) -> int | None:
        """Given a label, return its class, or None when the model has no such class."""
        found = self._exact.get(label, self._alike.get(_canonical(label)))
        if found is not None:
            return found
        number = label.strip().removeprefix("class ")
        if number.isascii() and number.isdecimal() and len(number) < 7:
            index = int(number)
            return index if not self.labels or index < len(self.labels) else None
        return None

    def unknown(self, labels: Iterable[str]) -> list[str]:
        """Given labels, return those the model does not know, each once.

        Raise InvalidInput when it knows none of them: then the data is for another model.
        """
        distinct = list(dict.fromkeys(labels))
        strangers = [label for label in distinct if self.find(label) is None]
        if distinct and len(strangers) == len(distinct):
            raise InvalidInput(
                f"The data is labelled {some(distinct)}, but the model knows {some(self.labels)}."
                " None of its labels fits: name the folders, or the labels, as the model does."
            )
        return strangers


def some(labels: Sequence[str]) -> str:
    """Given labels, return the first of them as words, and how many more there are."""
    shown = ", ".join(label[:40] for label in labels[:_SHOWN]) or "none by name"
    more = len(labels) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _canonical(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())
