/** The privileges of the roles on a PostgreSQL server that the gateway starts, on each available version. */
import type { Client } from 'pg'
import { SILENT } from '../../../../core/events.js'
import {
  findPostgres,
  packageDirectory,
  serverUser,
  systemDirectories,
} from '../../../../gateway/engines/postgres/postgres-programs.js'
import { type Gateway, startGateway } from '../../../../gateway/index.js'
import { eventually } from '../../../support/eventually.js'
import { pgSettings, withClient } from '../checks/gateway-clients.js'

/** Before PostgreSQL 16, CREATEROLE can grant nearly every role. Debian 12 has version 15. */
const SOURCES = ['the package', 'the system or the package'] as const

describe.each(SOURCES)('the PostgreSQL server of %s', (source) => {
  let gateway: Gateway

  beforeAll(async () => {
    const found = await findPostgres({
      user: await serverUser(),
      scratchDirectory: '/nowhere',
      logger: SILENT,
      chosen: '',
      places: {
        package: source === 'the package' ? packageDirectory() : undefined,
        system: await systemDirectories(),
      },
    })
    const before = process.env['PG_BINDIR']
    if (found !== undefined) process.env['PG_BINDIR'] = found.directory
    try {
      gateway = await startGateway({
        sql: 'postgres',
        engine: 'postgres',
        roles: ['app', 'other'],
        database: 'shop',
      })
    } finally {
      if (before === undefined) delete process.env['PG_BINDIR']
      else process.env['PG_BINDIR'] = before
    }
  })
  afterAll(() => gateway?.close())

  const run = (user: string, ...statements: string[]): Promise<unknown[]> =>
    withClient(
      gateway,
      async (client) => {
        let rows: unknown[] = []
        for (const statement of statements) rows = (await client.query<object>(statement)).rows
        return rows
      },
      pgSettings(gateway, user),
    )

  it('has no superuser among its roles, which can all log in', async () => {
    for (const user of ['admin', 'app', 'other'])
      expect(
        await run(
          user,
          `select rolsuper, rolreplication, rolbypassrls from pg_roles where rolname = current_user`,
        ),
      ).toEqual([{ rolsuper: false, rolreplication: false, rolbypassrls: false }])
  })

  it('allows the role of an application to create its objects', async () => {
    await run(
      'app',
      'create schema own',
      'create table own.item (id serial primary key, body jsonb)',
      'create table public.note (id uuid primary key default gen_random_uuid())',
      "create type mood as enum ('ok')",
      `create function twice(int) returns int language sql as 'select $1 * 2'`,
      `create function thrice(int) returns int language plpgsql as 'begin return $1 * 3; end'`,
      'create materialized view seen as select * from own.item',
      'create temporary table passing (id int)',
      'create extension pgcrypto',
      'create extension "uuid-ossp" schema own',
      'create extension citext',
      'drop extension citext',
      'drop schema own cascade',
    )
    expect(
      await run('app', 'select pg_advisory_lock(7)', 'select pg_advisory_unlock(7) as was'),
    ).toEqual([{ was: true }])
  })

  it('delivers notifications between sessions', () =>
    withClient(gateway, async (listener) => {
      const heard: unknown[] = []
      listener.on('notification', ({ payload }) => heard.push(payload))
      await listener.query('listen news')
      await run('app', `notify news, 'hello'`)
      await eventually('the notification', async () => heard.length > 0)
      expect(heard).toEqual(['hello'])
    }))

  it('is owned by admin, which can create and drop roles', async () => {
    expect(
      await run(
        'admin',
        `select pg_get_userbyid(datdba) as owner from pg_database where datname = current_database()`,
      ),
    ).toEqual([{ owner: 'admin' }])
    await run(
      'admin',
      'create role reader login',
      'create schema of_admin',
      'create table of_admin.t (i int)',
      'grant usage on schema of_admin to reader',
      'grant reader to app',
      'revoke usage on schema of_admin from reader',
      'drop role reader',
      'alter default privileges in schema of_admin grant select on tables to app',
      "comment on database shop is 'mine'",
    )
  })

  it('denies a role access to the data of other roles', async () => {
    await run('app', 'create table of_app (i int)')
    await expect(run('other', 'select * from of_app')).rejects.toMatchObject({ code: '42501' })
  })

  it('ends a statement that another session cancels', () =>
    withClient(gateway, async (client) => {
      const { processID } = client as Client & { processID: number }
      const sleeping = client.query('select pg_sleep(60)').catch((error: unknown) => error)
      const asked = `select 1 from pg_stat_activity where pid = ${processID} and wait_event = 'PgSleep'`
      await eventually('the statement to run', async () => (await run('app', asked)).length === 1)
      await run('app', `select pg_cancel_backend(${processID})`)
      expect(await sleeping).toMatchObject({ code: '57014' })
    }))

  it.each(['app', 'admin'])('denies %s what a cloud database denies', (user) =>
    withClient(
      gateway,
      async (client) => {
        for (const statement of REFUSED) {
          const answer: unknown = await client.query(statement).catch(({ code }) => code as string)
          // Not allowed, or it does not exist.
          expect([statement, answer]).toEqual([
            statement,
            expect.stringMatching(/^(42501|42704|0A000|58P01)$/),
          ])
        }
      },
      pgSettings(gateway, user),
    ),
  )

  it('runs no code of clients as superuser during a login', async () => {
    await run(
      'app',
      `create function public.pwn(oid, int) returns boolean language plpgsql as $$ begin
         if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then execute 'alter role app superuser'; end if;
         return false; end $$`,
      'create operator public.<> (leftarg = oid, rightarg = int4, function = public.pwn)',
      `alter role app set work_mem = '5MB'`,
    )
    expect(await run('app', 'show is_superuser')).toEqual([{ is_superuser: 'off' }])
    expect(await run('app', 'show work_mem')).toEqual([{ work_mem: '5MB' }])
  })

  it('keeps a temporary table with the name of another table within its session', () =>
    withClient(
      gateway,
      async (client) => {
        await client.query('create table public.accounts (of_all int)')
        await client.query('create table accounts (mine int)')
        expect(await run('app', 'select * from accounts')).toEqual([])
        await run('app', 'select of_all from accounts')
      },
      { options: '-c search_path=pg_temp' },
    ))
})

