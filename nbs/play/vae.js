// A trained VAE of vae_nbdev in plain JavaScript: two files in, nats out. No dependencies, no build step.
//
//   const vae = await loadVAE('mnist')        // a folder with config.json and model.safetensors
//   const {mu, logvar} = vae.encode(x)        // x: pixels in [0,1], channels first
//   const {elbo, rate, distortion} = vae.bound(x, {eps})  // nats per image
//   const image = vae.mean(vae.decode(z))
//
// The symbols are those of the course: x, z, eps, mu, logvar, params, rate, distortion, elbo. One image at a time. Numbers are computed
// in double precision. Each piece is compared with PyTorch in nbs/44_serve.ipynb.

export class InputError extends Error {} // what a reader can mend, in one line

// ── Settings: config.json ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export const CHOICES = {
  architecture: ['conv', 'mlp'],
  block_stages: ['last', 'all'],
  downsample: ['stride', 'maxpool'],
  upsample: ['nearest', 'transpose', 'pixelshuffle'],
  norm: ['none', 'batch', 'group'],
  activation: ['relu', 'leaky_relu', 'silu', 'gelu'],
  likelihood_type: ['bernoulli', 'continuous_bernoulli', 'gaussian', 'laplace', 'discretized_logistic', 'bce', 'mse', 'l1'],
  scale_mode: ['fixed', 'learned', 'optimal', 'per_pixel'],
  encoder_labels: ['none', 'channel', 'onehot'],
  prior: ['normal', 'flow'], // the library also has mixture and vamp
}

export const DEFAULTS = { // of VAEConfig
  image_size: 8, channels: 1, latent_dim: 16, lower_levels: '', latent_side: 0, architecture: 'conv', width: 32, depth: 2, num_blocks: 1, block_stages: 'last',
  downsample: 'stride', upsample: 'transpose', norm: 'none', activation: 'relu', likelihood_type: 'bernoulli', scale: 1,
  scale_mode: 'fixed', num_levels: 256, num_classes: 0, encoder_labels: 'none', label_factor: 1, decoder_labels: false,
  prior: 'normal',
}

const SIZES = {image_size: [8, 512], channels: [1, 64], latent_dim: [1, 16384], width: [1, 8192], depth: [1, 64], num_blocks: [0, 64],
  num_levels: [2, 65536], num_classes: [0, 10000]}

function sectionsOf(text) {
  try { return typeof text === 'string' ? JSON.parse(text) : text }
  catch { throw new InputError('config.json is not JSON') }
}

// Read the section `model` of config.json; whatever this module cannot run is an InputError that names it.
export function readConfig(text) {
  const given = sectionsOf(text)?.model
  if (typeof given !== 'object' || given === null) throw new InputError('config.json has no section "model"')
  for (const name in given)
    if (!(name in DEFAULTS)) throw new InputError(`this page cannot run the model: its setting ${quoted(name)} is not one that it knows`)
  const c = {...DEFAULTS, ...given}
  if (c.lower_levels !== '') throw new InputError(`this page cannot run the model: it has several levels of latents (lower_levels ${quoted(c.lower_levels)}), and the page knows one`)
  for (const [name, known] of Object.entries(CHOICES))
    if (!known.includes(c[name]))
      throw new InputError(`this page cannot run the model: ${name} is ${quoted(c[name])}, and it knows ${known.join(', ')}`)
  for (const [name, [low, high]] of Object.entries(SIZES))
    if (!Number.isInteger(c[name]) || c[name] < low || c[name] > high)
      throw new InputError(`config.json: ${name} must be a whole number from ${low} to ${high}, got ${quoted(c[name])}`)
  if (c.latent_side !== 0)
    throw new InputError(`this page cannot run the model: latent_side is ${quoted(c.latent_side)}, and it knows codes in a row only, latent_side 0`)
  if (!(c.scale > 0)) throw new InputError(`config.json: scale must be positive, got ${quoted(c.scale)}`)
  if (!Number.isFinite(c.label_factor)) throw new InputError(`config.json: label_factor must be a number, got ${quoted(c.label_factor)}`)
  return c
}

const quoted = v => { const s = JSON.stringify(v) ?? String(v); return s.length > 40 ? s.slice(0, 40) + '…' : s }

// ── Weights: model.safetensors ───────────────────────────────────────────────────────────────────────────────────────────────────────
// Eight bytes say how long the header is; the header, JSON, says for each tensor its type, its shape and where its bytes lie.

const READERS = {
  F32: [4, b => new Float32Array(b)],
  F64: [8, b => Float32Array.from(new Float64Array(b))],
  F16: [2, b => halves16(new Uint16Array(b))],
  BF16: [2, b => { // the upper half of a float32
    const short = new Uint16Array(b), long = new Uint32Array(short.length)
    for (let i = 0; i < short.length; i++) long[i] = short[i] << 16
    return new Float32Array(long.buffer)
  }],
  I64: [8, b => Float32Array.from(new BigInt64Array(b), Number)],
}

// 1 sign bit, 5 of the exponent, 10 of the fraction: moved to where a float32 has them, they stand for a number that is 2¹¹² times too small.
function halves16(short) {
  const bits = new Uint32Array(short.length), out = new Float32Array(bits.buffer)
  for (let i = 0; i < short.length; i++) bits[i] = (short[i] & 0x8000) << 16 | (short[i] & 0x7fff) << 13
  for (let i = 0; i < short.length; i++) out[i] = (short[i] & 0x7c00) === 0x7c00 ? NaN : out[i]*2**112 // or not a number, or infinite
  return out
}

