/** The clients of Debian's packages through `pg-iam exec` and `pg-iam proxy`, on a gateway as Aurora DSQL, RDS and Azure. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Ended, type Running, runCommand, startCommand } from '../cli/support/command.js'
import {
  AWS_ENDPOINTS,
  type CommandDatabases,
  DSQL_URL,
  ENTRA_URL,
  entraEndpoint,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { TENANT } from '../support/issuers/entra-claims.js'
import { type EntraIssuer, startEntraIssuer } from '../support/issuers/entra-issuer.js'
import { type ManagedIdentity, startManagedIdentity } from '../support/issuers/managed-identity.js'
import { requirePrograms, usePostgresOfPgDump } from './programs.js'

const run = promisify(execFile)

const CLIENT_ID = '6c2f0f63-5d0b-4f5e-9a39-33f6f4cbb0aa'
const SECRET = 'CANARY-secret'

/** Where Java's program is compiled to, once for all tests. */
const CLASSES = mkdtempSync(join(tmpdir(), 'pg-iam-java-'))

let databases: CommandDatabases
let issuer: EntraIssuer
let identity: ManagedIdentity
/** The environment of a machine that has AWS's access keys, and a managed identity of Azure. */
let env: Readonly<Record<string, string>>

beforeAll(async () => {
  requirePrograms(
    '/usr/bin/psql',
    '/usr/bin/pg_dump',
    '/usr/bin/pg_restore',
    '/usr/bin/pgbench',
    '/usr/bin/pgcli',
    '/usr/bin/javac',
    '/usr/share/java/postgresql.jar',
    '/usr/lib/python3/dist-packages/psycopg',
    '/usr/lib/python3/dist-packages/psycopg2',
    '/usr/lib/python3/dist-packages/asyncpg',
  )
  usePostgresOfPgDump()
  await run('/usr/bin/javac', ['-d', CLASSES, join(__dirname, 'clients/JdbcPlain.java')])
  issuer = await startEntraIssuer()
  issuer.addApplication({ clientId: CLIENT_ID, secret: SECRET, federatedToken: 'of the workload' })
  identity = await startManagedIdentity(issuer, () => ({}))
  databases = await startDatabases({ endpoints: [...AWS_ENDPOINTS, entraEndpoint(issuer)] })
  env = {
    ...databases.env,
    ...identity.env,
    AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
    // For files that programs keep in the home directory.
    HOME: databases.folder,
    XDG_CONFIG_HOME: databases.folder,
  }
})
afterAll(async () => {
  await databases?.close()
  await Promise.all([identity?.close(), issuer?.close()])
  rmSync(CLASSES, { recursive: true })
})

type Words = readonly string[]

const exec = (url: string, words: Words): Promise<Ended> =>
  runCommand(['exec', url, '--', ...words], { env })
const psql = (url: string, ...statements: string[]): Promise<Ended> =>
  exec(url, psqlWords(statements))
const psqlWords = (statements: Words): string[] => [
  ...['/usr/bin/psql', '-X', '-At'],
  ...statements.flatMap((statement) => ['-c', statement]),
]

/** The drivers, as programs that connect by libpq's variables and print what they read. On Aurora DSQL, JDBC's setting is left out. */
const driversOn = (provider: string): [name: string, words: Words, printed: string][] => [
  [
    'the JDBC driver',
    [
      // Optimizing a program that runs for a second takes longer.
      ...['/usr/bin/java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'],
      ...['-cp', `/usr/share/java/postgresql.jar:${CLASSES}`, 'JdbcPlain'],
    ],
    `440\n${provider === 'Aurora DSQL' ? '0' : '5s'}\n`,
  ],
  [
    'psycopg2',
    python(`
import psycopg2
cursor = psycopg2.connect("").cursor()
cursor.execute("SELECT current_user, %s", (3,))
print(cursor.fetchone())`),
    "('app', 3)\n",
  ],
  [
    'psycopg',
    python(`
import psycopg
with psycopg.connect("") as connection:
    # After five executions the driver uses a named statement.
    print(sum(connection.execute("SELECT %s::int", (n,)).fetchone()[0] for n in range(8)))
    with connection.cursor().copy("COPY (SELECT 'a', 'b') TO STDOUT") as copy:
        print(list(copy.rows()))`),
    "28\n[('a', 'b')]\n",
  ],
  [
    'asyncpg',
    python(`
import asyncio, asyncpg
async def main():
    connection = await asyncpg.connect(server_settings={"statement_timeout": "5000"})
    print(await connection.fetchval("SELECT $1::int + 1", 41))
    await connection.close()
asyncio.run(main())`),
    '42\n',
  ],
]

