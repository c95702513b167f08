"""Networks of timm. Of a plain vision transformer the last block can be trained, of any other network the classifier.

ViT-B/16 (Dosovitskiy et al. 2021) above all. Only the class token of the last block is read, so in that block one query
is enough. Its keys and values need not be made either: with y the normalised tokens, ``q . (K y + k) = (K' q) . y +
const``, where the constant is the same for every token and cancels in the softmax, and as the weights a add up to 1,
``sum_j a_j (V y_j + v) = V (sum_j a_j y_j) + v``. That is exact, and some 75 times cheaper than the block as it stands.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from migxai.errors import UsageError
from migxai.learning.family import IMAGENET, Normalisation, Shapes, Split, Unfreeze
from migxai.learning.heads import Features, Head, LinearHead, channels_last
from migxai.learning.layers import find_pooled_layer


def timm_family(name: str) -> TimmNetwork:
    """Return what builds and cuts ``timm:<name>``.

    Raises
    ------
    UsageError
        If timm has no such network.
    """
    import timm

    timm_name = name.partition(":")[2]
    if not timm.is_model(timm_name):
        raise UsageError(f"timm has no network {timm_name!r}; timm.list_models() lists those it has.")
    with torch.device("meta"):
        network = timm.create_model(timm_name, pretrained=False)
    return (PlainTransformer if is_plain(network) else TimmNetwork)(name, timm_name)


class TimmNetwork:
    """How a network of timm that this package does not know is built and cut: in front of its classifier.

    `name` is what the network is called here, `timm_name` in timm; `files` are patterns of the names of files with its
    weights beside timm's own.
    """

    def __init__(self, name: str, timm_name: str, files: tuple[str, ...] = ()) -> None:
        self.name = name
        self.timm_name = timm_name
        self._files = files

    @property
    def normalisation(self) -> Normalisation:
        """What timm's own checkpoint was trained with."""
        import timm

        settings = timm.get_pretrained_cfg(self.timm_name)
        mean, sd = (IMAGENET.mean, IMAGENET.sd) if settings is None else (settings.mean, settings.std)
        return Normalisation(cast(tuple[float, float, float], tuple(mean)), cast(tuple[float, float, float], tuple(sd)))

    def files(self) -> tuple[str, ...]:
        """Patterns of file names: timm's in the cache of Hugging Face, then timm's copied elsewhere, then others."""
        import timm

        settings = timm.get_pretrained_cfg(self.timm_name)
        patterns: list[str] = []
        if settings is not None and settings.hf_hub_id:
            folder = f"models--{settings.hf_hub_id.replace('/', '--')}/snapshots/*"
            patterns += [f"{folder}/{file}" for file in ("model.safetensors", "pytorch_model.bin")]
        if settings is not None and isinstance(settings.url, str) and settings.url:
            patterns.append(settings.url.rsplit("/", 1)[-1])
        return (*patterns, *(f"{self.timm_name}*.{suffix}" for suffix in ("safetensors", "pth", "pt")), *self._files)

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network."""
        import timm

        return timm.create_model(self.timm_name, pretrained=False, num_classes=n_classes)

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut.

        Raises
        ------
        UsageError
            If more than the classifier is to be trained, there is no single linear classifier, or slices do not fit.
        """
        if unfreeze != "linear":
            raise UsageError(
                f"What the last layer of {self.name} is, is not known here: only its classifier can be trained. Give "
                "--unfreeze linear, or leave this network out."
            )
        network: Any = self.network(2).eval()
        place = network.pretrained_cfg.get("classifier")
        if not isinstance(place, str) or not isinstance(network.get_submodule(place), nn.Linear):
            raise UsageError(f"{self.name} has no single linear classifier, so it cannot be used.")
        images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        try:
            with torch.inference_mode():
                made = _WholeTrunk(network)(images, clean=True)
        except (AssertionError, RuntimeError) as error:
            raise UsageError(f"{self.name} does not take images of 224 x 224 pixels: {error}") from error
        pooled, maps = made["pooled"], made["maps"]
        # Only where the classifier reads the mean of maps are they of use.
        closed = maps.ndim == 4 and maps.shape[3] == pooled.shape[1] and torch.allclose(maps.mean(dim=(1, 2)), pooled)
        clean: Shapes = {"maps": tuple(maps.shape[1:])} if closed else {}
        features = {"pooled": tuple(pooled.shape[1:])}
        layer = find_pooled_layer(network, images)
        return Split(self.name, "linear", features, clean, {"classifier": place}, pooled_layer=layer)

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take timm's layout as it is."""
        return state, self.normalisation

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:  # noqa: ARG002  (there is one way to cut it)
        """Cut off what is frozen."""
        return _WholeTrunk(network)

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        return LinearHead(split.features["pooled"][0], n_classes)


