/** The scenarios: a fixed set, and a given number of random ones. */
import * as fc from 'fast-check'
import { CLIENT_NONCE, GREETING, columnOf, int16, int32 } from './server.js'
import { cString, message } from '../core/support/backend-messages.js'
import type { HostileClient } from './clients/hostile-client.js'
import {
  LOGIN_PHASES,
  PHASES,
  UNAUTHENTICATED,
  type Kind,
  type Phase,
  type Scenario,
} from './scenario.js'

type ClientTraits = Pick<HostileClient, 'asksForTypes' | 'describesFirst' | 'leavesFailedStart'>

export interface Choice {
  readonly phases: readonly Phase[]
  readonly kinds: readonly Kind[]
  readonly seed: number
  /** The number of random scenarios. */
  readonly runs: number
}

export function scenariosOf(client: ClientTraits, choice: Choice): Scenario[] {
  const phases = choice.phases.filter((phase) => phase !== 'describe' || client.describesFirst)
  const chances: Partial<Record<Kind, (phase: Phase) => fc.Arbitrary<Scenario>>> = {
    cut: (phase) => cutByChance(client, phase),
    broken: (phase) => brokenByChance(client, phase),
  }
  const arbitraries = choice.kinds.flatMap((kind) =>
    phases.flatMap((phase) => chances[kind]?.(phase) ?? []),
  )
  const byChance =
    arbitraries.length === 0 || choice.runs === 0
      ? []
      : fc.sample(fc.oneof(...arbitraries), { seed: choice.seed, numRuns: choice.runs })
  const always = [...inOnePiece(client), ...everyCut(client), ...specials(client)].filter(
    ({ kind, phase }) => choice.kinds.includes(kind) && phases.includes(phase),
  )
  return [...always, ...byChance].map((played) => ({
    ...played,
    mayLeaveOpen: client.leavesFailedStart && played.phase === 'first',
  }))
}

/** More messages than any reply has. */
const ALL = 99

function scenario(
  given: Pick<Scenario, 'name' | 'kind' | 'phase' | 'ends'> &
    Omit<Partial<Scenario>, 'bytes'> & { sent?: Buffer },
): Scenario {
  const { sent = Buffer.alloc(0), ...rest } = given
  const scram = given.phase === 'sasl' || given.phase === 'sasl-final'
  return {
    after: 0,
    bytes: sent.toString('base64'),
    rest: false,
    afterwards: 'stay',
    cuts: [],
    fractions: [],
    connections: 'first',
    scram,
    directWithoutAlpn: false,
    mustLeave: false,
    mayLeaveOpen: false,
    mostPasswords: scram ? 2 : 1,
    ...rest,
  }
}

// Valid messages.

const STATUS = message('S', cString('application_name'), cString('a name'))
const NOTICE = errorOrNotice('N', { S: 'NOTICE', V: 'NOTICE', C: '00000', M: 'take note' })
const NOTIFICATION = message('A', 4711, cString('channel'), cString('payload'))
const FATAL = errorOrNotice('E', {
  S: 'FATAL',
  V: 'FATAL',
  C: '57P01',
  M: 'terminating connection',
})
const FAILURE = errorOrNotice('E', { S: 'ERROR', V: 'ERROR', C: '22012', M: 'division by zero' })

function errorOrNotice(type: string, fields: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(fields).map(([name, value]) => cString(name + value))
  return message(type, ...parts, Buffer.from([0]))
}

/** The allowed results of a FATAL error in place of the rest of the reply. */
function endsOfFatal(
  { asksForTypes, leavesFailedStart }: ClientTraits,
  phase: Phase,
  after: number,
): string[] {
  if (phase === 'idle') return ['resolved']
  // TypeORM (1.1) uses one connection for its first queries, and reports "already released" if it is lost between two of them.
  if (phase === 'first' && after === ALL && leavesFailedStart) return ['57P01', 'rejected']
  // If there was no request yet, or no code awaits its result, the query may run on another connection.
  const isBetween = after === ALL || (phase === 'first' && asksForTypes)
  return isBetween ? ['57P01', 'resolved'] : ['57P01']
}

