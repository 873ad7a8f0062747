"""The child process of files.py: limits itself, reads a picture from standard input, draws it anew as a JPEG.

What is drawn anew carries nothing of the old file but its looks: no place, no camera, no hidden payload.
"""

import io
import json
import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def main() -> int:
    """Exit 0 with a line of JSON ({"width", "height"} or {"refused": code}) and the JPEG; anything else is a crash."""
    memory_bytes, cpu_seconds, pixels_max, side_pixels_max = (int(value) for value in sys.argv[1:5])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        head, drawn = draw(sys.stdin.buffer.read(), pixels_max, side_pixels_max)
    except MemoryError:
        head, drawn = {"refused": "file_too_heavy"}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + drawn)
    sys.stdout.flush()
    return 0


def draw(data: bytes, pixels_max: int, side_pixels_max: int) -> tuple[dict[str, object], bytes]:
    """What is said of the picture, and the new one."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    formats = ["JPEG", "PNG", "WEBP", "GIF", "BMP"]
    if data[4:8] == b"ftyp":
        formats = ["HEIF"]
        _open_heif()
    # Ours is checked below, before a pixel is unpacked.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            if picture.width * picture.height > pixels_max:
                return {"refused": "file_too_many_pixels"}, b""
            # Many times faster for a JPEG, which can be unpacked at half its size.
            picture.draft("RGB", (side_pixels_max, side_pixels_max))
            turned = ImageOps.exif_transpose(picture)
            turned.thumbnail((side_pixels_max, side_pixels_max))
            # Not the opened picture itself: saving that would write its comments along.
            drawn = _on_white(turned)
            new = io.BytesIO()
            drawn.save(new, "JPEG", quality=85, optimize=True)
            return {"width": drawn.width, "height": drawn.height}, new.getvalue()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError):
        return {"refused": "file_broken"}, b""


def _open_heif() -> None:
    """Teach Pillow the photos of iPhones; loaded only when there is one."""
    import pi_heif  # type: ignore[import-untyped]

    pi_heif.register_heif_opener(thumbnails=False)
    # Each thread would take its stack from the little memory there is.
    pi_heif.options.DECODE_THREADS = 1


def _on_white(picture: "Image.Image") -> "Image.Image":
    """A new picture; what shows through is white, as on paper."""
    from PIL import Image

    new = Image.new("RGB", picture.size, "white")
    if picture.mode == "RGB":
        new.paste(picture)
    else:
        over = picture.convert("RGBA")
        new.paste(over, mask=over.getchannel("A"))
    return new


if __name__ == "__main__":
    sys.exit(main())
