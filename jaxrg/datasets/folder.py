"""Anyone's own images: the files of a folder, cropped and resized to one shape, or refused by name."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxrg.checks import as_count, as_sides, kind_of
from jaxrg.datasets.loaders import Dataset, import_module, make_dataset

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 2**26  # 64 megapixels: beyond the cameras in use, and a quarter of a gigabyte of memory when opened
MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "La", "RGBa")  # at most eight bits a channel; alpha is looked at
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # by content: others may start other programs
MANY_VIEWS = ("MPO",)  # one photograph with previews or depths behind it, as telephones write


def image_folder(
    folder: str | os.PathLike,
    size: tuple[int, int],
    *,
    num_channels: int = 3,
    crop: tuple[int, int] | None = None,
) -> Dataset:
    """Images of a folder and of the folders in it, cropped in the middle and resized, grey levels in [0, 1].

    Files are taken in the order of their names; hidden ones, and those whose names do not end as images do, are passed
    over. Cameras' notes on how an image is to be turned are followed. An image that would lose something on the way is
    refused: one that moves, is transparent somewhere, is meant for print (CMYK), or has more than 8 bits a channel.

    Args:
        folder: holds the files, or one folder of them for each class.
        size: rows and columns to resize to.
        num_channels: 3 for red, green and blue, or 1 for grey.
        crop: rows and columns cut from the middle before; by default the largest part in the proportions of ``size``.

    Returns:
        `Dataset` of ``[num_images, rows, columns, num_channels]``, each value a level of 0 ... 255 over 255; labels
        number the folders that images lie in, which are its class names, "." for ``folder`` itself.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        ValueError: no folder, no image in it, or one that cannot be read, named with the reason.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> Image.new("RGB", (20, 10), (255, 0, 51)).save(folder + "/red.png")
        >>> image_folder(folder, (2, 2)).inputs[0, 0, 0].tolist()
        [1.0, 0.0, 0.20000000298023224]
    """
    place, sides = _as_place(folder), as_sides("size", size)
    cut = None if crop is None else as_sides("crop", crop)
    for name, pair in (("size", sides), ("crop", cut)):
        if pair is not None and len(pair) != 2:
            raise ValueError(f"{name}: expected rows and columns such as (32, 32), got {pair}")
    if as_count("num_channels", num_channels) not in (1, 3):
        raise ValueError(f"num_channels: expected 3 for colours or 1 for grey, got {num_channels}")
    pillow = import_module("PIL.Image", "Pillow"), import_module("PIL.ImageOps", "Pillow")
    files = _files(place)
    classes = sorted({path.parent for path in files})
    levels = np.empty((len(files), sides[0], sides[1], num_channels), np.uint8)
    for number, path in enumerate(files):
        levels[number] = _read(path, sides, cut, num_channels, *pillow)
    labels = np.array([classes.index(path.parent) for path in files])
    inputs = levels.astype(np.float32) / np.float32(255)
    return make_dataset(inputs, labels, [path.relative_to(place).as_posix() for path in classes])


def _as_place(folder: Any) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise ValueError(f"folder: expected the path of a folder, got {kind_of(folder)}")
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise ValueError(f"folder: expected a folder of images, got {place}, which is none")
    return place


def _files(place: Path) -> list[Path]:
    """Sorted by name; links to folders are not followed, as they may lead back."""
    found = []
    for where, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(where) / name for name in names if not name.startswith(".")]
    files = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"folder: expected files that end in {', '.join(SUFFIXES)}, got none in {place}")
    return files


def _refusal(path: Path, expected: str, got: str) -> ValueError:
    return ValueError(f"folder: expected {expected}, got {path}, {got}")


def _read(
    path: Path, sides: tuple[int, ...], cut: tuple[int, ...] | None, num_channels: int, pil: Any, ops: Any
) -> np.ndarray:
    """Levels ``[rows, columns, num_channels]`` of one file."""
    if not path.is_file():
        raise _refusal(path, "a file", "which is none, or a link to nowhere")
    if path.stat().st_size == 0:
        raise _refusal(path, "an image", "which is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is not read; sizes are looked at below
            with pil.open(path, formats=FORMATS) as image:
                columns, rows = image.size
                if columns * rows > MAX_PIXELS:
                    raise _refusal(path, f"at most {MAX_PIXELS:,} pixels", f"of {columns:,} x {rows:,}")
                _check_kind(path, image)
                return _fitted(path, _opaque(path, ops.exif_transpose(image)), sides, cut, num_channels, pil)
    except pil.DecompressionBombError as error:  # raised while the header is read
        raise _refusal(path, f"at most {MAX_PIXELS:,} pixels", "of more") from error
    except ValueError as error:
        if str(error).startswith("folder: "):
            raise
        raise _refusal(path, "an image", f"which cannot be read: {error}") from error
    except Exception as error:  # a broken file makes Pillow raise anything, as SyntaxError, struct.error or EOFError
        raise _refusal(path, "an image", f"which cannot be read: {error or type(error).__name__}") from error


def _check_kind(path: Path, image: Any) -> None:
    if image.format not in MANY_VIEWS and getattr(image, "n_frames", 1) > 1:
        raise _refusal(path, "one still image", f"of {image.n_frames} frames or pages")
    if image.mode not in MODES:
        what = "colours for print (CMYK)" if image.mode == "CMYK" else f"Pillow's mode {image.mode}"
        raise _refusal(path, "grey or RGB of 8 bits a channel", f"which has {what}; convert it first")


def _opaque(path: Path, image: Any) -> Any:
    """The image without an alpha that is full everywhere."""
    if image.mode in ("L", "RGB", "1") and "transparency" not in image.info:
        return image.convert("L") if image.mode == "1" else image
    full = image.convert("RGBA")
    least = full.getchannel("A").getextrema()[0]
    if least < 255:
        raise _refusal(path, "an opaque image", f"with an alpha of {least}; put it on a background first")
    return full.convert("RGB")


def _fitted(path: Path, image: Any, sides: Any, cut: Any, num_channels: int, pil: Any) -> np.ndarray:
    columns, rows = image.size
    if cut is None:
        scale = min(rows / sides[0], columns / sides[1])
        cut = scale * sides[0], scale * sides[1]
    if cut[0] > rows or cut[1] > columns:
        raise _refusal(path, f"at least the {cut[0]} rows and {cut[1]} columns of crop", f"of {rows} and {columns}")
    top, left = (rows - cut[0]) / 2, (columns - cut[1]) / 2
    if isinstance(cut[0], int):  # whole pixels, so that a crop of the final size copies them
        top, left = int(top), int(left)
    image = image.convert("RGB" if num_channels == 3 else "L")
    box = (left, top, left + cut[1], top + cut[0])
    resized = image.resize((sides[1], sides[0]), pil.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.uint8).reshape(sides[0], sides[1], num_channels)
