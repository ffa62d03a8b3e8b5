"""Time each regularizer, and measure its memory, against the naive formulation and others' code.

$ python tests/benchmarks/losses.py [--only distortion ray_entropy] [--repeats 7] [--threads 2]

Prints a Markdown table. Times are of forward and backward, the median over repetitions in which
what is compared takes turns, so that a busy machine slows all of it. Ratios are of the fastest
repetitions, which it disturbs least: believe them first, and ask for one thread where others run.
Memory is the most that a step holds at once, its inputs and their gradients aside. Packed samples
are as many on each ray ("packed"), or between none and twice as many ("uneven"); the naive way pads
them, and nerfreg's dense layout, of as many samples, stands beside. Others' code, where installed:
torch_efficient_distloss, and what of nerfacc 0.5 runs without CUDA.
"""

import argparse
import importlib
import inspect
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[2]))

from nerfreg import losses, rays
from tests.benchmarks import naive

Function = Callable[..., Tensor]
Inputs = dict[str, Any]
Step = Callable[[], None]

# What a gradient is asked for, by what is regularized.
OF_RAYS: Mapping[str, Sequence[str]] = {
    "depth_kl": ["weights"],
    "distortion": ["weights"],
    "distortion, with bounds": ["weights", "starts", "ends"],
    "emptiness": ["weights"],
    "information_gain": ["weights", "neighbor_weights"],
    "interlevel": ["proposal_weights"],
    "line_of_sight": ["weights"],
    "mixture_nll": ["weights", "rgb", "scale"],
    "occlusion": ["density"],
    "ray_entropy": ["weights"],
    "opacity": ["weights"],
    "weights_from_density": ["density"],
}
OF_PAIRS: Mapping[str, Sequence[str]] = {
    "depth_continuity": ["rendered"],
    "depth_ranking": ["rendered"],
}
OF_MAPS: Mapping[str, Sequence[str]] = {
    "co_regularization": ["rgb"],
    "depth_mse": ["rendered"],
    "depth_smoothness": ["depth"],
    "edge_aware_smoothness": ["depth"],
    "normal_smoothness": ["normals"],
    "patch_normalized_depth": ["rendered"],
    "pearson_depth": ["rendered"],
    "scale_shift_invariant_depth": ["rendered"],
    "second_order_smoothness": ["depth"],
    "semantic_consistency": ["rgb"],
    "total_variation": ["rgb"],
}
ALL_PAIRS = ("distortion", "interlevel", "information_gain")  # of samples, in the naive way
MAX_GIB = 6.0  # that it may hold, or it is left out
FAR_OFF = {"starts": 1e4, "ends": 1e4 + 1.0, "scale": 1.0}  # what padding holds, if not 0
NOISE = 1.1  # up to which ratio two times are the same
LAUNCH = 2e-4  # seconds of Python that no tensor is large enough to hide


@dataclass
class Row:
    """What is compared.

    Attributes:
        name: of the regularizer, with what else tells it from others.
        layout: of its inputs, in words.
        wanted: arguments that a gradient is asked for.
        ways: functions and their arguments, by ``"nerfreg"``, ``"naive"``, ``"dense"`` or the
            name of a library.
        seconds: of each way, the median.
        fastest: of each way, the least seconds.
        mib: that each way holds at once.
    """

    name: str
    layout: str
    wanted: Sequence[str]
    ways: dict[str, tuple[Function, Inputs]]
    seconds: dict[str, float] = field(default_factory=dict)
    fastest: dict[str, float] = field(default_factory=dict)
    mib: dict[str, float] = field(default_factory=dict)

    def times(self, way: str) -> float:
        """Tell how many times longer another way takes."""
        return self.fastest[way] / self.fastest["nerfreg"]


def function_of(name: str, module: ModuleType) -> Function:
    """Find nerfreg's function, or the naive one, by a row's name."""
    name = name.partition(",")[0]
    return getattr(module, name) if hasattr(module, name) else getattr(rays, name)


