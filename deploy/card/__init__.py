"""Write the card of a saved model: a `README.md` with the front matter that the hub reads.

    write_card(folder)                            the card of a run, from its own files
    facts.py       what is known of the model: its task, base, data, scores, command
    stage.py, results.py, names.py                where that stands in the files of its run
    loading.py     which libraries open the folder, and how
    made.py        the cards of soups and of converted folders
    front_matter.py, text.py                      the two parts of the card
    write.py       README.md, which keeps what its reader has edited

What is not known (the licence of the model, the language of a file) is left out.
"""

from plainformer.deploy.card.facts import Facts
from plainformer.deploy.card.made import converted_card, soup_card
from plainformer.deploy.card.results import Data, Result
from plainformer.deploy.card.text import card_text
from plainformer.deploy.card.write import CARD, refresh_card, write_card

__all__ = [
    "CARD",
    "Data",
    "Facts",
    "Result",
    "card_text",
    "converted_card",
    "refresh_card",
    "soup_card",
    "write_card",
]
