// The whole protocol of OpenMined PSI between a server and a client in this process, once: processor time of both, start-up and making ids excluded. One line of JSON on standard output.
// Usage: node openmined-psi.mjs FOLDER N [raw|gcs]   FOLDER holds node_modules with @openmined/psi.js; half of the N ids of each side are common.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [folder, count, structure = 'raw'] = process.argv.slice(2);
const require = createRequire(resolve(folder, 'package.json'));
const { version } = require('@openmined/psi.js/package.json');
const psi = await require('@openmined/psi.js')();
const n = Number(count), common = Math.floor(n / 2);
const mine = Array.from({ length: n }, (_, i) => `id-${String(i).padStart(10, '0')}`);
const theirs = Array.from({ length: n }, (_, i) => `id-${String(i + n - common).padStart(10, '0')}`);
const kind = structure === 'gcs' ? psi.dataStructure.GCS : psi.dataStructure.Raw;

function run(serverIds, clientIds) {
    const server = psi.server.createWithNewKey(true), client = psi.client.createWithNewKey(true);
    // Raw: whole points, no false matches. GCS: the library's default structure, at its documented rate of one in a thousand.
    const setup = server.createSetupMessage(0.001, clientIds.length, serverIds, kind).serializeBinary();
    const request = client.createRequest(clientIds).serializeBinary();
    const response = server.processRequest(psi.request.deserializeBinary(request)).serializeBinary();
    const found = client.getIntersection(psi.serverSetup.deserializeBinary(setup), psi.response.deserializeBinary(response));
    server.delete();
    client.delete();
    return { found: found.length, bytes: setup.length + request.length + response.length };
}

// A first small run compiles; it is not counted.
run(mine.slice(0, 200), mine.slice(0, 200));
const before = process.cpuUsage(), wall = process.hrtime.bigint();
const { found, bytes } = run(mine, theirs);
const { user, system } = process.cpuUsage(before);
const wallSeconds = Number(process.hrtime.bigint() - wall) / 1e9;
if (Math.abs(found - common) > 10) {
    console.error(`openmined-psi: ${found} common ids found, ${common} are there.`);
    process.exit(1);
}
console.log(JSON.stringify({ version, structure, ids: n, found, bytes, cpuSeconds: (user + system) / 1e6, wallSeconds, node: process.version }));
