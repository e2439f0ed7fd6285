"""
Fuzz the decoders for a while: ``python -m tests.fuzz [--minutes 10] [--target NAME]... [--seed SEED]``.

With ``--example`` one example is read again, as a finding says.
"""

from __future__ import annotations

import argparse
import base64
import secrets
import sys

from tests.fuzz.fuzzing import Finding, feed, fuzz_in_child
from tests.fuzz.targets import TARGETS, Target


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fuzz(target: Target, seed: str, seconds: float) -> bool:
    """Fuzz one target; returns whether it did well."""
    result = fuzz_in_child(target, seed, seconds)
    if isinstance(result, Finding):
        example = base64.b64encode(result.example).decode()
        _say(f"{target.name:20} seed {seed}: {result.text}")
        _say(f"again: python -m tests.fuzz --target {target.name} --example {example}")
        return False
    _say(f"{target.name:20} {result.read:>12,} read  {result.accepted:>12,} accepted")
    return True


def main() -> None:
    """Fuzz; the exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--example", type=base64.b64decode, help="read this, in base64, and nothing else")
    chosen = parser.parse_args()
    targets = [TARGETS[name] for name in chosen.target or TARGETS]
    if chosen.example is not None:
        for target in targets:
            _say(f"{target.name}: {'accepted' if feed(target, chosen.example) else 'refused'}")
        return
    _say(f"seed {chosen.seed}")
    seconds = chosen.minutes * 60 / len(targets)
    # A list: one finding does not spare the other targets.
    did_well = [_fuzz(target, chosen.seed, seconds) for target in targets]
    sys.exit(not all(did_well))


if __name__ == "__main__":
    main()
