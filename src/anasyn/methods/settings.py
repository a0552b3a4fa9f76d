"""The settings of methods: their meanings, their ranges, and the values chosen from the data. Imports no torch."""

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from ..errors import InputError

if TYPE_CHECKING:
    from ..data import ImageSet

__all__ = ["GROUPS", "ChainSettings", "Kernel", "Precision", "Scale", "Settings", "choices_of",
           "default_size", "height_and_width", "kinds_of", "parse_size", "setting"]  # fmt: skip

Precision = Literal["auto", "float32", "bfloat16"]
Kernel = Literal["auto", "langevin", "mala", "hmc"]
GROUPS = ("data", "model", "chains", "learning", "machine")  # of the settings in `anasyn learn RECIPE --help`
SIDES = range(16, 513)  # pixels


def setting(
    default: Any,
    meaning: str,
    group: str,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    parse: Callable[[Any], Any] | None = None,
) -> Any:
    """A field of a method's settings.

    Args:
        default: None if the value is chosen from the data.
        meaning: a line for the help and the report.
        group: one of `GROUPS`.
        above, least, most: the range of a number.
        parse: converts an argument of the command line to the value; raises ValueError with what it expects.
    """
    assert group in GROUPS
    bounds = {"above": above, "least": least, "most": most}
    return field(default=default, metadata={"meaning": meaning, "group": group, "parse": parse, **bounds})


def parse_size(value: int | str, sides: range = SIDES) -> int | str:
    """A size in its canonical form: 64 for 64, "64" and "64x64", and "96x64" (height x width) unchanged.

    Raises:
        ValueError: it has none of these forms, or a side is outside ``sides``.
    """
    words = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", str(value))
    height, width = (int(words[1]), int(words[2] or words[1])) if words else (0, 0)
    if isinstance(value, bool) or height not in sides or width not in sides:
        raise ValueError(f"expected {sides[0]} to {sides[-1]} pixels, as 64 or as 96x64 (height x width)")
    return height if height == width else f"{height}x{width}"


def height_and_width(size: int | str) -> tuple[int, int]:
    """(H, W) of a size."""
    height, _, width = str(size).partition("x")
    return int(height), int(width or height)


@dataclass(frozen=True)
class Scale:
    """The properties of the data and of the machine from which open settings are chosen."""

    num_images: int
    smaller_side: int  # pixels, median over the images
    has_bfloat16: bool  # whether the processor multiplies bfloat16 natively
    channels: int = 3  # 1 if every image is grey
    spread: float = math.inf  # standard deviation of the pixels around the mean image, in [−1, 1]