function allFinite(data) {
  let sum = 0 // of zeros, but for infinite minus infinite and not-a-number
  for (let i = 0; i < data.length; i++) sum += data[i] - data[i]
  return sum === 0
}

// From the bytes of a file to `{tensors: {name: {shape, data}}, notes}`; a damaged file is an InputError.
export function readSafetensors(buffer) {
  const wrong = why => new InputError(`the weights are damaged or not a safetensors file: ${why}`)
  if (buffer.byteLength < 8) throw wrong('it is shorter than its header')
  const size = Number(new DataView(buffer).getBigUint64(0, true)), start = 8 + size
  if (start > buffer.byteLength) throw wrong('it ends within its header')
  let header
  try { header = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(new Uint8Array(buffer, 8, size))) }
  catch { throw wrong('its header is not JSON') }
  const tensors = new Map()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const {dtype, shape, data_offsets: at} = entry ?? {}
    if (!Object.hasOwn(READERS, dtype))
      throw new InputError(`the weights hold ${quoted(dtype)} (${name}), and this page reads ${Object.keys(READERS).join(', ')}`)
    const [bytes, read] = READERS[dtype], count = Array.isArray(shape) ? shape.reduce((a, b) => a*b, 1) : NaN
    if (!(at?.length === 2 && at[0] >= 0 && at[1] - at[0] === count*bytes && start + at[1] <= buffer.byteLength))
      throw wrong(`${name} does not fit into it`)
    const data = read(buffer.slice(start + at[0], start + at[1])) // a copy, so that it is aligned
    if (!allFinite(data)) throw new InputError(`the weights are damaged: ${name} holds numbers that are not finite`)
    tensors.set(name, {shape, data})
  }
  let notes = {}
  try { notes = JSON.parse(header.__metadata__?.notes ?? '{}') ?? {} } catch { /* notes are not needed */ }
  return {tensors, notes}
}

// ── Layers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
// A feature map is `{data, c, side}`, channels first. A layer is a function from map to map; a plain vector is a map of side 1. A layer
// keeps the array that it writes to and writes to it again at its next call, so that a slider leaves nothing to clean up.

const map = (c, side, data = new Float64Array(c*side*side)) => ({data, c, side})
function keeps() { // an array of n numbers, the same one at each call
  let data
  return n => data?.length === n ? data : data = new Float64Array(n)
}

function linear({shape: [n], data: W}, {data: b}) {
  const room = keeps()
  return ({data: x}) => {
    const y = room(n), m = x.length
    for (let i = 0, k = 0; i < n; i++) {
      let s0 = 0, s1 = 0, j = 0
      for (; j + 1 < m; j += 2, k += 2) { s0 += W[k]*x[j]; s1 += W[k + 1]*x[j + 1] }
      if (j < m) s0 += W[k++]*x[j]
      y[i] = b[i] + s0 + s1
    }
    return map(n, 1, y)
  }
}

// Put each channel into a frame of zeros.
function framed({data, c, side}, before, after, room = n => new Float64Array(n)) {
  const P = side + before + after, out = map(c, P, room(c*P*P))
  for (let i = 0, from = 0; i < c; i++)
    for (let r = 0, to = (i*P + before)*P + before; r < side; r++, to += P) for (let j = 0; j < side; j++) out.data[to + j] = data[from++]
  return out
}

// Every convolution becomes products of matrices, C = A·B, with weights in A and pixels in B. Two rows of A meet four columns of B at a
// time, and these eight sums stay in the processor's registers. So A is stored by pairs of rows, and B by fours of columns: what is read
// next lies next. A has m rows and k columns, B n columns; a, b and c say where they start.
const even = v => v + v%2, fours = v => 4*Math.ceil(v/4)
const atA = (row, col, k) => (row >> 1)*2*k + 2*col + (row & 1)
const atB = (row, col, k) => (col >> 2)*4*k + 4*row + (col & 3)

function multiply(A, a, B, b, C, c, m, k, n) {
  for (let i = 0; i < m; i += 2)
    for (let j = 0; j < n; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0
      for (let p = a + i*k, q = b + j*k, end = p + 2*k; p < end; p += 2, q += 4) {
        const u = A[p], v = A[p + 1], b0 = B[q], b1 = B[q + 1], b2 = B[q + 2], b3 = B[q + 3]
        s0 += u*b0; s1 += u*b1; s2 += u*b2; s3 += u*b3
        t0 += v*b0; t1 += v*b1; t2 += v*b2; t3 += v*b3
      }
      const r = c + i*n + j, s = r + n
      C[r] = s0; C[r + 1] = s1; C[r + 2] = s2; C[r + 3] = s3
      C[s] = t0; C[s + 1] = t1; C[s + 2] = t2; C[s + 3] = t3
    }
}

// 3×3, the side stays. Sixteen outputs of a filter, 4×4, can be had with 36 products of numbers in place of 144: from each 6×6 inputs d and
// each filter g take BdBᵀ and GgGᵀ, multiply number by number, sum over the input channels, and the outputs are AmAᵀ (Winograd's F(4×4, 3×3);
// Lavin and Gray 2016). Those sums are one product of matrices for each of the 36 numbers. `onG`, `onB` and `onA` are G, B and A on one row or column.
function onG(x0, x1, x2, y, to, stride) {
  const s = (x0 + x2)/6, t = x0/24 + x2/6
  y[to] = x0/4
  y[to + stride] = -s - x1/6
  y[to + 2*stride] = -s + x1/6
  y[to + 3*stride] = t + x1/12
  y[to + 4*stride] = t - x1/12
  y[to + 5*stride] = x2
}

