"""The child process of reading.py: limits itself, reads a file from standard input, writes blocks as JSON."""

import json
import sys
from dataclasses import asdict

from app.limited_child import limit_itself


def main() -> int:
    """Exit 0 with {"header", "blocks"} or {"refused": code} on standard output; anything else is a crash."""
    memory_bytes, cpu_seconds, chars_max = (int(value) for value in sys.argv[1:4])
    kind = sys.argv[4]
    limit_itself(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds)
    from app.knowledge.parsers import PARSERS, CannotParse

    try:
        parsed = PARSERS[kind](sys.stdin.buffer.read())
        if sum(len(block.text) for block in parsed.blocks) > chars_max:
            raise CannotParse("document_too_long")
        if not parsed.blocks:
            raise CannotParse("document_empty")
        answer = {"header": parsed.header, "blocks": [asdict(block) for block in parsed.blocks]}
    except CannotParse as refusal:
        answer = {"refused": refusal.code}
    except (MemoryError, RecursionError):
        answer = {"refused": "document_too_heavy"}
    json.dump(answer, sys.stdout, ensure_ascii=True)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
