"""Build the walkthrough's site: run the chapters, compose two languages, make pages of them.

__main__.py    all steps in their order: read it first
execute.py     a chapter → the outputs of its cells
notebook.py    prose of one language + cells + outputs → a notebook
pages.py       the other pages: index, terms, reference, files of the repository
language.py    what each language has of its own: its folder, its reader, the words of the site
links.py       links between files of the repository → links between pages
html_pages.py  a folder of sources → a folder of HTML, with Sphinx
extension.py   what Sphinx is taught: anchors of cells; formulas as MathML (mathml.py);
               docstrings in plain text (docstrings.py); search in Chinese (search.py)
live/          a page where a model runs in the browser
check.py       finished pages: links resolve; in a browser: accessible, and fit for a phone
screenshot.py  a picture of a page
"""
