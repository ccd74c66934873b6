/** A DNS server on loopback, and a resolver that asks it. */
import { createSocket, type RemoteInfo } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { decode, encode, type Answer } from 'dns-packet'

/** What a name leads to: another name, an address, or nothing; `SERVFAIL` for a server that cannot say. */
export type Zone = Readonly<Record<string, { cname: string } | { a: string } | 'SERVFAIL'>>

export interface DnsServer {
  readonly resolver: Resolver
  /** The questions so far, as `CNAME db.example`. */
  readonly questions: string[]
  /** What it answers from now on. */
  serve(zone: Zone): void
  close(): Promise<void>
}

export async function startDnsServer(first: Zone = {}): Promise<DnsServer> {
  let zone = first
  const questions: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (message: Buffer, from: RemoteInfo) => {
    const { id, questions: asked = [] } = decode(message)
    const [question] = asked
    if (question === undefined) return
    questions.push(`${question.type} ${question.name}`)
    const entry = zone[question.name.toLowerCase()]
    const reply = encode({
      type: 'response',
      ...(id === undefined ? {} : { id }),
      flags: entry === undefined ? NXDOMAIN : entry === 'SERVFAIL' ? SERVFAIL : NOERROR,
      questions: asked,
      answers: answersTo(question, entry),
    })
    socket.send(reply, from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const resolver = new Resolver({ timeout: 1_000, tries: 1 })
  resolver.setServers([`127.0.0.1:${socket.address().port}`])
  return {
    resolver,
    questions,
    serve: (next) => {
      zone = next
    },
    async close() {
      resolver.cancel()
      socket.close()
      await once(socket, 'close')
    },
  }
}

const NOERROR = 0x0180
const SERVFAIL = NOERROR | 2
const NXDOMAIN = NOERROR | 3

/** A name with an address has no CNAME record: the answer to that question is empty. */
function answersTo(
  { name, type }: { name: string; type: string },
  entry: Zone[string] | undefined,
): Answer[] {
  if (entry === undefined || entry === 'SERVFAIL') return []
  if ('cname' in entry) return [{ type: 'CNAME', name, ttl: 5, data: entry.cname }]
  return type === 'A' ? [{ type: 'A', name, ttl: 5, data: entry.a }] : []
}
