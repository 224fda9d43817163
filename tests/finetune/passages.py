"""Passages of the toy language, and questions about them."""

from plainformer.corpora import Answer
from plainformer.finetune.tasks.question_answering import QuestionAnswering, QuestionExample
from tests.pretrain import tiny

TOKENIZERS = {kind: tiny.make_tokenizer(kind) for kind in ("wordpiece", "unigram", "bpe")}
TASK = QuestionAnswering(max_length=24)
STORY = " ".join(tiny.sentences(5))


def example(question: str, context: str, *answers: tuple[str, int]) -> QuestionExample:
    return QuestionExample(
        question=question,
        context=context,
        answers=tuple(Answer(*a) for a in answers),
        source="f:1",
    )


def about(text: str, context: str = STORY) -> QuestionExample:
    return example("the cat .", context, (text, context.index(text)))
