"""What may stand after a number, in Chinese and English, and what it measures."""

from fractions import Fraction

MONEY = "yuan"
PERCENT = "%"
ITEM = "item"
"""Things counted one by one. They agree with each other and with a bare number, not with hours or money."""

MINUTES_A_DAY = 1440


def _same(measure: str, factor: int | Fraction, words: str) -> dict[str, tuple[str, Fraction]]:
    return {word.replace("_", " "): (measure, Fraction(factor)) for word in words.split()}


CHINESE_UNITS: dict[str, tuple[str, Fraction]] = {
    **_same(MONEY, 1, "元 圆 块 块钱 元钱 人民币 元人民币"),
    **_same(MONEY, Fraction(1, 10), "角 毛 毛钱 角钱"),
    **_same(MONEY, Fraction(1, 100), "分钱"),
    **_same(PERCENT, 1, "% 个百分点"),
    **_same("minute", Fraction(1, 60), "秒 秒钟"),
    **_same("minute", 1, "分钟"),
    **_same("minute", 15, "刻钟"),
    **_same("minute", 60, "小时 个小时 钟头 个钟头 个钟"),
    **_same("minute", MINUTES_A_DAY, "天 日 工作日 个工作日 自然日 个自然日 昼夜 晚 夜"),
    **_same("minute", 7 * MINUTES_A_DAY, "周 个星期 个礼拜 星期"),
    **_same("month", 1, "个月 个自然月 月"),
    **_same("month", 3, "个季度 季度"),
    **_same("month", 12, "年 周年"),
    **_same("year of age", 1, "岁 周岁"),
    **_same("floor", 1, "层 楼 层楼"),
    **_same("building", 1, "栋 幢 号楼 栋楼"),
    **_same("unit", 1, "单元 个单元"),
    **_same("room", 1, "室 号房"),
    **_same("phase", 1, "期"),
    **_same("times", 1, "次 回 遍 趟 倍 人次"),
    **_same("people", 1, "人 位 名 个人"),
    **_same("household", 1, "户"),
    **_same("car", 1, "辆 辆车"),
    **_same("cm", Fraction(1, 10), "毫米"),
    **_same("cm", 1, "厘米 公分"),
    **_same("cm", 100, "米"),
    **_same("cm", 100_000, "公里 千米"),
    **_same("m2", 1, "平方米 平米 平方 ㎡ m² 平"),
    **_same("ton", 1, "吨 立方米 立方 方 m³"),
    **_same("degree", 1, "度 度电 千瓦时 摄氏度 ℃ °c"),
    **_same("gram", 1, "克"),
    **_same("gram", 500, "斤"),
    **_same("gram", 1000, "公斤 千克"),
    **_same("litre", 1, "升"),
    **_same("watt", 1, "瓦"),
    **_same("watt", 1000, "千瓦"),
    **_same("decibel", 1, "分贝"),
    **_same(
        ITEM,
        1,
        "个 件 张 盏 把 条 份 本 台 部 间 桶 只 套 项 种 级 档 页 步 处 根 组 批 道 节 扇 盆 棵 袋 箱 瓶"
        " 包 家 场 班 排 片 类 门 双 颗 幅 座 枚 盒 卷 顿 篇 段 样 款 支 所 条款 方面 号 分",
    ),
}

ENGLISH_UNITS: dict[str, tuple[str, Fraction]] = {
    **_same(MONEY, 1, "yuan rmb cny kuai"),
    **_same(PERCENT, 1, "% percent per_cent"),
    **_same("minute", Fraction(1, 60), "second seconds sec secs"),
    **_same("minute", 1, "minute minutes min mins"),
    **_same("minute", 60, "hour hours hr hrs h"),
    **_same("minute", MINUTES_A_DAY, "day days night nights"),
    **_same("minute", MINUTES_A_DAY, "working_day working_days business_day business_days calendar_day calendar_days"),
    **_same("minute", 7 * MINUTES_A_DAY, "week weeks"),
    **_same("month", 1, "month months calendar_month calendar_months"),
    **_same("month", 12, "year years"),
    **_same("year of age", 1, "years_old year-old year-olds years_of_age"),
    **_same("floor", 1, "floor floors storey storeys story stories"),
    **_same("building", 1, "building buildings"),
    **_same("phase", 1, "phase phases"),
    **_same("times", 1, "time times"),
    **_same("people", 1, "person persons people adults guests"),
    **_same("household", 1, "household households"),
    **_same("car", 1, "car cars vehicle vehicles"),
    **_same("cm", Fraction(1, 10), "mm"),
    **_same("cm", 1, "cm centimetre centimetres centimeter centimeters"),
    **_same("cm", 100, "m metre metres meter meters"),
    **_same("cm", 100_000, "km kilometre kilometres kilometer kilometers km/h"),
    **_same("m2", 1, "sqm sq_m square_metre square_metres square_meter square_meters m² ㎡ m2"),
    **_same("ton", 1, "ton tons tonne tonnes cubic_metre cubic_metres cubic_meter cubic_meters m³ m3"),
    **_same("degree", 1, "kwh kilowatt-hour kilowatt-hours degree degrees degrees_celsius °c ℃"),
    **_same("gram", 1, "g gram grams"),
    **_same("gram", 1000, "kg kilo kilos kilogram kilograms"),
    **_same("litre", 1, "l litre litres liter liters"),
    **_same("watt", 1, "w watt watts"),
    **_same("watt", 1000, "kw kilowatt kilowatts"),
    **_same("decibel", 1, "db decibel decibels"),
}

BEFORE: dict[str, str] = {
    "building": "building",
    "buildings": "building",
    "phase": "phase",
    "phases": "phase",
    "room": "room",
    "unit": "unit",
    "floor": "floor",
    "age": "year of age",
    "aged": "year of age",
    "ages": "year of age",
}
"""English words that give their unit to the number after them (Building 9)."""

SCALES: dict[str, int] = {
    "亿": 100_000_000,
    "万": 10_000,
    "千": 1_000,
    "百": 100,
    "million": 1_000_000,
    "thousand": 1_000,
    "hundred": 100,
}
