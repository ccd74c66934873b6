/**
 * Leaves out the settings that tools send to every PostgreSQL and that Aurora DSQL refuses: in the startup packet, in `SET` and in `RESET`,
 * also within a query of several statements. The client gets a warning for each, and the reply of the statement that was left out.
 *
 * In a simple query, the statement's text becomes spaces, so that the positions in errors stay right, and its CommandComplete is inserted
 * between the others. A prepared statement becomes an empty one, whose EmptyQueryResponse becomes the CommandComplete.
 */
import {
  commandComplete,
  createReplyTracker,
  noticeResponse,
  type SessionRewriter,
} from '../gateway/index.js'
import { isAllowedSetting, isDroppableSetting } from '../dsql/settings.js'
import { nameOf, type Statement, statementsIn } from '../core/sql.js'

/** Called with the name of each setting that was left out. */
export type Dropped = (setting: string) => void

// The startup packet.

/** The startup parameters without those that can be left out, also in `options`. */
export function withoutDroppedParameters(
  parameters: ReadonlyMap<string, string>,
  dropped: Dropped,
): ReadonlyMap<string, string> {
  const kept = new Map<string, string>()
  for (const [name, value] of parameters) {
    if (name === 'options') {
      const options = withoutDroppedOptions(value, dropped)
      if (options !== '') kept.set(name, options)
    } else if (isDropped(name, value)) dropped(name.toLowerCase())
    else kept.set(name, value)
  }
  return kept
}

/** `-c name=value` and `--name=value`, as PostgreSQL splits them: at white space that no backslash precedes. */
function withoutDroppedOptions(options: string, dropped: Dropped): string {
  const words = options.match(/(?:[^\s\\]|\\[\s\S]?)+/g) ?? []
  const kept: string[] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    const isSeparate = word === '-c' && index + 1 < words.length
    const assignment = isSeparate ? words[index + 1]! : word.replace(/^(?:-c|--)/, '')
    const isAssignment = isSeparate || assignment !== word
    const [, name = '', value = ''] = /^([^=]+)=([\s\S]*)$/.exec(assignment) ?? []
    const setting = name.replaceAll('-', '_')
    const taken = isSeparate ? words.slice(index, index + 2) : [word]
    if (isSeparate) index++
    if (isAssignment && isDropped(setting, value.replaceAll(/\\([\s\S])/g, '$1')))
      dropped(setting.toLowerCase())
    else kept.push(...taken)
  }
  return kept.join(' ')
}

function isDropped(name: string, value: string | undefined): boolean {
  return !isAllowedSetting(name) && isDroppableSetting(name, value)
}

// Statements.

interface DroppedStatement {
  readonly tag: 'SET' | 'RESET'
  readonly setting: string
}

/** The setting that a statement only sets or resets, if it can be left out. */
function droppedStatement({ tokens, text }: Statement): DroppedStatement | undefined {
  const [verb, ...rest] = tokens
  if (verb !== 'SET' && verb !== 'RESET') return undefined
  const isScoped = verb === 'SET' && (rest[0] === 'SESSION' || rest[0] === 'LOCAL')
  const words = isScoped ? rest.slice(1) : rest
  const [name, sign] = words
  if (verb === 'RESET')
    return words.length === 1 && isDropped(nameOf(name), undefined)
      ? { tag: 'RESET', setting: nameOf(name) }
      : undefined
  // `SET XML OPTION` and the like have no sign.
  if (sign !== '=' && sign !== 'TO') return undefined
  const value = valueIn(text)
  const setting = nameOf(name)
  return isDropped(setting, /^default$/i.test(value) ? undefined : value)
    ? { tag: 'SET', setting }
    : undefined
}

/** The lexer has no token for a string literal, so it is read from the text: a word, a number or a literal, and no list of them. */
function valueIn(text: string): string {
  const [, given = ''] = /(?:=|\bto\b)\s*('(?:[^']|'')*'|[\w.+-]+)\s*$/i.exec(text) ?? []
  return given.startsWith("'") ? given.slice(1, -1).replaceAll("''", "'") : given
}

/** `SET` as the first word of a statement: at the start, or after a semicolon, a comment or a line. */
const MAY_SET = /(?:^|[;/\n\r])\s*(?:re)?set\b/i
/** More than any `SET` of a tool has. */
const MAX_TOKENS = 20

/** What to send to the client for one statement of a query. */
type Reply = 'engine' | DroppedStatement

interface RewrittenSql {
  readonly sql: string
  readonly replies: readonly Reply[]
}

