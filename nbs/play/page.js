// The living page. Each element `<div class="vae-play" data-part="draw">` becomes one part: draw, move, sample, path or beta.
// All arithmetic is in vae.js and train.js, which run in workers; here are only controls and pictures.

const HERE = new URL('.', import.meta.url).href
const query = new URLSearchParams(location.search)

// ── Small helpers ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function el(tag, attrs = {}, ...children) {
  const svg = ['svg', 'path', 'line', 'circle', 'rect', 'text', 'title'].includes(tag)
  const e = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag)
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v)
    else if (v === true) e.setAttribute(k, '')
    else if (v !== false && v != null) e.setAttribute(k, v)
  }
  e.append(...children.flat())
  return e
}
const nats = (v, digits = 1) => `${v < 0 ? '−' : ''}${Math.abs(v).toFixed(digits)}`
let ids = 0
const fresh = name => `vae-play-${name}-${ids++}`

// A worker with one model in it.
class Client {
  constructor() {
    this.worker = new Worker(new URL('worker.js', import.meta.url), {type: 'module'})
    this.waiting = new Map()
    this.count = 0
    this.worker.onmessage = ({data}) => {
      const w = this.waiting.get(data.id)
      if (!w) return
      if (data.part) return w.tell?.(data.part)
      this.waiting.delete(data.id)
      data.error ? w.reject(new Error(data.error)) : w.resolve(data.result)
    }
    this.worker.onerror = e => { for (const w of this.waiting.values()) w.reject(new Error(e.message || 'the worker has failed')) }
  }
  ask(op, args, tell) {
    return new Promise((resolve, reject) => {
      const id = this.count++
      this.waiting.set(id, {resolve, reject, tell})
      this.worker.postMessage({id, op, args})
    })
  }
}

const clients = new Map()
function model(folder) { // one worker for each model, made when it is first needed
  if (!clients.has(folder)) {
    const client = new Client()
    clients.set(folder, client.ask('load', {folder, base: HERE}).then(info => Object.assign(client, info)))
  }
  return clients.get(folder)
}

// Run `work` again with the newest arguments once it is done; those in between are dropped. `data-state` says whether the part waits.
function newest(root, work) {
  let busy = false, next = null
  return async function again(...args) {
    root.dataset.state = 'busy'
    if (busy) { next = args; return }
    busy = true
    try { await work(...args) } finally { busy = false }
    if (!next) { root.dataset.state = 'done'; return }
    const n = next
    next = null
    return again(...n)
  }
}

const blanks = new Map() // one array of pixels for each size, used again
// Draw an image of numbers in [0,1], channels first, with its top left corner at (left, top), in pixels of the image.
function paint(canvas, image, {channels, image_size: S}, left = 0, top = 0) {
  const pixels = blanks.get(S) ?? blanks.set(S, new ImageData(S, S)).get(S), n = S*S
  for (let k = 0; k < n; k++) {
    for (let c = 0; c < 3; c++) pixels.data[4*k + c] = 255*image[channels === 3 ? c*n + k : k]
    pixels.data[4*k + 3] = 255
  }
  canvas.getContext('2d').putImageData(pixels, left, top)
}

const picture = (S, label, cols = 1, rows = 1) => el('canvas', {
  width: cols*S + cols - 1, height: rows*S + rows - 1, role: 'img', 'aria-label': label,
  class: cols > 1 && 'many'})
const figure = (canvas, caption) => el('figure', {}, canvas, el('figcaption', {}, caption))
const button = (text, onclick, attrs = {}) => el('button', {type: 'button', onclick, ...attrs}, text)

function choice(label, options, value, onchange) {
  const id = fresh('choice'), select = el('select', {id, onchange: () => onchange(select.value)},
    options.map(([v, text]) => el('option', {value: v, selected: String(v) === String(value)}, text)))
  return {select, box: el('span', {class: 'field'}, el('label', {for: id}, label), select)}
}

function slider(label, {min, max, step, value}, oninput, show = v => nats(v, 2)) {
  const id = fresh('slider'), out = el('output', {for: id}, show(value))
  const input = el('input', {type: 'range', id, min, max, step, value, oninput: () => { oninput(+input.value); out.value = show(+input.value) }}) // the worker first: it works meanwhile
  const text = el('label', {for: id}, label)
  return {input, text, row: el('div', {class: 'slider'}, text, input, out),
    set(v) { // a code far out gets a longer slider
      const most = Math.max(Math.abs(min), max, Math.ceil(Math.abs(v)))
      if (min < 0) { input.min = -most; input.max = most }
      input.value = v
      out.value = show(v)
    }}
}

