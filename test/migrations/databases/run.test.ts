/** Migrations that fail, die, lose connections and race, on Aurora DSQL and on PostgreSQL. */
import { sleep } from '../../../core/async.js'
import { isPgIamError, type PgIamError } from '../../../core/errors.js'
import type { Dialect } from '../../../migrations/ledger.js'
import {
  createMigrator,
  type Migration,
  type MigrationProgress,
  type MigratorOptions,
} from '../../../migrations/migrator.js'
import { DIALECTS, expireLease, interruptible, type TestSchema, useDatabases } from './databases.js'

const databases = useDatabases()

/** Each kind of statement: DDL with and without a job, rows, a batch, and a setting. */
const SHOP: readonly Migration[] = [
  {
    name: '0001_shop',
    up: `CREATE TABLE customer (id bigint PRIMARY KEY, name text NOT NULL);
INSERT INTO customer VALUES (1, 'a'), (2, 'b');
CREATE INDEX customer_name ON customer (name);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);`,
    down: `DROP TABLE orders;
DROP TABLE customer;`,
  },
  {
    name: '0002_more',
    up: `ALTER TABLE customer ADD COLUMN points int DEFAULT 5;
INSERT INTO orders VALUES (1, 1);
ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customer (id);
ALTER TABLE customer RENAME COLUMN name TO title;
UPDATE customer SET points = points + 1 WHERE id = 2;
DROP INDEX customer_name;`,
    down: `ALTER TABLE orders DROP CONSTRAINT orders_customer;
DELETE FROM orders;
ALTER TABLE customer DROP COLUMN points;
ALTER TABLE customer RENAME COLUMN title TO name;`,
  },
]

/** What is there after SHOP. On Aurora DSQL the same, since nothing in it has to be something else. */
const CONTENT = [
  'column customer.id bigint not null',
  'column customer.points integer 5',
  'column customer.title text not null',
  'column orders.customer_id bigint ',
  'column orders.id bigint not null',
  'constraint customer customer_pkey PRIMARY KEY (id)',
  'constraint orders orders_customer FOREIGN KEY (customer_id) REFERENCES customer(id)',
  'constraint orders orders_pkey PRIMARY KEY (id)',
  'index CREATE UNIQUE INDEX customer_pkey ON customer USING btree (id)',
  'index CREATE UNIQUE INDEX orders_pkey ON orders USING btree (id)',
  'row customer (1,a,5)',
  'row customer (2,b,6)',
  'row orders (1,1)',
]

function migratorOf(
  { pool, dialect }: TestSchema,
  options: Partial<MigratorOptions> = {},
): ReturnType<typeof createMigrator> {
  const { connect } = options
  return createMigrator({
    ...(connect === undefined && { pool }),
    migrations: SHOP,
    dialect,
    retry: { baseDelayMs: 5 },
    ...options,
  })
}

/** Does not wait, but for what a lease is about. */
const impatient: NonNullable<MigratorOptions['sleep']> = (ms, signal) =>
  sleep(ms > 10_000 ? ms : Math.min(ms, 10), signal)

async function errorOf(work: Promise<unknown>): Promise<PgIamError> {
  const error: unknown = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  )
  if (!isPgIamError(error)) throw error
  return error
}

/** The states of all migrations. */
async function statesIn(schema: TestSchema, migrations = SHOP): Promise<string[]> {
  const status = await migratorOf(schema, { migrations }).status()
  return status.map(({ state }) => state)
}

