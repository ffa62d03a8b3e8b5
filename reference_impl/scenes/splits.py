"""Which photos train and which test: the published few-view protocols, as data and pure functions.

Numbers from different splits cannot be compared, so a split is always printed with a run.
"""

__all__ = [
    "BLENDER_8_VIEWS",
    "BLENDER_TEST_EVERY",
    "DTU_EXCLUDED",
    "DTU_SCANS",
    "DTU_TRAIN",
    "EVENLY_SPACED",
    "blender",
    "dtu",
    "evenly_spaced",
    "validation",
]

# The eight training frames (by file number) of the Blender scenes that DietNeRF drew and FreeNeRF,
# DNGaussian and CoR-GS kept; they test on every 8th test frame.
BLENDER_8_VIEWS: tuple[int, ...] = (2, 16, 26, 55, 73, 76, 86, 93)
BLENDER_TEST_EVERY = 8

# pixelNeRF's protocol for DTU, as in RegNeRF: 0-based views in the order in which 3, 6 or 9 are
# taken, views left out for their bad exposure, and the 15 scans of the tables.
DTU_TRAIN = (25, 22, 28, 40, 44, 48, 0, 8, 13)
DTU_EXCLUDED = (3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 36, 37, 38, 39)
DTU_SCANS = (8, 21, 30, 31, 34, 38, 40, 41, 45, 55, 63, 82, 103, 110, 114)
DTU_VIEWS = 49

# Ours: of the views that neither train nor test, as many serve for choosing settings.
VALIDATION_VIEWS = 8

# For printing: number of images, number of training views.
EVENLY_SPACED = "every 8th of {} views tests; {} evenly spaced of the rest train"


def evenly_spaced(
    n_images: int, n_views: int, *, every: int = 8, offset: int = 0
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
    return [rest[i] for i in _spread(len(rest), n_views)], test


def validation(n_images: int, used: list[int]) -> list[int]:
    """Choose at most 8 views, evenly spread over those that neither train nor test.

    Args:
        n_images: number of images.
        used: indices of the training and test views.
    """
    rest = [i for i in range(n_images) if i not in set(used)]
    return [rest[i] for i in _spread(len(rest), min(len(rest), VALIDATION_VIEWS))] if rest else []


def blender(
    train_frames: list[int], test_frames: list[int], n_views: int
) -> tuple[list[int], list[int], str]:
    """Choose frames of a Blender scene by their file numbers.

    Args:
        train_frames: file numbers of the training frames at hand.
        test_frames: file numbers of the test frames at hand.
        n_views: 8 for the published list, if its frames are at hand; other numbers spread evenly.

    Returns:
        File numbers of the training and of the test frames, ascending, and the rule in words.

    Raises:
        ValueError: there are fewer training frames than ``n_views``, or ``n_views`` < 1.
    """
    frames = sorted(train_frames)
    if n_views == len(BLENDER_8_VIEWS) and set(BLENDER_8_VIEWS) <= set(frames):
        train, rule = list(BLENDER_8_VIEWS), "the 8 views of DietNeRF and FreeNeRF"
    else:
        train = [frames[i] for i in _spread(len(frames), n_views)]
        rule = f"{n_views} evenly spaced of {len(frames)} training frames"
    test = [frame for frame in sorted(test_frames) if frame % BLENDER_TEST_EVERY == 0]
    return train, test, f"{rule}; test: every {BLENDER_TEST_EVERY}th test frame"


def dtu(n_views: int) -> tuple[list[int], list[int]]:
    """Give pixelNeRF's 0-based training (in its order) and test views of a DTU scan.

    Raises:
        ValueError: ``n_views`` is not in 1…9.
    """
    if not 1 <= n_views <= len(DTU_TRAIN):
        raise ValueError(
            f"the DTU protocol has 1 to {len(DTU_TRAIN)} training views, not {n_views}"
        )
    left_out = {*DTU_TRAIN, *DTU_EXCLUDED}
    return list(DTU_TRAIN[:n_views]), [i for i in range(DTU_VIEWS) if i not in left_out]


def _spread(n: int, n_views: int) -> list[int]:
    """Round linspace(0, n − 1, n_views)."""
    if n_views < 1:
        raise ValueError(f"at least one training view is needed, got {n_views}")
    if n_views > n:
        raise ValueError(f"{n_views} training views asked for, but only {n} images may train")
    return [round(i * (n - 1) / (n_views - 1)) for i in range(n_views)] if n_views > 1 else [0]
