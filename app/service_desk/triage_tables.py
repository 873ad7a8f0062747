"""What triage knows as data: which category an intent means, which words point to one, and what is urgent."""

import re

from models.intent import EMERGENCIES

ASK_WORDS = None
"""The intent alone does not tell the category: the classifier of categories and the words do."""

CATEGORY_OF_INTENT: dict[str, str | None] = {
    "repair_unit": ASK_WORDS,
    "repair_public": ASK_WORDS,
    "repair_elevator": "lift",
    "repair_status": ASK_WORDS,
    "repair_urge": ASK_WORDS,
    "repair_change": ASK_WORDS,
    "repair_rate": ASK_WORDS,
    "repair_price": ASK_WORDS,
    "emg_trapped": "lift",
    "emg_gas_fire": "emergency",
    "emg_water": ASK_WORDS,
    "emg_person": "emergency",
    "emg_security": "emergency",
    "outage_query": ASK_WORDS,
    "bill_query": "fees",
    "bill_explain": "fees",
    "bill_dispute": "fees",
    "bill_pay": "fees",
    "invoice": "fees",
    "refund": "fees",
    "meter_report": "fees",
    "energy_query": "fees",
    "visitor_create": "other",
    "visitor_manage": "other",
    "access_problem": "public_door",
    "bind_room": "other",
    "parking_monthly": "parking",
    "parking_temp": "parking",
    "parking_report": "parking",
    "ev_charging": "electrical",
    "noise": "noise",
    "hygiene": ASK_WORDS,
    "pet": "pet",
    "staff_complaint": "staff_conduct",
    "falling_object": "falling_object",
    "suggestion": ASK_WORDS,
    "notice_query": "other",
    "service_guide": "other",
    "renovation": "renovation",
    "item_release": "other",
    "facility_booking": "other",
    "activity": "other",
    "local_service": "other",
    "parcel": "other",
    "lost_found": "other",
    "vote_survey": "other",
    "elder_care": "other",
    "privacy": "other",
    "human": "other",
    "control": "other",
    "out_of_scope": "other",
    "smalltalk": "other",
    "multi_intent": ASK_WORDS,
    "abuse_or_attack": "other",
}
"""Every intent of the classifier; a test proves it complete."""

ORDERS = frozenset(
    {
        "repair_unit", "repair_public", "repair_elevator", "repair_rate", "outage_query", "bill_dispute",
        "access_problem", "parking_report", "ev_charging", "noise", "hygiene", "pet", "staff_complaint",
        "falling_object", "suggestion", *EMERGENCIES,
    }
)  # fmt: skip
"""Intents of which an order can be made. A text that is anything else came to the wrong place: a person reads it."""

