# SPDX-License-Identifier: Apache-2.0
"""Renders the icons of Debian's papirus-icon-theme as two folders of RGB pictures with labels: OUT/train and OUT/test.

    python3 papirus.py OUT    (needs papirus-icon-theme, rsvg-convert of librsvg2-bin, and Pillow)

Icons of 64x64 pixels on white, every fifth for the test; links, which repeat others, are left out, and so are those of
programs, each of which is one of its kind. A class is a colour of folders, or else the folder that an icon lies in.
"""
import concurrent.futures
import io
import json
import pathlib
import subprocess
import sys

from PIL import Image

icons = pathlib.Path("/usr/share/icons/Papirus/64x64")  # where Debian's package puts them
out = pathlib.Path(sys.argv[1])


def class_of(icon):
    if icon.name.startswith("folder-"):
        return "folder " + icon.stem.split("-")[1]
    return icon.parent.name


def render(job):
    icon, target = job
    png = subprocess.run(["rsvg-convert", "--width=64", "--height=64", "--background-color=white", str(icon)],
                         check=True, stdout=subprocess.PIPE).stdout
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.size == (64, 64), icon
    picture.save(target)


found = sorted(path for path in icons.rglob("*.svg")
               if path.is_file() and not path.is_symlink() and path.parent.name != "apps")
classes = sorted({class_of(icon) for icon in found})
jobs = []
for split in ("train", "test"):
    folder = out / split
    folder.mkdir(parents=True)
    labels = []
    for number, icon in enumerate(found):
        if (number % 5 == 4) != (split == "test"):
            continue
        name = "%s-%s.png" % (icon.parent.name, icon.stem)
        jobs.append((icon, folder / name))
        labels.append([name, classes.index(class_of(icon))])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
with concurrent.futures.ThreadPoolExecutor() as pool:
    list(pool.map(render, jobs))
print("%d icons in %d classes" % (len(found), len(classes)))
