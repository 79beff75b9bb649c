// A passive party of the modes he and he+dp with CKKS that shares no code with FedLearn, by docs/protocol.md and protos/ alone. Prints its weights as JSON.
import { readFileSync } from 'node:fs'
import { PartyEngine, blocks, load } from './ckks.mjs'
import { damages } from './ckks_damages.mjs'
import { join, sha256 } from './wire.mjs'

process.on('uncaughtException', error => {
  console.error(error.message)
  process.exit(1)
})
// Told as JSON; damage is the name of what it sends in ckks_damages.mjs, if it is to misbehave.
const args = { seed: 0, l2: 0, alpha: 0.25, weightNorm: Infinity, splitMod: 0, splitTest: [], standardize: false, rows: 'none', constant: false, dp: false, damage: null, ...JSON.parse(process.argv[2]) }
const { epochs, batches } = args

const [header, ...lines] = readFileSync(args.data, 'utf8').split('\n').filter(line => line !== '').map(line => line.split(','))
const ids = lines.map(([id]) => id.normalize('NFC').trim()), features = lines.map(line => line.slice(1).map(Number)), d = header.length - 1
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0)

const fingerprint = sha256(header.join())
const peer = await join(args.address, args.job, args.party, Buffer.from(args.terms, 'hex'), fingerprint)
const arbiter = await join(args.arbiter, args.job, args.party, Buffer.from(args.arbiterTerms, 'hex'), fingerprint)
const parties = peer.parties
const stillThere = setInterval(() => arbiter.waiting(), 5000)

// Steps 1 and 2 of training, and the split.
const seed = Buffer.alloc(8)
seed.writeBigInt64LE(BigInt(args.seed))
const digests = ids.map((id, row) => ({ digest: sha256(seed, id), row })).sort((a, b) => Buffer.compare(a.digest, b.digest))
peer.send(0, 'hashed_ids', Buffer.concat(digests.map(({ digest }) => digest)))
const selection = await peer.receive(0, 'row_selection')
const common = digests.filter((_, i) => selection[i] === 1).map(({ row }) => row)
const heldOut = common.map(row => args.splitMod > 0 && args.splitTest.includes(Number(BigInt('0x' + sha256(ids[row]).toString('hex')) % BigInt(args.splitMod))))
const [trainRows, testRows] = [false, true].map(test => common.filter((_, i) => heldOut[i] === test))

// Features.
const column = (rows, j) => rows.map(row => features[row][j])
const moments = Array.from({ length: d }, (_, j) => {
  const values = column(trainRows, j), mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return { mean, deviation: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) }
})
function prepared(rows) {
  return rows.map(row => bounded(args.standardize ? features[row].map((value, j) => (value - moments[j].mean) / moments[j].deviation) : features[row]))
}
/** "Bounded rows" of docs/guide/tables.md, with a row norm of 1. */
function bounded(row) {
  const shorter = (values, by) => values.map(value => value / by)
  if (args.rows === 'clip') {
    const clipped = shorter(row, Math.max(args.standardize ? Math.sqrt(d) : 1, Math.hypot(...row)))
    return args.constant ? shorter([...clipped, 1], Math.SQRT2) : clipped
  }
  const whole = args.constant ? [...row, 1] : row
  return args.rows === 'normalize' ? shorter(whole, Math.hypot(...whole) || 1) : whole
}
const x = prepared(trainRows), xTest = prepared(testRows), width = x[0].length

// Sizes and the key.
const largest = Math.max(...x.map(row => Math.max(...row.map(Math.abs))))
const damage = arbiter.damage = await damages(args.damage, args.seal)
clearInterval(stillThere)
arbiter.sendScalars(0, [x.length, batches, width, 0, args.dp ? 0 : Math.max(0, Math.ceil(Math.log2(largest)))])
const engine = new PartyEngine(await load(args.seal), await arbiter.receive(0, 'encryption_key'), args.dp ? 2 ** 34 : 2 ** 26)
const [, , columnBits] = await arbiter.receiveScalars(0)
peer.sendScalars(0, [x.length, xTest.length, sha256(Buffer.from(heldOut)).readUIntBE(0, 6)])
await peer.receiveScalars(0)
peer.damage = damage

// Rounds.
let weights = new Array(width).fill(0), round = 0
const layout = Array.from({ length: batches }, (_, t) => {
  const size = Math.floor(x.length / batches), longer = x.length % batches, start = t * size + Math.min(t, longer)
  const rows = x.slice(start, start + size + (t < longer ? 1 : 0))
  return { rows, columns: Array.from({ length: width }, (_, j) => engine.encodeColumn(rows.map(row => row[j]))) }
})
for (let epoch = 0; epoch < epochs; epoch++) {
  for (const { rows, columns } of layout) {
    const shares = rows.map(row => args.alpha * dot(row, weights)), room = 2 ** 119 / engine.unit / (rows.length * 2 ** columnBits * parties)
    if (shares.some(share => !(Math.abs(share) < room)))
      throw new Error('a share of the residual is beyond the room of the scheme')
    const own = engine.encrypt(shares)
    peer.sendSealed(round, 'encrypted_shares', own.map(cipher => engine.save(cipher)), rows.length)
    const received = await peer.receiveSealed(round, 'encrypted_shares', rows.length, blocks(rows.length))
    const residual = own.map((cipher, k) => engine.evaluator.add(cipher, engine.load(received[k])))
    const products = columns.map(values => engine.product(residual, values))
    arbiter.sendSealed(round, 'masked_products', products.map(({ bytes }) => bytes), width)
    const answers = await arbiter.receiveSealed(round, 'masked_answers', width, width)
    weights = weights.map((weight, j) => (1 - args.stepSize * args.l2) * weight - args.stepSize / rows.length * engine.open(answers[j], products[j].mask))
    const length = Math.hypot(...weights)
    if (length > args.weightNorm)
      weights = weights.map(weight => weight * args.weightNorm / length)
    round++
  }
}

for (const rows of args.dp ? [xTest] : [x, xTest])
  if (rows.length > 0)
    peer.sendScores(round, rows.map(row => dot(row, weights)))
await peer.complete()
await arbiter.complete()
console.log(JSON.stringify({ weights }))
