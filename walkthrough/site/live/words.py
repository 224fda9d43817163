"""Name the controls of the live page in each language, and the sentences that it offers."""

from typing import Any

EXAMPLES = (
    "A *dog* is running in the snow.",
    "An *instrument* for measuring the force of the wind.",
    "A man is *playing* a guitar.",
    "A small *animal* with a long tail.",
    "What is the capital *of* France?",
)
"""Between asterisks: the word that is hidden at first."""

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "loading": "Loading the model, {megabytes:.0f} MB …",
        "label": "An English sentence",
        "examples": "Or begin with:",
        "pieces": "Its pieces",
        "press": "Press a word to hide it; press the mask to show the word again. With the "
        "keyboard: Tab to the row, arrow keys within it, Enter to press.",
        "long": "The sentence is longer than the model reads: its end is left out.",
        "unknown": "[UNK] is a word that the vocabulary cannot spell. "
        "The model has read English only.",
        "guesses": "What the model expects there",
        "no_mask": "Nothing is hidden. Press a word above.",
        "attention": "Where the heads look",
        "choose": "Each small square is a head: rows are the pieces that look, columns those "
        "that they look at, the darker the more. Choose one to see it large. Then choose a piece "
        "on the left.",
        "heads": "Heads: a row for each layer, the first on top",
        "queries": "Pieces that look",
        "keys": "Pieces that they look at",
        "noscript": "The model is a program that runs in your browser: it needs JavaScript.",
        "script": {
            "fault": "The model cannot run in this browser: {fault}",
            "put": "Put it into the sentence",
            "was": "Hidden: “{word}”. The model has it as no. {rank}, with {share}.",
            "several": "Hidden: “{word}”, a word of several pieces: one guess is one piece.",
            "head": "Layer {layer}, head {head}",
            "all": "All pieces at once.",
            "attends": "What “{piece}” looks at. Press it again to see all pieces.",
        },
    },
    "zh": {
        "loading": "正在加载模型，{megabytes:.0f} MB……",
        "label": "一句英文",
        "examples": "或者从这些句子开始：",
        "pieces": "切成的片段",
        "press": "按一个词就把它遮住，按掩码就恢复原词。"
        "用键盘：Tab 到这一行，方向键移动，回车按下。",
        "long": "句子超过了模型能读的长度，末尾没有读。",
        "unknown": "[UNK] 表示词表拼不出来的词。这个模型只读过英文。",
        "guesses": "模型认为这里是什么",
        "no_mask": "现在没有遮住任何词。请在上面按一个词。",
        "attention": "各个头在看哪里",
        "choose": "每个小方块是一个头：行是在看的片段，列是被看的片段，颜色越深，看得越多。"
        "选一个头，右边就把它画大；再选左列的一个片段，只看它的注意力。",
        "heads": "各个头：一行是一层，第一层在最上面",
        "queries": "在看的片段",
        "keys": "被看的片段",
        "noscript": "模型是在浏览器里运行的程序，需要 JavaScript。",
        "script": {
            "fault": "模型无法在这个浏览器里运行：{fault}",
            "put": "填进句子",
            "was": "遮住的是“{word}”，模型把它排在第 {rank} 位，概率 {share}。",
            "several": "遮住的是“{word}”，它由几个片段组成，而一个猜测只是一个片段。",
            "head": "第 {layer} 层第 {head} 头",
            "all": "所有片段的注意力。",
            "attends": "“{piece}”在看哪里。再按一次，恢复显示所有片段。",
        },
    },
}
