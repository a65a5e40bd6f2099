"""Fail when a chapter's stored outputs are older than its code: `python tools/freshness.py`."""
import hashlib, json, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'


def code_hash(nb):
    "Hash of the source of every code cell of `nb`, in order."
    sources = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    return hashlib.sha256('\0'.join(sources).encode()).hexdigest()[:16]


if __name__ == '__main__':
    stale = []
    for path in sorted(NBS.glob('*.ipynb')):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if nb['metadata'].get('vae_nbdev', {}).get('code_hash') != code_hash(nb): stale.append(path.name)
    if stale: sys.exit(f"stored outputs are older than the code in {', '.join(stale)}: run `make run`")
