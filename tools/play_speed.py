"""Milliseconds and bytes of the living page on a slow machine: `python tools/play_speed.py [--slower 4] [--steps 60]`.

Serves nbs/play as the site does (write its weights first: `python tools/play.py`), loads it into headless Chromium in a window of a
phone's width, and prints when the first picture stood there and how long a slider step takes, from the key press until the frame with
the new picture. Chromium slows the page's own thread down (by `Emulation.setCPUThrottlingRate`), but not a worker. So the worker gets
a preface here: each of its answers waits until the time since the request has passed `slower` times. Also the processor time of the model
alone, in Node, and of the page's thread for a slider step, both at full speed: these two hardly depend on what else the machine does,
while the times on the clock are too high where other programs run on the same cores. `--slower 0` leaves out the times on the clock."""
import argparse, functools, json, shutil, subprocess, sys, time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from browser import DONE, KEYS, Browser, programs, served
from pathlib import Path
from play import PAGE

FIRST = 'index.html', 'page.css', 'page.js', 'worker.js', 'vae.js', 'train.js', 'mnist/config.json', 'mnist/model.safetensors'
SLOW = """let asked = performance.now()
const post = self.postMessage.bind(self)
addEventListener('message', () => { asked = performance.now() })
self.postMessage = (...m) => { const until = performance.now() + (SLOWER - 1)*(performance.now() - asked); while (performance.now() < until); post(...m); asked = performance.now() }
"""
WATCH = """window.steps = []
const part = document.querySelector('[data-part=move]'), canvas = part.querySelector('canvas'), put = CanvasRenderingContext2D.prototype.putImageData
let since = null
part.addEventListener('input', e => { since ??= {at: e.timeStamp, slider: e.target} }, true)
CanvasRenderingContext2D.prototype.putImageData = function(...a) {
  put.apply(this, a)
  if (this.canvas !== canvas || !since) return
  const step = {drawn: performance.now() - since.at}, from = since.at
  since = null
  requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = () => { step.shown = performance.now() - from; window.steps.push(step) }; c.port2.postMessage(0) })
}"""
NODE = """import {readFileSync} from 'node:fs'
const V = await import(process.argv[1]), at = process.argv[2], n = 300
const vae = new V.VAE(readFileSync(at + '/config.json', 'utf8'), V.readSafetensors(new Uint8Array(readFileSync(at + '/model.safetensors')).buffer))
const z = new V.Random(1).normals(vae.config.latent_dim), x = vae.fit(vae.mean(vae.decode(z)))
const time = f => {
  for (let i = 0; i < 50; i++) f()
  const all = Array.from({length: n}, () => { const t = process.cpuUsage(); f(); const c = process.cpuUsage(t); return (c.user + c.system)/1000 }).sort((a, b) => a - b)
  return [all[0], all[n >> 1], all[Math.floor(0.9*n)]]
}
console.log(JSON.stringify({decode: time(() => vae.decode(z)), encode: time(() => vae.encode(x))}))
"""


class Handler(SimpleHTTPRequestHandler):
    "A file server like the site's, with a slow worker."
    def do_GET(self):
        if self.path != '/worker.js' or self.server.slower == 1: return super().do_GET()
        body = SLOW.replace('SLOWER', str(self.server.slower)).encode() + (Path(self.directory)/'worker.js').read_bytes()
        self.send_response(200)
        for name,value in {'Content-Type': 'text/javascript', 'Content-Length': str(len(body))}.items(): self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args): pass


def page_server(slower, page=PAGE):
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(page)))
    server.daemon_threads, server.slower = True, slower
    server.url = f'http://127.0.0.1:{server.server_port}/'
    return server


def node_times(page):
    "Least, median and 90 % of the processor's milliseconds for one image; None without Node."
    node = shutil.which('node')
    return node and json.loads(subprocess.run([node, '--input-type=module', '-e', NODE, (page/'vae.js').resolve().as_uri(), str(page/'mnist')],
                                              capture_output=True, text=True, check=True).stdout)