def make_step(function: Function, inputs: Inputs, wanted: Sequence[str]) -> Step:
    """Give a function that goes forward and backward once."""
    leaves = {name: inputs[name].clone().requires_grad_() for name in wanted}
    inputs = {**inputs, **leaves}

    def step() -> None:
        value = function(**inputs)
        torch.autograd.grad(value if value.ndim == 0 else value.sum(), list(leaves.values()))

    return step


# Inputs


def draw_samples(lengths: Tensor, generator: torch.Generator) -> tuple[Inputs, Tensor]:
    """Draw the samples of rays of so many intervals, packed, and their ray's number."""
    ray_indices = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    rank = torch.arange(len(ray_indices)) - (lengths.cumsum(0) - lengths)[ray_indices]
    width = 4.0 / lengths[ray_indices]
    starts = 2.0 + rank * width

    def numbers(*shape: int) -> Tensor:
        return torch.rand(len(ray_indices), *shape, generator=generator)

    samples: Inputs = {
        "weights": 0.1 * width + 0.2 * width * numbers(),
        "starts": starts,
        "ends": starts + width * (0.5 + 0.5 * numbers()),
        "density": numbers(),
        "rgb": numbers(3),
        "scale": 0.1 + numbers(3),
    }
    return samples, ray_indices