describe.each(DIALECTS)('a migrator on %s', (dialect: Dialect) => {
  const newSchema = (): Promise<TestSchema> => databases().schema(dialect)

  it('applies migrations in their order, records them, and undoes them in the reverse order', async () => {
    const schema = await newSchema()
    expect(await statesIn(schema)).toEqual(['pending', 'pending'])
    const ran = await migratorOf(schema).up()
    expect(ran.map(({ name }) => name)).toEqual(['0001_shop', '0002_more'])
    expect(await schema.content()).toEqual(CONTENT)
    expect(await statesIn(schema)).toEqual(['applied', 'applied'])
    expect(await migratorOf(schema).up()).toEqual([])
    const undone = await migratorOf(schema).down({ steps: 2 })
    expect(undone.map(({ name }) => name)).toEqual(['0002_more', '0001_shop'])
    expect(await schema.content()).toEqual([])
    expect(await schema.rows('SELECT * FROM pg_iam_migrations')).toEqual([])
    await migratorOf(schema).up({ to: '0001_shop' })
    expect(await statesIn(schema)).toEqual(['applied', 'pending'])
  })

  it('runs nothing in a dry run, and reports what would run', async () => {
    const schema = await newSchema()
    const runs = await migratorOf(schema, { dryRun: true }).up()
    expect(runs.map(({ name, statements }) => [name, statements.length > 3])).toEqual([
      ['0001_shop', true],
      ['0002_more', true],
    ])
    expect(
      await schema.rows(
        `SELECT relname FROM pg_class WHERE relnamespace = '${schema.name}'::regnamespace`,
      ),
    ).toEqual([])
  })

  it('names the migration and the line of a statement that fails, and goes on there once it is corrected', async () => {
    const lines = SHOP[1]!.up.split('\n')
    for (const [index, line] of lines.entries()) {
      const schema = await newSchema()
      const broken = lines.with(index, `UPDATE nothing SET a = ${index};`).join('\n')
      const error = await errorOf(
        migratorOf(schema, { migrations: [SHOP[0]!, { ...SHOP[1]!, up: broken }] }).up(),
      )
      expect({ code: error.code, message: error.message, line }).toEqual({
        code: 'ERR_MIGRATION_FAILED',
        message: expect.stringMatching(
          new RegExp(
            String.raw`"0002_more" failed at statement \d+ \(line ${index + 1}\): relation "nothing" does not exist`,
          ),
        ),
        line,
      })
      await migratorOf(schema).up()
      expect(await schema.content()).toEqual(CONTENT)
    }
  })

  it('completes a migration that was killed after any of its queries, each statement once', async () => {
    const whole = await newSchema()
    const counted = interruptible(whole.pool, {})
    await migratorOf(whole, { connect: counted.connect }).up()
    // The last one gives the lease back.
    for (let at = 1; at < counted.count(); at++) {
      const schema = await newSchema()
      const dead = interruptible(schema.pool, {
        after: (count) => (count === at ? 'kill' : undefined),
      })
      await expect(migratorOf(schema, { connect: dead.connect }).up()).rejects.toThrow()
      await expireLease(schema)
      await migratorOf(schema).up()
      expect({ at, content: await schema.content() }).toEqual({ at, content: CONTENT })
      await schema.pool.end()
    }
  })

  it('completes an undo that was killed after any of its queries', async () => {
    const migrations = [
      {
        name: '0001_small',
        up: 'CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1);',
        down: 'DELETE FROM small; DROP TABLE small;',
      },
    ]
    const whole = await newSchema()
    await migratorOf(whole, { migrations }).up()
    const counted = interruptible(whole.pool, {})
    await migratorOf(whole, { migrations, connect: counted.connect }).down()
    for (let at = 1; at < counted.count(); at++) {
      const schema = await newSchema()
      await migratorOf(schema, { migrations }).up()
      const dead = interruptible(schema.pool, {
        after: (count) => (count === at ? 'kill' : undefined),
      })
      await expect(
        migratorOf(schema, { migrations, connect: dead.connect }).down(),
      ).rejects.toThrow()
      await expireLease(schema)
      const [state] = await statesIn(schema, migrations)
      if (state !== 'pending') await migratorOf(schema, { migrations }).down()
      expect({ at, content: await schema.content() }).toEqual({ at, content: [] })
      expect(await schema.rows('SELECT * FROM pg_iam_migrations')).toEqual([])
      await schema.pool.end()
    }
  })

  it('goes on by itself when the connection is lost and the outcome of a query is unknown, COMMIT included', async () => {
    const whole = await newSchema()
    const counted = interruptible(whole.pool, {})
    const migrations = SHOP.slice(0, 1)
    await migratorOf(whole, { migrations, connect: counted.connect }).up()
    const content = await whole.content()
    for (const moment of ['before', 'after'] as const)
      // The first ones open the ledger, and the last one gives the lease back.
      for (let at = 9; at < counted.count(); at++) {
        const schema = await newSchema()
        let losses = 0
        const { connect } = interruptible(schema.pool, {
          [moment]: (count: number) => (count === at ? 'cut' : undefined),
        })
        const onProgress = (progress: MigrationProgress): void => {
          if (progress.type === 'reconnect') losses++
        }
        await migratorOf(schema, { migrations, connect, onProgress, sleep: impatient }).up()
        expect({ moment, at, losses, content: await schema.content() }).toEqual({
          ...{ moment, at, losses: 1, content },
        })
        await schema.pool.end()
      }
  })

  it.each(['before-commit', 'after-commit'] as const)(
    'goes on when the gateway cuts the connection %s in each statement',
    async (at) => {
      const schema = await newSchema()
      const { faults } = databases().gateway
      const cut = new Set<string>()
      let losses = 0
      await migratorOf(schema, {
        sleep: impatient,
        onProgress: (progress) => {
          if (progress.type === 'reconnect') losses++
          const isStart = progress.type === 'statement' || progress.type === 'migration'
          if (!isStart || progress.state !== 'started') return
          const place = `${progress.name} ${progress.type === 'statement' ? progress.position : 0}`
          if (!cut.has(place)) faults.cut({ at, times: 1 })
          cut.add(place)
        },
      })
        .up()
        .finally(() => faults.clear())
      expect(losses).toBeGreaterThan(1)
      expect(await schema.content()).toEqual(CONTENT)
    },
  )

  it('gives up with the error of the connection when it is lost again and again', async () => {
    const schema = await newSchema()
    const { connect } = interruptible(schema.pool, {
      before: (_, sql) => (sql.includes('customer') ? 'cut' : undefined),
    })
    const failed = migratorOf(schema, { connect, sleep: impatient }).up()
    await expect(failed).rejects.toThrow('Connection terminated unexpectedly')
    expect(schema.pool.idleCount).toBe(schema.pool.totalCount)
  })

  it('lets two deployers race fifty times, and each statement runs once', async () => {
    for (let round = 0; round < 50; round++) {
      const schema = await newSchema()
      const ran = await Promise.all([1, 2].map(() => migratorOf(schema, { sleep: impatient }).up()))
      const names = ran.flat().map(({ name }) => name)
      expect({ round, names, content: await schema.content() }).toEqual({
        ...{ round, names: ['0001_shop', '0002_more'], content: CONTENT },
      })
      await schema.pool.end()
    }
  })

  it('takes the lease of a deployer over that has died with it, once that has expired', async () => {
    const schema = await newSchema()
    const dead = interruptible(schema.pool, {
      after: (_, sql) => (sql.startsWith('INSERT INTO customer') ? 'kill' : undefined),
    })
    await expect(
      migratorOf(schema, { connect: dead.connect, leaseMs: 1_000 }).up(),
    ).rejects.toThrow()
    const holders = new Set<string>()
    const others = [1, 2].map(() =>
      migratorOf(schema, {
        onProgress: (progress) => {
          if (progress.type === 'lease') holders.add(progress.holder)
        },
      }).up(),
    )
    const ran = (await Promise.all(others)).flat()
    expect(ran.map(({ name }) => name)).toEqual(['0001_shop', '0002_more'])
    expect(holders.size).toBeGreaterThan(0)
    expect(await schema.content()).toEqual(CONTENT)
  })

  it('waits for another deployer no longer than "waitMs", and names it', async () => {
    const schema = await newSchema()
    const dead = interruptible(schema.pool, {
      after: (_, sql) => (sql.startsWith('INSERT INTO customer') ? 'kill' : undefined),
    })
    await migratorOf(schema, { connect: dead.connect })
      .up()
      .catch(() => {})
    const error = await errorOf(migratorOf(schema, { waitMs: 0 }).up())
    expect(error.code).toBe('ERR_MIGRATION_LEASE')
    expect(error.message).toContain(`:${process.pid}:`)
    expect(error.retryable).toBe(true)
  })

  it('stops a deployer that was so slow that another one took its lease, before it writes', async () => {
    const schema = await newSchema()
    let isTaken = false
    const slow = interruptible(schema.pool, {})
    const connect = async (): ReturnType<typeof slow.connect> => {
      const connection = await slow.connect()
      return {
        ...connection,
        async query(sql) {
          if (sql.startsWith('INSERT INTO orders') && !isTaken) {
            isTaken = true
            await expireLease(schema)
            const other = migratorOf(schema).up()
            // PostgreSQL's row lock keeps the other one waiting until this one has ended.
            if (dialect === 'aurora-dsql') await other
            else others.push(other)
          }
          return connection.query(sql)
        },
      }
    }
    const others: Promise<unknown>[] = []
    const outcome = await migratorOf(schema, { connect })
      .up()
      .catch((error: unknown) => error)
    await Promise.all(others)
    if (dialect === 'aurora-dsql') expect(outcome).toMatchObject({ code: 'ERR_MIGRATION_LEASE' })
    expect(await schema.content()).toEqual(CONTENT)
  })

  it('renews its lease during a statement that takes longer, and leaves no timer and no connection', async () => {
    const schema = await newSchema()
    const slow: Migration = { name: '0001_slow', up: 'SELECT pg_sleep(2.5)' }
    const waits: string[] = []
    const first = migratorOf(schema, { migrations: [slow], leaseMs: 1_000 }).up()
    const second = migratorOf(schema, {
      migrations: [slow],
      onProgress: (progress) => {
        if (progress.type === 'lease') waits.push(progress.holder)
      },
    })
    const [one, other] = await Promise.all([first, second.up()])
    expect([...one, ...other].map(({ name }) => name)).toEqual(['0001_slow'])
    expect(schema.pool.idleCount).toBe(schema.pool.totalCount)
    expect(schema.pool.waitingCount).toBe(0)
  })

  it('refuses a migration that has changed since it ran, and one that is missing', async () => {
    const schema = await newSchema()
    await migratorOf(schema).up()
    const changed = [{ ...SHOP[0]!, up: `${SHOP[0]!.up}\nDROP TABLE orders;` }, SHOP[1]!]
    expect(await statesIn(schema, changed)).toEqual(['changed', 'applied'])
    expect(await errorOf(migratorOf(schema, { migrations: changed }).up())).toMatchObject({
      code: 'ERR_MIGRATION_STATE',
      message: 'the migration "0001_shop" has changed since it ran',
    })
    const fewer = SHOP.slice(0, 1)
    expect(await statesIn(schema, fewer)).toEqual(['applied', 'missing'])
    expect(await errorOf(migratorOf(schema, { migrations: fewer }).up())).toMatchObject({
      code: 'ERR_MIGRATION_STATE',
      message: 'the migration "0002_more" has run, and is missing',
    })
    // Line endings and white space at the end are no change.
    const sameText = SHOP.map((each) => ({
      ...each,
      up: `${each.up.replaceAll('\n', '\r\n')}\r\n`,
    }))
    expect(await migratorOf(schema, { migrations: sameText }).up()).toEqual([])
  })

  it('stops before the next statement when its signal aborts, and goes on later', async () => {
    const schema = await newSchema()
    const stop = new AbortController()
    const { connect } = interruptible(schema.pool, {
      after: (_, sql) => {
        if (sql.startsWith('CREATE INDEX')) stop.abort()
        return undefined
      },
    })
    const stopped = await errorOf(migratorOf(schema, { connect, signal: stop.signal }).up())
    expect(stopped.code).toBe('ERR_ABORTED')
    await migratorOf(schema).up()
    expect(await schema.content()).toEqual(CONTENT)
  })

  it('retries statements that conflict', async () => {
    const schema = await newSchema()
    await migratorOf(schema, { migrations: [] }).up()
    const { faults } = databases().gateway
    faults.raiseConflicts({ times: 4, code: 'OC001', at: 'statement' })
    await migratorOf(schema)
      .up()
      .finally(() => faults.clear())
    expect(await schema.content()).toEqual(CONTENT)
  })

  it('runs a thousand statements', async () => {
    const schema = await newSchema()
    const up = Array.from({ length: 1_000 }, (_, index) =>
      index % 2 === 0
        ? `CREATE TABLE t${index} (id int PRIMARY KEY);`
        : `INSERT INTO t${index - 1} VALUES (${index});`,
    ).join('\n')
    const migrations = [{ name: '0001_many', up, down: 'SELECT 1' }]
    const startedAt = Date.now()
    const [run] = await migratorOf(schema, { migrations }).up()
    process.stdout.write(
      `${dialect}: 1,000 statements in ${Math.round((Date.now() - startedAt) / 1_000)} s\n`,
    )
    expect(run?.statements.length).toBe(1_000)
    expect(await schema.rows('SELECT id FROM t998')).toEqual([['999']])
    await migratorOf(schema, { migrations }).down()
    expect(await schema.rows('SELECT * FROM pg_iam_migrations')).toEqual([])
  })
})
