/**
 * The contract of the adapters with the drivers alone, which `pg-iam/register` has hooked. It makes each login from the environment, so
 * three parts of the contract do not apply: errors of a function for credentials, options that conflict with a login, and retries.
 *
 * A part of `npm run test:contract`. `npm test` has test/register/register.test.ts.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isOccConflict } from '../../core/index.js'
import { runCommand } from '../cli/support/command.js'
import {
  atOnce,
  type ContractContext,
  createContext,
} from '../support/adapter-contract/contract-context.js'
import type { ContractProcess } from '../support/adapter-contract/contract-process.js'
import {
  type ContractServer,
  startContractServers,
} from '../support/adapter-contract/contract-server.js'
import { codesOf, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { auroraDsqlContract } from '../support/adapter-contract/providers/aurora-dsql.js'
import { rdsContract } from '../support/adapter-contract/providers/rds.js'
import { describeDyingBackends } from '../support/adapter-contract/sections/beyond-login.js'
import { describeClosing } from '../support/adapter-contract/sections/closing.js'
import {
  describeContinuity,
  describeOwnTokens,
} from '../support/adapter-contract/sections/continuity.js'
import { describeLogin, describeQueries } from '../support/adapter-contract/sections/queries.js'
import { describeCallerObjects } from '../support/adapter-contract/sections/refusals.js'
import { describeSecrecy } from '../support/adapter-contract/sections/secrecy.js'
import {
  describeBurst,
  describeOneTokenPerConnection,
} from '../support/adapter-contract/sections/tokens-per-connection.js'
import { useHookedDrivers } from './hooked-drivers.js'

const REGISTER = pathToFileURL(join(process.cwd(), 'dist/register/index.js')).href

/** They read nine rows, use a transaction, and close. */
const PROGRAM_OF_PG = `
  import { Pool } from 'pg'
  const pool = new Pool({ connectionString: process.argv[2], max: 3 })
  const results = await Promise.all(Array.from({ length: 9 }, () => pool.query('SELECT 1 AS one')))
  const client = await pool.connect()
  for (const text of ['BEGIN', 'SELECT 1', 'COMMIT']) await client.query(text)
  client.release()
  await pool.end()
  console.log(results.flatMap(({ rows }) => rows).length)`
const PROGRAM_OF_POSTGRES = `
  import postgres from 'postgres'
  const sql = postgres(process.argv[2], { max: 3 })
  const rows = await Promise.all(Array.from({ length: 9 }, () => sql\`SELECT 1 AS one\`))
  await sql.begin((transaction) => transaction\`SELECT 1\`)
  await sql.end()
  console.log(rows.flat().length)`

const drivers = useHookedDrivers()
const PROVIDERS = [drivers.provider(auroraDsqlContract), drivers.provider(rdsContract)]
let servers: readonly ContractServer[] = []

beforeAll(async () => {
  servers = await startContractServers('PostgreSQL', PROVIDERS)
})
afterAll(() => servers[0]?.close())

type Section = readonly [title: string, describe: (context: ContractContext) => void]

/** The titles are those of `describeAdapterContract`: its table counts both. */
const SECTIONS: readonly Section[] = [
  ['login: as the user of the login, in its database', describeLogin],
  ['promise 1: one token per physical connection', describeOneTokenPerConnection],
  ['promise 2: one credentials call for 50 connections', describeBurst],
  ['promise 3: expiry, rotation and ended sessions fail no query', describeExpiry],
  ['promise 4: queries recover from a failing provider', describeFailingCredentials],
  ['sql: queries, parameters and transactions', describeQueries],
  ['promise 5: a killed backend affects nothing else', describeDyingBackends],
  ['promise 6: no token in logs, errors and objects', describeSecrecy],
  ['promise 8: conflicts are recognized, and passed on', describeConflicts],
  ['promise 9: connections are replaced at a random age', describeLifetimes],
  ['promise 10: closing releases every handle', describeClosing],
  ['kept: the objects of the caller are not modified', describeCallerObjects],
]

describe.each([
  ['pg with pg-iam/register', drivers.pg, PROGRAM_OF_PG],
  ['Postgres.js with pg-iam/register', drivers.postgres, PROGRAM_OF_POSTGRES],
])('contract of %s', (client, entry, program) => {
  describe.each(PROVIDERS)('with $name', (provider) => {
    const server = (): ContractServer => servers.find((one) => one.provider === provider)!

    describe('on PostgreSQL', () => {
      describe(entry.name, () => {
        const ownProcess = useProcess(server, program)
        describe.each(SECTIONS)('%s', (_title, describeSection) => {
          describeSection(createContext(client, entry, provider, server, ownProcess))
        })
      })
    })
  })
})

