"""Ordinary questions of residents, of no community in particular: their mean is what all questions of a language share.

Taken away from a question's vector it leaves what the question is about (search.py). Not an evaluation set.
"""

from app.knowledge.language import Language

_TEXTS = {
    Language.ZH: """
物业费怎么收？ / 家里水管漏水找谁修？ / 地下车库还有车位吗？ / 门禁卡丢了怎么补办？ / 周末可以装修吗？
快递放在哪里？ / 小区几点关门？ / 电梯坏了打什么电话？ / 楼上太吵了怎么办？ / 访客的车怎么进来？
垃圾什么时候收？ / 养狗需要登记吗？ / 停水通知在哪里看？ / 健身房怎么预约？ / 装修押金多久退？ / 能不能开发票？
暖气什么时候开始供？ / 阳台可以封吗？ / 搬家要提前说吗？ / 游泳池对外开放吗？ / 租客怎么办理登记？
电动车在哪里充电？ / 物业上班时间是几点到几点？ / 业主大会什么时候开？ / 路灯不亮了跟谁说？ / 下水道堵了收费吗？
孩子可以单独去泳池吗？ / 空调外机滴水怎么处理？ / 消防通道被占了怎么投诉？ / 维修资金怎么用？ / 水费单价是多少？
我想预约会议室 / 遛狗有什么规定？ / 没带钥匙进不了门怎么办 / 临时停车一小时多少钱 / 外卖员能上楼吗
墙面渗水谁负责 / 怎么转给人工客服 / 物业电话是多少 / 二手家具怎么处理 / 晚上几点以后不能施工 / 楼道里能放鞋柜吗
信箱钥匙丢了 / 怎么给老人申请送餐 / 小孩的兴趣班怎么报名 / 车牌换了怎么改 / 网线断了找谁 / 煤气有味道怎么办
房子要出租需要报备吗 / 缴费记录在哪里查 / 多交的钱能退吗 / 电费为什么比上个月高 / 有没有保洁服务
烟感一直响怎么回事 / 玻璃碎了能换吗 / 图书室开到几点 / 可以在小区里摆摊吗 / 怎么加入业委会
房产证办好了要交什么材料 / 最近有什么通知
""",
    Language.EN: """
How is the property fee charged? / My pipe is leaking, who can fix it? / Is there a free parking space?
I lost my access card, what now? / Can I renovate at the weekend? / Where are parcels left?
What time does the gate close? / Whom do I call when the lift is broken? / My neighbours are too loud
How can a visitor drive in? / When is the rubbish collected? / Do I have to register my dog?
Where do I see outage notices? / How do I book the gym? / When do I get my deposit back?
Can I have an invoice? / When does the heating start? / May I close in my balcony?
Do I need to tell you before I move out? / Is the swimming pool open to guests? / How do tenants register?
Where can I charge an e-bike? / What are the office hours? / When is the owners' meeting?
The street lamp is out / Is unblocking a drain free? / Can children swim alone?
Water drips from the air conditioner above / Someone blocks the fire lane / How is the maintenance fund used?
What does a cubic metre of water cost? / I want to book a meeting room / What are the rules for dogs?
I am locked out of my flat / How much is visitor parking per hour? / Can couriers come upstairs?
Who pays for a damp wall? / Can I talk to a person? / What is the office's phone number?
How do I get rid of old furniture? / Until what time may workers drill?
May I keep a shoe rack in the corridor? / I lost the key to my mailbox / Meals for my elderly mother
How do I sign my child up for a class? / How do I change my number plate? / The internet is down
I smell gas, what should I do? / Must I report that I rent out my flat? / Where can I see my payments?
I paid too much, can I get it back? / Why is my electricity bill higher this month? / Do you offer cleaning?
The smoke detector keeps beeping / Can you replace a broken window? / How late is the library open?
May I sell things in the yard? / How do I join the owners' committee?
Which papers do I need to register my property? / Any news this week?
""",
}
QUESTIONS: dict[Language, tuple[str, ...]] = {
    language: tuple(question.strip() for question in text.replace("\n", " / ").split(" / ") if question.strip())
    for language, text in _TEXTS.items()
}