function onB(x, at, step, y, to, stride) {
  const x0 = x[at], x1 = x[at + step], x2 = x[at + 2*step], x3 = x[at + 3*step], x4 = x[at + 4*step], x5 = x[at + 5*step]
  const e = x4 - 4*x2, o = x3 - 4*x1, f = x4 - x2, g = 2*(x3 - x1)
  y[to] = 4*x0 - 5*x2 + x4
  y[to + stride] = e + o
  y[to + 2*stride] = e - o
  y[to + 3*stride] = f + g
  y[to + 4*stride] = f - g
  y[to + 5*stride] = 4*x1 - 5*x3 + x5
}

function onA(x, at, step, y, to, stride, add) {
  const x1 = x[at + step], x2 = x[at + 2*step], x3 = x[at + 3*step], x4 = x[at + 4*step]
  const s = x1 + x2, d = x1 - x2, u = x3 + x4, v = x3 - x4
  y[to] = x[at] + s + u + add
  y[to + stride] = d + 2*v + add
  y[to + 2*stride] = s + 4*u + add
  y[to + 3*stride] = d + 8*v + x[at + 5*step] + add
}

function turned({shape: [n, m], data: W}) { // GgGᵀ of all filters: 36 matrices of n rows and m columns
  const N = even(n)*m, A = new Float64Array(36*N), half = new Float64Array(18)
  for (let o = 0, k = 0; o < n; o++)
    for (let i = 0; i < m; i++, k += 9) {
      const to = atA(o, i, m)
      for (let s = 0; s < 3; s++) onG(W[k + s], W[k + 3 + s], W[k + 6 + s], half, s, 3)
      for (let r = 0; r < 6; r++) onG(half[3*r], half[3*r + 1], half[3*r + 2], A, 6*r*N + to, N)
    }
  return A
}

function conv3(weight, {data: b}) {
  const [n, m] = weight.shape, N = even(n), A = turned(weight), half = new Float64Array(36), whole = new Float64Array(16)
  const [frame, left, right, room] = [keeps(), keeps(), keeps(), keeps()]
  return x => {
    const S = x.side, tiles = Math.ceil(S/4), T = fours(tiles*tiles), f = framed(x, 1, 4*tiles + 1 - S, frame), P = f.side
    const B = left(36*m*T), C = right(36*N*T), y = room(n*S*S)
    for (let i = 0; i < m; i++)
      for (let t = 0; t < tiles*tiles; t++) {
        const from = (i*P + 4*Math.floor(t/tiles))*P + 4*(t%tiles), to = atB(i, t, m)
        for (let s = 0; s < 6; s++) onB(f.data, from + s, P, half, s, 6)
        for (let r = 0; r < 6; r++) onB(half, 6*r, 1, B, 6*r*m*T + to, m*T)
      }
    for (let q = 0; q < 36; q++) multiply(A, q*N*m, B, q*m*T, C, q*N*T, N, m, T)
    for (let o = 0; o < n; o++)
      for (let t = 0; t < tiles*tiles; t++) {
        const top = 4*Math.floor(t/tiles), side = 4*(t%tiles)
        for (let s = 0; s < 6; s++) onA(C, s*N*T + o*T + t, 6*N*T, half, s, 6, 0)
        for (let r = 0; r < 4; r++) onA(half, 6*r, 1, whole, 4*r, 1, b[o])
        for (let r = 0; r < 4 && top + r < S; r++) for (let s = 0; s < 4 && side + s < S; s++) y[(o*S + top + r)*S + side + s] = whole[4*r + s]
      }
    return map(n, S, y)
  }
}

// 4×4 with stride 2: a column of B is what one output pixel sees.
function conv4({shape: [n, m], data: W}, {data: b}) {
  const k = 16*m, A = new Float64Array(even(n)*k), [frame, left, right, room] = [keeps(), keeps(), keeps(), keeps()]
  for (let o = 0; o < n; o++) for (let j = 0; j < k; j++) A[atA(o, j, k)] = W[o*k + j]
  return x => {
    const f = framed(x, 1, 1, frame), P = f.side, S = x.side/2, N = fours(S*S), B = left(k*N), C = right(even(n)*N), y = room(n*S*S)
    for (let p = 0; p < S*S; p++) {
      const from = 2*Math.floor(p/S)*P + 2*(p%S), to = atB(0, p, k)
      for (let i = 0, j = to; i < m; i++)
        for (let r = 0; r < 4; r++) for (let s = 0, at = from + (i*P + r)*P; s < 4; s++, j += 4) B[j] = f.data[at + s]
    }
    multiply(A, 0, B, 0, C, 0, even(n), k, N)
    for (let o = 0; o < n; o++) for (let p = 0; p < S*S; p++) y[o*S*S + p] = C[o*N + p] + b[o]
    return map(n, S, y)
  }
}

// The transpose of that: the pixels at even and odd rows and columns of the output each see 2×2 of the input, through 2×2 of the filter.
function transpose4({shape: [m, n], data: W}, {data: b}) {
  const k = 4*m, [frame, left, right, room] = [keeps(), keeps(), keeps(), keeps()]
  const As = [0, 1, 2, 3].map(q => {
    const A = new Float64Array(even(n)*k)
    for (let o = 0; o < n; o++)
      for (let i = 0; i < m; i++)
        for (let e = 0; e < 4; e++) A[atA(o, 4*i + e, k)] = W[16*(i*n + o) + 4*(3 - (q >> 1) - 2*(e >> 1)) + 3 - (q & 1) - 2*(e & 1)]
    return A
  })
  return x => {
    const f = framed(x, 1, 1, frame), P = f.side, S = x.side, N = fours(S*S), B = left(k*N), C = right(even(n)*N), y = room(n*4*S*S)
    As.forEach((A, q) => {
      for (let p = 0; p < S*S; p++)
        for (let i = 0, j = atB(0, p, k), at = (Math.floor(p/S) + (q >> 1))*P + p%S + (q & 1); i < m; i++, at += P*P, j += 16) {
          B[j] = f.data[at]; B[j + 4] = f.data[at + 1]; B[j + 8] = f.data[at + P]; B[j + 12] = f.data[at + P + 1]
        }
      multiply(A, 0, B, 0, C, 0, even(n), k, N)
      for (let o = 0; o < n; o++)
        for (let p = 0; p < S*S; p++) y[(2*(o*S + Math.floor(p/S)) + (q >> 1))*2*S + 2*(p%S) + (q & 1)] = C[o*N + p] + b[o]
    })
    return map(n, 2*S, y)
  }
}

