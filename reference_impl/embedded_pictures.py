"""Pictures inside of a page, as data URIs that together stay below a number of bytes."""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

__all__ = ["EmbeddedPictures"]

# Wider ones are made smaller: a page shows four beside each other.
WIDEST = 400


class EmbeddedPictures:
    """Make ``<img>`` of a folder's pictures until there is no more room.

    Args:
        folder: that the pictures lie in.
        room: bytes for all of them, as they stand in the page.

    Attributes:
        not_shown: name -> why a picture that is there has no ``<img>``.
    """

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room = folder, room
        self.not_shown: dict[str, str] = {}

    def tag(self, name: str, alt: str, *, kind: str = "") -> str:
        """The ``<img>`` of a picture; nothing where it is missing, damaged or too large.

        Args:
            name: of the file, below the folder.
            alt: what it shows, in words.
            kind: of CSS; a picture of no kind is made as small as a page needs it.
        """
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return ""
        except OSError as error:
            self.not_shown[name] = f"cannot be read: {error.strerror}"
            return ""
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "GIF")) as picture:
                picture.load()
                mime = Image.MIME[str(picture.format)]
                if not kind and picture.width > WIDEST:
                    content, mime = _smaller(picture), "image/jpeg"
        # What Pillow raises for torn, foreign and enormous files.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            self.not_shown[name] = "damaged"
            return ""
        return self._embed(content, mime, alt, kind, name)

    def figure(self, figure: Any, alt: str) -> str:
        """The ``<img>`` of a figure of matplotlib."""
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=90)
        return self._embed(file.getvalue(), "image/png", alt, "figure", alt)

    def _embed(self, content: bytes, mime: str, alt: str, kind: str, name: str) -> str:
        text = base64.b64encode(content).decode()
        if len(text) > self.room:
            self.not_shown[name] = "left out for its size"
            return ""
        self.room -= len(text)
        of_kind = f' class="{kind}"' if kind else ""
        return f'<img{of_kind} alt="{escape(alt)}" src="data:{mime};base64,{text}">'


def _smaller(picture: Image.Image) -> bytes:
    height = max(round(picture.height * WIDEST / picture.width), 1)
    file = io.BytesIO()
    small = picture.convert("RGB").resize((WIDEST, height), Image.Resampling.LANCZOS)
    small.save(file, format="JPEG", quality=85)
    return file.getvalue()
