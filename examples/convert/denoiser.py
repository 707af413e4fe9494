# SPDX-License-Identifier: Apache-2.0
"""A model file of patchdiff in plain PyTorch: DDPM++ by its weights' names, EDM's denoiser, Heun's solver.

Needs torch and safetensors, and nothing of patchdiff's. docs/python.md shows it.
"""
import json
import math

import torch
import torch.nn.functional as F
from safetensors import safe_open


class Network:
    """The DDPM++ network: F(x, c_noise, labels), from its settings and its weights by name."""

    def __init__(self, settings, weights):
        plain = {"embedding_type": "positional", "encoder_type": "standard", "decoder_type": "standard",
                 "resample_filter": [1, 1], "implicit_mlp": False}
        for name, value in plain.items():
            if settings[name] != value:
                raise ValueError(f"{name}: expected {value} (DDPM++), got {settings[name]}")
        self.settings, self.weights = settings, weights
        height, width = settings["image"]
        self.levels = [f"{height >> level}x{width >> level}_" for level in range(len(settings["channel_mult"]))]

    def linear(self, name, x):
        return F.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))

    def conv(self, name, x):
        weight = self.weights[name + ".weight"]
        return F.conv2d(x, weight, self.weights.get(name + ".bias"), padding=weight.shape[-1] // 2)

    def norm(self, name, x):
        groups = min(32, x.shape[1] // 4)
        return F.group_norm(x, groups, self.weights[name + ".weight"], self.weights[name + ".bias"], 1e-6)

    def block(self, name, x, embedding):
        """A residual block, which halves or doubles the sides where its name says so, and attends where it can."""
        resample = {"down": lambda x: F.avg_pool2d(x, 2), "up": lambda x: F.interpolate(x, scale_factor=2)}
        resampled = resample.get(name.rsplit("_", 1)[1], lambda x: x)
        h = self.conv(name + ".conv0", resampled(F.silu(self.norm(name + ".norm0", x))))
        h = h + self.linear(name + ".affine", embedding)[:, :, None, None]
        h = self.conv(name + ".conv1", F.silu(self.norm(name + ".norm1", h)))
        skip = resampled(x)
        if name + ".skip.weight" in self.weights:
            skip = self.conv(name + ".skip", skip)
        x = (h + skip) * math.sqrt(0.5)
        if name + ".qkv.weight" not in self.weights:
            return x
        count, channels, height, width = x.shape
        qkv = self.conv(name + ".qkv", self.norm(name + ".norm2", x)).reshape(count, channels, 3, height * width)
        q, k, v = qkv.unbind(2)
        share = torch.einsum("ncq,nck->nqk", q, k / math.sqrt(channels)).softmax(dim=2)
        attended = torch.einsum("nqk,nck->ncq", share, v).reshape(x.shape)
        return (self.conv(name + ".proj", attended) + x) * math.sqrt(0.5)

    def embedding(self, c_noise, labels):
        half = self.weights["map_layer0.weight"].shape[1] // 2
        frequencies = (1 / 10000) ** (torch.arange(half, dtype=c_noise.dtype) / (half - 1))
        angles = c_noise[:, None] * frequencies
        embedding = torch.cat([angles.sin(), angles.cos()], 1)
        if "map_label.weight" in self.weights:
            embedding = embedding + self.linear("map_label", labels * math.sqrt(labels.shape[1]))
        return F.silu(self.linear("map_layer1", F.silu(self.linear("map_layer0", embedding))))

    def __call__(self, x, c_noise, labels):
        embedding = self.embedding(c_noise, labels)
        blocks, skips = self.settings["num_blocks"], []
        for level, name in enumerate(self.levels):
            if level == 0:
                x = self.conv("enc." + name + "conv", x)
            else:
                x = self.block("enc." + name + "down", x, embedding)
            skips.append(x)
            for index in range(blocks):
                x = self.block(f"enc.{name}block{index}", x, embedding)
                skips.append(x)
        for level, name in reversed(list(enumerate(self.levels))):
            for part in ["in0", "in1"] if level + 1 == len(self.levels) else ["up"]:
                x = self.block("dec." + name + part, x, embedding)
            for index in range(blocks + 1):
                x = self.block(f"dec.{name}block{index}", torch.cat([x, skips.pop()], 1), embedding)
        last = "dec." + self.levels[0]
        return self.conv(last + "aux_conv", F.silu(self.norm(last + "aux_norm", x)))


class Denoiser:
    """D(x, sigma, labels) = c_skip x + c_out F([c_in x, coordinates], c_noise, labels), for whole images."""

    def __init__(self, path, dtype=torch.float64):
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "patchdiff" or metadata.get("version") != "1":
                raise ValueError(f"{path}: expected a patchdiff model, version 1")
            if metadata["network"] != "SongUNet":
                raise ValueError(f"{path}: expected network SongUNet, got {metadata['network']}")
            weights = {name.removeprefix("model."): file.get_tensor(name).to(dtype) for name in file.keys()}
        self.settings = json.loads(metadata["denoiser_settings"])
        coords, formulation = self.settings["coords"], self.settings["formulation"]
        if coords["padding"] or coords["fourier_frequencies"] or coords["patch_size_channel"]:
            raise ValueError(f"{path}: expected plain coordinates x and y, got {coords}")
        if formulation["name"] != "edm":
            raise ValueError(f"{path}: expected formulation edm, got {formulation['name']}")
        self.sigma_data = formulation["sigma_data"]
        self.network = Network(json.loads(metadata["network_settings"]), weights)

    def __call__(self, x, sigma, labels=None):
        sigma, data = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x)), self.sigma_data
        if labels is None:  # no label is a row of zeros
            labels = torch.zeros(len(x), self.network.settings["label_dim"], dtype=x.dtype)
        total = (sigma**2 + data**2).sqrt()
        c_skip, c_out, c_in, c_noise = data**2 / total**2, sigma * data / total, 1 / total, sigma.log() / 4
        height, width = x.shape[2:]
        column = torch.linspace(-1, 1, width, dtype=x.dtype).expand(len(x), 1, height, width)
        row = torch.linspace(-1, 1, height, dtype=x.dtype)[:, None].expand(len(x), 1, height, width)
        by_sample = lambda c: c[:, None, None, None]
        inputs = torch.cat([by_sample(c_in) * x, column, row], 1)
        return by_sample(c_skip) * x + by_sample(c_out) * self.network(inputs, c_noise, labels)


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
