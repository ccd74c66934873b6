import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { pgSettings, withClient } from '../engines/checks/gateway-clients.js'
import { recordLog } from '../upstream-gateway.js'
import { type DsqlClient, run, SYNC, useDsqlGateway, withClients } from './dsql-clients.js'

const ARN = 'arn:aws:iam::111122223333:role/reader'
const KEY = { accessKeyId: 'AKIAREADER0000000000', secretAccessKey: 'a-secret-of-the-reader' }
const gateway = useDsqlGateway({
  roles: ['app', 'reader'],
  principals: [
    { accessKeyId: 'AKIAADMIN00000000000', secretAccessKey: 'secret', roles: ['admin', 'app'] },
    { ...KEY, roles: [], arn: ARN },
  ],
})

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE item (id int, note text)')
    await client.ask('CREATE TABLE parent (id int PRIMARY KEY)')
    await client.ask('INSERT INTO item VALUES (1), (1)')
  }),
)

async function jobOf(client: DsqlClient, sql: string): Promise<string> {
  const replies = await client.ask(sql)
  expect(replies).toEqual([
    'T job_id',
    expect.stringMatching(/^D [a-z2-7]{26}$/),
    expect.stringMatching(/^C (?:CREATE INDEX|ALTER TABLE)$/),
    'Z I',
  ])
  return replies[1]!.slice(2)
}

describe('CREATE INDEX ASYNC', () => {
  it('returns a job, in both protocols, which has succeeded', () =>
    withClients(gateway(), async (client) => {
      const id = await jobOf(client, 'CREATE INDEX ASYNC item_note ON item (note)')
      expect(await client.ask(`CALL sys.wait_for_job('${id}')`)).toEqual([
        'T succeeded',
        'D t',
        'C CALL',
        'Z I',
      ])
      expect(
        await client.ask(
          `SELECT status, details, job_type, object_name FROM sys.jobs WHERE job_id = '${id}'`,
        ),
      ).toContain('D completed  INDEX_BUILD public.item_note')
      expect(await client.ask(run('CREATE INDEX ASYNC ON item (note)'), SYNC)).toEqual([
        '1',
        '2',
        expect.stringMatching(/^D [a-z2-7]{26}$/),
        'C CREATE INDEX',
        'Z I',
      ])
      expect(await client.ask('DROP INDEX item_note_idx')).toEqual(['C DROP INDEX', 'Z I'])
    }))

  it('with IF NOT EXISTS returns no job if the index exists', () =>
    withClients(gateway(), async (client) => {
      const sql = 'CREATE INDEX ASYNC IF NOT EXISTS item_id ON item (id)'
      await jobOf(client, sql)
      expect(await client.ask(sql)).toEqual(['T job_id', 'C CREATE INDEX', 'Z I'])
      const again = await client.ask('CREATE INDEX ASYNC item_id ON item (id)')
      expect(again.slice(-2)).toEqual(['E 42P07 relation "item_id" already exists', 'Z I'])
    }))

  it('of a unique index over equal keys returns a job that has failed, without an error', () =>
    withClients(gateway(), async (client) => {
      const id = await jobOf(client, 'CREATE UNIQUE INDEX ASYNC item_unique ON item (id)')
      expect(await client.ask(`CALL sys.wait_for_job('${id}')`)).toContain('D f')
      expect(
        await client.ask(`SELECT status, details FROM sys.jobs WHERE job_id = '${id}'`),
      ).toContain('D failed Found duplicate key while validating index for UCVs')
    }))

  it('is a DDL statement of its transaction, and leaves no job if it is rolled back', () =>
    withClients(gateway(), async (client) => {
      const [, , , job] = await client.ask('BEGIN', 'CREATE INDEX ASYNC late ON item (note)')
      expect(await client.ask('CREATE TABLE other (id int)')).toEqual([
        'E 0A000 multiple ddl statements not supported in a transaction',
        'Z E',
      ])
      await client.ask('ROLLBACK')
      expect(
        await client.ask(`SELECT count(*) FROM sys.jobs WHERE job_id = '${job!.slice(2)}'`),
      ).toContain('D 0')
    }))

  it('a job is not awaited within a transaction, and an unknown one is an error', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN')
      expect(await client.ask(`CALL sys.wait_for_job('${'a'.repeat(26)}')`)).toEqual([
        'E 25001 sys.wait_for_job cannot run inside a transaction block',
        'Z E',
      ])
      await client.ask('ROLLBACK')
      expect(await client.ask(`CALL sys.wait_for_job('${'a'.repeat(26)}')`)).toEqual([
        expect.stringMatching(/^E 42704/),
        'Z I',
      ])
      expect(await client.ask("CALL sys.wait_for_job('none')")).toEqual([
        'E 22P02 Unable to convert text to UUID',
        'Z I',
      ])
    }))

  it('sys.jobs has the columns of Aurora DSQL', () =>
    withClients(gateway(), async (client) => {
      const [columns] = await client.ask('SELECT * FROM sys.jobs LIMIT 0')
      expect(columns).toBe(
        'T job_id status details job_type class_id object_id object_name start_time update_time',
      )
    }))
})