function rewrittenSql(sql: string): RewrittenSql | undefined {
  if (!MAY_SET.test(sql)) return undefined
  const replies: Reply[] = []
  let rewritten = ''
  let done = 0
  for (const statement of statementsIn(sql, MAX_TOKENS)) {
    const dropped = droppedStatement(statement)
    replies.push(dropped ?? 'engine')
    if (dropped === undefined) continue
    const { start, end } = statement
    rewritten += sql.slice(done, start) + ' '.repeat(end - start)
    done = end
  }
  return done === 0 ? undefined : { sql: rewritten + sql.slice(done), replies }
}

// Messages.

const Client = { query: 0x51, parse: 0x50, bind: 0x42, execute: 0x45, close: 0x43 } as const
const ENDS_REQUEST: ReadonlySet<number> = new Set([0x51, 0x53, 0x46])
const Server = {
  commandComplete: 0x43,
  emptyQuery: 0x49,
  portalSuspended: 0x73,
  error: 0x45,
  notice: 0x4e,
  parameterStatus: 0x53,
  notification: 0x41,
} as const
const FAILED = 0x45
const HEADER_BYTES = 5

/** What to insert into the replies to one request. */
interface Plan {
  /** The index of the request, counted by ReadyForQuery messages. */
  readonly request: number
  /** For a simple query: what its statements are answered with, in order. */
  readonly replies?: Reply[]
  /** For an Execute: how many results of its request precede it, and what it is answered with. */
  readonly results: number
  readonly dropped?: DroppedStatement
}

export interface SettingsDropper extends SessionRewriter {
  /** As of the last reply. */
  readonly transactionStatus: 'I' | 'T' | 'E'
}

