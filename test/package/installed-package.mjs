/** Packs the package and installs it in an empty folder, as somebody does who has none of its optional peers. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export async function checkInstalledPackage() {
  const folder = await mkdtemp(join(tmpdir(), 'pg-iam-package-'))
  try {
    const tarball = await pack(folder)
    await writeFile(join(folder, 'package.json'), '{ "private": true }')
    // Nothing that it needs is on the network: it has no dependencies, and its peers are optional.
    await npm(folder, 'install', '--offline', '--no-audit', '--no-fund', '--no-save', tarball)
    await runIn(folder, 'module', `const load = (name) => import(name); ${PROGRAM}`)
    await runIn(folder, 'commonjs', `const load = async (name) => require(name); ${PROGRAM}`)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** @param {string} folder */
async function pack(folder) {
  const { stdout } = await npm(ROOT, 'pack', '--json', '--pack-destination', folder)
  const [{ filename, files }] = JSON.parse(stdout)
  const paths = files.map(({ path }) => path)
  const strange = paths.filter((path) => !PACKED.test(path))
  assert.deepEqual(strange, [], 'files that do not belong into the package')
  for (const path of ['LICENSE', 'README.md', 'dist/esm/core/index.js', 'dist/cjs/core/index.js'])
    assert.ok(paths.includes(path), `${path} is in the package`)
  return join(folder, filename)
}

const PACKED =
  /^(package\.json|LICENSE|README\.md|CHANGELOG\.md|SECURITY\.md|dist\/(cjs\/package\.json|(cjs|esm)\/(core|adapters|gateway|cli|shared)\/.+(\.d\.[cm]?ts|\.[cm]?js)))$/

/** What it does is the same in both formats: everything of our own works, and what is missing is named. */
const PROGRAM = `
  async function main() {
    const { auroraDsql, cloudSql, entra, isPgIamError, redshift } = await load('pg-iam')
    const options = { host: 'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws', user: 'app' }
    const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'secret' }
    await auroraDsql({ ...options, credentials }).token()
    await expectMissing(auroraDsql(options).token(), '@aws-sdk/credential-providers')
    for (const service of ['redshift', 'redshift-serverless']) {
      const host = 'shop.c0ffee.us-east-1.' + service + '.amazonaws.com'
      await expectMissing(redshift({ host, credentials }).token(), '@aws-sdk/client-' + service)
    }
    await expectMissing(entra({ host: 'shop.example.com' }).token(), '@azure/identity')
    await expectMissing(cloudSql({ host: 'shop.example.com' }).token(), 'google-auth-library')
    const { startGateway } = await load('pg-iam/gateway')
    await expectMissing(startGateway(), 'reflect-metadata', '@peculiar/x509', '@electric-sql/pglite')
    for (const adapter of ['sequelize', 'knex']) await load('pg-iam/' + adapter)
    for (const [adapter, client] of ADAPTERS) await expectNotFound(load('pg-iam/' + adapter), client)

    async function expectMissing(promise, ...names) {
      const error = await promise.then(() => new Error('nothing was missing'), (error) => error)
      const lines = names.map((name) => 'Run: npm install ' + name)
      if (!isPgIamError(error, 'ERR_PEER_MISSING') || !lines.includes(error.hint)) throw error
    }
  }

  const ADAPTERS = [
    ['pg', 'pg'],
    ['typeorm', 'pg'],
    ['postgres-js', 'postgres'],
    ['drizzle', 'drizzle-orm'],
    ['drizzle-postgres-js', 'drizzle-orm'],
  ]

  /** These make something of their client's. Who has no such client is told so by the module system. */
  async function expectNotFound(promise, client) {
    const error = await promise.then(() => new Error(client + ' was found'), (error) => error)
    if (!/MODULE_NOT_FOUND$/.test(error.code) || !error.message.includes(client)) throw error
  }

  main().then(() => process.stdout.write('done'))
`

/** @param {string} folder @param {'module' | 'commonjs'} type @param {string} program */
async function runIn(folder, type, program) {
  const { stdout } = await run(process.execPath, [`--input-type=${type}`, '--eval', program], {
    cwd: folder,
    env: withoutLoaders(),
  })
  assert.equal(stdout, 'done')
}

/** @param {string} cwd @param {string[]} parameters */
function npm(cwd, ...parameters) {
  return run('npm', ['--loglevel=error', ...parameters], { cwd, env: withoutLoaders() })
}

/** npm's own variables would have it work on this package, and NODE_PATH would find what is not installed. */
function withoutLoaders() {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_cache)|NODE_(PATH|OPTIONS)$|AWS_)/i.test(name),
  )
  return Object.fromEntries(kept)
}