describe('ALTER TABLE ASYNC', () => {
  it('returns a job that has failed if a row violates the constraint', () =>
    withClients(gateway(), async (client) => {
      await client.ask(
        'ALTER TABLE item ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES parent (id) NOT VALID',
      )
      const sql = 'ALTER TABLE ASYNC item VALIDATE CONSTRAINT fk'
      const failed = await jobOf(client, sql)
      expect(await client.ask(`CALL sys.wait_for_job('${failed}')`)).toContain('D f')
      expect(
        await client.ask(`SELECT job_type, details FROM sys.jobs WHERE job_id = '${failed}'`),
      ).toContain(
        'D VALIDATE_CONSTRAINT insert or update on table "item" violates foreign key constraint "fk"',
      )
      await client.ask('INSERT INTO parent VALUES (1)')
      const valid = await jobOf(client, sql)
      expect(await client.ask(`CALL sys.wait_for_job('${valid}')`)).toContain('D t')
    }))
})

describe('AWS IAM', () => {
  const logIn = (user: string): Promise<void> => {
    const login = gateway().login({ user, credentials: KEY })
    return withClient(gateway(), async () => {}, {
      ...pgSettings(gateway(), user),
      password: login.password,
    })
  }
  const DENIED = { code: '28000', message: 'unable to accept connection, access denied' }
  const grant = `AWS IAM GRANT reader TO '${ARN}'`
  const revoke = `AWS IAM REVOKE reader FROM '${ARN}'`

  it('decides which principal may log in as which role', () =>
    withClients(gateway(), async (client) => {
      expect(await rejectionOf(logIn('reader'))).toMatchObject(DENIED)
      expect(await client.ask(grant)).toEqual(['C AWS IAM GRANT', 'Z I'])
      await logIn('reader')
      expect(await rejectionOf(logIn('app'))).toMatchObject(DENIED)
      expect(await client.ask('SELECT arn, pg_role_name FROM sys.iam_pg_role_mappings')).toContain(
        `D ${ARN} reader`,
      )
      expect(await client.ask(run(revoke), SYNC)).toEqual(['1', '2', 'C AWS IAM REVOKE', 'Z I'])
      expect(await rejectionOf(logIn('reader'))).toMatchObject(DENIED)
      expect(await client.ask('SELECT arn FROM sys.iam_pg_role_mappings')).not.toContain(`D ${ARN}`)
    }))

  it('counts when it is committed', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN', grant)
      expect(await rejectionOf(logIn('reader'))).toMatchObject(DENIED)
      await client.ask('ROLLBACK')
      expect(await rejectionOf(logIn('reader'))).toMatchObject(DENIED)
      await client.ask('BEGIN', grant, 'COMMIT')
      await logIn('reader')
      await client.ask(revoke)
    }))

  it.each([
    ["AWS IAM GRANT reader TO 'me'", '22023', 'IAM role must look like an IAM ARN'],
    [`AWS IAM GRANT nobody TO '${ARN}'`, '42704', 'Role nobody does not exist'],
    [`AWS IAM GRANT admin TO '${ARN}'`, '0A000', 'Role admin not supported'],
    [`AWS IAM REVOKE app FROM '${ARN}'`, '42704', `IAM role ${ARN} does not exist`],
  ])('%s is an error', (sql, code, message) =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(sql)).toEqual([`E ${code} ${message}`, 'Z I'])
    }),
  )

  it('a role without LOGIN cannot be granted, and only admin can grant', () =>
    withClients(gateway(), async (client) => {
      await client.ask('CREATE ROLE quiet')
      expect(await client.ask(`AWS IAM GRANT quiet TO '${ARN}'`)).toEqual([
        'E 42501 role quiet must have the LOGIN attribute',
        'Z I',
      ])
      await withClient(
        gateway(),
        async (app) => {
          expect(await rejectionOf(app.query(grant))).toMatchObject({
            code: '42501',
            message: 'permission denied to grant IAM trust with role reader',
          })
        },
        pgSettings(gateway(), 'app'),
      )
    }))
})