const REFUSED: readonly string[] = [
  `copy (select 1) to program 'cat'`,
  `copy (select 1) to '/tmp/pg-iam-never'`,
  `create table loaded (t text); copy loaded from '/etc/passwd'`,
  `select pg_read_file('/etc/passwd')`,
  `select pg_read_binary_file('postgresql.conf')`,
  `select pg_ls_dir('.')`,
  `select pg_stat_file('PG_VERSION')`,
  `select lo_import('/etc/passwd')`,
  `select lo_export(1, '/tmp/pg-iam-never')`,
  `alter system set fsync = on`,
  `alter role current_user superuser`,
  `alter role pgiam_superuser rename to mine`,
  `alter role pgiam_superuser password 'mine'`,
  `set session authorization pgiam_superuser`,
  `set role pgiam_superuser`,
  `grant pgiam_superuser to current_user`,
  `create role mighty superuser`,
  `create role copying replication`,
  `create extension file_fdw`,
  `create extension dblink`,
  `create extension adminpack`,
  `create function run(text) returns int language c as 'libc', 'system'`,
  `create function py() returns int language plpython3u as 'return 1'`,
  `load 'dblink'`,
  `create tablespace outside location '/tmp'`,
  `create subscription s connection 'host=/tmp' publication p`,
  `create event trigger e on ddl_command_start execute function suppress_redundant_updates_trigger()`,
  `select pg_reload_conf()`,
  `set allow_system_table_mods = on`,
  `update pg_catalog.pg_authid set rolsuper = true`,
  `select rolpassword from pg_catalog.pg_authid`,
  ...['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'].map(
    (role) => `grant ${role} to current_user`,
  ),
]
