"`python -m vae_nbdev train …`: the commands, where their scripts are not on the path."
from .cli import main

if __name__ == '__main__': main()
