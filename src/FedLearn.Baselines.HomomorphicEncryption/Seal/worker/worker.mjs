// Microsoft SEAL (CKKS, N = 8192, primes of 60, 60 and 60 bits) behind frames on standard input and output. NodeSealEngine.cs is the other side.
//
// Usage: node worker.mjs FOLDER...   the folders in which node-seal is looked for (their node_modules), after this file's own
//
// A frame is a head of 16 bytes (payload's length, request's id, code, 0; four u32, little-endian) and its payload. The first frame out has id 0 and says
// what this is. After it there is one reply a request, in their order: code 0 with the result, or else with a sentence of what went wrong. Release has no
// reply. The worker ends when standard input closes, so it does not outlive its parent. Secrets and ciphertexts never leave it but as results.
import { readSync, writeSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const OK = 0, FAILED = 1, MISSING = 2, BROKEN = 3;
const N = 8192, LONGEST = 1 << 26;

// Standard output carries frames only, and an interrupt of the terminal is the parent's to handle.
console.log = console.info = console.warn = () => {};
process.on('SIGINT', () => {});

const head = new Uint8Array(16), headView = new DataView(head.buffer);
let buffer = new Uint8Array(1 << 20);

/** Fills `target`; false where the input ends before its first byte. */
function read(target) {
  for (let done = 0; done < target.length;) {
    let count = 0;
    try {
      count = readSync(0, target, done, target.length - done);
    } catch (error) {
      if (error.code === 'EAGAIN') continue;
      if (error.code !== 'EOF') throw error;
    }
    if (count === 0) {
      if (done > 0) process.exit(1);
      return false;
    }
    done += count;
  }
  return true;
}

function writeAll(bytes) {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(1, bytes, done, bytes.length - done);
    } catch (error) {
      if (error.code !== 'EAGAIN') process.exit(0);
    }
  }
}

const replyHead = new Uint8Array(16), replyView = new DataView(replyHead.buffer);
function reply(id, code, payload) {
  replyView.setUint32(0, payload.length, true);
  replyView.setUint32(4, id, true);
  replyView.setUint32(8, code, true);
  writeAll(replyHead);
  writeAll(payload);
}

/** The first line of an error; SEAL's name limits and states, no values. */
const sentence = (text) => new TextEncoder().encode(String(text).split('\n')[0].slice(0, 200));

function end(code, text) {
  reply(0, code, sentence(text));
  process.exit(1);
}

// The build of node-seal that lets a product with a column of zeros be: such a product has no randomness of its own, but a fresh encryption of zero is
// added before anybody sees it.
async function load(folders) {
  for (const folder of folders) {
    const require = createRequire(folder);
    let file;
    try {
      file = require.resolve('node-seal/allows_wasm_node_umd.js');
    } catch {
      continue;
    }
    return [await require(file)(), JSON.parse(readFileSync(require.resolve('node-seal/package.json'))).version];
  }
  return [null, ''];
}

if (Number(process.versions.node.split('.')[0]) < 18) end(MISSING, `Node.js ${process.versions.node} is too old; 20 is tested`);
let seal, version;
try {
  [seal, version] = await load([import.meta.url, ...process.argv.slice(2).map((folder) => folder + '/package.json')]);
} catch {
  end(MISSING, 'node-seal is there but does not start');
}
if (seal === null) end(MISSING, 'node-seal is not installed');
if (!/^6\./.test(version)) end(MISSING, `node-seal ${version} is not the version that this worker is for`);

const none = seal.ComprModeType.none;
const parms = seal.EncryptionParameters(seal.SchemeType.ckks);
parms.setPolyModulusDegree(N);
parms.setCoeffModulus(seal.CoeffModulus.Create(N, Int32Array.from([60, 60, 60])));
const context = seal.Context(parms, true, seal.SecurityLevel.tc128);
const encoder = seal.CKKSEncoder(context), evaluator = seal.Evaluator(context);
const plain = seal.PlainText(), sum = seal.CipherText(), product = seal.CipherText(), zero = seal.CipherText();
let encryptor = null, decryptor = null;

// SEAL reads its own minor version only, though the layout is one throughout 4.x; NodeSealEngine's callers have checked all else.
const parent = plain.saveArray(none), minor = parent[4];
const HEADERS = { ciphertext: [0, 89], key: [0, 89, 196721] };
function adopt(bytes, headers) {
  for (const at of headers) if (at + 4 < bytes.length) bytes[at + 4] = minor;
  return bytes;
}