def first_picture(b, url, slower):
    "Milliseconds from the start of the page's load until the bound of its first picture was drawn."
    b.open(url, 390, 844, slower=slower)
    b.wait("return performance.getEntriesByName('vae-play-bound').length")
    return b.run("return performance.getEntriesByName('vae-play-bound')[0].startTime")


def slider_steps(b, count, pause=.3):
    "Milliseconds of each step of a slider until it is drawn, and until it is shown."
    b.run("document.querySelector('[data-part=move]').scrollIntoView()")
    b.wait("return document.querySelector('[data-part=move] input')")
    for part in 'sample', 'path': b.run(f"document.querySelector('[data-part={part}]').scrollIntoView()") # they work when they come near; not meanwhile
    for part in 'move', 'sample', 'path': b.wait(DONE.replace('draw', part), 120)
    b.run("document.querySelector('[data-part=move]').scrollIntoView()")
    b.run(WATCH)
    b.run("document.querySelector('[data-part=move] input').focus()")
    for i in range(count):
        key = dict(key='ArrowLeft', code='ArrowLeft', windowsVirtualKeyCode=37) if i//20 % 2 else dict(key='ArrowRight', code='ArrowRight', windowsVirtualKeyCode=39)
        for kind in 'rawKeyDown', 'keyUp': b.cdp('Input.dispatchKeyEvent', type=kind, **key)
        time.sleep(pause) # to ask the page meanwhile would cost it time
        b.wait(f'return window.steps.length > {i}')
    return b.run('return window.steps')


def step_cost(b, count):
    "Milliseconds of the processor that the page's thread takes for a step of a slider, all its frames together, at full speed."
    slider_steps(b, 5)
    b.cdp('Performance.enable', timeDomain='threadTicks')
    busy = lambda: (lambda m: m['TaskDuration'] - m['DevToolsCommandDuration'])({m['name']: m['value'] for m in b.cdp('Performance.getMetrics')['metrics']})
    start = busy()
    slider_steps(b, count)
    return (busy() - start)/count*1000


def low_mid_high(values):
    v = sorted(values)
    return f'median {v[len(v)//2]:.0f}, 90 % within {v[int(.9*len(v))]:.0f}, longest {v[-1]:.0f} ms'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--slower', type=float, default=4, help='how many times slower the machine is made (default: 4)')
    parser.add_argument('--steps', type=int, default=60, help='slider steps to measure (default: 60)')
    parser.add_argument('--page', type=Path, default=PAGE, help='folder of the page (default: nbs/play)')
    a = parser.parse_args()
    if not (a.page/'mnist/model.safetensors').is_file(): sys.exit('write the weights first: python tools/play.py')
    print(f'bytes until the first picture: {sum((a.page/name).stat().st_size for name in FIRST)/1e6:.2f} MB')
    for name,(low,mid,high) in (node_times(a.page) or {}).items(): print(f'{name} in Node: at least {low:.1f}, median {mid:.1f}, 90 % within {high:.1f} ms of processor time')
    if None in programs(): sys.exit('Chromium or its driver is not installed')
    with served(page_server(1, a.page)) as server, Browser() as b:
        first_picture(b, server.url, 1)
        print(f'slider step: {step_cost(b, a.steps):.1f} ms of processor time of the page’s thread', flush=True)
    if not a.slower: return
    with served(page_server(a.slower, a.page)) as server, Browser() as b:
        print(f'{a.slower:g} times slower: first picture after', ', '.join(f'{first_picture(b, server.url + f"?{i}", a.slower):.0f}' for i in range(3)), 'ms', flush=True)
        steps = slider_steps(b, a.steps)
        for what in 'drawn', 'shown': print(f'slider step until {what}: {low_mid_high([s[what] for s in steps])}')


if __name__ == '__main__': main()
