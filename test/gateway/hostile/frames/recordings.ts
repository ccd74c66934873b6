/** The recordings of this folder, as conversations that can be replayed. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMessageReader } from '../../../../wire/framing.js'
import { BackendType, FrontendType, HEADER_BYTES } from '../../../../wire/messages.js'
import { GSSENC_REQUEST, SSL_REQUEST } from '../../../../wire/startup.js'

/** What `record.ts` writes. */
export interface Recording {
  /** The client with its version. */
  readonly client: string
  /**
   * The connections of the client. Each has what the two sides sent in turn: `F` and what the client sent (frontend), or `B` and what the
   * server sent (backend), in base64. If the client used TLS, it is what was encrypted.
   */
  readonly connections: readonly (readonly string[])[]
}

/** One connection of a recording. */
export interface Conversation {
  /** All bytes of the client. */
  readonly frontend: Buffer
  /** All messages of the client that have a type, password and Terminate included. */
  readonly messages: readonly Buffer[]
  /** The bytes of the client from its session on. */
  readonly requests: Buffer
  /** All bytes of the server, but BackendKeyData. */
  readonly backend: Buffer
  /** What the server sends from its first ParameterStatus on, without BackendKeyData, each with the bytes of `requests` that precede it. */
  readonly replies: readonly { readonly after: number; readonly bytes: Buffer }[]
}

export function readRecordings(): { client: string; conversations: Conversation[] }[] {
  return readdirSync(__dirname)
    .filter((file) => file.endsWith('.json'))
    .map((file) => {
      const text = readFileSync(join(__dirname, file), 'utf8')
      const { client, connections } = JSON.parse(text) as Recording
      return { client, conversations: connections.map(conversationOf) }
    })
}

function conversationOf(lines: readonly string[]): Conversation {
  const turns = lines.map((line) => ({
    isClient: line.startsWith('F'),
    bytes: Buffer.from(line.slice(2), 'base64'),
  }))
  const all = (isClient: boolean): Buffer =>
    Buffer.concat(turns.filter((turn) => turn.isClient === isClient).map(({ bytes }) => bytes))
  const frontend = all(true)
  const startupEnd = endOfStartup(frontend)
  const messages = messagesOf(frontend.subarray(startupEnd))
  const passwords = messages.filter((message) => message[0] === FrontendType.password)
  const sessionStart = passwords.reduce((end, { length }) => end + length, startupEnd)

  const backend = all(false)
  // The server's refusals of encryption have one byte each.
  const refusals = backend.findIndex((byte) => byte !== 'N'.charCodeAt(0))
  const sent = messagesOf(backend.subarray(refusals))
  const greeting = sent.slice(
    0,
    sent.findIndex((each) => each[0] === BackendType.readyForQuery) + 1,
  )
  const greetingEnd = refusals + Buffer.concat(greeting).length
  const replies = [
    {
      after: 0,
      bytes: Buffer.concat(
        greeting.filter(
          ([type]) => type !== BackendType.authentication && type !== BackendType.backendKeyData,
        ),
      ),
    },
  ]
  let [frontendBytes, backendBytes] = [0, 0]
  for (const { isClient, bytes } of turns) {
    if (isClient) {
      frontendBytes += bytes.length
      continue
    }
    const own = bytes.subarray(Math.max(0, greetingEnd - backendBytes))
    backendBytes += bytes.length
    if (own.length > 0)
      replies.push({ after: Math.max(0, frontendBytes - sessionStart), bytes: own })
  }
  return {
    frontend,
    messages,
    requests: frontend.subarray(sessionStart),
    backend: withoutKey(backend),
    replies,
  }
}

/** Where the packets without a type end. */
function endOfStartup(frontend: Buffer): number {
  let offset = 0
  for (;;) {
    const code = frontend.readInt32BE(offset + 4)
    offset += frontend.readInt32BE(offset)
    if (code !== SSL_REQUEST && code !== GSSENC_REQUEST) return offset
  }
}

function messagesOf(bytes: Buffer): Buffer[] {
  const reader = createMessageReader(Infinity)
  return reader.push(bytes).map((message) => message.bytes)
}

/** Removes BackendKeyData, which each server makes up, from what a server sends. */
export function withoutKey(backend: Buffer): Buffer {
  const refusals = backend.findIndex((byte) => byte !== 'N'.charCodeAt(0))
  let offset = refusals
  while (offset + HEADER_BYTES <= backend.length) {
    const end = offset + 1 + backend.readInt32BE(offset + 1)
    if (backend[offset] === BackendType.backendKeyData)
      return Buffer.concat([backend.subarray(0, offset), backend.subarray(end)])
    offset = end
  }
  return backend
}
