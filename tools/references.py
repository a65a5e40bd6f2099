"""Check without Quarto what would be broken on the site or on the front page: `python tools/references.py`.

Quarto renders an unresolved `@fig-…` or `@eq-…` as `?@fig-…` and still succeeds, so the notebooks are checked as text. Each `check_…`
looks at one page; tools/test_references.py shows each complaint on a page that deserves it."""
import ast, json, re, sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote
import yaml
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
TEXTS = 'README.md', 'CONTRIBUTING.md', 'CODE_OF_CONDUCT.md', 'CHANGELOG.md', 'CITATION.cff'
PAPER = re.compile(r'https?://[^/]*(?:arxiv|doi|openreview|papers\.nips|proceedings|jmlr|distill|aclanthology)\.\w+/|\.pdf$')


class Page:
    "A notebook; or a text, which is then one cell of Markdown."
    def __init__(self, path):
        self.path, text = path, path.read_text(encoding='utf-8')
        self.notebook = path.suffix == '.ipynb'
        self.cells = json.loads(text)['cells'] if self.notebook else [dict(cell_type='markdown', source=text)]
        self.prose, self.code = ('\n\n'.join(source(c) for c in self.cells if c['cell_type'] == kind) for kind in ('markdown', 'code'))
        self.text = re.sub(r'(`+).+?\1', ' ', self.blocks(), flags=re.S) # without code
        self.headings = [(len(h), t) for h,t in re.findall(r'(?m)^(#+) (.+)$', self.blocks())]

    def blocks(self): return re.sub(r'(?ms)^ *(```|~~~).*?^ *\1', '', re.sub(r'(?s)<!--.*?-->', '', self.prose))

    @property
    def anchors(self):
        "What `#…` can point at: headings, and whatever carries a label."
        return {self.anchor(t) for _,t in self.headings} | set(re.findall(r'\{#([\w-]+)', self.prose)) | set(labels(self.code))

    def anchor(self, heading):
        "The anchor that Pandoc gives a heading on the site, or GitHub in a text."
        plain = re.sub(r'\]\([^)]*\)|[`*$]', '', heading).lower().strip()
        if not self.notebook: return re.sub(r'[^\w\- ]', '', plain).replace(' ', '-')
        return re.sub(r'^[\W\d_]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\-. \n]', '', plain)))


def source(cell): return ''.join(cell['source'])
def labels(code): return re.findall(r'(?m)^#\|\s*label:\s*(\S+)', code)
page = cache(Page)


@cache
def bibliography(path):
    "Fields of the entries of a BibTeX file, by key."
    entries = re.findall(r'(?ms)^@\w+\{([^,\s]+),(.*?)(?=^@|\Z)', path.read_text(encoding='utf-8'))
    return [(key, dict(re.findall(r'(\w+)=\{((?:[^{}]|\{[^{}]*\})*)\}', body))) for key,body in entries]


def addresses(entry): return {entry.get('url'), 'https://doi.org/' + entry['doi'] if 'doi' in entry else None} - {None}


def check_cross_references(p):
    equations = re.findall(r'\{#(eq-[\w-]+)', p.prose)
    known = [*equations, *re.findall(r'\{#((?:fig|tbl)-[\w-]+)', p.prose), *labels(p.code)]
    for name in sorted({k for k in known if known.count(k) > 1}): yield f'{name} is defined more than once'
    for ref in sorted(set(re.findall(r'@((?:eq|fig|tbl)-[\w-]+)', p.prose + p.code)) - set(known)): yield f'@{ref} is not defined'
    for eq in equations:
        if f'@{eq}' not in p.code: yield f'{eq} is checked by no cell'
        if f'@{eq}' not in p.prose: yield f'{eq} is never referred to'


def check_links(p):
    for bang,alt,target in re.findall(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)', p.text):
        if bang and not alt: yield f'image {target} has no alternative text'
        if re.match(r'\w+:|\.\./\.\./', target): continue # elsewhere; ../../issues are GitHub's own pages of the project
        name, _, part = unquote(target).partition('#')
        there = (p.path.parent/name).resolve() if name else p.path
        if not there.is_file() and not (there.is_dir() and not p.notebook): yield f'link to {target}, which is not there'
        elif p.notebook and there.parent != p.path.parent: yield f'link to {target}, which is not on the site'
        elif part and there.suffix in ('.md', '.ipynb') and part not in page(there).anchors: yield f'link to {target}, which is not there'


def check_address(p):
    cfg = get_config()
    for url in sorted(set(re.findall(rf'https://github\.com/[\w-]+/{cfg.repo}\b', p.prose))):
        if url != cfg.git_url: yield f'{url} is not the address in settings.ini, {cfg.git_url}'


