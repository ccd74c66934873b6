/** One PostgreSQL, and the gateway and a mere relay in front of it: ways to the same database, each over verified TLS. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { Client } from 'pg'
import { rds } from '../../core/index.js'
import type { BenchContext } from '../frame/benchmark.js'
import { CREDENTIALS } from '../frame/surroundings.js'
import { startTlsPostgres, type StaticLogin, type TlsPostgres } from '../postgres/tls-postgres.js'
import { startGatewayProcess, type GatewayProcess } from './gateway-process.js'

export interface Stage {
  readonly direct: Way
  readonly gateway: Way
  /** By a process that only passes bytes on. */
  readonly relay: Way
  /** The processor time of the gateway's process since its start, in microseconds. */
  gatewayCpu(): Promise<number>
  /** Where PostgreSQL is for those who prepare it, as libpq reads it. */
  readonly localConninfo: string
  /** What TLS the two speak, in one sentence. */
  readonly tls: string
  /** Resolves when all connections have ended at the server, too. */
  untilQuiet(): Promise<void>
  close(): Promise<void>
}

/** A way to the database. */
export interface Way {
  readonly name: string
  /** For a client of libpq, without the password. */
  readonly conninfo: string
  /** For a client of Node. */
  readonly address: Address
  /** A static one, or a new token. */
  password(): Promise<string>
}

type Address = Omit<StaticLogin, 'password' | 'ssl'> & {
  readonly ssl: StaticLogin['ssl'] & { readonly ecdhCurve: string }
}

export async function startStage(context: BenchContext): Promise<Stage> {
  const postgres = await startTlsPostgres(context, HOST)
  const role = postgres.passwordRole
  const { password, ssl, ...place } = postgres.staticLogin(role)
  const address = { ...place, ssl: { ...ssl, ecdhCurve: CURVE } }
  const { database } = address
  let gateway: GatewayProcess | undefined
  let relay: GatewayProcess | undefined
  const close = async (): Promise<void> => {
    await gateway?.close()
    await relay?.close()
    await postgres.close()
  }
  try {
    const upstream = { host: postgres.socketDirectory, port: address.port }
    const order = { host: HOST, role, database, upstream }
    gateway = await startGatewayProcess(order)
    relay = await startGatewayProcess(order, 'relay')
    const { port, ca, cpuMicroseconds } = gateway
    const identity = { user: role, database, credentials: CREDENTIALS }
    const login = rds({ host: HOST, ...identity, reuseTokenSecs: 0 })
    const direct = await wayTo(postgres, {
      name: 'PostgreSQL',
      address,
      password: async () => password,
    })
    const through = await wayTo(postgres, {
      name: 'pg-iam gateway',
      address: { ...address, port, ssl: { ...address.ssl, ca } },
      password: () => login.password(),
    })
    return {
      direct,
      gateway: through,
      relay: await wayTo(postgres, {
        name: 'a relay in Node, nothing else',
        address: { ...address, port: relay.port, ssl: { ...address.ssl, ca: relay.ca } },
        password: async () => password,
      }),
      gatewayCpu: cpuMicroseconds,
      localConninfo: `host=${upstream.host} port=${upstream.port} user=${role} dbname=${database}`,
      tls: await compareTls(direct, through),
      untilQuiet: () => postgres.untilQuiet(),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * PostgreSQL before version 18 takes this one alone where nobody says otherwise, and has clients that begin with another one, such as X25519, begin again: the
 * gateway would be better off by a round trip.
 */
const CURVE = 'prime256v1'

/** Not Aurora DSQL, whose sessions are REPEATABLE READ: PostgreSQL's own have to do the same work. */
const HOST = 'bench.abcdefghijkl.us-east-1.rds.amazonaws.com'

async function wayTo(
  { socketDirectory }: TlsPostgres,
  { name, address, password }: Omit<Way, 'conninfo'>,
): Promise<Way> {
  const { host, port, user, database, ssl } = address
  // In the folder that goes with the server, however this process ends.
  const authority = join(socketDirectory, `ca-${port}.pem`)
  await writeFile(authority, ssl.ca)
  const conninfo = Object.entries({
    host: ssl.servername,
    hostaddr: host,
    port,
    user,
    dbname: database,
    sslmode: 'verify-full',
    sslrootcert: authority,
  })
  return {
    name,
    conninfo: conninfo.map(([key, value]) => `${key}='${value}'`).join(' '),
    address,
    password,
  }
}

async function compareTls(one: Way, other: Way): Promise<string> {
  const [ofOne, ofOther] = [await tlsOf(one), await tlsOf(other)]
  return ofOne === ofOther
    ? `A client of Node speaks ${ofOne} with both.`
    : `A client of Node speaks ${ofOne} with ${one.name}, and ${ofOther} with the ${other.name}.`
}

async function tlsOf({ address, password }: Way): Promise<string> {
  const client = new Client({ ...address, password: await password() })
  try {
    await client.connect()
    // pg's types leave it out.
    const { stream } = (client as unknown as { connection: { stream: TLSSocket } }).connection
    const { name: exchange } = stream.getEphemeralKeyInfo() as { name?: string }
    return [stream.getProtocol(), stream.getCipher().name, exchange ?? 'no curve'].join(', ')
  } finally {
    await client.end()
  }
}
