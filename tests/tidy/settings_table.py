"""The table of settings in README.md: `python -m tests.tidy.settings_table` writes it anew."""

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from app.settings import Settings

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"


def settings_table() -> str:
    """One row a setting: the variable, its default, what it does."""
    rows = ["| Variable | Default | What it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if field.default_factory is not None or default is PydanticUndefined or default is None or default == "":
            shown = ""
        else:
            shown = f"`{str(default).lower() if isinstance(default, bool) else default}`"
        described = (field.description or "").replace("|", "\\|")
        rows.append(f"| `LINLI_{name.upper()}` | {shown} | {described} |")
    return "\n".join(rows)


def main() -> None:
    text = README.read_text()
    table = f"{BEGIN}\n{settings_table()}\n{END}"
    README.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