/** Creates what rewrites the messages of one session. */
export function createSettingsDropper(dropped: Dropped): SettingsDropper {
  const statements = new Map<string, DroppedStatement>()
  const portals = new Map<string, DroppedStatement>()
  const plans: Plan[] = []
  // The first ReadyForQuery follows the startup packet.
  let requests = 1
  /** How many Executes were sent since the last request ended, and how many results came. */
  let executes = 0
  let results = 0
  let chunk: Buffer = NOTHING
  /** How much of the chunk was copied to `output`. */
  let copied = 0
  let output: Buffer[] | undefined
  let answered = 0

  const notice = ({ setting }: DroppedStatement): Buffer => {
    dropped(setting)
    const text = `pg-iam left out the setting "${setting}", which Aurora DSQL does not support`
    return noticeResponse(text, 'WARNING', '01000')
  }
  const answerTo = (one: DroppedStatement): Buffer =>
    Buffer.concat([notice(one), commandComplete(one.tag)])
  /** Takes the dropped statements that come next. */
  const nextDropped = (replies: Reply[]): Buffer[] => {
    const all: Buffer[] = []
    while (replies.length > 0 && replies[0] !== 'engine')
      all.push(answerTo(replies.shift() as DroppedStatement))
    return all
  }
  const tracker = createReplyTracker((type) => begun(type))
  /** Whether the server ignores statements, and would refuse those that are left out, too. */
  const hasFailed = (): boolean => tracker.transactionStatus === FAILED && answered === requests

  function toEngine(type: number, message: Buffer): Buffer {
    if (type === Client.query) {
      const rewritten = hasFailed() ? undefined : rewrittenSql(textAt(message, HEADER_BYTES))
      if (rewritten === undefined) return message
      plans.push({ request: requests, replies: [...rewritten.replies], results: executes })
      return encoded(type, `${rewritten.sql}\0`)
    }
    if (type === Client.parse) {
      const name = textAt(message, HEADER_BYTES)
      statements.delete(name)
      const start = HEADER_BYTES + name.length + 1
      const rewritten = hasFailed() ? undefined : rewrittenSql(textAt(message, start))
      const [only] = rewritten?.replies ?? []
      if (rewritten === undefined || rewritten.replies.length !== 1 || only === 'engine')
        return message
      keep(statements, name, only!)
      const end = start + rewritten.sql.length
      return encoded(type, `${name}\0${rewritten.sql}${message.toString('latin1', end)}`)
    }
    if (type === Client.bind && (statements.size > 0 || portals.size > 0)) {
      const portal = textAt(message, HEADER_BYTES)
      const statement = statements.get(textAt(message, HEADER_BYTES + portal.length + 1))
      portals.delete(portal)
      if (statement !== undefined) keep(portals, portal, statement)
    } else if (type === Client.execute) {
      const portal = portals.size === 0 ? undefined : portals.get(textAt(message, HEADER_BYTES))
      if (portal !== undefined)
        plans.push({ request: requests, results: executes, dropped: portal })
      executes++
    } else if (type === Client.close && (statements.size > 0 || portals.size > 0)) {
      const names = message[HEADER_BYTES] === 0x53 ? statements : portals
      names.delete(textAt(message, HEADER_BYTES + 1))
    }
    return message
  }
  /** Decides on the reply that begins at this place of the chunk. */
  function begun(type: number): void {
    const [plan] = plans
    if (type === 0x5a) {
      if (plan?.request === answered) insertBefore(...nextDropped(plan.replies ?? []))
      answered++
      results = 0
      while (plans.length > 0 && plans[0]!.request < answered) plans.shift()
      return
    }
    const isResult =
      type === Server.commandComplete ||
      type === Server.emptyQuery ||
      type === Server.portalSuspended
    if (plan === undefined || plan.request !== answered) {
      if (isResult) results++
      return
    }
    if (type === Server.error) {
      // Nothing more of this request was executed.
      while (plans[0]?.request === answered) plans.shift()
      return
    }
    if (type === Server.notice || type === Server.parameterStatus || type === Server.notification)
      return
    if (plan.dropped !== undefined) {
      if (!isResult) return
      if (results++ !== plan.results) return
      plans.shift()
      if (type === Server.emptyQuery) replaceBy(answerTo(plan.dropped))
      return
    }
    if (results < plan.results) {
      if (isResult) results++
      return
    }
    const replies = plan.replies!
    insertBefore(...nextDropped(replies))
    if (!isResult) return
    if (type === Server.emptyQuery) replaceBy(NOTHING)
    else replies.shift()
  }

  // The edits of a chunk. Plans are only for replies that have not begun, so their headers are never split: see `toClient`.
  let place = 0
  let isReplaced = false
  function insertBefore(...messages: Buffer[]): void {
    if (messages.length === 0) return
    output ??= []
    output.push(chunk.subarray(copied, place), ...messages)
    copied = place
  }
  function replaceBy(message: Buffer): void {
    insertBefore(message)
    output ??= []
    isReplaced = true
  }
  let held: Buffer = NOTHING
  /** The bytes of the current message that are still to come. */
  let bodyLeft = 0

  function edited(bytes: Buffer): Buffer {
    chunk = held.length === 0 ? bytes : Buffer.concat([held, bytes])
    held = NOTHING
    copied = 0
    output = undefined
    let offset = Math.min(bodyLeft, chunk.length)
    bodyLeft -= offset
    tracker.push(chunk.subarray(0, offset))
    while (offset < chunk.length) {
      if (chunk.length - offset < HEADER_BYTES) {
        held = chunk.subarray(offset)
        break
      }
      place = offset
      isReplaced = false
      const length = 1 + chunk.readInt32BE(offset + 1)
      const end = Math.min(offset + length, chunk.length)
      bodyLeft = offset + length - end
      tracker.push(chunk.subarray(offset, end))
      offset = end
      // What is replaced is an EmptyQueryResponse, which is whole: it has no body.
      if (isReplaced) copied = end
    }
    const until = chunk.length - held.length
    const rest = chunk.subarray(copied, until)
    return output === undefined ? rest : Buffer.concat([...output, rest])
  }

  return {
    toEngine(messages) {
      let changed: Buffer[] | undefined
      for (let start = 0, end = 0; start < messages.length; start = end) {
        const type = messages[start]!
        end = start + 1 + messages.readInt32BE(start + 1)
        const bytes = messages.subarray(start, end)
        const passed = LOOKED_AT.has(type) ? toEngine(type, bytes) : bytes
        if (passed !== bytes) changed ??= [messages.subarray(0, start)]
        changed?.push(passed)
        if (ENDS_REQUEST.has(type)) {
          requests++
          executes = 0
        }
      }
      return changed === undefined ? messages : Buffer.concat(changed)
    },
    toClient: (bytes) => ({ bytes: edited(bytes), isCut: false }),
    get transactionStatus() {
      return String.fromCharCode(tracker.transactionStatus) as 'I'
    },
  }
}

const LOOKED_AT: ReadonlySet<number> = new Set(Object.values(Client))
const NOTHING: Buffer = Buffer.alloc(0)

/** The bytes up to the next NUL, one character each, whatever the client's encoding is. */
function textAt(message: Buffer, offset: number): string {
  const end = message.indexOf(0, offset)
  return message.toString('latin1', offset, end === -1 ? message.length : end)
}

function encoded(type: number, body: string): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + body.length)
  message[0] = type
  message.writeInt32BE(message.length - 1, 1)
  message.write(body, HEADER_BYTES, 'latin1')
  return message
}

/** A client could prepare any number of them. The oldest is forgotten, and then answered as the server does. */
function keep(names: Map<string, DroppedStatement>, name: string, one: DroppedStatement): void {
  names.set(name, one)
  const [oldest] = names.keys()
  if (names.size > MAX_NAMES && oldest !== undefined) names.delete(oldest)
}

const MAX_NAMES = 1_000
