/** What only Aurora DSQL has: jobs, batches, and statements whose outcome the catalog does not tell. */
import {
  createMigrator,
  type Migration,
  type MigrationProgress,
  type MigratorOptions,
} from '../../../migrations/migrator.js'
import { sleep } from '../../../core/async.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { expireLease, interruptible, type TestSchema, useDatabases } from './databases.js'

const databases = useDatabases()
const newSchema = (): Promise<TestSchema> => databases().schema('aurora-dsql')

function migrate(
  { pool }: TestSchema,
  up: string,
  options: Partial<MigratorOptions> = {},
): Promise<unknown> {
  const migrations: Migration[] = [{ name: '0001_own', up }]
  return createMigrator({
    ...(options.connect === undefined && { pool }),
    migrations,
    ...options,
  }).up()
}

describe('a job', () => {
  it('that fails is an error that names it, its details and what it left, and the migration goes on when the rows are corrected', async () => {
    const schema = await newSchema()
    const up = `CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 7), (2, 7);
CREATE UNIQUE INDEX t_n ON t (n);
INSERT INTO t VALUES (3, 8);`
    expect(await rejectionOf(migrate(schema, up))).toMatchObject({
      code: 'ERR_MIGRATION_FAILED',
      message: expect.stringMatching(
        /^the job [a-z2-7]{26} of the migration "0001_own" \(statement 3, line 3\) failed: Found duplicate key while validating index for UCVs; it left the index "t_n" invalid, which keeps rejecting duplicates until it is dropped$/,
      ),
      hint: 'Correct the rows, and migrate again: that drops the index first.',
    })
    await schema.pool.query('UPDATE t SET n = 9 WHERE id = 2')
    await migrate(schema, up)
    expect(await schema.rows('SELECT n FROM t ORDER BY n')).toEqual([['7'], ['8'], ['9']])
  })

  it('that left an invalid index is started again when the rows are corrected, and the invalid index is dropped first', async () => {
    const schema = await newSchema()
    const up = `CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 7), (2, 7);
CREATE UNIQUE INDEX t_n ON t (n);`
    await rejectionOf(migrate(schema, up))
    // Of the index the gateway leaves nothing, a cluster what PostgreSQL leaves of CONCURRENTLY.
    const plain = databases().poolOf('postgres', schema.name)
    await rejectionOf(plain.query('CREATE UNIQUE INDEX CONCURRENTLY t_n ON t (n)'))
    expect(await schema.content()).toContain(
      'index CREATE UNIQUE INDEX t_n ON t USING btree (n) INVALID',
    )
    await schema.pool.query('DELETE FROM t WHERE id = 2')
    await migrate(schema, up)
    expect(await schema.content()).toContain('index CREATE UNIQUE INDEX t_n ON t USING btree (n)')
  })

  it('of a validation that fails names the constraint', async () => {
    const schema = await newSchema()
    const up = `CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t VALUES (1);
ALTER TABLE t ADD CONSTRAINT big CHECK (id > 5);`
    const error = await rejectionOf(migrate(schema, up))
    expect(String(error)).toMatch(/"big".*it left the constraint NOT VALID/)
    await schema.pool.query('UPDATE t SET id = 6')
    await migrate(schema, up)
    expect(await schema.content()).toContain('constraint t big CHECK ((id > 5))')
  })

  it('that takes long is reported until it has ended', async () => {
    const schema = await newSchema()
    const seen: string[] = []
    const { connect } = interruptible(schema.pool, {})
    await migrate(schema, 'CREATE TABLE t (id int PRIMARY KEY, n int); CREATE INDEX t_n ON t (n)', {
      // The gateway's jobs are done when they return: this one is made to look as if it were not.
      connect: async () => {
        const connection = await connect()
        return {
          ...connection,
          async query(sql) {
            const result = await connection.query(sql)
            if (sql.startsWith('CREATE INDEX'))
              await connection.query("UPDATE sys.jobs SET status = 'processing'")
            return result
          },
        }
      },
      onProgress: (progress: MigrationProgress) => {
        if (progress.type === 'statement' && progress.state === 'waiting')
          seen.push(progress.job?.status ?? '')
      },
      sleep: async (ms, signal) => {
        // That of the lease.
        if (ms > 10_000) return sleep(ms, signal)
        if (seen.length === 3) await schema.pool.query("UPDATE sys.jobs SET status = 'completed'")
        return undefined
      },
    })
    expect(seen).toEqual(['processing', 'processing', 'processing'])
  })

  it('whose row has vanished is judged by the catalog', async () => {
    const schema = await newSchema()
    const { connect } = interruptible(schema.pool, {})
    await migrate(schema, 'CREATE TABLE t (id int PRIMARY KEY, n int); CREATE INDEX t_n ON t (n)', {
      connect: async () => {
        const connection = await connect()
        return {
          ...connection,
          async query(sql) {
            const result = await connection.query(sql)
            if (sql.startsWith('CREATE INDEX')) await connection.query('DELETE FROM sys.jobs')
            return result
          },
        }
      },
    })
    expect(await schema.content()).toContain('index CREATE INDEX t_n ON t USING btree (n)')
  })
})

