// Messages of encrypted jobs that are not what docs/protocol.md says, by name: what the other side has to refuse.
import { doubles, decode, encode } from './wire.mjs'
import { N, load, modulus, primes, toBytes } from './ckks.mjs'

// Where SEAL keeps what in a ciphertext of two polynomials with two primes; residues are its last bytes.
const compression = 5, parameters = 16, transformed = 48, polynomials = 49, degree = 57, primeCount = 65, scale = 73, correction = 81, arrayLength = 105, cipherResidues = 113, polynomial = 16 * N

const sealed = (data, length = same => same) => bytes => {
  const message = decode(bytes)
  return encode([1, data(Buffer.from(message.bytes(1)))], [2, length(message.number(2))])
}
const at = (offset, bytes) => data => {
  Buffer.from(bytes).copy(data, offset < 0 ? data.length + offset : offset)
  return data
}
const double = value => doubles([value])
const word = value => toBytes(value).subarray(0, 8)
const zeros = (from, length) => data => data.fill(0, from, from + length)
const longer = data => Buffer.concat([data, Buffer.alloc(1)])
const shorter = data => data.subarray(0, -1)
const scalars = alter => bytes => {
  const message = decode(bytes), data = message.bytes(2)
  return encode([1, message.number(1)], [2, doubles(alter(Array.from({ length: data.length / 8 }, (_, i) => data.readDoubleLE(8 * i))))])
}
const set = (place, value) => scalars(values => values.with(place, value))

