"""The live page: a small masked-language model runs in the reader's browser.

page.md, page.zh-CN.md   its prose; the element `live-model` stands where the model goes
build.py                 all steps: read it first
runtime.py               ONNX Runtime Web, from the npm registry
train.py                 the model, pretrained once
words.py                 the words of its controls, and the sentences that it offers
widget.html, live.css    its controls
tokenizer.js             WordPiece, as in `tokenizer/wordpiece.py`
network.js               the exported graph in the browser
page.js                  what the controls do
check.py                 the page in a browser: type, hide a word, watch guesses and attention
"""
