"""Which photographs are held out: whole photographs, by a hash of their names."""

from pretrain_flow.draws import fraction_of


def is_held_out(name: str, fraction: float, seed: int) -> bool:
    """Whether a photograph is held out.

    A photograph's name alone decides, so that others may come and go beside it.
    """
    return fraction_of("split", seed, name) < fraction


def split_names(names: list[str], fraction: float, seed: int) -> set[str]:
    """Choose the photographs of a folder that are held out: at least one, and never all.

    Raises:
        ValueError: there is only one.
    """
    ordered = sorted({*names}, key=lambda name: fraction_of("split", seed, name))
    if len(ordered) < 2:
        raise ValueError(
            "--images: one photograph cannot be split into training and held-out ones; add"
            " photographs, or give --heldout"
        )
    n = sum(is_held_out(name, fraction, seed) for name in ordered)
    return {*ordered[: min(max(n, 1), len(ordered) - 1)]}
