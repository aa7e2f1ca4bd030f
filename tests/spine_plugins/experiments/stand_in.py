"""Stands for the program in tests of the runner: takes its command lines, leaves files of the right names.

Beside the experiment may lie `fail` (words: a command with one of them fails) and `stop` (leaves with 75).
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

words = sys.argv[1:]
flags = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
line = " ".join(words)
with open("../calls.txt", "a", encoding="utf-8") as calls:
    calls.write(line + "\n")
for name, code, said in (("fail", 2, "Error: the stand-in was told to fail"), ("stop", 75, "saved")):
    wishes = Path("..", name)
    if wishes.exists() and any(word in line for word in wishes.read_text().split()):
        print(said)
        sys.exit(code)


def content(*reads: str) -> bytes:
    """Depends on the command and on what it reads, as the real ones do."""
    digest = hashlib.sha256(line.encode())
    for path in reads:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest().encode()


def write_set(path: str, patient: str, body: bytes) -> None:
    groups = {"a.png": {"study": patient, "patient": patient}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.png"), body)
        archive.writestr(
            zipfile.ZipInfo("dataset.json"), json.dumps({"labels": [["a.png", 0]], "groups": groups})
        )


if words[0] == "phantom":
    write_set(flags["zip"], flags["seed"], content())
elif words[0] == "train":
    run = Path(flags["outdir"], "00000-x")
    run.mkdir(parents=True, exist_ok=True)
    body = content(flags["data"])
    (run / "training_options.json").write_bytes(body)
    for kimg in range(int(flags["kimg"]) + 1):
        (run / f"network-snapshot-{kimg:06d}.pkl").write_bytes(body)
elif words[0] == "generate":
    write_set(flags["outdir"], "fake", content(flags["network"]))
elif words[0] == "metrics" or words[:2] == ["experiments", "quality"]:
    Path(flags["json"]).write_bytes(content(flags["network"]))
elif words[:2] == ["classify", "train"]:
    body = content(flags["data"], flags["val"])
    Path(flags["out"]).write_bytes(body)
    Path(flags["out"]).with_suffix(".json").write_bytes(body)
elif words[:2] == ["classify", "predict"]:
    Path(flags["out"]).write_bytes(content(flags["classifier"], flags["data"]))