class _WholeTrunk(nn.Module):
    """The whole network but its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, clean: bool) -> dict[str, Tensor]:
        maps = self.network.forward_features(images)
        features: dict[str, Tensor] = {"pooled": self.network.forward_head(maps, pre_logits=True)}
        return features | {"maps": channels_last(maps) if maps.ndim == 4 else maps} if clean else features


class PlainTransformer(TimmNetwork):
    """How a vision transformer that classifies by its class token, as the original one does, is built and cut."""

    #: torchvision's names of modules and what timm calls them, outermost first.
    _names: ClassVar[tuple[tuple[str, str], ...]] = (
        ("class_token", "cls_token"),
        ("conv_proj.", "patch_embed.proj."),
        ("encoder.pos_embedding", "pos_embed"),
        ("encoder.layers.encoder_layer_", "blocks."),
        ("encoder.ln.", "norm."),
        ("heads.head.", "head."),
        (".ln_1.", ".norm1."),
        (".ln_2.", ".norm2."),
        (".self_attention.in_proj_", ".attn.qkv."),
        (".self_attention.out_proj.", ".attn.proj."),
        (".mlp.linear_1.", ".mlp.fc1."),
        (".mlp.linear_2.", ".mlp.fc2."),
        (".mlp.0.", ".mlp.fc1."),
        (".mlp.3.", ".mlp.fc2."),
    )

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut; its last block holds no convolution, so that stands for it.

        Raises
        ------
        UsageError
            If it takes images of another size than 224.
        """
        with torch.device("meta"):
            network: Any = self.network(1)
        rows, columns = network.patch_embed.grid_size
        size = network.patch_embed.img_size
        if tuple(size) != (224, 224):
            raise UsageError(
                f"{self.name} takes images of {size[0]} pixels; slices have 224, so choose a network for 224."
            )
        block = network.blocks[-1]
        width, tokens, heads = int(network.embed_dim), rows * columns + 1, int(block.attn.num_heads)
        details = {
            "width": width,
            "heads": heads,
            "hidden": int(block.mlp.fc1.out_features),
            "eps": float(block.norm1.eps),
            "rows": rows,
            "columns": columns,
        }
        if unfreeze == "linear":
            clean: Shapes = {"attention": (heads, tokens), "rollout": (tokens,)}
            return Split(self.name, unfreeze, {"pooled": (width,)}, clean, {"classifier": "head"}, details)
        features = {"tokens": (tokens, width), "cls": (width,)}
        modules = {"block": f"blocks.{len(network.blocks) - 1}", "norm": "norm", "classifier": "head"}
        return Split(self.name, "last-block", features, {"rollout": (tokens, tokens)}, modules, details)

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take timm's layout as it is, and rename torchvision's."""
        if "conv_proj.weight" not in state:
            return state, self.normalisation
        renamed = {}
        for name, tensor in state.items():
            for theirs, ours in self._names:
                name = name.replace(theirs, ours)
            renamed[name] = tensor
        return renamed, IMAGENET

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut off what is frozen."""
        return _TransformerTrunk(network, split)

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        return super().head(split, n_classes) if split.unfreeze == "linear" else TokenHead(split, n_classes)