function maxpool(x) {
  const S = x.side/2, out = map(x.c, S)
  for (let k = 0; k < out.data.length; k++) {
    const q = (Math.floor(k/S)*2*x.side) + 2*(k%S), d = x.data
    out.data[k] = Math.max(d[q], d[q+1], d[q+x.side], d[q+x.side+1])
  }
  return out
}

function nearest(x) {
  const S = 2*x.side, out = map(x.c, S)
  for (let r = 0; r < x.c*S; r++) for (let j = 0; j < S; j++) out.data[r*S + j] = x.data[(r >> 1)*x.side + (j >> 1)]
  return out
}

function pixelshuffle(x) {
  const s = x.side, S = 2*s, out = map(x.c/4, S)
  for (let r = 0, k = 0; r < out.c*S; r++) { // a row of channel o, at height i
    const o = Math.floor(r/S), i = r - o*S, from = ((4*o + 2*(i & 1))*s + (i >> 1))*s
    for (let j = 0; j < S; j++) out.data[k++] = x.data[from + (j & 1)*s*s + (j >> 1)]
  }
  return out
}

function cropped(x, side) {
  if (x.side === side) return x
  const out = map(x.c, side)
  for (let r = 0; r < x.c*side; r++) {
    const at = (Math.floor(r/side)*x.side + r%side)*x.side
    out.data.set(x.data.subarray(at, at + side), r*side)
  }
  return out
}

// Each channel times a number plus a number.
function scaled(x, mean, factor, shift) {
  const n = x.side**2, out = map(x.c, x.side)
  for (let k = 0; k < out.data.length; k++) { const c = Math.floor(k/n); out.data[k] = (x.data[k] - mean[c])*factor[c] + shift[c] }
  return out
}

function batchNorm(weight, bias, mean, variance) { // with the running statistics of the training
  const factor = Float64Array.from(weight.data, (w, c) => w/Math.sqrt(variance.data[c] + 1e-5))
  return x => scaled(x, mean.data, factor, bias.data)
}

function groupNorm(weight, bias) {
  return x => {
    const groups = gcd(x.c, 8), n = x.data.length/groups, per = x.c/groups, mean = new Float64Array(x.c), factor = new Float64Array(x.c)
    for (let g = 0; g < groups; g++) {
      const part = x.data.subarray(g*n, (g + 1)*n), m = part.reduce((a, b) => a + b, 0)/n
      const v = part.reduce((a, b) => a + (b - m)**2, 0)/n
      for (let c = g*per; c < (g + 1)*per; c++) { mean[c] = m; factor[c] = weight.data[c]/Math.sqrt(v + 1e-5) }
    }
    return scaled(x, mean, factor, bias.data)
  }
}

const gcd = (a, b) => b ? gcd(b, a%b) : a

// erf by its series where that converges quickly: all terms have one sign, so nothing cancels.
export function erf(x) {
  if (Math.abs(x) > 5.5) return Math.sign(x)
  let term = 2*x*Math.exp(-x*x)/Math.sqrt(Math.PI), sum = term
  for (let n = 1; Math.abs(term) > 1e-17*Math.abs(sum); n++) sum += term *= 2*x*x/(2*n + 1)
  return sum
}

const ACTIVATIONS = {
  relu: v => v > 0 ? v : 0,
  leaky_relu: v => v > 0 ? v : 0.01*v,
  silu: v => v/(1 + Math.exp(-v)),
  gelu: v => 0.5*v*(1 + erf(v*Math.SQRT1_2)),
}
function activate(name) {
  const f = ACTIVATIONS[name], room = keeps()
  return ({c, side, data: d}) => {
    const y = room(d.length)
    if (name === 'relu') for (let k = 0; k < d.length; k++) y[k] = d[k] > 0 ? d[k] : 0
    else for (let k = 0; k < d.length; k++) y[k] = f(d[k])
    return map(c, side, y)
  }
}

const chain = layers => x => layers.reduce((h, f) => f(h), x)
const flat = x => map(x.data.length, 1, x.data)

// ── Networks: the layers that config.json describes, filled from the tensors ─────────────────────────────────────────────────────────

class Filler { // hands out tensors by name and remembers which were asked for
  constructor(tensors) { this.left = new Map(tensors) }
  take(name, ...shape) {
    const t = this.left.get(name)
    if (!t) throw new InputError(`the weights do not fit config.json: ${name} is missing`)
    if (t.shape.join() !== shape.join())
      throw new InputError(`the weights do not fit config.json: ${name} is (${t.shape}), expected (${shape})`)
    this.left.delete(name)
    return t
  }
  pair(name, n, ...shape) { return [this.take(name + '.weight', n, ...shape), this.take(name + '.bias', n)] }
  done() {
    for (const name of this.left.keys()) throw new InputError(`the weights do not fit config.json: ${name} is not in such a model`)
  }
}

