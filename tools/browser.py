"""A real browser for tests: headless Chromium, steered by its driver over plain HTTP (the W3C's WebDriver), without a library for it.

`python tools/browser.py [FOLDER]` serves the living page, plays with it, writes screenshots into FOLDER (default: runs/browser) and
prints what it measured. On Debian and Ubuntu the two programs come with `apt install chromium chromium-driver`."""
import argparse, base64, json, shutil, socket, subprocess, sys, tempfile, threading, time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

FLAGS = ('--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking '
         '--disable-component-update --disable-sync --hide-scrollbars').split()
KEYS = dict(right='\ue014', left='\ue012', up='\ue013', down='\ue015', space=' ', delete='\ue017')


def programs():
    "Paths of the browser and of its driver; None for one that is not here."
    found = [next(filter(None, map(shutil.which, names)), None) for names in (('chromium', 'chromium-browser', 'google-chrome', 'chrome'), ('chromedriver',))]
    return tuple(found)


class Browser:
    "One window. `with Browser() as b:`"
    def __enter__(self):
        browser, driver = programs()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        self.driver = subprocess.Popen([driver, f'--port={port}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.root = self.session = f'http://127.0.0.1:{port}'
        for _ in range(100):
            try:
                if self.call('GET', '/status')['ready']: break
            except URLError: time.sleep(.1)
        options = dict(binary=browser, args=[*FLAGS, f'--user-data-dir={self.folder.name}'])
        wanted = {'goog:chromeOptions': options, 'goog:loggingPrefs': dict(browser='ALL')}
        try: made = self.call('POST', '/session', capabilities=dict(alwaysMatch=wanted))
        except BaseException:
            self.__exit__()
            raise
        self.session = f"{self.root}/session/{made['sessionId']}"
        return self

    def __exit__(self, *error):
        try:
            if self.session != self.root: self.call('DELETE', '')
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.folder.cleanup()

    def call(self, method, path, **body):
        "A command of WebDriver; its value."
        data = json.dumps(body).encode() if method == 'POST' else None
        try:
            with urlopen(Request(self.session + path, data, {'Content-Type': 'application/json'}, method=method), timeout=60) as answer: return json.load(answer)['value']
        except HTTPError as e: raise RuntimeError(json.load(e)['value']['message'].splitlines()[0]) from None

    def cdp(self, cmd, **params): return self.call('POST', '/goog/cdp/execute', cmd=cmd, params=params)
    def run(self, script, *args): return self.call('POST', '/execute/sync', script=script, args=args)
    def log(self): return [e['message'] for e in self.call('POST', '/se/log', type='browser')]

    def open(self, url, width=1280, height=900, dark=False, slower=1):
        "Load a page in a window of this size."
        self.cdp('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.cdp('Emulation.setEmulatedMedia', features=[dict(name='prefers-color-scheme', value='dark' if dark else 'light')])
        self.cdp('Emulation.setCPUThrottlingRate', rate=slower)
        self.call('POST', '/url', url=url)

    def wait(self, script, seconds=30):
        "Wait until a script returns something true; return it."
        end = time.time() + seconds
        while not (found := self.run(script)):
            if time.time() > end: raise RuntimeError(f'waited {seconds} s for: {script}')
            time.sleep(.05)
        return found

    def find(self, css): return next(iter(self.call('POST', '/element', **{'using': 'css selector', 'value': css}).values()))

    def drag(self, css, points):
        "Draw through points, given as parts of an element's width and height."
        r = self.run('const e = document.querySelector(arguments[0]); e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]', css)
        moves = [dict(type='pointerMove', duration=20, x=round(r[0] + x*r[2]), y=round(r[1] + y*r[3])) for x,y in points]
        actions = [moves[0], dict(type='pointerDown', button=0), *moves[1:], dict(type='pointerUp', button=0)]
        self.call('POST', '/actions', actions=[dict(type='pointer', id='mouse', actions=actions)])

    def type(self, css, *keys):
        "Focus an element and press keys on it."
        self.run('document.querySelector(arguments[0]).focus()', css)
        for k in keys:
            k = KEYS.get(k, k)
            self.call('POST', '/actions', actions=[dict(type='key', id='keys', actions=[dict(type='keyDown', value=k), dict(type='keyUp', value=k)])])

    def shot(self, path, css='html'):
        "A picture of the whole page, or of one element with the page's width."
        top, height = self.run('const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.top + scrollY, r.height]', css)
        clip = dict(x=0, y=max(top - 50, 0), width=self.run('return innerWidth'), height=height + 60, scale=1)
        Path(path).write_bytes(base64.b64decode(self.cdp('Page.captureScreenshot', captureBeyondViewport=True, clip=clip)['data']))


@contextmanager
def served(server):
    "Serve in a thread."
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try: yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


NATS = "return Object.fromEntries(['rate', 'distortion', 'elbo'].map(k => [k, +document.querySelector(`.number.${k} strong`).dataset.nats]))"
DONE = "return document.querySelector('[data-part=draw]').dataset.state === 'done'"
PARTS = 'draw', 'move', 'sample', 'path', 'beta'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', nargs='?', type=Path, default=Path('runs/browser'))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    if None in programs(): sys.exit('Chromium or its driver is not installed')
    from vae_nbdev.serve import make_server
    with served(make_server()) as server, Browser() as b:
        for width, dark in (390, False), (390, True), (1280, False), (1280, True):
            b.open(server.url, width, 900, dark)
            b.wait(DONE)
            for part in PARTS:
                b.run(f"document.querySelector('[data-part={part}]').scrollIntoView()")
                b.wait(f"return document.querySelector('[data-part={part}] canvas')")
            b.wait("return document.querySelector('[data-part=path] .chart') && document.querySelector('[data-part=sample] .summary').textContent")
            b.run("document.querySelector('[data-part=beta] button').click()")
            b.wait("return document.querySelector('[data-part=beta] .summary').textContent.startsWith('Epoch')", 60)
            time.sleep(10)
            b.run("document.querySelector('[data-part=beta] button').click()")
            over = b.run('return document.documentElement.scrollWidth - innerWidth')
            name = f"{width}-{'dark' if dark else 'light'}.png"
            for part in PARTS: b.shot(folder/f'{part}-{name}', f'[data-part={part}]')
            print(name, f'too wide by {over} pixels' if over > 0 else '', *b.log(), b.run("return document.querySelector('[data-part=beta] .summary').textContent"), flush=True)


if __name__ == '__main__': main()
