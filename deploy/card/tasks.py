"""Name the tasks as the hub does, and describe each in a sentence, with an input to try."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The words for one task."""

    tag: str
    """The hub's name of the task."""
    does: str
    """The predicate of the sentence that describes the model: "It …"."""
    example: str
    """An input of `Predictor`, as Python."""


WORDINGS = {
    "classification": Wording(
        "text-classification", "chooses one label for a text or a pair of texts", '"A text."'
    ),
    "multi-label": Wording(
        "text-classification", "chooses any number of labels for a text", '"A text."'
    ),
    "regression": Wording(
        "text-classification",
        "predicts a number for a text or a pair of texts",
        '("A text.", "Another text.")',
    ),
    "tagging": Wording("token-classification", "tags the words of a text", '"A text."'),
    "question-answering": Wording(
        "question-answering",
        "answers a question by a span of a passage",
        '{"question": "Who wrote it?", "context": "Ada Lovelace wrote it in 1843."}',
    ),
    "multiple-choice": Wording(
        "multiple-choice",
        "chooses the option that goes with a text",
        '{"text": "The kettle is on.", "options": ["It boils.", "It sleeps."]}',
    ),
    "relation": Wording(
        "text-classification",
        "names the relation between two marked entities of a text",
        '{"text": "Ada met Charles.", "head": [0, 3], "tail": [8, 15]}',
    ),
    "sentence-embedding": Wording(
        "sentence-similarity",
        "represents a text by a vector; texts of like meaning have near vectors",
        '("A text.", "Another text.")',
    ),
    "prompt": Wording(
        "text-classification",
        "chooses one label for a text, by the word that fills a template",
        '"A text."',
    ),
}
