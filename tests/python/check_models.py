# SPDX-License-Identifier: Apache-2.0
# check_models.py PYTHON_MODEL CONVERT_FOLDER GOLDEN_FOLDER: models go to PyTorch and back, and mean the same in both.
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

program = sys.argv[1]
sys.path.insert(0, sys.argv[2])
import convert
from denoiser import Denoiser, Network, heun

held = tempfile.TemporaryDirectory()
folder = pathlib.Path(held.name)


def reference(model):
    subprocess.run([program, "reference", model, folder / "reference.safetensors"], check=True)
    return load_file(folder / "reference.safetensors")


def same_images(denoiser, reference):
    states = list(heun(denoiser, reference["noise"], reference.get("labels"), steps=5))
    for step, state in enumerate(states, 1):
        expected = reference[f"state{step}"]
        assert ((state - expected).abs() <= 1e-4 * (1 + expected.abs())).all(), f"state {step}"
    assert states[0].std() > 1


def reference_weights(reference):
    return {name.removeprefix("weights."): value for name, value in reference.items() if name.startswith("weights.")}


def same_weights(weights, others):
    assert weights.keys() == others.keys(), weights.keys() ^ others.keys()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


def refused(text, action, *arguments):
    try:
        action(*arguments)
    except (convert.Refusal, ValueError) as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"nothing refused: {text}")


# A model that was trained here: each tensor, and a sampler's first steps by formulas of PyTorch alone.
model = folder / "model.safetensors"
subprocess.run([program, "train", model], check=True)
trained = reference(model)
weights, metadata = convert.read_safetensors(model)
same_weights({"weights." + name.removeprefix("model."): value.double() for name, value in weights.items()},
             {name: value for name, value in trained.items() if name.startswith("weights.")})
denoiser = Denoiser(model)
labels = torch.eye(3, dtype=torch.float64)
noise = torch.randn(3, *denoiser.settings["image"], dtype=torch.float64)
*_, images = heun(denoiser, noise, labels, steps=5)
assert images.shape == noise.shape and images.isfinite().all()
same_images(denoiser, trained)
assert denoiser.sigma_data == 0.7

# What is compared does depend on the labels, on attention and on each image's own noise.
wrong = Denoiser(model)
wrong.network.weights["enc.8x16_block0.proj.weight"] = torch.zeros(16, 16, 1, 1, dtype=torch.float64)
for other, labels in [(denoiser, trained["labels"].roll(1, 1)), (wrong, trained["labels"])]:
    state = list(heun(other, trained["noise"], labels, steps=5))[-1]
    assert (state - trained["state5"]).abs().max() > 1e-3

# To PyTorch and back, in each form; settings come along in a folder, from another file, or from the weights.
plain = {name.removeprefix("model."): value for name, value in weights.items()}
for target, more in [("state.pt", ["--like", str(model)]), ("state.safetensors", ["--like", str(model)]), ("folder", [])]:
    convert.main(["from-patchdiff", str(model), str(folder / target)])
    convert.main(["to-patchdiff", str(folder / target), str(folder / "back.safetensors"), *more])
    back, back_metadata = convert.read_safetensors(folder / "back.safetensors")
    same_weights(weights, back)
    assert metadata == back_metadata
same_weights(plain, torch.load(folder / "state.pt", weights_only=True))
same_weights(plain, load_file(folder / "state.safetensors"))
same_weights(plain, load_file(folder / "folder" / "diffusion_pytorch_model.safetensors"))

