// Computes beside the page, so that the page never waits. A request is `{id, op, args}`; the answer `{id, result}` or `{id, error}`,
// and before it any number of `{id, part}`.
import {loadPrior, loadVAE, Random} from './vae.js'
import {Trainer} from './train.js'

let vae, beside = null, training = null // beside: a prior that lies beside the model
const mean = v => v.reduce((a, b) => a + b, 0)/v.length
const plain = image => Float32Array.from(image, v => Math.min(Math.max(v, 0), 1)) // to show

// Long work lets other requests in between its pictures, so that a slider never waits for sixty-four samples.
const turns = [], {port1, port2} = new MessageChannel() // a timer would wait for at least 4 ms
port1.onmessage = () => turns.shift()()
const othersFirst = () => new Promise(done => { turns.push(done); port2.postMessage(0) })
let sampling = null // the newest request for samples; older ones stop

const OPS = {
  async load({folder, base}) {
    vae = await loadVAE(folder, base)
    return {config: vae.config, notes: vae.notes, range: vae.likelihood.range, draws: !!vae.likelihood.draw}
  },

  // The bound of one image, averaged over k draws of z
  async bound({x, y, k, seed}) {
    const random = new Random(seed), seen = vae.fit(x), code = vae.encode(seen, y), n = vae.config.latent_dim, all = []
    while (all.length < k) {
      if (all.length) await othersFirst()
      all.push(vae.bound(seen, {y, eps: random.normals(n), code}))
    }
    const distortions = all.map(b => b.distortion), d = mean(distortions)
    const error = k > 1 ? Math.sqrt(mean(distortions.map(v => (v - d)**2))/(k - 1)) : null
    const {rateDims, mu, logvar, params} = all[0], rate = mean(all.map(b => b.rate)) // one number under N(0,I)
    return {rate, rateDims, mu, logvar, distortion: d, elbo: -(d + rate), error, k, seen: plain(seen), recon: plain(vae.mean(params))}
  },

  decode({z, y, draw, seed}) {
    const params = vae.decode(z, y)
    return {image: plain(draw ? vae.draw(params, new Random(seed)) : vae.mean(params)), logPrior: vae.logPrior(z, y)}
  },

  // A code from the model's prior
  code({seed, y}) {
    const eps = new Random(seed).normals(vae.config.latent_dim)
    return vae.prior ? vae.prior.fromNoise(eps, y) : eps
  },

  // Means of p(x|z); z from N(0,I), or from the flow that the model was trained with or that lies beside it
  async sample({n, y, temperature, seed, prior, folder, base}, tell) {
    const random = new Random(seed), flow = prior === 'flow' ? vae.prior ?? (beside ??= await loadPrior(vae, folder, base)) : null
    const me = sampling = {}
    for (let i = 0; i < n && sampling === me; i++) {
      const eps = random.normals(vae.config.latent_dim).map(v => temperature*v), z = flow ? flow.fromNoise(eps, y) : eps
      tell({i, image: plain(vae.mean(vae.decode(z, y)))})
      await othersFirst()
    }
    return sampling === me
  },
  stop() { sampling = null },

  // Pictures on the way between two codes, and the ELBO of each picture
  async path({codes, y, k, seed}) {
    const found = []
    for (const z of codes) {
      const image = vae.mean(vae.decode(z, y)), x = vae.fit(image), code = vae.encode(x, y), random = new Random(seed), elbos = []
      while (elbos.length < k) {
        await othersFirst()
        elbos.push(vae.bound(x, {y, eps: random.normals(z.length), code}).elbo)
      }
      found.push({image: plain(image), elbo: mean(elbos), logPrior: vae.logPrior(z, y)})
    }
    return found
  },

  // Train until told to stop; `settings` changes beta on the way
  train({base, seed}, tell) {
    return new Promise((resolve, reject) => run({base, seed}, tell).then(resolve, reject))
  },
  settings(args) { if (training) Object.assign(training, args) },
}

const BATCH = 128, SHOWN = 400
async function run({base, seed}, tell) {
  const answer = await fetch(new URL('digits.bin', base))
  if (!answer.ok) throw new Error(`digits.bin is not there (status ${answer.status})`)
  const bytes = new Uint8Array(await answer.arrayBuffer()), n = bytes.length/65, random = new Random(seed)
  const t = new Trainer({seed}), grey = new Float64Array(n*64), labels = new Uint8Array(n)
  for (let i = 0; i < n; i++) {
    labels[i] = bytes[65*i]
    for (let j = 0; j < 64; j++) grey[64*i + j] = bytes[65*i + 1 + j]/255
  }
  const me = training = {beta: 1, running: true, stop: false}
  let rate, distortion, rateDims
  tell({labels: labels.slice(0, SHOWN), n})
  while (!me.stop) {
    for (const until = performance.now() + 60; me.running && performance.now() < until;) {
      const x = new Float64Array(BATCH*64)
      for (let i = 0; i < BATCH; i++) { // dynamic binarisation: each grey level is the probability of white
        const row = 64*Math.floor(random.uniform()*n)
        for (let j = 0; j < 64; j++) x[64*i + j] = random.uniform() < grey[row + j] ? 1 : 0
      }
      const b = t.gradients(x, random.normals(BATCH*2), BATCH, me.beta), keep = t.step ? 0.95 : 0
      t.update()
      rate = keep*(rate ?? 0) + (1 - keep)*b.rate // running means over some twenty steps
      distortion = keep*(distortion ?? 0) + (1 - keep)*b.distortion
      rateDims = Array.from(b.rateDims, (v, i) => keep*(rateDims?.[i] ?? 0) + (1 - keep)*v)
    }
    const {mu} = t.encode(grey.subarray(0, SHOWN*64), SHOWN), side = 9
    const z = Float64Array.from({length: 2*side*side}, (_, k) => {
      const at = k >> 1
      return k & 1 ? 3 - 6*Math.floor(at/side)/(side - 1) : -3 + 6*(at%side)/(side - 1)
    })
    const pictures = Float32Array.from(t.decode(z, side*side).logits, a => 1/(1 + Math.exp(-a)))
    if (t.step) tell({mu: Float32Array.from(mu), pictures, side, rate, distortion, rateDims, step: t.step, epoch: t.step*BATCH/n, beta: me.beta})
    await new Promise(done => setTimeout(done, me.running ? 0 : 100))
  }
  return t.step
}

onmessage = async ({data: {id, op, args}}) => {
  try { postMessage({id, result: await OPS[op](args, part => postMessage({id, part}))}) }
  catch (e) { postMessage({id, error: e.constructor.name === 'InputError' ? e.message : `${e.name}: ${e.message}`}) }
}
postMessage({ready: true})