function normAct(fill, name, c, {norm, activation}) {
  const act = activate(activation)
  if (norm === 'none') return act
  if (norm === 'group') return chain([groupNorm(...fill.pair(name + '.0', c)), act])
  const stats = ['running_mean', 'running_var'].map(s => fill.take(`${name}.0.${s}`, c))
  fill.take(`${name}.0.num_batches_tracked`)
  return chain([batchNorm(...fill.pair(name + '.0', c), ...stats), act])
}

function resBlock(fill, name, c, config) {
  const conv = i => conv3(...fill.pair(`${name}.layers.${i}`, c, c, 3, 3))
  const f = chain([normAct(fill, name + '.layers.0', c, config), conv(1), normAct(fill, name + '.layers.2', c, config), conv(3)])
  return x => { // no layer inside writes to x, so it is still there
    const y = f(x)
    for (let k = 0; k < y.data.length; k++) y.data[k] += x.data[k]
    return y
  }
}

function downsample(fill, name, cIn, cOut, kind) {
  const layers = kind === 'stride' ? [conv4(...fill.pair(name + '.layers.0', cOut, cIn, 4, 4))]
    : [conv3(...fill.pair(name + '.layers.0', cOut, cIn, 3, 3)), maxpool]
  return chain([x => x.side%2 ? framed(x, 0, 1) : x, ...layers]) // an odd side gets one more row and column of zeros
}

function upsample(fill, name, cIn, cOut, size, kind) {
  let layers
  if (kind === 'transpose') layers = [transpose4(fill.take(name + '.layers.0.weight', cIn, cOut, 4, 4), fill.take(name + '.layers.0.bias', cOut))]
  else if (kind === 'nearest') layers = [nearest, conv3(...fill.pair(name + '.layers.1', cOut, cIn, 3, 3))]
  else layers = [conv3(...fill.pair(name + '.layers.0', 4*cOut, cIn, 3, 3)), pixelshuffle]
  return chain([...layers, x => cropped(x, size)])
}

const stages = ({image_size, width, depth}) => ({
  sizes: Array.from({length: depth + 1}, (_, i) => Math.ceil(image_size/2**i)),
  widths: Array.from({length: depth}, (_, i) => Math.min(width*2**i, Math.max(width, 512))),
})

const blocks = (fill, name, i, c, config) => // the residual blocks of stage i, counted from 0
  config.block_stages === 'all' || i === config.depth - 1
    ? Array.from({length: config.num_blocks}, (_, j) => resBlock(fill, `${name}.block${i + 1}_${j + 1}`, c, config)) : []

function hidden(fill, name, n, {width, depth, activation}) {
  return Array.from({length: depth}, (_, i) => chain([
    linear(...fill.pair(`${name}.hidden${i + 1}.0`, width, i ? width : n)), activate(activation)]))
}

function buildEncoder(fill, config, cIn) {
  const name = 'encoder.layers', {sizes, widths} = stages(config), layers = [], d = config.depth
  let n = cIn*config.image_size**2
  if (config.architecture === 'mlp') { layers.push(flat, ...hidden(fill, name, n, config)); n = config.width }
  else {
    widths.forEach((w, i) => {
      const c = i ? widths[i - 1] : cIn
      if (i) layers.push(normAct(fill, `${name}.act${i}`, c, config))
      layers.push(downsample(fill, `${name}.down${i + 1}`, c, w, config.downsample), ...blocks(fill, name, i, w, config))
    })
    layers.push(normAct(fill, `${name}.act${d}`, widths[d - 1], config), flat)
    n = widths[d - 1]*sizes[d]**2
  }
  return chain([...layers, linear(...fill.pair(name + '.mu_logvar', 2*config.latent_dim, n))])
}

function buildDecoder(fill, config, nIn, cOut) {
  const name = 'decoder.layers', {sizes, widths} = stages(config), d = config.depth, size = config.image_size
  if (config.architecture === 'mlp') return chain([
    ...hidden(fill, name, nIn, config), linear(...fill.pair(name + '.linear', cOut*size*size, config.width)), x => map(cOut, size, x.data)])
  const side = sizes[d], top = widths[d - 1]
  const layers = [linear(...fill.pair(name + '.linear', top*side*side, nIn)), x => map(top, side, x.data)]
  for (let i = d - 1; i >= 0; i--)
    layers.push(...blocks(fill, name, i, widths[i], config), normAct(fill, `${name}.act${i + 1}`, widths[i], config),
      upsample(fill, `${name}.up${i + 1}`, widths[i], i ? widths[i - 1] : cOut, sizes[i], config.upsample))
  return chain(layers)
}

// ── Likelihoods: from the decoder's numbers to log p(x|z), a mean and draws ──────────────────────────────────────────────────────────
// `logProb(a, x, s)`, `mean(a, s)` and `draw(a, s, random)` look at one pixel: a is the decoder's number, s the log-scale, if there is one.

export const softplus = v => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)))
export const sigmoid = v => 1/(1 + Math.exp(-v))
const clamp = (v, low, high) => Math.min(Math.max(v, low), high)

// Soft bounds of a learned log-scale: 0.001 to 10 pixel ranges
const LOW = Math.log(1e-3), HIGH = Math.log(10)
export const boundLogScale = raw => LOW + softplus(HIGH - LOW - softplus(HIGH - raw))
function unboundLogScale(s) {
  const inverse = y => y + Math.log(-Math.expm1(-y))
  return HIGH - inverse(HIGH - LOW - inverse(s - LOW))
}

