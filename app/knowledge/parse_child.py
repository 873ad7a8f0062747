"""The child process of reading.py: limits itself, reads a file from standard input, writes blocks as JSON."""

import json
import resource
import sys
from dataclasses import asdict


def main() -> int:
    """Exit 0 with {"header", "blocks"} or {"refused": code} on standard output; anything else is a crash."""
    kind, memory_bytes, cpu_seconds, chars_max = sys.argv[1], *(int(value) for value in sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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
