/**
 * Runs an example: `npm run example sequelize`.
 *
 * Without environment variables it starts a gateway and runs the example against it. With PGHOST it runs against that cluster, with the
 * login that PGHOST, PGUSER, AWS_PROFILE and related variables describe. The user must be allowed to create a table.
 */
import { once } from 'node:events'
import { isPgIamError, loginFromEnv, type Login } from 'pg-iam'
import { startGateway } from 'pg-iam/gateway'
import type { ExampleServer } from './gateway/server.js'
import { print } from './print.js'

interface Example {
  main(login: Login): Promise<void>
}

/** The compiler must not look for it: its package is not installed with the others. */
const MIKRO_ORM: string = './mikro-orm.js'

const EXAMPLES: Readonly<Record<string, () => Promise<Example>>> = {
  sequelize: () => import('./sequelize.js'),
  'sequelize-7': () => import('./sequelize-7.js'),
  typeorm: () => import('./typeorm.js'),
  knex: () => import('./knex.js'),
  kysely: () => import('./kysely.js'),
  prisma: () => import('./prisma.js'),
  drizzle: () => import('./drizzle.js'),
  'drizzle-postgres-js': () => import('./drizzle-postgres-js.js'),
  pg: () => import('./pg.js'),
  'postgres-js': () => import('./postgres-js.js'),
  'mikro-orm': () => import(MIKRO_ORM) as Promise<Example>,
}

interface ServerExample {
  start(): Promise<ExampleServer>
}

/** Servers on `handleConnection`, which run until they are interrupted. */
const SERVERS: Readonly<Record<string, () => Promise<ServerExample>>> = {
  'gateway/pglite': () => import('./gateway/pglite.js'),
  'gateway/reverse-proxy': () => import('./gateway/reverse-proxy.js'),
  'gateway/memory': () => import('./gateway/memory.js'),
  'gateway/hooks': () => import('./gateway/hooks.js'),
  'gateway/pooler': () => import('./gateway/pooler.js'),
}

/** With Vite, which the others do not need. */
async function serveBrowser(): Promise<number> {
  const { start } = await import('./browser/server.js')
  const server = await start()
  print(`https://localhost:${server.port}`)
  print('The browser asks once about the certificate. Press Ctrl-C to end.')
  await once(process, 'SIGINT')
  await server.close()
  return 0
}

/** With Vite, Chart.js and oidc-provider, which the others do not need. */
async function serveDashboard(): Promise<number> {
  const { start } = await import('./redshift-dashboard/server.js')
  const dashboard = await start({ port: Number(process.env['PORT'] ?? 0) })
  print(dashboard.url)
  print('The users are alice and bob, without passwords. Press Ctrl-C to end.')
  await once(process, 'SIGINT')
  await dashboard.close()
  return 0
}

async function serve(load: () => Promise<ServerExample>): Promise<number> {
  const { start } = await load()
  const server = await start()
  print(`listening on 127.0.0.1, port ${server.port}; press Ctrl-C to end`)
  if (server.ca !== undefined) print(`clients must trust:\n${server.ca}`)
  await once(process, 'SIGINT')
  await server.close()
  return 0
}

async function run([name = '', ...rest]: readonly string[]): Promise<number> {
  const load = Object.hasOwn(EXAMPLES, name) ? EXAMPLES[name] : undefined
  const server = Object.hasOwn(SERVERS, name) ? SERVERS[name] : undefined
  if (server !== undefined && rest.length === 0) return serve(server)
  if (name === 'browser' && rest.length === 0) return serveBrowser()
  if (name === 'redshift-dashboard' && rest.length === 0) return serveDashboard()
  if (load === undefined || rest.length > 0) {
    const names = [
      ...Object.keys(EXAMPLES),
      ...Object.keys(SERVERS),
      'browser',
      'redshift-dashboard',
    ]
    process.stderr.write(`usage: npm run example ${names.join('|')}\n`)
    return 2
  }
  const example = await load()
  if (process.env['PGHOST'] !== undefined) {
    await runWith(loginFromEnv(), example)
    return 0
  }
  const gateway = await startGateway()
  print(`engine: ${gateway.engine}`)
  try {
    await runWith(gateway.login(), example)
  } finally {
    await gateway.close()
  }
  return 0
}

async function runWith(login: Login, example: Example): Promise<void> {
  const { host, port } = login.connectTo ?? login
  print(`as ${login.user} to ${login.host}, at ${host}:${port}`)
  await example.main(login)
  const { connectionsOpened, tokensMade } = login.stats()
  print(`physical connections: ${connectionsOpened}, tokens: ${tokensMade}`)
}

function report(error: unknown): number {
  const hint = isPgIamError(error) && error.hint !== undefined ? `\n${error.hint}` : ''
  process.stderr.write(`${String(error)}${hint}\n`)
  return 1
}

process.exitCode = await run(process.argv.slice(2)).catch(report)