WORDS: dict[str, str] = {
    "plumbing": r"水管|水龙头|水笼头|水喉|角阀|软管|水箱|暖气片|地暖|龙头|阀门|\btaps?\b|\bfaucet|\bpipes?\b|\bradiator|\bbasin\b",
    "drainage": r"堵|下水|地漏|返水|反水|塞咗|\bclog|\bblocked\b|\bdrains?\b|\bsewage|\bflush|overflowing",
    "electrical": r"插座|跳闸|电闸|空开|漏电|开关|没电|充电桩|\bsocket|\bbreaker|\bfuse|\boutlet\b|\bswitch|\bcharger",
    "door_lock": r"门锁|锁芯|指纹锁|防盗门|入户门|钥匙|门把|对讲|门铃|\block\b|\bkey\b|\bintercom|\bdoor handle|\bhinge",
    "appliance": r"空调|热水器|油烟机|灶|冰箱|洗衣机|\bac\b|\baircon|\bfridge|\boven\b|\bwater heater|\bcooker|\bboiler",
    "wall_ceiling": r"墙皮|墙面|天花板|吊顶|瓷砖|发霉|裂缝|\bceiling|\bwalls?\b|\btiles?\b|\bmould|\bplaster",
    "network": r"断网|宽带|光猫|路由器|网络|没网|机顶盒|电视没信号|\bwifi\b|\binternet\b|\brouter|\btv signal",
    "lift": r"电梯|电提|电题|升降机|𨋢|客梯|货梯|\blifts?\b|\belevat",
    "public_lighting": r"路灯|楼道灯|声控灯|景观灯|楼到灯|(?:楼道|大厅|地库|车库|走廊).{0,6}灯|\bstreet ?lamp|\blamp post|(?:hallway|corridor|stairwell|garage|lobby).{0,20}light",
    "public_water": r"(?:地库|车库|楼道|走廊|垃圾房|公共).{0,8}(?:漏水|滴水|积水|水管)|雨水管|污水井|停水|没水",
    "public_door": r"单元门|门禁|道闸|大门|卷帘门|闭门器|闸机|刷脸|刷卡|\bgate\b|\bbarrier|\bshutter|lobby door|entrance (?:lock|door)",
    "fire_equipment": r"消防栓|灭火器|喷淋头|烟感|应急灯|疏散|安全出口|消防报警|\bextinguisher|\bhydrant|smoke detector|exit sign|fire alarm",
    "road_green": r"井盖|路面|地砖|马路|草坪|树|绿化|灌木|减速带|\bpothole|\bmanhole|\bpaving|\btrees?\b|\bbranch|\bhedge",
    "cleaning": r"垃圾|卫生|臭味|保洁|打扫|烟头|脏|埋汰|\btrash|\brubbish|\bbins?\b|\bdirty|\bfilthy|\bvomit|\bsmell",
    "pest": r"蟑螂|老鼠|白蚁|马蜂|苍蝇|蚊子|消杀|虫|\bcockroach|\brats?\b|\btermite|\bwasp|\bants?\b|\bmosquito|\bpests?\b",
    "parking": r"占.{0,4}车位|车位|堵.{0,3}通道|挪车|违停|乱停|\bparked|\bparking|\bmy (?:space|spot|bay)",
    "noise": r"噪音|噪声|吵|电钻|装修声|半夜.{0,6}(?:蹦|跳|唱)|广场舞|\bnois[ey]|\bloud|\bdrilling|\bstomp",
    "pet": r"狗|猫|宠物|遛|鹦鹉|\bdogs?\b|\bcats?\b|\bpets?\b",
    "staff_conduct": r"态度|保安|管家|前台|客服|门岗|\brude|\bguard\b|\breceptionist|\bmanager\b",
    "falling_object": r"高空抛物|抛物|(?:楼上|天上|高层|窗户).{0,6}(?:扔|丢|抛|掉|撇)|外墙.{0,6}掉|\bthrown? (?:from|out)|falling object|fell from",
    "fees": r"物业费|水费|电费|停车费|账单|收费|滞纳金|多收|重复扣|\bfees?\b|\bbill|\bcharged|\boverpa",
    "renovation": r"装修|施工许可|承重墙|违建|封阳台|\brenovat|\bcontractor|structural wall|illegal construction",
    "suggestion": r"建议|希望|提议|能不能(?:加|装|增)|要是有|\bsuggest|\bpropose|\bplease (?:add|consider)|would be nice",
    "praise": r"表扬|点赞|感谢|锦旗|夸|好评|\bkudos|\bcompliment|\bpraise|\bthank(?:s| you)? (?:to|the)|\bbrilliant",
    "inspection": r"巡检|巡查|夜巡|巡楼|月检|年检记录|点检|例行检查|\binspection (?:found|report)|\bpatrol|\broutine (?:check|inspection)",
}  # fmt: skip
"""Words that point to a category: they raise its share, they do not decide alone."""
POINTING: dict[str, re.Pattern[str]] = {code: re.compile(words, re.IGNORECASE) for code, words in WORDS.items()}

URGENT = re.compile(
    r"漏水|渗水|喷水|止不住|返水|反水|往外冒|没电|停电|跳闸|漏电|露铜|漏铜|火星|烧焦|糊味|打不开门|锁.{0,3}外|进不了?家"
    r"|没水|不热|暖气.{0,4}(?:凉|冷)|孕妇|婴儿|新生儿|宝宝|老人|轮椅|残疾|差点|砸到|碎一地|要掉|快掉|井盖|消防通道|救护车"
    r"|马上|赶紧|尽快|加急|紧急|十万火急|急用|leak|flood|sewage|no (?:power|water|heating|hot water)|spark|burn(?:ing|t) smell"
    r"|locked out|newborn|baby|elderly|wheelchair|pregnant|urgent|asap|immediately|right away|nearly hit|manhole"
    r"|exposed wire|wires visible|fire lane|ambulance",
    re.IGNORECASE,
)  # fmt: skip
"""Whoever says this should not wait in the row of the day."""
PRESSING = frozenset({"lift", "fire_equipment", "falling_object", "emergency"})
"""Categories that do not wait, however calmly they are told."""
AT_HOME = frozenset({"plumbing", "drainage", "electrical", "door_lock", "appliance", "wall_ceiling", "network"})
"""Categories for which somebody must know which home is meant."""
