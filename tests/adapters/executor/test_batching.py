"""When collected tokens are written."""

from __future__ import annotations

from adapters.executor.batching import Batch


def test_the_first_token_is_due_at_once_and_the_rest_in_batches() -> None:
    """Somebody waits for the first; the others come thirty milliseconds together."""
    batch = Batch(0.03)
    assert batch.due_s is None
    batch.add("text", "a", 1.0)
    assert batch.due_s == 1.0
    assert batch.take() == [("text", "a")]
    batch.add("text", "b", 1.01)
    batch.add("text", "c", 1.02)
    assert batch.due_s == 1.04
    assert (batch.take(), batch.take(), batch.due_s) == ([("text", "bc")], [], None)


def test_types_keep_their_order() -> None:
    """Reasoning and text are not mixed up."""
    batch = Batch()
    for part_type, text in (("reasoning", "hm"), ("text", "a"), ("text", "b"), ("reasoning", "ah")):
        batch.add(part_type, text, 0)
    assert batch.take() == [("reasoning", "hm"), ("text", "ab"), ("reasoning", "ah")]
