"""Which photos train and which test: the rules of :mod:`reference_impl.protocols` as functions.

Numbers from different splits cannot be compared, so a split is always printed with a run.
"""

from reference_impl.protocols import (
    BLENDER_4,
    BLENDER_8,
    BLENDER_8_FREENERF,
    DTU,
    DTU_18,
    LLFF_REGNERF,
)

__all__ = ["EVENLY_SPACED", "blender", "dtu", "evenly", "evenly_spaced", "validation"]

# Ours: of the views that neither train nor test, as many serve for choosing settings.
VALIDATION_VIEWS = 8

# For printing: number of images, number of training views.
EVENLY_SPACED = "every 8th of {} views tests; {} evenly spaced of the rest train"


def evenly_spaced(
    n_images: int, n_views: int, *, every: int = LLFF_REGNERF.test_every, offset: int = 0
) -> tuple[list[int], list[int]]:
    """Hold out every 8th image for testing and spread the training views evenly over the rest.

    This is RegNeRF's protocol for LLFF, which FreeNeRF and the later papers keep: the positions
    linspace(0, n_rest − 1, n_views) in the list of the rest, rounded half to even.

    Args:
        n_images: number of images, in the order of their names.
        n_views: number of training views.
        every: one image in so many is a test view.
        offset: index of the first test view.

    Returns:
        Indices of the training views and of the test views, both ascending.

    Raises:
        ValueError: there are fewer training images than ``n_views``, or ``n_views`` < 1.
    """
    test = list(range(offset, n_images, every))
    rest = [i for i in range(n_images) if i % every != offset]
    if n_views > len(rest):
        raise ValueError(
            f"{n_views} training views asked for, but of {n_images} images {len(test)} are kept for"
            f" testing (every {every}th), which leaves {len(rest)}"
        )
    return [rest[i] for i in evenly(len(rest), n_views)], test


def validation(n_images: int, used: list[int]) -> list[int]:
    """Choose at most 8 views, evenly spread over those that neither train nor test.

    Args:
        n_images: number of images.
        used: indices of the training and test views.
    """
    rest = [i for i in range(n_images) if i not in set(used)]
    return [rest[i] for i in evenly(len(rest), min(len(rest), VALIDATION_VIEWS))] if rest else []


def blender(
    train_frames: list[int], test_frames: list[int], n_views: int
) -> tuple[list[int], list[int], str]:
    """Choose frames of a Blender scene by their file numbers.

    Args:
        train_frames: file numbers of the training frames at hand.
        test_frames: file numbers of the test frames at hand.
        n_views: 4 or 8 for a published list, if its frames are at hand; other numbers spread
            evenly.

    Returns:
        File numbers of the training and of the test frames, ascending, and the rule in words.

    Raises:
        ValueError: there are fewer training frames than ``n_views``, or ``n_views`` < 1.
    """
    frames = sorted(train_frames)
    published = [
        protocol
        for protocol in (BLENDER_4, BLENDER_8, BLENDER_8_FREENERF)
        if protocol.views == (n_views,) and set(protocol.train) <= set(frames)
    ]
    if published:
        train, rule = sorted(published[0].train), f"the views of protocol {published[0].name}"
    else:
        train = [frames[i] for i in evenly(len(frames), n_views)]
        rule = f"{n_views} evenly spaced of {len(frames)} training frames"
    every = BLENDER_8.test_every
    test = [frame for frame in sorted(test_frames) if frame % every == 0]
    return train, test, f"{rule}; test: every {every}th test frame"


def dtu(n_views: int) -> tuple[list[int], list[int], str]:
    """Give pixelNeRF's 0-based training (in its order) and test views of a DTU scan.

    More than 9 training views leave RegNeRF's reduced test set, 16 of the 25.

    Returns:
        Training and test views, and the rule in words.

    Raises:
        ValueError: ``n_views`` is not in 1…18.
    """
    protocol = DTU if n_views <= len(DTU.train) else DTU_18
    if not 1 <= n_views <= len(protocol.train):
        raise ValueError(
            f"the DTU protocol has 1 to {len(DTU_18.train)} training views, not {n_views}"
        )
    rule = f"the first {n_views} training and the {len(protocol.test)} test views of protocol"
    return list(protocol.train[:n_views]), list(protocol.test), f"{rule} {protocol.name}"


def evenly(n: int, n_views: int) -> list[int]:
    """Choose positions of a list of n, evenly: linspace(0, n − 1, n_views), rounded half to even.

    Raises:
        ValueError: there are fewer than ``n_views``, or ``n_views`` < 1.
    """
    if n_views < 1:
        raise ValueError(f"at least one training view is needed, got {n_views}")
    if n_views > n:
        raise ValueError(f"{n_views} training views asked for, but only {n} images may train")
    return [round(i * (n - 1) / (n_views - 1)) for i in range(n_views)] if n_views > 1 else [0]