// Objects by handle; a freed object's place is used again.
class Handles {
  objects = [null];
  free = [];
  add(object) {
    const handle = this.free.pop() ?? this.objects.length;
    this.objects[handle] = object;
    return Uint8Array.of(handle & 255, (handle >> 8) & 255, (handle >> 16) & 255, handle >>> 24);
  }
  get(handle) {
    const object = this.objects[handle];
    if (!object) throw new Error('there is no object of this handle');
    return object;
  }
  release(handle) {
    if (!this.objects[handle]) return;
    this.objects[handle].delete();
    this.objects[handle] = null;
    this.free.push(handle);
  }
}
const ciphertexts = new Handles(), plaintexts = new Handles();

/** Keeps what `make` fills, or nothing where it fails. */
function keep(handles, object, make) {
  try {
    make(object);
  } catch (error) {
    object.delete();
    throw error;
  }
  return handles.add(object);
}

function ready(object) {
  if (object === null) throw new Error('there is no key yet');
  return object;
}

const doubles = (bytes) => new Float64Array(bytes.buffer, bytes.byteOffset + 8, (bytes.length - 8) / 8);
const u32 = (bytes) => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const scaleOf = (bytes) => new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0];
const EMPTY = new Uint8Array(0), RELEASE = 10;

const operations = {
  1: () => { // create keys -> seeded public key
    const generator = seal.KeyGenerator(context), serializable = generator.createPublicKeySerializable();
    decryptor = seal.Decryptor(context, generator.secretKey());
    const bytes = serializable.saveArray(none);
    serializable.delete();
    return bytes;
  },
  2: (bytes) => { // use public key
    const key = seal.PublicKey();
    key.loadArray(context, adopt(bytes, HEADERS.key));
    encryptor = seal.Encryptor(context, key);
    return EMPTY;
  },
  3: (bytes) => keep(ciphertexts, seal.CipherText(), (target) => { // encrypt: scale, numbers -> handle
    ready(encryptor);
    encoder.encode(doubles(bytes), scaleOf(bytes), plain);
    encryptor.encrypt(plain, target);
  }),
  4: (bytes) => keep(plaintexts, seal.PlainText(), (target) => encoder.encode(doubles(bytes), scaleOf(bytes), target)), // encode -> handle
  5: (bytes) => ciphertexts.get(u32(bytes)[0]).saveArray(none),
  6: (bytes) => keep(ciphertexts, seal.CipherText(), (target) => target.loadArray(context, adopt(bytes, HEADERS.ciphertext))),
  7: (bytes) => keep(ciphertexts, seal.CipherText(), (target) => evaluator.add(ciphertexts.get(u32(bytes)[0]), ciphertexts.get(u32(bytes)[1]), target)),
  8: (bytes) => { // inner product: ciphertexts, as many plaintexts -> ciphertext
    const handles = u32(bytes), count = handles.length / 2;
    ready(encryptor).encryptZero(zero);
    for (let k = 0; k < count; k++) {
      evaluator.multiplyPlain(ciphertexts.get(handles[k]), plaintexts.get(handles[count + k]), k === 0 ? sum : product);
      if (k > 0) evaluator.add(sum, product, sum);
    }
    zero.setScale(sum.scale);
    evaluator.add(sum, zero, sum);
    return sum.saveArray(none);
  },
  9: (bytes) => { // decrypt -> plaintext
    product.loadArray(context, adopt(bytes, HEADERS.ciphertext));
    ready(decryptor).decrypt(product, plain);
    return plain.saveArray(none);
  },
  [RELEASE]: (bytes) => { // number of ciphertexts, their handles, handles of plaintexts
    const [count, ...handles] = u32(bytes);
    handles.forEach((handle, k) => (k < count ? ciphertexts : plaintexts).release(handle));
    return EMPTY;
  },
};

reply(0, OK, sentence(`node-seal ${version} (SEAL ${parent[3]}.${minor})`));
while (read(head)) {
  const length = headView.getUint32(0, true), id = headView.getUint32(4, true), code = headView.getUint32(8, true);
  if (length > LONGEST || !Object.hasOwn(operations, code)) end(BROKEN, 'a request is none');
  if (length > buffer.length) buffer = new Uint8Array(length);
  const payload = buffer.subarray(0, length);
  if (length > 0 && !read(payload)) process.exit(1);
  let result;
  try {
    result = operations[code](payload);
  } catch (error) {
    result = null;
    if (code !== RELEASE) reply(id, FAILED, sentence(error?.message ?? 'unknown error'));
  }
  if (result !== null && code !== RELEASE) reply(id, OK, result);
}
process.exit(0);
