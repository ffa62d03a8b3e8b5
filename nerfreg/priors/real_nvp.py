"""RealNVP on small image patches."""

# normflows has no types, and torch.linalg tells few.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false

from dataclasses import dataclass
from typing import Literal, cast

import normflows
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerfreg.checks import require_choice, require_number

__all__ = ["RealNVP", "RealNVPConfig"]

FAR = 10.0  # standard deviations


@dataclass(frozen=True)
class RealNVPConfig:
    """What a ``RealNVP`` is made of; its default is what the shipped weights have.

    Args:
        patch_size: P, pixels along each side of a patch.
        n_couplings: affine couplings. Each leaves half of the numbers and moves the rest.
        width: neurons in each hidden layer of a coupling's network.
        depth: hidden layers of a coupling's network.
        max_log_scale: bound of the logarithm of the factor by which one coupling stretches.
        basis: what the couplings see: ``"principal"`` components of the patches, each with
            variance 1, or ``"pixels"``, each with variance 1.

    Raises:
        ValueError: a number is not whole and positive; ``basis`` is unknown.

    Source: the sizes are ours, chosen by bits per dimension (docs/results.md): RegNeRF tells
    nothing about its flow but RealNVP and 8×8.
    """

    patch_size: int = 8
    n_couplings: int = 16
    width: int = 128
    depth: int = 1
    max_log_scale: float = 2.0
    basis: Literal["principal", "pixels"] = "principal"

    def __post_init__(self) -> None:
        for name in ("patch_size", "n_couplings", "width", "depth"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"RealNVPConfig: {name} must be a whole number >= 1, got {value!r}"
                )
        require_number(
            "RealNVPConfig", "max_log_scale", self.max_log_scale, "> 0", lambda x: x > 0.0
        )
        require_choice("RealNVPConfig", "basis", self.basis, ("principal", "pixels"))

    @property
    def n_dims(self) -> int:
        """Numbers in a patch."""
        return 3 * self.patch_size**2


class RealNVP(nn.Module):
    r"""A density of P×P colour patches, by the change of variables to a standard Gaussian.

    .. math:: \log p(x) = \log \mathcal N(\phi(x);\ 0, I) + \log|\det \partial\phi/\partial x|

    φ first standardises the patch by fixed numbers taken from data, and then passes affine
    couplings: one half a of the numbers tells how to shift and scale the other, in turn,

    .. math:: (a, b) \leftarrow \big((b + t(a))\, e^{s(a)},\ a\big),
        \qquad |s| \le \mathrm{max\_log\_scale}

    Build it, :meth:`standardize_` it once on patches, then train its parameters to raise
    :meth:`log_prob`; or load trained ones: :func:`nerfreg.priors.load_prior`.

    Args:
        config: sizes.

    Numerics: what a coupling's network sees is a/(1 + |a|/10), within ±10, and its scale is
    bounded: so φ grows linearly at most, and value and gradient are finite for every patch of
    colours within ±1e6, also for noise, which no photograph prepared it for. An unbounded
    scale gives 1e33 and more there.

    Source: Dinh, Sohl-Dickstein, Bengio 2017 (RealNVP); RegNeRF for its use. The flow is one of
    normflows. *Differs from upstream in:* couplings are fully connected, on principal components,
    with bounded scale; fixed standardisation takes the place of batch normalisation.

    Example:
        >>> flow = RealNVP(RealNVPConfig(patch_size=4, n_couplings=2, width=8))
        >>> patches = torch.rand(100, 4, 4, 3)
        >>> flow.standardize_(patches)
        >>> flow.log_prob(patches.flatten(1)).shape
        torch.Size([100])
    """

    def __init__(self, config: RealNVPConfig = RealNVPConfig()) -> None:
        super().__init__()
        self.config = config
        # normflows counts from the Gaussian to the data: the standardisation comes last.
        couplings = [BoundedCoupling(config, i) for i in reversed(range(config.n_couplings))]
        self.flow = normflows.NormalizingFlow(
            normflows.distributions.DiagGaussian(config.n_dims, trainable=False),
            [*couplings, Standardization(config)],
        )

    @property
    def patch_size(self) -> int:
        """P, pixels along each side of a patch."""
        return self.config.patch_size

    @property
    def standardization(self) -> "Standardization":
        """The fixed map between colours and what the couplings see."""
        return cast(Standardization, self.flow.flows[-1])

    def standardize_(self, patches: Float[Tensor, "n height width 3"]) -> None:
        """Fix mean and basis from patches, in place; not trained afterwards.

        Args:
            patches: many times more than 3·P², dequantised.

        Raises:
            ValueError: they are of another size.
        """
        size = self.config.patch_size
        if tuple(patches.shape[1:]) != (size, size, 3):
            raise ValueError(
                f"RealNVP.standardize_: patches must be (n, {size}, {size}, 3),"
                f" got {tuple(patches.shape)}"
            )
        self.standardization.fit_(patches.flatten(1))

    def log_prob(self, x: Float[Tensor, "n dims"]) -> Float[Tensor, " n"]:
        """Return the log-density of patches.

        Args:
            x: flattened patches, (row, column, channel), colours in [0, 1].

        Returns:
            In nats, over all numbers of the patch; a density over colours, so unbounded above.

        Raises:
            ValueError: a patch has another size.
        """
        if x.shape[-1] != self.config.n_dims:
            raise ValueError(
                f"RealNVP.log_prob: x must be (n, {self.config.n_dims}), patches of"
                f" {self.config.patch_size}x{self.config.patch_size} colours, got {tuple(x.shape)}"
            )
        return self.flow.log_prob(x)

    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n height width 3"]:
        """Draw patches: what the model takes for natural. Colours may leave [0, 1] a little."""
        mean = self.standardization.mean
        z = torch.randn(
            n, self.config.n_dims, generator=generator, device=mean.device, dtype=mean.dtype
        )
        for flow in self.flow.flows:
            z, _ = flow(z)
        size = self.config.patch_size
        return z.reshape(n, size, size, 3)


