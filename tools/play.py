"""Write the files of the living page that are not kept in the repository: `python tools/play.py`.

The shipped weights as 16-bit floats, and the 8×8 digits of scikit-learn that its last part trains on, into nbs/play. After that
`python -m http.server` in `nbs` shows the page at `/play/`, without any network."""
from pathlib import Path
from vae_nbdev.core import write_whole
from vae_nbdev.serve import digits_bytes, half_copy

PAGE = Path(__file__).resolve().parent.parent/'nbs/play'

if __name__ == '__main__':
    for name in 'mnist', 'mnist-labels': half_copy(name, PAGE/name)
    with write_whole(PAGE/'digits.bin') as f: f.write_bytes(digits_bytes())
    print(', '.join(f'{p.relative_to(PAGE)} {p.stat().st_size/1e6:.2f} MB' for p in sorted(PAGE.rglob('*')) if p.is_file()))