// Lines over an axis; each series is {points: [[x, y], …], kind}. Labels say what the axes are, and their ends carry numbers.
function chart({series, xlabel, ylabel, label, xends, ring}) {
  const W = 360, H = 200, L = 46, R = 12, T = 12, B = 36, all = series.flatMap(s => s.points)
  const span = i => { const v = all.map(p => p[i]), a = Math.min(...v), b = Math.max(...v); return a === b ? [a - 1, b + 1] : [a, b] }
  const [xa, xb] = xends ?? span(0), [ya, yb] = span(1)
  const X = v => L + (v - xa)/(xb - xa)*(W - L - R), Y = v => H - B - (v - ya)/(yb - ya)*(H - T - B)
  const text = (x, y, t, more = {}) => el('text', {x, y, ...more}, t)
  const svg = el('svg', {viewBox: `0 0 ${W} ${H}`, class: 'chart', role: 'img', 'aria-label': label},
    el('path', {class: 'axis', d: `M${L},${T}V${H - B}H${W - R}`}),
    text(L - 4, Y(yb) + 4, nats(yb, yb - ya < 3 ? 1 : 0), {'text-anchor': 'end'}), text(L - 4, Y(ya), nats(ya, yb - ya < 3 ? 1 : 0), {'text-anchor': 'end'}),
    text(L, H - B + 14, nats(xa, 1)), text(W - R, H - B + 14, nats(xb, 1), {'text-anchor': 'end'}),
    text((L + W - R)/2, H - 6, xlabel, {'text-anchor': 'middle'}),
    text(12, (T + H - B)/2, ylabel, {'text-anchor': 'middle', transform: `rotate(-90 12 ${(T + H - B)/2})`}))
  for (const {points, kind, dots} of series) {
    svg.append(el('path', {class: `line ${kind}`, d: points.map(([x, y], i) => `${i ? 'L' : 'M'}${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join('')}))
    if (dots) svg.append(...points.map(([x, y]) => el('circle', {class: kind, cx: X(x), cy: Y(y), r: 3})))
  }
  if (ring) svg.append(el('circle', {class: 'ring', cx: X(ring[0]), cy: Y(ring[1]), r: 6}))
  return svg
}

// ── A pen, and ten digits drawn with it ──────────────────────────────────────────────────────────────────────────────────────────────
// Strokes are lines through points of the unit square.

const arc = (cx, cy, rx, ry, from, to) => Array.from({length: 17}, (_, i) => {
  const a = (from + (to - from)*i/16)*Math.PI/180
  return [cx + rx*Math.cos(a), cy - ry*Math.sin(a)]
})
const DIGITS = [
  [arc(.5, .5, .3, .43, 100, 460)],
  [[[.56, .07], [.46, .93]]],
  [[...arc(.5, .3, .27, .23, 160, -25), [.2, .9], [.82, .88]]],
  [[...arc(.46, .28, .25, .21, 150, -80), ...arc(.46, .7, .29, .22, 80, -150)]],
  [[[.3, .08], [.2, .55], [.78, .5]], [[.7, .1], [.62, .95]]],
  [[[.76, .09], [.33, .1], [.28, .45], ...arc(.46, .67, .27, .24, 110, -140)]],
  [[[.64, .06], [.36, .35], ...arc(.48, .68, .22, .24, 170, -190)]],
  [[[.2, .13], [.8, .1], [.42, .94]]],
  [[...arc(.5, .27, .21, .2, 60, 270), ...arc(.5, .7, .25, .23, 90, -270), ...arc(.5, .27, .21, .2, 270, 420)]],
  [[...arc(.5, .3, .23, .22, 10, 370), [.7, .5], [.56, .95]]],
]

class Pen {
  constructor({channels, image_size}) {
    Object.assign(this, {channels, S: image_size, radius: Math.max(0.6, image_size*0.044)})
    this.clear()
  }
  clear() { this.x = new Float64Array(this.channels*this.S**2) }
  line([ax, ay], [bx, by]) { // coordinates in pixels; a pixel's value is how much of it lies within the pen's radius of the line
    const {S, radius: r, x} = this, dx = bx - ax, dy = by - ay, length = dx*dx + dy*dy
    for (let i = 0; i < S; i++)
      for (let j = 0; j < S; j++) {
        const px = j + 0.5, py = i + 0.5, t = length ? Math.min(Math.max(((px - ax)*dx + (py - ay)*dy)/length, 0), 1) : 0
        const v = Math.min(Math.max(r + 0.5 - Math.hypot(px - ax - t*dx, py - ay - t*dy), 0), 1)
        for (let c = 0; c < this.channels; c++) { const k = (c*S + i)*S + j; x[k] = Math.max(x[k], v) }
      }
  }
  digit(d) {
    const {S} = this, at = ([u, v]) => [S*(0.14 + 0.72*u), S*(0.14 + 0.72*v)]
    this.clear()
    for (const stroke of DIGITS[d]) stroke.slice(1).forEach((p, i) => this.line(at(stroke[i]), at(p)))
    return this.x
  }
  centred() { // moved by whole pixels until the centre of mass is in the middle, as the makers of MNIST did
    const {S, x} = this
    let sum = 0, cx = 0, cy = 0
    for (let k = 0; k < S*S; k++) { sum += x[k]; cx += x[k]*(k%S + 0.5); cy += x[k]*(Math.floor(k/S) + 0.5) }
    if (!sum) return x
    const dx = Math.round(S/2 - cx/sum), dy = Math.round(S/2 - cy/sum)
    return Float64Array.from(x, (_, k) => {
      const j = k%S - dx, i = Math.floor(k/S)%S - dy, c = Math.floor(k/S/S)
      return i >= 0 && i < S && j >= 0 && j < S ? x[(c*S + i)*S + j] : 0
    })
  }
}

// ── What the parts share: the model, the label and the code of the drawing ───────────────────────────────────────────────────────────

const shared = new EventTarget()
shared.folder = query.get('model') || 'mnist'
shared.y = 0
const labels = config => Array.from({length: config.num_classes}, (_, i) => [i, i])
function setCode(code) { shared.code = code; shared.dispatchEvent(new Event('code')) }
function setLabel(y) { shared.y = +y; shared.dispatchEvent(new Event('label')) }
const labelOf = config => config.num_classes ? shared.y : undefined

// ── 1 Draw ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function drawPart(root, client) {
  const {config, notes} = client, S = config.image_size, zoom = Math.max(1, Math.floor(280/S)), pen = new Pen(config)
  const pad = el('canvas', {width: S*zoom, height: S*zoom, tabindex: 0, class: 'pad', role: 'application',
    'aria-label': `Drawing pad of ${S} by ${S} pixels. Arrow keys move the pen, space lowers and lifts it, Delete clears.`})
  const seen = picture(S, 'What the encoder sees'), recon = picture(S, 'Reconstruction')
  const live = el('p', {class: 'summary', 'aria-live': 'polite'}), table = el('tbody'), numbers = {}
  let at = [Math.floor(S/2), Math.floor(S/2)], down = false, last = null, keys = false, seed = 1, whole = null
  let offered = true // the digit on the pad is not the reader's: the first stroke takes its place
  const own = () => { if (offered) pen.clear(); offered = false; whole = null }

  function show() {
    const small = picture(S, ''), g = pad.getContext('2d')
    paint(small, pen.x, config)
    g.imageSmoothingEnabled = false
    g.drawImage(small, 0, 0, S*zoom, S*zoom)
    if (keys) {
      g.lineWidth = 2
      g.strokeStyle = down ? '#D55E00' : '#56B4E9'
      g.strokeRect(at[0]*zoom + 1, at[1]*zoom + 1, zoom - 2, zoom - 2)
    }
  }
  const answer = newest(root, async final => {
    const x = whole ?? (centre.checked ? pen.centred() : pen.x), y = labelOf(config)
    const say = b => {
      paint(seen, b.seen, config)
      paint(recon, b.recon, config)
      performance.mark('vae-play-bound')
      for (const k of ['rate', 'distortion', 'elbo']) { numbers[k].textContent = nats(b[k]); numbers[k].dataset.nats = b[k] }
      numbers.error.textContent = b.error ? `± ${b.error.toFixed(1)}` : ''
      fillLatents(table, b)
      setCode(b)
    }
    say(await client.ask('bound', {x, y, k: 1, seed}))
    if (!final) return
    const b = await client.ask('bound', {x, y, k: 16, seed})
    say(b)
    const than = b.elbo - notes.valid_elbo
    live.replaceChildren(el('span', {class: 'unseen'}, `ELBO ${nats(b.elbo)} nats, rate ${nats(b.rate)}, distortion ${nats(b.distortion)}.`),
      Number.isFinite(than) ? ` The images that this model was validated on have an ELBO of ${nats(notes.valid_elbo)} nats on average; this one is ${Math.abs(than).toFixed(1)} nats ${than < 0 ? 'lower' : 'higher'}.` : '')
  })
  const changed = final => { show(); answer(final).catch(e => fail(root, e)) }

  const where = e => { const r = pad.getBoundingClientRect(); return [(e.clientX - r.left)/r.width*S, (e.clientY - r.top)/r.height*S] }
  pad.addEventListener('pointerdown', e => {
    e.preventDefault(); pad.focus(); pad.setPointerCapture(e.pointerId)
    own(); keys = false; last = where(e)
    pen.line(last, last)
    changed(false)
  })
  pad.addEventListener('pointermove', e => { if (last) { const p = where(e); pen.line(last, p); last = p; changed(false) } })
  for (const up of ['pointerup', 'pointercancel']) pad.addEventListener(up, () => { if (last) { last = null; changed(true) } })
  pad.addEventListener('blur', () => { keys = down = false; show() })
  pad.addEventListener('keydown', e => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[e.key], mid = p => p.map(v => v + 0.5)
    if (step) {
      const to = at.map((v, i) => Math.min(Math.max(v + step[i], 0), S - 1))
      if (down) { own(); pen.line(mid(at), mid(to)) }
      at = to
    }
    else if (e.key === ' ' || e.key === 'Enter') { down = !down; if (down) { own(); pen.line(mid(at), mid(at)) } }
    else if (e.key === 'Delete' || e.key === 'Backspace') { own(); pen.clear() }
    else return
    e.preventDefault()
    keys = true
    changed(true)
  })

  const centre = el('input', {type: 'checkbox', checked: true, id: fresh('centre'), onchange: () => changed(true)})
  const open = el('input', {type: 'file', accept: 'image/*', id: fresh('file'), onchange: async () => {
    if (!open.files[0]) return
    try { whole = await fromFile(open.files[0], config); pen.x = whole.slice(); offered = false; changed(true) } catch (e) { fail(root, e) }
  }})
  const word = (k, name, text, extra = []) => el('div', {class: `number ${k}`}, el('dt', {}, name),
    el('dd', {}, numbers[k] = el('strong'), ...extra, ' nats', el('span', {}, text)))
  numbers.error = el('span', {class: 'error-bar'})
  root.append(
    el('div', {class: 'pictures'},
      figure(pad, 'draw here: mouse, finger, or arrow keys and space'), figure(seen, 'what the encoder sees'), figure(recon, 'reconstruction, from a draw of z')),
    el('div', {class: 'controls'},
      button('Clear', () => { own(); pen.clear(); changed(true) }),
      el('span', {class: 'digits', role: 'group', 'aria-label': 'Digits that were drawn for you'},
        DIGITS.map((_, d) => button(String(d), () => { whole = null; offered = true; pen.digit(d); if (d < config.num_classes) { label?.select && (label.select.value = d); shared.y = d } changed(true) })))),
    el('dl', {class: 'numbers'},
      word('rate', 'rate', 'what the code of this image costs beyond the prior: KL(q(z|x) ‖ p(z))'),
      word('distortion', 'distortion', 'what is still unknown about the pixels when the code is given: −log p(x|z)', [' ', numbers.error]),
      word('elbo', 'ELBO', '−(rate + distortion), a lower bound on log p(x): higher is better')),
    live,
    el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Latents, sorted by rate'},
      el('table', {class: 'latents'}, el('caption', {}, `The code: ${config.latent_dim} latents, the one with the highest rate first. Grey: the prior N(0,1) to one and to two standard deviations. Green: mean of q(z|x) and one standard deviation.`),
        el('thead', {}, el('tr', {}, ['latent', 'q(z|x)', 'mean ± std', 'rate, nats'].map(t => el('th', {scope: 'col'}, t)))), table)),
    el('div', {class: 'controls'}, el('span', {class: 'field'}, centre, el('label', {for: centre.id}, 'centre the drawing, as MNIST’s digits are')),
      el('span', {class: 'field'}, el('label', {for: open.id}, 'or read a picture of yours (it stays here)'), open)))
  let label = null
  if (config.num_classes) {
    label = choice('its label', labels(config), shared.y, v => { setLabel(v); changed(true) })
    root.querySelector('.controls').append(label.box)
  }
  pen.digit(3)
  if (config.num_classes > 3) { shared.y = 3; if (label) label.select.value = 3 }
  changed(true)
}

function fillLatents(body, {mu, logvar, rateDims}) {
  const order = Array.from(rateDims.keys()).sort((a, b) => rateDims[b] - rateDims[a]), most = Math.max(1, rateDims[order[0]])
  const X = v => 50 + 12*Math.min(Math.max(v, -4), 4)
  body.replaceChildren(...order.slice(0, 64).map(d => {
    const s = Math.exp(0.5*logvar[d])
    const band = w => el('rect', {class: 'prior', x: X(-w), width: X(w) - X(-w), y: 0, height: 14})
    const svg = el('svg', {viewBox: '0 0 100 14', preserveAspectRatio: 'none', 'aria-hidden': 'true'}, band(2), band(1),
      el('line', {class: 'std', x1: X(mu[d] - s), x2: X(mu[d] + s), y1: 7, y2: 7}), el('line', {class: 'mean', x1: X(mu[d]), x2: X(mu[d]), y1: 1, y2: 13}))
    return el('tr', {}, el('th', {scope: 'row'}, `z${d}`), el('td', {class: 'q'}, svg), el('td', {}, `${nats(mu[d], 2)} ± ${s.toFixed(2)}`),
      el('td', {class: 'bar', style: `--part:${(rateDims[d]/most*100).toFixed(1)}%`}, el('span', {}, rateDims[d].toFixed(2))))
  }))
}

async function fromFile(file, {channels, image_size: S}) {
  const bitmap = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} is not a picture that this browser reads`) })
  const side = Math.min(bitmap.width, bitmap.height), canvas = el('canvas', {width: S, height: S}), g = canvas.getContext('2d')
  g.imageSmoothingQuality = 'high'
  g.drawImage(bitmap, (bitmap.width - side)/2, (bitmap.height - side)/2, side, side, 0, 0, S, S)
  const rgba = g.getImageData(0, 0, S, S).data, x = new Float64Array(channels*S*S)
  for (let k = 0; k < S*S; k++) {
    const [r, gr, b] = rgba.subarray(4*k, 4*k + 3)
    for (let c = 0; c < channels; c++) x[c*S*S + k] = (channels === 3 ? [r, gr, b][c] : 0.299*r + 0.587*gr + 0.114*b)/255
  }
  return x
}

// ── 2 Move ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function movePart(root, client) {
  const {config} = client, n = config.latent_dim, S = config.image_size, image = picture(S, 'Decoded image')
  const z = new Float64Array(n), density = el('span', {class: 'density'}), first = el('div', {class: 'sliders'}), rest = el('div', {class: 'sliders'})
  let draw = false, walking = null, seed = 1, sliders = []
  const spread = Math.sqrt(n/2), usual = -0.5*n*(1 + Math.log(2*Math.PI))
  const line = el('p', {class: 'summary'}, 'log p(z) is ', density, config.prior === 'flow' ? ' nats, the log-density of this code under the model’s prior, a flow.'
    : ` nats, the log-density of this code under the prior N(0,I). Codes drawn from the prior have ${nats(usual)} ± ${spread.toFixed(1)} nats.`)
  const show = newest(root, async () => {
    const r = await client.ask('decode', {z, y: labelOf(config), draw, seed})
    paint(image, r.image, config)
    density.textContent = nats(r.logPrior)
  })
  const update = () => show().catch(e => fail(root, e))
  const put = values => { z.set(values); sliders.forEach(([d, s]) => s.set(z[d])); update() }
  function arrange(code) {
    const order = Array.from({length: n}, (_, d) => d)
    if (code) order.sort((a, b) => code.rateDims[b] - code.rateDims[a])
    sliders = order.slice(0, 128).map(d => [d, slider(code ? `z${d} (${code.rateDims[d].toFixed(1)} nats)` : `z${d}`,
      {min: -4, max: 4, step: 0.05, value: 0}, v => { z[d] = v; update() })])
    sliders.forEach(([d, s]) => s.set(z[d]))
    first.replaceChildren(...sliders.slice(0, 8).map(([, s]) => s.row))
    rest.replaceChildren(...sliders.slice(8).map(([, s]) => s.row))
  }
  function stop() { clearTimeout(walking); walking = null; walk.setAttribute('aria-pressed', 'false') }
  const walk = button('Walk', () => {
    if (walking) return stop()
    walk.setAttribute('aria-pressed', 'true')
    const random = normals(Date.now())
    const step = () => { // an autoregressive walk that leaves N(0,I) as it is
      put(z.map(v => 0.97*v + Math.sqrt(1 - 0.97**2)*random()))
      walking = setTimeout(step, 80)
    }
    step()
  }, {'aria-pressed': 'false'})
  const mode = choice('show', [['mean', 'mean of p(x|z)'], ...(client.draws ? [['draw', 'a draw from p(x|z)']] : [])], 'mean', v => { draw = v === 'draw'; update() })
  root.append(
    el('div', {class: 'side stays'}, figure(image, 'what the decoder makes of the code'), el('div', {},
      el('div', {class: 'controls'}, button('Back to the drawing', () => { stop(); if (shared.code) put(shared.code.mu) }),
        button('A draw from the prior', () => {
          stop(); seed = Date.now()
          client.ask('code', {seed, y: labelOf(config)}).then(put).catch(e => fail(root, e))
        }), config.prior === 'flow' ? '' : walk, mode.box),
      line, el('p', {class: 'note'}, 'A slider for each latent, −4 to 4. In brackets its rate for your drawing: how much the encoder tells by it. Arrow keys move a slider too.'), first, n > 8 ? el('details', {}, el('summary', {}, `the other ${Math.min(n, 128) - 8}, of lower rate`), rest) : '')))
  if (config.decoder_labels) {
    const label = choice('label', labels(config), shared.y, v => { shared.y = +v; update() })
    root.querySelector('.controls').append(label.box)
    shared.addEventListener('label', () => { label.select.value = shared.y })
  }
  shared.addEventListener('code', () => { if (!walking) { z.set(shared.code.mu); arrange(shared.code); update() } })
  arrange(shared.code)
  if (shared.code) put(shared.code.mu)
  else update()
}

function normals(seed) { // for the controls; what is computed by a shared seed comes from vae.js
  let a = seed >>> 0
  const uniform = () => { // mulberry32
    a = a + 0x6D2B79F5 | 0
    let t = Math.imul(a ^ a >>> 15, 1 | a)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0)/2**32 + 2**-33
  }
  return () => Math.sqrt(-2*Math.log(uniform()))*Math.cos(2*Math.PI*uniform())
}