def draw_rays(lengths: Tensor, generator: torch.Generator) -> tuple[Inputs, Inputs, Inputs]:
    """Draw what losses of rays take: a value a sample, packed; a value a ray; the layout."""
    samples, ray_indices = draw_samples(lengths, generator)
    layout: Inputs = {"ray_indices": ray_indices, "n_rays": len(lengths)}
    for prefix, some in (("proposal_", (lengths + 1) // 2), ("neighbor_", lengths)):
        more, layout[f"{prefix}ray_indices"] = draw_samples(some, generator)
        samples |= {f"{prefix}{name}": more[name] for name in ("weights", "starts", "ends")}
    numbers = torch.rand(len(lengths), 6, generator=generator)
    per_ray: Inputs = {
        "depth": 2.0 + 4.0 * numbers[:, 0],
        "std": 0.1 + numbers[:, 1],
        "uncertainty": numbers[:, 2],
        "opacity": 0.2 + numbers[:, 2],
        "target": numbers[:, 3:],
    }
    return samples, per_ray, layout


def draw_maps(shape: tuple[int, int, int], generator: torch.Generator) -> Inputs:
    """Draw what losses of maps and patches take."""
    normals = torch.randn(*shape, 3, generator=generator)
    rgb, other = torch.rand(2, *shape, 3, generator=generator)
    rendered, depth, opacity = torch.rand(3, *shape, generator=generator)
    return {
        "rgb": rgb,
        "other": other,
        "rendered": 1.0 + rendered,
        "depth": 1.0 + 0.5 * depth + 0.5 * rendered,
        "opacity": opacity,
        "normals": torch.nn.functional.normalize(normals, dim=-1),
        "target": torch.rand(shape[0], 3, generator=generator),
    }


def mean_color(images: Tensor) -> Tensor:
    """Stand in for an embedder, and cost next to nothing."""
    return images.mean((1, 2))


def taken_by(function: Function, inputs: Inputs) -> Inputs:
    """Choose the arguments that a function has."""
    return {k: x for k, x in inputs.items() if k in inspect.signature(function).parameters}


def dense(samples: Inputs, n_rays: int) -> Inputs:
    """Lay packed samples of equally many a ray as (rays, samples)."""
    return {name: x.unflatten(0, (n_rays, -1)) for name, x in samples.items()}


def index_of(name: str) -> str:
    """Name the ``ray_indices`` that belong to a value a sample."""
    prefix = next((p for p in ("proposal_", "neighbor_") if name.startswith(p)), "")
    return f"{prefix}ray_indices"


def with_layout(inputs: Inputs, samples: Inputs, layout: Inputs) -> Inputs:
    """Add the ``ray_indices`` of those arguments that have a value a sample."""
    names = {index_of(name) for name in inputs.keys() & samples.keys()}
    return inputs | {name: layout[name] for name in (*names, "n_rays")}


def padded(function: Function, samples: Inputs) -> Function:
    """Call a dense function with packed samples, as many on each ray as on the longest."""

    def pad(x: Tensor, ray_indices: Tensor, n_rays: int, filling: float) -> Tensor:
        lengths = torch.bincount(ray_indices, minlength=n_rays)
        rank = torch.arange(len(x), device=x.device) - (lengths.cumsum(0) - lengths)[ray_indices]
        out = x.new_full((n_rays, int(lengths.max()), *x.shape[1:]), filling)
        return out.index_put((ray_indices, rank), x)

    def call(n_rays: int, **inputs: Any) -> Tensor:
        found = {}
        for name, x in inputs.items():
            if name in samples:
                filling = FAR_OFF.get(name.rpartition("_")[2], 0.0)
                found[name] = pad(x, inputs[index_of(name)], n_rays, filling)
            elif not name.endswith("ray_indices"):
                found[name] = x
        return function(**found)

    return call


# Rows


def rows(args: argparse.Namespace) -> Iterator[Row]:
    """Give what is compared, row by row."""
    generator = torch.Generator().manual_seed(args.seed)
    for name, wanted in OF_RAYS.items():
        if is_chosen(name, args):
            yield from rows_of_rays(name, wanted, args, generator)
    for name, wanted in OF_PAIRS.items():
        if is_chosen(name, args):
            n = args.rays * args.samples
            rendered, depth = torch.rand(2, n, 2, generator=generator)
            inputs = {"rendered": rendered, "depth": depth + 1.0}
            yield simple_row(name, f"{n} pairs", inputs, wanted, args)
    shapes = {"patches": (args.patches, 8, 8), "maps": (2, *args.map)}
    drawn = {kind: draw_maps(shape, generator) for kind, shape in shapes.items()}
    for name, wanted in OF_MAPS.items():
        for kind, shape in shapes.items():
            if is_chosen(name, args) and not (name == "co_regularization" and kind == "patches"):
                layout = f"{kind} {'×'.join(map(str, shape))}"
                yield simple_row(name, layout, drawn[kind], wanted, args)


def is_chosen(name: str, args: argparse.Namespace) -> bool:
    return not args.only or name.partition(",")[0] in args.only


def simple_row(
    name: str, layout: str, inputs: Inputs, wanted: Sequence[str], args: argparse.Namespace
) -> Row:
    """Compare with the naive way."""
    ours, plain = function_of(name, losses), function_of(name, naive)
    inputs = moved(taken_by(plain, {**inputs, "embed": mean_color}), args.device)
    return Row(name, layout, wanted, {"nerfreg": (ours, inputs), "naive": (plain, inputs)})


def rows_of_rays(
    name: str, wanted: Sequence[str], args: argparse.Namespace, generator: torch.Generator
) -> Iterator[Row]:
    """Compare dense rays, packed rays, and packed rays of uneven lengths."""
    ours, plain = function_of(name, losses), function_of(name, naive)
    mean = args.packed_samples // args.packed_rays
    sizes = {"dense": (args.rays, args.samples), "packed": (args.packed_rays, mean)}
    if name == "distortion":
        sizes["long"] = (args.rays // 4, 2 * args.samples)
    in_dense: dict[str, Inputs] = {}
    for kind, (n_rays, n_samples) in sizes.items():
        samples, per_ray, _ = draw_rays(torch.full((n_rays,), n_samples), generator)
        inputs = taken_by(plain, {**dense(samples, n_rays), **per_ray})
        in_dense[kind] = inputs = moved(inputs, args.device)
        if kind == "packed":
            continue
        ways = {"nerfreg": ours, "naive": plain, **others(name), **compiled(ours, args)}
        ways = {way: (function, inputs) for way, function in ways.items()}
        yield Row(name, f"dense {n_rays}×{n_samples}", wanted, ways)

    n_rays = args.packed_rays
    even = torch.full((n_rays,), mean)
    uneven = torch.randint(0, 2 * mean + 1, (n_rays,), generator=generator)
    for kind, lengths in (("packed", even), ("uneven", uneven)):
        samples, per_ray, layout = draw_rays(lengths, generator)
        inputs = with_layout(taken_by(plain, {**samples, **per_ray}), samples, layout)
        inputs = moved(inputs, args.device)
        ways = {"nerfreg": (ours, inputs), "dense": (ours, in_dense["packed"])}
        longest = int(lengths.max())
        needed = 20 * n_rays * longest**2 if name.startswith(ALL_PAIRS) else 0
        if needed < MAX_GIB * 2**30:
            ways["naive"] = padded(plain, samples), inputs
        more = compiled(ours, args)
        if name == "opacity":
            more |= others(name) | {"torch's least": least_packed_sum}
        ways |= {way: (function, inputs) for way, function in more.items()}
        yield Row(name, f"{kind} {len(samples['weights'])} in {n_rays}", wanted, ways)


def moved(inputs: Inputs, device: str) -> Inputs:
    return {k: x.to(device) if isinstance(x, Tensor) else x for k, x in inputs.items()}


def others(name: str) -> dict[str, Function]:
    """Find the same in other libraries, where they are installed."""
    found: dict[str, Function] = {}
    efficient, nerfacc = installed("torch_efficient_distloss"), installed("nerfacc")
    if name == "distortion" and efficient:

        def distortion(weights: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
            return efficient.eff_distloss(weights, (starts + ends) / 2, ends - starts)

        found["torch_efficient_distloss"] = distortion
    if name == "weights_from_density" and nerfacc:

        def weights_from_density(density: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
            return nerfacc.render_weight_from_density(starts, ends, density)[0]

        found["nerfacc"] = weights_from_density
    if name == "opacity" and nerfacc:

        def opacity(weights: Tensor, **layout: Any) -> Tensor:
            return nerfacc.accumulate_along_rays(weights, **layout)

        found["nerfacc"] = opacity
    return found


def compiled(function: Function, args: argparse.Namespace) -> dict[str, Function]:
    """Have torch compile nerfreg's function for these shapes, if that is asked for."""
    if not args.compile:
        return {}
    return {"compiled": torch.compile(function, fullgraph=True, dynamic=False)}


def least_packed_sum(weights: Tensor, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Sum over packed rays in the fewest calls that torch has for it: what no such loss beats."""
    offsets = torch.searchsorted(ray_indices, torch.arange(n_rays + 1, device=weights.device))
    return torch.segment_reduce(weights, "sum", offsets=offsets, unsafe=True)


def installed(library: str) -> Any:
    """Import another library, or give ``None``."""
    try:
        return importlib.import_module(library)
    except ImportError:
        return None


# Measuring


def measure(row: Row, repeats: int, device: str) -> None:
    """Time all ways in turns, after one step of each, and then find what each holds at once."""
    steps = {way: make_step(*call, row.wanted) for way, call in row.ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for i in range(repeats + 1):
        for way, step in steps.items():
            wait(device)
            begin = time.perf_counter()
            step()
            wait(device)
            if i > 0:
                seconds[way].append(time.perf_counter() - begin)
    row.seconds = {way: statistics.median(found) for way, found in seconds.items()}
    row.fastest = {way: min(found) for way, found in seconds.items()}
    row.mib = {way: peak_bytes(step, device) / 2**20 for way, step in steps.items()}


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def peak_bytes(step: Step, device: str) -> int:
    """Find the most memory that a step holds at once, beyond what was there."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events: Any = profiler.profiler.kineto_results.events()  # the only ones in order of time
    changes = [event for event in events if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


# Printing


HEADINGS = [
    "loss",
    "layout",
    "ms",
    "MiB",
    "naive takes",
    "naive holds",
    "packed, of dense",
    "others take",
]


def line(row: Row) -> str:
    """Write one row of the table: seconds and memory, and ratios to them."""

    def times(way: str) -> str:
        return f"{row.times(way):.1f}×" if way in row.seconds else "–"

    ms, mib = 1e3 * row.seconds["nerfreg"], row.mib["nerfreg"]
    naive_takes = naive_holds = packed = "–"
    if "naive" in row.seconds:
        naive_takes = f"{1e3 * row.seconds['naive']:.2f} ms, {times('naive')}"
        naive_holds = f"{row.mib['naive'] / max(mib, 1e-3):.1f}×"
    if "dense" in row.seconds:
        packed = f"{1.0 / row.times('dense'):.2f}×"
    libraries = [way for way in row.seconds if way not in ("nerfreg", "naive", "dense")]
    beside = ", ".join(f"{way} {times(way)}" for way in libraries) or "–"
    cells = [f"`{row.name}`", row.layout, f"{ms:.2f}", f"{mib:.1f}", naive_takes, naive_holds]
    return table_line([*cells, packed, beside])


def table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def verdicts(found: Sequence[Row]) -> list[str]:
    """Say which of the limits hold."""

    def verdict(rule: str, broken: Sequence[str]) -> str:
        return f"{rule}: " + (f"not {', '.join(broken)}" if broken else "holds")

    slower = [
        f"`{row.name}` {row.layout} ({1.0 / row.times('naive'):.2f}×)"
        for row in found
        if "naive" in row.fastest and row.fastest["nerfreg"] > NOISE * row.fastest["naive"] + LAUNCH
    ]
    said = [verdict("never slower than the naive way", slower)]
    for row in found:
        if row.name == "distortion" and row.layout.startswith("dense"):
            much = f"distortion, {row.layout}, at least 20× faster than O(S²)"
            factor = row.times("naive")
            said.append(verdict(much, [f"{factor:.1f}×"] if factor < 20.0 else []))
    for kind in ("packed", "uneven"):
        above = [
            f"`{row.name}` ({1.0 / row.times('dense'):.2f}×)"
            for row in found
            if row.layout.startswith(kind) and row.times("dense") < 1.0 / 1.5
        ]
        said.append(verdict(f"{kind} samples take at most 1.5× what dense ones take", above))
    return said


def machine(args: argparse.Namespace) -> str:
    """Say what ran where."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        processor = models[0].partition(": ")[2] if models else processor
    if args.device != "cpu":
        processor = torch.cuda.get_device_name()
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    return (
        f"{processor}, {args.threads} threads, {platform.system()}, Python"
        f" {platform.python_version()}, torch {torch.__version__}, commit {commit},"
        f" seed {args.seed}, median of {args.repeats}"
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known = sorted({name.partition(",")[0] for name in (*OF_RAYS, *OF_PAIRS, *OF_MAPS)})
    parser.add_argument("--only", nargs="*", choices=known, metavar="NAME")
    parser.add_argument("--rays", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=128, help="on each dense ray")
    parser.add_argument("--packed-samples", type=int, default=2**20)
    parser.add_argument("--packed-rays", type=int, default=8192)
    parser.add_argument("--patches", type=int, default=64, help="of 8×8 pixels")
    parser.add_argument("--map", type=int, nargs=2, default=(378, 504), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--compile", action="store_true", help="time torch.compile of losses of rays"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = arguments(argv)
    torch.set_num_threads(args.threads)

    print(f"{machine(args)}\n\n{table_line(HEADINGS)}\n{table_line(['---'] * len(HEADINGS))}")
    found = []
    for row in rows(args):
        measure(row, args.repeats, args.device)
        row.ways.clear()
        found.append(row)
        print(line(row), flush=True)
    print("\n" + "\n".join(f"- {verdict}" for verdict in verdicts(found)))


if __name__ == "__main__":
    main()
