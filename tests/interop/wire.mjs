// The wire of docs/protocol.md for parties in JavaScript that share no code with FedLearn: gRPC over HTTP/2 and the few messages of federation.proto, on Node.js alone.
import { createHash, randomBytes } from 'node:crypto'
import http2 from 'node:http2'

export const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
export const Role = { active: 1, passive: 2, arbiter: 3 }
const AGREEMENT = 3, WAITING = 4
const bodies = { scores: 2, scalars: 4, hashed_ids: 5, row_selection: 6, completed: 7, aborted: 8, encrypted_shares: 18, masked_products: 19, masked_answers: 20, encryption_key: 21, alignment: 22 }

/** A message of protocol buffers: fields as [number, value], numbers as varints, texts and bytes with their length. */
export function encode(...fields) {
  return Buffer.concat(fields.flatMap(([number, value]) => {
    if (typeof value === 'number')
      return [varint(number * 8), varint(value)]
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    return [varint(number * 8 + 2), varint(bytes.length), bytes]
  }))
}

/** Fields by number, each a list of its values. */
export function decode(bytes) {
  const fields = []
  for (let at = 0; at < bytes.length;) {
    const read = () => {
      let value = 0n
      for (let shift = 0n; ; shift += 7n) {
        value |= BigInt(bytes[at] & 127) << shift
        if (bytes[at++] < 128)
          return Number(BigInt.asIntN(64, value))
      }
    }
    const key = read(), values = fields[key >> 3] ??= [], size = { 1: 8, 5: 4 }[key % 8]
    if (key % 8 === 0) {
      values.push(read())
    } else {
      const length = size ?? read()
      values.push(bytes.subarray(at, at += length))
    }
  }
  return { text: number => (fields[number]?.at(-1) ?? '').toString(), bytes: number => fields[number]?.at(-1) ?? Buffer.alloc(0), number: number => fields[number]?.at(-1) ?? 0, list: number => fields[number] ?? [], has: number => number in fields }
}

function varint(value) {
  const bytes = []
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 128n)
      return Buffer.from([...bytes, Number(rest)])
    bytes.push(Number(rest & 127n) | 128)
  }
}

function write(stream, message) {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  stream.write(Buffer.concat([prefix, message]))
}

async function* messages(stream) {
  let chunks = [], size = 0, due = 5
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    while (size >= due) {
      const all = Buffer.concat(chunks), end = 5 + all.readUInt32BE(1)
      chunks = [all]
      due = end
      if (size < end)
        break
      yield all.subarray(5, end)
      chunks = [all.subarray(end)]
      size -= end
      due = 5
    }
  }
}

/** A call; what comes of it are messages, then an error where its status is one. */
function call(session, method, metadata = {}) {
  const stream = session.request({ ':method': 'POST', ':path': '/fedlearn.v1.Federation/' + method, 'content-type': 'application/grpc', te: 'trailers', ...metadata })
  let status = {}
  stream.on('response', headers => status = headers).on('trailers', trailers => status = trailers)
  async function* answers() {
    yield* messages(stream)
    if (status['grpc-status'] !== '0')
      throw new Error(`${status['fedlearn-error-id'] ?? 'status ' + status['grpc-status']}: ${decodeURIComponent(status['grpc-message'] ?? '')}`)
  }
  return { stream, incoming: answers() }
}

const jobDigest = (terms, parties) => sha256(terms, ...parties.flatMap(({ name, fingerprint }) => [uint32(Buffer.byteLength(name)), name, fingerprint]))

function uint32(value) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Joins a session and opens its exchange. */
export async function join(address, job, party, terms, fingerprint) {
  const session = http2.connect(address, { maxSessionMemory: 1000, settings: { initialWindowSize: 1 << 24 } })
  const joining = call(session, 'Join')
  write(joining.stream, encode([1, 1], [2, job], [3, party], [4, Role.passive], [5, terms], [7, fingerprint]))
  joining.stream.end()
  let reply
  for await (const answer of joining.incoming)
    reply = decode(answer)
  const parties = reply.list(3).map(decode).map(entry => ({ name: entry.text(1), fingerprint: entry.bytes(2) }))
  if (!parties.find(({ name }) => name === party)?.fingerprint.equals(fingerprint) || !reply.bytes(2).equals(jobDigest(terms, parties)))
    throw new Error('the session is another job\'s')
  const { stream, incoming } = call(session, 'Exchange', { 'fedlearn-session': reply.text(1), 'fedlearn-party': encodeURIComponent(party) })
  const exchange = new Exchange(stream, incoming, parties.length)
  exchange.close = () => session.close()
  return exchange
}

