"""Real tokenizers of Hugging Face's, trained on three sentences and wrapped as open_clip wraps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from open_clip.tokenizer import HFTokenizer

SENTENCES = ["a photo of a cat.", "no sea lion at all, tomi!", "a go-kart of a vezi la x", "0123456789 ."] * 3
LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789-.")


def wordpiece() -> tuple[Any, dict[str, str]]:
    """BERT's way: [CLS] and [SEP] around, unknown words as [UNK]; padding is 0."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=[*special.values()], initial_alphabet=LETTERS)
    made.train_from_iterator(SENTENCES, trainer)
    return _around(made, "[CLS]", "[SEP]"), special


def byte_pairs() -> tuple[Any, dict[str, str]]:
    """RoBERTa's way: bytes, and a blank before a word is part of it; padding is 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made, bytes_ = Tokenizer(models.BPE()), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = bytes_
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = [*special.values()]
    made.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=300, special_tokens=names, initial_alphabet=bytes_.alphabet())
    )
    return _around(made, "<s>", "</s>"), special


def pieces() -> tuple[Any, dict[str, str]]:
    """T5's way: an end and no start, Unicode's compatibility forms; padding is 0."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    made.train_from_iterator(
        SENTENCES,
        trainers.UnigramTrainer(
            vocab_size=90, special_tokens=[*special.values()], unk_token="<unk>", initial_alphabet=LETTERS
        ),
    )
    return _around(made, None, "</s>"), special


HF_TOKENIZERS = {"wordpiece": wordpiece, "byte pairs": byte_pairs, "pieces": pieces}


def hf_tokenizer(kind: str, folder: Path) -> HFTokenizer:
    """open_clip's wrapper around one of `HF_TOKENIZERS`, which it reads from `folder`."""
    from transformers import PreTrainedTokenizerFast

    made, special = HF_TOKENIZERS[kind]()
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)
    return HFTokenizer(str(folder), context_length=40)


def _around(made: Any, start: str | None, end: str) -> Any:
    from tokenizers import processors

    names = [name for name in (start, end) if name is not None]
    around = f"{start or ''} $A {end}".strip()
    ids = [(name, made.token_to_id(name)) for name in names]
    made.post_processor = processors.TemplateProcessing(single=around, special_tokens=ids)
    return made