class BoundedCoupling(normflows.flows.Flow):
    """An affine coupling whose scale is bounded, with one network for both scale and shift.

    It puts the half that it moves in front, so that the next coupling keeps that one.
    """

    def __init__(self, config: RealNVPConfig, index: int) -> None:
        super().__init__()
        halves = config.n_dims // 2, config.n_dims - config.n_dims // 2
        self.n_kept, self.n_moved = halves if index % 2 == 0 else halves[::-1]
        self.max_log_scale = config.max_log_scale
        self.net = normflows.nets.MLP(
            [self.n_kept, *[config.width] * config.depth, 2 * self.n_moved],
            leaky=0.01,
            init_zeros=True,
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From the Gaussian towards the data."""
        moved, kept = z.split([self.n_moved, self.n_kept], -1)
        log_scale, shift = self._scale_and_shift(kept)
        return torch.cat([kept, moved * torch.exp(-log_scale) - shift], -1), -log_scale.sum(-1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From the data towards the Gaussian."""
        kept, moved = z.split([self.n_kept, self.n_moved], -1)
        log_scale, shift = self._scale_and_shift(kept)
        return torch.cat([(moved + shift) * torch.exp(log_scale), kept], -1), log_scale.sum(-1)

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        # Far out, where there was nothing to learn from, the network sees the sign alone.
        raw, shift = self.net(kept / (1 + kept.abs() / FAR)).chunk(2, -1)
        return self.max_log_scale * torch.tanh(raw / self.max_log_scale), shift


class Standardization(normflows.flows.Flow):
    """A fixed affine map that gives data mean 0 and variance 1, in the basis asked for."""

    mean: Tensor
    basis: Tensor
    log_det: Tensor

    def __init__(self, config: RealNVPConfig) -> None:
        super().__init__()
        self.principal = config.basis == "principal"
        self.register_buffer("mean", torch.zeros(config.n_dims))
        self.register_buffer("basis", torch.eye(config.n_dims))
        self.register_buffer("log_det", torch.zeros(()))

    def fit_(self, x: Tensor) -> None:
        """Take mean and basis from data (n, dims)."""
        mean = x.mean(0, dtype=torch.float64)
        covariance = torch.cov((x.double() - mean).T)
        if not self.principal:
            covariance = torch.diag(covariance.diagonal())
        variance, vectors = torch.linalg.eigh(covariance)
        # Dequantised data has the variance of the noise in every direction.
        variance = variance.clamp_min(1 / (12 * 255**2))
        # Couplings split in the middle: each half shall have of every variance.
        order = torch.arange(len(mean)).flip(0)
        order = torch.cat([order[::2], order[1::2]])
        self.mean.copy_(mean)
        self.basis.copy_((vectors / variance.sqrt())[:, order])
        self.log_det.copy_(-0.5 * variance.log().sum())

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From the standardised to the data."""
        x = torch.linalg.solve(self.basis.T, z.T).T + self.mean
        return x, (-self.log_det).expand(len(z))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From the data to the standardised."""
        return (z - self.mean) @ self.basis, self.log_det.expand(len(z))
