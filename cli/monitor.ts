/** `--http`: the proxy's health and metrics, for probes and for Prometheus. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { CommandError } from './failure.js'
import type { Proxy, ProxyObserver } from './proxy-server.js'
import type { Target } from './target.js'

export interface Monitor {
  readonly observer: ProxyObserver
  /** Resolves with the address, as a URL. */
  listen(host: string, port: number, proxy: Proxy): Promise<string>
  close(): Promise<void>
}

export async function createMonitor(targets: readonly Target[]): Promise<Monitor> {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const labelNames = ['target'] as const
  const open = new Gauge({
    name: 'pg_iam_connections_open',
    help: 'Open connections.',
    labelNames,
    registers,
  })
  const opened = new Counter({
    name: 'pg_iam_connections_opened_total',
    help: 'Connections that were logged in.',
    labelNames,
    registers,
  })
  const refused = new Counter({
    name: 'pg_iam_connections_refused_total',
    help: 'Connections that got an error before their session, by SQLSTATE or reason.',
    labelNames: ['target', 'reason'],
    registers,
  })
  const duration = new Histogram({
    name: 'pg_iam_login_duration_seconds',
    help: 'From the accepted connection to its session.',
    labelNames,
    registers,
  })
  const dropped = new Counter({
    name: 'pg_iam_settings_dropped_total',
    help: 'Settings that were left out because Aurora DSQL does not support them.',
    labelNames,
    registers,
  })
  const tokens = new Counter({
    name: 'pg_iam_tokens_total',
    help: 'Tokens that were made.',
    labelNames,
    registers: [],
    collect() {
      this.reset()
      for (const { name, login } of targets)
        this.inc({ target: name ?? login.host }, login.stats().tokensMade)
    },
  })
  registry.registerMetric(tokens)
  let proxy: Proxy | undefined
  const answer = async (path: string, response: ServerResponse): Promise<void> => {
    const text = (status: number, body: string): void => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${body}\n`)
    }
    if (path === '/healthz') text(200, 'ok')
    else if (path === '/readyz')
      if (proxy?.isReady === true) text(200, 'ok')
      else text(503, 'not ready')
    else if (path === '/metrics') {
      const body = await registry.metrics()
      response.writeHead(200, { 'content-type': registry.contentType }).end(body)
    } else text(404, 'not found')
  }
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0]!
    if (request.method !== 'GET' && request.method !== 'HEAD')
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
    else answer(path, response).catch(() => response.destroy())
  })
  return {
    observer: {
      opened(target, seconds) {
        opened.inc({ target })
        open.inc({ target })
        duration.observe({ target }, seconds)
      },
      closed: (target) => open.dec({ target }),
      refused: (target, reason) => refused.inc({ target, reason }),
      settingDropped: (target) => dropped.inc({ target }),
    },
    listen(host, port, served) {
      proxy = served
      return new Promise((resolve, reject) => {
        server.once('error', (cause) =>
          reject(new CommandError(`could not listen on ${host}, port ${port}`, { cause })),
        )
        server.listen({ host, port }, () => {
          const { port: bound } = server.address() as AddressInfo
          resolve(`http://${host.includes(':') ? `[${host}]` : host}:${bound}`)
        })
      })
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