const inUnit = {range: 'pixels in [0,1]', accepts: x => x >= 0 && x <= 1}
const bernoulli = {
  range: 'pixels that are 0 or 1', accepts: x => x === 0 || x === 1,
  logProb: (a, x) => x*a - softplus(a),
  mean: sigmoid,
  draw: (a, s, random) => random.uniform() < sigmoid(a) ? 1 : 0,
}
const gaussian = {
  ...inUnit, hasScale: true,
  logProb: (a, x, s) => -0.5*((x - a)*Math.exp(-s))**2 - s - 0.5*Math.log(2*Math.PI),
  mean: a => a,
  draw: (a, s, random) => a + Math.exp(s)*random.normal(),
}
const laplace = {
  ...inUnit, hasScale: true,
  logProb: (a, x, s) => -Math.abs(x - a)*Math.exp(-s) - s - Math.log(2),
  mean: a => a,
  draw: (a, s, random) => { const u = random.uniform() - 0.5; return a - Math.exp(s)*Math.sign(u)*Math.log1p(-2*Math.abs(u)) },
}
const continuousBernoulli = { // proportional to exp(a·x) on [0,1]; near a = 0 a series takes the place of 0/0
  ...inUnit,
  logProb: (a, x) => {
    if (Math.abs(a) < 0.5) return (x - 0.5)*a - a**2/24 + a**4/2880 - a**6/181440
    const b = Math.abs(a)
    return Math.log(b) - b*Math.abs(x - (a > 0)) - Math.log(-Math.expm1(-b))
  },
  mean: a => {
    if (Math.abs(a) < 0.5) return 0.5 + a/12 - a**3/720 + a**5/30240
    const b = Math.abs(a), far = -1/Math.expm1(-b) - 1/b
    return a > 0 ? far : 1 - far
  },
  draw: (a, s, random) => {
    const b = Math.max(Math.abs(a), 1e-6), d = -Math.log1p(random.uniform()*Math.expm1(-b))/b
    return a > 0 ? 1 - d : d
  },
}
const logSigmoid = v => -softplus(-v)
const discretizedLogistic = top => { // grey levels k/top; the outer two take the tails
  const level = x => clamp(roundEven(x*top), 0, top)
  return {
    range: `the ${top + 1} grey levels k/${top}`, hasScale: true, level: x => level(x)/top,
    accepts: x => Math.abs(x - level(x)/top) < 1e-4 || Math.abs(x - Math.round(255*level(x)/top)/255) < 1e-4,
    logProb: (a, x, s) => {
      const k = level(x), centre = (k/top - a)*Math.exp(-s), h = 0.5/top*Math.exp(-s)
      const below = logSigmoid(h + centre), above = logSigmoid(h - centre)
      return k === 0 ? below : k === top ? above : below + above + Math.log(-Math.expm1(-2*h))
    },
    mean: (a, s) => {
      let sum = 0
      for (let j = 1; j <= top; j++) sum += sigmoid((a - (j - 0.5)/top)*Math.exp(-s))
      return sum/top
    },
    draw: (a, s, random) => { const u = random.uniform(); return level(a + Math.exp(s)*Math.log(u/(1 - u)))/top },
  }
}
const roundEven = v => { const r = Math.round(v); return Math.abs(v%1) === 0.5 && r%2 ? r - 1 : r }

function buildLikelihood(fill, {likelihood_type: type, scale, scale_mode: mode, num_levels}) {
  const families = {
    bernoulli, gaussian, laplace, continuous_bernoulli: continuousBernoulli, discretized_logistic: discretizedLogistic(num_levels - 1),
    bce: {...bernoulli, ...inUnit, draw: null}, mse: gaussian, l1: laplace}
  const one = families[type], ownScale = one.hasScale && type !== 'mse' && type !== 'l1'
  if (!ownScale) return {...one, perChannel: 1, logScale: () => 0}
  if (mode === 'fixed') return {...one, perChannel: 1, logScale: () => Math.log(scale)}
  if (mode === 'learned' || mode === 'optimal') {
    const raw = fill.take('likelihood.log_scale').data[0], s = mode === 'learned' ? boundLogScale(raw) : raw
    return {...one, perChannel: 1, logScale: () => s}
  }
  const start = unboundLogScale(Math.log(scale)) // per pixel: the second half of the channels
  return {...one, perChannel: 2, logScale: (params, k) => boundLogScale(params[params.length/2 + k] + start)}
}

// ── A learned prior: affine couplings, from codes to noise and back (chapter 10) ──────────────────────────────────────────────────────
// Which numbers of a code stay and which move was drawn with Python's random numbers, and no file repeats it; so they are made here too.

export function pythonRandom(seed) { // random.Random(seed).random, for a whole seed below 2^32: the Mersenne Twister
  const N = 624, s = new Uint32Array(N), mix = i => s[i - 1] ^ s[i - 1] >>> 30
  s[0] = 19650218
  for (let i = 1; i < N; i++) s[i] = Math.imul(1812433253, mix(i)) + i
  let i = 1
  const stir = (times, f) => { for (let k = 0; k < times; k++) { s[i] = f(); if (++i === N) { s[0] = s[N - 1]; i = 1 } } }
  stir(N, () => (s[i] ^ Math.imul(mix(i), 1664525)) + seed)
  stir(N - 1, () => (s[i] ^ Math.imul(mix(i), 1566083941)) - i)
  s[0] = 0x80000000
  let at = N
  const next = () => {
    if (at === N) for (at = 0; at < N; at++) {
      const y = s[at] & 0x80000000 | s[(at + 1)%N] & 0x7fffffff
      s[at] = s[(at + 397)%N] ^ y >>> 1 ^ (y & 1 ? 0x9908b0df : 0)
    }
    if (at === N) at = 0
    let y = s[at++]
    y ^= y >>> 11; y ^= y << 7 & 0x9d2c5680; y ^= y << 15 & 0xefc60000
    return (y ^ y >>> 18) >>> 0
  }
  return () => ((next() >>> 5)*67108864 + (next() >>> 6))/9007199254740992
}