/** Each byte position at which a FATAL error can be cut, in the relevant phases, and in a whole login. */
function everyCut(client: ClientTraits): Scenario[] {
  const places = range(1, FATAL.length)
  const fatal = (phase: Phase, after: number): Scenario[] =>
    places.map((place) =>
      scenario({
        name: `a FATAL error, cut at byte ${place}`,
        kind: 'cut',
        phase,
        after,
        sent: FATAL,
        afterwards: 'end',
        cuts: [place],
        ends: endsOfFatal(client, phase, after),
      }),
    )
  const login = Buffer.concat([message('R', 0), ...GREETING])
  const cutLogin = range(1, login.length).map((place) =>
    scenario({
      name: `a login, cut at byte ${place}`,
      kind: 'cut',
      phase: 'password',
      rest: true,
      cuts: [place],
      ends: ['resolved'],
    }),
  )
  // The last message of the login and the next one, split at any position.
  const cutNext = range(-5, STATUS.length).map((place) =>
    scenario({
      name: `a login and a ParameterStatus, cut at byte ${place} of that`,
      kind: 'cut',
      phase: 'greeting',
      after: ALL,
      sent: STATUS,
      cuts: [place],
      ends: ['resolved'],
    }),
  )
  return [
    ...cutLogin,
    ...cutNext,
    ...fatal('greeting', ALL),
    ...fatal('simple', 0),
    ...fatal('extended', 1),
    ...fatal('idle', 0),
  ]
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index)
}

interface Stream {
  readonly name: string
  readonly sent: Buffer
  readonly rest: boolean
  readonly afterwards: Scenario['afterwards']
  readonly ends: readonly string[]
}

/** The messages that are valid at a position of a reply. */
function soundStreams(client: ClientTraits, phase: Phase, after: number): Stream[] {
  const ends = ['resolved']
  const goesOn = { rest: true, afterwards: 'stay', ends } as const
  const fatal: Stream = {
    name: 'a FATAL error',
    sent: FATAL,
    rest: false,
    afterwards: 'end',
    ends: endsOfFatal(client, phase, after),
  }
  const plain: Stream = { name: 'the reply', sent: Buffer.alloc(0), ...goesOn }
  // Before AuthenticationOk a server sends no other messages.
  const isBehindSasl = phase === 'sasl-final' && after === 1
  if (isBehindSasl || (UNAUTHENTICATED.includes(phase) && after === 0)) return [plain, fatal]
  const between: Stream[] = [
    { name: 'a ParameterStatus', sent: STATUS, ...goesOn },
    { name: 'a NoticeResponse', sent: NOTICE, ...goesOn },
    { name: 'both', sent: Buffer.concat([NOTICE, STATUS, NOTICE]), ...goesOn },
  ]
  if (LOGIN_PHASES.includes(phase) && after !== ALL) return [plain, fatal, ...between]
  const notification: Stream = { name: 'a NotificationResponse', sent: NOTIFICATION, ...goesOn }
  const streams = [plain, fatal, notification, ...between]
  return after === 0 ? [...streams, ...failures(client, phase)] : streams
}

/** An error in place of a whole reply, after which the session continues. */
function failures({ asksForTypes }: ClientTraits, phase: Phase): Stream[] {
  if (LOGIN_PHASES.includes(phase) || phase === 'idle') return []
  const ready = message('Z', phase === 'inside' ? 'E' : 'I')
  // In the reply to Parse and Describe, ReadyForQuery follows the client's Sync.
  const sent = phase === 'describe' ? FAILURE : Buffer.concat([FAILURE, ready])
  const ends = phase === 'first' && asksForTypes ? ['22012', 'resolved'] : ['22012']
  return [{ name: 'an error', sent, rest: false, afterwards: 'stay', ends }]
}

/** Valid messages without cuts. */
function inOnePiece(client: ClientTraits): Scenario[] {
  return PHASES.flatMap((phase) =>
    firstAndLast(AFTERS[phase]).flatMap((after) =>
      soundStreams(client, phase, after).map(({ name, ...rest }) =>
        scenario({ name: `${name} ${behind(after)}`, kind: 'cut', phase, after, ...rest }),
      ),
    ),
  )
}

