/**
 * The contract: the promises of every adapter, tested with the real client and a real server.
 *
 * `npm test` tests each promise once for each client, with Aurora DSQL on PostgreSQL. What depends on the provider, but not on the client,
 * is tested with pg: tokens, credentials and their expiry. The other clients only log in to each provider. `npm run test:contract` tests all promises with every client, provider and engine.
 */
import type { Client, ClientEntry } from '../../clients/client.js'
import { createContext, type ContractContext } from './contract-context.js'
import { ENGINES, type EngineName } from './contract-server.js'
import { useContractProcess } from './contract-process.js'
import { auroraDsqlContract } from './providers/aurora-dsql.js'
import { CONTRACT_PROVIDERS } from './providers/contract-providers.js'
import {
  describeConflicts,
  describeDyingBackends,
  describeLifetimes,
} from './sections/beyond-login.js'
import { describeClosing } from './sections/closing.js'
import { describeContinuity } from './sections/continuity.js'
import { describeFailingProvider } from './sections/failing-provider.js'
import { describeLogin, describeQueries } from './sections/queries.js'
import { describeCallerObjects, describeRefusals } from './sections/refusals.js'
import { describeSecrecy } from './sections/secrecy.js'
import { describeBurst, describeOneTokenPerConnection } from './sections/tokens-per-connection.js'
import { describeVerifiedTls } from './sections/verified-tls.js'
import { useContractServer } from './use-contract-server.js'

type Section = readonly [title: string, describe: (context: ContractContext) => void]

// The table of the contract is created from the titles: promises are identified by their number.

const LOGIN: Section = ['login: as the user of the login, in its database', describeLogin]
const SQL: Section = ['sql: queries, parameters and transactions', describeQueries]
const ONE_TOKEN: Section = [
  'promise 1: one token per physical connection',
  describeOneTokenPerConnection,
]

/** For a client of which another entry, or another provider, has shown it with a thousand queries. */
const ONE_TOKEN_AGAIN: Section = [
  ONE_TOKEN[0],
  (context) => describeOneTokenPerConnection(context, 100),
]

/** Behaviour that depends on the provider. */
const OF_PROVIDER: readonly Section[] = [
  LOGIN,
  ONE_TOKEN,
  ['promise 2: one credentials call for 50 connections', describeBurst],
  ['promise 3: expiry, rotation and ended sessions fail no query', describeContinuity],
  ['promise 4: queries recover from a failing provider', describeFailingProvider],
]

const SECTIONS: readonly Section[] = [
  ...OF_PROVIDER,
  SQL,
  ['promise 6: no token in logs, errors and objects', describeSecrecy],
  ['promise 10: closing releases every handle', describeClosing],
]

/** Rejected options never reach an engine. */
const VERIFIED_TLS: Section = ['promise 7: no token without verified TLS', describeVerifiedTls]

/** Behaviour that does not depend on the provider. */
const OPTIONS: readonly Section[] = [
  ['refuse: options that conflict with the login', describeRefusals],
  ['kept: the objects of the caller are not modified', describeCallerObjects],
]

/** For Aurora DSQL, `test/resilience` tests these in more detail. */
const BEYOND_LOGIN: readonly Section[] = [
  ['promise 5: a killed backend affects nothing else', describeDyingBackends],
  [
    'promise 8: conflicts are recognized, and the outermost transaction is retried',
    describeConflicts,
  ],
  ['promise 9: connections are replaced at a random age', describeLifetimes],
]

/** How much is tested with the other providers: whether the client can log in, what depends on the provider, or everything, also on PGlite. */
type Scope = 'login' | 'provider' | 'everything'

export function describeAdapterContract(
  client: Client,
  { scope: given = 'login' }: { scope?: Scope } = {},
): void {
  const scope = process.env['PG_IAM_TIER'] === 'contract' ? 'everything' : given
  describe(`contract of ${client.name}`, () => {
    describe.each(CONTRACT_PROVIDERS)('with $name', (provider) => {
      const isMainProvider = provider === auroraDsqlContract
      describe.each(isMainProvider && scope === 'everything' ? ENGINES : ['PostgreSQL' as const])(
        'on %s',
        (engine) => {
          const isMain = isMainProvider && engine === 'PostgreSQL'
          const server = useContractServer(engine, provider)
          const entries = isMain ? client.entries : client.entries.slice(0, 1)

          describe.each(entries)('$name', (entry) => {
            const sections = isMain
              ? sectionsOfEntry(entry, entry === entries[0])
              : sectionsOfPlace(engine, scope)
            const needsProcess = sections.some(([, describeSection]) =>
              NEED_PROCESS.has(describeSection),
            )
            const contractProcess = needsProcess
              ? useContractProcess(client.name, entry.name, server)
              : noProcess
            describe.each(sections)('%s', (_title, describeSection) => {
              describeSection(createContext(client.name, entry, provider, server, contractProcess))
            })
          })
        },
      )
    })
  })
}

const NEED_PROCESS = new Set([describeFailingProvider, describeVerifiedTls, describeClosing])

function noProcess(): never {
  throw new Error('none of the sections needs a process')
}

/** A second entry that gives the same options as the first connects in the same way, but a hook does not. */
function sectionsOfEntry({ refusesAt }: ClientEntry, isFirst: boolean): readonly Section[] {
  if (isFirst) return [...SECTIONS, VERIFIED_TLS, ...OPTIONS]
  if (refusesAt === 'connection') {
    const others = SECTIONS.filter(([, section]) => section !== describeBurst)
    return [...others.map(again), VERIFIED_TLS, ...OPTIONS]
  }
  return [LOGIN, ONE_TOKEN_AGAIN, ...OPTIONS]
}

function sectionsOfPlace(engine: EngineName, scope: Scope): readonly Section[] {
  if (scope === 'everything')
    return engine === 'PGlite' ? SECTIONS : [...SECTIONS, VERIFIED_TLS, ...BEYOND_LOGIN]
  if (scope === 'login') return [LOGIN]
  // A failing provider needs a process of its own. The tests of each provider in test/core show its errors.
  return OF_PROVIDER.filter(([, section]) => !NEED_PROCESS.has(section)).map(again)
}

function again(section: Section): Section {
  return section === ONE_TOKEN ? ONE_TOKEN_AGAIN : section
}