// For each coupling the numbers that stay and those that move: random halves, and each second one moves what the one before it kept.
export function halves(d, layers) {
  return Array.from({length: layers}, (_, i) => {
    const chance = pythonRandom(i >> 1), keys = Array.from({length: d}, chance), up = (a, b) => a - b
    const order = keys.map((_, j) => j).sort((a, b) => keys[a] - keys[b] || a - b), half = Math.floor(d/2)
    const a = order.slice(0, half).sort(up), b = order.slice(half).sort(up)
    return i%2 ? [a, b] : [b, a]
  })
}

export class FlowPrior {
  constructor(fill, settings, latentDim, at = '') { // the tensors; what config.json or the file's notes say of it; `prior.` in a model's file
    const {kind, latent_dim: d, num_classes: k = 0, num_layers: n = 12, width = 128} = settings ?? {}
    if (kind !== 'flow') throw new InputError(`this page cannot run the prior: its kind is ${quoted(kind)}, and it knows flow`)
    if (d !== latentDim) throw new InputError(`this prior is for codes of ${quoted(d)} numbers, the model has ${latentDim}`)
    for (const [name, v] of Object.entries({num_classes: k, num_layers: n, width}))
      if (!Number.isInteger(v) || v < 0 || v > 2**16) throw new InputError(`the prior: ${name} must be a whole number, got ${quoted(v)}`)
    this.numClasses = k
    this.mean = fill.take(at + 'mean', d).data
    this.std = fill.take(at + 'std', d).data
    this.layers = halves(d, n).map(([keep, change], i) => {
      const name = `${at}layers.${i}.net.`, relu = activate('relu')
      const net = chain([linear(...fill.pair(name + 0, width, keep.length + k)), relu, linear(...fill.pair(name + 2, width, width)), relu,
        linear(...fill.pair(name + 4, 2*change.length, width))])
      return {change, net: (u, y) => net(map(keep.length + k, 1, Float64Array.from([...keep.map(j => u[j]), ...y]))).data}
    })
  }

  label(y) {
    const k = this.numClasses
    if (k && !(Number.isInteger(y) && y >= 0 && y < k)) throw new InputError(`this prior is told the class: give a label, 0 to ${k - 1}`)
    return Array.from({length: k}, (_, i) => +(i === y))
  }

  // log p(z), in nats: the noise's density and the change of volume on the way to it
  logProb(z, y) {
    const u = Float64Array.from(z, (v, j) => (v - this.mean[j])/this.std[j]), rows = this.label(y)
    let volume = -this.std.reduce((sum, v) => sum + Math.log(v), 0)
    for (const {change, net} of this.layers) {
      const out = net(u, rows), m = change.length
      change.forEach((j, i) => { const s = 2*Math.tanh(out[m + i]/2); u[j] = (u[j] - out[i])*Math.exp(-s); volume -= s })
    }
    return logPrior(u) + volume
  }

  // From noise to a code
  fromNoise(eps, y) {
    const u = Float64Array.from(eps), rows = this.label(y)
    for (const {change, net} of [...this.layers].reverse()) {
      const out = net(u, rows), m = change.length
      change.forEach((j, i) => { u[j] = u[j]*Math.exp(2*Math.tanh(out[m + i]/2)) + out[i] })
    }
    return u.map((v, j) => this.mean[j] + this.std[j]*v)
  }
}

// A prior that vae_fit_prior has written, `prior_flow.safetensors`, for this model
export function readPrior(buffer, vae) {
  const {tensors, notes} = readSafetensors(buffer), fill = new Filler(tensors)
  const prior = new FlowPrior(fill, notes.prior, vae.config.latent_dim)
  fill.done()
  return prior
}

// ── The VAE ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

export class VAE {
  constructor(config, {tensors, notes = {}}) { // the text of config.json; what readSafetensors returns
    const c = this.config = readConfig(config), fill = new Filler(tensors)
    if ((c.decoder_labels || c.encoder_labels !== 'none') && !c.num_classes) throw new InputError('config.json: the model takes labels, but num_classes is 0')
    const deepest = Math.ceil(Math.log2(c.image_size)) - 1
    if (c.architecture === 'conv' && c.depth > deepest)
      throw new InputError(`config.json: depth must be 1 to ${deepest} for images of ${c.image_size} pixels, got ${c.depth}`)
    this.notes = notes
    this.numPixels = c.channels*c.image_size**2
    this.likelihood = buildLikelihood(fill, c)
    this.encoder = buildEncoder(fill, c, c.channels + {none: 0, channel: 1, onehot: c.num_classes}[c.encoder_labels])
    this.decoder = buildDecoder(fill, c, c.latent_dim + (c.decoder_labels ? c.num_classes : 0), c.channels*this.likelihood.perChannel)
    this.prior = c.prior === 'normal' ? null : new FlowPrior(fill, sectionsOf(config).prior, c.latent_dim, 'prior.') // null: N(0,I)
    fill.done()
  }

  // Density of a code under the model's prior, in nats
  logPrior(z, y) { return this.prior ? this.prior.logProb(z, y) : logPrior(z) }

  get takesLabels() { return this.config.decoder_labels || this.config.encoder_labels !== 'none' }

  checkLabel(y) {
    const k = this.config.num_classes
    if (!Number.isInteger(y) || y < 0 || y >= k) throw new InputError(`this model needs a label, 0 to ${k - 1}`)
    return y
  }