/** No variable makes connections share a token of Aurora DSQL. */
function describeExpiry(context: ContractContext): void {
  const describeTokens = context.provider.sharesTokens ? describeContinuity : describeOwnTokens
  describeTokens(context)
}

/** The error is that of the AWS SDK. */
function describeFailingCredentials(context: ContractContext): void {
  it('rejects every query while there are no credentials, leaves no connection open, and then recovers', async () => {
    const { gateway, providerLogin, relay, stand } = context.server()
    let isFailing = true
    const login = providerLogin({}, async () => {
      if (isFailing) throw new Error('no credentials today')
      return (await stand.issue(gateway, { durationSecs: 3_600 })).given
    })
    // All at once: the SDK asks a failing endpoint for three seconds.
    const db = context.open(login, { poolSize: 10 })
    const errors = await atOnce(10, () => rejectionOf(db.run('SELECT 1')))
    for (const error of errors) expect(codesOf(error)).toContain('ERR_CREDENTIALS_UNAVAILABLE')
    expect([relay.open(), login.stats().connectionsOpen]).toEqual([0, 0])
    isFailing = false
    const rows = await atOnce(10, () => db.run('SELECT 1 AS one'))
    expect(rows.flat()).toHaveLength(10)
  })

  it("passes the server's refusal on unchanged", async () => {
    const { gateway, provider, providerLogin, stand } = context.server()
    const issued = await stand.issue(gateway, { durationSecs: 3_600 })
    issued.revoke()
    const db = context.open(providerLogin({}, () => issued.given))
    expect(codesOf(await rejectionOf(db.run('SELECT 1')))).toContain(provider.refusedWith)
  })
}

function describeConflicts(context: ContractContext): void {
  it('runs a transaction that conflicts once, and rejects with the conflict', async () => {
    const { gateway, providerLogin } = context.server()
    const db = context.open(providerLogin())
    const id = context.nextId()
    let runs = 0
    gateway.faults.raiseConflicts()
    const error = await rejectionOf(
      db.ownTransaction(async (transaction) => {
        runs++
        await transaction.addNote(id, 'once')
      }),
    )
    expect([isOccConflict(error), runs, await db.findNote(id)]).toEqual([true, 1, undefined])
  })
}

function describeLifetimes(context: ContractContext): void {
  it('gives each connection an age below that of the login, or none if the login has no limit', () => {
    const login = context.server().providerLogin()
    const [, options] = context.open(login).objects as [
      unknown,
      { maxLifetimeSeconds?: unknown; max_lifetime?: (() => number) | null },
    ]
    const { maxLifetimeSeconds, max_lifetime } = options
    const age = (): number =>
      typeof max_lifetime === 'function' ? max_lifetime() : Number(maxLifetimeSeconds ?? 0)
    const ages = Array.from({ length: 50 }, age)
    const limit = login.maxLifetimeSecs ?? 0
    expect(Math.max(...ages)).toBeLessThanOrEqual(limit)
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(limit * 0.75)
    expect(new Set(ages).size > 1).toBe(limit > 0)
  })
}

/** An application in a process of its own, for what concerns a whole process. */
function useProcess(server: () => ContractServer, program: string): () => ContractProcess {
  let folder: string
  let result: ContractProcess['result'] | undefined

  beforeAll(async () => {
    const login = server().providerLogin()
    // Within the package, so that it finds the drivers.
    mkdirSync('build', { recursive: true })
    folder = mkdtempSync(join(process.cwd(), 'build', 'register-contract-'))
    const main = join(folder, 'app.mjs')
    writeFileSync(main, program)
    const { host, user, port, database } = login
    const { code, stdout, stderr } = await runCommand(
      [`postgres://${user}@${host}:${port}/${database}`],
      {
        main,
        env: {
          ...drivers.environmentOf(login),
          NODE_OPTIONS: `--import ${REGISTER}`,
        },
      },
    )
    result = {
      end: code,
      report: { failures: {}, rows: Number(stdout), attempts: [] },
      output: stderr,
    }
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  return () => ({ result: result!, hostileServers: new Map() })
}
