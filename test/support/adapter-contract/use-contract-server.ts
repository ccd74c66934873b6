/** A gateway for the tests of one `describe`. */
import type { ContractProvider } from './contract-provider.js'
import { startContractServer, type ContractServer, type EngineName } from './contract-server.js'

/** Starts the gateway before the tests and closes it after them. The returned function returns it. */
export function useContractServer(
  engine: EngineName = 'PostgreSQL',
  provider?: ContractProvider,
): () => ContractServer {
  let server: ContractServer | undefined

  beforeAll(async () => {
    server = await startContractServer(engine, provider)
  })

  afterAll(() => server?.close())

  return () => {
    if (server === undefined) throw new Error('the gateway is available only while tests run')
    return server
  }
}