  // Mean and log-variance of q(z|x). x: pixels in [0,1], channels first; y: a label, for a model that takes one
  encode(x, y) {
    const c = this.config, size = c.image_size, planes = {none: 0, channel: 1, onehot: c.num_classes}[c.encoder_labels]
    if (x.length !== this.numPixels) throw new InputError(`this model takes images of ${c.channels}×${size}×${size}, got ${x.length} numbers`)
    const h = map(c.channels + planes, size), at = x.length
    h.data.set(x)
    if (planes === 1 && c.encoder_labels === 'channel') h.data.fill(c.label_factor*this.checkLabel(y)/c.num_classes, at)
    else if (planes) { const k = at + this.checkLabel(y)*size*size; h.data.fill(c.label_factor, k, k + size*size) }
    const {data} = this.encoder(h) // copied, for the next call writes to the same place
    return {mu: data.slice(0, c.latent_dim), logvar: data.slice(c.latent_dim)}
  }

  // Parameters of p(x|z), before activation
  decode(z, y) {
    const c = this.config
    if (z.length !== c.latent_dim) throw new InputError(`this model takes codes of ${c.latent_dim} numbers, got ${z.length}`)
    if (!c.decoder_labels) return this.decoder(map(z.length, 1, Float64Array.from(z))).data.slice()
    const zy = new Float64Array(z.length + c.num_classes)
    zy.set(z)
    zy[z.length + this.checkLabel(y)] = 1
    return this.decoder(map(zy.length, 1, zy)).data.slice()
  }

  // log p(x|z) in nats; pixels out of the likelihood's range are an InputError
  logProb(params, x) {
    const p = this.likelihood
    let sum = 0
    for (let k = 0; k < x.length; k++) {
      if (!p.accepts(x[k])) throw new InputError(`this model takes ${p.range}, got ${x[k]}`)
      sum += p.logProb(params[k], x[k], p.logScale(params, k))
    }
    return sum
  }

  // Mean of p(x|z), not clipped
  mean(params) { return Float64Array.from({length: this.numPixels}, (_, k) => this.likelihood.mean(params[k], this.likelihood.logScale(params, k))) }

  // A draw from p(x|z)
  draw(params, random) {
    if (!this.likelihood.draw) throw new InputError('bce is not a likelihood and has no draws')
    return Float64Array.from({length: this.numPixels}, (_, k) => this.likelihood.draw(params[k], this.likelihood.logScale(params, k), random))
  }

  // Grey or clipped pixels in the range that the likelihood accepts
  fit(x) {
    if (this.config.likelihood_type === 'bernoulli') return Float64Array.from(x, v => v >= 0.5 ? 1 : 0)
    return Float64Array.from(x, v => (this.likelihood.level ?? (w => w))(clamp(v, 0, 1)))
  }

  // The evidence lower bound of one image and its parts, in nats, at z = mu + std·eps
  bound(x, {y, eps, code = this.encode(x, y)}) {
    const {mu, logvar} = code, rateDims = mu.map((m, i) => 0.5*(m*m + Math.exp(logvar[i]) - 1 - logvar[i]))
    const z = mu.map((m, i) => m + Math.exp(0.5*logvar[i])*eps[i])
    const params = this.decode(z, y), distortion = -this.logProb(params, x)
    // under N(0,I) exact; under a learned prior log q(z|x) - log p(z), at this z
    const rate = this.prior ? logPrior(eps) - 0.5*logvar.reduce((a, b) => a + b, 0) - this.prior.logProb(z, y) : rateDims.reduce((a, b) => a + b, 0)
    return {elbo: -(distortion + rate), distortion, rate, rateDims, mu, logvar, z, params}
  }
}

// Density of a code under the prior N(0,I), in nats
export const logPrior = z => z.reduce((s, v) => s - 0.5*v*v - 0.5*Math.log(2*Math.PI), 0)

async function fetched(name, folder, base) {
  const url = new URL(name, new URL(folder.replace(/\/*$/, '/'), base ?? globalThis.location?.href))
  let answer
  try { answer = await fetch(url) } catch { throw new InputError(`${url} cannot be reached`) }
  if (!answer.ok) throw new InputError(`${url} is not there (status ${answer.status})`)
  return answer
}

// Load a model from the address of a folder; and a prior that lies beside it.
export async function loadVAE(folder, base) {
  const [config, weights] = await Promise.all([fetched('config.json', folder, base).then(a => a.text()),
    fetched('model.safetensors', folder, base).then(a => a.arrayBuffer())])
  return new VAE(config, readSafetensors(weights))
}
export async function loadPrior(vae, folder, base) {
  return readPrior(await (await fetched('prior_flow.safetensors', folder, base)).arrayBuffer(), vae)
}

// ── Noise by a seed ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

export class Random { // sfc32: 128 bits of state, a period of at least 2^32; normal numbers by Box and Muller
  constructor(seed) {
    this.s = [seed | 0, seed/2**32 | 0, 0x9e3779b9 | 0, 1]
    for (let i = 0; i < 15; i++) this.bits()
  }
  bits() {
    const s = this.s, t = (s[0] + s[1] | 0) + s[3] | 0
    s[3] = s[3] + 1 | 0
    s[0] = s[1] ^ s[1] >>> 9
    s[1] = s[2] + (s[2] << 3) | 0
    s[2] = (s[2] << 21 | s[2] >>> 11) + t | 0
    return t >>> 0
  }
  uniform() { return (this.bits() + 0.5)/2**32 } // never 0, never 1
  normal() { return Math.sqrt(-2*Math.log(this.uniform()))*Math.cos(2*Math.PI*this.uniform()) }
  normals(n) { return Float64Array.from({length: n}, () => this.normal()) }
}
