/** The gateways of a test file. Each engine is started once for the file, with an endpoint for each provider. */
import type { ContractProvider } from './contract-provider.js'
import {
  startContractServer,
  startContractServers,
  type ContractServer,
  type EngineName,
} from './contract-server.js'
import { auroraDsqlContract, plainDsqlContract } from './providers/aurora-dsql.js'
import { CONTRACT_PROVIDERS } from './providers/contract-providers.js'

/** A running gateway, by engine and provider. The providers of an engine share one. */
const running = new Map<EngineName | ContractProvider, Promise<readonly ContractServer[]>>()

// Jest loads this module once for each test file, outside of its `describe` blocks.
afterAll(async () => {
  for (const servers of running.values()) {
    const [server] = await servers.catch(() => [])
    await server?.close()
  }
})

/**
 * Starts the gateway before the tests, unless it is running. The returned function returns it. By default, the endpoint has the SQL of
 * PostgreSQL: tests outside of the contract show what clients do with all of it. On PGlite the contract has only Aurora DSQL:
 * each start of the others' issuers redirects the SDKs to them.
 */
export function useContractServer(
  engine: EngineName = 'PostgreSQL',
  provider: ContractProvider = plainDsqlContract,
): () => ContractServer {
  let server: ContractServer | undefined

  beforeAll(async () => {
    const isShared = CONTRACT_PROVIDERS.includes(provider) || provider === plainDsqlContract
    const key = isShared ? engine : provider
    const servers =
      running.get(key) ??
      (isShared
        ? startContractServers(
            engine,
            engine === 'PGlite'
              ? [auroraDsqlContract, plainDsqlContract]
              : [...CONTRACT_PROVIDERS, plainDsqlContract],
          )
        : startContractServer(engine, provider).then((one) => [one]))
    running.set(key, servers)
    server = (await servers).find((one) => one.provider === provider)
  })

  return () => {
    if (server === undefined) throw new Error('the gateway is available only while tests run')
    return server
  }
}