describe('rows of a batch', () => {
  it('are changed in transactions of 3,000, by a primary key of several columns, and those with a value are kept', async () => {
    const schema = await newSchema()
    const rows: number[] = []
    await migrate(
      schema,
      `CREATE TABLE t (a int, b text, PRIMARY KEY (b, a));
INSERT INTO t SELECT i, 'k' || i % 7 FROM generate_series(1, 2000) i;
INSERT INTO t SELECT i, 'k' || i % 7 FROM generate_series(2001, 4000) i;
INSERT INTO t SELECT i, 'k' || i % 7 FROM generate_series(4001, 6001) i WHERE i <> 5000;
ALTER TABLE t ADD COLUMN c int DEFAULT 4;`,
      {
        onProgress: (progress) => {
          if (progress.type === 'statement' && progress.state === 'rows')
            rows.push(progress.rows ?? 0)
        },
      },
    )
    expect(rows).toEqual([3_000, 6_000, 6_000])
    expect(await schema.rows('SELECT c, count(*) FROM t GROUP BY c')).toEqual([['4', '6000']])
  })

  it('of a table that a foreign key references are not truncated, since DELETE would cascade', async () => {
    const schema = await newSchema()
    const error = await rejectionOf(
      migrate(
        schema,
        `CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (id int PRIMARY KEY REFERENCES p ON DELETE CASCADE);
INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);
TRUNCATE p;`,
      ),
    )
    expect(String(error)).toContain(
      'cannot truncate "p", which the foreign key "c_id_fkey" references',
    )
    expect(await schema.rows('SELECT * FROM c')).toEqual([['1']])
  })
})

describe('a migration', () => {
  it('with a statement that changes more rows than a transaction may is told to split it', async () => {
    const schema = await newSchema()
    const up = `CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 3000);`
    expect(await rejectionOf(migrate(schema, up))).toMatchObject({
      message:
        'the migration "0001_own" failed at statement 2 (line 2): transaction row limit exceeded',
      hint: expect.stringContaining('at most 2,999 rows'),
    })
    expect(await schema.rows('SELECT * FROM t')).toEqual([])
  })

  it('with a statement that cannot be rewritten runs nothing, and neither does one before it', async () => {
    const schema = await newSchema()
    const migrations = [
      { name: '0001_a', up: 'CREATE TABLE a (id int)' },
      { name: '0002_b', up: 'CREATE TABLE b (id int);\nCREATE TABLE c (a int[]);' },
    ]
    const failed = createMigrator({ pool: schema.pool, migrations }).up()
    expect(await rejectionOf(failed)).toMatchObject({
      code: 'ERR_DSQL_STATEMENT',
      message: 'the migration "0002_b", line 2: datatype integer[] not supported (array-column)',
      hint: 'Use a table with one row for each element, or jsonb.',
    })
    expect(await schema.content()).toEqual([])
  })

  it('applies its settings again when it is resumed', async () => {
    const schema = await newSchema()
    const other = await newSchema()
    const up = `SET search_path = ${other.name};
CREATE TABLE one (id int);
CREATE TABLE two (id int);`
    const { connect } = interruptible(schema.pool, {
      after: (_, sql) => (sql.startsWith('CREATE TABLE one') ? 'kill' : undefined),
    })
    await rejectionOf(migrate(schema, up, { connect }))
    await expireLease(schema)
    await migrate(schema, up)
    expect(await other.content()).toEqual(['column one.id integer ', 'column two.id integer '])
    expect(await schema.content()).toEqual([])
    expect(await schema.rows('SHOW search_path')).toEqual([[schema.name]])
  })

  it('of which a statement that has run was changed is refused, and a failed one may be changed', async () => {
    const schema = await newSchema()
    const first = 'CREATE TABLE a (id int);'
    await rejectionOf(migrate(schema, `${first} SELECT 1 / 0;`))
    const error = await rejectionOf(migrate(schema, 'CREATE TABLE a (id bigint); SELECT 1;'))
    expect(error).toMatchObject({
      code: 'ERR_MIGRATION_STATE',
      message: 'statement 1 of the migration "0001_own" (line 1) has changed since it ran',
    })
    await migrate(schema, `${first} SELECT 1;`)
  })

  it('with an interrupted statement that the catalog does not show waits for the decision of a person', async () => {
    const up =
      "CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION one() RENAME TO uno;"
    for (const outcome of ['done', 'not-done'] as const) {
      const schema = await newSchema()
      const { connect } = interruptible(schema.pool, {
        [outcome === 'done' ? 'after' : 'before']: (_: number, sql: string) =>
          sql.startsWith('ALTER FUNCTION') ? 'kill' : undefined,
      })
      await rejectionOf(migrate(schema, up, { connect }))
      await expireLease(schema)
      expect(await rejectionOf(migrate(schema, up))).toMatchObject({
        code: 'ERR_MIGRATION_STATE',
        message: 'it is not known whether statement 3 of the migration "0001_own" (line 1) has run',
        hint: 'Look in the database, and run pg-iam migrate resolve 0001_own --done, or --not-done.',
      })
      const migrator = createMigrator({ pool: schema.pool, migrations: [{ name: '0001_own', up }] })
      expect(await migrator.status()).toEqual([
        {
          name: '0001_own',
          state: 'started',
          statementsDone: 2,
          interrupted: expect.stringContaining('ALTER FUNCTION'),
        },
      ])
      await migrator.resolve('0001_own', outcome)
      await migrator.up()
      expect(await schema.rows('SELECT uno()')).toEqual([['1']])
    }
  })
})