describe('what is not known about Aurora DSQL', () => {
  const open = async (
    strict: boolean,
    work: (gateway: Gateway) => Promise<void>,
  ): Promise<string[]> => {
    const { logger, lines } = recordLog()
    const hosts = ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws']
    const own = await startGateway({
      engine: 'postgres',
      logger,
      endpoints: [{ provider: 'aurora-dsql', hosts, strict }],
    })
    try {
      await work(own)
    } finally {
      await own.close()
    }
    return lines.filter(({ message }) => message.includes('not known')).map(({ level }) => level)
  }
  const UNKNOWN = `SELECT ${'1 + '.repeat(30_000)}1`

  it('goes to the engine, and is logged once', async () => {
    const logged = await open(false, (own) =>
      withClients(own, async (client) => {
        await client.ask(UNKNOWN)
        await client.ask(UNKNOWN)
      }),
    )
    expect(logged).toEqual(['info'])
  })

  it('is refused with `strict: true`', async () => {
    await open(true, (own) =>
      withClients(own, async (client) => {
        expect(await client.ask(UNKNOWN)).toEqual([
          expect.stringMatching(/^E 0A000 "strict"/),
          'Z I',
        ])
        expect(await client.ask('SELECT 1 AS known')).toContain('D 1')
      }),
    )
  })
})

/** Runs in a process of its own, in which the package cannot be found. */
const WITHOUT_PARSER = `
  const Module = require('node:module')
  const resolve = Module._resolveFilename
  Module._resolveFilename = function (name, ...others) {
    if (name !== 'libpg-query') return resolve.call(this, name, ...others)
    throw Object.assign(new Error("Cannot find module 'libpg-query'"), { code: 'MODULE_NOT_FOUND' })
  }
  const { startGateway } = require('./gateway/index.ts')
  const codeOf = (options) => startGateway({ engine: 'postgres', ...options }).then(
    async (gateway) => { await gateway.close(); return 'started' },
    ({ code, message, hint }) => ({ code, message, hint }),
  )
  void (async () => {
    console.log(JSON.stringify([await codeOf({}), await codeOf({ sql: 'postgres' })]))
  })()`

describe('without the package libpg-query', () => {
  it('a gateway names the command that installs it, and starts with `sql: postgres`', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--require', './test/support/typescript-hook.cjs'],
      ...['--eval', WITHOUT_PARSER],
    ])
    expect(JSON.parse(stdout)).toEqual([
      {
        code: 'ERR_PEER_MISSING',
        message: 'the package "libpg-query" is not installed',
        hint: 'Run: npm install libpg-query',
      },
      'started',
    ])
  })
})