function firstAndLast<T>(list: readonly T[]): T[] {
  return list.length === 1 ? [list[0]!] : [list[0]!, list.at(-1)!]
}

function cutByChance(client: ClientTraits, phase: Phase): fc.Arbitrary<Scenario> {
  return fc
    .record({
      after: afterOf(phase),
      stream: fc.nat(),
      fractions: fractions(1, 8),
      isInEveryPlace: fc.integer({ min: 0, max: 19 }),
    })
    .map(({ after, stream, fractions: some, isInEveryPlace }) => {
      const streams = soundStreams(client, phase, after)
      const { name, ...rest } = streams[stream % streams.length]!
      const isDribble = isInEveryPlace === 0
      return scenario({
        name: `${name} ${behind(after)}, ${isDribble ? 'byte by byte' : `cut at ${some.join(', ')}`}`,
        kind: 'cut',
        phase,
        after,
        fractions: isDribble ? range(1, 400).map((part) => part / 400) : some,
        ...rest,
      })
    })
}

function behind(after: number): string {
  return after === ALL ? 'behind the reply' : `behind ${after} messages of the reply`
}

/** The number of messages of a reply before the scenario's bytes. */
const AFTERS: Readonly<Record<Phase, readonly number[]>> = {
  startup: [0],
  sasl: [0],
  'sasl-final': [0, 1],
  password: [0],
  greeting: [1, 2, 3, 4, ALL],
  first: [0, 1, 2, 3, ALL],
  simple: [0, 1, 2, 3, ALL],
  describe: [0, 1, ALL],
  extended: [0, 1, 2, 3, ALL],
  begin: [0, 1, ALL],
  inside: [0, 1, 2, 3, ALL],
  commit: [0, 1, ALL],
  idle: [0],
  copy: [0, 1, 2, 3, ALL],
}

function afterOf(phase: Phase): fc.Arbitrary<number> {
  return fc.constantFrom(...AFTERS[phase])
}

function fractions(minLength: number, maxLength: number): fc.Arbitrary<number[]> {
  const fraction = fc.integer({ min: 1, max: 999 }).map((part) => part / 1_000)
  return fc.uniqueArray(fraction, { minLength, maxLength })
}

// Invalid messages.

/** Valid messages of every type that a server sends. */
const MESSAGES: Readonly<Record<string, Buffer>> = {
  S: STATUS,
  N: NOTICE,
  A: NOTIFICATION,
  E: FAILURE,
  K: message('K', 4711, 1234),
  Z: message('Z', 'I'),
  C: message('C', cString('SELECT 1')),
  T: message('T', int16(2), columnOf('v'), columnOf('w')),
  t: message('t', int16(1), 25),
  D: message('D', int16(2), 1, 'a', 2, 'bc'),
  G: message('G', Buffer.from([0]), int16(1), int16(0)),
  H: message('H', Buffer.from([0]), int16(1), int16(0)),
  W: message('W', Buffer.from([0]), int16(1), int16(0)),
  d: message('d', 'a row\n'),
  c: message('c'),
  V: message('V', 2, 'ab'),
  v: message('v', 0x30000, 1, cString('_pq_.unknown')),
  R: message('R', 0),
  1: message('1'),
  2: message('2'),
  3: message('3'),
  I: message('I'),
  n: message('n'),
  s: message('s'),
}

const TYPES = Object.keys(MESSAGES)
/** Only the length of these is checked: they may be of any length. */
const STREAMED = ['D', 'd']
/** Types that are valid between AuthenticationOk and ReadyForQuery. */
const GREETING_TYPES = ['S', 'N', 'K', 'E', 'Z', 'v']
/** Types that only clients send, and unknown types. */
const UNKNOWN_TYPES = Array.from({ length: 256 }, (_, code) => code).filter(
  (code) => !TYPES.includes(String.fromCharCode(code)),
)