def check_citations(p, bib=ROOT/'nbs/refs.bib'):
    entries = bibliography(bib)
    known = set().union(*(addresses(e) for _,e in entries))
    for url in sorted(set(re.findall(r'\((https?://[^)\s]+)\)', p.prose + p.code))):
        if PAPER.search(url) and url not in known: yield f'{url} is not in {bib.name}'
    for key in sorted(set(re.findall(r'(?<![\w@.\\])@([a-z]\w+)\b(?!-)', p.text)) - {k for k,_ in entries}):
        if p.notebook: yield f'@{key} is not in {bib.name}'


def check_figures(p):
    for i,cell in enumerate(p.cells):
        if not any('image/png' in o.get('data', {}) for o in cell.get('outputs', [])): continue
        for name in 'label', 'fig-cap', 'fig-alt':
            if not re.search(rf'(?m)^#\|\s*{name}:\s*\S', source(cell)): yield f'cell {i} has a figure without {name}'


def check_outputs(p):
    for i,cell in enumerate(p.cells):
        for o in cell.get('outputs', []):
            if o['output_type'] == 'error' or o.get('name') == 'stderr' or re.search(r'\bTraceback \(|\w+Warning: ', ''.join(o.get('text', ''))):
                yield f'cell {i} has a stored error or warning'


def check_headings(p):
    levels = [level for level,_ in p.headings]
    if p.path.suffix in ('.ipynb', '.md') and (levels[:1] != [1] or levels.count(1) != 1): yield 'a page has one # heading, its first'
    for before,(level,title) in zip(levels, p.headings[1:]):
        if level > before + 1: yield f'heading {title!r} is {level - before} levels below the one above it'
    for name in sorted({a for _,t in p.headings if [p.anchor(u) for _,u in p.headings].count(a := p.anchor(t)) > 1}): yield f'two headings share the anchor #{name}'


def check_title(p):
    if p.notebook and not re.fullmatch(r'# .+\n\n> .+', source(p.cells[0]).strip()):
        yield 'the first cell is not `# Title` and `> one sentence` alone: nbdev drops the rest of it from the site'


def check_characters(p):
    "A backslash that an editor has taken for an escape: `\\approx` becomes a bell and `pprox`."
    for found in re.findall(r'[\x00-\x08\x0b-\x1f].{,12}', f'{p.prose}\n{p.code}'): yield f'a control character: {found!r}'


WIDE, LONG = 100, 40 # columns of code, lines of a function

def functions(tree):
    "Functions of a module and of its classes, and where each one's body begins."
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)): yield node, node.body[0].lineno


def check_code(p):
    for i,cell in enumerate(p.cells):
        if cell['cell_type'] != 'code': continue
        for line in source(cell).splitlines():
            if len(line) > WIDE and not line.startswith('#|') and 'pip install' not in line: yield f'cell {i} has a line of {len(line)} columns: {line[:40]}…'
        for f,start in functions(ast.parse(source(cell))):
            if f.end_lineno - start >= LONG: yield f'cell {i}: {f.name} has {f.end_lineno - start + 1} lines'


def check_blocks(p):
    "Code that is not run, such as calls of a shell, scrolls on the site like any other."
    for block in re.findall(r'(?ms)^ *```.*?\n(.*?)^ *```', p.prose) if p.notebook else ():
        for line in block.splitlines():
            if len(line) > WIDE: yield f'a block has a line of {len(line)} columns: {line[:40]}…'


def check_tables(p):
    "Where a line is longer than 72 columns, the dashes weigh the columns: as many for a symbol as for a sentence waste a page's width."
    for head, dashes, body in re.findall(r'(?m)^(\|.*)\n(\|[-:| ]+\|)\n((?:\|.*\n?)*)', p.prose if p.notebook else ''):
        cells = dashes.strip('|').split('|')
        if len(cells) > 2 and len(set(cells)) == 1 and max(map(len, [head, *body.splitlines()])) > 72: yield f'a table with {len(cells)} equal columns: {head[:40]}'


DECIMAL = r'(?<![\w.,/:])(\d[\d,]*\.\d+)(?!\w|\.\d)'

def numbers(found):
    "All numbers in a text, or in what a JSON file holds."
    if isinstance(found, str): return [float(n) for n in re.findall(r'\d+\.?\d*(?:e[-+]?\d+)?', found.replace(',', ''))]
    if isinstance(found, (dict, list)): return [n for x in (found.values() if isinstance(found, dict) else found) for n in numbers(x)]
    return [abs(found)] if isinstance(found, (int, float)) and not isinstance(found, bool) else []


