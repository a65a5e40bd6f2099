"""Write the pages to look things up in, from the package itself: `python tools/reference.py [--check]`.

`nbs/reference/MODULE.qmd` has a table of parameters for every public definition; `nbs/apilist.txt` lists all exported names, and
`nbs/llms.txt` all pages, each with one sentence."""
import argparse, ast, importlib, inspect, json, re, sys, textwrap
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
from fastcore.docments import docments
from nbdev.config import get_config
from pages import names

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'


def address(file):
    "Where the site has a notebook: nbdev leaves the number out."
    cfg = get_config()
    return f'{cfg.doc_host}{cfg.doc_baseurl}/' + re.sub(r'^\d+_', '', file).replace('.ipynb', '.html')


def chapters(pattern='[0-9]*.ipynb'):
    "Each chapter's file, title, sentence and module, in order."
    for path in sorted(NBS.glob(pattern)):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        title, sentence = re.match(r'# ([^\n]+)\n+> ([^\n]+)', ''.join(cells[0]['source'])).groups()
        module = re.search(r'(?m)^#\| default_exp (\w+)', '\n'.join(''.join(c['source']) for c in cells))
        yield path.name, title, sentence, module and module[1]


def unseen(file):
    "Names that a chapter defines in cells that it does not show; their source is on the reference page."
    cells = [''.join(c['source']) for c in json.loads((NBS/file).read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    hidden = [c for c in cells if re.search(r'(?m)^#\| *hide', c) and re.search(r'(?m)^#\| *exports?\b', c)]
    return {n for c in hidden for n in names(c)}


def plain(text): return ' '.join(str(text or '').split()).replace('|', '\\|')


def named(annotation):
    "A type as one writes it."
    if annotation is inspect.Parameter.empty or annotation is None: return ''
    text = annotation if isinstance(annotation, str) else getattr(annotation, '__name__', str(annotation))
    return re.sub(r'\b(?:\w+\.)+(\w+)', r'\1', str(annotation) if '|' in str(annotation) else text)


def shown_default(value):
    "A default as one writes it; a function by its name."
    return getattr(value, '__name__', None) or re.sub(r' at 0x\w+', '', repr(value))


HEAD = '| name | type | default | |', '|------|-----|-----|---------------|' # as wide as what stands in it

def fields(obj):
    "Fields of a named tuple, which docments does not know, as rows of a table."
    text = textwrap.dedent(inspect.getsource(obj))
    for node in ast.parse(text).body[0].body:
        if not isinstance(node, ast.AnnAssign): continue
        default = f'`{ast.unparse(node.value)}`' if node.value else ''
        comment = text.splitlines()[node.end_lineno - 1][node.end_col_offset:].partition('#')[2]
        yield f'| `{node.target.id}` | {plain(ast.unparse(node.annotation))} | {plain(default)} | {plain(comment)} |'


def table(obj):
    "Parameters and what is returned, as lines of a table."
    if hasattr(obj, '_fields'): return [*HEAD, *fields(obj), '']
    try: found = docments(obj, full=True, returns=True)
    except (TypeError, ValueError, OSError): return []
    lines = []
    for name, d in found.items():
        if name in ('self', 'cls') or (name in ('args', 'kwargs') and not d.docment): continue
        default = '' if d.default is inspect.Parameter.empty or name == 'return' else f'`{shown_default(d.default)}`'
        shown = '*returns*' if name == 'return' else f'`{name}`'
        if name == 'return' and d.anno in (None, inspect.Parameter.empty) and not d.docment: continue
        lines.append(f'| {shown} | {plain(named(d.anno))} | {plain(default)} | {plain(d.docment)} |')
    return [*HEAD, *lines, ''] if lines else []


def signature(name, obj):
    try: return f'{name}({", ".join(p for p in inspect.signature(obj).parameters if p != "self")})'
    except (TypeError, ValueError): return name


def entry(name, obj, hidden=(), level=2):
    "One definition, and the public methods of a class."
    kind = 'class' if inspect.isclass(obj) else 'function'
    target = obj.__init__ if kind == 'class' and '__init__' in vars(obj) and not hasattr(obj, '__dataclass_fields__') else obj
    lines = [f'{"#"*level} {name} {{#{name.lower()}}}', '', f'`{signature(name, obj)}`', '']
    if obj.__doc__ and not obj.__doc__.startswith(f'{name}('): lines += [plain(obj.__doc__).replace('\\|', '|'), '']
    lines += table(target)
    if name in hidden: lines += ['<details><summary>Source</summary>', '', '```python', inspect.getsource(obj).rstrip(), '```', '', '</details>', '']
    if kind == 'class':
        for attr, member in vars(obj).items():
            member = getattr(member, '__func__', getattr(member, 'f', member)) # of a class, without a self, or `@patch(cls_method=True)`
            if attr.startswith('_') or not inspect.isfunction(member): continue
            lines += entry(f'{name}.{attr}', member, hidden if member.__qualname__ == member.__name__ else (), level + 1)
    return lines


def page(file, title, sentence, module):
    "The reference page of a module."
    mod = importlib.import_module(f'{get_config().lib_name}.{module}')
    body = []
    for name in mod.__all__:
        obj = inspect.unwrap(getattr(mod, name)) # a function with a cache is one, too
        if inspect.isfunction(obj) or inspect.isclass(obj): body += entry(name, obj, unseen(file))
    values = [f'`{n}`' for n in mod.__all__ if not callable(getattr(mod, n))]
    head = ['---', f'title: "{module}"', f'description: "What {module} holds, with every parameter."', '---', '',
            f'Told and tested in [{title}](../{file}). {sentence}', '']
    if values: head += ['Values: ' + ', '.join(values) + '.', '']
    return '\n'.join(head + body)


def one_line(obj):
    doc = plain(getattr(obj, '__doc__', '')).replace('\\|', '|')
    return f': {doc}' if doc and (inspect.isfunction(obj) or inspect.isclass(obj)) else ''


def build():
    "Contents of all pages, by path."
    files, listed, pages = {}, [], []
    cfg = get_config()
    for file, title, sentence, module in chapters():
        pages.append(f'- [{title}]({address(file)}): {sentence}')
        if not module: continue
        files[NBS/'reference'/f'{module}.qmd'] = page(file, title, sentence, module)
        mod = importlib.import_module(f'{cfg.lib_name}.{module}')
        listed += [f'{cfg.lib_name}.{module}.{n}{one_line(getattr(mod, n))}' for n in mod.__all__]
    files[NBS/'apilist.txt'] = '\n'.join(listed) + '\n'
    names = f'{cfg.doc_host}{cfg.doc_baseurl}/apilist.txt'
    intro = [f'# {cfg.title}', '', f'> {cfg.description}', '', f'All exported names: {names}', '', '## Chapters', '']
    others = [f'- [{title}]({address(file)}): {sentence}' for file, title, sentence, _ in chapters('[m-z]*.ipynb')]
    files[NBS/'llms.txt'] = '\n'.join([*intro, *pages, '', '## To look things up', '', *others]) + '\n'
    return files


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing; fail when a file differs')
    check, files = parser.parse_args().check, build()
    stale = [p for p, text in files.items() if not p.exists() or p.read_text(encoding='utf-8') != text]
    extra = [p for p in (NBS/'reference').glob('*.qmd') if p not in files]
    if check and (stale or extra): sys.exit(f'not up to date: {", ".join(p.name for p in stale + extra)}: run `make prepare`')
    if not check:
        for p in extra: p.unlink()
        for p in stale:
            p.parent.mkdir(exist_ok=True)
            p.write_text(files[p], encoding='utf-8')
