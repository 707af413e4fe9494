# SPDX-License-Identifier: Apache-2.0
"""Turns weights of U-Nets with published names into model files of patchdiff, and back.

    python convert.py to-patchdiff SOURCE MODEL.safetensors     what patchdiff sample, evaluate, info and train --from take
    python convert.py from-patchdiff MODEL.safetensors TARGET   what PyTorch takes

SOURCE is a pickle of EDM or of Patch Diffusion (with that code base on PYTHONPATH: a pickle is a program, open only what
you trust), a state dict of PyTorch (.pt, .pth, .bin) or of safetensors, or a folder with the weights as
diffusion_pytorch_model.safetensors or .bin. TARGET is a state dict (.pt or .safetensors), or a folder as above with
config.json. Settings of the network follow from its weights; a network without coordinates gets some that it ignores.
"""
import argparse
import json
import os
import pathlib
import pickle
import re
import sys

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

WEIGHTS = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"]


class Refusal(Exception):
    """Weights or files that do not fit."""


# -- Reading and writing -------------------------------------------------------------------------------------------------


def read_safetensors(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def readable(path, expected, read, *errors):
    """What `read` gives of a file, with the errors that a damaged one, or one of another kind, raises there as a Refusal."""
    try:
        return read(path)
    except errors as error:
        raise Refusal(f"{path}: expected {expected}, got {str(error) or type(error).__name__}") from error


def read_source(path):
    """Weights by name, without `model.` before it, and what else the file says."""
    facts = {}
    if path.is_dir():
        files = [path / name for name in WEIGHTS if (path / name).exists()]
        if not files:
            raise Refusal(f"{path}: expected {' or '.join(WEIGHTS)}, got neither")
        config = path / "config.json"
        facts = json.loads(config.read_text()).get("patchdiff", {}) if config.exists() else {}
        path = files[0]
    if path.suffix == ".safetensors":
        weights, metadata = readable(path, "a safetensors file", read_safetensors, SafetensorError)
        facts = facts or metadata
    elif path.suffix == ".pkl":
        load = lambda path: pickle.loads(path.read_bytes())
        network = readable(path, "a pickle", load, EOFError, pickle.UnpicklingError)
        network = network.get("ema", network.get("net")) if isinstance(network, dict) else network
        if not isinstance(network, torch.nn.Module):
            raise Refusal(f"{path}: expected a network, or one as \"ema\", got {type(network).__name__}")
        weights, facts = network.state_dict(), {"sigma_data": getattr(network, "sigma_data", None)}
    else:
        load = lambda path: torch.load(path, map_location="cpu", weights_only=True)
        weights = readable(path, "a state dict of PyTorch", load, RuntimeError, EOFError, ValueError,
                           pickle.UnpicklingError)
        weights = weights.get("state_dict", weights) if isinstance(weights, dict) else {}
    weights = {name.removeprefix("model."): value for name, value in weights.items() if torch.is_tensor(value)}
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}, facts


