"""Texts to tokens by a `tokenizer.json`, with the `tokenizers` library.

Only hosts do this: it is native code over bytes from strangers. The library is loaded with the
first tokenizer, so that hosts without one are no larger for it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.errors import ModelInvalid
from appliance.library.checksums import version_words
from appliance.library.manifest import Manifest
from appliance.tasks.contract import Tokens

#: No more characters of a text are looked at than this for each token that will be kept: a word of
#: a megabyte would otherwise cost seconds, and end as one unknown token.
_MOST_CHARACTERS_EACH = 100


class TextTokenizer:
    """The tokenizer of one version. Threads: any number at once; nothing in it changes."""

    def __init__(self, library: Any, *, most_tokens: int) -> None:
        self.most_tokens = most_tokens
        self._library = library
        self._special_tokens = int(library.num_special_tokens_to_add(False))

    def tokens(self, texts: Sequence[str], *, most: int) -> list[Tokens]:
        """Given texts, return the tokens of each, cut to `most`, special tokens included."""
        found = []
        most_characters = most * _MOST_CHARACTERS_EACH
        for encoding, text in zip(
            self._library.encode_batch([text[:most_characters] for text in texts]),
            texts,
            strict=True,
        ):
            ids, is_cut = encoding.ids, len(encoding.ids) > most
            if is_cut:
                ids = self._cut(encoding, most)
            found.append(Tokens(ids, is_cut or len(text) > most_characters))
        return found

    def _cut(self, encoding: Any, most: int) -> list[int]:
        """Return the first tokens of an encoding that fit, with its special tokens around them.

        Done here because the library's own truncation is a setting that all threads share.
        """
        mask = encoding.special_tokens_mask
        leading = next((place for place, is_special in enumerate(mask) if not is_special), 0)
        trailing = self._special_tokens - leading
        if trailing <= 0:
            return list(encoding.ids[:most])
        return [*encoding.ids[: most - trailing], *encoding.ids[-trailing:]]


def read_tokenizer(directory: Path, manifest: Manifest) -> TextTokenizer | None:
    """Given a version's directory and manifest, return its tokenizer, or None where it names none.

    Raise ModelInvalid when its file is missing or cannot be read.
    """
    settings = manifest.tokenizer
    if settings is None:
        return None
    path = directory / settings.file
    whole = version_words(directory)
    if not path.is_file():
        raise ModelInvalid(
            f"{settings.file} is missing from {whole}: its manifest names it in [tokenizer]. Put"
            " the file of the model's author beside the model and import it again."
        )
    # Its own pool of threads would take cores from the models, and does not survive a fork.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        import tokenizers
    except ImportError:
        raise ModelInvalid(
            f"{whole} needs a tokenizer, but the library 'tokenizers' is not installed here."
            " Install the appliance's requirements again."
        ) from None
    try:
        library = tokenizers.Tokenizer.from_file(str(path))
    except Exception as fault:  # the library raises Exception itself
        words = " ".join(str(fault).split())[:200].rstrip(". ")
        raise ModelInvalid(f"{settings.file} of {whole} cannot be read: {words}.") from None
    library.no_truncation()
    library.no_padding()
    return TextTokenizer(library, most_tokens=settings.max_tokens)
