import math

import pytest

from models import structured


def test_shares_come_from_the_tokens_that_begin_a_choice():
    first = {
        "有": math.log(0.6),
        "没有": math.log(0.2),
        "没": math.log(0.1),
        " 有": math.log(0.05),
        "我": math.log(0.05),
    }
    found = structured.shares(first, ("有", "没有"))
    assert found == {"有": pytest.approx(0.65 / 0.95), "没有": pytest.approx(0.3 / 0.95)}


def test_a_token_that_begins_no_choice_says_nothing():
    assert structured.shares({"maybe": -0.1}, ("yes", "no")) == {}
    assert structured.shares({}, ("yes", "no")) == {}
