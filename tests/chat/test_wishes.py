"""What counts as asking for a person, in how people write it."""

import pytest

from app.chat.wishes import Wish, find

PERSON = """
转人工 | 转人工！！ | 转 人 工 | 轉人工 | 转仁工 | 转人公 | 转任工 | 转人共 | 传人工 | 专人工 | 转到人工 | 转接人工客服 | zhuanrengong
zhuan ren gong | 转人工啊转人工 | 请转人工服务 | 帮我转人工 | 给我转人工 | 能不能转人工 | 怎么转人工 | 麻烦转下人工 | 人工 | 人工！ | 人工人工人工
人工客服 | 人工服务 | 人工呢 | 人工在吗 | 真人 | 真人客服 | 有没有活人 | 有没有真人啊 | 客服在吗 | 客服呢 | 我要人工 | 我要人工客服
我想找人工 | 叫人工来 | 接人工 | 换人工 | 找人工客服 | 我要真人 | 给我找个真人 | 我要找活人 | 我不跟机器人说 | 我不想跟机器人说话
不想和机器人聊 | 别让机器人回我 | 不要机器人 | 跟机器人说不清 | 我要跟人说话 | 我想跟真人说话 | 能不能跟人聊 | 找个人跟我说 | 叫个人来
换个人来说 | 叫你们经理来 | 找你们领导 | 让我跟你们的人说 | 叫你们管事的来 | 我要找物业的人 | 找管家 | 联系客服 | 联系工作人员 | 找工作人员
我要找客服 | 叫物业经理 | 物业费怎么算的，你说不清，转人工 | 停水了！转人工！ | 客服电话打不通，转人工 | 算了算了转人工吧
搵真人 | 我想搵人倾 | 揾客服 | 唔好同机器人讲 | 我要同人讲 | 有冇真人 | 转人工啦 | 寻人工 | 勿要机器人 | 喊个人来嘛 | 莫得活人嗦
给老子转人工 | 整个活人来 | 俺要人工 | 给俺转人工 | 叫个活人来
A person please | I want to talk to a human | talk to a real person | speak to someone | Can I speak with an agent?
human | human please | agent | Representative! | operator | live agent | get me staff | Stop, get me staff | connect me to an agent
I don't want to talk to a bot | no bots please | stop bot | this bot is useless | transfer me to a representative
let me speak to your manager | is anyone there | customer service please | i need a human | give me a real human
I want to speek to a persn | tlak to a humna | get me an agnet | connect me to a repersentative | trasnfer me to an opreator
"""
NOBODY = """
人工费多少钱 | 维修人工费怎么收 | 人工湖在哪里 | 人工智能是什么 | 人工草坪能踩吗 | 客服电话是多少 | 前台几点上班 | 物业经理电话
物业的电话号码 | 管家的微信是多少 | 我想找人修水管 | 找个人来修水管 | 叫个师傅来修马桶 | 找人开锁 | 不用转人工 | 不要转人工 | 先别转人工
不需要人工 | 不用叫人来 | 工作人员态度太差 | 保安态度太差 | 王师傅特别负责 | 物业服务中心在哪 | 停车怎么收费 | 你好 | 谢谢 | 你是机器人吗
我家来了个人 | 楼下有人吵架 | 有人占我车位 | 机器人扫地机能放楼道吗 | 小区有没有充电桩 | 有没有人捡到钥匙 | 可以带人进小区吗
老人一个人在家 | 转租给别人要登记吗 | 人脸识别打不开 | 我要投诉物业经理 | 客服中心周末上班吗 | 门口的真人雕塑什么时候拆
How much is it per person? | I need someone to fix my tap | Who is the person in charge? | What is the office phone number?
customer service hours | Is the lift working? | Send me a plumber | Someone took my space | don't need a human | no need for an agent
Can a person with a dog use the lift? | When does the manager's office open? | The guard was rude | Is there a robot lawn mower?
"""
BACK = """
继续问机器人 | 还是问你吧 | 不用等了 | 不用转人工了 | 取消转人工 | 返回机器人 | back to the bot | never mind the human | cancel
"""


def each(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", "|").split("|") if part.strip()]


@pytest.mark.parametrize("message", each(PERSON))
def test_a_person_is_asked_for(message):
    assert find(message) is Wish.PERSON


@pytest.mark.parametrize("message", each(NOBODY))
def test_a_person_is_only_mentioned(message):
    assert find(message) is not Wish.PERSON


@pytest.mark.parametrize("message", each(BACK))
def test_the_bot_is_wanted_back(message):
    assert find(message) is Wish.BOT
