/** What is rewritten makes the same as the original on PostgreSQL, but for what is listed here; and DSQL mode accepts it. */
import { createMigrator } from '../../../migrations/migrator.js'
import { type TestSchema, useDatabases } from './databases.js'

const databases = useDatabases()

const TABLES = `CREATE TABLE parent (id bigint PRIMARY KEY);
INSERT INTO parent VALUES (1), (2);
CREATE TABLE child (id bigint PRIMARY KEY, a bigint, b text);
INSERT INTO child VALUES (1, 1, 'x'), (2, 2, 'y');`

/** What differs on Aurora DSQL: lines of the original, and lines in their place. */
interface Difference {
  readonly instead?: readonly string[]
  readonly of?: readonly string[]
}

async function contentAfter(schema: TestSchema, sql: string): Promise<string[]> {
  const { pool, dialect } = schema
  await createMigrator({
    ...{ pool, dialect },
    migrations: [
      { name: '0001_tables', up: TABLES },
      { name: '0002_own', up: sql },
    ],
  }).up()
  return schema.content()
}

const CASES: readonly (readonly [string, Difference?])[] = [
  ['CREATE INDEX i ON child USING btree (b ASC, a DESC NULLS LAST)'],
  ['CREATE INDEX ON child (a, lower(b))'],
  ['CREATE UNIQUE INDEX CONCURRENTLY i ON child (b) INCLUDE (a) WHERE a > 0'],
  ['CREATE INDEX IF NOT EXISTS i ON child (b); CREATE INDEX IF NOT EXISTS i ON child (b)'],
  [
    'ALTER TABLE child ADD FOREIGN KEY (a) REFERENCES parent (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED',
  ],
  ['ALTER TABLE child ADD CHECK (a > 0), ADD CHECK (a < id + 5), ADD UNIQUE (b, a)'],
  [
    'ALTER TABLE child ADD CONSTRAINT positive CHECK (a > 0) NOT VALID; ALTER TABLE child VALIDATE CONSTRAINT positive',
  ],
  ["ALTER TABLE child ADD COLUMN c text DEFAULT 'it''s', ADD d int NULL, DROP COLUMN b"],
  ['ALTER TABLE child ADD COLUMN c bigint DEFAULT 1 REFERENCES parent CHECK (c > 0)'],
  [
    "ALTER TABLE child ADD COLUMN c uuid UNIQUE, ADD COLUMN d timestamptz DEFAULT '2026-01-01 00:00:00+00'",
  ],
  ['ALTER TABLE child ADD CONSTRAINT one UNIQUE NULLS NOT DISTINCT (b) INCLUDE (a)'],
  ['CREATE TABLE "async" (async int PRIMARY KEY); CREATE INDEX "I" ON "async" (async)'],
  ['TRUNCATE child'],
  [
    "SET lock_timeout = '1s'; CREATE TABLE t (id int, n text COLLATE \"C\" DEFAULT 'a') WITH (fillfactor = 50)",
  ],
  ['CREATE SEQUENCE s START 7 INCREMENT 2'],
  [
    'CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t (n) VALUES (5), (6)',
    {
      of: [
        "column t.id integer not null nextval('t_id_seq'::regclass)",
        'sequence t_id_seq integer 1 1 1',
      ],
      instead: ['column t.id bigint not null d', 'sequence t_id_seq bigint 1 1 1'],
    },
  ],
  [
    'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY, n int); INSERT INTO t (n) VALUES (5)',
    {
      of: ['column t.id integer not null a', 'sequence t_id_seq integer 10 1 1'],
      instead: ['column t.id bigint not null a', 'sequence t_id_seq bigint 10 1 1'],
    },
  ],
  [
    'ALTER TABLE child ADD COLUMN c int NOT NULL DEFAULT 3',
    {
      of: ['column child.c integer not null 3'],
      instead: [
        'column child.c integer 3',
        'constraint child child_c_not_null CHECK ((c IS NOT NULL))',
      ],
    },
  ],
  [
    'ALTER TABLE child ALTER b SET NOT NULL',
    {
      of: ['column child.b text not null'],
      instead: [
        'column child.b text ',
        'constraint child child_b_not_null CHECK ((b IS NOT NULL))',
      ],
    },
  ],
  ['ALTER TABLE child ALTER b SET NOT NULL; ALTER TABLE child ALTER b DROP NOT NULL'],
  ['ALTER TABLE child ALTER id SET NOT NULL'],
  [
    'ALTER TABLE child ALTER b SET NOT NULL; ALTER TABLE child ALTER b SET NOT NULL; ALTER TABLE child RENAME b TO c; ALTER TABLE child ALTER c SET NOT NULL',
    {
      of: ['column child.c text not null'],
      instead: [
        'column child.c text ',
        'constraint child child_b_not_null CHECK ((c IS NOT NULL))',
      ],
    },
  ],
  [
    'ALTER TABLE child ALTER b SET NOT NULL; ALTER TABLE child RENAME b TO "C d"; ALTER TABLE child ALTER "C d" DROP NOT NULL; ALTER TABLE child ALTER "C d" DROP NOT NULL',
  ],
  [
    'ALTER TABLE child ADD CONSTRAINT own CHECK (b IS NOT NULL); ALTER TABLE child ALTER b DROP NOT NULL',
  ],
]

const caseOf = (sql: string, { of = [], instead = [] }: Difference = {}) => ({ sql, of, instead })

it.each(CASES.map(([sql, difference]) => caseOf(sql, difference)))(
  'makes on Aurora DSQL what PostgreSQL makes of: $sql',
  async ({ sql, of, instead }) => {
    const original = await contentAfter(await databases().schema('postgres'), sql)
    const rewritten = await contentAfter(await databases().schema('aurora-dsql'), sql)
    expect(original).toEqual(expect.arrayContaining([...of]))
    const expected = [...original.filter((line) => !of.includes(line)), ...instead]
    expect(new Set(rewritten)).toEqual(new Set(expected))
  },
)
