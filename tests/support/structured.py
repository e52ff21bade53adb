"""Small models and data with masks, targets, matches, boxes, transcripts and masked words."""

import torch
import transformers as tf
from torch import nn

from tests.support.families import BY_NAME
from tests.support.pretrained import WORDS, tokenizer

TOKENS = {"vocab_size": 40, "pad_token_id": 1, "eos_token_id": 2}


def t5():
    """A T5 with one layer on each side."""
    return tf.T5ForConditionalGeneration(
        tf.T5Config(
            d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, dropout_rate=0.0, decoder_start_token_id=1, **TOKENS
        )
    ).eval()  # fmt: skip


def yolos():
    """A YOLOS of images of 16 x 16 with three classes and five queries."""
    return tf.YolosForObjectDetection(
        tf.YolosConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=[16, 16],
            patch_size=8, num_detection_tokens=5, num_labels=3, hidden_dropout_prob=0.0,
        )
    ).eval()  # fmt: skip


def masked_bert():
    """A BERT that tells masked words."""
    return tf.BertForMaskedLM(
        tf.BertConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=32, pad_token_id=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    ).eval()  # fmt: skip


def boxed(size):
    """Images with none to two boxes, as image processors of transformers prepare them."""
    return [
        {"pixel_values": torch.rand(3, 16, 16), "labels": {
            "class_labels": torch.randint(0, 3, (place % 3,)), "boxes": 0.2 + 0.4 * torch.rand(place % 3, 4)}}
        for place in range(size)
    ]  # fmt: skip


def of_structured_kinds():
    """What the recipes of these kinds use, in the order of the page."""
    encode = tokenizer(special=True)
    texts = [{"source": f"w{8 + place % 9} w9", "target": f"w{20 + place % 9} w30"} for place in range(30)]
    spoken = {"x": torch.randn(20, 12, 4), "labels": torch.randint(1, 5, (20, 3))}
    images = torch.rand(20, 3, 12, 12)
    shared = {"texts": texts, "tokenizer": encode}
    return [
        {"model": nn.Conv2d(3, 3, 1).eval(), "images": images, "masks": (images[:, 0] > 0.5).long()},
        shared | {"translator": t5()},
        shared | {"encoder": BY_NAME["bert_sequence"].make().bert.eval()},
        {"boxed": boxed(12), "detector": yolos()},
        {"listener": nn.Linear(4, 5).eval(), "spoken": spoken, "letters": ["_", *"abcd"]},
        {
            "texts": texts,
            "masking_tokenizer": tokenizer(special=True, mask_token=WORDS[7]),
            "masked_model": masked_bert(),
        },
    ]
