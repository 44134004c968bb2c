"""An arm's encoder to take away: a folder that timm loads, with a model card for the Hugging Face Hub.

    OUT/model.safetensors, OUT/config.json     timm.create_model("local-dir:OUT", pretrained=True)
    OUT/README.md                              the card: results with intervals and protocols, data, cost
    OUT/model.onnx                             where it is wanted: winnow/export_onnx.py

Nothing is added to what the comparison says: an arm that `compare` has not seen has no card, and what is
unknown (a licence, energy that nobody measured) is left out or called unknown, never guessed.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from winnow.config.derive import parts
from winnow.config.shorthands import first_seed
from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.report.page import numbers
from winnow.training.weights import CONFIG, WEIGHTS, load_encoder

Record = dict[str, Any]
MEND = "make it with: dvc repro"


def export_model(
    workspace: Workspace, arm: str, out: Path, licence: str | None = None, onnx: bool = False
) -> None:
    """Write the folder, which must not be there yet; it appears whole or not at all.

    Args:
        arm: its name; without its seed where it has several, for the first of them.
        licence: of the weights, by its name on the Hub (`apache-2.0`); they may inherit terms from the data.
        onnx: write model.onnx too.

    Raises:
        ValueError: if `out` exists, the arm was not pretrained or not compared, or there can be no ONNX file.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; choose another folder, or remove it")
    row, estimates = _compared(workspace, arm)
    arm = row["arm"]
    folder = workspace.arm(arm)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file; {MEND} pretrain@{arm}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        partial = Path(name) / out.name
        partial.mkdir()
        for file in (WEIGHTS, CONFIG):
            shutil.copyfile(folder / file, partial / file)
        if onnx:
            from winnow.export_onnx import ONNX, export_onnx

            export_onnx(*load_encoder(folder), partial / ONNX)
        card = _card(workspace, row, estimates, read_json(folder / CONFIG), licence, onnx)
        (partial / "README.md").write_text(card, encoding="utf-8")
        os.rename(partial, out)


def _compared(workspace: Workspace, arm: str) -> tuple[Record, Record]:
    """The arm's row, and the estimates of its group: the arm alone, or all seeds of its choice."""
    path = workspace.comparison / "table.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {MEND}")
    table = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["arm"]: row for row in table}
    arm = first_seed(arm, rows)
    if arm not in rows:
        raise ValueError(f"{arm!r} is no arm of the last comparison; allowed: {', '.join(rows)}")
    groups = read_json(path.with_name("intervals.json"))["groups"]
    return rows[arm], next(group for group in groups if arm in group["arms"])


def _card(
    workspace: Workspace, row: Record, estimates: Record, config: Record, licence: str | None, onnx: bool
) -> str:
    versions = [read_json(workspace.version(one) / "lineage.json") for one in parts(row["version"])]
    data = ModelCardData(
        license=licence,
        library_name="timm",
        pipeline_tag="image-feature-extraction",
        tags=["timm", "winnow", row["method"]],
        model_name=row["arm"],
        datasets=sorted({name for one in versions for name in one["datasets"]}),
        eval_results=_results(row),
        co2_eq_emissions=_emissions(workspace, row),
    )
    sections = [
        f"# {row['arm']}",
        _what(row, config, versions),
        "## Use",
        _use(config, onnx),
        "## Results",
        _table(estimates),
        "\n".join(f"- {line}" for line in _protocols(workspace, row)),
        "## Cost",
        _cost(row),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(one for one in sections if one) + "\n"


def _what(row: Record, config: Record, versions: list[Record]) -> str:
    trained = f"a `{config['architecture']}` encoder of {config['num_features']} features, trained by method"
    lines = [
        f"This is {trained} `{row['method']}` under policy `{row['policy']}`, seed {row['seed']}, for "
        f"{numbers.flops(row['flops']['total'])}, on {row['examples_seen']:,} images drawn from:",
        *(
            f"- version `{one['name']}`: {one['count']:,} images of {', '.join(one['datasets'])}, "
            f"sha256 `{one['digest']}`"
            for one in versions
        ),
    ]
    return "\n".join([lines[0], "", *lines[1:]])


def _use(config: Record, onnx: bool) -> str:
    size, described = config["pretrained_cfg"]["input_size"][1], config["pretrained_cfg"]
    more = "\n\n`model.onnx` takes the same images as `images`, any number of them." if onnx else ""
    return (
        "```python\nimport timm\n\n"
        'encoder = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n'
        f"features = encoder(images)  # (n, 3, {size}, {size}) in 0..1, less {described['mean']}, over "
        f"{described['std']}\n```{more}"
    )


def _table(estimates: Record) -> str:
    """The metrics with their 95 % intervals."""
    lines = ["| metric | value | 95 % interval | over |", "|---|---:|---|---|"]
    for name, found in estimates["metrics"].items():
        interval, over = "unknown", "one value"
        if "low" in found:
            interval = f"{numbers.percent(found['low'])} to {numbers.percent(found['high'])}"
            seeds = f"{found['seeds']} seed{'s' if found['seeds'] > 1 else ''}"
            over = f"{seeds}, {found['images']:,} test images" if found["images"] > 1 else seeds
        lines.append(f"| {name} | {numbers.percent(found['mean'])} | {interval} | {over} |")
    return "\n".join(lines)


def _protocols(workspace: Workspace, row: Record) -> list[str]:
    """How each task was measured, by the task's own words."""
    found = []
    for task_set, values in row["tasks"].items():
        for task in dict.fromkeys(key.split(".")[0] for key in values):
            path = workspace.root / "results/tasks" / task / row["arm"] / task_set / "metrics.json"
            if path.is_file() and (protocol := read_json(path).get("protocol")):
                found.append(f"{task} on {task_set}: {protocol}")
    return found


def _cost(row: Record) -> str:
    spent = ", ".join(
        f"{name} {numbers.flops(value)}" for name, value in row["flops"].items() if value or name == "total"
    )
    energy = f"{numbers.energy(row['kwh'])}, {numbers.grams(row['gco2e'])} CO2e ({row['energy_quality']})"
    return f"FLOPs: {spent}. Energy: {energy}, {numbers.seconds(row['seconds'])}."


def _results(row: Record) -> list[EvalResult]:
    """Top-1 of each task on each set, as the Hub reads it."""
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=task_set,
            dataset_name=task_set,
            metric_type="accuracy",
            metric_name=metric.replace(".", " "),
            metric_value=value,
        )
        for task_set, values in row["tasks"].items()
        for metric, value in values.items()
        if ".top1" in metric and not metric.startswith("pretrain.")
    ]


def _emissions(workspace: Workspace, row: Record) -> Record | None:
    """What the Hub shows of CO2; nothing where it is unknown."""
    if row["gco2e"] is None:
        return None
    energy = read_json(workspace.arm(row["arm"]) / "cost.json")["energy"]
    hardware = energy.get("hardware", {})
    used = ", ".join(str(hardware[key]) for key in ("cpu", "gpu") if hardware.get(key))
    return {
        "emissions": round(row["gco2e"], 6),
        "source": f"codecarbon, {row['energy_quality']}",
        "training_type": "pre-training",
        "geographical_location": energy["country"],
        **({"hardware_used": used} if used else {}),
    }
