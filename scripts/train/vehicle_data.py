"""Pictures of the vehicle-type data set, held in memory as bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import numpy as np
import torch
from PIL import Image

CLASS_NAMES = ("bike", "car", "juggernaut", "minibus", "pickup", "truck")
PICTURE_SIZE_PX = 100
PIXEL_MEAN = (127.5, 127.5, 127.5)
PIXEL_SCALE = (63.75, 63.75, 63.75)


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """Pictures u8[N,3,100,100] (RGB) with their labels i64[N] and digests."""

    pictures: torch.Tensor
    labels: torch.Tensor
    digests: tuple[str, ...]

    def take(self, indices: list[int]) -> PictureSet:
        """Given positions, do pick those pictures and return them as a new set."""
        chosen = torch.tensor(indices, dtype=torch.long)
        return PictureSet(
            self.pictures[chosen], self.labels[chosen], tuple(self.digests[i] for i in indices)
        )


def read_pictures(folder: pathlib.Path) -> PictureSet:
    """Given a folder with one sub-folder a class, do decode every picture and return the set."""
    pictures: list[np.ndarray] = []
    labels: list[int] = []
    for label, name in enumerate(CLASS_NAMES):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
            if picture.size != (PICTURE_SIZE_PX, PICTURE_SIZE_PX):
                picture = picture.resize((PICTURE_SIZE_PX, PICTURE_SIZE_PX), Image.BICUBIC)
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
            labels.append(label)
    digests = tuple(hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures)
    return PictureSet(torch.from_numpy(np.stack(pictures)), torch.tensor(labels), digests)


def drop_duplicates(train: PictureSet, other: PictureSet) -> PictureSet:
    """Given two sets, do drop training pictures that occur twice or in the other set.

    One of two equal pictures with the same label stays; equal pictures with different labels
    all go. Return the cleaned training set.
    """
    labels_by_digest: dict[str, set[int]] = {}
    for digest, label in zip(train.digests, train.labels.tolist(), strict=True):
        labels_by_digest.setdefault(digest, set()).add(label)
    kept: list[int] = []
    seen = set(other.digests)
    for position, digest in enumerate(train.digests):
        if digest not in seen and len(labels_by_digest[digest]) == 1:
            kept.append(position)
        seen.add(digest)
    return train.take(kept)


def split_fold(pictures: PictureSet, fold_share: float) -> tuple[PictureSet, PictureSet]:
    """Given a set and a share, do hold out that share by digest and return (rest, held out).

    The digest decides, so the same picture always lands on the same side.
    """
    limit = int(fold_share * 16**8)
    held = [i for i, digest in enumerate(pictures.digests) if int(digest[:8], 16) < limit]
    held_positions = set(held)
    rest = [i for i in range(len(pictures.digests)) if i not in held_positions]
    return pictures.take(rest), pictures.take(held)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Given pictures u8[N,3,H,W], do apply the manifest's mean and scale and return f32."""
    mean = torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1)
    scale = torch.tensor(PIXEL_SCALE).view(1, 3, 1, 1)
    return (pictures.float() - mean) / scale