// ── 3 Sample ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function samplePart(root, client) {
  const {config} = client, S = config.image_size, n = 64
  const whole = v => Number.isInteger(v) && v >= 0 && v < 2**32
  let seed = whole(+query.get('seed')) ? +query.get('seed') : 0
  let temperature = query.has('temperature') && +query.get('temperature') >= 0 && +query.get('temperature') <= 1.5 ? +query.get('temperature') : 1
  const twin = !config.decoder_labels && shared.folder === 'mnist' ? 'mnist-labels' : null
  const classes = config.decoder_labels ? config.num_classes : twin ? 10 : 0
  const flows = config.prior === 'flow' || !config.decoder_labels // could there be a flow?
  let prior = flows && (query.get('prior') ?? config.prior) === 'flow' ? 'flow' : 'normal'
  let y = classes && query.has('class') && +query.get('class') < classes ? query.get('class') : config.decoder_labels ? '0' : ''
  const grid = picture(S, 'Sixty-four samples', 8, 8), state = el('p', {class: 'summary', 'aria-live': 'polite'})
  let working = null
  const show = newest(root, async () => {
    const told = y !== '' && twin, by = told ? await model(twin) : client, start = performance.now(), from = told ? 'normal' : prior
    working = by
    const complete = await by.ask('sample', {n, seed, temperature, prior: from, folder: shared.folder, base: HERE, y: y === '' ? undefined : +y}, ({i, image}) =>
      paint(grid, image, by.config, i%8*(S + 1), Math.floor(i/8)*(S + 1)))
    if (!complete) return // newer ones are on their way
    const where = from === 'flow' ? `the flow at temperature ${temperature.toFixed(2)}` : `N(0, ${temperature.toFixed(2)}²·I)`
    state.textContent = `${n} means of p(x|z), z from ${where}, seed ${seed}, in ${((performance.now() - start)/1000).toFixed(2)} s.`
  })
  const update = () => {
    const q = new URLSearchParams(location.search)
    q.set('seed', seed); q.set('temperature', temperature)
    y === '' ? q.delete('class') : q.set('class', y)
    prior === config.prior ? q.delete('prior') : q.set('prior', prior)
    history.replaceState(null, '', `${location.pathname}?${q}${location.hash}`)
    working?.ask('stop')
    show().catch(e => fail(root, e))
  }
  const id = fresh('seed'), number = el('input', {type: 'number', id, min: 0, max: 2**32 - 1, step: 1, value: seed,
    onchange: () => { if (whole(+number.value)) { seed = +number.value; update() } else number.value = seed }})
  const warm = slider('temperature', {min: 0, max: 1.5, step: 0.05, value: temperature}, v => { temperature = v; update() })
  const copy = button('Copy the address of these', async () => {
    try { await navigator.clipboard.writeText(location.href); copy.textContent = 'Copied' } catch { copy.textContent = 'It is in the address bar' }
    setTimeout(() => { copy.textContent = 'Copy the address of these' }, 2000)
  })
  const options = [...(config.decoder_labels ? [] : [['', 'any']]), ...Array.from({length: classes}, (_, i) => [i, i])]
  root.append(el('div', {class: 'side'}, figure(grid, 'sixty-four codes z, each decoded'), el('div', {},
    el('div', {class: 'controls'}, el('span', {class: 'field'}, el('label', {for: id}, 'seed'), number),
      button('Next seed', () => { seed = (seed + 1)%2**32; number.value = seed; update() }),
      flows ? choice('prior', [['normal', 'N(0,I)'], ['flow', 'a flow']], prior, v => { prior = v; update() }).box : '',
      classes ? choice('class', options, y, v => { y = v; update() }).box : '', copy),
    warm.row,
    el('p', {class: 'note'}, 'At temperature 1, z comes from the prior; below 1 from nearer to its middle.',
      flows ? ' The flow knows where the codes of real images are (chapter 10)' + (config.prior === 'flow' ? '.' : '; it is a file beside the model (0.5 MB).') : '',
      twin ? ' A class loads a second model, which was told the label of each image (1.1 MB), and has N(0,I).' : ''), state)))
  show().catch(e => fail(root, e))
}