/** Authentication requests that are invalid after AuthenticationOk, and mostly also before it. */
const REQUESTS: Readonly<Record<string, Buffer>> = {
  AuthenticationCleartextPassword: message('R', 3),
  AuthenticationMD5Password: message('R', 5, Buffer.from('salt')),
  AuthenticationSASL: message('R', 10, cString('SCRAM-SHA-256'), Buffer.from([0])),
  AuthenticationSASLContinue: message('R', 11, 'r=nonce,s=c2FsdA==,i=4096'),
  AuthenticationSASLFinal: message('R', 12, 'v=c2lnbmF0dXJl'),
  AuthenticationGSS: message('R', 7),
  'an unknown request': message('R', 99),
}

interface Breakage {
  readonly name: string
  readonly sent: Buffer
  /** Whether it must be detected. Otherwise the result depends on the driver, which may wait for more. */
  readonly isFound: boolean
}

function brokenByChance(client: ClientTraits, phase: Phase): fc.Arbitrary<Scenario> {
  return fc
    .record({
      after: afterOf(phase),
      broken: breakages(phase),
      rest: fc.boolean(),
      fractions: fc.oneof(fc.constant([]), fractions(1, 4)),
    })
    .map(({ after, broken: { name, sent, isFound }, rest, fractions: some }) => {
      const isLogin = LOGIN_PHASES.includes(phase)
      const isBetween = after === ALL || phase === 'idle'
      return scenario({
        name: `${name} ${behind(after)}${rest ? ' and the rest' : ''}, ${sent.toString('hex', 0, 32)}`,
        kind: 'broken',
        phase,
        after,
        sent,
        rest,
        fractions: some,
        connections: isBetween ? 'first' : 'all',
        ends: isFound ? endsOfBroken(client, phase, after) : ANY_END,
        mustLeave: isFound && !(isLogin && after !== ALL),
        // Messages that are valid there may be accepted.
        mostPasswords: isFound ? (phase.startsWith('sasl') ? 2 : 1) : 3,
      })
    })
}

const ANY_END = ['resolved', 'wrong', 'rejected', 'pending']

function endsOfBroken(_client: ClientTraits, phase: Phase, after: number): string[] {
  if (phase === 'idle') return ['resolved']
  if (after === ALL) return ['ERR_PROTOCOL', 'resolved']
  return LOGIN_PHASES.includes(phase) ? ['ERR_PROTOCOL', 'ERR_LOGIN_REJECTED'] : ['ERR_PROTOCOL']
}

function breakages(phase: Phase): fc.Arbitrary<Breakage> {
  const type = fc.constantFrom(...TYPES)
  return fc.oneof(
    { weight: 3, arbitrary: type.chain(wrongLength) },
    { weight: 3, arbitrary: type.chain(shortened) },
    { weight: 2, arbitrary: type.chain(lengthened) },
    { weight: 2, arbitrary: wrongField() },
    { weight: 2, arbitrary: unknownType() },
    { weight: 2, arbitrary: outOfPlace(phase) },
    { weight: 1, arbitrary: request(phase) },
    { weight: 1, arbitrary: garbage() },
  )
}

/** Only the length is wrong. */
function wrongLength(type: string): fc.Arbitrary<Breakage> {
  const original = MESSAGES[type]!
  const impossible = fc.constantFrom(0, 1, 2, 3, -1, -2_147_483_648, -5)
  const huge = fc.constantFrom(0x7fff_ffff, 0x3fff_ffff, (1 << 20) + 5, 1 << 24)
  return fc.oneof(
    impossible.map((length) => ({
      name: `${type} of length ${length}`,
      sent: withLength(original, length),
      isFound: true,
    })),
    huge.map((length) => ({
      name: `${type} of length ${length}`,
      sent: withLength(original, length),
      isFound: !STREAMED.includes(type),
    })),
    // The following bytes become part of the message, or parsing continues within it.
    fc.integer({ min: 4, max: 2 * original.length }).map((length) => ({
      name: `${type} that says ${length} for ${original.length - 1}`,
      sent: withLength(original, length),
      isFound: false,
    })),
  )
}

