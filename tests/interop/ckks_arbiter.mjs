// The arbiter of the modes he and he+dp with CKKS that shares no code with FedLearn, by docs/protocol.md and docs/proofs/he-dp.md alone. Prints where it listens, then the rounds that it answered.
// The noise comes from Math.random: it shows what crosses the wire, and protects nobody.
import { ArbiterEngine, below, load, modulus, slots, toBytes } from './ckks.mjs'
import { damages } from './ckks_damages.mjs'
import { serve } from './wire.mjs'

process.on('uncaughtException', error => {
  console.error(error.message)
  process.exit(1)
})
const args = { name: 'arbiter', sigma: null, damage: null, ...JSON.parse(process.argv[2]) }
const { parties: names, epochs, batches } = args
const engine = new ArbiterEngine(await load(args.seal)), damage = await damages(args.damage, args.seal)
const { all, close } = await serve(args.name, names, Buffer.from(args.terms, 'hex'), port => console.log(port))
all.forEach(exchange => exchange.damage = damage)

// Sizes and the key.
const stillThere = setInterval(() => all.forEach(exchange => exchange.waiting()), 5000)
const sizes = await Promise.all(all.map(async exchange => {
  const announced = await exchange.receiveScalars(0)
  exchange.send(0, 'encryption_key', engine.publicKey)
  return announced
}))
clearInterval(stillThere)
const [[rows]] = sizes
if (sizes.some(([r, b, , , m]) => r !== rows || b !== batches || !(m >= 0 && m <= 20)))
  throw new Error('the parties\' sizes differ, or are none')
for (const exchange of all)
  exchange.sendScalars(0, [sizes.reduce((sum, [, , d]) => sum + d, 0), Math.max(...sizes.map(size => size[3])), Math.max(...sizes.map(size => size[4]))])

// Rounds.
for (let round = 0; round < epochs * batches; round++) {
  const b = Math.floor(rows / batches) + (round % batches < rows % batches ? 1 : 0)
  await Promise.all(all.map(async (exchange, p) => {
    const d = sizes[p][2], products = await exchange.receiveSealed(round, 'masked_products', d, d)
    exchange.sendSealed(round, 'masked_answers', products.map(product => toBytes(modulo(engine.open(product) + added(b)))), d)
  }))
}
for (const exchange of all) {
  await exchange.receive(0, 'completed')
  exchange.send(0, 'completed', Buffer.alloc(0))
  exchange.stream.end()
}
console.log(epochs * batches)
close()

/** The flood, or the noise of docs/proofs/he-dp.md, section 3. */
function added(b) {
  if (args.sigma === null)
    return below(1n << 78n) - (1n << 77n)
  const scale = 2 ** (74 + 34) / slots * b, step = BigInt(Math.ceil(args.sigma * scale / 2 ** 24)), L = ((1n << 86n) + step - 1n) / step
  const gaussian = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())
  return step * BigInt(Math.round(gaussian * 2 ** 24)) + below(L * step) - L * step / 2n
}

function modulo(value) {
  return (value % modulus + modulus) % modulus
}