// ── 4 Path ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const STEPS = 9
// The straight line, or the arc on which direction and length change at constant speed (slerp of chapter 7)
function between(a, b, t, spherical) {
  const dot = (u, v) => u.reduce((s, x, i) => s + x*v[i], 0), r = Math.sqrt(dot(a, a)), q = Math.sqrt(dot(b, b))
  const angle = Math.acos(Math.min(Math.max(dot(a, b)/(r*q), -1), 1)), s = Math.sin(angle)
  if (!spherical || !(s > 1e-6)) return a.map((v, i) => (1 - t)*v + t*b[i])
  const length = (1 - t)*r + t*q
  return a.map((v, i) => length*(Math.sin((1 - t)*angle)*v/r + Math.sin(t*angle)*b[i]/q)/s)
}

function pathPart(root, client) {
  const {config} = client, S = config.image_size, ends = ['3', '8'], row = picture(S, 'Pictures on the path', STEPS, 1)
  const plot = el('div', {class: 'plot'}), line = el('p', {class: 'summary', 'aria-live': 'polite'})
  let spherical = true
  const code = async which => {
    const pen = new Pen(config)
    if (which === 'drawing' && shared.code) return shared.code.mu
    pen.digit(which === 'drawing' ? 3 : +which)
    return (await client.ask('bound', {x: pen.centred(), y: config.num_classes ? Math.min(+which || 0, config.num_classes - 1) : undefined, k: 1, seed: 1})).mu
  }
  const show = newest(root, async () => {
    const [a, b] = [await code(ends[0]), await code(ends[1])], t = Array.from({length: STEPS}, (_, i) => i/(STEPS - 1))
    const found = await client.ask('path', {codes: t.map(u => between(a, b, u, spherical)), y: labelOf(config), k: 4, seed: 1})
    found.forEach((f, i) => paint(row, f.image, config, i*(S + 1), 0))
    const elbos = found.map((f, i) => [t[i], f.elbo]), low = elbos.reduce((p, q) => q[1] < p[1] ? q : p)
    plot.replaceChildren(chart({series: [{points: elbos, kind: 'total', dots: true}], xlabel: 'way from the first to the second', ylabel: 'ELBO, nats',
      label: `ELBO along the path: ${elbos.map(p => nats(p[1])).join(', ')} nats`}))
    line.textContent = `The ELBO of the nine pictures, as the model sees them: ${nats(elbos[0][1])} nats at the first, ${nats(elbos[STEPS - 1][1])} at the second, lowest ${nats(low[1])}. `
      + `log p(z) in the middle: ${nats(found[(STEPS - 1)/2].logPrior)} nats.`
  })
  const update = () => show().catch(e => fail(root, e))
  const options = [...DIGITS.map((_, d) => [d, d]), ['drawing', 'your drawing']]
  root.append(
    el('div', {class: 'controls'}, choice('from', options, ends[0], v => { ends[0] = v; update() }).box, choice('to', options, ends[1], v => { ends[1] = v; update() }).box,
      choice('path', [['spherical', 'spherical'], ['straight', 'straight']], 'spherical', v => { spherical = v === 'spherical'; update() }).box),
    figure(row, 'nine codes on the way, each decoded'), plot, line)
  shared.addEventListener('code', () => { if (ends.includes('drawing')) update() })
  update()
}