function withLength(original: Buffer, length: number): Buffer {
  return Buffer.concat([original.subarray(0, 1), int32(length), original.subarray(5)])
}

function framed(type: string, body: Buffer): Buffer {
  return message(type, body)
}

/** The end is missing, and the length matches. */
function shortened(type: string): fc.Arbitrary<Breakage> {
  const original = MESSAGES[type]!
  if (original.length === 5) return lengthened(type)
  return fc.integer({ min: 5, max: original.length - 1 }).map((end) => ({
    name: `${type} with ${end - 5} of ${original.length - 5} bytes of body`,
    sent: framed(type, original.subarray(5, end)),
    isFound: !STREAMED.includes(type),
  }))
}

/** There are additional bytes, and the length matches. */
function lengthened(type: string): fc.Arbitrary<Breakage> {
  return fc.uint8Array({ minLength: 1, maxLength: 20 }).map((more) => ({
    name: `${type} with ${more.length} bytes more`,
    sent: framed(type, Buffer.concat([MESSAGES[type]!.subarray(5), more])),
    isFound: !STREAMED.includes(type),
  }))
}

/** One field is invalid, in a message of correct length. */
function wrongField(): fc.Arbitrary<Breakage> {
  const count = fc.constantFrom(0, 1, 3, 0x7fff, 0x8000, 0xffff)
  const counted = fc
    .tuple(fc.constantFrom('T', 't', 'D', 'G', 'H', 'W'), count)
    .filter(([type, wrong]) => countOf(type) !== wrong)
    .map(([type, wrong]) => {
      const sent = Buffer.from(MESSAGES[type]!)
      sent.writeUInt16BE(wrong, countAt(type))
      return { name: `${type} with a count of ${wrong}`, sent, isFound: type !== 'D' }
    })
  const unterminated = fc.constantFrom('S', 'N', 'E', 'C', 'A', 'v').map((type) => {
    const sent = Buffer.from(MESSAGES[type]!)
    sent[sent.length - 1] = 'x'.charCodeAt(0)
    return { name: `${type} without its last NUL`, sent, isFound: true }
  })
  const noName = fc.constantFrom('S', 'A', 'C').map((type) => {
    const sent = Buffer.from(MESSAGES[type]!)
    for (let at = 9; at < sent.length; at++) if (sent[at] === 0) sent[at] = 0x78
    return { name: `${type} without any NUL`, sent, isFound: true }
  })
  const status = fc
    .integer({ min: 0, max: 255 })
    .filter((code) => !'ITE'.includes(String.fromCharCode(code)))
    .map((code) => ({
      name: `Z with the status ${code}`,
      sent: message('Z', Buffer.from([code])),
      isFound: true,
    }))
  const columnLength = fc
    .constantFrom(-2, -1, 0, 2, 100, 0x7fff_ffff, -0x8000_0000)
    .map((length) => {
      const sent = Buffer.from(MESSAGES['D']!)
      sent.writeInt32BE(length, 7)
      return { name: `D with a value of ${length} bytes`, sent, isFound: false }
    })
  const valueLength = fc.constantFrom(-2, 1, 3, 0x7fff_ffff).map((length) => ({
    name: `V with a value of ${length} bytes`,
    sent: message('V', length, 'ab'),
    isFound: true,
  }))
  const bare = fc.constantFrom('N', 'E').chain((type) =>
    fc
      .constantFrom('', '\0\0', 'S', 'SERROR', 'SERROR\0', 'SERROR\0C', 'SERROR\0\0M')
      .map((body) => ({
        name: `${type} of ${JSON.stringify(body)}`,
        sent: message(type, body),
        isFound: true,
      })),
  )
  const format = fc.constantFrom('G', 'H', 'W').chain((type) =>
    fc.integer({ min: 2, max: 255 }).map((code) => ({
      name: `${type} of format ${code}`,
      sent: message(type, Buffer.from([code]), int16(1), int16(0)),
      isFound: false,
    })),
  )
  return fc.oneof(counted, unterminated, noName, status, columnLength, valueLength, bare, format)
}

