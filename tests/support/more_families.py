"""Further families of transformers models, each as a small random model with a batch that it reads.

Classes go by name, so that an installed version that has no such family leaves it out: ``since`` says from which on.
"""

from dataclasses import dataclass, field

import torch
import transformers as tf
from packaging.version import Version

VOCABULARY, LENGTH, CLASSES = 40, 8, 3
PADDING, END, IMAGE = 1, 2, 39
"""Ids of the tokens that pad, that end a text, and that stand for a picture."""


@dataclass(frozen=True)
class Small:
    """A family, small.

    Attributes:
        name: Its name.
        config: Name of the configuration's class.
        model: Name of the class with a head.
        settings: Settings of the small configuration.
        reads: What its batch holds: ``"text"``, ``"image"``, ``"sound"``, ``"spectrum"`` or ``"text and image"``.
        task: gradsift's task.
        since: First version of transformers with this family as it is used here.
    """

    name: str
    config: str
    model: str
    settings: dict = field(default_factory=dict)
    reads: str = "text"
    task: str = "classification"
    since: str = "5.0"

    @property
    def known(self):
        """Whether the installed version has it."""
        return Version(tf.__version__).release >= Version(self.since).release

    def make(self):
        """The model; zeros and ones of its initialisation, which hide errors, are moved."""
        torch.manual_seed(0)
        settings = {name: value() if callable(value) else value for name, value in self.settings.items()}
        model = getattr(tf, self.model)(getattr(tf, self.config)(**settings)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return model

    def batch(self, n):
        """Rows with labels; texts of several lengths, padded."""
        generator = torch.Generator().manual_seed(n)
        labels = torch.randint(CLASSES, (n,), generator=generator)
        if self.reads == "image":
            return {"pixel_values": torch.randn(n, 3, 32, 32, generator=generator), "labels": labels}
        if self.reads == "sound":
            return {"input_values": torch.randn(n, 400, generator=generator), "labels": labels}
        if self.reads == "spectrum":
            return {"input_features": torch.randn(n, 8, 32, generator=generator), "labels": labels}
        ids = torch.randint(3, VOCABULARY - 1, (n, LENGTH), generator=generator)
        lengths = LENGTH - torch.arange(n) % 3
        mask = torch.arange(LENGTH)[None] < lengths[:, None]
        ids = ids.where(mask, torch.full_like(ids, PADDING))
        if self.reads == "text and image":
            ids[:, :4] = IMAGE
        if self.task == "causal-lm":
            learnt = mask & (ids != IMAGE)
            labels = ids.where(learnt, torch.full_like(ids, -100))
        else:
            ids[torch.arange(n), lengths - 1] = END
        batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}
        if self.reads == "text and image":
            batch["pixel_values"] = torch.randn(n, 3, 16, 16, generator=generator)
        return batch


