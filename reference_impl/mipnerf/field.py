"""The scene as a function: from an encoded place and direction to density and colour."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Field"]


class Field(nn.Module):
    """Map encoded samples to raw density and raw colour.

    Args:
        position_dim: features of an encoded position.
        view_dim: features of an encoded view direction.
        width: channels of each trunk layer.
        depth: number of trunk layers.
        skip: the encoded position enters again after this layer (counted from 0); beyond
            ``depth``: never.
        view_width: channels of the layer that sees the view direction.
    """

    def __init__(
        self,
        position_dim: int,
        view_dim: int,
        *,
        width: int,
        depth: int,
        skip: int,
        view_width: int,
    ) -> None:
        super().__init__()
        self.width, self.rejoin = width, skip + 1
        inputs = [position_dim] + [width] * (depth - 1)
        if 0 < self.rejoin < depth:
            inputs[self.rejoin] += position_dim
        self.trunk = nn.ModuleList(nn.Linear(n, width) for n in inputs)
        self.density = nn.Linear(width, 1)
        self.bottleneck = nn.Linear(width, width)
        self.view = nn.Linear(width + view_dim, view_width)
        self.rgb = nn.Linear(view_width, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, position: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate all samples of all rays.

        Args:
            position: (R, S, position_dim), encoded.
            view: (R, view_dim), encoded; one a ray.

        Returns:
            Raw colour (R, S, 3) and raw density (R, S), before any activation.
        """
        position = position.flatten(0, 1)
        device = position.device.type
        if torch.is_autocast_enabled(device):
            position = position.to(torch.get_autocast_dtype(device))  # once, for both its uses
        hidden = position
        for i, layer in enumerate(cast(list[nn.Linear], self.trunk)):
            if i == self.rejoin:
                # Two products instead of a concatenation: nothing is copied, and no gradient is
                # computed for the encoding, which needs none.
                hidden_weight, position_weight = layer.weight.split(
                    (self.width, position.shape[-1]), -1
                )
                hidden = F.linear(hidden, hidden_weight, layer.bias)
                hidden = hidden.add_(F.linear(position, position_weight))
            else:
                hidden = layer(hidden)
            hidden = F.relu_(hidden)
        density = self.density(hidden).view(len(view), -1)
        weight, per_ray = self._view_layer(view)
        hidden = F.linear(hidden, weight).view(len(view), -1, weight.shape[0])
        # In the products' precision: a float32 summand would make a float32 copy of it all.
        hidden = F.relu_(hidden.add_(per_ray[:, None].to(hidden.dtype)))
        return self.rgb(hidden), density

    def _view_layer(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Give view layer times bottleneck, and what each ray adds to all of its samples.

        Nothing non-linear stands between the two, and the direction is a ray's, not a sample's: so
        per sample there is one product to make, where there would be two wider ones.
        """
        with torch.autocast(view.device.type, enabled=False):
            from_trunk, from_view = self.view.weight.split((self.width, view.shape[-1]), -1)
            weight = from_trunk @ self.bottleneck.weight
            bias = from_trunk @ self.bottleneck.bias + self.view.bias
            return weight, F.linear(view, from_view, bias)
