"Packaging: everything is read from settings.ini."
import re, shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

# On PyPI the front page stands alone: its links and pictures get the repository's address
there = lambda m: f"{m[1]}({cfg['git_url']}/{'raw' if m[1][0] == '!' else 'blob'}/{cfg['branch']}/{m[2]})"
readme = re.sub(r'(!?\[[^\]]*\])\((?!\w+:|#)([^)]+)\)', there, (here/'README.md').read_text(encoding='utf-8'))

class BuildWithExtras(build_py):
    "The studies quote numbers from `results`, and `vae_play` serves `nbs/play`, so the package takes both along."
    def run(self):
        super().run()
        if self.editable_mode: return
        home = Path(self.build_lib)/cfg['lib_name']
        self.copy_tree(str(here/'results'), str(home/'results'))
        self.mkpath(str(home/'play'))
        for file in sorted((here/'nbs/play').glob('*.*')):
            if file.suffix in ('.js', '.css', '.html'): self.copy_file(str(file), str(home/'play'))

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    long_description=readme, long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', license_files=['LICENSE'], url=cfg['git_url'],
    keywords=cfg['keywords'].split(), python_requires=f">={cfg['min_python']}",
    classifiers=['Intended Audience :: Education', 'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3',
                 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    packages=find_packages(include=[cfg['lib_path'], f"{cfg['lib_path']}.*"]),
    package_data={cfg['lib_name']: ['pretrained/*/*', 'py.typed']},
    install_requires=shlex.split(cfg['requirements']),
    extras_require={name: shlex.split(cfg[f'{name}_requirements']) for name in ('bench', 'bytes', 'course', 'dev', 'export', 'hub', 'metrics', 'track')},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    cmdclass=dict(build_py=BuildWithExtras), zip_safe=False)
