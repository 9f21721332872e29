"""Draws vehicles as a traffic camera sees them, so that samples need no photographs.

Each vehicle is a few side profiles (metres: forward, up) pulled across its width, seen from
above at an angle on grey asphalt. `python scripts/train/drawn_vehicles.py OUT_FOLDER` writes one
100x100 PNG and one 640x480 JPEG of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import pathlib
import random

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Profile = list[tuple[float, float]]
SUPERSAMPLING = 4
GLASS: Colour = (52, 58, 66)
TYRE: Colour = (38, 38, 40)
RIM: Colour = (150, 152, 155)
BED: Colour = (158, 164, 168)


def shade(colour: Colour, factor: float) -> Colour:
    """Given a colour and a factor, do lighten or darken it and return the new colour."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in colour)
    return red, green, blue


@dataclasses.dataclass(frozen=True)
class Camera:
    """Where metres of forward, across (away) and up land on a canvas of 100x100 units."""

    origin: tuple[float, float]
    units_per_metre: float
    slope: float = 0.30
    across: tuple[float, float] = (-0.04, -0.72)
    up: float = -0.86

    def place(self, forward: float, across: float, up: float) -> tuple[float, float]:
        """Given a point in metres, do project it and return canvas units."""
        scale = self.units_per_metre
        x_units = self.origin[0] + scale * (forward + across * self.across[0])
        y_units = self.origin[1] + scale * (
            forward * self.slope + across * self.across[1] + up * self.up
        )
        return x_units, y_units


class Canvas:
    """A picture drawn in units of a hundredth of its sides, smoothed when finished."""

    def __init__(self, size_px: tuple[int, int], camera: Camera, seed: int) -> None:
        """Given the size, the camera and a seed, do start a canvas of grey asphalt."""
        self.size_px = size_px
        self.camera = camera
        self.chance = random.Random(seed)
        wide = (size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING)
        self.picture = Image.new("RGB", wide, (146, 150, 148))
        self.pen = ImageDraw.Draw(self.picture)
        self._asphalt()

    def _pixels(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Given canvas units, do scale them and return supersampled pixels."""
        return [(x * self.picture.width / 100, y * self.picture.height / 100) for x, y in points]

    def _asphalt(self) -> None:
        """Given nothing, do draw road stains, a lane line and a crossing; return nothing."""
        slope = 0.36
        for _ in range(260):
            x, y = self.chance.uniform(-10, 100), self.chance.uniform(-20, 100)
            length, level = self.chance.uniform(4, 30), self.chance.randint(136, 158)
            colour = (level, level + 3, level + 1)
            self.flat(
                [
                    (x, y),
                    (x + length, y + length * slope),
                    (x + length, y + 1.4 + length * slope),
                    (x, y + 1.4),
                ],
                colour,
            )
        self.flat([(0, 6), (100, 42), (100, 43.5), (0, 7.5)], (186, 190, 186))

    def flat(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Given a polygon in canvas units, do fill it; return nothing."""
        self.pen.polygon(self._pixels(points), fill=colour)

    def solid(self, points: list[tuple[float, float, float]], colour: Colour) -> None:
        """Given a polygon in metres, do project and fill it; return nothing."""
        self.flat([self.camera.place(*point) for point in points], colour)

    def disc(self, centre: tuple[float, float, float], radius: float, colour: Colour) -> None:
        """Given a circle in a side plane, do fill it; return nothing."""
        forward, across, up = centre
        turns = [step * math.tau / 24 for step in range(24)]
        self.solid(
            [(forward + radius * math.cos(a), across, up + radius * math.sin(a)) for a in turns],
            colour,
        )

    def wheel(self, forward: float, across: float, radius: float) -> None:
        """Given a wheel's place, do draw tyre and rim; return nothing."""
        self.disc((forward, across + 0.12, radius), radius, shade(TYRE, 0.8))
        self.disc((forward, across, radius), radius, TYRE)
        self.disc((forward, across, radius), radius * 0.58, RIM)
        self.disc((forward, across, radius), radius * 0.22, (90, 92, 95))

    def hull(
        self, profile: Profile, near: float, far: float, colour: Colour, glass_edges: set[int]
    ) -> None:
        """Given a side profile (from rear bottom over the top), do pull it across and fill it.

        Edges named in glass_edges are drawn as windows with a frame. Return nothing.
        """
        for edge, (start, end) in enumerate(itertools.pairwise(profile)):
            steep = abs(end[1] - start[1]) / (math.dist(start, end) + 1e-9)
            lit = 1.12 - 0.24 * steep * (1 if end[1] < start[1] else 1.3)
            face = [
                (start[0], near, start[1]),
                (end[0], near, end[1]),
                (end[0], far, end[1]),
                (start[0], far, start[1]),
            ]
            if not self._faces_camera(face):
                continue
            self.solid(face, shade(colour, lit))
            if edge in glass_edges:
                self.solid(_inset(start, end, near, far), shade(GLASS, 1.15))
        self.solid([(forward, near, up) for forward, up in profile], shade(colour, 0.86))

    def _faces_camera(self, face: list[tuple[float, float, float]]) -> bool:
        """Given a quad, do project it and return whether its outside is seen."""
        points = [self.camera.place(*corner) for corner in face]
        area = 0.0
        for (x_one, y_one), (x_two, y_two) in zip(points, points[1:] + points[:1], strict=True):
            area += x_one * y_two - x_two * y_one
        return area < 0

    def pane(self, profile: Profile, across: float, colour: Colour = GLASS) -> None:
        """Given a polygon on a side plane, do fill it as a pane; return nothing."""
        self.solid([(forward, across, up) for forward, up in profile], colour)

    def shadow(self, length: float, width: float, reach: float) -> None:
        """Given a vehicle's footprint, do darken the ground under and beside it."""
        self.solid(
            [
                (-0.1, width, 0),
                (-0.1, -reach, 0),
                (length + 0.1, -reach, 0),
                (length + 0.35, width * 0.3, 0),
                (length, width, 0),
            ],
            (62, 65, 66),
        )

    def finish(self) -> Image.Image:
        """Given the drawn canvas, do shrink, soften and grain it; return the picture."""
        small = self.picture.resize(self.size_px, Image.Resampling.LANCZOS)
        small = small.filter(ImageFilter.GaussianBlur(max(0.5, self.size_px[0] / 500)))
        grain = Image.new("L", self.size_px)
        grain.putdata([self.chance.randint(118, 138) for _ in range(grain.width * grain.height)])
        return Image.blend(small, Image.merge("RGB", (grain,) * 3), 0.06)


def _inset(
    start: tuple[float, float], end: tuple[float, float], near: float, far: float
) -> list[tuple[float, float, float]]:
    """Given a profile edge, do shrink its face a little; return the smaller face."""
    margin = 0.12 * (far - near)

    def at(share: float) -> tuple[float, float]:
        """Given a share of the edge, do interpolate and return forward and up."""
        return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)

    low, high = at(0.1), at(0.92)
    return [
        (low[0], near + margin, low[1]),
        (high[0], near + margin, high[1]),
        (high[0], far - margin, high[1]),
        (low[0], far - margin, low[1]),
    ]


