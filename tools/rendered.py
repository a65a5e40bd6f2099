"""Look at the pages that Quarto has rendered: `python tools/rendered.py [_docs]` fails with a line for each fault; `make docs` calls it.

What can go wrong here cannot be seen in the notebooks: a link that Quarto's lightbox takes away, a reference that leads nowhere, a font
that every reader's browser fetches from elsewhere."""
import re, sys
from html.parser import HTMLParser
from pathlib import Path


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
    found = main(sys.argv[1] if len(sys.argv) > 1 else '_docs', {f'{n[1]}.html' for n in names})
    if found: sys.exit('\n'.join(found))
