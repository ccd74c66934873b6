/** `pg-iam migrate` as a process, killed as one, and the programs and commands of docs/migrations.md. */
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createPool } from '../../../adapters/pg.js'
import { type Ended, runCommand, startCommand } from '../../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  RDS_HOST,
  startDatabases,
} from '../../cli/support/databases.js'
import { codeBlocks } from '../../support/readme/code-blocks.js'

const run = promisify(execFile)
const root = join(__dirname, '../../..')
const URL_OF_ADMIN = `postgres://admin@${DSQL_HOST}/postgres`
let databases: CommandDatabases
let pool: ReturnType<typeof createPool>

beforeAll(async () => {
  databases = await startDatabases()
  pool = createPool(databases.gateway.login({ user: 'admin' }))
})
afterAll(async () => {
  await pool?.end()
  await databases?.close()
})
beforeEach(async () => {
  await pool.query('DROP SCHEMA IF EXISTS public CASCADE')
  await pool.query('CREATE SCHEMA public')
})

/** A folder with migrations, by the names of the files. */
function folderWith(files: Readonly<Record<string, string>>, name = 'migrations'): string {
  const folder = mkdtempSync(join(databases.folder, 'own-'))
  mkdirSync(join(folder, name, 'meta'), { recursive: true })
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, name, file), text)
  return folder
}

const migrate = (folder: string, ...args: readonly string[]): Promise<Ended> =>
  runCommand(['migrate', ...args], { cwd: folder, env: databases.env })

const FILES = {
  '0001_item.sql': `CREATE TABLE item (id serial PRIMARY KEY, name text);
CREATE INDEX item_name ON item USING btree (name);
INSERT INTO item (name) VALUES ('a');
`,
  '0001_item.down.sql': 'DROP TABLE item;',
  '0002_price.sql': 'ALTER TABLE item ADD COLUMN price int DEFAULT 5;',
  '0002_price.down.sql': 'ALTER TABLE item DROP COLUMN price;',
}

