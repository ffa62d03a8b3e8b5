"""Shards: tar files of photographs, read from their beginning by webdataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain_flow.photographs import SUFFIXES, UnusableError
from pretrain_flow.split import is_held_out
from pretrain_flow.stream import Source


def webdataset() -> Any:
    """The package, or one clear error."""
    try:
        import webdataset
    except ImportError as error:
        raise ImportError('--shards needs: pip install "nerfreg[shards]"') from error
    return webdataset


def expand(pattern: str) -> list[str]:
    """The shards that a pattern with braces names.

    Raises:
        ValueError: a shard that should lie in a folder is not there.
    """
    urls: list[str] = webdataset().shardlists.expand_urls(pattern)
    missing = [url for url in urls if ":" not in url and not Path(url).is_file()]
    if missing:
        raise ValueError(
            f"--shards {pattern}: {len(missing)} of {len(urls)} files are not there, first"
            f" {missing[0]}"
        )
    return urls


@dataclass(frozen=True)
class ShardReader:
    """Reads a shard's photographs for training, or those held out.

    A photograph is named by its shard and its key: shards may number theirs alike.

    Attributes:
        fraction: share of the photographs that is held out, by a hash of their keys; 0: none.
        seed: of that choice.
        held_out: whether to read the held-out photographs instead of the others.
    """

    fraction: float
    seed: int
    held_out: bool = False

    def __call__(self, url: str) -> Iterator[tuple[str, Source]]:
        """Names and files; where the shard is damaged, an error, and the rest is left out."""
        damage = list[Exception]()

        def note(error: Exception) -> bool:
            damage.append(error)
            return False  # no further in this shard

        wds = webdataset()
        try:
            shard = wds.gopen(url)
        except Exception as error:  # a file's, a web server's, a pipe's
            yield url, UnusableError(f"unreadable shard: {error}")
            return
        with shard:
            files = wds.tariterators.tar_file_expander([{"url": url, "stream": shard}], note)
            for sample in wds.tariterators.group_by_keys(files, handler=note):
                key = sample["__key__"]
                if is_held_out(key, self.fraction, self.seed) != self.held_out:
                    continue
                images = [kind for kind in sample if f".{kind.rpartition('.')[2]}" in SUFFIXES]
                unusable = UnusableError("no image among its files")
                yield f"{url}/{key}", sample[images[0]] if images else unusable
        for error in damage:
            yield url, UnusableError(f"damaged shard: {error.args[0] if error.args else error!r}")
