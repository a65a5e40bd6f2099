__version__ = "0.1.0"

def __getattr__(name):
    "Any public definition of the modules, imported when it is asked for: `from vae_nbdev import VAE`."
    from importlib import import_module
    from ._modidx import d
    homes = {symbol.rsplit('.', 1)[1]: module for module, symbols in d['syms'].items() for symbol in symbols
             if symbol.count('.') == 2}
    if name.startswith('_') or name not in homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(homes[name]), name)
