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

/** By the number of the promise; what has none stands first. The titles are what the table of the contract is made from. */
const SECTIONS: readonly (readonly [
  title: string,
  describe: (context: ContractContext) => void,
])[] = [
  ['sql: queries, parameters and transactions', describeQueries],
  ['promise 1: one token per physical connection', describeOneTokenPerConnection],
  ['promise 2: one credentials call for 50 connections', describeBurst],
  ['promise 3: expiry, rotation and ended sessions fail no query', describeContinuity],
  ['promise 4: a provider that fails and recovers', describeFailingProvider],
  ['promise 6: no token in logs, errors and objects', describeSecrecy],
  ['promise 7: no token without verified TLS', describeVerifiedTls],
  ['promise 10: closing releases every handle', describeClosing],
  ['refuse: options that contradict the login', describeRefusals],
  ['kept: the objects of the caller stay as they are', describeCallerObjects],
]

/** Runs the whole contract for every way in which the client can be used with us. */
export function describeAdapterContract(driver: AdapterDriver): void {
  describe(`contract of ${driver.client}`, () => {
    describe.each(ENGINES)('on %s', (engine) => {
      const server = useContractServer(engine)

      describe.each(driver.variants)('$name', (variant) => {
        describe.each(SECTIONS)('%s', (_title, describeSection) => {
          describeSection(createContext(driver.client, variant, server))
        })
      })
    })
  })
}