def write(path, write_to):
    """Gives a file its name once it is whole."""
    partial = path.with_name(path.name + ".partial")
    try:
        write_to(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


# -- What the weights tell -----------------------------------------------------------------------------------------------


def network_settings(weights, where=""):
    """The network's kind and settings, as patchdiff's model files have them; `where` is said before errors."""
    found = {tuple(map(int, match.groups())) for match in map(re.compile(r"enc\.(\d+)x(\d+)_").match, weights) if match}
    sides = sorted(found, reverse=True)
    if not sides or any(low != (high[0] // 2, high[1] // 2) for high, low in zip(sides, sides[1:])):
        first = ", ".join(list(weights)[:3]) or "none"
        raise Refusal(f"{where}expected weights named as enc.32x32_conv.weight, with halved sides, got {first}")
    levels = [f"{height}x{width}_" for height, width in sides]

    def shape(name):
        if name not in weights:
            raise Refusal(f"{where}expected weights {name}, got none")
        return list(weights[name].shape)

    def width_of(name):
        return shape(name)[1] if name in weights else 0

    stem = f"enc.{levels[0]}conv.weight"
    implicit = stem not in weights
    if implicit:
        stem = f"enc.{levels[0]}conv.0.weight"
    adm = "out_conv.weight" in weights
    channels = width_of("map_layer0.weight") if adm else shape(stem)[0]
    output = "out_conv.weight" if adm else f"dec.{levels[0]}aux_conv.weight"
    settings = {
        "image": list(sides[0]),
        "in_channels": shape(stem)[1],
        "out_channels": shape(output)[0],
        "label_dim": width_of("map_label.weight"),
        "augment_dim": width_of("map_augment.weight"),
        "model_channels": channels,
        "channel_mult": [shape(f"enc.{level}block0.conv1.weight")[0] // channels for level in levels],
        "num_blocks": sum(bool(re.fullmatch(rf"enc\.{levels[0]}block\d+\.conv1\.weight", name)) for name in weights),
        "attn_resolutions": [max(side) for side, level in zip(sides, levels) if f"enc.{level}block0.qkv.weight" in weights],
        "dropout": 0.0,  # matters in training alone
    }
    if not adm:
        branch = {f"enc.{levels[-1]}aux_{kind}.weight": kind for kind in ["skip", "residual"]}
        filters = [value for name, value in weights.items() if name.endswith("resample_filter")]
        taps = filters[0].double().flatten(0, 2).sum(0) if filters else torch.ones(2)
        settings |= {
            "implicit_mlp": implicit,
            "embedding_type": "fourier" if "map_noise.freqs" in weights else "positional",
            "channel_mult_noise": shape("map_layer0.weight")[1] // channels,
            "encoder_type": next((kind for name, kind in branch.items() if name in weights), "standard"),
            "decoder_type": "skip" if len(levels) > 1 and f"dec.{levels[1]}aux_conv.weight" in weights else "standard",
            "resample_filter": (taps / taps.min()).round().long().tolist(),
        }
    return "DhariwalUNet" if adm else "SongUNet", settings | {"attention": "fused", "recompute": False}


def with_coordinates(weights, settings):
    """Weights whose input has two more channels, which count for nothing, where there are as many as of the output."""
    if settings["in_channels"] != settings["out_channels"]:
        return weights, settings
    height, width = settings["image"]
    first = re.compile(rf"enc\.{height}x{width}_conv(\.0)?\.weight|enc\.\d+x\d+_aux_skip\.weight"
                       rf"|enc\.{height // 2}x{width // 2}_aux_residual\.weight")
    pad = lambda value: torch.cat([value, value.new_zeros(value.shape[0], 2, *value.shape[2:])], 1)
    weights = {name: pad(value) if first.fullmatch(name) else value for name, value in weights.items()}
    return weights, settings | {"in_channels": settings["in_channels"] + 2}


def metadata_of(kind, settings, sigma_data, null_label_trained):
    denoiser = {
        "image": [settings["out_channels"], *settings["image"]],
        "coords": {"padding": 0, "fourier_frequencies": 0, "fourier_octaves": True, "patch_size_channel": False},
        "formulation": {"name": "edm", "sigma_data": sigma_data},
        "precision": "float32",
        "null_label_trained": null_label_trained,
    }
    return {"format": "patchdiff", "version": "1", "network": kind, "network_settings": json.dumps(settings),
            "denoiser_settings": json.dumps(denoiser)}


def published_arguments(metadata):
    """The arguments of the published class of a model's network: `SongUNet(**published_arguments(metadata))`."""
    settings = json.loads(metadata["network_settings"])
    height, width = settings.pop("image")
    if height != width:
        raise Refusal(f"published classes: expected square images, got {height}x{width}")
    if not settings.get("implicit_mlp"):
        settings.pop("implicit_mlp", None)  # EDM's class does not know it
    del settings["attention"], settings["recompute"]  # change no result
    return {"img_resolution": height} | settings


# -- Both ways -----------------------------------------------------------------------------------------------------------


def to_patchdiff(source, model, like, sigma_data, null_label_trained):
    weights, facts = read_source(source)
    metadata = facts if (facts.get("format"), facts.get("version")) == ("patchdiff", "1") else {}  # else from the weights
    if like:
        metadata = readable(like, "a safetensors file", read_safetensors, SafetensorError)[1]
    if metadata and (sigma_data is not None or null_label_trained):
        raise Refusal(f"{like or source}: expected no --sigma-data or --null-label-trained, as it has all settings, got one")
    if not metadata:
        kind, settings = network_settings(weights, f"{source}: ")
        weights, settings = with_coordinates(weights, settings)
        metadata = metadata_of(kind, settings, sigma_data or facts.get("sigma_data") or 0.5, null_label_trained)
    weights = {"model." + name: value for name, value in weights.items()}
    write(model, lambda path: save_file(weights, path, metadata))


def from_patchdiff(model, target):
    weights, metadata = readable(model, "a safetensors file", read_safetensors, SafetensorError)
    if metadata.get("format") != "patchdiff" or not all(name.startswith("model.") for name in weights):
        raise Refusal(f"{model}: expected a patchdiff model, got {len(weights)} tensors and metadata {sorted(metadata)}")
    weights = {name.removeprefix("model."): value for name, value in weights.items()}
    if target.suffix in [".pt", ".pth"]:
        write(target, lambda path: torch.save(weights, path))
    elif target.suffix == ".safetensors":
        write(target, lambda path: save_file(weights, path, {"format": "pt"}))
    elif target.suffix:
        raise Refusal(f"{target}: expected .pt, .safetensors or a folder")
    else:
        target.mkdir(exist_ok=True)
        config = {"_class_name": metadata["network"], **json.loads(metadata["network_settings"]), "patchdiff": metadata}
        write(target / WEIGHTS[0], lambda path: save_file(weights, path, {"format": "pt"}))
        write(target / "config.json", lambda path: path.write_text(json.dumps(config, indent=2) + "\n"))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    to = commands.add_parser("to-patchdiff")
    to.add_argument("source", type=pathlib.Path)
    to.add_argument("model", type=pathlib.Path)
    to.add_argument("--like", type=pathlib.Path, help="model file whose settings are taken")
    to.add_argument("--sigma-data", type=float, help="of the images; default: as the source says, else 0.5")
    to.add_argument("--null-label-trained", action="store_true", help="training dropped labels, for guidance")
    to.set_defaults(run=to_patchdiff)
    back = commands.add_parser("from-patchdiff")
    back.add_argument("model", type=pathlib.Path)
    back.add_argument("target", type=pathlib.Path)
    back.set_defaults(run=from_patchdiff)
    given = vars(parser.parse_args(arguments))
    given.pop("run")(**given)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Refusal, OSError) as error:
        sys.exit(f"convert.py: {error}")
