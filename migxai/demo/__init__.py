"""`migxai-demo`: a made-up cohort with known truth."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `migxai-demo`; the generator is imported only here."""
    from migxai.demo.main import main as run

    return run(argv)


__all__ = ["main"]
