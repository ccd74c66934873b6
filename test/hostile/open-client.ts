/** Opens a client at a misbehaving server. */
import { customLogin } from '../../core/index.js'
import type { HostileClient, OpenHostileClient } from './clients/hostile-client.js'
import { DATABASE, HOST, PASSWORD, USER } from './server.js'

/** Whether pg-iam opens the connections, or the driver alone. */
export type Opener = 'pg-iam' | 'bare'

export interface Opening {
  readonly client: HostileClient
  readonly opener: Opener
  readonly server: { readonly port: number; readonly ca: string }
}

/** @param isDirect whether to use direct TLS */
export function openClient(
  { client, opener, server: { port, ca } }: Opening,
  isDirect: boolean,
  connectTimeoutMs: number,
): OpenHostileClient {
  if (opener === 'bare') {
    const ssl = { ca, servername: HOST, rejectUnauthorized: true } as const
    const address = { host: '127.0.0.1', port, user: USER, password: PASSWORD, database: DATABASE }
    return client.openBare({ ...address, ssl, isDirect }, connectTimeoutMs)
  }
  return client.openOurs(
    customLogin({
      host: HOST,
      connectTo: { host: '127.0.0.1', port },
      user: USER,
      database: DATABASE,
      tls: { ca, negotiation: isDirect ? 'direct' : 'postgres' },
      connectTimeoutMs,
      getToken: () => PASSWORD,
    }),
  )
}