const found = {
  // A share, to the active party.
  'share shorter': ['encrypted_shares', sealed(shorter)],
  'share longer': ['encrypted_shares', sealed(longer)],
  'share empty': ['encrypted_shares', sealed(() => Buffer.alloc(0))],
  'share twice': ['encrypted_shares', sealed(data => Buffer.concat([data, data]))],
  'share of more rows': ['encrypted_shares', sealed(data => data, length => length + 1)],
  'share of no rows': ['encrypted_shares', sealed(data => data, () => 0)],
  'share of most rows': ['encrypted_shares', sealed(data => data, () => 2 ** 32 - 1)],
  'share of another format': ['encrypted_shares', sealed(at(0, [0]))],
  'share of SEAL 5': ['encrypted_shares', sealed(at(3, [5]))],
  'share called compressed': ['encrypted_shares', sealed(at(compression, [2]))],
  'share of another size in its header': ['encrypted_shares', sealed(at(8, [0]))],
  'share of other parameters': ['encrypted_shares', sealed(at(parameters, [0, 0]))],
  'share not transformed': ['encrypted_shares', sealed(at(transformed, [0]))],
  'share transformed twice': ['encrypted_shares', sealed(at(transformed, [2]))],
  'share of three polynomials': ['encrypted_shares', sealed(at(polynomials, [3]))],
  'share of 2^56 polynomials': ['encrypted_shares', sealed(at(polynomials + 7, [1]))],
  'share of another degree': ['encrypted_shares', sealed(at(degree, word(4096n)))],
  'share of three primes': ['encrypted_shares', sealed(at(primeCount, [3]))],
  'share of another scale': ['encrypted_shares', sealed(at(scale, double(2 ** 73)))],
  'share of a scale that is no number': ['encrypted_shares', sealed(at(scale, double(NaN)))],
  'share of another correction': ['encrypted_shares', sealed(at(correction, double(2)))],
  'share of another array': ['encrypted_shares', sealed(at(arrayLength, [1]))],
  'share of another array header': ['encrypted_shares', sealed(at(89, [1]))],
  'share with a residue at its prime': ['encrypted_shares', sealed(at(cipherResidues, word(primes[0])))],
  'share with a last residue at its prime': ['encrypted_shares', sealed(at(-8, word(primes[1])))],
  'share with a residue of ones': ['encrypted_shares', sealed(at(cipherResidues + polynomial, word(2n ** 64n - 1n)))],
  'share with a first polynomial of zeros': ['encrypted_shares', sealed(zeros(cipherResidues, polynomial))],
  'share with a second polynomial of zeros': ['encrypted_shares', sealed(zeros(cipherResidues + polynomial, polynomial))],
  'share of zeros': ['encrypted_shares', sealed(zeros(0, 262257))],
  // Products, to the arbiter.
  'products shorter': ['masked_products', sealed(shorter)],
  'products longer': ['masked_products', sealed(longer)],
  'products empty': ['masked_products', sealed(() => Buffer.alloc(0))],
  'products without one': ['masked_products', sealed(data => data.subarray(0, 16 + polynomial - data.length || undefined), length => length - 1)],
  'products with one more': ['masked_products', sealed(data => Buffer.concat([data, data.subarray(0, 16 + polynomial)]), length => length + 1)],
  'products of more columns': ['masked_products', sealed(data => data, length => length + 1)],
  'products with a coefficient at M': ['masked_products', sealed(at(0, toBytes(modulus)))],
  'products with a coefficient of ones': ['masked_products', sealed(data => data.fill(255, 0, 16))],
  'products with a residue at its prime': ['masked_products', sealed(at(16, word(primes[0])))],
  'products with a last residue at its prime': ['masked_products', sealed(at(-8, word(primes[1])))],
  'products with a polynomial of zeros': ['masked_products', sealed(zeros(16, polynomial))],
  // Sizes, to the arbiter.
  'sizes of other rows': ['scalars', set(0, 10)],
  'sizes of no rows': ['scalars', set(0, 0)],
  'sizes of rows that are no number': ['scalars', set(0, NaN)],
  'sizes of half a row': ['scalars', set(0, 10.5)],
  'sizes of 2^60 rows': ['scalars', set(0, 2 ** 60)],
  'sizes of other batches': ['scalars', set(1, 4)],
  'sizes of no batches': ['scalars', set(1, 0)],
  'sizes of no columns': ['scalars', set(2, 0)],
  'sizes of -1 columns': ['scalars', set(2, -1)],
  'sizes of 2^40 columns': ['scalars', set(2, 2 ** 40)],
  'sizes of a bound below 0': ['scalars', set(3, -1)],
  'sizes of an infinite bound': ['scalars', set(3, Infinity)],
  'sizes of m = 21': ['scalars', set(4, 21)],
  'sizes of m = -1': ['scalars', set(4, -1)],
  'sizes of m = 1.5': ['scalars', set(4, 1.5)],
  'sizes of m that is no number': ['scalars', set(4, NaN)],
  'sizes without one': ['scalars', scalars(values => values.slice(1))],
  'sizes with one more': ['scalars', scalars(values => [...values, 0])],
  'sizes of another kind': ['scalars', bytes => encode([1, 0], [2, decode(bytes).bytes(2)])],
  // The key, from the arbiter.
  'key shorter': ['encryption_key', shorter],
  'key longer': ['encryption_key', longer],
  'key empty': ['encryption_key', () => Buffer.alloc(0)],
  'key of other parameters': ['encryption_key', at(32, [0, 0])],
  'key with a residue of ones': ['encryption_key', data => at(data.length >> 1, word(2n ** 64n - 1n))(data)],
  'key of zeros': ['encryption_key', data => Buffer.alloc(data.length)],
  'key with a header of zeros': ['encryption_key', zeros(0, 16)],
  'key with residues of zeros': ['encryption_key', zeros(200, 196500)],
  // Answers, from the arbiter.
  'answers shorter': ['masked_answers', sealed(shorter)],
  'answers longer': ['masked_answers', sealed(longer)],
  'answers empty': ['masked_answers', sealed(() => Buffer.alloc(0))],
  'answers without one': ['masked_answers', sealed(data => data.subarray(16), length => length - 1)],
  'answers of more columns': ['masked_answers', sealed(data => data, length => length + 1)],
  'answers with one at M': ['masked_answers', sealed(at(0, toBytes(modulus)))],
  'answers with one of ones': ['masked_answers', sealed(data => data.fill(255, 0, 16))],
  // Sizes, from the arbiter.
  'totals of no columns': ['scalars', set(0, 0)],
  'totals of fewer columns than its own': ['scalars', set(0, 1)],
  'totals of columns that are no number': ['scalars', set(0, NaN)],
  'totals of 2^40 columns': ['scalars', set(0, 2 ** 40)],
  'totals of a bound below 0': ['scalars', set(1, -1)],
  'totals of a bound that is no number': ['scalars', set(1, NaN)],
  'totals of m = 21': ['scalars', set(2, 21)],
  'totals of m = -1': ['scalars', set(2, -1)],
  'totals of m that is no number': ['scalars', set(2, NaN)],
  'totals without one': ['scalars', scalars(values => values.slice(1))],
  'totals with one more': ['scalars', scalars(values => [...values, 0])],
}

/** What a party does to its messages: given round, body and bytes, what it sends in their place. */
export async function damages(name, folder) {
  if (name === null)
    return (_, sent, bytes) => bytes
  const [body, alter] = found[name] ?? await made(name, folder)
  return (_, sent, bytes) => sent === body ? alter(bytes) : bytes
}

/** Messages that SEAL itself makes, and that are not due. */
async function made(name, folder) {
  const { seal, context, none } = await load(folder), generator = seal.KeyGenerator(context), encryptor = seal.Encryptor(context, generator.createPublicKey(), generator.secretKey())
  const plain = seal.CKKSEncoder(context).encode(new Float64Array(N / 2).fill(1), 2 ** 74)
  const shares = {
    'share under another key': () => encryptor.encrypt(plain).saveArray(none),
    'share with a seed': () => encryptor.encryptSymmetricSerializable(plain).saveArray(none),
    'share compressed': () => encryptor.encrypt(plain).saveArray(seal.ComprModeType.zstd),
  }
  if (name in shares)
    return ['encrypted_shares', sealed(() => Buffer.from(shares[name]()))]
  if (name === 'key with both polynomials')
    return ['encryption_key', () => Buffer.from(generator.createPublicKey().saveArray(none))]
  throw new Error(`no damage is called "${name}"`)
}
