# SPDX-License-Identifier: Apache-2.0
"""A model file of patchdiff in plain PyTorch: networks by their weights' names, EDM's denoiser, Heun's solver.

Needs torch and safetensors, and nothing of patchdiff's. docs/python.md shows it.
"""
import json
import math

import torch
import torch.nn.functional as F
from safetensors import safe_open


class Network:
    """DDPM++, NCSN++ or ADM by their weights' names: F(x, c_noise, labels, augment labels)."""

    def __init__(self, settings, weights):
        self.settings, self.weights = settings, weights
        self.adm = "out_conv.weight" in weights
        self.scale, self.epsilon = (1, 1e-5) if self.adm else (math.sqrt(0.5), 1e-6)
        height, width = settings["image"]
        self.levels = [f"{height >> level}x{width >> level}_" for level in range(len(settings["channel_mult"]))]

    def linear(self, name, x):
        return F.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))

    def norm(self, name, x):
        groups = min(32, x.shape[1] // 4)
        return F.group_norm(x, groups, self.weights[name + ".weight"], self.weights[name + ".bias"], self.epsilon)

    def resample(self, name, x, padding):
        """Sides halved, or doubled where the name says up, by the layer's filter."""
        taps = self.weights[name + ".resample_filter"].expand(x.shape[1], 1, -1, -1)
        how = {"stride": 2, "padding": padding, "groups": x.shape[1]}
        return F.conv_transpose2d(x, 4 * taps, **how) if "_up" in name else F.conv2d(x, taps, **how)

    def conv(self, name, x):
        """What the layer has of a filter and of a convolution behind it; NCSN++'s branch has the filter last."""
        weight, taps = self.weights.get(name + ".weight"), self.weights.get(name + ".resample_filter")
        rim = 0 if taps is None else (taps.shape[-1] - 1) // 2
        last = name.endswith("aux_residual")
        if taps is not None and not last:
            x = self.resample(name, x, rim)
        if weight is not None:
            x = F.conv2d(x, weight, self.weights[name + ".bias"], padding=weight.shape[-1] // 2 + rim * last)
        return self.resample(name, x, 0) if last else x

    def block(self, name, x, embedding):
        """A residual block, which halves or doubles the sides and attends where it has the weights for it."""
        h = self.conv(name + ".conv0", F.silu(self.norm(name + ".norm0", x)))
        told = self.linear(name + ".affine", embedding)[:, :, None, None]
        if self.adm:
            scale, shift = told.chunk(2, 1)
            h = self.norm(name + ".norm1", h) * (scale + 1) + shift
        else:
            h = self.norm(name + ".norm1", h + told)
        h = self.conv(name + ".conv1", F.silu(h))
        x = (h + self.conv(name + ".skip", x)) * self.scale
        if name + ".qkv.weight" not in self.weights:
            return x
        count, channels, height, width = x.shape
        heads = channels // 64 if self.adm else 1
        qkv = self.conv(name + ".qkv", self.norm(name + ".norm2", x))
        q, k, v = qkv.reshape(count, heads, channels // heads, 3, height * width).unbind(3)
        share = torch.einsum("nhcq,nhck->nhqk", q, k / math.sqrt(channels // heads)).softmax(dim=3)
        attended = torch.einsum("nhqk,nhck->nhcq", share, v).reshape(x.shape)
        return (self.conv(name + ".proj", attended) + x) * self.scale

    def embedding(self, c_noise, labels, augment):
        half = self.weights["map_layer0.weight"].shape[1] // 2
        if "map_noise.freqs" in self.weights:
            frequencies = 2 * math.pi * self.weights["map_noise.freqs"]
        else:
            last = half if self.adm else half - 1
            frequencies = (1 / 10000) ** (torch.arange(half, dtype=c_noise.dtype) / last)
        angles = c_noise[:, None] * frequencies
        x = torch.cat([angles.cos(), angles.sin()] if self.adm else [angles.sin(), angles.cos()], 1)
        told = 0  # of the labels
        if "map_label.weight" in self.weights:
            told = self.linear("map_label", labels if self.adm else labels * math.sqrt(labels.shape[1]))
        if augment is not None:
            x = x + self.linear("map_augment", augment)
        x = F.silu(self.linear("map_layer0", x if self.adm else x + told))
        x = self.linear("map_layer1", x)
        return F.silu(x + told if self.adm else x)

    def output(self, name, x):
        return self.conv(name + "conv", F.silu(self.norm(name + "norm", x)))

    def __call__(self, x, c_noise, labels, augment=None):
        embedding = self.embedding(c_noise, labels, augment)
        blocks, skips, branch, total = self.settings["num_blocks"], [], x, None
        for level in self.levels:
            name = "enc." + level
            if name + "down.conv0.weight" in self.weights:
                x = self.block(name + "down", x, embedding)
            else:
                for index in [0, 2, 4] if name + "conv.0.weight" in self.weights else []:
                    x = F.silu(self.conv(f"{name}conv.{index}", x))
                x = self.conv(name + "conv" if name + "conv.weight" in self.weights else name + "conv.6", x)
            if name + "aux_skip.weight" in self.weights:
                branch = self.conv(name + "aux_down", branch)
                x = x + self.conv(name + "aux_skip", branch)
            elif name + "aux_residual.weight" in self.weights:
                x = branch = (x + self.conv(name + "aux_residual", branch)) * self.scale
            skips.append(x)
            for index in range(blocks):
                x = self.block(f"{name}block{index}", x, embedding)
                skips.append(x)
        for level in reversed(self.levels):
            name = "dec." + level
            for part in ["in0", "in1"] if level == self.levels[-1] else ["up"]:
                x = self.block(name + part, x, embedding)
            for index in range(blocks + 1):
                x = self.block(f"{name}block{index}", torch.cat([x, skips.pop()], 1), embedding)
            if name + "aux_conv.weight" in self.weights:
                total = self.output(name + "aux_", x) + (0 if total is None else self.conv(name + "aux_up", total))
        return self.output("out_", x) if self.adm else total


class Denoiser:
    """D(x, sigma, labels) = c_skip x + c_out F([c_in x, coordinates], c_noise, labels); without coordinates [N, 2, h, w],
    x is taken for whole images."""

    def __init__(self, path, dtype=torch.float64):
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "patchdiff" or metadata.get("version") != "1":
                raise ValueError(f"{path}: expected a patchdiff model, version 1")
            if metadata["network"] not in ["SongUNet", "DhariwalUNet"]:
                raise ValueError(f"{path}: expected network SongUNet or DhariwalUNet, got {metadata['network']}")
            weights = {name.removeprefix("model."): file.get_tensor(name).to(dtype) for name in file.keys()}
        self.settings = json.loads(metadata["denoiser_settings"])
        coords, formulation = self.settings["coords"], self.settings["formulation"]
        if coords["padding"] or coords["fourier_frequencies"] or coords["patch_size_channel"]:
            raise ValueError(f"{path}: expected plain coordinates x and y, got {coords}")
        if formulation["name"] != "edm":
            raise ValueError(f"{path}: expected formulation edm, got {formulation['name']}")
        self.sigma_data = formulation["sigma_data"]
        self.network = Network(json.loads(metadata["network_settings"]), weights)

    def __call__(self, x, sigma, labels=None, coords=None, augment=None):
        sigma, data = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x)), self.sigma_data
        if labels is None:  # no label is a row of zeros
            labels = torch.zeros(len(x), self.network.settings["label_dim"], dtype=x.dtype)
        total = (sigma**2 + data**2).sqrt()
        c_skip, c_out, c_in, c_noise = data**2 / total**2, sigma * data / total, 1 / total, sigma.log() / 4
        if coords is None:
            rows, columns = (torch.linspace(-1, 1, side, dtype=x.dtype) for side in x.shape[2:])
            coords = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).expand(len(x), -1, -1, -1)
        by_sample = lambda c: c[:, None, None, None]
        output = self.network(torch.cat([by_sample(c_in) * x, coords], 1), c_noise, labels, augment)
        return by_sample(c_skip) * x + by_sample(c_out) * output


def heun(denoiser, noise, labels=None, steps=18, sigma_min=0.002, sigma_max=80, rho=7):
    """Yields the state after each step from unit normal noise to images, as ODESampler with its defaults."""
    ramp = torch.arange(steps, dtype=torch.float64) / max(1, steps - 1)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = [*((high + ramp * (low - high)) ** rho).tolist(), 0.0]
    x = noise * sigmas[0]
    for sigma, lower in zip(sigmas, sigmas[1:]):
        slope = (x - denoiser(x, sigma, labels)) / sigma
        aim = x + (lower - sigma) * slope
        if lower > 0:
            slope = (slope + (aim - denoiser(aim, lower, labels)) / lower) / 2
            aim = x + (lower - sigma) * slope
        x = aim
        yield x