// ── 5 Beta ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const HUES = ['#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#b8a400', '#777777', '#8c564b', '#7f3fbf']

function betaPart(root) {
  const one = {channels: 1, image_size: 8}, side = 9, grid = picture(8, 'Decoded grid of codes from −3 to 3', side, side)
  const codes = el('canvas', {width: 360, height: 360, role: 'img', 'aria-label': 'Codes of 400 digits in the plane of the two latents'})
  const plot = el('div', {class: 'plot'}), line = el('p', {class: 'summary'}), trail = []
  let client = null, labels = null, beta = 1, drawn = 0
  function plane() {
    const g = codes.getContext('2d')
    g.fillStyle = '#ffffff'
    g.fillRect(0, 0, 360, 360)
    g.strokeStyle = '#999999'
    for (const r of [1, 2]) { g.beginPath(); g.arc(180, 180, 45*r, 0, 7); g.stroke() }
    g.font = 'bold 13px sans-serif'
    g.textAlign = 'center'
    g.textBaseline = 'middle'
    return g
  }
  function scatter(mu) {
    const g = plane(), at = v => 180 + 45*Math.min(Math.max(v, -4), 4)
    for (let i = 0; i < labels.length; i++) { g.fillStyle = HUES[labels[i]]; g.fillText(labels[i], at(mu[2*i]), at(-mu[2*i + 1])) }
  }
  function empty() { // what stands there before the first step
    const g = plane()
    g.fillStyle = '#222222'
    g.fillText('each digit’s code will be here: press Train', 180, 330)
    line.textContent = 'Not trained yet. Press Train, and turn beta while it runs.'
  }
  function tell(p) {
    if (p.labels) { labels = p.labels; line.textContent = 'Training …'; return }
    scatter(p.mu)
    for (let k = 0; k < side*side; k++) paint(grid, p.pictures.subarray(64*k, 64*k + 64), one, k%side*9, Math.floor(k/side)*9)
    trail.push([p.rate, p.distortion])
    if (trail.length > 600) trail.splice(0, 300, ...trail.slice(0, 300).filter((_, i) => i%2))
    if (performance.now() - drawn > 200) {
      drawn = performance.now()
      const tail = trail.slice(Math.min(4, trail.length - 1))
      plot.replaceChildren(chart({series: [{points: tail, kind: 'rate'}], ring: tail.at(-1), xends: [0, Math.max(0.1, ...tail.map(p => p[0]))], xlabel: 'rate, nats', ylabel: 'distortion, nats',
        label: `Rate ${p.rate.toFixed(1)} and distortion ${p.distortion.toFixed(1)} nats`}))
      line.textContent = `Epoch ${p.epoch.toFixed(0)}, beta ${p.beta.toFixed(2)}. Rate ${p.rate.toFixed(1)} nats per image (z0 ${p.rateDims[0].toFixed(1)}, z1 ${p.rateDims[1].toFixed(1)}), `
        + `distortion ${p.distortion.toFixed(1)}, ELBO ${nats(-p.rate - p.distortion)}.` + (p.epoch > 20 && Math.min(...p.rateDims) < 0.1 ? ' A latent below 0.1 nats has collapsed: its code says nothing about the image.' : '')
    }
  }
  function stop() { client?.worker.terminate(); client = null }
  const play = button('Train', () => {
    if (client) { // pause or go on
      const on = play.textContent !== 'Pause'
      client.ask('settings', {running: on})
      play.textContent = on ? 'Pause' : 'Go on'
      return
    }
    trail.length = 0
    client = new Client()
    client.ask('train', {base: HERE, seed: Date.now()%2**32}, tell).catch(e => { stop(); play.textContent = 'Train'; fail(root, e) })
    client.ask('settings', {beta})
    play.textContent = 'Pause'
  })
  const turn = slider('beta', {min: -2, max: 2, step: 0.05, value: 0}, v => { beta = 10**v; client?.ask('settings', {beta}) }, v => (10**v).toFixed(2))
  turn.input.setAttribute('aria-label', 'beta, the weight of the rate, on a logarithmic scale from 0.01 to 100')
  root.append(el('div', {class: 'controls'}, play, button('Start anew', () => { stop(); play.textContent = 'Train'; play.click() })), turn.row, line,
    el('div', {class: 'pictures wide'}, figure(codes, 'codes of 400 training digits, each written as its label: z0 to the right, z1 upwards; circles: one and two standard deviations of the prior'),
      figure(grid, 'the same plane, decoded: codes from −3 to 3'), el('figure', {}, plot, el('figcaption', {}, 'rate and distortion since the start (running means); the ring is now'))))
  empty()
}

// ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function fail(root, error) {
  root.querySelector('.failure')?.remove()
  root.prepend(el('p', {class: 'failure', role: 'alert'}, error.message))
}

const PARTS = {draw: drawPart, move: movePart, sample: samplePart, path: pathPart, beta: betaPart}

async function mount(root) {
  const part = PARTS[root.dataset.part]
  if (!part || root.dataset.on) return
  root.dataset.on = 'yes'
  if (part === betaPart) return part(root)
  const wait = el('p', {class: 'summary'}, 'Loading the model …')
  root.append(wait)
  try {
    const client = await model(shared.folder)
    wait.remove()
    part(root, client)
  } catch (e) { wait.remove(); fail(root, e) }
}

// A part starts when it is about to be seen; the first at once.
const roots = [...document.querySelectorAll('.vae-play[data-part]')]
if (roots.length) document.documentElement.classList.add('vae-play-on') // the stills of the page step back
const seen = new IntersectionObserver(entries => {
  for (const e of entries) if (e.isIntersecting) { seen.unobserve(e.target); mount(e.target) }
}, {rootMargin: '300px'})
for (const root of roots) root === roots[0] ? mount(root) : seen.observe(root)