def sources(p, results):
    "Every number that the code of a notebook holds or prints, and those in the files of results that it names."
    outputs = [o.get('text', o.get('data', {})) for c in p.cells for o in c.get('outputs', [])]
    texts = [''.join(t) for o in outputs for t in ([v for k,v in o.items() if k.startswith('text/')] if isinstance(o, dict) else [o])]
    named = [f for f in sorted(results.glob('*.json')) if re.search(rf'''['"]{f.stem}['"]|{f.stem}\.json''', p.code + p.prose)]
    return {n*scale for x in [p.code, *texts, *(json.loads(f.read_text(encoding='utf-8')) for f in named)] for n in numbers(x) for scale in (1, 100)}


def check_numbers(p, results=ROOT/'results'):
    "A decimal in the prose was measured by the notebook or is in a file of results; or it is worked out after an equals sign, or stands in a paragraph that cites a paper."
    if not p.notebook: return
    known, asked = sources(p, results), []
    for block in re.split(r'\n\s*\n', p.blocks()):
        text = re.sub(r'(`+).+?\1|\]\([^)]*\)|https?://\S+', ' ', block, flags=re.S)
        cites = any(PAPER.search(url) for url in re.findall(r'\]\((\S+?)\)', block))
        for m in re.finditer(DECIMAL, text):
            value = float(m[1].replace(',', ''))
            if cites or re.search(r'[=≈]\s*[-−–]?\s*$', text[:m.start()]): known.add(value)
            else: asked.append((m[1], value, ' '.join(text[max(0, m.start() - 40):m.end() + 20].split())))
    for written, value, where in asked:
        near = 0.51*10**-len(written.split('.')[1])
        if not any(abs(k - value) <= near for k in known): yield f'{written} has no source: "{where}"'


def check_badge(p):
    if re.match(r'\d', p.path.name) and 'colab-badge.svg" alt="Open in Colab"></a>' not in p.prose: yield 'no link that opens it on Colab'


def check_sidebar(pages, config=ROOT/'_quarto.yml'):
    "What is wrong with the sidebar, given the names of all pages."
    def hrefs(items):
        for item in items:
            if 'href' in item: yield item['href']
            if isinstance(item.get('contents'), list): yield from hrefs(item['contents'])
    listed = list(hrefs(yaml.safe_load(config.read_text(encoding='utf-8'))['website']['sidebar']['contents']))
    for name in sorted(set(pages) - set(listed)): yield f'{name} is not in the sidebar'
    for name in sorted(set(listed) - set(pages)): yield f'the sidebar lists {name}, which is not there'


def check_map(pages, config=ROOT/'_quarto.yml', start=None):
    "Chapters, among all pages and those of the sidebar, to which the map in chapter 0 does not lead."
    start = start or page(ROOT/'nbs/00_start.ipynb').prose
    drawn = re.search(r'(?ms)^## The map$(.*?)(?=^## |\Z)', start)
    if not drawn: yield 'there is no section "The map"'; return
    chapters = {*pages, *re.findall(r'href: (\d\w+\.ipynb)', config.read_text(encoding='utf-8'))}
    for name in sorted(n for n in chapters - {'00_start.ipynb'} if n[0].isdigit() and f']({n})' not in drawn[1]): yield f'the map does not lead to {name}'


def check_bibliography(bib=ROOT/'nbs/refs.bib'):
    keys, entries = zip(*bibliography(bib))
    for key in sorted({k for k in keys if keys.count(k) > 1}): yield f'{key} is there twice'
    places = [a for e in entries for a in addresses(e)]
    for url in sorted({a for a in places if places.count(a) > 1}): yield f'{url} has two entries'
    for key,entry in zip(keys, entries):
        if not addresses(entry): yield f'{key} has neither doi nor url'
        for field in 'title', 'author', 'year':
            if field not in entry: yield f'{key} has no {field}'


CHECKS = (check_cross_references, check_links, check_address, check_citations, check_figures, check_outputs, check_headings, check_title, check_characters, check_code,
          check_blocks, check_tables, check_badge, check_numbers)


def complaints():
    "All that is wrong, a line each."
    notebooks = sorted((ROOT/'nbs').glob('*.ipynb'))
    for path in [*notebooks, *(ROOT/name for name in TEXTS)]:
        yield from (f'{path.name}: {c}' for check in CHECKS for c in check(page(path)))
    yield from (f'_quarto.yml: {c}' for c in check_sidebar([p.name for p in notebooks]))
    yield from (f'00_start.ipynb: {c}' for c in check_map([p.name for p in notebooks]))
    yield from (f'refs.bib: {c}' for c in check_bibliography())


if __name__ == '__main__':
    found = list(complaints())
    if found: sys.exit('\n'.join(found))