function countAt(type: string): number {
  return type === 'T' || type === 't' || type === 'D' ? 5 : 6
}

function countOf(type: string): number {
  return MESSAGES[type]!.readUInt16BE(countAt(type))
}

function unknownType(): fc.Arbitrary<Breakage> {
  return fc
    .tuple(fc.constantFrom(...UNKNOWN_TYPES), fc.uint8Array({ maxLength: 40 }))
    .map(([code, body]) => ({
      name: `the unknown type ${code}`,
      sent: Buffer.concat([Buffer.from([code]), int32(body.length + 4), body]),
      isFound: true,
    }))
}

/** A valid message at the wrong position. Errors that depend on the request are detected by the driver. */
function outOfPlace(phase: Phase): fc.Arbitrary<Breakage> {
  const types = TYPES.filter((type) =>
    UNAUTHENTICATED.includes(phase)
      ? !['R', 'E', 'N', 'v'].includes(type)
      : phase === 'greeting'
        ? !GREETING_TYPES.includes(type) && type !== 'R'
        : !['S', 'N', 'A', 'E', 'R'].includes(type),
  )
  return fc.constantFrom(...types).map((type) => ({
    name: `${type} out of place`,
    sent: MESSAGES[type]!,
    isFound: LOGIN_PHASES.includes(phase),
  }))
}

function request(phase: Phase): fc.Arbitrary<Breakage> {
  const isLoginOpen = UNAUTHENTICATED.includes(phase)
  return fc.constantFrom(...Object.keys(REQUESTS)).map((name) => ({
    name,
    sent: REQUESTS[name]!,
    isFound: !isLoginOpen || name === 'an unknown request',
  }))
}

function garbage(): fc.Arbitrary<Breakage> {
  return fc.uint8Array({ minLength: 5, maxLength: 200 }).map((bytes) => ({
    name: 'garbage',
    sent: Buffer.from(bytes),
    isFound: UNKNOWN_TYPES.includes(bytes[0]!),
  }))
}

// Bytes that are not messages.

/** Long enough for a login on loopback, and short enough to wait for. */
const SHORT_LOGIN_MS = 250

function specials(client: ClientTraits): Scenario[] {
  return PHASES.flatMap((phase) => [
    ...silence(phase),
    ...endings(client, phase),
    ...(phase === 'idle' ? [] : floods(phase)),
  ]).concat(refusals())
}

/** The first message of a reply, and the positions within a reply at which a server may stop responding. */
function silence(phase: Phase): Scenario[] {
  if (phase === 'idle') return []
  const isLogin = LOGIN_PHASES.includes(phase)
  const after = phase === 'greeting' ? 2 : 0
  const common = {
    kind: 'special',
    phase,
    afterwards: 'mute',
    ends: isLogin ? ['ERR_CONNECT_TIMEOUT'] : ['pending'],
    ...(isLogin ? { connectTimeoutMs: SHORT_LOGIN_MS } : {}),
  } as const
  return [
    scenario({ name: 'silence', after, ...common }),
    scenario({ name: 'silence within a message', after, sent: NOTICE.subarray(0, 9), ...common }),
  ]
}

function endings(client: ClientTraits, phase: Phase): Scenario[] {
  const ends =
    phase === 'idle'
      ? ['resolved']
      : phase === 'first' && client.asksForTypes
        ? ['rejected', 'resolved']
        : ['rejected']
  const after = phase === 'greeting' ? 2 : 0
  return (['end', 'destroy'] as const).flatMap((afterwards) => [
    scenario({
      name: `the connection ends (${afterwards})`,
      kind: 'special',
      phase,
      after,
      afterwards,
      ends,
    }),
    scenario({
      name: `the connection ends within a message (${afterwards})`,
      kind: 'special',
      phase,
      after,
      sent: NOTICE.subarray(0, 9),
      afterwards,
      ends,
    }),
  ])
}

const FLOOD_BYTES = 16_384