function python(program: string): string[] {
  return ['/usr/bin/python3', '-c', program]
}

const PROVIDERS = [
  ['Aurora DSQL', DSQL_URL],
  ['RDS', RDS_URL],
  ['Azure', ENTRA_URL],
] as const
const POSTGRES = PROVIDERS.filter(([name]) => name !== 'Aurora DSQL')

const tableOf = (name: string): string => `t_${name.replaceAll(/\W/g, '').toLowerCase()}`

describe.each(PROVIDERS)('through exec, on %s', (name, url) => {
  it('psql copies, describes, and runs several statements', async () => {
    const table = tableOf(name)
    const { code, stdout, stderr } = await psql(
      url,
      `CREATE TABLE ${table} (id int, name text)`,
      String.raw`\copy ${table} FROM PROGRAM 'printf "1\tAda\n2\tBen\n"'`,
      `SELECT count(*) FROM ${table}; SELECT 7`,
      String.raw`\d ${table}`,
      String.raw`\copy (SELECT name FROM ${table} ORDER BY 1) TO STDOUT`,
    )
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('2\n7\n')
    expect(stdout).toContain('name|text')
    expect(stdout).toContain('Ada\nBen\n')
  })

  it('psql watches until Ctrl-C', async () => {
    const running = startPsql(url, "SELECT 'tick' \\watch 0.05\n")
    await running.printed(/(?:tick\s+){3}/)
    running.child.kill('SIGINT')
    // It is 3 if a statement ran at that moment.
    expect([0, 3]).toContain((await running.ended).code)
  })

  it('psql ends its statement on Ctrl-C', async () => {
    const running = startPsql(url, 'SELECT pg_sleep(600)')
    await eventually('the statement to run', async () => {
      const sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
      return (await psql(url, sql)).stdout.trim() !== '0'
    })
    running.child.kill('SIGINT')
    expect((await running.ended).stderr).toContain('canceling statement due to user request')
  })

  it.each(driversOn(name))('%s reads libpq’s variables', async (_driver, words, printed) => {
    const { code, stdout } = await exec(url, words)
    expect([code, stdout]).toEqual([0, printed])
  })

  it('pgcli answers in a terminal', async () => {
    const terminal = ['script', '-qec', '/usr/bin/pgcli --no-password --less-chatty', '/dev/null']
    const running = startCommand(['exec', url, '--', ...terminal], {
      env: { ...env, TERM: 'xterm', PAGER: 'cat' },
    })
    // What is typed before the prompt is there is dropped, when the program changes the mode of the terminal.
    await running.printed(/postgres>/)
    for (const [typed, shown] of [
      ["SELECT 40 + 2 AS answer, 'ready'::text AS state;", /42.*ready[^;]*SELECT 1.*postgres>/s],
      [String.raw`\dn`, /public[^;]*SELECT \d.*postgres>/s],
    ] as const) {
      running.child.stdin.write(`${typed}\n`)
      await running.printed(shown)
    }
    running.child.stdin.end('\\q\n')
    expect((await running.ended).code).toBe(0)
  })
})

/** Runs a script of psql, which ends as soon as its input does. */
function startPsql(url: string, script: string): Running {
  const running = startCommand(['exec', url, '--', '/usr/bin/psql', '-X', '-At'], { env })
  running.child.stdin.end(script)
  return running
}

describe('through the proxy', () => {
  const PASSWORD = 'of the proxy'
  let proxy: Running
  beforeAll(async () => {
    const file = join(databases.folder, 'password.txt')
    writeFileSync(file, PASSWORD, { mode: 0o600 })
    const flags = ['--port', '0', '--password-file', file]
    const targets = PROVIDERS.map(([name, url]) => `${tableOf(name)}=${url}`)
    proxy = startCommand(['proxy', ...flags, ...targets], { env })
  })
  afterAll(() => proxy?.stop())

  describe.each(PROVIDERS)('on %s', (name) => {
    const program = async (words: Words): Promise<Ended> => {
      const address = new RegExp(String.raw`^${tableOf(name)}: \S+:(\d+)/postgres`, 'm')
      const [, port = ''] = await proxy.printed(address)
      return runProgram(words, {
        PGHOST: '127.0.0.1',
        PGPORT: port,
        PGUSER: 'app',
        PGPASSWORD: PASSWORD,
        PGDATABASE: 'postgres',
        PGSSLMODE: 'disable',
      })
    }

    it('psql copies in and out', async () => {
      const words = psqlWords([
        `CREATE TABLE p_${tableOf(name)} (id int)`,
        `\\copy p_${tableOf(name)} FROM PROGRAM 'seq 1 400'`,
        `SELECT sum(id), current_user FROM p_${tableOf(name)}`,
      ])
      const { code, stdout } = await program(words)
      expect([code, stdout]).toEqual([0, 'CREATE TABLE\nCOPY 400\n80200|app\n'])
    })

    it.each(driversOn(name))('%s logs in with its password', async (_driver, words, printed) => {
      const { code, stdout } = await program(words)
      expect([code, stdout]).toEqual([0, printed])
    })
  })
})

