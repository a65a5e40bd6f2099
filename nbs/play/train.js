// A VAE with one hidden layer on each side that trains in the page: forward, backward and Adam, written out.
//
// The model is the library's `architecture: 'mlp'` with `depth: 1` and ReLU, a Bernoulli likelihood and N(0,I) as prior; the tensors have
// the names that the library gives them. Gradients and steps are compared with PyTorch in nbs/44_serve.ipynb.

import {Random, sigmoid, softplus} from './vae.js'

// y = x Wᵀ + b for n rows
function affine(x, n, {data: W, shape: [k, m]}, {data: b}) {
  const y = new Float64Array(n*k)
  for (let r = 0; r < n; r++)
    for (let i = 0; i < k; i++) {
      let s = b[i], t = 0, w = i*m, q = r*m
      const end = q + m - m%2
      for (; q < end; q += 2, w += 2) { s += W[w]*x[q]; t += W[w + 1]*x[q + 1] } // two sums, that need not wait for each other
      if (m%2) s += W[w]*x[q]
      y[r*k + i] = s + t
    }
  return y
}

// From dL/dy to dL/dW and dL/db, which are added to, and dL/dx, where it is wanted
function affineBack(x, dy, n, {data: W, grad: dW, shape: [k, m]}, {grad: db}, wanted = true) {
  const dx = new Float64Array(wanted ? n*m : 0)
  for (let r = 0; r < n; r++)
    for (let i = 0; i < k; i++) {
      const g = dy[r*k + i]
      if (g === 0) continue // behind a closed ReLU
      db[i] += g
      for (let j = 0, w = i*m, q = r*m; j < m; j++) dW[w + j] += g*x[q + j]
      if (wanted) for (let j = 0, w = i*m, q = r*m; j < m; j++) dx[q + j] += g*W[w + j]
    }
  return dx
}

const relu = h => h.map(v => Math.max(v, 0))
const reluBack = (dh, h) => dh.map((g, k) => h[k] > 0 ? g : 0)

const NAMES = ['encoder.layers.hidden1.0', 'encoder.layers.mu_logvar', 'decoder.layers.hidden1.0', 'decoder.layers.linear']

export class Trainer {
  constructor({pixels = 64, width = 128, latentDim = 2, seed = 0, learningRate = 3e-3} = {}) {
    Object.assign(this, {pixels, width, latentDim, learningRate, step: 0})
    const random = new Random(seed), sizes = [[width, pixels], [2*latentDim, width], [width, latentDim], [pixels, width]]
    this.params = {} // weights and biases uniform on ±1/√m, m numbers in, as PyTorch's
    NAMES.forEach((name, l) => {
      const [k, m] = sizes[l], draw = n => Float64Array.from({length: n}, () => (2*random.uniform() - 1)/Math.sqrt(m))
      this.params[name + '.weight'] = {data: draw(k*m), shape: [k, m]}
      this.params[name + '.bias'] = {data: draw(k), shape: [k]}
    })
    for (const p of Object.values(this.params))
      for (const what of ['grad', 'mean', 'square']) p[what] = new Float64Array(p.data.length)
  }

  layer(l) { return ['.weight', '.bias'].map(s => this.params[NAMES[l] + s]) }

  encode(x, n) {
    const h = relu(affine(x, n, ...this.layer(0))), out = affine(h, n, ...this.layer(1)), d = this.latentDim
    const mu = new Float64Array(n*d), logvar = new Float64Array(n*d)
    for (let r = 0; r < n; r++)
      for (let i = 0; i < d; i++) { mu[r*d + i] = out[2*r*d + i]; logvar[r*d + i] = out[(2*r + 1)*d + i] }
    return {h, mu, logvar}
  }

  decode(z, n) {
    const h = relu(affine(z, n, ...this.layer(2)))
    return {h, logits: affine(h, n, ...this.layer(3))}
  }

  // Rate and distortion, nats per image, of n images of zeros and ones, and the gradient of distortion + beta·rate
  gradients(x, eps, n, beta) {
    const d = this.latentDim, {h, mu, logvar} = this.encode(x, n)
    const std = logvar.map(v => Math.exp(0.5*v)), z = mu.map((m, k) => m + std[k]*eps[k])
    const {h: g, logits} = this.decode(z, n)
    const rateDims = new Float64Array(d)
    let distortion = 0
    for (let k = 0; k < n*d; k++) rateDims[k%d] += 0.5*(mu[k]**2 + std[k]**2 - 1 - logvar[k])/n
    for (let k = 0; k < x.length; k++) distortion += (softplus(logits[k]) - x[k]*logits[k])/n
    for (const p of Object.values(this.params)) p.grad.fill(0)
    const dLogits = logits.map((a, k) => (sigmoid(a) - x[k])/n)
    const dg = reluBack(affineBack(g, dLogits, n, ...this.layer(3)), g)
    const dz = affineBack(z, dg, n, ...this.layer(2))
    const dOut = new Float64Array(2*n*d) // dz/dmu = 1 and dz/dlogvar = std·eps/2; the rate adds mu and (std² − 1)/2
    for (let r = 0; r < n; r++)
      for (let i = 0; i < d; i++) {
        const k = r*d + i
        dOut[2*r*d + i] = dz[k] + beta*mu[k]/n
        dOut[(2*r + 1)*d + i] = 0.5*dz[k]*std[k]*eps[k] + 0.5*beta*(std[k]**2 - 1)/n
      }
    const dh = reluBack(affineBack(h, dOut, n, ...this.layer(1)), h)
    affineBack(x, dh, n, ...this.layer(0), false)
    return {distortion, rateDims, rate: rateDims.reduce((a, b) => a + b, 0)}
  }

  // Adam, with its usual decays 0.9 and 0.999
  update() {
    const t = ++this.step, a = 1 - 0.9**t, b = 1 - 0.999**t
    for (const {data, grad, mean, square} of Object.values(this.params))
      for (let k = 0; k < data.length; k++) {
        mean[k] = 0.9*mean[k] + 0.1*grad[k]
        square[k] = 0.999*square[k] + 0.001*grad[k]**2
        data[k] -= this.learningRate*(mean[k]/a)/(Math.sqrt(square[k]/b) + 1e-8)
      }
  }
}
