/** Gateways for the tests of one `describe`. */
import type { ContractProvider } from './contract-provider.js'
import {
  startContractServer,
  startContractServers,
  type ContractServer,
  type EngineName,
} from './contract-server.js'

/** Starts the gateway before the tests and closes it after them. The returned function returns it. */
export function useContractServer(
  engine: EngineName = 'PostgreSQL',
  provider?: ContractProvider,
): () => ContractServer {
  const servers = useStarted(async () => [await startContractServer(engine, provider)])
  return () => servers()[0]!
}

/** The same for several providers, which share one gateway. */
export function useContractServers(
  providers: readonly ContractProvider[],
): (provider: ContractProvider) => ContractServer {
  const servers = useStarted(() => startContractServers('PostgreSQL', providers))
  return (provider) => servers()[providers.indexOf(provider)]!
}

function useStarted(start: () => Promise<ContractServer[]>): () => readonly ContractServer[] {
  let servers: readonly ContractServer[] | undefined

  beforeAll(async () => {
    servers = await start()
  })

  afterAll(() => servers?.[0]?.close())

  return () => {
    if (servers === undefined) throw new Error('the gateway is available only while tests run')
    return servers
  }
}