/** Serves a session as its host until every party has joined. Returns the exchange with each of them, in their order. */
export function serve(host, parties, terms, listening) {
  const exchanges = parties.map(() => resolvers()), joining = new Map()
  const server = http2.createServer({ maxSessionMemory: 1000, settings: { initialWindowSize: 1 << 24 } })
  const sessions = []
  server.on('session', session => sessions.push(session))
  server.on('stream', async (stream, headers) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': headers[':path'].startsWith('/fedlearn.v1.Federation/') ? '0' : '12' }))
    const incoming = messages(stream)
    if (headers[':path'].endsWith('/Exchange')) {
      exchanges[parties.indexOf(decodeURIComponent(headers['fedlearn-party']))].resolve(new Exchange(stream, incoming, parties.length))
    } else if (headers[':path'].endsWith('/Join')) {
      let request
      for await (const message of incoming)
        request = decode(message)
      if (!request.bytes(5).equals(terms))
        throw new Error('a party has other terms')
      joining.set(request.text(3), { stream, fingerprint: request.bytes(7) })
      if (joining.size === parties.length) {
        const all = [{ name: host, fingerprint: Buffer.alloc(32) }, ...parties.map(name => ({ name, fingerprint: joining.get(name).fingerprint }))]
        const session = randomBytes(16).toString('hex')
        for (const { stream: waiting } of joining.values()) {
          write(waiting, encode([1, session], [2, jobDigest(terms, all)], ...all.map(({ name, fingerprint }) => [3, encode([1, name], [2, fingerprint])])))
          waiting.end()
        }
      }
    } else {
      stream.end()
    }
  })
  server.listen(0, '127.0.0.1', () => listening(server.address().port))
  return Promise.all(exchanges.map(({ promise }) => promise)).then(all => ({ all, close: () => { server.close(); sessions.forEach(session => session.close()) } }))
}

function resolvers() {
  const made = {}
  made.promise = new Promise(resolve => made.resolve = resolve)
  return made
}

/** The two directions of an Exchange call, one message at a time. */
class Exchange {
  /** Changes messages before they leave: given their round, body and bytes. For parties that are to send damaged ones. */
  damage = (round, body, bytes) => bytes

  constructor(stream, incoming, parties) {
    Object.assign(this, { stream, incoming, parties })
  }

  send(round, body, bytes) {
    write(this.stream, encode([1, round], [bodies[body], this.damage(round, body, bytes)]))
  }

  sendScalars(round, values) {
    this.send(round, 'scalars', encode([1, AGREEMENT], [2, doubles(values)]))
  }

  sendScores(round, values) {
    this.send(round, 'scores', encode([2, doubles(values)]))
  }

  sendSealed(round, body, parts, length) {
    this.send(round, body, encode([1, Buffer.concat(parts)], [2, length]))
  }

  /** Tells the other side that this one is still there. */
  waiting() {
    this.send(0, 'alignment', encode([1, WAITING]))
  }

  async receive(round, body) {
    for (; ;) {
      const { value, done } = await this.incoming.next()
      if (done)
        throw new Error('the other party ended the call')
      const message = decode(value)
      if (message.has(bodies.aborted))
        throw new Error(`the other party gave up with error ${decode(message.bytes(bodies.aborted)).text(1)}`)
      if (message.has(bodies.alignment))
        continue // WAITING: it computes
      if (!message.has(bodies[body]) || message.number(1) !== round)
        throw new Error(`the other party is out of step: no ${body} of round ${round}`)
      return message.bytes(bodies[body])
    }
  }

  async receiveScalars(round) {
    const scalars = decode(await this.receive(round, 'scalars')), bytes = scalars.bytes(2)
    if (scalars.number(1) !== AGREEMENT)
      throw new Error('the other party is out of step: scalars of another kind')
    return Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i))
  }

  /** Parts of one size, as many as there are to be. */
  async receiveSealed(round, body, length, parts) {
    const sealed = decode(await this.receive(round, body)), bytes = sealed.bytes(1), size = bytes.length / parts
    if (sealed.number(2) !== length || !Number.isInteger(size))
      throw new Error(`${body} of another length`)
    return Array.from({ length: parts }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
  }

  /** The end as the party that joined. */
  async complete() {
    this.send(0, 'completed', Buffer.alloc(0))
    await this.receive(0, 'completed')
    this.stream.end()
    if (!(await this.incoming.next()).done)
      throw new Error('the other party sent a message after its last one')
    this.close()
  }
}

export function doubles(values) {
  const bytes = Buffer.alloc(8 * values.length)
  values.forEach((value, i) => bytes.writeDoubleLE(value, 8 * i))
  return bytes
}
