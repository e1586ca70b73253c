"""Components as their files say."""

from pathlib import Path

from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from onaspr_core.backbones.model_files import ModelFiles
from onaspr_core.backbones.weights import Weights
from onaspr_core.settings import BackboneSettings


def weights(folder: Path) -> Weights:
    settings = BackboneSettings(family="wan", path=str(folder), frames=5, device="cpu")
    return Weights(ModelFiles(folder, {}), settings, "fingerprint")


def test_a_t5_tokenizer_is_read_to_the_letter(tmp_path: Path) -> None:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<s>", 0.0), ("<unk>", 0.0)]
    pieces = [*special, ("cat", -1.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    made = Tokenizer(Unigram(pieces, unk_id=3, byte_fallback=True))
    made.decoder = decoders.ByteFallback()
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        tmp_path / "tokenizer"
    )
    found = weights(tmp_path).t5_tokenizer()(["cat\u00e9"]).input_ids
    assert found == [[4, 5 + 0xC3, 5 + 0xA9]]