function runProgram([file = '', ...words]: Words, own: NodeJS.ProcessEnv): Promise<Ended> {
  const { PATH } = process.env
  return new Promise((resolve) => {
    execFile(file, words, { env: { PATH, ...own } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
  })
}

describe('through exec, an identity of Entra ID', () => {
  const whoAmI = (own: Readonly<Record<string, string>>): Promise<Ended> => {
    const ca = join(databases.folder, 'entra.pem')
    writeFileSync(ca, issuer.ca)
    return runCommand(['exec', ENTRA_URL, '--', ...psqlWords(['SELECT current_user'])], {
      env: {
        ...databases.env,
        // The Azure SDK has no variable for an issuer on this machine: it reaches that of Microsoft through a proxy.
        HTTPS_PROXY: issuer.proxyUrl,
        NODE_EXTRA_CA_CERTS: ca,
        AZURE_TENANT_ID: TENANT,
        AZURE_CLIENT_ID: CLIENT_ID,
        ...own,
      },
    })
  }

  it('is that of AZURE_CLIENT_SECRET', async () => {
    const own = {
      AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
      AZURE_CLIENT_SECRET: SECRET,
    }
    expect(await whoAmI(own)).toEqual({ code: 0, stdout: 'app\n', stderr: '' })
  })

  it('is that of AZURE_FEDERATED_TOKEN_FILE, as in Kubernetes', async () => {
    const file = join(databases.folder, 'workload')
    writeFileSync(file, 'of the workload')
    const own = {
      AZURE_TOKEN_CREDENTIALS: 'WorkloadIdentityCredential',
      AZURE_FEDERATED_TOKEN_FILE: file,
    }
    expect(await whoAmI(own)).toEqual({ code: 0, stdout: 'app\n', stderr: '' })
  })

  it('that is refused ends the command before its program starts, and shows no secret', async () => {
    const own = {
      AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
      AZURE_CLIENT_SECRET: 'CANARY-wrong',
    }
    const { code, stdout, stderr } = await whoAmI(own)
    expect([code, stdout]).toEqual([3, ''])
    expect(stderr).toMatch(/^pg-iam: error: [^\n]+\n$/)
    expect(stderr).not.toContain('CANARY')
  })
})

/** Runs lines of the shell, up to the first that fails. */
const shell = (url: string, lines: string): Promise<Ended> =>
  runCommand(['exec', url, '--', 'sh', '-euxc', lines], { env, cwd: databases.folder })

describe.each(POSTGRES)('through exec, on %s', (name, url) => {
  it.each([
    ['plain', 'psql -Xq -v ON_ERROR_STOP=1 -f'],
    ['custom', 'pg_restore --exit-on-error -d postgres'],
  ])('pg_dump writes what can be restored, in the format "%s"', async (format, restore) => {
    const table = `${format}_${tableOf(name)}`
    const { code, stdout, stderr } = await shell(
      url,
      `
      psql -Xqc 'CREATE TABLE ${table} (id int PRIMARY KEY)' -c 'INSERT INTO ${table} SELECT generate_series(1, 5000)'
      pg_dump -F ${format} -t ${table} -f ${table}.dump
      psql -Xqc 'DROP TABLE ${table}'
      ${restore} ${table}.dump
      psql -XAtc 'SELECT count(*) FROM ${table}'`,
    )
    expect([code, stderr, stdout]).toEqual([
      0,
      expect.any(String),
      expect.stringMatching(/5000\n$/),
    ])
  })
})

describe('through exec, on RDS', () => {
  it('pgbench runs in all protocols', async () => {
    const run = (protocol: string): string => `pgbench -n -M ${protocol} -c 4 -t 25`
    const { code, stdout, stderr } = await shell(
      RDS_URL,
      ['pgbench -i -q', ...['simple', 'extended', 'prepared'].map(run)].join('\n'),
    )
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expect(stdout.match(/actually processed: 100\/100/g)).toHaveLength(3)
  })
})

describe('through exec, on Aurora DSQL', () => {
  it.each([
    [
      'the transaction of pg_dump',
      ['BEGIN', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY'],
      'setting configuration parameter "TRANSACTION" not supported',
    ],
    [
      'the lock of pg_dump',
      ['LOCK TABLE pg_catalog.pg_class IN ACCESS SHARE MODE'],
      'unsupported statement: Lock',
    ],
    [
      'a prepared statement of pg_dump',
      ['PREPARE getColumnACLs(pg_catalog.oid) AS SELECT $1'],
      'unsupported statement: Prepare',
    ],
    [
      'the cursor of psql with FETCH_COUNT, up to version 16',
      ['BEGIN', 'DECLARE _psql_cursor NO SCROLL CURSOR FOR SELECT 1'],
      'unsupported statement: DeclareCursor',
    ],
    [
      'the savepoint of psql with ON_ERROR_ROLLBACK',
      [String.raw`\set ON_ERROR_ROLLBACK on`, 'BEGIN', 'SELECT 1'],
      'unsupported transaction statement: SAVEPOINT',
    ],
  ])('%s is refused in the words of the service', async (_, statements, words) => {
    const { code, stderr } = await psql(DSQL_URL, ...statements)
    expect([code, stderr]).toEqual([1, `ERROR:  ${words}\n`])
  })

  it('the pool of asyncpg is refused its reset in the words of the service, and works with one of the application', async () => {
    const pool = (flag: string): string[] =>
      python(`
import asyncio, asyncpg
class Connection(asyncpg.Connection):
    async def reset(self, *, timeout=None):
        await self.execute("RESET ALL", timeout=timeout)
async def main():
    async with asyncpg.create_pool(min_size=1, max_size=1${flag}) as pool:
        for n in range(3):
            print(await pool.fetchval("SELECT $1::int", n))
asyncio.run(main())`)
    const refused = await exec(DSQL_URL, pool(''))
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('function pg_advisory_unlock_all not supported'),
    ])
    const { code, stdout } = await exec(DSQL_URL, pool(', connection_class=Connection'))
    expect([code, stdout]).toEqual([0, '0\n1\n2\n'])
  })

  it('pgbench -i is refused in the words of the service, and runs on tables that were created without it', async () => {
    const refused = await exec(DSQL_URL, ['/usr/bin/pgbench', '-i', '-q'])
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('ERROR:  WITH clause not supported for CREATE TABLE')
    await psql(
      DSQL_URL,
      'CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88))',
      'CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))',
      'INSERT INTO pgbench_branches VALUES (1, 0)',
      'INSERT INTO pgbench_accounts SELECT n, 1, 0 FROM generate_series(1, 2500) AS n',
    )
    writeFileSync(
      join(databases.folder, 'accounts.sql'),
      String.raw`\set aid random(1, 2500)
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
`,
    )
    const { code, stdout, stderr } = await shell(
      DSQL_URL,
      'pgbench -n -S -M prepared -c 4 -t 25\npgbench -n -f accounts.sql -c 1 -t 100',
    )
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expect(stdout.match(/actually processed: 100\/100/g)).toHaveLength(2)
  })

  it('pg_restore loads data into a table that was created with its key, which the service refuses to add', async () => {
    await shell(
      RDS_URL,
      `
      psql -Xqc 'CREATE TABLE moved (id int PRIMARY KEY)' -c 'INSERT INTO moved SELECT generate_series(1, 3000)'
      pg_dump -F custom -t moved -f moved.dump
      psql -Xqc 'DROP TABLE moved'`,
    )
    const refused = await shell(DSQL_URL, 'pg_restore -d postgres moved.dump')
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('ERROR:  unsupported ALTER TABLE ADD CONSTRAINT statement')
    const { code, stdout, stderr } = await shell(
      DSQL_URL,
      `
      psql -Xqc 'DROP TABLE moved' -c 'CREATE TABLE moved (id int PRIMARY KEY)'
      pg_restore --exit-on-error --data-only -d postgres moved.dump
      psql -XAtc 'SELECT count(*) FROM moved'`,
    )
    expect([code, stderr, stdout]).toEqual([0, expect.any(String), '3000\n'])
  })
})