/** Endless data. */
function floods(phase: Phase): Scenario[] {
  const isLogin = LOGIN_PHASES.includes(phase)
  const after = phase === 'greeting' ? 2 : 0
  const common = {
    kind: 'special',
    phase,
    after,
    afterwards: 'mute',
    connections: 'all',
    mustLeave: true,
    ends: isLogin ? ['ERR_PROTOCOL', 'ERR_LOGIN_REJECTED'] : ['ERR_PROTOCOL'],
  } as const
  const x = Buffer.alloc(FLOOD_BYTES, 'x').toString('base64')
  const huge = scenario({
    name: 'a NoticeResponse without an end',
    ...common,
    sent: withLength(NOTICE, 0x7fff_fff0),
    repeat: { bytes: x, pauseMs: 0 },
  })
  if (!isLogin) return [huge]
  const many = Buffer.concat(Array.from({ length: 100 }, () => NOTICE)).toString('base64')
  return [
    huge,
    scenario({
      name: 'NoticeResponses without an end',
      ...common,
      repeat: { bytes: many, pauseMs: 0 },
    }),
    scenario({
      name: 'a NoticeResponse of 40,000 bytes',
      ...common,
      sent: withLength(NOTICE, 40_000),
      repeat: { bytes: x, pauseMs: 0 },
    }),
    scenario({
      name: 'a NoticeResponse from time to time',
      ...common,
      repeat: { bytes: NOTICE.toString('base64'), pauseMs: 40 },
      connectTimeoutMs: SHORT_LOGIN_MS,
      ends: ['ERR_CONNECT_TIMEOUT', 'ERR_PROTOCOL', 'ERR_LOGIN_REJECTED'],
    }),
  ]
}

function refusals(): Scenario[] {
  const common = { kind: 'special', connections: 'all' } as const
  const ends = ['ERR_PROTOCOL', 'ERR_LOGIN_REJECTED']
  return [
    scenario({
      ...common,
      name: 'asks for the password twice',
      phase: 'password',
      sent: message('R', 3),
      ends,
    }),
    scenario({
      ...common,
      name: 'asks for the password twice, by MD5 the second time',
      phase: 'password',
      sent: message('R', 5, Buffer.from('salt')),
      ends,
    }),
    scenario({
      ...common,
      name: 'asks by SCRAM when it has the password',
      phase: 'password',
      sent: message('R', 10, cString('SCRAM-SHA-256'), Buffer.from([0])),
      ends,
    }),
    scenario({
      ...common,
      name: 'asks for two passwords at once',
      phase: 'startup',
      sent: Buffer.concat([message('R', 3), message('R', 3)]),
      ends,
    }),
    scenario({
      ...common,
      name: 'begins a second SCRAM exchange',
      phase: 'sasl',
      sent: message('R', 10, cString('SCRAM-SHA-256'), Buffer.from([0])),
      mostPasswords: 1,
      ends,
    }),
    scenario({
      ...common,
      name: 'wants 10,000,000 iterations of SCRAM',
      phase: 'sasl',
      sent: message('R', 11, `r=${CLIENT_NONCE}0123,s=c2FsdA==,i=10000000`),
      mostPasswords: 1,
      ends,
    }),
    scenario({
      ...common,
      name: 'lets the client in in the middle of SCRAM',
      phase: 'sasl',
      sent: Buffer.concat([message('R', 0), ...GREETING]),
      mostPasswords: 1,
      ends,
    }),
    scenario({
      ...common,
      name: 'lets the client in without its signature',
      phase: 'sasl-final',
      sent: Buffer.concat([message('R', 0), ...GREETING]),
      ends,
    }),
    scenario({
      ...common,
      name: 'begins direct TLS without ALPN',
      phase: 'startup',
      directWithoutAlpn: true,
      mostPasswords: 1, // that of the next query
      ends: ['rejected'],
    }),
    scenario({
      ...common,
      name: 'breaks off right after each login',
      phase: 'greeting',
      after: ALL,
      afterwards: 'destroy',
      mostLogins: 14,
      mostPasswords: Infinity,
      ends: ['resolved'],
    }),
  ]
}
