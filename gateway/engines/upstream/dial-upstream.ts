/** Opens connections to the PostgreSQL behind the gateway. */
import { connect, type Socket } from 'node:net'
import type { UpstreamOptions } from './upstream-address.js'

/** Resolves with a connected socket, or rejects with the network's error and leaves none. */
export function dialUpstream(
  { host, port = 5432 }: UpstreamOptions,
  timeoutMs: number,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = host.startsWith('/')
      ? connect({ path: `${host}/.s.PGSQL.${port}` })
      : connect({ host, port, noDelay: true })
    const settle = (): void => {
      clearTimeout(timer)
      socket.off('connect', succeed).off('error', fail)
    }
    const succeed = (): void => {
      settle()
      resolve(socket)
    }
    const fail = (error: Error): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => {
      fail(Object.assign(new Error('the connection took too long'), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    socket.once('connect', succeed).once('error', fail)
  })
}

/** Whether what is sent stays on this machine. */
export function isOnThisMachine({ host }: UpstreamOptions): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}