@dataclass(frozen=True)
class Settings:
    """The settings of every method."""

    data: str | None = setting(
        None,
        "folder of images, FILE.tar, shards-{000..099}.tar, hf:NAME[:SPLIT] of Hugging Face, or the name of a set that "
        "`anasyn data list` shows",
        "data",
    )
    fit: Literal["crop", "stretch"] = setting(
        "crop", "how an image is brought to the size: its centre is cut out, or all of it is resized", "data"
    )
    size: int | str | None = setting(None, "pixels: side, or height x width as in 96x64", "data", parse=parse_size)
    channels: Literal["auto", "1", "3"] = setting("auto", "1: grey, 3: colour; auto: 1 if all images are grey", "data")
    hold_out: float | None = setting(
        None, "share of the images kept aside, for `anasyn evaluate` and to learn sigma", "data", least=0, most=0.5
    )
    batch_size: int | None = setting(None, "images in an iteration", "learning", least=1)
    iterations: int | None = setting(None, "number of learning iterations", "learning", least=1)
    schedule: Literal["linear", "constant"] = setting(
        "linear", "the learning rate decreases linearly to 0, or is constant", "learning"
    )
    guard: Literal["on", "off"] = setting(
        "on", "check every iteration, and return to an earlier state when learning diverges", "learning"
    )
    seed: int = setting(0, "seed of every random number", "learning", least=0, most=2**63 - 1)
    precision: Precision = setting(
        "auto", "of the network's arithmetic in learning; auto: bfloat16 if the processor supports it", "machine"
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "auto: a GPU if there is one", "machine")

    def __post_init__(self) -> None:
        for each in fields(self):
            check(each, getattr(self, each.name))

    def resolve(self, scale: Scale) -> Self:
        """The settings with every open value chosen for these data and this machine."""
        raise NotImplementedError

    def filled(self, scale: Scale, /, *, batch_size: int, **choices: Any) -> Self:
        """The settings with this batch size, and with these choices where a setting is open."""
        choices = {"size": default_size(scale.smaller_side), "hold_out": 0.0, **choices}
        chosen = {name: value for name, value in choices.items() if getattr(self, name) is None}
        if self.channels == "auto":
            chosen["channels"] = str(scale.channels)
        if self.precision == "auto":
            chosen["precision"] = "bfloat16" if scale.has_bfloat16 else "float32"
        return replace(self, **chosen, batch_size=batch_size)

    def absolute(self) -> Self:
        """The settings with paths that are valid in any working directory."""
        from ..data.sources import full

        return self if self.data is None else replace(self, data=full(self.data))

    def for_data(self, data: str) -> Self:
        """The settings with which other data than the run's own are read, into the same size and channels."""
        return replace(self, data=data)

    def read(self, size: tuple[int, int] | None, channels: int | None, *, strict: bool = False) -> "ImageSet":
        """The images that ``data`` names, (height, width) in size.

        Args:
            size: (height, width) in pixels; None for the `default_size` of these images.
            channels: 1 or 3; None for 1 if every image is grey and 3 otherwise.
            strict: refuse a file that cannot be read, which is otherwise skipped.

        Raises:
            InputError: there are no such data, too few of them, or a setting does not suit them.
        """
        from ..data.sources import load

        assert self.data is not None
        return load(self.data, size or default_size, fit=self.fit, channels=channels, strict=strict)

    def read_damaged(self, data: str, masks: str | None) -> "ImageSet":
        """Images to be restored, of which transparent pixels are hidden, and those that are dark in a mask.

        Args:
            data: as for ``data``.
            masks: a folder of masks of the images' names, if there is one.

        Raises:
            InputError: there are no such images, or the masks do not suit them.
        """
        from ..data.sources import load

        channels, height, width = self.shape
        size = height, width
        return load(data, size, fit=self.fit, channels=channels, transparent="hidden", masks=masks)

    @property
    def uses_labels(self) -> bool:
        """Whether learning depends on the classes of the images."""
        return False

    @property
    def in_order(self) -> bool:
        """Whether the images are the frames of a film."""
        return False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, H, W) of an image, of resolved settings."""
        assert self.size is not None
        return int(self.channels), *height_and_width(self.size)

    def num_held_out(self, num_images: int) -> int:
        """The number of images that are kept aside, of so many.

        Raises:
            InputError: it is one, of which nothing can be said, or fewer than two images would be left.
        """
        num = round((self.hold_out or 0) * num_images)
        if num == 1 or num > max(num_images - 2, 0):
            expected = f"expected 0, or a share that keeps two or more of {num_images} images aside and leaves two"
            raise InputError(f"hold_out: {expected}; {self.hold_out:g} keeps {num}")
        return num

    def remarks(self) -> Iterator[str]:
        """Remarks for the user about these settings, printed before learning starts."""
        yield from ()


@dataclass(frozen=True)
class ChainSettings(Settings):
    """The settings of methods that learn a network by gradient steps, with MCMC in every iteration."""

    network: str = setting(
        "built-in", "built-in, or package.module:function, which takes the settings and returns a module", "model"
    )
    width: int | None = setting(None, "channels of the built-in network's widest layer", "model", least=8, most=4096)
    kernel: Kernel = setting("mala", "MCMC transition; auto: the one that suits the other settings", "chains")
    step_size: float | None = setting(
        0.03, "δ of the Langevin kernels, ε of HMC; the initial value if it is adapted", "chains", least=1e-6, most=1e3
    )
    leapfrog_steps: int = setting(5, "leapfrog steps in an HMC transition", "chains", least=1)
    temperature: float = setting(
        1.0, "of unadjusted Langevin; values other than 1 do not sample the model's density", "chains", above=0
    )
    num_steps: int | None = setting(None, "MCMC transitions in an iteration", "chains", least=1)
    optimizer: Literal["adam", "sgd"] = setting("adam", "algorithm that updates the weights", "learning")
    learning_rate: float | None = setting(0.003, "learning rate γ at the first iteration", "learning", above=0)
    beta1: float = setting(0.5, "Adam's β₁, or SGD's momentum", "learning", least=0, most=0.9999)
    beta2: float = setting(0.999, "Adam's β₂", "learning", least=0, most=0.999999)
    average: float = setting(
        0.0,
        "decay of the exponential moving average of the weights, with which samples, evaluation and report are made; "
        "0: none",
        "learning",
        least=0,
        most=0.9999,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature != 1 and self.kernel not in ("auto", "langevin"):
            got = f"expected 1 with {self.kernel}, got {self.temperature:g}"
            raise InputError(f"temperature: only kernel langevin has one; {got}")

    def filled(self, scale: Scale, /, *, batch_size: int, kernel: Kernel = "mala", **choices: Any) -> Self:
        """As for `Settings`, with this kernel where it is open."""
        filled = super().filled(scale, batch_size=batch_size, **choices)
        return replace(filled, kernel=kernel) if self.kernel == "auto" else filled

    def remarks(self) -> Iterator[str]:
        if self.temperature != 1:
            yield f"temperature is not 1: chains sample p^(1/{self.temperature:g}), not the model's density"


def default_size(smaller_side: int) -> int:
    """64 pixels, or 32 for images that are hardly larger; ``smaller_side`` is the median over the images, in pixels."""
    return 64 if smaller_side >= 48 else 32


def check(each: dataclasses.Field[Any], value: Any) -> None:
    """Raises `InputError` if the value of a setting is not allowed; the message names the setting and its range."""
    choices, parse = choices_of(each), each.metadata["parse"]
    if choices:
        if value not in choices:
            raise InputError(f"{each.name}: expected one of {', '.join(choices)}, got {value!r}")
        return
    if value is None and type(None) in get_args(each.type):
        return
    kinds = kinds_of(each)
    if type(value) not in ((int, *kinds) if float in kinds else kinds):
        raise InputError(f"{each.name}: expected {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    if parse:
        try:
            canonical = parse(value)
        except ValueError as cause:
            raise InputError(f"{each.name}: {cause}, got {value!r}") from cause
        if canonical != value:
            raise InputError(f"{each.name}: expected {canonical!r}, got {value!r}")
        return
    if isinstance(value, str):
        return
    above, least, most = (each.metadata[bound] for bound in ("above", "least", "most"))
    wrong = (
        (float in kinds and not abs(value) <= sys.float_info.max)  # NaN, infinite, or an integer beyond floats
        or (above is not None and value <= above)
        or (least is not None and value < least)
        or (most is not None and value > most)
    )
    if wrong:
        bounds = [f"above {above:g}" if above is not None else "", f"at least {least:g}" if least is not None else ""]
        bounds += [f"at most {most:g}" if most is not None else ""]
        raise InputError(f"{each.name}: expected a finite number {' and '.join(filter(None, bounds))}, got {value}")


def kinds_of(each: dataclasses.Field[Any]) -> tuple[type, ...]:
    """The types that a setting may have, except None."""
    return tuple(kind for kind in get_args(each.type) or (each.type,) if kind is not type(None))


def choices_of(each: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The words that are allowed for a setting; empty if it is not a choice between words."""
    return get_args(each.type) if str(each.type).startswith("typing.Literal") else ()
