"""detection@ARM.SET: how well does a small Mask R-CNN detect objects when the whole encoder is finetuned?

Scenes are composed from held-out images (winnow/evaluation/scenes.py), those to train on from the probe
split, those to test on from the test split. They depend on the seed and the splits only, so every arm gets
the same ones.
"""

from winnow.evaluation.detection import Config, finetune, make_scenes, protocol
from winnow.evaluation.scene_pictures import draw_samples
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import open_set
from winnow.training.device import launch
from winnow.training.weights import load_encoder


def detection(stage: Stage) -> None:
    """Finetune a detector, report box and mask AP, and draw samples."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    fabric = launch(params.run)
    encoder, _ = load_encoder(workspace.arm(stage.arm))
    pool = open_set(workspace, params.datasets, stage.set)
    train = make_scenes(workspace, pool, stage.set, "probe", settings.train_scenes, settings, params)
    test = make_scenes(workspace, pool, stage.set, "test", settings.test_scenes, settings, params)
    outcome = finetune(encoder, train, test, settings, params.seed, fabric, stage.track)
    stage.flops["evaluate"] = outcome.flops
    estimated = "first training step x steps + first inference batch x scenes; proposals vary"
    stage.facts["flops_estimated"] = estimated
    stage.metrics.update(outcome.metrics, protocol=protocol(settings, train, test))
    draw_samples(test, outcome.found).save(stage.work / "samples.png")
    shown = [f"{name} {'undefined' if v is None else f'{v:.4f}'}" for name, v in outcome.metrics.items()]
    print(f"{stage.address}: {', '.join(shown)} ({stage.metrics['protocol']})")


if __name__ == "__main__":
    main(detection)