# A folder of others, with weights as a pickle and a configuration that says nothing to us.
(folder / "others").mkdir()
torch.save(plain, folder / "others" / "diffusion_pytorch_model.bin")
(folder / "others" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
convert.main(["to-patchdiff", str(folder / "others"), str(folder / "back.safetensors"), "--sigma-data", "0.7"])
same_weights(reference_weights(trained), reference_weights(reference(folder / "back.safetensors")))
assert json.loads((folder / "folder" / "config.json").read_text())["channel_mult"] == [1, 2]

guessed = folder / "guessed.safetensors"
convert.main(["to-patchdiff", str(folder / "state.pt"), str(guessed), "--sigma-data", "0.7"])
guessed_metadata = convert.read_safetensors(guessed)[1]
settings = json.loads(metadata["network_settings"])
assert json.loads(guessed_metadata["network_settings"]) == settings | {"dropout": 0.0}, guessed_metadata
assert json.loads(guessed_metadata["denoiser_settings"]) == json.loads(metadata["denoiser_settings"])
same_weights(trained, reference(guessed))


# A pickle of another code base, whose network knows no coordinates, in halves.
class Precond(torch.nn.Module):
    def __init__(self, weights, sigma_data):
        super().__init__()
        self.sigma_data, self.names = sigma_data, list(weights)
        for index, value in enumerate(weights.values()):
            self.register_buffer(f"w{index}", value)

    def state_dict(self):
        return {"model." + name: getattr(self, f"w{index}") for index, name in enumerate(self.names)}


other = {name.replace("16x32", "16x16").replace("8x16", "8x8"): value.roll(1, 0).bfloat16() for name, value in plain.items()
         if not name.endswith("resample_filter")}
other |= {name.replace("8x16", "8x8").replace("16x32", "16x16"): value for name, value in plain.items() if name.endswith("resample_filter")}
other["enc.16x16_conv.weight"] = other["enc.16x16_conv.weight"][:, :2]
with (folder / "snapshot.pkl").open("wb") as file:
    pickle.dump({"ema": Precond(other, 0.6), "dataset_kwargs": {}}, file)
convert.main(["to-patchdiff", str(folder / "snapshot.pkl"), str(guessed), "--null-label-trained"])
guessed_metadata = convert.read_safetensors(guessed)[1]
assert json.loads(guessed_metadata["denoiser_settings"])["null_label_trained"]
network = Network(json.loads(guessed_metadata["network_settings"]), {name: value.double() for name, value in other.items()})


def without_coordinates(x, sigma, labels):
    total = (torch.tensor(sigma, dtype=x.dtype) ** 2 + 0.6**2).sqrt()
    output = network(x / total, torch.tensor(sigma, dtype=x.dtype).log().expand(len(x)) / 4, labels)
    return 0.6**2 / total**2 * x + sigma * 0.6 / total * output


same_images(without_coordinates, reference(guessed))

# State dicts of the original implementation: all settings follow from the weights, and both sides load them and draw the
# same, whatever the architecture.
for golden in sorted(pathlib.Path(sys.argv[3]).glob("net_*.safetensors")):
    published, facts = convert.read_safetensors(golden)
    torch.save(published, folder / "state.pt")
    convert.main(["to-patchdiff", str(folder / "state.pt"), str(guessed)])
    guessed_metadata = convert.read_safetensors(guessed)[1]
    assert guessed_metadata["network"] == facts["model"], golden
    found = json.loads(guessed_metadata["network_settings"])
    channels, side, config = int(facts["img_channels"]), int(facts["img_resolution"]), json.loads(facts["config"])
    expected = config | {"in_channels": channels + 2, "out_channels": channels, "label_dim": int(facts["label_dim"]),
                         "image": [side, side]}
    assert {name: found[name] for name in expected} == expected, golden
    stored = {name.removeprefix("model."): value for name, value in published.items()}
    loaded = reference(guessed)
    same_weights({name: value.double() for name, value in stored.items()}, reference_weights(loaded))
    denoiser = Denoiser(guessed)
    same_images(denoiser, loaded)
    cases = [case for case in golden.parent.glob("denoiser_*.safetensors")
             if convert.read_safetensors(case)[1]["weights"] == golden.stem]
    assert len(cases) == 3, cases
    for case in map(load_file, cases):
        given = [case[name].double() if name in case else None for name in ["class_labels", "coords", "augment_labels"]]
        denoised = denoiser(case["x"].double(), case["sigma"].flatten().double(), *given)
        assert (denoised - case["denoised"]).abs().max() <= 2e-5 * case["denoised"].abs().max(), golden
    # Back to the published class: its names and its arguments.
    convert.main(["from-patchdiff", str(guessed), str(folder / "state.pt")])
    same_weights(stored, torch.load(folder / "state.pt", weights_only=True))
    arguments = convert.published_arguments(guessed_metadata)
    expected = config | {"img_resolution": side, "in_channels": channels + 2, "out_channels": channels,
                         "label_dim": int(facts["label_dim"])}
    assert {name: arguments[name] for name in expected} == expected, golden
    assert not arguments.keys() & {"image", "attention", "recompute"}

# What does not fit is refused in words.
refused("expected diffusion_pytorch_model.safetensors or diffusion_pytorch_model.bin, got neither", convert.main,
        ["to-patchdiff", str(folder), str(guessed)])
save_file({"conv_in.weight": torch.zeros(1)}, folder / "foreign.safetensors")
refused("foreign.safetensors: expected weights named as enc.32x32_conv.weight, with halved sides, got conv_in.weight",
        convert.main, ["to-patchdiff", str(folder / "foreign.safetensors"), str(guessed)])
refused("expected a patchdiff model, got 1 tensors and metadata []", convert.main,
        ["from-patchdiff", str(folder / "foreign.safetensors"), str(folder / "state.pt")])
refused("expected weights enc.8x16_block0.conv1.weight, got none", convert.network_settings,
        {name: value for name, value in plain.items() if name != "enc.8x16_block0.conv1.weight"})
refused("expected .pt, .safetensors or a folder", convert.main, ["from-patchdiff", str(model), str(folder / "state.onnx")])
refused("expected a patchdiff model, version 1", Denoiser, folder / "foreign.safetensors")
refused("published classes: expected square images, got 16x32", convert.published_arguments, metadata)
save_file({"model.w": torch.zeros(1)}, folder / "foreign.safetensors", metadata | {"network": "SmallUNet"})
refused("expected network SongUNet or DhariwalUNet, got SmallUNet", Denoiser, folder / "foreign.safetensors")

# Options that would do nothing, and files of another kind or cut off.
for option in [["--sigma-data", "0.3"], ["--null-label-trained"]]:
    for source in [["state.safetensors", "--like", str(model)], ["folder"]]:
        refused("expected no --sigma-data or --null-label-trained, as it has all settings, got one", convert.main,
                ["to-patchdiff", str(folder / source[0]), str(guessed), *source[1:], *option])
(folder / "text.safetensors").write_text("This is a text and no weights.")
whole = (folder / "state.pt").read_bytes()
(folder / "cut.pt").write_bytes(whole[:len(whole) // 2])
(folder / "empty.pt").write_bytes(b"")
(folder / "cut.pkl").write_bytes((folder / "snapshot.pkl").read_bytes()[:1000])
for name, expected in [("text.safetensors", "a safetensors file"), ("cut.pt", "a state dict of PyTorch"),
                       ("empty.pt", "a state dict of PyTorch"), ("cut.pkl", "a pickle")]:
    refused(f"{folder / name}: expected {expected}, got ", convert.main, ["to-patchdiff", str(folder / name), str(guessed)])
refused(f"{folder / 'text.safetensors'}: expected a safetensors file, got ", convert.main,
        ["from-patchdiff", str(folder / "text.safetensors"), str(folder / "state.pt")])

# A file of another version of ours is made anew from its weights, as the error of the library says.
save_file(weights, folder / "older.safetensors", metadata | {"version": "0"})
refused("expected a patchdiff model, version 1", Denoiser, folder / "older.safetensors")
convert.main(["to-patchdiff", str(folder / "older.safetensors"), str(guessed), "--sigma-data", "0.7"])
same_weights(reference_weights(trained), reference_weights(reference(guessed)))
print("models go to PyTorch and back")