def is_plain(network: nn.Module) -> bool:
    """Say whether a network of timm is a vision transformer as the original one: then its last block can be trained.

    Without registers, layer scale, normalised queries, another normalisation or pooling other than by class token.
    """
    from timm.layers.attention import Attention
    from timm.layers.mlp import Mlp
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import Block, VisionTransformer

    if type(network) is not VisionTransformer or network.global_pool != "token" or network.num_prefix_tokens != 1:
        return False
    block = network.blocks[-1]
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        return False
    plain = (block.attn.q_norm, block.attn.k_norm, block.attn.norm, block.ls1, block.ls2, block.mlp.norm)
    normed = (block.norm1, block.norm2, network.norm)
    return (
        all(type(part) is nn.Identity for part in (*plain, network.fc_norm))
        and all(isinstance(part, nn.LayerNorm) for part in normed)
        and type(network.patch_embed) is PatchEmbed
        and type(block.mlp.act) is nn.GELU
        and getattr(block.attn, "gate", None) is None
        and block.attn.qkv.bias is not None
        and block.attn.attn_dim == network.embed_dim
        and network.pos_embed is not None
        and not network.no_embed_class
        and not network.dynamic_img_size
    )


class _TransformerTrunk(nn.Module):
    """All blocks but the last, or all of them. Tokens stay in 32 bits between the blocks."""

    def __init__(self, network: Any, split: Split) -> None:
        super().__init__()
        self.patch_embed = network.patch_embed
        self.cls_token = network.cls_token
        self.pos_embed = network.pos_embed
        self.norm_pre = network.norm_pre
        whole = split.unfreeze == "linear"
        self.blocks = network.blocks if whole else network.blocks[:-1]
        self.norm = network.norm if whole else None
        self.eps = split.details["eps"]

    def lower(self, dtype: torch.dtype) -> _TransformerTrunk:
        """Compute convolutions and matrix products in fewer bits."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)
        return self

    def forward(self, images: Tensor, clean: bool) -> dict[str, Tensor]:
        tokens = self.patch_embed(images).float()
        first = self.cls_token.expand(len(tokens), -1, -1)
        tokens = self.norm_pre(torch.cat([first, tokens], dim=1) + self.pos_embed)
        rollout = torch.eye(tokens.shape[1]).expand(len(tokens), -1, -1) if clean else None
        weights = tokens
        for block in self.blocks:
            tokens, weights = _block(block, tokens, attend=clean)
            if rollout is not None:
                # Abnar & Zuidema 2020: half of what a token holds is its own, half is what it attends to.
                rollout = 0.5 * (rollout + weights.mean(dim=1) @ rollout)
        if self.norm is not None:
            features = {"pooled": self.norm(tokens[:, 0])}
            extra = {} if rollout is None else {"attention": weights[:, :, 0], "rollout": rollout[:, 0]}
            return features | extra
        # Normalised before they are stored, tokens are of one size and lose nothing that the last block reads.
        normed = functional.layer_norm(tokens, tokens.shape[-1:], eps=self.eps)
        features = {"tokens": normed, "cls": tokens[:, 0]}
        return features if rollout is None else features | {"rollout": rollout}


def _block(block: Any, tokens: Tensor, attend: bool) -> tuple[Tensor, Tensor]:
    """Run a frozen block; with `attend`, return its attention (B, heads, N, N) too, else an empty tensor."""
    dtype = block.attn.qkv.weight.dtype
    batch, count, width = tokens.shape
    made = block.attn.qkv(block.norm1(tokens).to(dtype))
    heads = int(block.attn.num_heads)
    query, key, value = made.reshape(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    weights = tokens.new_empty(0)
    if attend:
        scores = query.float() @ key.float().transpose(-2, -1) / math.sqrt(width // heads)
        weights = scores.softmax(dim=-1)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    tokens = tokens + block.attn.proj(mixed.transpose(1, 2).reshape(batch, count, width)).float()
    return tokens + block.mlp(block.norm2(tokens).to(dtype)).float(), weights


class _Parts(nn.Module):
    """Modules by name, as in timm's block; `TokenHead` says how they are put together."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


