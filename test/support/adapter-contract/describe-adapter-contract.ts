/** The contract: what every adapter promises, shown on the real client, a real server and both of the gateway's engines. */
import type { AdapterDriver } from './adapter-driver.js'
import { createContext, type ContractContext } from './contract-context.js'
import type { ContractProvider } from './contract-provider.js'
import { ENGINES, type EngineName } from './contract-server.js'
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
import { describeQueries } from './sections/queries.js'
import { describeCallerObjects, describeRefusals } from './sections/refusals.js'
import { describeSecrecy } from './sections/secrecy.js'
import { describeBurst, describeOneTokenPerConnection } from './sections/tokens-per-connection.js'
import { describeVerifiedTls } from './sections/verified-tls.js'
import { useContractServer } from './use-contract-server.js'

type Section = readonly [title: string, describe: (context: ContractContext) => void]

/** By the number of the promise; what has none stands first. The titles are what the table of the contract is made from. */
const SECTIONS: readonly Section[] = [
  ['sql: queries, parameters and transactions', describeQueries],
  ['promise 1: one token per physical connection', describeOneTokenPerConnection],
  ['promise 2: one credentials call for 50 connections', describeBurst],
  ['promise 3: expiry, rotation and ended sessions fail no query', describeContinuity],
  ['promise 4: a provider that fails and recovers', describeFailingProvider],
  ['promise 6: no token in logs, errors and objects', describeSecrecy],
  ['promise 10: closing releases every handle', describeClosing],
]

/** What is refused never gets as far as an engine, so these run once. */
const SECTIONS_WITHOUT_ENGINE: readonly Section[] = [
  ['promise 7: no token without verified TLS', describeVerifiedTls],
]

/** What is the same whatever the login is. */
const SECTIONS_OF_ADAPTERS: readonly Section[] = [
  ['refuse: options that contradict the login', describeRefusals],
  ['kept: the objects of the caller stay as they are', describeCallerObjects],
]

/** With Aurora DSQL `test/resilience` runs these, and at length. */
const SECTIONS_BEYOND_LOGIN: readonly Section[] = [
  ['promise 5: a backend that dies takes nothing with it', describeDyingBackends],
  [
    'promise 8: conflicts are recognised, and the outermost transaction is retried',
    describeConflicts,
  ],
  ['promise 9: connections retire at their own age', describeLifetimes],
]

/**
 * Runs the whole contract for every way in which the client can be used with us, on Aurora DSQL; for the other providers, which
 * differ in nothing that a client sees, for the first way on one engine.
 */
export function describeAdapterContract(driver: AdapterDriver): void {
  const [first] = driver.variants
  describe(`contract of ${driver.client}`, () => {
    describe.each(CONTRACT_PROVIDERS)('with $name', (provider) => {
      const isWhole = provider === auroraDsqlContract
      const variants = isWhole ? driver.variants : [first!]

      describe.each(isWhole ? ENGINES : [ENGINES[0]])('on %s', (engine) => {
        const server = useContractServer(engine, provider)

        describe.each(variants)('$name', (variant) => {
          describe.each(sectionsFor(provider, engine))('%s', (_title, describeSection) => {
            describeSection(createContext(driver.client, variant, provider, server))
          })
        })
      })
    })
  })
}

function sectionsFor(provider: ContractProvider, engine: EngineName): readonly Section[] {
  if (engine !== ENGINES[0]) return SECTIONS
  const sections = [...SECTIONS, ...SECTIONS_WITHOUT_ENGINE]
  return [
    ...sections,
    ...(provider === auroraDsqlContract ? SECTIONS_OF_ADAPTERS : SECTIONS_BEYOND_LOGIN),
  ]
}
