/** The programs of Debian's packages that this tier runs. Nothing is installed: what is missing is named with the command to type. */
import { existsSync, readdirSync } from 'node:fs'

const PACKAGES: Readonly<Record<string, string>> = {
  '/usr/bin/psql': 'postgresql-client',
  '/usr/bin/pg_dump': 'postgresql-client',
  '/usr/bin/pg_restore': 'postgresql-client',
  '/usr/bin/pgbench': 'postgresql',
  '/usr/bin/pgcli': 'pgcli',
  '/usr/bin/javac': 'default-jdk-headless',
  '/usr/bin/java': 'default-jdk-headless',
  '/usr/share/java/postgresql.jar': 'libpostgresql-jdbc-java',
  '/usr/lib/python3/dist-packages/psycopg': 'python3-psycopg',
  '/usr/lib/python3/dist-packages/psycopg2': 'python3-psycopg2',
  '/usr/lib/python3/dist-packages/asyncpg': 'python3-asyncpg',
  '/usr/sbin/pgbouncer': 'pgbouncer',
}

/** Throws if one of the paths is missing. */
export function requirePrograms(...paths: readonly (keyof typeof PACKAGES)[]): void {
  for (const path of paths)
    if (!existsSync(path))
      throw new Error(`${path} is missing. Run: apt-get install ${PACKAGES[path]}`)
}

/** Has gateways of this process start the server of Debian's packages: pg_dump refuses one that is newer than itself. */
export function usePostgresOfPgDump(): void {
  const [newest = ''] = readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a))
  process.env['PG_BINDIR'] = `/usr/lib/postgresql/${newest}/bin`
}