class TokenHead(Head):
    """The last block for the class token, the normalisation that reads it, and the classifier.

    That normalisation is drawn anew and trained with the block, as a batch normalisation is with its convolution.

    Features are ``tokens`` (B, N, D), standardised over D but not yet scaled and shifted as the block's first
    normalisation does, and the class token ``cls`` (B, D) as it comes in.
    """

    def __init__(self, split: Split, n_classes: int) -> None:
        width, hidden, eps = int(split.details["width"]), int(split.details["hidden"]), split.details["eps"]
        super().__init__(width, n_classes)
        self.heads = int(split.details["heads"])
        self.block = _Parts(
            norm1=nn.LayerNorm(width, eps=eps),
            attn=_Parts(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)),
            norm2=nn.LayerNorm(width, eps=eps),
            mlp=_Parts(fc1=nn.Linear(width, hidden), fc2=nn.Linear(hidden, width)),
        )
        self.norm = nn.LayerNorm(width, eps=eps)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        norm = self.block.norm1
        mixed, _ = self._attend(features["tokens"], norm.weight, norm.bias)
        return self._finish(features["cls"], mixed)

    def scaled(self, features: Features) -> Tensor:
        """Return the output of the block's first normalisation, (B, N, D): what Grad-CAM on tokens looks at."""
        norm = self.block.norm1
        scaled: Tensor = features["tokens"] * norm.weight + norm.bias
        return scaled

    def from_scaled(self, scaled: Tensor, cls: Tensor) -> Tensor:
        """Return logits (B, C) from `scaled` tokens, for gradients with respect to them."""
        mixed, _ = self._attend(scaled, torch.ones_like(scaled[0, 0]), torch.zeros_like(scaled[0, 0]))
        return cast(Tensor, self.classifier(self._finish(cls, mixed)))

    def attention(self, features: Features) -> Tensor:
        """Return how the class token attends to each token, (B, heads, N)."""
        norm = self.block.norm1
        return self._attend(features["tokens"], norm.weight, norm.bias)[1]

    def _attend(self, tokens: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from the class token to all, keys and values folded.

        Tokens (B, N, D) are scaled and shifted, (D,) each, to what the block's first normalisation gives. What comes
        out is mixed, (B, D) before the projection, and the attention, (B, heads, N).
        """
        qkv = self.block.attn.qkv
        width = tokens.shape[-1]
        each = width // self.heads
        w_query, w_key, w_value = qkv.weight.split(width)
        b_query, _, b_value = qkv.bias.split(width)
        query = functional.linear(tokens[:, 0] * scale + shift, w_query, b_query) / math.sqrt(each)
        # One matrix product a head: (heads, B, each) @ (heads, each, D).
        folded = torch.bmm(query.reshape(-1, self.heads, each).transpose(0, 1), w_key.reshape(self.heads, each, width))
        scores = torch.bmm(folded.transpose(0, 1) * scale, tokens.transpose(1, 2))
        attention = scores.softmax(dim=-1)
        context = torch.bmm(attention, tokens) * scale + shift
        value = w_value.reshape(self.heads, each, width).transpose(1, 2)
        mixed = torch.bmm(context.transpose(0, 1), value).transpose(0, 1).reshape(-1, width)
        return mixed + b_value, attention

    def _finish(self, cls: Tensor, mixed: Tensor) -> Tensor:
        """Return the normalised class token after the block, (B, D)."""
        block = self.block
        cls = cls + block.attn.proj(mixed)
        hidden = functional.gelu(block.mlp.fc1(block.norm2(cls)))
        return cast(Tensor, self.norm(cls + block.mlp.fc2(hidden)))
