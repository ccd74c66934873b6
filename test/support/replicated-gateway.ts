/** A gateway that emulates an Aurora cluster with a writer endpoint and two reader endpoints, for the tests of one `describe`. */
import type { Login } from '../../core/index.js'
import { startGateway, type Gateway } from '../../gateway/index.js'

const HASH = 'c1a2b3c4d5e6'
export const WRITER: string = `shop.cluster-${HASH}.eu-west-1.rds.amazonaws.com`
export const READER: string = `shop.cluster-ro-${HASH}.eu-west-1.rds.amazonaws.com`
/** In another region, like a reader of a global database. */
export const FAR_READER: string = `shop-far.cluster-ro-${HASH}.us-east-2.rds.amazonaws.com`

export interface ReplicatedGateway {
  readonly gateway: Gateway
  /** A login to one of the endpoints, which accepts no token for another one. */
  login(host: string): Login
}

/** Starts the gateway before the tests and closes it after them. The returned function returns it. */
export function useReplicatedGateway(): () => ReplicatedGateway {
  let gateway: Gateway | undefined

  beforeAll(async () => {
    gateway = await startGateway({
      sql: 'postgres',
      endpoints: [WRITER, READER, FAR_READER].map((host) => ({ provider: 'rds', hosts: [host] })),
    })
  })
  afterAll(() => gateway?.close())

  return () => {
    if (gateway === undefined) throw new Error('the gateway is available only while tests run')
    const started = gateway
    return { gateway: started, login: (host) => started.login({ host }) }
  }
}
