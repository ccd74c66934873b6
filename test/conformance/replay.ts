/** Replays what a real Aurora DSQL cluster answered (`record/`, see its README.md), and compares the answers of a gateway. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, type ClientConfig, Query, type QueryArrayResult } from 'pg'

interface Answer {
  readonly command_tag?: string
  readonly columns?: readonly string[] | null
  readonly rows?: readonly (readonly string[])[] | null
}

interface Observation extends Answer {
  readonly outcome: 'ok' | 'error'
  readonly sqlstate?: string
  readonly message?: string
  /** The answer of each statement, for a step with several. */
  readonly results?: readonly Answer[]
}

interface RecordedCase {
  readonly seq: number
  readonly name: string
  readonly steps: readonly string[] | null
  readonly observations?: readonly Observation[]
  readonly session_steps?: readonly (readonly string[])[]
  readonly sessions?: readonly (readonly Observation[] | { observations: readonly Observation[] })[]
  readonly ignore_rows?: boolean
  readonly simple_protocol?: boolean
  readonly conflict_race?: boolean
  readonly known_gap?: unknown
  readonly file?: string
}

export interface ReplayedCase {
  readonly seq: number
  readonly name: string
  /** Whether it is compared only for information: the emulator of the record's source does not reproduce it either. */
  readonly isGap: boolean
  /** Why the answers differ, by the rules of the record's README. Empty if they are the same. */
  readonly differences: readonly string[]
  /** Texts of errors that differ. They are not part of the comparison. */
  readonly texts: readonly string[]
}

/** Reads the cases in their order, and the statements before and after them. */
export function readRecord(folder: string): {
  cases: readonly RecordedCase[]
  setup: readonly string[]
  cleanup: readonly string[]
} {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
  const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const { setup, cleanup } = read('setup.json') as { setup: string[]; cleanup: string[] }
  const cases = files
    .filter((name) => name !== 'setup.json')
    .flatMap((name) => (read(name) as { cases: RecordedCase[] }).cases)
    .toSorted((one, other) => one.seq - other.seq)
  return { cases, setup, cleanup }
}

/** The time between two steps of a session, as in the recording: the statements of all sessions run before the first COMMIT. */
const STEP_MS = 150

