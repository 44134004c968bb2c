"""The image and text towers of an arm, as pretraining left them: what zero_shot and retrieval measure."""

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from models import methods
from models.flops import count
from models.text import TwoTowers
from winnow.config.parse import plugin_config
from winnow.config.schema import Params
from winnow.evaluation.features import outputs
from winnow.evaluation.finite import refuse_nonfinite
from winnow.loading.examples import Examples
from winnow.pipeline.workspace import Workspace
from winnow.training.weights import HEADS, load_encoder, load_heads

CHUNK = 500


class ArmTowers:
    """Both towers of an arm in eval mode, at the image size and context that it was trained at.

    Raises:
        ValueError: if the arm's files are not those of a method with two towers.
    """

    def __init__(self, params: Params, workspace: Workspace, arm: str, fabric: Fabric) -> None:
        self.folder, self.fabric = workspace.arm(arm), fabric
        name = params.arms[arm].method
        encoder, self.size = load_encoder(self.folder)
        module = methods.load(name)
        config = plugin_config(module.Config, f"methods.{name}.settings", params.methods[name].settings)
        objective = module.Method(encoder, config, 1)
        if not isinstance(objective, TwoTowers):
            raise ValueError(f"models/methods/{name}.py: Method is no TwoTowers (models/text.py); derive it")
        load_heads(objective, self.folder / HEADS)
        self.context = objective.config.context
        fabric.to_device(objective)
        self.objective = objective.eval()

    @property
    def flops(self) -> tuple[int, int]:
        """FLOPs of embedding one image, and one caption."""
        images = nn.Sequential(self.objective.encoder, self.objective.head)
        text = count(self.objective.text, (self.context,), dtypes=[torch.long]).forward
        return count(images, (3, self.size, self.size)).forward, text

    def images(self, data: Examples) -> Tensor:
        """Unit-norm embeddings (n, E) of the plain images.

        Raises:
            ValueError: if one is not finite, or a picture is lost.
        """
        found = outputs(self.objective, self.objective.embed_images, data, self.fabric)
        refuse_nonfinite(found, "image embeddings", self.folder)
        return F.normalize(found, dim=-1)

    @torch.no_grad()
    def texts(self, tokens: Tensor) -> Tensor:
        """Unit-norm embeddings (n, E) of tokens (n, L).

        Raises:
            ValueError: if one is not finite.
        """
        parts = []
        for part in tokens.split(CHUNK):
            with self.fabric.autocast():
                parts.append(self.objective.text(part.to(self.fabric.device)).float().cpu())
        found = torch.cat(parts)
        refuse_nonfinite(found, "text embeddings", self.folder)
        return F.normalize(found, dim=-1)
