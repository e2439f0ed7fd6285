"""The header of a GGUF file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llamacpp.gguf import is_branchable


def header(**values: int | str | list[str]) -> bytes:
    """Return a header with these values; ``__`` in a key is a point."""
    made = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    for key, value in values.items():
        made += text(key.replace("__", "."))
        if isinstance(value, int):
            made += struct.pack("<II", 4, value)
        elif isinstance(value, str):
            made += struct.pack("<I", 8) + text(value)
        else:
            made += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return made


def text(value: str) -> bytes:
    """Return a text as GGUF writes it."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


LLAMA: dict[str, int | str | list[str]] = {
    "general__architecture": "llama",
    "general__languages": ["en", "de"],
    "llama__block_count": 30,
}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"llama__attention__sliding_window": 0}, True),
        ({"gemma3__attention__sliding_window": 512}, False),
        ({"qwen35__ssm__conv_kernel": 4}, False),
        ({"qwen35__full_attention_interval": 4}, False),
        ({"rwkv7__wkv__head_size": 64}, False),
        ({"lfm2__shortconv__l_cache": 3}, False),
        ({"general__architecture": "mamba"}, False),
    ],
)
def test_which_models_can_be_cut_back(
    tmp_path: Path, more: dict[str, int | str | list[str]], *, expected: bool
) -> None:
    """Sliding windows and recurrence can't, whatever the architecture is called."""
    path = tmp_path / "m.gguf"
    path.write_bytes(header(**{**LLAMA, **more}))
    assert is_branchable(path) is expected


def test_the_real_model_can(model: Path) -> None:
    """SmolLM2 attends to everything."""
    assert is_branchable(model)


@given(st.data())
def test_a_header_that_is_cut_off_promises_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What can't be read is taken for a model that can't be cut back; nothing is raised."""
    whole = header(**LLAMA)
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert not is_branchable(path)


@given(st.binary(max_size=200))
def test_noise_promises_nothing(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """Nor does a length beyond all files."""
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63) + noise)
    assert not is_branchable(path)
