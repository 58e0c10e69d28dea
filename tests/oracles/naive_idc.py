"""IDC in one file, as the paper writes it: class after class, ordinary modules, PyTorch's own optimizer.

It shares with limbeck the random streams alone, so that both draw the same numbers. Nothing here is fast, and nothing
is general: gray images whose size the factor divides, 2 x 2 poolings, squared differences of convolution gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.core.streams import Stream, Streams


@dataclass
class NaiveIDC:
    """Settings in the words of the authors' code."""

    images: Tensor
    """Real images in [0, 1], ``[N, 1, H, W]``, float64."""
    labels: Tensor
    classes: int
    mean: float
    std: float
    streams: Streams
    ipc: int
    factor: int
    niter: int
    inner_loop: int
    batch_real: int
    batch_net: int
    n_data: int
    lr_img: float
    lr_net: float = 0.01
    width: int = 4
    augment: bool = True
    mixup_net: float = 0.5

    def run(self) -> tuple[Tensor, Tensor]:
        """Stored images ``[classes, ipc, 1, H, W]`` at the end, and the loss of each class in each inner step."""
        members = [(self.labels == c).nonzero()[:, 0] for c in range(self.classes)]
        synthetic = self.initial(members).requires_grad_()
        optim_img = torch.optim.SGD([synthetic], lr=self.lr_img, momentum=0.5)
        losses, step, net_step = [], 0, 0
        for it in range(self.niter):
            model = self.network(it)
            optim_net = torch.optim.SGD(model.parameters(), lr=self.lr_net, momentum=0.9, weight_decay=5e-4)
            with torch.no_grad():
                synthetic.clamp_(0, 1)
            for inner in range(self.inner_loop):
                for c in range(self.classes):
                    img = self.images[self.next_batch("real", members[c], self.batch_real, step, c)]
                    rows = slice(c * self.ipc, (c + 1) * self.ipc)
                    img_syn = self.decode(synthetic[rows])
                    loss = self.matchloss(model, img, img_syn, c, self.streams("augmentation", it, inner, c))
                    optim_img.zero_grad()
                    loss.backward()
                    optim_img.step()
                    losses.append(loss.detach())
                step += 1
                seen = 0
                while seen < self.n_data:
                    # Nobody sees a network after its last inner step; its batches count all the same.
                    if inner < self.inner_loop - 1:
                        self.train(model, optim_net, net_step)
                    seen += self.batch_net
                    net_step += 1
        return synthetic.detach().unflatten(0, (self.classes, self.ipc)), torch.stack(losses).view(-1, self.classes)

    def network(self, it: int) -> nn.Module:
        """ConvNet-2 for 8 x 8: the first convolution pads by 3."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.streams("network", it).seed)
            size = ((self.images.shape[-1] + 4) // 2) // 2
            return nn.Sequential(
                nn.Conv2d(1, self.width, 3, padding=3),
                nn.GroupNorm(self.width, self.width),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Conv2d(self.width, self.width, 3, padding=1),
                nn.GroupNorm(self.width, self.width),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(self.width * size * size, self.classes),
            ).double()

    def initial(self, members: list[Tensor]) -> Tensor:
        """Shrunken real images side by side: source ``k * ipc + i`` is part k of stored image i."""
        f, side = self.factor, self.images.shape[-1] // self.factor
        stored = torch.zeros(self.classes * self.ipc, 1, side * f, side * f, dtype=torch.float64)
        for c, rows in enumerate(members):
            order = self.streams("initial images", c).permutation(len(rows))
            for k in range(f * f):
                top, left = side * (k // f), side * (k % f)
                for i in range(self.ipc):
                    source = self.images[rows[order[k * self.ipc + i]]]
                    stored[c * self.ipc + i, :, top : top + side, left : left + side] = source[:, ::f, ::f]
        return stored

    def decode(self, stored: Tensor) -> Tensor:
        f, size = self.factor, self.images.shape[-1]
        side = size // f
        pieces = []
        for i in range(f):
            for j in range(f):
                crop = stored[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
                pieces.append(F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False))
        return torch.cat(pieces)

    def next_batch(self, name: str, members: Tensor, batch: int, number: int, *key: int) -> Tensor:
        """Without replacement, shuffled anew when used up, incomplete batch dropped."""
        batch = min(batch, len(members))
        epoch, position = divmod(number, len(members) // batch)
        order = self.streams(name, *key, epoch).permutation(len(members))
        return members[order[position * batch : (position + 1) * batch]]

    def matchloss(self, model: nn.Module, img: Tensor, img_syn: Tensor, c: int, stream: Stream) -> Tensor:
        both = self.normalize(torch.cat([img, img_syn]))
        if self.augment:
            brightness, saturation, contrast = (float(stream.uniform()) for _ in range(3))
            stream.integers(0, 0)  # which of the geometric operations: there is only crop
            shift_rows, shift_cols = (int(stream.integers(-1, 1)) for _ in range(2))
            centre_row, centre_col = (int(stream.integers(0, 8)) for _ in range(2))
            both = torch.stack([self.color(x, brightness, saturation, contrast) for x in both])
            both = torch.stack([self.crop(x, shift_rows, shift_cols) for x in both])
            both = torch.stack([self.cutout(x, centre_row, centre_col) for x in both])
        kernels = [p for p in model.parameters() if p.ndim == 4]
        real = F.cross_entropy(model(both[: len(img)]), torch.full((len(img),), c))
        g_real = [g.detach() for g in torch.autograd.grad(real, kernels)]
        syn = F.cross_entropy(model(both[len(img) :]), torch.full((len(img_syn),), c))
        g_syn = torch.autograd.grad(syn, kernels, create_graph=True)
        return sum((((a - b) ** 2).sum() for a, b in zip(g_real, g_syn, strict=True)), torch.zeros(()).double())

    def train(self, model: nn.Module, optim_net: torch.optim.Optimizer, number: int) -> None:
        rows = self.next_batch("network training", torch.arange(len(self.labels)), self.batch_net, number)
        x, y = self.normalize(self.images[rows]), self.labels[rows]
        if self.augment:
            stream = self.streams("training augmentation", number)
            brightness, saturation, contrast = (stream.uniform(len(rows)).tolist() for _ in range(3))
            stream.integers(0, 0)
            shift_rows, shift_cols = (stream.integers(-1, 1, len(rows)).tolist() for _ in range(2))
            x = torch.stack(
                [
                    self.crop(self.color(x[b], brightness[b], saturation[b], contrast[b]), shift_rows[b], shift_cols[b])
                    for b in range(len(rows))
                ]
            )
        stream = self.streams("cutmix", number)
        if self.mixup_net and float(stream.uniform()) < self.mixup_net:
            lam, partner = float(stream.uniform()), stream.permutation(len(rows))
            size = x.shape[-1]
            centre_row, centre_col = (int(stream.integers(0, size - 1)) for _ in range(2))
            cut = int(size * math.sqrt(1 - lam))
            top, bottom = max(centre_row - cut // 2, 0), min(centre_row + cut // 2, size)
            left, right = max(centre_col - cut // 2, 0), min(centre_col + cut // 2, size)
            mixed = x.clone()
            for b in range(len(rows)):
                mixed[b, :, top:bottom, left:right] = x[partner[b], :, top:bottom, left:right]
            ratio = 1 - (bottom - top) * (right - left) / size**2
            output = model(mixed)
            loss = ratio * F.cross_entropy(output, y) + (1 - ratio) * F.cross_entropy(output, y[partner])
        else:
            loss = F.cross_entropy(model(x), y)
        optim_net.zero_grad()
        loss.backward()
        optim_net.step()

    def normalize(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    @staticmethod
    def color(x: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
        x = x + (brightness - 0.5)
        grey = x.mean(dim=0, keepdim=True)
        x = (x - grey) * (2 * saturation) + grey
        return (x - x.mean()) * (contrast + 0.5) + x.mean()

    @staticmethod
    def crop(x: Tensor, rows: int, cols: int) -> Tensor:
        """``out[r, c] = x[r + rows, c + cols]``, zero outside."""
        height, width = x.shape[-2:]
        return F.pad(x, (1, 1, 1, 1))[:, 1 + rows : 1 + rows + height, 1 + cols : 1 + cols + width]

    @staticmethod
    def cutout(x: Tensor, centre_row: int, centre_col: int) -> Tensor:
        """A hole of half the side; what lies outside is pressed onto the border."""
        mask, size = torch.ones_like(x), x.shape[-1]
        hole = int(0.5 * size + 0.5)
        for r in range(hole):
            for c in range(hole):
                row = min(max(centre_row - hole // 2 + r, 0), size - 1)
                col = min(max(centre_col - hole // 2 + c, 0), size - 1)
                mask[:, row, col] = 0
        return x * mask
