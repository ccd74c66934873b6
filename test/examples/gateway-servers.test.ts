import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Client, type ClientConfig, Pool } from 'pg'
import postgres from 'postgres'
import { QueryTypes, Sequelize } from 'sequelize'
import { rejectionOf } from '../core/support/caught.js'

interface Running {
  readonly port: number
  readonly ca: string
  /** Interrupts the program, and resolves with its exit code. */
  stop(): Promise<number | null>
}

const running: Running[] = []
afterEach(() => Promise.all(running.splice(0).map((program) => program.stop())))

/** Starts `npm run example gateway/...`, and resolves when it listens. */
async function started(name: string): Promise<Running> {
  const file = join(process.cwd(), 'build', 'examples', 'run.js')
  const child = spawn(process.execPath, [file, `gateway/${name}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let stdout = ''
  child.stdout.setEncoding('utf8')
  const hasTls = name === 'pglite' || name === 'reverse-proxy'
  while (!stdout.includes(hasTls ? '-----END' : 'Ctrl-C')) {
    const [chunk] = (await once(child.stdout, 'data')) as [string]
    stdout += chunk
  }
  const program: Running = {
    port: Number(/port (\d+)/.exec(stdout)?.[1]),
    ca: /-----BEGIN[^]*-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? '',
    async stop() {
      if (child.exitCode === null && child.kill('SIGINT')) await once(child, 'close')
      return child.exitCode
    },
  }
  running.push(program)
  return program
}

async function ask({ port }: Running, config: ClientConfig, sql: string, values?: unknown[]) {
  const client = new Client({
    ...{ host: '127.0.0.1', port, user: 'app', password: 'secret', database: 'postgres' },
    ...config,
  })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql, values)).rows as unknown[]
  } finally {
    await client.end()
  }
}

describe('npm run example', () => {
  it('gateway/pglite serves PGlite over TLS with a password, to pg, Postgres.js and Sequelize', async () => {
    const program = await started('pglite')
    const { port, ca } = program
    const ssl = { ca, servername: 'localhost' }
    const sql = 'SELECT text FROM greeting'
    const expected = [{ text: 'Hello' }]
    expect(await ask(program, { user: 'postgres', ssl }, sql)).toEqual(expected)
    const wrong = { user: 'postgres', password: 'wrong', ssl }
    expect(await rejectionOf(ask(program, wrong, sql))).toMatchObject({ code: '28P01' })
    const client = postgres({
      ...{ host: 'localhost', port, user: 'postgres', password: 'secret', database: 'postgres' },
      ssl,
    })
    expect(await client.unsafe(sql)).toEqual(expected)
    await client.end()
    const sequelize = new Sequelize('postgres', 'postgres', 'secret', {
      ...{ host: 'localhost', port, dialect: 'postgres', logging: false },
      dialectOptions: { ssl },
    })
    expect(await sequelize.query(sql, { type: QueryTypes.SELECT })).toEqual(expected)
    await sequelize.close()
    expect(await program.stop()).toBe(0)
  })

  it('gateway/reverse-proxy selects the server by the server name', async () => {
    const program = await started('reverse-proxy')
    const { ca } = program
    const sql = 'SELECT current_database() AS db'
    for (const database of ['orders', 'people']) {
      const ssl = { ca, servername: `${database}.example.com` }
      expect(await ask(program, { database, ssl }, sql)).toEqual([{ db: database }])
    }
    const ssl = { ca, servername: 'other.example.com', checkServerIdentity: () => undefined }
    expect(await rejectionOf(ask(program, { ssl }, sql))).toMatchObject({ code: '08004' })
  })

  it('gateway/memory answers SELECT from rows in memory, in both protocols', async () => {
    const program = await started('memory')
    const all = 'SELECT * FROM people'
    const ben = [{ id: 2, name: 'Ben' }]
    expect(await ask(program, {}, all)).toEqual([{ id: 1, name: 'Ada' }, ...ben])
    expect(await ask(program, {}, `${all} WHERE id = $1`, [2])).toEqual(ben)
    // By default, Postgres.js reads the array types of the catalog first.
    const client = postgres({
      ...{ host: '127.0.0.1', port: program.port, user: 'app', max: 1 },
      fetch_types: false,
    })
    expect(await client`SELECT * FROM people WHERE id = ${2}`).toEqual(ben)
    expect(await rejectionOf(client`DELETE FROM people`)).toMatchObject({ code: '0A000' })
    await client.end()
  })

  it('gateway/hooks refuses DROP, and lets all else pass', async () => {
    const program = await started('hooks')
    expect(await ask(program, {}, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    for (const values of [undefined, []])
      expect(await rejectionOf(ask(program, {}, 'DROP TABLE x', values))).toMatchObject({
        code: '42501',
        hint: 'Ask your administrator.',
      })
  })

  it('gateway/pooler serves many clients on two sessions, and keeps transactions apart', async () => {
    const { port } = await started('pooler')
    const pool = new Pool({ host: '127.0.0.1', port, user: 'app', database: 'postgres', max: 20 })
    pool.on('error', () => {})
    await pool.query('CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)')
    const pids = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const client = await pool.connect()
        await client.query('BEGIN')
        const { rows } = await client.query<{ pid: number }>(
          'UPDATE counter SET n = n + $1 RETURNING pg_backend_pid() AS pid',
          [1],
        )
        // Some clients leave in their transaction, which is rolled back.
        if (index % 4 !== 0) await client.query('COMMIT')
        client.release(index % 4 === 0)
        return rows[0]!.pid
      }),
    )
    expect(new Set(pids).size).toBeLessThanOrEqual(2)
    expect((await pool.query('SELECT n FROM counter')).rows).toEqual([{ n: 30 }])
    await pool.end()
  })
})