/** @param connect the configuration of a client of the gateway's, of role `admin`; called for each connection */
export async function replay(
  record: ReturnType<typeof readRecord>,
  connect: () => Promise<ClientConfig> | ClientConfig,
  report: (replayed: ReplayedCase) => void = () => {},
): Promise<ReplayedCase[]> {
  const open = async (): Promise<Client> => {
    const client = new Client(await connect())
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const main = await open()
  const replayed: ReplayedCase[] = []
  try {
    for (const sql of record.setup) await main.query(sql)
    for (const each of record.cases) {
      const compared = each.session_steps
        ? await replaySessions(each, open)
        : await replaySteps(each, main)
      const one = { seq: each.seq, name: each.name, isGap: Boolean(each.known_gap), ...compared }
      replayed.push(one)
      report(one)
    }
    for (const sql of record.cleanup) await main.query(sql).catch(() => {})
  } finally {
    await main.end()
  }
  return replayed
}

type Compared = Pick<ReplayedCase, 'differences' | 'texts'>

async function replaySteps(each: RecordedCase, client: Client): Promise<Compared> {
  const given: Observation[] = []
  for (const sql of each.steps ?? [])
    given.push(await observe(client, sql, each.simple_protocol === true))
  await client.query('ROLLBACK')
  return compare(each, each.steps ?? [], each.observations ?? [], given)
}

async function replaySessions(each: RecordedCase, open: () => Promise<Client>): Promise<Compared> {
  const all = each.session_steps!
  const clients = await Promise.all(all.map(open))
  const given = await Promise.all(
    all.map(async (steps, index) => {
      const own: Observation[] = []
      for (const [place, sql] of steps.entries()) {
        if (place > 0) await delay(STEP_MS)
        own.push(await observe(clients[index]!, sql, false))
      }
      return own
    }),
  )
  await Promise.all(clients.map((client) => client.end()))
  const recorded = each.sessions!.map((one) => ('observations' in one ? one.observations : one))
  const isRace = each.conflict_race === true
  const differences: string[] = []
  const texts: string[] = []
  for (const [index, steps] of all.entries()) {
    const end = isRace ? steps.length - 1 : steps.length
    const one = compare(each, steps.slice(0, end), recorded[index]!, given[index]!.slice(0, end))
    differences.push(...one.differences)
    texts.push(...one.texts)
  }
  if (isRace) {
    // Who loses is not determined, only how many do.
    const codes = (from: readonly (readonly Observation[])[]): string =>
      from
        .flatMap((one) => one.at(-1)?.sqlstate ?? [])
        .toSorted()
        .join(', ')
    if (codes(recorded) !== codes(given))
      differences.push(`COMMITs: recorded [${codes(recorded)}], got [${codes(given)}]`)
  }
  return { differences, texts }
}

/** A query of pg that keeps the whole command tags, of which pg's results have the first word only. */
class TaggedQuery extends Query {
  readonly tags: string[] = []
  handleCommandComplete(message: { text: string }, connection: unknown): void {
    this.tags.push(message.text)
    const { handleCommandComplete } = Query.prototype as unknown as {
      handleCommandComplete(this: Query, message: unknown, connection: unknown): void
    }
    handleCommandComplete.call(this, message, connection)
  }
}

/** Extended protocol, as in the recording, unless the step has several statements. */
async function observe(client: Client, sql: string, isSimple: boolean): Promise<Observation> {
  const config = {
    text: sql,
    rowMode: 'array',
    types: { getTypeParser: () => (value: unknown) => value as string },
    ...(isSimple ? {} : { queryMode: 'extended' }),
  }
  return new Promise((resolve) => {
    const asked = new TaggedQuery(
      config as never,
      ((
        error: { code?: string; message: string } | null,
        answer: QueryArrayResult | QueryArrayResult[],
      ) => {
        if (error) {
          const { code = '', message } = error
          resolve({ outcome: 'error', sqlstate: code, message })
          return
        }
        const answers = [answer].flat().map((each, index) => answerOf(each, asked.tags[index]))
        resolve({ outcome: 'ok', ...(isSimple ? { results: answers } : answers[0]) })
      }) as never,
    )
    client.query(asked as never)
  })
}

function answerOf({ fields, rows }: QueryArrayResult, tag: string | undefined): Answer {
  return {
    command_tag: tag ?? '',
    columns: fields.map(({ name }) => name),
    rows: rows.map((row: unknown[]) =>
      row.map((value, index) => goText(value as string | null, fields[index]!.dataTypeID)),
    ),
  }
}

/** The text that the recording's client, pgx, makes of a value. */
function goText(value: string | null, type: number): string {
  if (value === null) return 'NULL'
  switch (type) {
    case TYPES.bool:
      return value === 't' ? 'true' : 'false'
    case TYPES.uuid:
      return `[${[...Buffer.from(value.replaceAll('-', ''), 'hex')].join(' ')}]`
    case TYPES.inet:
      return value.includes('/') ? value : `${value}/32`
    case TYPES.record:
      return `[${value.slice(1, -1).replaceAll(',', ' ')}]`
    case TYPES.intArray:
      return `[${value.slice(1, -1).replaceAll(',', ' ')}]`
    default:
      return value
  }
}

const TYPES = { bool: 16, uuid: 2950, inet: 869, record: 2249, intArray: 1007 } as const

function compare(
  { ignore_rows }: RecordedCase,
  steps: readonly string[],
  recorded: readonly Observation[],
  given: readonly Observation[],
): Compared {
  const differences: string[] = []
  const texts: string[] = []
  for (const [index, sql] of steps.entries()) {
    const one = recorded[index]!
    const other = given[index]!
    const differ = (what: string, was: unknown, is: unknown): void => {
      const [then, now] = [JSON.stringify(was ?? null), JSON.stringify(is ?? null)]
      if (then !== now) differences.push(`${sql}: ${what}: recorded ${then}, got ${now}`)
    }
    differ('outcome', one.outcome, other.outcome)
    if (one.outcome !== other.outcome) {
      texts.push(`recorded ${one.message ?? 'ok'}, got ${other.message ?? 'ok'}`)
      continue
    }
    differ('SQLSTATE', one.sqlstate, other.sqlstate)
    if (one.message !== other.message)
      texts.push(`recorded "${one.message}", got "${other.message}"`)
    const answers: [Answer, Answer | undefined][] = one.results
      ? one.results.map((answer, place) => [answer, other.results?.[place]])
      : one.outcome === 'ok'
        ? [[one, other]]
        : []
    for (const [was, is] of answers) {
      const isWaived = ignore_rows === true
      if (!isWaived || !was.command_tag?.startsWith('SELECT '))
        differ('tag', was.command_tag, is?.command_tag)
      differ('columns', was.columns ?? [], is?.columns ?? [])
      if (!isWaived) differ('rows', was.rows ?? [], is?.rows ?? [])
    }
  }
  return { differences, texts }
}
