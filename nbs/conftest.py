"""pytest for the chapters: one item for each cell that asserts something, and one that runs the notebook to its end.

A notebook is executed once, in order, in one shell; an item first runs the cells above it that have not run yet.
A study is executed once more, from end to end with all flagged cells, as a quick study: tiny budgets and images made for it.
Cells that nbdev would skip are skipped here: `#| eval: false`, and the flags of `tst_flags` unless `--nb-flags` names them."""
import ast, os, re, shutil, tempfile
from pathlib import Path
from unittest import mock
import pytest
from execnb.shell import CaptureShell, format_exc
from nbdev.config import get_config
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

os.environ.setdefault('OMP_NUM_THREADS', '1') # before torch is imported: these tensors are small, and on a shared machine threads wait for each other

ASSERTS = re.compile(r'(assert|test|expect)_\w+$')


def pytest_addoption(parser):
    parser.addoption('--nb-flags', default='', help='Space-separated nbdev flags whose cells run too, e.g. "slow data"')


def pytest_configure(config):
    # without the flag `data` the tests are the same on every machine, whatever it holds
    if 'data' not in config.getoption('--nb-flags').split(): os.environ.pop('VAE_NBDEV_DATA', None)
    worker = os.environ.get('PYTEST_XDIST_WORKER') # of several at once (`-n 2 --dist loadfile`), each has its own temporary files
    if worker:
        own = Path(tempfile.gettempdir())/f'vae_nbdev_{os.getppid()}_{worker}'
        own.mkdir(exist_ok=True)
        os.environ['TMPDIR'], tempfile.tempdir = str(own), str(own)


def pytest_collect_file(file_path, parent):
    if file_path.suffix == '.ipynb': return Notebook.from_parent(parent, path=file_path)


def asserts(source):
    "Does this cell assert something: an `assert`, or a call of an `assert_…`, `test_…` or `expect_…` function?"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert): return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
            if ASSERTS.match(name): return True
    return False


class Notebook(pytest.File):
    def collect(self):
        skip = set(get_config().tst_flags.split()) - set(self.config.getoption('--nb-flags').split())
        self.shell, self.done, self.broken, self.todo, self.all = None, 0, None, [], []
        for i, cell in enumerate(NBProcessor(self.path, procs=FrontmatterProc, process=True).nb.cells):
            direc = cell.directives_ or {}
            if cell.cell_type != 'code' or (direc.get('eval:') or [''])[0].lower() == 'false': continue
            self.all.append((i, cell.source))
            if not skip & direc.keys(): self.todo.append((i, cell.source))
        for n, (i, source) in enumerate(self.todo):
            if asserts(source): yield Cells.from_parent(self, name=f'cell {i}', upto=n + 1)
        yield Cells.from_parent(self, name='to the end', upto=len(self.todo))
        if any('if study.quick' in source for _, source in self.all): yield QuickStudy.from_parent(self, name='quick study')

    def start(self):
        import matplotlib
        import torch
        matplotlib.rcdefaults()
        torch.set_flush_denormal(False) # a run that an earlier notebook trained has set it
        self.folder = os.getcwd()
        os.chdir(self.path.parent)
        self.shell = CaptureShell(self.path, mpl_format='png')

    def run_quick(self):
        "All cells in a shell of their own, with nothing left of an earlier quick study."
        self.teardown()
        shutil.rmtree(Path(tempfile.gettempdir())/'vae_nbdev_study', ignore_errors=True)
        with mock.patch.dict(os.environ, VAE_NBDEV_STUDY='quick'):
            self.start()
            for i, source in self.all:
                self.shell.run(source)
                if self.shell.exc is not None: raise CellError(i, source, self.shell.exc)

    def run_upto(self, upto):
        if self.broken: pytest.fail(f'{self.broken} of this notebook failed before', pytrace=False)
        if self.shell is None: self.start()
        for i, source in self.todo[self.done:upto]:
            self.shell.run(source)
            self.done += 1
            if self.shell.exc is None: continue
            if not isinstance(self.shell.exc, AssertionError): self.broken = f'cell {i}'
            raise CellError(i, source, self.shell.exc)

    def teardown(self):
        if self.shell is not None:
            from matplotlib import pyplot
            pyplot.close('all')
            os.chdir(self.folder)
        self.shell = None


class CellError(Exception): pass


class Cells(pytest.Item):
    def __init__(self, *, upto, **kw):
        super().__init__(**kw)
        self.upto = upto

    def runtest(self): self.parent.run_upto(self.upto)
    def reportinfo(self): return self.path, None, f'{self.path.name}: {self.name}'

    def repr_failure(self, excinfo):
        if not isinstance(excinfo.value, CellError): return super().repr_failure(excinfo)
        i, source, exc = excinfo.value.args
        return f'{self.path.name}, cell {i}:\n\n{source}\n\n{"".join(format_exc(exc)[-6:])}'


class QuickStudy(Cells):
    def __init__(self, **kw): super().__init__(upto=0, **kw)
    def runtest(self): self.parent.run_quick()
