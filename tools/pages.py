"""How a chapter becomes a page of the site, beyond what nbdev does: `procs` in settings.ini names these processors.

A definition is shown once, by its source. Above it stands a link to its table of parameters, which is also the anchor that links from
other pages lead to. A solution is one toggle, text and code together, and its output is not shown."""
import ast, re
from nbdev.process import Processor
from execnb.nbio import mk_cell


def names(source):
    "Names that a cell of Python defines, methods added by `@patch` with their class."
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)): continue
        patched = [d for d in getattr(node, 'decorator_list', []) if 'patch' in ast.unparse(d)]
        home = f'{ast.unparse(node.args.args[0].annotation)}.' if patched else ''
        yield home + node.name


def methods(source):
    "Methods in the bodies of a cell's classes."
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef): yield from (f'{node.name}.{f.name}' for f in node.body if isinstance(f, ast.FunctionDef) and public(f.name))


def public(name): return not any(part.startswith('_') for part in name.split('.'))
def anchor(name): return f'[]{{#{name.lower()}}}' # nbdev links to methods and to private names, too
def link(module, name): return f'[`{name}`](reference/{module}.qmd#{name.lower()}){{.reference #{name.lower()}}}'


def documented(module):
    "Public functions, classes and methods of a module, as nbdev's index lists them; links in the text may lead to any."
    from vae_nbdev._modidx import d
    head = f'vae_nbdev.{module}.'
    found = [s.removeprefix(head) for s in d['syms'].get(f'vae_nbdev.{module}', {}) if s.startswith(head)]
    return [n for n in found if public(n)]


def exported(cell): return cell.cell_type == 'code' and 'exports' in (cell.directives_ or {})
def solution(cell): return cell.cell_type == 'code' and 'code-summary: "Solution"' in cell.source


class Anchors(Processor):
    "Above each exported cell, an anchor and a link for every public name that it defines."
    def begin(self):
        module = next((v[0] for c in self.nb.cells for k,v in (c.directives_ or {}).items() if k.startswith('default_exp')), '')
        cells, seen = [], set()
        for cell in self.nb.cells:
            if exported(cell):
                found = [n for n in dict.fromkeys([*names(cell.source), *methods(cell.source)]) if n not in seen]
                top = set(names(cell.source))
                links = [link(module, n) if public(n) and n in top else anchor(n) for n in found]
                seen.update(found)
                if links: cells.append(mk_cell('::: {.reference-links}\n' + ' '.join(links) + '\n:::', 'markdown'))
            cells.append(cell)
        rest = [n for n in documented(module) if n not in seen]
        links = ' '.join([*(link(module, n) for n in rest if '.' not in n), *(anchor(n) for n in rest if '.' in n)])
        if rest: cells.append(mk_cell('::: {.reference-links}\nAlso in this module: ' + links + '\n:::', 'markdown'))
        self.nb.cells[:] = cells


class Solutions(Processor):
    "The text of a solution and the code under it, in one fold, without output."
    def begin(self):
        cells = []
        for cell in self.nb.cells:
            if solution(cell):
                if cells and cells[-1].source.rstrip().endswith('</details>'):
                    cells[-1].source = cells[-1].source.rstrip().removesuffix('</details>').rstrip() + '\n'
                else: cells.append(mk_cell('<details><summary>Solution</summary>\n', 'markdown'))
                code = [l for l in cell.source.splitlines() if not l.startswith(('#| code-fold', '#| code-summary', '#| output'))]
                cell.source, cell.outputs = '\n'.join(code), []
                cells += [cell, mk_cell('</details>', 'markdown')]
            else: cells.append(cell)
        self.nb.cells[:] = cells
