"""Make the mistakes of written Chinese: characters that sound or look alike, signs of other width.

    在北京做工作。    →    再北京作工做。    在北京做工柞。    在北京做工作.

Most mistakes of Chinese are of these two kinds (Liu et al. 2010, https://aclanthology.org/C10-2085);
Cheng et al. 2020 (arXiv:2004.14166) correct them by the same two relations. The lists are small, of
common characters; each is in one group of a list. One character a word is replaced.
"""

from dataclasses import replace
from typing import Any

import torch

from plainformer.base.words import unspaced_edges
from plainformer.explain.stress.choose import Alter, altering, draw, some

SOUNDS = """
的地得 在再载 做作坐座 他她它 是事市试式示世 以已椅 和河何合 那哪 有友 又右 到道 进近 像象向
里理李礼 时十实石食 会汇绘 员原园元圆 生声升 行形型 期七 其奇旗棋 分纷 公工功攻 机基鸡
及级极急集 记计技济际 建件健见 经京精惊 力利立历丽例 名明鸣 前钱 情晴 全权泉 师诗失 书输舒 提题
天添 为位未味卫 五午武舞 现线限县 小晓 心新欣辛 意义易议艺 因音阴 应英 与语雨宇 只纸指 知之支
中钟终 住注助祝 自字 化话画 家加佳 平评苹瓶 要药 一医衣 院愿 早枣 还孩 高糕 关官观 果裹 好郝
很狠 后候厚 间坚 讲奖 教叫较 今金斤 九久酒 快块 老姥 没梅 每美 门们 气汽器 请顷 去趣 上尚 少绍
身深伸 水税 说硕 所锁 太态泰 听厅 同童铜 外歪 问文闻 我涡 无吴 西希息 喜洗 先鲜 想响 学穴 样漾
也野 用佣 远苑 张章 长常场 真针珍 正政证 直值职 重众 走揍
"""
"""Characters of one sound."""
LOOKS = """
己已巳 未末 人入八 土士 日曰 天夫 大太犬 千干 王玉主 木本术 今令 午牛 田由甲申 力刀 几九 又叉
了子 白百 目自 乌鸟 问间 买卖 师帅 折拆 侯候 享亨 历厉 治冶 狠狼 贷货 喝渴 抱抛 辩辨 睛晴 清请
住往 待侍 体休 免兔 季李 何河 拔拨 竞竟 陪部 场扬 课棵 见贝 万方 西酉 要耍 春舂 兵乒 具其 氏民
洒酒 幻幼 斤斥 失矢 裁栽 进近 还这 作柞 在再 代伐 常尝 处外 到倒 第弟 东冻 动劝 独烛 对时 风凤
各名 管菅 广厂 国固 过边 孩该 毫豪 恨根 换唤
"""
"""Characters that look alike."""
HALF_WIDTH = dict(zip("，。！？；：（）", ",.!?;:()", strict=True))
FULL_WIDTH = {half: full for full, half in HALF_WIDTH.items()}


def doubles(groups: str) -> dict[str, str]:
    """Return the other characters of the group of each character."""
    return {one: group.replace(one, "") for group in groups.split() for one in group}


def confusing(others: dict[str, str]) -> Alter:
    """Return the function that replaces one character of a word by another of its group."""

    def alter(word: str, generator: torch.Generator) -> str:
        places = [place for place, character in enumerate(word) if character in others]
        if not places:
            return word
        place = draw(places, generator)
        return word[:place] + draw(others[word[place]], generator) + word[place + 1 :]

    return alter


def change_width(example: Any, share: float, generator: torch.Generator) -> Any:
    """Write a share of the signs of Chinese in the other width: those of full width, and those of
    half width behind Chinese.
    """
    words = list(example.to_words())
    places, behind_chinese = [], False
    for place, word in enumerate(words):
        if word.text in HALF_WIDTH or (word.text in FULL_WIDTH and behind_chinese):
            places += [place] * (not word.is_fixed)
        elif any(map(str.isalnum, word.text)):
            behind_chinese = unspaced_edges(word.text)[1]
    for place in some(places, share, generator):
        sign = words[place].text
        words[place] = replace(words[place], text=(HALF_WIDTH | FULL_WIDTH)[sign])
    return example.with_words(tuple(words))


homophones = altering(confusing(doubles(SOUNDS)))
lookalikes = altering(confusing(doubles(LOOKS)))