describe('pg-iam migrate', () => {
  it('says what is pending, prints what would run, runs it, and undoes it', async () => {
    const folder = folderWith(FILES)
    expect(await migrate(folder, 'status', URL_OF_ADMIN)).toMatchObject({
      ...{ code: 0, stdout: '0001_item   pending\n0002_price  pending\n', stderr: '' },
    })
    const dry = await migrate(folder, 'up', URL_OF_ADMIN, '--dry-run')
    expect(dry.stdout).toContain('CREATE INDEX ASYNC item_name ON item (name);\n')
    expect(await migrate(folder, 'up', URL_OF_ADMIN)).toMatchObject({
      ...{ code: 0, stdout: '' },
      stderr: expect.stringMatching(
        /^pg-iam: applied 0001_item\n.*\npg-iam: applied 0002_price\n$/,
      ),
    })
    expect((await pool.query('SELECT name, price FROM item')).rows).toEqual([
      { name: 'a', price: 5 },
    ])
    const status = await migrate(folder, 'status', URL_OF_ADMIN, '--json')
    expect(JSON.parse(status.stdout)).toEqual(
      ['0001_item', '0002_price'].map((name) => ({
        ...{ name, state: 'applied', appliedAt: expect.stringMatching(/^\d{4}-/) },
      })),
    )
    expect((await migrate(folder, 'down', URL_OF_ADMIN, '--steps', '2')).stderr).toBe(
      'pg-iam: undid 0002_price\npg-iam: undid 0001_item\n',
    )
    expect((await migrate(folder, 'up', URL_OF_ADMIN, '--to', '0001_item')).code).toBe(0)
  })

  it('runs the same files on PostgreSQL as they are written', async () => {
    const folder = folderWith(FILES)
    const { code, stderr } = await migrate(folder, 'up', `postgres://admin@${RDS_HOST}/postgres`)
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'pg-iam: applied 0001_item\npg-iam: applied 0002_price\n',
    })
    const { rows } = await pool.query(
      "SELECT pg_catalog.format_type(atttypid, NULL) AS type FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'id'",
    )
    expect(rows).toEqual([{ type: 'integer' }])
  })

  it('is completed by the next one when it was killed at any statement', async () => {
    const names = Array.from({ length: 6 }, (_, index) => `t${index}`)
    const folder = folderWith({
      '0001_six.sql': names
        .map((name) => `CREATE TABLE ${name} (id int);\nINSERT INTO ${name} VALUES (1);`)
        .join('\n'),
    })
    for (const [index, name] of names.entries()) {
      await pool.query('DROP SCHEMA public CASCADE')
      await pool.query('CREATE SCHEMA public')
      // It is killed as soon as the table is there: in its row of the ledger, or in the next statement.
      const doomed = startCommand(['migrate', 'up', URL_OF_ADMIN, '--verbose', '--lease', '1'], {
        ...{ cwd: folder, env: databases.env },
      })
      for (;;) {
        const { rows } = await pool.query<{ found: boolean }>(
          'SELECT to_regclass($1) IS NOT NULL AS found',
          [`public.${name}`],
        )
        if (rows[0]?.found === true) break
      }
      doomed.child.kill('SIGKILL')
      await doomed.ended
      const { code, stderr } = await migrate(folder, 'up', URL_OF_ADMIN, '--lease', '1')
      expect({ index, code, stderr }).toMatchObject({ index, code: 0 })
      const counts = await Promise.all(
        names.map(async (each) => (await pool.query(`SELECT * FROM ${each}`)).rowCount),
      )
      expect({ index, counts }).toEqual({ index, counts: names.map(() => 1) })
    }
  })

  it('lets two processes race: both succeed, and one of them migrates', async () => {
    const folder = folderWith(FILES)
    const both = await Promise.all([1, 2].map(() => migrate(folder, 'up', URL_OF_ADMIN)))
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    expect(
      both
        .map(({ stderr }) => stderr)
        .join('')
        .match(/applied/g),
    ).toHaveLength(2)
  })

  it('lists in lint what Aurora DSQL refuses, and fails only for what it cannot rewrite', async () => {
    const fine = await migrate(folderWith(FILES), 'lint')
    expect(fine.code).toBe(0)
    expect(fine.stdout).toContain(
      '0001_item.sql:1:23: rewritten: type "serial" does not exist (serial)\n',
    )
    const folder = folderWith({ '0001_a.sql': 'SELECT 1;\nCREATE TABLE t (a int[]);' })
    const { code, stdout } = await migrate(folder, 'lint')
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: `0001_a.sql:2:19: ERROR: datatype integer[] not supported (array-column)
    Use a table with one row for each element, or jsonb.\n`,
    })
    const json = await migrate(folder, 'lint', '--json')
    expect(JSON.parse(json.stdout)).toMatchObject([{ file: '0001_a.sql', line: 2, fixable: false }])
  })

  it('names the file, the line and the remedy of what it cannot run', async () => {
    const folder = folderWith({
      '0001_a.sql': 'CREATE TABLE a (id int);\nCREATE TABLE t (a int[]);',
    })
    expect(await migrate(folder, 'up', URL_OF_ADMIN)).toMatchObject({
      code: 1,
      stderr:
        'pg-iam: error: the migration "0001_a", line 2: datatype integer[] not supported (array-column). Use a table with one row for each element, or jsonb.\n',
    })
  })

  it('runs a folder of drizzle-kit in the order of its journal', async () => {
    const folder = folderWith({
      'b_first.sql':
        'CREATE TABLE "one" ("id" serial PRIMARY KEY NOT NULL);\n--> statement-breakpoint\nCREATE INDEX "i" ON "one" USING btree ("id");',
      'a_second.sql': 'ALTER TABLE "one" ADD COLUMN "n" text;',
      'meta/_journal.json': JSON.stringify({
        version: '7',
        dialect: 'postgresql',
        entries: [
          { idx: 0, version: '7', when: 1, tag: 'b_first', breakpoints: true },
          { idx: 1, version: '7', when: 2, tag: 'a_second', breakpoints: true },
        ],
      }),
    })
    const { code, stderr } = await migrate(folder, 'up', URL_OF_ADMIN)
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'pg-iam: applied b_first\npg-iam: applied a_second\n',
    })
  })

  it.each([
    [['migrate'], 'an action must be given'],
    [['migrate', 'upp'], '"upp" is no action of migrate'],
    [['migrate', 'status', '--steps', '2'], '"--steps" does not belong to migrate status'],
    [['migrate', 'resolve', '0001_item'], 'either "--done" or "--not-done" must be given'],
    [['migrate', 'up', '--dir', 'nowhere'], 'could not read'],
  ])('ends with 2 for %j', async (args, message) => {
    const { code, stderr } = await runCommand(args, { cwd: folderWith(FILES), env: databases.env })
    expect(code).toBe(2)
    expect(stderr).toContain(`pg-iam: error: ${message}`)
  })

  it.each([
    ['item.sql', 'is no name of a migration'],
    ['0001_other.sql', 'have the same number'],
    ['0003_x.down.sql', 'undoes no migration'],
  ])('refuses a folder with %s', async (file, message) => {
    const { code, stderr } = await migrate(folderWith({ ...FILES, [file]: 'SELECT 1' }), 'lint')
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe('docs/migrations.md', () => {
  const page = readFileSync(join(root, 'docs/migrations.md'), 'utf8')

  it('has programs and commands that run as they stand', async () => {
    const folder = join(root, 'build', 'migrations')
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(join(folder, 'migrations'), { recursive: true })
    for (const [file, text] of Object.entries(FILES))
      writeFileSync(join(folder, 'migrations', file), text)
    writeFileSync(
      join(folder, 'npx'),
      `#!/bin/sh\nshift\nexec ${process.execPath} ${join(root, 'dist/cli/main.js')} "$@"\n`,
    )
    chmodSync(join(folder, 'npx'), 0o755)
    const env = {
      ...databases.env,
      NODE_EXTRA_CA_CERTS: databases.env['PGSSLROOTCERT'],
      HOME: process.env['HOME'],
      PATH: `${folder}:${process.env['PATH'] ?? ''}`,
    }
    const blocks = codeBlocks(page, 'ts')
    for (const [index, { code }] of blocks.entries()) {
      const file = join(folder, `program-${index}.mjs`)
      writeFileSync(file, code)
      const { stdout } = await run(process.execPath, [file], { cwd: folder, env })
      // What a program prints is in its last comments.
      for (const [, printed = ''] of code.matchAll(/^\/\/ (.*)$/gm))
        expect(stdout).toContain(`${printed}\n`)
    }
    const commands = codeBlocks(page, 'sh')
    expect([blocks.length, commands.length]).toEqual([2, 1])
    for (const { code } of commands) await run('bash', ['-euc', code], { cwd: folder, env })
    expect((await pool.query('SELECT name, price FROM item')).rows).toEqual([
      { name: 'a', price: 5 },
    ])
  })
})
