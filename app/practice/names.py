"""The names and places that the practice community is drawn from. Nothing here is a real person or address."""

SURNAMES = tuple("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎")

# Given names by generation: who is old or young can be read from a Chinese name.
ELDER_NAMES = (
    "国庆",
    "建华",
    "秀英",
    "桂兰",
    "玉珍",
    "志强",
    "淑芬",
    "永福",
    "凤霞",
    "德明",
    "月娥",
    "长青",
    "素琴",
    "文斌",
)
ADULT_NAMES = (
    "伟",
    "静",
    "敏",
    "磊",
    "婷",
    "超",
    "雪梅",
    "海涛",
    "晓燕",
    "俊杰",
    "丽娜",
    "志远",
    "思琪",
    "鹏飞",
    "雅文",
    "浩然",
    "佳怡",
    "明轩",
    "晨曦",
    "文博",
    "慧敏",
    "一帆",
    "若彤",
    "子健",
    "嘉宁",
    "颖",
    "凯",
    "欣悦",
)
CHILD_NAMES = (
    "梓涵",
    "沐辰",
    "一诺",
    "雨桐",
    "宇轩",
    "可欣",
    "子墨",
    "语嫣",
    "乐乐",
    "奕辰",
    "安安",
    "诗涵",
    "铭泽",
    "糖糖",
)

ORGANISATION_NAME = "栖禾物业服务有限公司"
# Phase name, its buildings, floors, units a building. Two rooms on each floor of a unit.
WANGLAN_PHASES = (("一期", range(1, 6), 18, 2), ("二期", range(6, 11), 24, 2), ("三期", range(11, 15), 22, 2))
GUIYIN_PHASES = (("一期", range(1, 3), 10, 1),)

PHONES: dict[str, dict[str, str]] = {
    "wanglan": {
        "service_phone": "0700-8800-1000", "emergency_phone": "0700-8800-1010", "gas_company_phone": "0700-9600-777",
        "water_company_phone": "0700-9600-288", "power_company_phone": "0700-9600-598",
    },
    "guiyin": {"service_phone": "0700-8802-2000"},
}  # fmt: skip
"""Settings of each community, as its documents tell them (`emergency-contacts.md`); emergency cards name them."""