def draw_car(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw a saloon car and return the picture."""
    canvas = Canvas(size_px, Camera((18, 63), 15.2), 1)
    colour = (196, 200, 204)
    width = 1.72
    canvas.shadow(4.3, width, 0.28)
    lower: Profile = [(0, 0.3), (0.02, 0.85), (0.75, 0.92), (3.0, 0.9), (4.15, 0.72), (4.3, 0.3)]
    canvas.hull(lower, 0, width, colour, set())
    cabin: Profile = [(0.35, 0.9), (1.0, 1.42), (2.35, 1.44), (3.15, 0.88)]
    canvas.hull(cabin, 0.08, width - 0.08, colour, {0, 2})
    canvas.pane([(0.85, 0.95), (1.12, 1.34), (1.68, 1.35), (1.68, 0.95)], 0.07)
    canvas.pane([(1.78, 0.95), (1.78, 1.35), (2.3, 1.34), (2.78, 0.95)], 0.07)
    canvas.pane([(1.72, 0.35), (1.72, 0.95), (1.75, 0.95), (1.75, 0.35)], -0.01, (120, 124, 128))
    canvas.pane([(0.0, 0.28), (0.0, 0.36), (4.3, 0.36), (4.3, 0.28)], -0.01, (70, 72, 75))
    for forward in (0.85, 3.4):
        canvas.wheel(forward, -0.03, 0.33)
    return canvas.finish()


def draw_truck(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw a lorry with an open, loaded bed and return the picture."""
    canvas = Canvas(size_px, Camera((11, 71), 12.6), 2)
    width = 2.1
    canvas.shadow(6.3, width, 0.3)
    canvas.pane([(0.1, 0.45), (0.1, 0.85), (6.0, 0.85), (6.0, 0.45)], 0.15, (58, 60, 64))
    bed: Profile = [(0, 0.85), (0, 1.75), (4.2, 1.75), (4.2, 0.85)]
    canvas.hull(bed, 0, width, BED, set())
    inside = [(0.12, 0.1), (4.08, 0.1), (4.08, width - 0.1), (0.12, width - 0.1)]
    canvas.solid([(forward, across, 1.75) for forward, across in inside], (70, 66, 60))
    for forward in (0.3, 1.6, 2.9):
        load: Profile = [
            (forward, 1.6),
            (forward, 2.15),
            (forward + 1.1, 2.15),
            (forward + 1.1, 1.6),
        ]
        canvas.hull(load, 0.35, width - 0.3, (186, 160, 118), set())
    for up in (0.9, 1.18, 1.46, 1.72):
        canvas.pane([(0, up), (0, up + 0.06), (4.2, up + 0.06), (4.2, up)], -0.01, shade(BED, 0.6))
    for forward in (0.0, 1.02, 2.05, 3.08, 4.12):
        post: Profile = [
            (forward, 0.85),
            (forward, 1.8),
            (forward + 0.1, 1.8),
            (forward + 0.1, 0.85),
        ]
        canvas.pane(post, -0.02, shade(BED, 0.5))
    cab: Profile = [(4.4, 0.5), (4.4, 2.3), (5.45, 2.35), (6.0, 1.45), (6.3, 1.2), (6.3, 0.4)]
    canvas.hull(cab, 0.05, width - 0.05, (216, 219, 222), {2})
    canvas.pane([(4.75, 1.4), (4.75, 2.12), (5.35, 2.14), (5.8, 1.4)], 0.04)
    canvas.pane([(4.4, 0.4), (4.4, 0.6), (6.3, 0.6), (6.3, 0.4)], 0.03, (88, 90, 94))
    for forward in (1.1, 5.4):
        canvas.wheel(forward, -0.03, 0.44)
    return canvas.finish()


def draw_bike(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw a rider on a motorbike and return the picture."""
    canvas = Canvas(size_px, Camera((29, 60), 19.0), 3)
    canvas.flat([(42, 0), (100, 18), (100, 25), (34, 3), (34, 0)], (196, 170, 170))
    canvas.solid([(-0.2, -0.35, 0), (2.1, -0.4, 0), (2.2, 0.1, 0), (0, 0.2, 0)], (72, 74, 75))
    for forward in (0.3, 1.65):
        canvas.disc((forward, 0.1, 0.32), 0.34, TYRE)
        canvas.disc((forward, 0.1, 0.32), 0.19, (112, 112, 112))
        canvas.disc((forward, 0.1, 0.32), 0.08, (60, 60, 60))
    canvas.pane([(0.2, 0.45), (0.1, 0.85), (0.9, 0.8), (1.0, 0.3), (0.6, 0.2)], 0.05, (44, 44, 48))
    canvas.pane([(0.8, 0.75), (0.95, 1.05), (1.35, 1.0), (1.3, 0.6)], 0.0, (170, 36, 34))
    canvas.pane([(1.3, 0.95), (1.36, 1.15), (1.68, 0.35), (1.58, 0.3)], 0.0, (60, 60, 64))
    canvas.pane([(1.22, 1.1), (1.2, 1.2), (1.42, 1.24), (1.42, 1.12)], -0.25, (40, 40, 42))
    canvas.pane(
        [(0.55, 0.8), (0.6, 0.98), (1.12, 0.9), (1.05, 0.4), (0.9, 0.4), (0.88, 0.75)],
        -0.12,
        (40, 46, 66),
    )
    canvas.pane(
        [(0.42, 0.85), (0.45, 1.45), (0.62, 1.68), (0.86, 1.62), (0.9, 1.3), (0.8, 0.85)],
        0.05,
        (44, 70, 120),
    )
    canvas.pane([(0.6, 1.55), (0.78, 1.6), (1.3, 1.2), (1.22, 1.08)], -0.15, (38, 60, 104))
    canvas.disc((0.78, 0.05, 1.86), 0.2, (30, 30, 32))
    canvas.disc((0.86, 0.05, 1.82), 0.1, (150, 112, 92))
    return canvas.finish()


def draw_pickup(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw a double-cab pickup with an open bed and return the picture."""
    canvas = Canvas(size_px, Camera((13, 64), 14.6), 4)
    colour = (60, 92, 150)
    width = 1.85
    canvas.shadow(5.1, width, 0.28)
    lower: Profile = [(0, 0.42), (0, 1.08), (1.6, 1.08), (3.75, 1.05), (4.95, 0.95), (5.1, 0.42)]
    canvas.hull(lower, 0, width, colour, set())
    bed = [
        (0.1, 0.12, 1.08),
        (1.5, 0.12, 1.08),
        (1.5, width - 0.12, 1.08),
        (0.1, width - 0.12, 1.08),
    ]
    canvas.solid(bed, (40, 42, 46))
    canvas.solid(
        [
            (0.1, width - 0.12, 1.08),
            (1.5, width - 0.12, 1.08),
            (1.5, width - 0.5, 1.08),
            (0.1, width - 0.5, 1.08),
        ],
        (84, 86, 90),
    )
    cabin: Profile = [(1.55, 1.06), (1.7, 1.72), (3.05, 1.74), (3.85, 1.04)]
    canvas.hull(cabin, 0.07, width - 0.07, colour, {2})
    canvas.pane([(1.78, 1.12), (1.9, 1.62), (2.36, 1.63), (2.36, 1.12)], 0.06)
    canvas.pane([(2.48, 1.12), (2.48, 1.63), (3.0, 1.62), (3.5, 1.12)], 0.06)
    for forward in (1.0, 4.1):
        canvas.wheel(forward, -0.03, 0.4)
    return canvas.finish()


def draw_minibus(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw a minibus with side windows and return the picture."""
    canvas = Canvas(size_px, Camera((13, 68), 14.2), 5)
    width = 1.95
    canvas.shadow(5.2, width, 0.3)
    body: Profile = [
        (0, 0.35),
        (0.02, 2.1),
        (0.25, 2.3),
        (3.7, 2.3),
        (4.45, 1.3),
        (5.15, 1.05),
        (5.2, 0.35),
    ]
    canvas.hull(body, 0, width, (222, 225, 226), {3})
    for start, end in ((0.3, 1.25), (1.4, 2.4), (2.55, 3.35)):
        canvas.pane([(start, 1.32), (start, 2.0), (end, 2.0), (end, 1.32)], -0.01)
    canvas.pane([(3.48, 1.3), (3.48, 2.0), (3.72, 1.98), (4.2, 1.3)], -0.01)
    canvas.pane([(2.48, 0.5), (2.48, 2.1), (2.51, 2.1), (2.51, 0.5)], -0.01, (130, 134, 136))
    canvas.pane([(0, 0.33), (0, 0.45), (5.2, 0.45), (5.2, 0.33)], -0.01, (84, 86, 90))
    for forward in (1.0, 4.15):
        canvas.wheel(forward, -0.03, 0.37)
    return canvas.finish()


def draw_juggernaut(size_px: tuple[int, int]) -> Image.Image:
    """Given a size, do draw an articulated lorry and return the picture."""
    canvas = Canvas(size_px, Camera((-2, 52), 6.7, slope=0.36, across=(-0.04, -1.2), up=-1.3), 6)
    width = 2.5
    canvas.shadow(15.0, width, 0.4)
    canvas.pane([(0.3, 0.5), (0.3, 1.1), (14.0, 1.1), (14.0, 0.5)], 0.2, (60, 62, 66))
    cab: Profile = [(12.9, 0.6), (12.9, 3.5), (14.1, 3.4), (14.8, 2.5), (15.0, 1.3), (15.0, 0.5)]
    canvas.hull(cab, 0, width, (226, 228, 230), {3})
    canvas.pane([(13.7, 1.9), (13.7, 2.7), (14.2, 2.7), (14.6, 1.9)], -0.02)
    trailer: Profile = [(0, 1.1), (0, 3.9), (12.6, 3.9), (12.6, 1.1)]
    canvas.hull(trailer, 0, width, (190, 196, 202), set())
    canvas.pane([(0, 1.1), (0, 1.4), (12.6, 1.4), (12.6, 1.1)], -0.02, (110, 114, 118))
    for forward in (1.6, 2.9, 4.2, 10.9, 13.9):
        canvas.wheel(forward, -0.03, 0.52)
    return canvas.finish()


DRAWINGS = {
    "bike": draw_bike,
    "car": draw_car,
    "juggernaut": draw_juggernaut,
    "minibus": draw_minibus,
    "pickup": draw_pickup,
    "truck": draw_truck,
}


def write_pictures(folder: pathlib.Path) -> None:
    """Given a folder, do write a small PNG and a large JPEG of every drawing; return nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        draw((100, 100)).save(folder / f"{name}.png", optimize=True)
        draw((640, 480)).save(folder / f"{name}.jpg", quality=88, optimize=True)


def main() -> None:
    """Given the command line, do write the pictures and return nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT_FOLDER")
    write_pictures(parser.parse_args().out)


if __name__ == "__main__":
    main()
