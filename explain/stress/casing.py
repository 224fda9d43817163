"""Write words in small or in capital letters.

Who was Galileo?    →    who was galileo?    WHO WAS GALILEO?
"""

from plainformer.explain.stress.choose import altering

lower_words = altering(lambda word, _: word.lower())
upper_words = altering(lambda word, _: word.upper())
