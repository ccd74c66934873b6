/** A database that is not PostgreSQL: rows in memory, queried with SQL. `npm run example gateway/memory` */
import {
  bindComplete,
  closeComplete,
  commandComplete,
  dataRow,
  type FieldDescription,
  type FieldValue,
  handleConnection,
  noData,
  Oid,
  parameterDescription,
  parseComplete,
  readFrontendMessage,
  readyForQuery,
  rowDescription,
} from 'pg-iam/gateway'
import { type ExampleServer, listen } from './server.js'

const FIELDS: readonly FieldDescription[] = [
  { name: 'id', type: Oid.int4 },
  { name: 'name', type: Oid.text },
]
const ROWS: readonly (readonly FieldValue[])[] = [
  [1, 'Ada'],
  [2, 'Ben'],
]

/** Answers `SELECT * FROM people`, with `WHERE id = ...` or `$1`, in the simple and the extended protocol. */
export async function start(): Promise<ExampleServer> {
  return listen((socket) => {
    let sql = ''
    let values: readonly (Buffer | null)[] = []
    handleConnection(socket, {
      serverVersion: '17.0 (in memory)',
      onMessage(bytes) {
        const message = readFrontendMessage(bytes)
        switch (message.type) {
          case 'query':
            return Buffer.concat([
              rowDescription(FIELDS),
              ...select(message.sql, []),
              readyForQuery('I'),
            ])
          case 'parse':
            ;({ sql } = message)
            return parseComplete()
          case 'bind':
            ;({ values } = message)
            return bindComplete()
          case 'describe': {
            const parameters = sql.includes('$1') ? [Oid.int4] : []
            const described = message.of === 'statement' ? [parameterDescription(parameters)] : []
            return Buffer.concat([...described, isSelect(sql) ? rowDescription(FIELDS) : noData()])
          }
          case 'execute':
            return Buffer.concat(select(sql, values))
          case 'close':
            return closeComplete()
          default:
            return undefined
        }
      },
    })
  })
}

function isSelect(sql: string): boolean {
  return /^\s*select \* from people(\s+where id = (\$1|\d+))?\s*;?\s*$/i.test(sql)
}

function select(sql: string, values: readonly (Buffer | null)[]): Buffer[] {
  if (!isSelect(sql))
    throw Object.assign(new Error('only SELECT * FROM people is supported'), { code: '0A000' })
  const [, wanted] = /where id = (\$1|\d+)/i.exec(sql) ?? []
  const id = wanted === '$1' ? Number(values[0]?.toString()) : Number(wanted)
  const rows = wanted === undefined ? ROWS : ROWS.filter((row) => row[0] === id)
  return [...rows.map((row) => dataRow(row)), commandComplete(`SELECT ${rows.length}`)]
}
