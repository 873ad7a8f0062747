"""Whether the documents answer is decided before anything is worded."""

import pytest

DOCUMENTS = {
    "停车": "# 停车收费\n\n外来车辆停车每小时5元，24小时最高40元，进场30分钟内免费。",
    "泳池": "# 泳池\n\n泳池每天6:00至21:00开放，12岁以下儿童须由成人陪同。",
    "装修": "# 装修\n\n装修须提前5天报备，工作日8:00至18:00施工，装修押金2000元，验收后退还。",
    "Guest rooms": "# Guest rooms\n\nA guest room costs 220 yuan a night, five nights at most.",
}


@pytest.mark.parametrize(
    ("question", "answered"),
    [
        ("外来车停车一小时多少钱", True),
        ("泳池几点开放", True),
        ("How much is a guest room per night?", True),
        ("怎么申请护照", False),
        ("今天股票涨了吗", False),
        ("Who won the football match yesterday?", False),
    ],
)
async def test_an_unrelated_question_is_not_answered_by_the_nearest_passage(client, make, question, answered):
    for title, text in DOCUMENTS.items():
        await make.document(title, text)
    reply = await client.post(
        f"{(await make.home()).url}/search", json={"question": question}, as_=await make.resident()
    )
    found = reply.json()
    assert found["answered"] is answered, found["answer_score"]


async def test_without_documents_nothing_is_answered(client, make):
    url = f"{(await make.home()).url}/search"
    found = (await client.post(url, json={"question": "停车多少钱"}, as_=await make.resident())).json()
    assert (found["items"], found["quotes"], found["answered"]) == ([], [], False)