IDS = {"vocab_size": VOCABULARY, "pad_token_id": PADDING, "bos_token_id": 0, "eos_token_id": END}
BERT = IDS | {
    "hidden_size": 8, "embedding_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": 32, "num_labels": CLASSES,
}  # fmt: skip
LLAMA = IDS | {
    "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}  # fmt: skip
GPT = IDS | {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 32}
MOE = LLAMA | {"num_local_experts": 3, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
BART = IDS | {
    "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "max_position_embeddings": 32, "num_labels": CLASSES,
    "decoder_start_token_id": 0, "forced_eos_token_id": None,
}  # fmt: skip
T5 = IDS | {
    "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2, "num_labels": CLASSES,
    "decoder_start_token_id": 0,
}  # fmt: skip
VIT = {
    "image_size": 32, "patch_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "num_labels": CLASSES,
}  # fmt: skip
STAGES = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "num_labels": CLASSES}
SWIN = {
    "image_size": 32, "patch_size": 4, "embed_dim": 4, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4,
    "num_labels": CLASSES,
}  # fmt: skip
SOUND = {
    "vocab_size": VOCABULARY, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "conv_dim": (6, 6), "conv_kernel": (5, 3), "conv_stride": (5, 3), "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2, "classifier_proj_size": 6, "num_labels": CLASSES,
    "feat_extract_norm": "layer",
}  # fmt: skip
CLIP_VISION = {
    "image_size": 16, "patch_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12,
}  # fmt: skip


def _llava():
    return tf.CLIPVisionConfig(**CLIP_VISION)


def _llama():
    return tf.LlamaConfig(**LLAMA)


def _clip():
    return {**CLIP_VISION, "image_size": 32, "projection_dim": 8}


def classifies(name, stem, settings, **more):
    return Small(name, f"{stem}Config", f"{stem}ForSequenceClassification", settings, **more)


def pictures(name, stem, settings, **more):
    return Small(name, f"{stem}Config", f"{stem}ForImageClassification", settings, "image", **more)


def speaks(name, stem, settings, **more):
    return Small(name, f"{stem}Config", f"{stem}ForCausalLM", settings, task="causal-lm", **more)


MORE = [
    classifies("albert", "Albert", BERT),
    classifies(
        "deberta-v2",
        "DebertaV2",
        BERT | {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    ),
    classifies("electra", "Electra", BERT),
    classifies("xlnet", "XLNet", IDS | {"d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 12, "num_labels": CLASSES}),
    classifies(
        "squeezebert",
        "SqueezeBert",
        BERT
        | {
            "embedding_size": 8,
            "q_groups": 2,
            "k_groups": 2,
            "v_groups": 2,
            "post_attention_groups": 1,
            "intermediate_groups": 2,
            "output_groups": 2,
        },
    ),
    classifies("fnet", "FNet", BERT),
    classifies(
        "modernbert",
        "ModernBert",
        BERT | {"cls_token_id": 0, "sep_token_id": END, "global_attn_every_n_layers": 2, "local_attention": 4},
    ),
    classifies("mpnet", "MPNet", BERT),
    classifies("roformer", "RoFormer", BERT),
    classifies(
        "mobilebert", "MobileBert", BERT | {"embedding_size": 8, "intra_bottleneck_size": 8, "true_hidden_size": 8}
    ),
    classifies("bart", "Bart", BART),
    classifies("t5", "T5", T5),
    Small(
        "mamba",
        "MambaConfig",
        "MambaForCausalLM",
        IDS | {"hidden_size": 8, "state_size": 4, "num_hidden_layers": 2, "time_step_rank": 2},
        task="causal-lm",
    ),
    speaks(
        "opt",
        "OPT",
        IDS
        | {
            "hidden_size": 8,
            "word_embed_proj_dim": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 12,
            "max_position_embeddings": 32,
        },
    ),
    speaks("bloom", "Bloom", IDS | {"hidden_size": 8, "n_layer": 2, "n_head": 2}),
    speaks("gpt-neox", "GPTNeoX", LLAMA),
    speaks(
        "gpt-neo",
        "GPTNeo",
        IDS
        | {
            "hidden_size": 8,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 32,
            "window_size": 4,
        },
    ),
    speaks("gptj", "GPTJ", GPT | {"rotary_dim": 2}),
    speaks("mistral", "Mistral", LLAMA),
    speaks("phi", "Phi", LLAMA | {"num_key_value_heads": 2}),
    speaks("phi3", "Phi3", LLAMA),
    speaks("falcon", "Falcon", IDS | {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}),
    speaks("stablelm", "StableLm", LLAMA),
    speaks("starcoder2", "Starcoder2", LLAMA),
    speaks("olmo2", "Olmo2", LLAMA),
    speaks("granite", "Granite", LLAMA),
    speaks("mixtral", "Mixtral", MOE),
    speaks("qwen2-moe", "Qwen2Moe", MOE | {"shared_expert_intermediate_size": 8}),
    pictures("deit", "DeiT", VIT),
    pictures("beit", "Beit", VIT),
    pictures("clip", "CLIP", {"vision_config": _clip, "projection_dim": 8, "num_labels": CLASSES}),
    pictures("swin", "Swin", SWIN),
    pictures(
        "convnext", "ConvNext", {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "num_labels": CLASSES}
    ),
    pictures(
        "mobilenet-v2",
        "MobileNetV2",
        {"image_size": 32, "depth_multiplier": 0.1, "min_depth": 4, "depth_divisible_by": 4, "num_labels": CLASSES},
    ),
    pictures("regnet", "RegNet", STAGES | {"groups_width": 4}),
    Small("wav2vec2", "Wav2Vec2Config", "Wav2Vec2ForSequenceClassification", SOUND, "sound"),
    Small("hubert", "HubertConfig", "HubertForSequenceClassification", SOUND, "sound"),
    Small(
        "whisper",
        "WhisperConfig",
        "WhisperForAudioClassification",
        BART | {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16, "classifier_proj_size": 6},
        "spectrum",
    ),
    Small(
        "llava",
        "LlavaConfig",
        "LlavaForConditionalGeneration",
        {
            "vision_config": _llava,
            "text_config": _llama,
            "image_token_index": IMAGE,
            "image_token_id": IMAGE,
            "vision_feature_layer": -1,
        },
        "text and image",
        task="causal-lm",
    ),
]
MORE = [family for family in MORE if family.known]
