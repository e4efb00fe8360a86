"""Folders of images as people have them: what is read is right, and what cannot be read is named."""

import os
import pathlib
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxrg import datasets

GRADIENT = np.add.outer(8 * np.arange(16), 4 * np.arange(16))[..., None] + np.array([0, 30, 60])
PICTURE = Image.fromarray(GRADIENT.astype(np.uint8))


def levels(dataset: datasets.Dataset) -> np.ndarray:
    return np.round(np.asarray(dataset.inputs) * 255).astype(int)


def test_an_image_of_the_right_size_is_copied(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    found = datasets.image_folder(tmp_path, (16, 16))
    np.testing.assert_array_equal(levels(found)[0], GRADIENT)
    assert found.class_names == (".",)
    assert found.labels.tolist() == [0]


def test_the_middle_is_cut_out_and_resized(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    found = levels(datasets.image_folder(tmp_path, (4, 8), crop=(4, 8)))[0]
    np.testing.assert_array_equal(found, GRADIENT[6:10, 4:12])
    # Twice smaller with a triangle of weights 1/8 3/8 3/8 1/8: the mean on a straight gradient, away from its rim.
    half = levels(datasets.image_folder(tmp_path, (8, 8)))[0]
    mean = GRADIENT.reshape(8, 2, 8, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(half[1:-1, 1:-1], mean[1:-1, 1:-1])
    # A wide image loses its sides by default.
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "b.png")
    np.testing.assert_array_equal(levels(datasets.image_folder(tmp_path, (4, 4)))[1], np.full((4, 4, 3), 200))


def test_folders_are_classes_and_names_give_the_order(tmp_path):
    for name, level in (("dogs/b.png", 3), ("dogs/a.PNG", 2), ("cats/z.png", 1), ("cats/.hidden.png", 9)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), level).save(tmp_path / name)
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    os.symlink(tmp_path, tmp_path / "dogs" / "loop")
    found = datasets.image_folder(tmp_path, (1, 1), num_channels=1)
    assert levels(found).ravel().tolist() == [1, 2, 3]
    assert (found.class_names, found.labels.tolist()) == (("cats", "dogs"), [0, 1, 1])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_grey_palettes_and_opaque_alpha_are_read(tmp_path, mode):
    black = Image.new("RGB", (4, 4))
    black.paste((255, 255, 255), (0, 0, 2, 4))
    black.convert(mode).save(tmp_path / "a.png")
    found = levels(datasets.image_folder(tmp_path, (4, 4)))[0, ..., 1]
    np.testing.assert_array_equal(found, [[255, 255, 0, 0]] * 4)


def test_cameras_notes_are_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, clockwise
    PICTURE.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(levels(datasets.image_folder(tmp_path, (16, 16)))[0], np.rot90(GRADIENT, -1))


def png(columns: int, rows: int, *chunks: bytes) -> bytes:
    """A file whose header says so, whatever follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(part[:4], part[4:]) for part in chunks)


def saved(image: Image.Image, **options):
    return lambda path: image.save(path, **options)


def transparent() -> Image.Image:
    image = PICTURE.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def with_transparent_colour(path: pathlib.Path) -> None:
    PICTURE.quantize(8).save(path, transparency=0)


def cut_short(path: pathlib.Path) -> None:
    PICTURE.resize((64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def moving(path: pathlib.Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (0, 80, 160)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


HOSTILE = {
    "empty.png": (lambda path: path.touch(), "which is empty"),
    "text.jpg": (lambda path: path.write_text("not an image" * 99), "which cannot be read"),
    "header_only.png": (lambda path: path.write_bytes(png(4, 4)), "which cannot be read"),
    "cut.png": (cut_short, "which cannot be read"),
    "cut.jpg": (cut_short, "which cannot be read"),
    "bomb.png": (lambda path: path.write_bytes(png(100_000, 100_000, b"IDAT")), "at most 67,108,864 pixels"),
    "large.png": (lambda path: path.write_bytes(png(10_000, 9_000, b"IDAT")), "at most 67,108,864 pixels"),
    "text_bomb.png": (
        lambda path: path.write_bytes(png(4, 4, b"zTXtbomb\0\0" + zlib.compress(bytes(2**24)), b"IDAT")),
        "which cannot be read",
    ),
    "postscript.png": (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "read"),
    "moving.gif": (moving, "of 3 frames or pages"),
    "moving.png": (moving, "of 3 frames or pages"),
    "pages.tif": (moving, "of 3 frames or pages"),
    "print.jpg": (saved(PICTURE.convert("CMYK")), "colours for print"),
    "deep.png": (saved(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16))), "mode I;16"),
    "floats.tif": (saved(Image.fromarray(np.zeros((4, 4), np.float32))), "mode F"),
    "glass.png": (saved(transparent()), "an opaque image"),
    "palette.gif": (with_transparent_colour, "an opaque image"),
    "nowhere.png": (lambda path: path.symlink_to(path.with_suffix(".gone")), "a link to nowhere"),
    "pipe.png": (os.mkfifo, "which is none"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_cannot_be_taken_are_named(tmp_path, name):
    make, message = HOSTILE[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=rf"folder: .*{name}.*") as error:
        datasets.image_folder(tmp_path, (4, 4))
    assert message in str(error.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_flipped_bytes_give_an_image_or_the_name_of_the_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    PICTURE.save(path)
    whole, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    num_refused = 0
    for _ in range(40):
        flipped = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            flipped[place] ^= int(random.integers(1, 256))
        path.write_bytes(flipped)
        try:
            found = datasets.image_folder(tmp_path, (4, 4))
        except ValueError as error:
            assert f"a.{suffix}" in str(error)  # noqa: PT017
            num_refused += 1
        else:
            assert found.inputs.shape == (1, 4, 4, 3)
    assert num_refused > 0 or suffix in ("bmp", "jpg", "gif")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (4,)}, "size: expected rows and columns"),
        ({"size": 4}, "size: expected a sequence"),
        ({"num_channels": 2}, "num_channels: expected 3 for colours"),
        ({"crop": (17, 4)}, "at least the 17 rows"),
        ({"folder": "gone"}, "folder: expected a folder of images"),
        ({"folder": 3}, "folder: expected the path of a folder, got 3"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    PICTURE.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        datasets.image_folder(**{"folder": tmp_path, "size": (4, 4)} | arguments)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder: expected files that end in .*png.*, got none"):
        datasets.image_folder(tmp_path, (4, 4))


@pytest.mark.parametrize(
    ("load", "module"),
    [(lambda: datasets.image_folder(".", (4, 4)), "PIL.Image"), (datasets.lfw_faces, "skimage.data")],
)
def test_a_missing_package_names_the_extra(load, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"jaxrg\[data\]"):
        load()


def test_faces_are_brighter_than_their_eyes():
    faces = datasets.lfw_faces()
    assert faces.inputs.shape == (200, 25, 25)
    assert np.bincount(faces.labels).tolist() == [100, 100]
    assert (float(faces.inputs.min()), float(faces.inputs.max())) == (0.0, 1.0)
    only = datasets.select_classes(faces, (1,))
    mean = np.asarray(only.inputs).mean(0)
    nose, eyes = mean[10:15, 11:14].mean(), mean[7:10, [6, 7, 17, 18]].mean()
    assert nose > eyes + 0.1
