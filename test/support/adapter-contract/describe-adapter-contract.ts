/** The contract: what every adapter promises, shown on the real client, a real server and both of the gateway's engines. */
import type { AdapterDriver } from './adapter-driver.js'
import { createContext, type ContractContext } from './contract-context.js'
import { ENGINES } from './contract-server.js'
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
  ['kept: the objects of the caller stay as they are', describeCallerObjects],
]

/** What is refused never gets as far as an engine, so these run once. */
const SECTIONS_WITHOUT_ENGINE: readonly Section[] = [
  ['promise 7: no token without verified TLS', describeVerifiedTls],
  ['refuse: options that contradict the login', describeRefusals],
]

/** Runs the whole contract for every way in which the client can be used with us. */
export function describeAdapterContract(driver: AdapterDriver): void {
  describe(`contract of ${driver.client}`, () => {
    describe.each(ENGINES)('on %s', (engine) => {
      const server = useContractServer(engine)
      const sections = engine === ENGINES[0] ? [...SECTIONS, ...SECTIONS_WITHOUT_ENGINE] : SECTIONS

      describe.each(driver.variants)('$name', (variant) => {
        describe.each(sections)('%s', (_title, describeSection) => {
          describeSection(createContext(driver.client, variant, server))
        })
      })
    })
  })
}
