"""A page with a few words and buttons, for whoever follows a link that Linli sent: no script, nothing from outside."""

from fastapi.responses import HTMLResponse

STYLE = (
    "body{font:18px sans-serif;max-width:30em;margin:2em auto;padding:0 1em}"
    "button{font:inherit;width:100%;padding:1em;margin:.4em 0}"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}


def plain_page(inner: str) -> HTMLResponse:
    """The page around `inner`, in which what others wrote has to be escaped."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    return HTMLResponse(f"<!doctype html><html><head>{head}</head><body>{inner}</body></html>", headers=HEADERS)
