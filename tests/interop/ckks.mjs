// The CKKS scheme of docs/protocol.md, "Homomorphic encryption", on node-seal, for parties in JavaScript that share no code with FedLearn.
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import path from 'node:path'

export const N = 8192, slots = N / 2, primes = [1152921504606683137n, 1152921504606748673n], modulus = primes[0] * primes[1]
const special = 1152921504606830593n, shareScale = 2 ** 74, cipherBytes = 262257, residueBytes = 8 * N

/** Blocks of 4,096 rows that a batch takes. */
export const blocks = rows => Math.ceil(rows / slots)

/** SEAL with these parameters, from the folder that holds node_modules. */
export async function load(folder) {
  const seal = await createRequire(path.join(path.resolve(folder), 'package.json'))('node-seal')()
  const parameters = seal.EncryptionParameters(seal.SchemeType.ckks)
  parameters.setPolyModulusDegree(N)
  parameters.setCoeffModulus(seal.CoeffModulus.Create(N, Int32Array.of(60, 60, 60)))
  if (parameters.coeffModulus.join() !== [...primes, special].join())
    throw new Error('SEAL picks other primes')
  const context = seal.Context(parameters, true, seal.SecurityLevel.tc128)
  if (!context.parametersSet())
    throw new Error('SEAL refuses the parameters')
  return { seal, context, none: seal.ComprModeType.none }
}

/** What a party does under the arbiter's key. */
export class PartyEngine {
  constructor({ seal, context, none }, key, columnScale) {
    const publicKey = seal.PublicKey()
    publicKey.loadArray(context, key)
    this.encryptor = seal.Encryptor(context, publicKey)
    this.encoder = seal.CKKSEncoder(context)
    this.evaluator = seal.Evaluator(context)
    Object.assign(this, { seal, context, none, columnScale, unit: shareScale * columnScale / slots })
  }

  encode(values, scale) {
    return Array.from({ length: blocks(values.length) }, (_, k) => {
      const block = new Float64Array(slots)
      block.set(values.slice(k * slots, (k + 1) * slots))
      return this.encoder.encode(block, scale)
    })
  }

  encodeColumn(values) {
    return this.encode(values, this.columnScale)
  }

  /** Ciphertexts of a share, one a block. */
  encrypt(share) {
    return this.encode(share, shareScale).map(plain => {
      const cipher = this.encryptor.encrypt(plain)
      plain.delete()
      return cipher
    })
  }

  save(cipher) {
    const bytes = Buffer.from(cipher.saveArray(this.none))
    if (bytes.length !== cipherBytes)
      throw new Error(`a ciphertext of ${bytes.length} bytes`)
    return bytes
  }

  load(bytes) {
    if (bytes.length !== cipherBytes)
      throw new Error('a ciphertext of another length')
    const cipher = this.seal.CipherText()
    cipher.loadArray(this.context, bytes)
    return cipher
  }

  /** The residual, times a column: a fresh mask, and what the arbiter is sent. */
  product(residual, column) {
    const sum = this.encryptor.encryptZero()
    sum.setScale(shareScale * this.columnScale)
    residual.forEach((cipher, k) => {
      if (column[k].isZero)
        return // SEAL refuses a product that holds nothing
      const part = this.evaluator.multiplyPlain(cipher, column[k])
      this.evaluator.add(sum, part, sum)
      part.delete()
    })
    const residues = this.save(sum).subarray(-4 * residueBytes), mask = below(modulus)
    sum.delete()
    const opened = combine(primes.map((prime, i) => mean(words(residues.subarray(i * residueBytes, (i + 1) * residueBytes)), prime)))
    return { mask, bytes: Buffer.concat([toBytes((opened + mask) % modulus), residues.subarray(2 * residueBytes)]) }
  }

  /** The sum of products that an answer holds under a mask. */
  open(answer, mask) {
    const value = (fromBytes(answer) - mask + modulus) % modulus
    return Number(value > modulus / 2n ? value - modulus : value) / this.unit
  }
}

/** What the arbiter does. */
export class ArbiterEngine {
  constructor({ seal, context, none }) {
    const generator = seal.KeyGenerator(context), secret = generator.secretKey()
    this.publicKey = Buffer.from(generator.createPublicKeySerializable().saveArray(none))
    // The key is kept transformed, for the special prime too: [prime][N], the last of its bytes.
    const residues = Buffer.from(secret.saveArray(none)).subarray(-3 * residueBytes)
    this.secret = primes.map((_, i) => words(residues.subarray(i * residueBytes, (i + 1) * residueBytes)))
  }

  /** The integer under the mask. */
  open(product) {
    const rest = product.subarray(16)
    return (fromBytes(product) + combine(primes.map((prime, i) => mean(words(rest.subarray(i * residueBytes, (i + 1) * residueBytes)).map((c, j) => c * this.secret[i][j] % prime), prime)))) % modulus
  }
}

/** Coefficient 0 of a polynomial that is kept transformed: its transform is its values at the roots of x^N + 1, over which all other powers of x sum to 0. */
function mean(values, prime) {
  return values.reduce((sum, value) => sum + value, 0n) % prime * inverse(BigInt(N), prime) % prime
}

/** The integer below the modulus with these residues. */
function combine([first, second]) {
  return first + primes[0] * ((second - first % primes[1] + primes[1]) * inverse(primes[0], primes[1]) % primes[1])
}

/** By Fermat. */
function inverse(value, prime) {
  let result = 1n
  for (let base = value % prime, power = prime - 2n; power > 0n; power >>= 1n, base = base * base % prime)
    if (power & 1n)
      result = result * base % prime
  return result
}

/** Uniform on [0, limit). */
export function below(limit) {
  for (; ;) {
    const value = fromBytes(randomBytes(16)) & ((1n << BigInt(limit.toString(2).length)) - 1n)
    if (value < limit)
      return value
  }
}

function words(bytes) {
  return Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readBigUInt64LE(8 * i))
}

export function fromBytes(bytes) {
  return bytes.readBigUInt64LE(0) + (bytes.readBigUInt64LE(8) << 64n)
}

export function toBytes(value) {
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64LE(value & 0xffffffffffffffffn)
  bytes.writeBigUInt64LE(value >> 64n, 8)
  return bytes
}
