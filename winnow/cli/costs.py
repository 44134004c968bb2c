"""The commands that tell what something will cost, before it runs."""

import sys

import click

from winnow.cli.help import complete_hardware, complete_planned_arms
from winnow.pipeline.workspace import Workspace

HARDWARE = "A file of conf/hardware; by default the preset of this machine."
CLASSES = 1000


@click.command()
@click.option("--hardware", metavar="NAME", help=HARDWARE, shell_complete=complete_hardware)
@click.option("--images", type=click.IntRange(1), help="Take the pool version to hold so many images.")
def plan(hardware: str | None, images: int | None) -> None:
    """Print what params.yaml will cost.

    For every stage and arm: steps, FLOPs, time, kWh and gCO2e, with the constants behind them. Times are as
    measured on this machine, else computed from FLOPs, as all are with --hardware. No image is read, nothing
    is trained. It exits with 1 where an arm's budget buys no step.

    \b
    Examples:
      winnow plan                        on this machine
      winnow plan --images 60000         before ingest, with a guess of the pool's size
      winnow plan --hardware h100
    """
    from winnow.config.load import load
    from winnow.plan.hardware import load_hardware, preset_here
    from winnow.plan.plan import plan as make
    from winnow.plan.rates import Rates, assumptions
    from winnow.plan.text import plan_lines

    workspace = Workspace.find()
    params = load(workspace.params)
    name = hardware or preset_here(params.run.accelerator, workspace.conf)
    chosen, precision = load_hardware(name, workspace.conf), params.run.precision
    rates = Rates.of(chosen, precision, params.carbon)
    planned = make(params, workspace, rates, measured=hardware is None, images=images)
    for line in plan_lines(planned, rates, assumptions(name, chosen, precision, params.carbon)):
        click.echo(line)
    for line in planned.problems:
        click.echo(line, err=True)
    if planned.problems:
        sys.exit(1)


@click.command()
@click.argument("arm", required=False, shell_complete=complete_planned_arms)
@click.option("--method", metavar="M", help="Without ARM: a file of conf/method, whose recipe is taken.")
@click.option("--backbone", metavar="B", help="Without ARM: a file of conf/backbone, or any timm model.")
@click.option("--image-size", type=click.IntRange(8), help="Pixels; by default those of the backbone.")
@click.option("--batch-size", type=click.IntRange(2), help="By default the recipe's.")
@click.option("--classes", type=click.IntRange(1), default=CLASSES, show_default=True)
@click.option("--images", type=click.IntRange(1), help="How many images an epoch, or the pool, has.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes through the images.")
@click.option("--budget", type=click.FloatRange(0, min_open=True), help="FLOPs: how many steps do they buy?")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="The same for a time,")
@click.option("--kwh", type=click.FloatRange(0, min_open=True), help="an energy,")
@click.option("--gco2e", type=click.FloatRange(0, min_open=True), help="or grams of CO2e.")
@click.option("--hardware", metavar="NAME", help=HARDWARE, shell_complete=complete_hardware)
@click.option("--precision", metavar="P", help="As run.precision, which is the default.")
def cost(
    arm: str | None, hardware: str | None, precision: str | None, **given: float | int | str | None
) -> None:
    """Print what one training will cost, or what a budget buys.

    ARM is an arm of params.yaml, with its policy's scoring and its shares of reference and version; without
    epochs or a budget, its own budget is spent. Without ARM, it is a uniform training by a method's recipe.

    \b
    Examples:
      winnow cost supervised-learnability                its steps, FLOPs, time, kWh and gCO2e
      winnow cost supervised-uniform --kwh 0.01          what 10 Wh buy
      winnow cost --method supervised --backbone vit_base_patch16_224 --images 1281167 --epochs 300 \\
          --hardware a100 --precision bf16-mixed
      winnow cost --method dino --backbone resnet50 --budget 1e18 --hardware h100
    """
    from winnow.config.load import load
    from winnow.plan.hardware import load_hardware, preset_here
    from winnow.plan.rates import Rates, assumptions
    from winnow.plan.request import Request
    from winnow.plan.text import cost_lines

    workspace = Workspace.find()
    params = load(workspace.params)
    name = hardware or preset_here(params.run.accelerator, workspace.conf)
    chosen, precision = load_hardware(name, workspace.conf), precision or params.run.precision
    rates = Rates.of(chosen, precision, params.carbon)
    training, steps, images = Request(arm, given).answer(params, workspace, rates)
    constants = assumptions(name, chosen, precision, params.carbon)
    for line in cost_lines(training, steps, images, rates, constants):
        click.echo(line)
