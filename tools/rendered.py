"""Look at the pages that Quarto has rendered: `python tools/rendered.py [_docs]` fails with a line for each fault; `make docs` calls it.
It also makes formulas readable in what the search of the site shows, where Quarto leaves raw TeX.

What can go wrong here cannot be seen in the notebooks: a link that Quarto's lightbox takes away, a reference that leads nowhere, a font
that every reader's browser fetches from elsewhere."""
import json, re, sys, unicodedata
from html.parser import HTMLParser
from pathlib import Path


LOOKS = r'left|right|[bB]igg?[lr]?|math\w+|text\w*|operatorname|[td]?frac|sqrt|underbrace|overline|bar|hat|tilde|boldsymbol|displaystyle|tag'
SIGNS = dict(mid='|', cdot='·', odot='·', times='×', le='≤', ge='≥', approx='≈', ne='≠', sim='~', to='→', infty='∞', pm='±', sum='∑', int='∫', prod='∏', dots='…')

def sign(command):
    "A command of TeX as one character, or else its name."
    size = 'CAPITAL' if command[0].isupper() else 'SMALL'
    try: return unicodedata.lookup(f'GREEK {size} LETTER {"lamda" if command.lower() == "lambda" else command}')
    except KeyError: return SIGNS.get(command, command)


def readable(tex):
    "A formula as a line of text: `\\log p_\\theta(x)` becomes `log pθ(x)`."
    text = re.sub(r'\\(?:begin|end)\{\w+\*?\}', ' ', tex)
    text = re.sub(r'\\[td]?frac\{([^{}]*)\}\{([^{}]*)\}', r'\1/\2', re.sub(r'\\q+uad', ' ', text))
    text = re.sub(rf'\\(?:{LOOKS})(?![a-zA-Z])', '', text).replace(r'\|', '‖').replace('\\\\', ' ')
    text = re.sub(r'\\([a-zA-Z]+)', lambda m: sign(m[1]), text)
    text = ' '.join(re.sub(r'[{}&_$]|\\[,;:!. ]', '', text).split())
    return re.sub(r' ?\| ?', '|', text)


def readable_formulas(text): return re.sub(r'(?s)\\\((.+?)\\\)|\\\[(.+?)\\\]', lambda m: readable(m[1] or m[2]), text)


def mend_search(path):
    "Write what the search finds without TeX."
    entries = json.loads(path.read_text(encoding='utf-8'))
    for e in entries: e.update({k: readable_formulas(e[k]) for k in ('text', 'title', 'section') if isinstance(e.get(k), str)})
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2), encoding='utf-8')


class Found(HTMLParser):
    "Links that hold a picture, the address of the page's own picture, and the text."
    def __init__(self, html):
        super().__init__()
        self.link, self.pictures, self.card, self.text, self.silent = None, [], '', [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'a': self.link = attrs.get('href', '')
        if tag == 'img' and self.link: self.pictures.append((self.link, attrs.get('alt', '')))
        if tag == 'meta' and attrs.get('property') == 'og:image': self.card = attrs.get('content', '')
        self.silent += tag in ('script', 'style', 'code')

    def handle_endtag(self, tag):
        if tag == 'a': self.link = None
        self.silent -= tag in ('script', 'style', 'code')

    def handle_data(self, data):
        if not self.silent: self.text.append(data)


def faults(html, chapter):
    "What is wrong with one page; a chapter is a page that Colab can open."
    found = Found(html)
    if chapter and not any('colab' in link and alt == 'Open in Colab' for link,alt in found.pictures): yield 'no link that opens it on Colab'
    for ref in sorted(set(re.findall(r'\?@(?:fig|eq|tbl)-[\w-]+', ''.join(found.text)))): yield f'{ref} leads nowhere'
    if re.search(r'fonts\.(?:googleapis|gstatic)\.com', html): yield 'a font from elsewhere'
    if not found.card.endswith('card.png'): yield f'its picture is {found.card or "missing"}, not card.png'


def main(folder, chapters):
    pages = sorted(p for p in Path(folder).rglob('*.html') if 'play' not in p.relative_to(folder).parts)
    if not pages: return [f'{folder}: no pages']
    missing = [f'{name}: not rendered' for name in sorted(set(chapters) - {p.name for p in pages})]
    return missing + [f'{p.name}: {f}' for p in pages for f in faults(p.read_text(encoding='utf-8'), p.name in chapters)]


if __name__ == '__main__':
    names = (re.match(r'\d+_(\w+)', p.name) for p in Path('nbs').glob('[0-9]*.ipynb'))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else '_docs')
    if (folder/'search.json').exists(): mend_search(folder/'search.json')
    found = main(folder, {f'{n[1]}.html' for n in names})
    if found: sys.exit('\n'.join(found))
