"""What `linli up` prints about the practice community: who may sign in, and a first question to paste."""

from app.practice.seed import DemoSignIn, Seeded

QUESTION = "装修什么时间可以施工？"
JSON = "-H 'content-type: application/json'"
TOKEN_OF = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])'"  # noqa: S105 (a command)


def try_it(seeded: Seeded) -> str:
    """The text for people; `{address}` stands where the web process's address belongs."""
    resident = next((one for one in seeded.sign_ins if one.kind == "resident"), seeded.sign_ins[0])
    body = _body(resident, seeded.password)
    headers = "-H \"authorization: Bearer $TOKEN\" -H 'accept: text/event-stream'"
    lines = [
        f"  Demo sign-ins; the password of all, made for this machine: {seeded.password}",
        *(_line(one) for one in seeded.sign_ins),
        "  Ask a first question:",
        f"    TOKEN=$(curl -s {{address}}/api/v1/auth/sign-in {JSON} -d '{body}' | {TOKEN_OF})",
        f'    curl -N {{address}}/api/v1/me/turns {headers} {JSON} -d \'{{"text": "{QUESTION}"}}\'',
    ]
    return "\n".join(lines)


def _line(one: DemoSignIn) -> str:
    return f"    {one.community:<14} {one.login:<22} {one.label_zh}  {one.label_en}"


def _body(one: DemoSignIn, password: str) -> str:
    return f'{{"community": "{one.community}", "login": "{one.login}", "password": "{password}"}}'
